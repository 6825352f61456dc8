"""The inputs and outputs of an ONNX model, and the contract inside of it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ganglion.contract import Contract
from ganglion.errors import ExportError

if TYPE_CHECKING:
    from ganglion.contract import StateSlot

_Rows = TypeVar("_Rows", bound="int | str")

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


def with_batch(slot: StateSlot, rows: _Rows) -> tuple[int | _Rows, ...]:
    """Shape of a state tensor: `h [layers, rows, hidden]`, `prev_action [rows, n]`."""
    axis = 1 if len(slot.shape) == 2 else 0
    return (*slot.shape[:axis], rows, *slot.shape[axis:])


def tensor_names(contract: Contract) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs of the graph that a contract describes, in order."""
    inputs = [spec.name for spec in contract.inputs] + [f"{slot.name}_in" for slot in contract.state]
    outputs = [spec.name for spec in contract.outputs] + [f"{slot.name}_out" for slot in contract.state]
    return inputs, outputs


def contract_ports(contract: Contract, batch: int | None = None) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of the graph that a contract describes, in order, for `batch` or any number of rows."""
    rows = _DYNAMIC if batch is None else batch
    states = [with_batch(slot, rows) for slot in contract.state]
    inputs = [(rows, spec.size) for spec in contract.inputs] + states
    outputs = [(rows, spec.size) for spec in contract.outputs] + states
    first, second = tensor_names(contract)
    return (
        tuple(Port(name, shape) for name, shape in zip(first, inputs, strict=True)),
        tuple(Port(name, shape) for name, shape in zip(second, outputs, strict=True)),
    )


def ports(values: Any) -> list[Port]:
    """Inputs or outputs of a graph.

    Raises:
        ExportError: one is no float32 tensor, or has a shape that none can have.
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
        if min(shape, default=0) < 0:
            raise ExportError(f"'{value.name}' has the shape {list(shape)}; sizes are not negative")
        found.append(Port(value.name, shape))
    return found


def stored_contract(model: Any) -> Contract | None:
    """The contract inside of an `onnx.ModelProto`, or None.

    Raises:
        ArtifactError: it is damaged.
    """
    text = stored_text(model)
    return None if text is None else Contract.from_json(text)


def stored_text(model: Any) -> str | None:
    """The text of the contract inside of an `onnx.ModelProto`, or None."""
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)


def store_contract(model: Any, contract: Contract) -> Contract:
    """Puts a contract into an `onnx.ModelProto`, in place of one that is there, under the digest of all the rest.

    Returns:
        The contract with that digest.
    """
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    # The runtime hashes every field of the file but the contract's own entry.
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    stored = dataclasses.replace(contract, sha256=digest)
    model.metadata_props.add(key=METADATA_KEY, value=stored.to_json())
    return stored
