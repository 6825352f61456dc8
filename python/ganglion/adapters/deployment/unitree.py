"""Reads `deploy.yaml`, which unitree_rl_lab writes beside a trained policy and its C++ controller reads.

Sources: unitreerobotics/unitree_rl_lab, which has no releases; the exporter as of commit 3797479, `joint_actions.h` as
of 5dc06a4, the other headers as forks carry them under the same paths (manager: zengliangjun/unitree_rl_lab 2017a9e):

* `source/unitree_rl_lab/unitree_rl_lab/utils/export_deploy_cfg.py`, `export_deploy_cfg`: `default_joint_pos` and the
  action stand in training order; `joint_ids_map[i]` is the motor (place in `joint_sdk_names`) of joint `i`;
  `stiffness` and `damping` stand in the order of the motors. Numbers are rounded to three digits there;
* `deploy/include/isaaclab/manager/manager_term_cfg.h`, `ObservationTermCfg`: `add` clips and then scales, or scales and
  then clips with `scale_first`; the buffer's oldest frame comes first; `reset` fills it with the present frame;
* `deploy/include/isaaclab/manager/observation_manager.h`: terms directly under `observations`, or groups named after
  the inputs of the network; `scale_first` holds for the terms below it; `use_gym_history` (for all groups) puts whole
  frames one after the other instead of the histories of the terms;
* `deploy/include/isaaclab/envs/mdp/actions/joint_actions.h`: `clamp(action * scale + offset, clip)`;
  `manager/action_manager.h`: `last_action` is the network's action as it is, zero after a reset;
* `deploy/include/isaaclab/envs/mdp/observations/observations.h`: `joint_pos_rel` subtracts `default_joint_pos`;
  `velocity_commands` clamps to `commands.base_velocity.ranges`;
* `deploy/include/unitree_articulation.h` reads joint `i` from motor `joint_ids_map[i]`, `State_RLBase.cpp` writes
  target `i` to motor `joint_ids_map[i]`.

The file does not name the joints. Without `joint_sdk_names` they are called after their motors, `motor_0` and so on.
`gait_phase` counts time, not a sensor; it stays an input. The original takes the frame that fills the history when the
controller is entered, one period before its first step; here the first step's frame does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from ganglion._foundation.yaml_files import read_yaml
from ganglion.adapters.deployment._fields import Field
from ganglion.adapters.deployment.description import (
    ActionTerm,
    Description,
    Joint,
    ObservationTerm,
    Range,
    check_unique,
    numbered,
    to_json,
)
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

_KINDS: dict[str, Literal["position", "velocity"]] = {
    "JointPositionAction": "position",
    "JointVelocityAction": "velocity",
}
_COMMAND_NAMES = ("lin_vel_x", "lin_vel_y", "ang_vel_z")
_FIXED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "base_ang_vel": (("x", "y", "z"), ("rad/s",) * 3),
    "projected_gravity": (("x", "y", "z"), ("",) * 3),
    "velocity_commands": (_COMMAND_NAMES, ("m/s", "m/s", "rad/s")),
    "gait_phase": (("sin", "cos"), ("",) * 2),
}
_SLICE = re.compile(r"slice\((None|-?\d{1,9}), (None|-?\d{1,9}), (None|-?\d{1,9})\)")
_OF_JOINTS = {
    "joint_pos": ("joint_pos", "rad"),
    "joint_pos_rel": ("joint_pos", "rad"),
    "joint_vel": ("joint_vel", "rad/s"),
    "joint_vel_rel": ("joint_vel", "rad/s"),
}


def looks_like(document: Any) -> bool:
    """Whether plain data has the top-level keys of a `deploy.yaml`."""
    return isinstance(document, dict) and {"joint_ids_map", "step_dt"} <= set(document)


def read(path: str | os.PathLike[str], *, joint_sdk_names: Sequence[str] | None = None) -> Description:
    """Reads a `deploy.yaml`.

    Args:
        path: the file.
        joint_sdk_names: the names of the robot's motors in the order of its SDK (`joint_sdk_names` of the robot's
            configuration in unitree_rl_lab); None calls them `motor_0`, `motor_1` and so on.

    Raises:
        ArtifactError: the file is missing, no plain YAML, or a key is missing or of the wrong kind; names its path.
        EngineUnavailableError: PyYAML is not installed.
    """
    return parse(read_yaml(path), str(path), joint_sdk_names=joint_sdk_names)


def parse(document: Any, name: str = "deploy.yaml", *, joint_sdk_names: Sequence[str] | None = None) -> Description:
    """Reads the same from plain data.

    Args:
        document: what the YAML file holds.
        name: what messages call it.
        joint_sdk_names: see `read`.

    Raises:
        ArtifactError: a key is missing or of the wrong kind.
    """
    root = Field(document, f"{name}: ")
    motors = [entry.integer() for entry in root["joint_ids_map"].entries()]
    joints = _joint_names(root["joint_ids_map"], motors, joint_sdk_names)
    default = root["default_joint_pos"].numbers(len(joints))
    actions = tuple(_action(kind, term, joints) for kind, term in root["actions"].items())
    reader = _Observations(root, joints, default, sum(action.size for action in actions))
    observations = reader.read()
    return Description(
        source="unitree",
        observations=observations,
        actions=actions,
        period_s=root["step_dt"].number(),
        joints=tuple(
            Joint(joint, position, *(_of_motor(root[key], motor) for key in ("stiffness", "damping")))
            for joint, position, motor in zip(joints, default, motors, strict=True)
        ),
        robot_joint_names=tuple(joint for _, joint in sorted(zip(motors, joints, strict=True))),
        history_layout="frame_major" if reader.use_gym_history else "term_major",
        assumptions=_assumptions(joint_sdk_names, root),
        original=to_json(document),
    )


def _joint_names(where: Field, motors: list[int], sdk_names: Sequence[str] | None) -> tuple[str, ...]:
    if not motors or min(motors) < 0 or len(set(motors)) != len(motors):
        raise where.refuse("one motor per joint, each a different number from 0")
    if sdk_names is None:
        return tuple(f"motor_{motor}" for motor in motors)
    check_unique("joint_sdk_names", [name for name in sdk_names if name])
    if max(motors) >= len(sdk_names):
        raise ArtifactError(
            f"{where.path} has the motors {sorted(motors)}; joint_sdk_names has {len(sdk_names)}: {list(sdk_names)}"
        )
    return tuple(sdk_names[motor] for motor in motors)


def _of_motor(values: Field, motor: int) -> float | None:
    # Files for robots with fewer joints than motors exist that list the joints only.
    numbers = values.numbers()
    return numbers[motor] if motor < len(numbers) else None


def _assumptions(sdk_names: Sequence[str] | None, root: Field) -> tuple[str, ...]:
    found = ["the first frame after a reset fills the history"]
    if sdk_names is None:
        found.append("the file does not name the joints; they are called after their motors, motor_0 and so on")
    if any(isinstance(term["joint_ids"].value, list) for _, term in root["actions"].items()):
        found.append("action i moves joint joint_ids[i], as in training; the C++ of unitree_rl_lab ignores joint_ids")
    return tuple(found)


def _action(kind: str, term: Field, joints: tuple[str, ...]) -> ActionTerm:
    ids = term["joint_ids"]
    names = joints if ids.is_null else tuple(joints[place] for place in _places(ids, len(joints)))
    scale, offset, clip = term["scale"], term["offset"], term["clip"]
    if kind not in _KINDS:
        return ActionTerm(
            kind, "other", len(names), names, unsupported=f"only {sorted(_KINDS)} are known to unitree_rl_lab"
        )
    ranges: tuple[Range, ...] = () if clip.is_null else tuple(entry.range() for entry in clip.entries())
    return ActionTerm(
        kind, _KINDS[kind], len(names), names, scale.numbers(len(names)), offset.numbers(len(names)), ranges
    )


def _places(ids: Field, count: int) -> tuple[int, ...]:
    """The places of joints that a list or a slice names; a slice may also be the text that Python shows for it."""
    chosen = ids.value
    shown = _SLICE.fullmatch(chosen) if isinstance(chosen, str) else None
    if shown is not None:
        chosen = slice(*(None if part == "None" else int(part) for part in shown.groups()))
    if isinstance(chosen, slice):
        if chosen.step == 0:
            raise ids.refuse("a slice with another step than 0")
        return tuple(range(count)[chosen])
    numbers = tuple(entry.integer() for entry in ids.entries())
    if any(not 0 <= number < count for number in numbers):
        raise ids.refuse(f"numbers from 0 to {count - 1}, the places of the {count} joints")
    return numbers


class _Observations:
    """The section `observations`; flags stand between its terms and hold for what comes below them."""

    def __init__(self, root: Field, joints: tuple[str, ...], default: tuple[float, ...], action_size: int) -> None:
        self._root = root
        self._joints = joints
        self._default = default
        self._action_size = action_size
        self.use_gym_history = False

    def read(self) -> tuple[ObservationTerm, ...]:
        section = self._root["observations"]
        flags = ("scale_first", "use_gym_history")
        first = next((entry for key, entry in section.items() if key not in flags), None)
        if first is None:
            raise section.refuse("at least one term")
        # The original's own test for a file without groups.
        if "params" in first:
            return self._group("obs", section)
        return tuple(term for name, group in section.items() for term in self._group(name, group))

    def _group(self, group: str, section: Field) -> tuple[ObservationTerm, ...]:
        scale_first, terms = False, []
        for key, entry in section.items():
            if key == "scale_first":
                scale_first = entry.flag()
            elif key == "use_gym_history":
                self.use_gym_history = entry.flag()
            else:
                terms.append(self._term(key, entry, group, scale_first))
        return tuple(terms)

    def _term(self, name: str, entry: Field, group: str, scale_first: bool) -> ObservationTerm:
        scale, clip = entry["scale"], entry["clip"]
        joints, ids = self._joints_of(name, entry)
        if joints:
            raw, unit = _OF_JOINTS[name]
            elements, units = tuple(f"{raw}.{joint}" for joint in joints), (unit,) * len(joints)
        elif name in _FIXED:
            parts, units = _FIXED[name]
            elements = tuple(f"{name}.{part}" for part in parts)
        elif name == "last_action":
            elements, units = numbered(name, self._action_size), ()
        elif scale.is_null:
            raise scale.refuse(f"one number per element; nothing else says how many elements '{name}' has")
        else:
            elements, units = numbered(name, len(scale.entries())), ()
        length = entry.get("history_length", 1)
        if length.integer() < 1:
            raise length.refuse("at least 1 frame")
        return ObservationTerm(
            name=name,
            element_names=elements,
            units=units,
            joint_names=joints,
            limits=self._limits(name),
            offset=tuple(self._default[i] for i in ids) if name == "joint_pos_rel" else (),
            scale=(1.0,) * len(elements) if scale.is_null else scale.numbers(len(elements)),
            clip=None if clip.is_null else clip.range(),
            scale_first=scale_first,
            history_length=length.integer(),
            action_columns=tuple(range(self._action_size)) if name == "last_action" else None,
            group=group,
        )

    def _joints_of(self, name: str, entry: Field) -> tuple[tuple[str, ...], tuple[int, ...]]:
        if name not in _OF_JOINTS:
            return (), ()
        params = entry.get("params")
        asset = params.get("asset_cfg") if params.value else params
        ids = asset.get("joint_ids") if asset.value else asset
        # No list stands for all joints, as does the exporter's `slice(None)`.
        count = len(self._joints)
        places = _places(ids, count) if ids.value else tuple(range(count))
        return tuple(self._joints[place] for place in places), places

    def _limits(self, name: str) -> tuple[Range, ...]:
        commands = self._root.get("commands")
        if name != "velocity_commands" or "base_velocity" not in commands:
            return ()
        ranges = commands["base_velocity"]["ranges"]
        return tuple(ranges[part].range() for part in _COMMAND_NAMES)
