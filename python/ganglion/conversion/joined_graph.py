"""Two graphs as one: the second takes what the first gives, and the state of both stands side by side."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.joining import NodeList, graph_model, one_opset, prefixed
from ganglion.compiler.model import open_model
from ganglion.compiler.signature import contract_ports, store_contract
from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.conversion.feeds import new_parts
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.compiler.model import OnnxModel
    from ganglion.compiler.signature import Port
    from ganglion.conversion.feeds import Feed, FeedPart

_PREFIXES = "first/", "second/"
_FLOAT = 1  # TensorProto.FLOAT


def joined_contract(first: OnnxModel, second: OnnxModel, feed: Feed, name: str) -> Contract:
    """The contract of the joined policy.

    Its observation is that of the first module and behind it the new inputs, in the order of the feed. Its outputs are
    those of the second module, then those of the first, which have `name` before their own: a controller can read what
    was estimated. A slot of the first also gets `name` before it where the second has one of that name, or where it is
    `prev_action`, which the second alone can own.

    Args:
        first: the module in front.
        second: the module that gives the action.
        feed: what the inputs of the second are made of.
        name: of the first.

    Raises:
        ArtifactError: the modules were trained at different periods.
        ExportError: they are for different numbers of rows.
    """
    one, two = first.contract, second.contract
    periods = {contract.period_s for contract in (one, two)} - {None}
    if len(periods) > 1:
        raise ArtifactError(
            f"the first file was trained at a period of {one.period_s} s and the second at {two.period_s} s; both are "
            "one step of the joined policy"
        )
    counts = {model.batch for model in (first, second)} - {None}
    if len(counts) > 1:
        raise ExportError(
            f"the first file takes {first.batch} rows and the second {second.batch}; export both with one batch"
        )
    taken = {slot.name for slot in two.state} | {"prev_action"}
    slots = tuple(
        dataclasses.replace(slot, name=_before(name, slot.name)) if slot.name in taken else slot for slot in one.state
    )
    new = {part.name: spec for spec in two.inputs for part in feed[spec.name] if part.origin == "new"}
    inputs = (*one.inputs, *(_new_input(part, new[part.name]) for part in new_parts(feed)))
    return Contract(
        inputs=inputs,
        outputs=(*two.outputs, *(dataclasses.replace(spec, name=_before(name, spec.name)) for spec in one.outputs)),
        state=(*slots, *two.state),
        initial_state=(*one.initial_state, *two.initial_state),
        batch=next(iter(counts), None),
        period_s=next(iter(periods), None),
        provenance=two.provenance,
        action_map=two.action_map,
    )


def joined_model(first: OnnxModel, second: OnnxModel, feed: Feed, contract: Contract) -> OnnxModel:
    """The graph of both, with `contract` in its metadata.

    Raises:
        ExportError: the graphs use operator sets that cannot be brought together, or tensors that cannot be joined.
    """
    protos = one_opset([first.proto, second.proto])
    inner = [prefixed(proto, prefix) for proto, prefix in zip(protos, _PREFIXES, strict=True)]
    surgery = _Surgery(first, second, contract)
    surgery.open()
    surgery.made.nodes += inner[0].graph.node
    surgery.between(feed)
    surgery.made.nodes += inner[1].graph.node
    surgery.close()
    new = graph_model("chained", surgery.made, surgery.inputs, surgery.outputs, inner)
    store_contract(new, contract)
    return open_model(new)


def _new_input(part: FeedPart, spec: TensorSpec) -> TensorSpec:
    """A new input; with all that is known of it where it is one of the second module, whole."""
    return spec if (part.name, part.size) == (spec.name, spec.size) else TensorSpec(part.name, part.size)


def _before(name: str, other: str) -> str:
    return f"{name}_{other}"


def identifier(stem: str) -> str:
    """A file's name as a part of tensors' names."""
    return re.sub(r"\W+", "_", stem).strip("_") or "first"


class _Surgery:
    """The nodes around the two graphs."""

    def __init__(self, first: OnnxModel, second: OnnxModel, contract: Contract) -> None:
        self._first, self._second, self._contract = first, second, contract
        self.made = NodeList("chain")
        inputs, outputs = contract_ports(contract, contract.batch)
        self.inputs = [_value(port) for port in inputs]
        self.outputs = [_value(port) for port in outputs]

    def open(self) -> None:
        """What goes into the first graph."""
        first, count = self._first, len(self._first.contract.inputs)
        for spec, port in zip(first.contract.inputs, first.inputs[:count], strict=True):
            self._reshaped(spec.name, f"{_PREFIXES[0]}{port.name}", port)
        for slot, port in zip(self._slots(0), first.inputs[count:], strict=True):
            self.made.node("Identity", [f"{slot.name}_in"], f"{_PREFIXES[0]}{port.name}")

    def between(self, feed: Feed) -> None:
        """From the first graph and the observation to the second graph."""
        second, count = self._second, len(self._second.contract.inputs)
        outputs: dict[str, str] = {}
        for spec, port in zip(self._first.contract.outputs, self._first.outputs, strict=False):
            given = self._contract.outputs[len(second.contract.outputs) + len(outputs)]
            outputs[spec.name] = self._flat(f"{_PREFIXES[0]}{port.name}", given.name, port, spec.size)
        for spec, port in zip(second.contract.inputs, second.inputs[:count], strict=True):
            names = [outputs[part.name] if part.origin == "output" else part.name for part in feed[spec.name]]
            parts = [self._cut(part, name) for part, name in zip(feed[spec.name], names, strict=True)]
            vector = parts[0] if len(parts) == 1 else self.made.node("Concat", parts, axis=1)
            self._reshaped(vector, f"{_PREFIXES[1]}{port.name}", port)
        for slot, port in zip(self._slots(1), second.inputs[count:], strict=True):
            self.made.node("Identity", [f"{slot.name}_in"], f"{_PREFIXES[1]}{port.name}")

    def close(self) -> None:
        """What the second graph gives, and the states of both."""
        for number, model in enumerate((self._first, self._second)):
            count = len(model.contract.outputs)
            for slot, port in zip(self._slots(number), model.outputs[count:], strict=True):
                self.made.node("Identity", [f"{_PREFIXES[number]}{port.name}"], f"{slot.name}_out")
        for spec, port in zip(self._second.contract.outputs, self._second.outputs, strict=False):
            self._flat(f"{_PREFIXES[1]}{port.name}", spec.name, port, spec.size)

    def _slots(self, number: int) -> Sequence[StateSlot]:
        count = len(self._first.contract.state)
        return self._contract.state[count:] if number else self._contract.state[:count]

    def _cut(self, part: FeedPart, tensor: str) -> str:
        if (part.start, part.stop) == (0, part.size):
            return tensor
        bounds = [self._whole([bound]) for bound in (part.start, part.stop, 1)]
        return self.made.node("Slice", [tensor, *bounds])

    def _reshaped(self, vector: str, output: str, port: Port) -> None:
        """A `[rows, n]` tensor in the shape that a graph takes."""
        if len(port.shape) == 2:
            self.made.node("Identity", [vector], output)
            return
        _refuse_inner_rows(port)
        shape = [-1 if axis == port.batch_axis else size for axis, size in enumerate(port.shape)]
        self.made.node("Reshape", [vector, self._whole(shape)], output)

    def _flat(self, tensor: str, output: str, port: Port, size: int) -> str:
        """What a graph gives as `[rows, n]`."""
        if len(port.shape) == 2:
            return self.made.node("Identity", [tensor], output)
        _refuse_inner_rows(port)
        return self.made.node("Reshape", [tensor, self._whole([-1, size])], output)

    def _whole(self, numbers: Sequence[int]) -> str:
        return self.made.constant(np.array(numbers, np.int64))


def _value(port: Port) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(port.name, _FLOAT, [size or "batch" for size in port.shape])


def _refuse_inner_rows(port: Port) -> None:
    if port.batch_axis not in (0, None):
        raise ExportError(f"'{port.name}' has its rows in axis {port.batch_axis}; tensors of [rows, ...] can be joined")
