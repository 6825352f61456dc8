"""The program of a TorchScript module as a graph: its recurrent layers, and where their values come from.

The rules are those of `cpp/src/engines/libtorch/forward_graph.hpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    Place = tuple[Any, int | None]
    """A value, or one element of a tuple or list."""

_SHAPE_ONLY = {
    "size",
    "dim",
    "len",
    "zeros",
    "zeros_like",
    "ones",
    "ones_like",
    "new_zeros",
    "new_ones",
    "empty",
    "new_empty",
    "empty_like",
    "full",
    "full_like",
    "new_full",
    "numel",
    "dtype",
    "device",
    "layout",
    "NumToTensor",
}
_VIEWS = {"slice", "select", "view", "narrow", "unsqueeze", "squeeze", "alias", "detach"}


@dataclass(frozen=True)
class Layer:
    """A node that runs a recurrent layer or cell.

    Attributes:
        node: in the graph.
        kind: `"LSTM"`, `"GRU"` or `"RNN"`.
        path: where the layer hangs, by its first weight; `""` where that is no attribute.
        weights: equal where two nodes run one layer.
        is_cell: whether it takes one step, and gives its states and nothing else.
        starts: what each of its states is called, and where it comes from.
        loops: numbers of the loops that it is in.
    """

    node: Any
    kind: str
    path: str
    weights: object
    is_cell: bool
    starts: tuple[tuple[str, Place], ...]
    loops: frozenset[int]

    @property
    def name(self) -> str:
        """`the LSTM layer 'rnn'`."""
        return f"the {self.kind} layer" + (f" '{self.path}'" if self.path else "")


class ForwardGraph:
    """The `forward` of a module, everything that it calls put in.

    Attributes:
        graph: a copy of its own.
        layers: recurrent ones, in the order of the program.
    """

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self.graph: Any = module.inlined_graph
        self._carried: dict[str, tuple[Any, Any]] = {}
        self._loops = 0
        self._nodes = list(self._within(self.graph, frozenset()))
        self.layers = [layer for node, loops in self._nodes if (layer := _layer(node, loops))]

    def reaches(self, start: Place, is_source: Callable[[Any], bool], *, in_time: bool = False) -> bool:
        """Whether a value comes from a source. Shapes and devices do not count.

        Args:
            start: where to begin.
            is_source: what is looked for.
            in_time: whether what a turn of a loop leaves to the next one counts, and what is kept in a buffer.
        """
        seen: set[tuple[str, int | None]] = set()
        places = [start]
        while places:
            value, element = places.pop()
            if (value.debugName(), element) in seen:
                continue
            seen.add((value.debugName(), element))
            if is_source(value):
                return True
            places += self._origins(value, element)
            places += _writes(value)
            if in_time:
                places += self._earlier(value)
        return False

    def _within(self, block: Any, loops: frozenset[int]) -> Iterator[tuple[Any, frozenset[int]]]:
        for node in block.nodes():
            yield node, loops
            for inner in node.blocks():
                inside = loops
                if node.kind() == "prim::Loop":
                    self._loops += 1
                    inside = loops | {self._loops}
                    # What a loop carries starts as the node's own operand.
                    outside, left = list(node.inputs()), list(inner.outputs())
                    for i, value in enumerate(list(inner.inputs())[1:]):
                        self._carried[value.debugName()] = (outside[i + 2], left[i + 1])
                yield from self._within(inner, inside)

    def _earlier(self, value: Any) -> list[Place]:
        """What stood there before, in this step."""
        if (carried := self._carried.get(value.debugName())) is not None:
            return [(carried[1], None)]
        path = path_of(value)
        if not path:
            return []
        left: list[Place] = []
        for node, _ in self._nodes:
            if node.kind() == "prim::SetAttr":
                owner, new = node.inputs()
                if ".".join(filter(None, (path_of(owner), node.s("name")))) == path:
                    left.append((new, None))
            elif node.kind() == "prim::GetAttr" and path_of(node.output()) == path:
                left += _writes(node.output())
        return left

    def _origins(self, value: Any, element: int | None) -> list[Place]:
        node = value.node()
        kind, op = node.kind(), _op(node)
        inputs, offset = list(node.inputs()), value.offset()
        if kind == "prim::Param":
            carried = self._carried.get(value.debugName())
            return [(carried[0], element)] if carried else []
        if kind == "prim::If":
            return [(list(block.outputs())[offset], element) for block in node.blocks()]
        if kind == "prim::Loop":
            (body,) = node.blocks()
            return [(inputs[offset + 2], element), (list(body.outputs())[offset + 1], element)]
        if kind in ("prim::TupleConstruct", "prim::ListConstruct"):
            return [(part, None) for i, part in enumerate(inputs) if element is None or element == i]
        if kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            return [(inputs[0], offset)]
        if kind in ("prim::TupleIndex", "aten::__getitem__"):
            index = inputs[1].toIValue()
            return [(inputs[0], index if isinstance(index, int) and index >= 0 else None)]
        if kind in ("prim::unchecked_cast", "prim::unchecked_unwrap_optional", "aten::_unwrap_optional"):
            return [(inputs[0], element)]
        if kind == "prim::GetAttr" or op in _SHAPE_ONLY:
            return []
        return [(part, None) for part in inputs]


def path_of(value: Any) -> str:
    """`"memory.hidden_state"`; `""` for what is no attribute of the module."""
    names: list[str] = []
    node = value.node()
    while node.kind() == "prim::GetAttr":
        names.insert(0, node.s("name"))
        node = next(node.inputs()).node()
    return ".".join(names)


def _layer(node: Any, loops: frozenset[int]) -> Layer | None:
    op = _op(node)
    is_cell = "_cell" in op
    kind = _kind(op)
    inputs = list(node.inputs())
    if not kind or len(inputs) < (2 if is_cell else 3):
        return None
    is_lstm = kind == "LSTM"
    # Of a packed sequence the second operand is the sizes of its steps.
    operand = 1 if is_cell or _is_list(inputs[1 if is_lstm else 2]) else 2
    slots = [("hidden state", 0 if is_lstm else None)] + [("cell state", 1)] * is_lstm
    starts = tuple((name, (inputs[operand], element)) for name, element in slots)
    path, weights = _weights(inputs, operand + 1)
    return Layer(node, kind, path, weights, is_cell, starts, loops)


def _op(node: Any) -> str:
    return str(node.kind()).rpartition("::")[2]


def _kind(op: str) -> str:
    """`"LSTM"` for lstm, lstm_cell, quantized_lstm_cell_dynamic; `""` for what is not recurrent."""
    name = op.removeprefix("quantized_").partition("_cell")[0]
    return {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}.get(name, "")


def _is_list(value: Any) -> bool:
    return str(value.type().kind()) == "ListType"


def _weights(inputs: Sequence[Any], operand: int) -> tuple[str, object]:
    """Where a layer hangs, and what tells it from another one: the path or, of a frozen program, the memory."""
    if len(inputs) <= operand:
        return "", inputs[0].debugName()
    first = inputs[operand]
    if first.node().kind() == "prim::ListConstruct":
        first = next(first.node().inputs(), first)
    if path := path_of(first):
        return path.rpartition(".")[0], path
    constant = first.toIValue()
    if isinstance(constant, list) and constant:
        constant = constant[0]
    return "", constant.data_ptr() if isinstance(constant, Tensor) else first.debugName()


def _writes(value: Any) -> list[Place]:
    """What is written into a value, or into a view of it, after it was made."""
    if str(value.type().kind()) != "TensorType":
        return []
    written: list[Place] = []
    for use in value.uses():
        op = _op(use.user)
        if use.offset != 0 or op.startswith("__"):
            continue
        if op.endswith("_"):
            written += [(part, None) for part in list(use.user.inputs())[1:]]
        elif op in _VIEWS:
            written += _writes(use.user.output())
    return written
