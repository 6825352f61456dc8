"""Rules that recognise LSTM and GRU cells which an exporter wrote out in single operations.

Everything is read backwards from the new state. What lies between the inputs and the gates may come in any form that is
linear: one matrix for all gates or one per gate, over `[x, h]` or over `x` and `h` apart, biases anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.rewrite import Graph

    Array = NDArray[np.float32]

_DEEPEST = 12


@dataclass(frozen=True, eq=False)
class _Linear:
    """A sum of matrices times values, plus a bias `[rows]`."""

    terms: dict[int, Array]
    bias: Array

    def __add__(self, other: _Linear) -> _Linear:
        terms = dict(self.terms)
        for value, weight in other.terms.items():
            terms[value] = terms[value] + weight if value in terms else weight
        return _Linear(terms, self.bias + other.bias)

    def __neg__(self) -> _Linear:
        return _Linear({value: -weight for value, weight in self.terms.items()}, -self.bias)

    def rows(self, index: NDArray[np.int32]) -> _Linear:
        return _Linear({value: weight[index] for value, weight in self.terms.items()}, self.bias[index])


def lstm(graph: Graph, node: Node) -> Node | None:
    """`c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`."""
    for o, tanh in _operands(graph, node, "mul"):
        output, new_cell = _gate(graph, o, "sigmoid"), graph.producer(tanh, "unary", "tanh")
        added = None if new_cell is None else graph.producer(new_cell.inputs[0], "binary", "add")
        if output is None or added is None:
            continue
        for kept, fresh in _operands(graph, added, "add"):
            for forgetting, c in _operands(graph, graph.producer(kept, "binary", "mul"), "mul"):
                for entering, content in _operands(graph, graph.producer(fresh, "binary", "mul"), "mul"):
                    gates = [_gate(graph, entering, "sigmoid"), _gate(graph, forgetting, "sigmoid")]
                    found = [*gates, _gate(graph, content, "tanh"), output]
                    made = _lstm(graph, [gate for gate in found if gate is not None], c, node, added)
                    if made is not None:
                        return made
    return None


def _lstm(graph: Graph, gates: Sequence[_Linear], c: int, node: Node, added: Node) -> Node | None:
    outputs = [node.outputs[0], added.outputs[0]]
    hidden = graph.size(c)
    if len(gates) != 4 or any(graph.size(value) != hidden for value in outputs):
        return None
    values = list(dict.fromkeys(value for gate in gates for value in gate.terms))
    # The formula treats h like any other input, so every value of that size will do.
    h = next((value for value in reversed(values) if graph.size(value) == hidden), None)
    if h is None or len(values) < 2 or any(len(gate.bias) != hidden for gate in gates):
        return None
    x = [value for value in values if value != h]
    tensors = {
        "weight": np.concatenate([_matrix(graph, gate, [*x, h]) for gate in gates]),
        "bias": np.concatenate([gate.bias for gate in gates]),
    }
    return Node("lstm", [_together(graph, x), h, c], outputs, tensors)


def gru(graph: Graph, node: Node) -> Node | None:
    """`h' = (1 - z) n + z h`, in four ways to write it."""
    for update, new, h in _blends(graph, node):
        hidden = graph.size(h)
        tanh = graph.producer(new, "unary", "tanh")
        if tanh is None or graph.size(node.outputs[0]) != hidden or len(update.bias) != hidden:
            continue
        made = _reset_after(graph, update, tanh.inputs[0], h, node) or _reset_before(
            graph, update, tanh.inputs[0], h, node
        )
        if made is not None:
            return made
    return None


def _blends(graph: Graph, node: Node) -> Iterator[tuple[_Linear, int, int]]:
    """The update gate `z`, the value `n` and the old state `h` of `h' = (1 - z) n + z h`."""
    for first, second in _operands(graph, node, "add"):
        for gate, rest in _operands(graph, graph.producer(second, "binary", "mul"), "mul"):
            z = _gate(graph, gate, "sigmoid")
            if z is None:
                continue
            difference = graph.producer(rest, "binary", "sub")
            if difference is not None and difference.inputs[1] == first:
                yield z, first, difference.inputs[0]  # n + z (h - n)
                yield -z, difference.inputs[0], first  # h + z (n - h)
            for complement, other in _operands(graph, graph.producer(first, "binary", "mul"), "mul"):
                one_minus = graph.producer(complement, "binary", "sub")
                if one_minus is None or one_minus.inputs[1] != gate or not graph.is_number(one_minus.inputs[0], 1.0):
                    continue
                yield z, other, rest  # (1 - z) n + z h
                yield -z, rest, other  # z n + (1 - z) h


def _reset_after(graph: Graph, update: _Linear, argument: int, h: int, node: Node) -> Node | None:
    """`n = tanh(A x + r (U h + b))`."""
    for from_x, product in _operands(graph, graph.producer(argument, "binary", "add"), "add"):
        entering = _linear(graph, from_x)
        for gate, from_h in _operands(graph, graph.producer(product, "binary", "mul"), "mul"):
            reset, recurrent = _gate(graph, gate, "sigmoid"), _linear(graph, from_h)
            if reset is None or recurrent is None or entering is None:
                continue
            if set(recurrent.terms) == {h} and h not in entering.terms:
                content = replace(entering, terms={**entering.terms, **recurrent.terms})
                return _gru(graph, [reset, update, content], recurrent.bias, h, node, linear_before_reset=True)
    return None


def _reset_before(graph: Graph, update: _Linear, argument: int, h: int, node: Node) -> Node | None:
    """`n = tanh(A x + U (r h) + b)`."""
    content = _linear(graph, argument)
    for value in () if content is None else content.terms:
        for gate, state in _operands(graph, graph.producer(value, "binary", "mul"), "mul"):
            reset = _gate(graph, gate, "sigmoid")
            if state == h and reset is not None and content is not None and h not in content.terms:
                terms = {h if term == value else term: weight for term, weight in content.terms.items()}
                gates = [reset, update, replace(content, terms=terms)]
                return _gru(graph, gates, np.zeros_like(content.bias), h, node, linear_before_reset=False)
    return None


def _gru(
    graph: Graph, gates: Sequence[_Linear], recurrent_bias: Array, h: int, node: Node, *, linear_before_reset: bool
) -> Node | None:
    hidden = graph.size(h)
    x = [value for value in dict.fromkeys(value for gate in gates for value in gate.terms) if value != h]
    if not x or any(len(gate.bias) != hidden for gate in gates):
        return None
    tensors = {
        "weight": np.concatenate([_matrix(graph, gate, [*x, h]) for gate in gates]),
        "bias": np.concatenate([gate.bias for gate in gates]),
        "recurrent_bias": recurrent_bias,
    }
    attributes = {"linear_before_reset": linear_before_reset}
    return Node("gru", [_together(graph, x), h], list(node.outputs), tensors, attributes)


def _matrix(graph: Graph, gate: _Linear, values: Sequence[int]) -> Array:
    rows = len(gate.bias)
    return np.concatenate(
        [gate.terms.get(value, np.zeros((rows, graph.size(value)), np.float32)) for value in values], axis=1
    )


def _together(graph: Graph, values: Sequence[int]) -> int:
    return values[0] if len(values) == 1 else graph.gather(values, np.arange(sum(map(graph.size, values))))


def _gate(graph: Graph, value: int, function: str) -> _Linear | None:
    node = graph.producer(value, "unary", function)
    return None if node is None else _linear(graph, node.inputs[0])


def _linear(graph: Graph, value: int, depth: int = 0) -> _Linear | None:
    """A value as a linear function of others; None if no matrix is in it."""
    found = _sum(graph, value, depth)
    return found if found is not None and found.terms else None


def _sum(graph: Graph, value: int, depth: int) -> _Linear | None:
    elements = graph.constant(value)
    if elements is not None:
        return _Linear({}, elements)
    if depth > _DEEPEST:
        return None
    affine = graph.producer(value, "affine")
    if affine is not None:
        bias = affine.tensors.get("bias", np.zeros(graph.size(value), np.float32))
        return None if "activation" in affine.attributes else _Linear(_spread(graph, affine), bias)
    gather = graph.producer(value, "gather")
    if gather is not None and len(gather.inputs) == 1:
        source = _linear(graph, gather.inputs[0], depth + 1)
        return None if source is None else source.rows(gather.tensors["index"])
    for function in ("add", "sub"):
        node = graph.producer(value, "binary", function)
        parts = [] if node is None else [_sum(graph, source, depth + 1) for source in node.inputs]
        first, second = (*parts, None, None)[:2]
        if first is None or second is None:
            continue
        total = first + (second if function == "add" else -second)
        return total if len(total.bias) == graph.size(value) and _same_rows(total) else None
    return None


def _same_rows(form: _Linear) -> bool:
    return all(len(weight) == len(form.bias) for weight in form.terms.values())


def _spread(graph: Graph, affine: Node) -> dict[int, Array]:
    """The matrix of an affine, cut up by the values that its input was put together from."""
    source, weight = affine.inputs[0], affine.tensors["weight"]
    gather = graph.producer(source, "gather")
    if gather is None:
        return {source: weight}
    terms: dict[int, Array] = {}
    first = 0
    index = gather.tensors["index"]
    for value in gather.inputs:
        inside = (index >= first) & (index < first + graph.size(value))
        matrix = np.zeros((len(weight), graph.size(value)), np.float32)
        np.add.at(matrix.T, index[inside] - first, weight[:, inside].T)
        first += graph.size(value)
        terms[value] = matrix
    return terms


def _operands(graph: Graph, node: Node | None, function: str) -> Iterator[tuple[int, int]]:
    """Both orders of the operands of a binary operation on values of one size."""
    if node is None or node.kind != "binary" or node.attributes["function"] != function:
        return
    a, b = node.inputs
    if function in ("add", "mul") and graph.size(a) == graph.size(b):
        yield a, b
        yield b, a


RULES = (lstm, gru)
