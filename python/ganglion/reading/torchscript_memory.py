"""What the recurrent layers of a TorchScript program start from: kept state, or constants.

The rules and sentences are those of `cpp/src/engines/libtorch/memory.hpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
_SOUNDS = ("state", "hidden", "memory", "carry", "hx", "lstm", "gru", "rnn")


def forgotten(module: torch.jit.ScriptModule, state: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each recurrent layer that starts from a constant in every step.

    Args:
        module: any with a `forward(obs)`.
        state: names of the buffers that are kept from step to step.
    """
    return _Trace(module, frozenset(state)).forgotten()


class _Trace:
    def __init__(self, module: torch.jit.ScriptModule, state: frozenset[str]) -> None:
        self._graph: Any = module.inlined_graph
        self._state = state
        arguments = module._c._get_method("forward").schema.arguments
        self._optional = [argument.name for argument in arguments[1:] if argument.has_default_value()]
        self._observation = next(i for i in range(1, len(arguments)) if not arguments[i].has_default_value())
        self._inputs = {value.debugName(): i for i, value in enumerate(self._graph.inputs())}
        self._carried: dict[str, Place] = {}
        self._nodes = list(self._within(self._graph))

    def forgotten(self) -> tuple[str, ...]:
        sentences = [sentence for node in self._nodes if (sentence := self._check(node))]
        if not sentences and not self._state:
            sentences = list(self._unfed_arguments())
        return tuple(dict.fromkeys(sentences))

    def _within(self, block: Any) -> Iterator[Any]:
        for node in block.nodes():
            yield node
            for inner in node.blocks():
                if node.kind() == "prim::Loop":
                    # What a loop carries starts as the node's own operand.
                    outside = list(node.inputs())
                    for i, value in enumerate(list(inner.inputs())[1:]):
                        self._carried[value.debugName()] = (outside[i + 2], None)
                yield from self._within(inner)

    def _check(self, node: Any) -> str | None:
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
        given = {name: self._is_given((inputs[operand], element)) for name, element in slots}
        lost = [name for name, is_given in given.items() if not is_given]
        kept = [name for name, is_given in given.items() if is_given]
        return _sentence(kind, _layer(inputs, operand + 1), lost, kept) if lost else None

    def _unfed_arguments(self) -> Iterator[str]:
        """Without a layer that we know: an argument for a state that nobody gives."""
        for name in self._optional:
            if name in ("h", "h0") or any(part in name for part in _SOUNDS):
                yield (
                    f"forward takes an argument '{name}' that sounds like a state and may be left out, which it is in "
                    "every step: what it starts from is forgotten; keep the state in buffers that forward(obs) writes "
                    "and reset() restores, or write the policy with ganglion.export"
                )

    def _is_given(self, start: Place) -> bool:
        """Whether kept state or the observation reaches it.

        Shapes and devices do not count, nor does what a loop carries from one of its turns to the next.
        """
        seen: set[tuple[str, int | None]] = set()
        places = [start]
        while places:
            value, element = places.pop()
            if (value.debugName(), element) in seen:
                continue
            seen.add((value.debugName(), element))
            if self._is_source(value):
                return True
            places += self._origins(value, element)
            places += _writes(value)
        return False

    def _is_source(self, value: Any) -> bool:
        if value.node().kind() == "prim::GetAttr":
            return _path(value) in self._state
        return self._inputs.get(value.debugName()) == self._observation

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


def _op(node: Any) -> str:
    return str(node.kind()).rpartition("::")[2]


def _kind(op: str) -> str:
    """`"LSTM"` for lstm, lstm_cell, quantized_lstm_cell_dynamic; `""` for what is not recurrent."""
    name = op.removeprefix("quantized_").partition("_cell")[0]
    return {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}.get(name, "")


def _is_list(value: Any) -> bool:
    return str(value.type().kind()) == "ListType"


def _path(value: Any) -> str:
    """`"memory.hidden_state"`; `""` for what is no attribute of the module."""
    names: list[str] = []
    node = value.node()
    while node.kind() == "prim::GetAttr":
        names.insert(0, node.s("name"))
        node = next(node.inputs()).node()
    return ".".join(names)


def _layer(inputs: Sequence[Any], operand: int) -> str:
    """Where the layer hangs, by its first weight; `""` where that is no attribute."""
    if len(inputs) <= operand:
        return ""
    weights = inputs[operand]
    if weights.node().kind() == "prim::ListConstruct":
        weights = next(weights.node().inputs(), weights)
    return _path(weights).rpartition(".")[0]


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


def _sentence(kind: str, layer: str, lost: Sequence[str], kept: Sequence[str]) -> str:
    name = f"the {kind} layer" + (f" '{layer}'" if layer else "")
    if kept:
        return (
            f"{name} is given its {kept[0]}, but its {lost[0]} starts from a constant in every step and is forgotten; "
            "keep it in a buffer, too"
        )
    return (
        f"{name} starts from a constant in every step: the net remembers nothing between steps; keep its state in "
        "buffers that forward(obs) writes and reset() restores, or write the policy with ganglion.export. It is right "
        "only where the policy was trained on windows of observations"
    )
