"""Reads the metadata that mjlab puts into the ONNX file of a trained policy.

Sources (mujocolab/mjlab 1.6.0):

* `rl/exporter_utils.py`: `get_base_metadata` names the fields, `list_to_csv_str` writes lists as comma-separated text
  with three decimals, lists inside of lists with `;`, bools and counts as decimals too (`1.000`). Older states
  of the file have no `observation_terms_*`;
* `managers/observation_manager.py`: `clip` first, `scale` then, one history per term, oldest frame first, terms side by
  side; `utils/buffers/circular_buffer.py`: the first frame after a reset fills the whole history;
* `envs/mdp/actions/actions.py`: `JointPositionAction` is `action * scale + default_joint_pos`;
* `envs/mdp/observations.py`: the only joint observations are relative to the defaults, so the usual term `joint_pos` is
  the position minus `default_joint_pos`; `last_action` (the usual term `actions`) is the network's action as it is.

The metadata does not say how many elements a term has. Those of known names are known, one other term takes what is
left of the network's input, more must be given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.adapters._files import read_bytes
from ganglion.adapters.deployment._fields import Field
from ganglion.adapters.deployment.description import ActionTerm, Description, Joint, ObservationTerm, numbered, to_json
from ganglion.errors import ArtifactError, EngineUnavailableError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

_REQUIRED = ("joint_names", "default_joint_pos", "action_scale", "observation_names")
_VECTORS = {
    "base_lin_vel": "m/s",
    "base_ang_vel": "rad/s",
    "projected_gravity": "",
}
_OF_JOINTS = {
    "joint_pos": ("joint_pos", "rad"),
    "joint_pos_rel": ("joint_pos", "rad"),
    "joint_vel": ("joint_vel", "rad/s"),
    "joint_vel_rel": ("joint_vel", "rad/s"),
}
_LAST_ACTION = ("actions", "last_action", "last_actions")


def looks_like(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata of a model is that of mjlab."""
    return set(_REQUIRED) <= set(metadata)


def read(path: str | os.PathLike[str], *, term_sizes: Mapping[str, int] | None = None) -> Description:
    """Reads the metadata of an `.onnx` file of mjlab.

    Args:
        path: the file.
        term_sizes: number of elements of observation terms that the metadata does not give away.

    Raises:
        ArtifactError: the file is missing, no ONNX model, or a field is missing or not what it should be.
        EngineUnavailableError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailableError(f"reading '{path}' needs onnx ({error}); install ganglion[onnx]") from error
    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has a class of its own for this
        raise ArtifactError(f"'{path}' is no ONNX model: {error}") from error
    return from_model(model, str(path), term_sizes=term_sizes)


def from_model(model: Any, name: str = "the model", *, term_sizes: Mapping[str, int] | None = None) -> Description:
    """Reads the metadata of an `onnx.ModelProto` of mjlab.

    Args:
        model: the model.
        name: what messages call it.
        term_sizes: see `read`.

    Raises:
        ArtifactError: a field is missing or not what it should be.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key != "ganglion"}
    return parse(metadata, _widths(model.graph), name, term_sizes=term_sizes)


def parse(
    metadata: Mapping[str, str],
    widths: Mapping[str, int],
    name: str = "the model",
    *,
    term_sizes: Mapping[str, int] | None = None,
) -> Description:
    """Reads the same from the metadata alone.

    Args:
        metadata: texts by key.
        widths: number of elements of the network's `obs` and `actions`, by these names.
        name: what messages call it.
        term_sizes: see `read`.

    Raises:
        ArtifactError: a field is missing or not what it should be.
    """
    root = Field(dict(metadata), f"{name}: ")
    joints = _csv(root["joint_names"]).texts()
    default = _csv(root["default_joint_pos"]).numbers(len(joints))
    action = _action(root, joints, default, widths.get("actions"))
    terms = _Terms(root, joints, default, action.size)
    observations = terms.read(widths.get("obs"), term_sizes or {})
    return Description(
        source="mjlab",
        observations=observations,
        actions=(action,),
        joints=_joints(root, joints, default),
        assumptions=tuple(terms.assumptions),
        original=to_json(dict(metadata)),
    )


def _csv(field: Field, delimiter: str = ",") -> Field:
    text = field.text()
    return Field([part.strip() for part in text.split(delimiter)] if text else [], field.path)


def _widths(graph: Any) -> dict[str, int]:
    """The last axis of the network's vectors `obs` and `actions`, or of the first ones."""
    known = {initializer.name for initializer in graph.initializer}
    found = {}
    for label, values in (("obs", [v for v in graph.input if v.name not in known]), ("actions", list(graph.output))):
        value = next((v for v in values if v.name == label), values[0] if values else None)
        axes = [] if value is None else value.type.tensor_type.shape.dim
        if len(axes) and axes[-1].dim_value > 0:
            found[label] = int(axes[-1].dim_value)
    return found


def _action(root: Field, joints: tuple[str, ...], default: tuple[float, ...], width: int | None) -> ActionTerm:
    given = _csv(root["action_scale"])
    size = width or max(len(given.entries()), 1)
    scale = given.numbers(size) if len(given.entries()) > 1 else given.numbers(1) * size
    if size != len(joints):
        return ActionTerm(
            "joint_pos",
            "position",
            size,
            scale=scale,
            unsupported=f"it moves {size} of {len(joints)} joints, and the metadata does not say which: {list(joints)}",
        )
    return ActionTerm("joint_pos", "position", size, joints, scale, default)


