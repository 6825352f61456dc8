"""Reads `IO_descriptors.yaml`, which Isaac Lab writes beside a trained policy.

Sources (isaac-sim/IsaacLab 2.3.2):

* `source/isaaclab/isaaclab/envs/manager_based_env.py`, `export_IO_descriptors`: the keys `observations`, `actions`,
  `articulations`, `scene`;
* `managers/observation_manager.py`: `get_IO_descriptors` writes the group `policy` as a list of terms, each named after
  its function, with `clip`, `scale`, `history_length` and `flatten_history_dim` under `overloads` and `units` and
  `modifiers` under `extras`. `compute_group` clips first and scales then, keeps one history per term, oldest frame
  first, and puts the terms side by side;
* `utils/buffers/circular_buffer.py`: the first frame after a reset fills the whole history;
* `envs/utils/io_descriptors.py`: `joint_names`, `joint_pos_offsets`, `joint_vel_offsets`, and per articulation the
  joints with default positions and gains;
* `envs/mdp/actions/joint_actions.py`, `process_actions`: `clip(action * scale + offset)`; `reset` sets the last action
  to zero;
* `envs/mdp/observations.py`: `joint_pos_rel` is the position minus `joint_pos_offsets`; `last_action` is the network's
  action as it is.

Terms whose function has no descriptor are missing in the file; then the sizes do not add up and `apply` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ganglion._foundation.yaml_files import read_yaml
from ganglion.adapters.deployment._fields import Field
from ganglion.adapters.deployment.description import (
    ActionTerm,
    Description,
    Joint,
    ObservationTerm,
    Range,
    numbered,
    to_json,
    unique_names,
)
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

_GROUP = "policy"
_KINDS: dict[str, Literal["position", "velocity", "effort"]] = {
    "JointPositionAction": "position",
    "JointVelocityAction": "velocity",
    "JointEffortAction": "effort",
}


def looks_like(document: Any) -> bool:
    """Whether plain data has the top-level keys of Isaac Lab."""
    return isinstance(document, dict) and {"articulations", "scene", "observations", "actions"} <= set(document)


def read(path: str | os.PathLike[str]) -> Description:
    """Reads an `IO_descriptors.yaml`.

    Raises:
        ArtifactError: the file is missing, no plain YAML, or a key is missing or of the wrong kind; names its path.
        EngineUnavailableError: PyYAML is not installed.
    """
    return parse(read_yaml(path), str(path))


def parse(document: Any, name: str = "IO_descriptors.yaml") -> Description:
    """Reads the same from plain data.

    Args:
        document: what the YAML file holds.
        name: what messages call it.

    Raises:
        ArtifactError: a key is missing or of the wrong kind.
    """
    root = Field(document, f"{name}: ")
    actions = tuple(_action(entry) for entry in root["actions"].entries())
    terms = root["observations"][_GROUP].entries()
    names = unique_names([term["name"].text() for term in terms])
    observations = tuple(_observation(term, name, actions) for term, name in zip(terms, names, strict=True))
    return Description(
        source="isaac_lab",
        observations=observations,
        actions=actions,
        period_s=root["scene"]["dt"].number(),
        joints=_joints(root["articulations"]),
        original=to_json(document),
    )


def _observation(term: Field, name: str, actions: tuple[ActionTerm, ...]) -> ObservationTerm:
    function = term["name"].text()
    size = _size(term)
    overloads, extras = term["overloads"], term["extras"]
    joints = _joint_names(term, size)
    offset = next(
        (term[key].numbers(size) for key in ("joint_pos_offsets", "joint_vel_offsets") if key in term),
        (),
    )
    # Without its offset, joint_pos_rel is joint_pos: that is the raw value that a controller has.
    raw = name.replace("_rel", "", 1) if offset else name
    axes = extras.get("axes")
    if joints:
        elements: tuple[str, ...] = tuple(f"{raw}.{joint}" for joint in joints)
    elif not axes.is_null and len(axes.entries()) == size:
        elements = tuple(f"{raw}.{axis.lower()}" for axis in axes.texts())
    else:
        elements = numbered(raw, size)
    scale, clip, units = overloads.get("scale"), overloads.get("clip"), extras.get("units")
    columns, unsupported = None, _unsupported(overloads, extras)
    if function == "last_action":
        columns, why = _action_columns(size, actions)
        unsupported = unsupported or why
    return ObservationTerm(
        name=name,
        element_names=elements,
        units=() if units.is_null else (units.text(),) * size,
        joint_names=joints,
        offset=offset,
        scale=(1.0,) * size if scale.is_null else scale.spread(size),
        # An empty clip counts as none, as in `if term_cfg.clip`.
        clip=clip.range() if clip.value else None,
        history_length=_history_length(overloads),
        action_columns=columns,
        group=_GROUP,
        unsupported=unsupported,
    )


def _history_length(overloads: Field) -> int:
    length = overloads.get("history_length", 0)
    frames = length.integer()
    if frames < 0:
        raise length.refuse("0 (no history) or a number of frames")
    return max(frames, 1)


def _unsupported(overloads: Field, extras: Field) -> str:
    if extras.get("modifiers").value:
        return "it has modifiers, whose formulas the file does not state"
    if overloads.get("history_length", 0).value and overloads.get("flatten_history_dim", True).value is False:
        return "its history is not flattened (flatten_history_dim: false), so the network's input is no vector"
    return ""


def _action_columns(size: int, actions: tuple[ActionTerm, ...]) -> tuple[tuple[int, ...] | None, str]:
    """Which part of the action the term shows: all of it, or (parameter `action_name`) that of one term."""
    total = sum(action.size for action in actions)
    if size == total:
        return tuple(range(total)), ""
    fitting = [i for i, action in enumerate(actions) if action.size == size]
    if len(fitting) != 1:
        sizes = {action.name: action.size for action in actions}
        return None, f"it is the last action with {size} elements, and the file does not say of which term: {sizes}"
    first = sum(action.size for action in actions[: fitting[0]])
    return tuple(range(first, first + size)), ""


def _action(term: Field) -> ActionTerm:
    size = _size(term)
    kind = term["full_path"].text().rpartition(".")[2]
    if kind not in _KINDS:
        return ActionTerm(
            name=term["name"].text(),
            kind="other",
            size=size,
            unsupported=f"{kind} is more than scale, offset and clip; known are {sorted(_KINDS)}",
        )
    clip = term["clip"]
    ranges: tuple[Range, ...] = () if clip.is_null else tuple(entry.range() for entry in clip.entries())
    return ActionTerm(
        name=term["name"].text(),
        kind=_KINDS[kind],
        size=size,
        joint_names=_joint_names(term, size),
        scale=term["scale"].spread(size),
        offset=term["offset"].spread(size),
        clip=ranges,
    )


def _size(term: Field) -> int:
    shape = term["shape"]
    sizes = [entry.integer() for entry in shape.entries()]
    if len(sizes) != 1 or sizes[0] < 1:
        raise shape.refuse("the size of a vector, [n]")
    return sizes[0]


def _joint_names(term: Field, size: int) -> tuple[str, ...]:
    """One joint per element, or none for what does not belong to joints."""
    if "joint_names" not in term:
        return ()
    names = term["joint_names"].texts()
    if len(names) != size:
        raise ArtifactError(f"{term.path}.joint_names has {len(names)} names; the shape says {size}: {list(names)}")
    return names


def _joints(articulations: Field) -> tuple[Joint, ...]:
    known = articulations.mapping()
    if not known:
        return ()
    # Scenes with several articulations call the controlled one "robot".
    robot = articulations["robot" if "robot" in known else str(next(iter(known)))]
    names = robot["joint_names"].texts()
    keys = ("default_joint_pos", "default_joint_stiffness", "default_joint_damping")
    columns = [robot[key].numbers(len(names), finite=False) for key in keys]
    return tuple(Joint(*row) for row in zip(names, *columns, strict=True))
