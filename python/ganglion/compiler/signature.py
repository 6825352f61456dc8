"""The contract of an ONNX model: the one inside, or recognised by the tensor names of rsl_rl and Isaac Lab.

The rules are those of the C++ runtime (`cpp/src/engines/onnxruntime.cpp`, `infer_signature`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.errors import ArtifactError, ExportError

METADATA_KEY = "ganglion"
_DYNAMIC = 0


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: its name, and its axes, 0 where dynamic."""

    name: str
    shape: tuple[int, ...]

    @property
    def batch_axis(self) -> int | None:
        """`[batch, n]`, `[layers, batch, hidden]`, or `[n]` without a batch axis."""
        return {0: None, 1: None, 2: 0, 3: 1}.get(len(self.shape), 0)


def ports(values: Any) -> list[Port]:
    """Inputs or outputs of a graph.

    Raises:
        ExportError: one is no float32 tensor.
    """
    found = []
    for value in values:
        kind = value.type.WhichOneof("value")
        tensor = value.type.tensor_type
        if kind != "tensor_type" or tensor.elem_type != 1:
            raise ExportError(
                f"'{value.name}' is not a float32 tensor; the native engine takes and gives float32, so convert inside "
                "of the policy"
            )
        if not tensor.HasField("shape"):
            raise ExportError(f"'{value.name}' has no shape; export with static shapes")
        shape = tuple(int(axis.dim_value) if axis.HasField("dim_value") else _DYNAMIC for axis in tensor.shape.dim)
        found.append(Port(value.name, shape))
    return found


def contract_of(model: Any) -> Contract:
    """The contract of a model.

    Args:
        model: an `onnx.ModelProto`.

    Raises:
        ExportError: it has none, and its tensors are not named in a way that says what they are.
        ArtifactError: it has one that is damaged.
    """
    stored = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if stored:
        return Contract.from_json(stored[0])
    known = {initializer.name for initializer in model.graph.initializer}
    inputs = ports(value for value in model.graph.input if value.name not in known)
    outputs = ports(model.graph.output)
    by_name = {port.name: port for port in outputs}
    observations, slots, fed_back = [], [], set()
    for port in inputs:
        if not port.name.endswith("_in"):
            observations.append(port)
            continue
        slot = port.name.removesuffix("_in")
        partner = by_name.get(f"{slot}_out")
        if partner is None or len(partner.shape) != len(port.shape):
            raise ExportError(
                f"input '{port.name}' has no output '{slot}_out' of the same shape, so its state would never be fed "
                "back; export the policy with its next state as an output"
            )
        fed_back.add(partner.name)
        slots.append((slot, port))
    rest = [port for port in outputs if port.name not in fed_back]
    if not observations or not rest:
        raise ExportError("the graph has no observation input or no action output beside its state")
    for port in (*observations, *rest):
        if len(port.shape) not in (1, 2):
            raise ExportError(f"'{port.name}' has {len(port.shape)} axes; [size] or [batch, size] is needed")
    for _, port in slots:
        if len(port.shape) not in (2, 3):
            raise ExportError(
                f"state '{port.name}' has {len(port.shape)} axes; [layers, batch, hidden] or [batch, size] is needed"
            )
    rest.sort(key=lambda port: port.name not in ("actions", "action"))
    first = observations[0]
    state = tuple(StateSlot(slot, _without_batch(port)) for slot, port in slots)
    try:
        return Contract(
            inputs=tuple(TensorSpec(port.name, _without_batch(port)[-1]) for port in observations),
            outputs=tuple(TensorSpec(port.name, _without_batch(port)[-1]) for port in rest),
            state=state,
            initial_state=(0.0,) * sum(slot.size for slot in state),
            batch=1 if first.batch_axis is None else first.shape[first.batch_axis] or None,
        )
    except ArtifactError as error:
        raise ExportError(f"no contract can be made for this model: {error}") from error


def _without_batch(port: Port) -> tuple[int, ...]:
    sizes = tuple(size for axis, size in enumerate(port.shape) if axis != port.batch_axis)
    if _DYNAMIC in sizes:
        raise ExportError(f"'{port.name}' has the shape {list(port.shape)}; only the batch axis may be dynamic")
    return sizes