def _joints(root: Field, names: tuple[str, ...], default: tuple[float, ...]) -> tuple[Joint, ...]:
    gains: list[tuple[float, ...] | tuple[None, ...]] = []
    for key in ("joint_stiffness", "joint_damping"):
        numbers = _csv(root[key]).numbers() if key in root else ()
        # Only joints with an actuator are listed, and the metadata does not say which those are.
        gains.append(numbers if len(numbers) == len(names) else (None,) * len(names))
    return tuple(Joint(*row) for row in zip(names, default, *gains, strict=True))


class _Terms:
    """The observation terms of the actor."""

    def __init__(self, root: Field, joints: tuple[str, ...], default: tuple[float, ...], action_size: int) -> None:
        self._root = root
        self._joints = joints
        self._default = default
        self._action_size = action_size
        self.names = _csv(root["observation_names"]).texts()
        self.assumptions = [
            "numbers are as mjlab wrote them, rounded to three decimals",
            "joint velocities are relative to defaults of zero",
        ]
        if "observation_terms_scale" not in root:
            self.assumptions.append("observations are neither scaled nor clipped and have no history")
        self._scales = self._column("observation_terms_scale", "1.0")
        self._clips = self._column("observation_terms_clip", "-inf;inf")
        self._histories = self._column("observation_terms_history_length", "0")
        self._flattened = self._column("observation_terms_flatten_history_dim", "1")

    def read(self, width: int | None, given: Mapping[str, int]) -> tuple[ObservationTerm, ...]:
        lengths = [self._history_length(field) for field in self._histories]
        sizes = self._sizes(lengths, width, given)
        return tuple(self._term(i, size, length) for i, (size, length) in enumerate(zip(sizes, lengths, strict=True)))

    def _column(self, key: str, default: str) -> list[Field]:
        column = _csv(self._root.get(key, ",".join([default] * len(self.names)))).entries()
        if len(column) != len(self.names):
            raise ArtifactError(
                f"{self._root.path}{key} has {len(column)} entries for {len(self.names)} terms: {list(self.names)}"
            )
        return column

    @staticmethod
    def _history_length(field: Field) -> int:
        if field.integer() < 0:
            raise field.refuse("0 (no history) or a number of frames")
        return max(field.integer(), 1)

    def _sizes(self, lengths: list[int], width: int | None, given: Mapping[str, int]) -> list[int]:
        if unknown := sorted(set(given) - set(self.names)):
            raise ArtifactError(f"term_sizes names {unknown}; the terms are {list(self.names)}")
        sizes: list[int | None] = []
        for name, scale in zip(self.names, self._scales, strict=True):
            listed = len(_csv(scale, ";").entries())
            sizes.append(given.get(name, self._usual_size(name) or (listed if listed > 1 else None)))
        missing = [i for i, size in enumerate(sizes) if size is None]
        if len(missing) == 1 and width is not None:
            rest = width - sum(size * length for size, length in zip(sizes, lengths, strict=True) if size is not None)
            if rest > 0 and rest % lengths[missing[0]] == 0:
                size = sizes[missing[0]] = rest // lengths[missing[0]]
                self.assumptions.append(
                    f"the term '{self.names[missing[0]]}' has {size} elements, what is left of the network's input"
                )
        if any(size is None for size in sizes):
            known = {name: size for name, size in zip(self.names, sizes, strict=True) if size is not None}
            raise ArtifactError(
                f"{self._root.path}the metadata does not say how many elements the terms "
                f"{[self.names[i] for i in missing]} have (network input: {width}; known: {known}); give term_sizes"
            )
        return [size for size in sizes if size is not None]

    def _usual_size(self, name: str) -> int | None:
        if name in _LAST_ACTION:
            return self._action_size
        return len(self._joints) if name in _OF_JOINTS else 3 if name in _VECTORS else None

    def _term(self, index: int, size: int, length: int) -> ObservationTerm:
        name = self.names[index]
        elements, units, joints = numbered(name, size), (), ()  # type: tuple[str, ...], tuple[str, ...], tuple[str, ...]
        if name in _OF_JOINTS and size == len(self._joints):
            raw, unit = _OF_JOINTS[name]
            joints, units = self._joints, (unit,) * size
            elements = tuple(f"{raw}.{joint}" for joint in joints)
        elif name in _VECTORS and size == 3:
            elements, units = tuple(f"{name}.{axis}" for axis in "xyz"), (_VECTORS[name],) * 3
        scale = _csv(self._scales[index], ";")
        low, high = _csv(self._clips[index], ";").range()
        flattened = length == 1 or self._flattened[index].number() != 0.0
        return ObservationTerm(
            name=name,
            element_names=elements,
            units=units,
            joint_names=joints,
            offset=self._default if joints and name.startswith("joint_pos") else (),
            scale=scale.numbers(1) * size if len(scale.entries()) == 1 else scale.numbers(size),
            clip=None if (low, high) == (float("-inf"), float("inf")) else (low, high),
            history_length=length,
            action_columns=tuple(range(self._action_size)) if name in _LAST_ACTION else None,
            unsupported="" if flattened else "its history is not flattened, so the network's input is no vector",
        )
