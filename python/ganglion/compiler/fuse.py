"""Rules that put what belongs together into one operation: bias, activation, activations that were written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Node
from ganglion.compiler.vocabulary import UNARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.compiler.rewrite import Graph


def bias_into_affine(graph: Graph, node: Node) -> Node | None:
    """`affine(x) + constant` and `affine(x) - constant`."""
    if node.kind != "binary" or node.attributes["function"] not in ("add", "sub"):
        return None
    for value, other in _both_ways(node):
        affine, elements = _bare_affine(graph, value), graph.constant(other)
        if affine is None or elements is None:
            continue
        if not np.isfinite(elements).all() or graph.size(value) != graph.size(node.outputs[0]):
            continue
        if node.attributes["function"] == "sub":
            if value != node.inputs[0]:
                continue
            elements = -elements
        bias = np.broadcast_to(elements, (graph.size(value),)) + affine.tensors.get("bias", np.float32(0))
        return _affine(affine.inputs[0], node, affine.tensors["weight"], bias)
    return None


def sum_of_affines(graph: Graph, node: Node) -> Node | None:
    """`affine(x) + affine(h)` as one `affine` of both."""
    if node.kind != "binary" or node.attributes["function"] != "add":
        return None
    first, second = (_bare_affine(graph, value) for value in node.inputs)
    if first is None or second is None or graph.size(node.inputs[0]) != graph.size(node.inputs[1]):
        return None
    sources = [first.inputs[0], second.inputs[0]]
    index = np.arange(sum(map(graph.size, sources)), dtype=np.int32)
    if sources[0] == sources[1]:
        index = np.tile(np.arange(graph.size(sources[0]), dtype=np.int32), 2)
        sources = sources[:1]
    both = graph.gather(sources, index)
    weight = np.concatenate((first.tensors["weight"], second.tensors["weight"]), axis=1)
    biases = [tensors["bias"] for tensors in (first.tensors, second.tensors) if "bias" in tensors]
    return _affine(both, node, weight, sum(biases[1:], biases[0]) if biases else None)


def activation_into_affine(graph: Graph, node: Node) -> Node | None:
    """An activation of an affine, `f(W x + b)`."""
    if node.kind != "unary":
        return None
    affine = _bare_affine(graph, node.inputs[0])
    if affine is None:
        return None
    activation = {"name": node.attributes["function"]}
    activation |= {key: node.attributes[key] for key in UNARY[activation["name"]]}
    return Node("affine", list(affine.inputs), list(node.outputs), dict(affine.tensors), {"activation": activation})


def rsqrt(graph: Graph, node: Node) -> Node | None:
    """`1 / sqrt(x)`."""
    if node.kind == "unary" and node.attributes["function"] == "reciprocal":
        source = node.inputs[0]
    elif node.kind == "binary" and node.attributes["function"] == "div" and graph.is_number(node.inputs[0], 1.0):
        source = node.inputs[1]
    else:
        return None
    root = graph.producer(source, "unary", "sqrt")
    if root is None or graph.size(source) != graph.size(node.outputs[0]):
        return None
    return _unary("rsqrt", root.inputs[0], node)


def silu_and_mish(graph: Graph, node: Node) -> Node | None:
    """`x * sigmoid(x)` and `x * tanh(softplus(x))`."""
    if node.kind != "binary" or node.attributes["function"] != "mul":
        return None
    for x, factor in _both_ways(node):
        sigmoid = graph.producer(factor, "unary", "sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] == x:
            return _unary("silu", x, node)
        tanh = graph.producer(factor, "unary", "tanh")
        softplus = None if tanh is None else graph.producer(tanh.inputs[0], "unary", "softplus")
        if softplus is not None and softplus.inputs[0] == x:
            return _unary("mish", x, node)
    return None


def softplus(graph: Graph, node: Node) -> Node | None:
    """Softplus as PyTorch writes it, x itself beyond 20; beyond 17 both are the same float32."""
    if node.kind != "where":
        return None
    condition, large, small = node.inputs
    compared, inner = graph.producer(condition, "binary", "greater"), graph.producer(small, "unary", "softplus")
    if compared is None or inner is None or inner.inputs[0] != large or compared.inputs[0] != large:
        return None
    limit = graph.constant(compared.inputs[1])
    if limit is None or (limit < 17.0).any() or graph.size(large) != graph.size(node.outputs[0]):
        return None
    return _unary("softplus", large, node)


def gelu(graph: Graph, node: Node) -> Node | None:
    """`x / 2 * (1 + erf(x / sqrt 2))`, and the same with tanh, in any order of the factors."""
    if node.kind != "binary" or node.attributes["function"] != "mul":
        return None
    for factor in _factors(graph, node.outputs[0], depth=2):
        one_more = graph.producer(factor, "binary", "add")
        if one_more is None:
            continue
        for value, other in _both_ways(one_more):
            if not graph.is_number(other, 1.0):
                continue
            for x, function in _inside_gelu(graph, value):
                rest = list(_factors(graph, node.outputs[0], depth=2, stop=(x, factor)))
                # All three factors: the product of two of them is an inner node of the same pattern.
                if len(rest) != 3 or x not in rest or factor not in rest:
                    continue
                rest.remove(x)
                rest.remove(factor)
                if graph.is_number(rest[0], 0.5):
                    return _unary(function, x, node)
    return None


def _inside_gelu(graph: Graph, value: int) -> Iterator[tuple[int, str]]:
    erf, tanh = graph.producer(value, "unary", "erf"), graph.producer(value, "unary", "tanh")
    if erf is not None:
        argument = erf.inputs[0]
        divided = graph.producer(argument, "binary", "div")
        if divided is not None and graph.is_number(divided.inputs[1], 2.0**0.5):
            yield divided.inputs[0], "gelu"
        scaled = graph.producer(argument, "binary", "mul")
        for x, scale in [] if scaled is None else _both_ways(scaled):
            if graph.is_number(scale, 0.5**0.5):
                yield x, "gelu"
    scaled = None if tanh is None else graph.producer(tanh.inputs[0], "binary", "mul")
    for total, scale in [] if scaled is None else _both_ways(scaled):
        added = graph.producer(total, "binary", "add")
        if added is None or not graph.is_number(scale, (2.0 / np.pi) ** 0.5):
            continue
        for x, cube in _both_ways(added):
            rest = sorted(_factors(graph, cube, depth=3, stop=(x,)), key=lambda factor: factor == x)
            if len(rest) == 4 and rest[1:] == [x] * 3 and graph.is_number(rest[0], 0.044715):
                yield x, "gelu_tanh"


def _factors(graph: Graph, value: int, depth: int, stop: tuple[int, ...] = ()) -> Iterator[int]:
    node = graph.producer(value, "binary", "mul")
    if node is None or depth == 0 or value in stop:
        yield value
        return
    for source in node.inputs:
        yield from _factors(graph, source, depth - 1, stop)


def _both_ways(node: Node) -> Iterator[tuple[int, int]]:
    a, b = node.inputs
    yield a, b
    yield b, a


def _bare_affine(graph: Graph, value: int) -> Node | None:
    node = graph.producer(value, "affine")
    return node if node is not None and "activation" not in node.attributes and graph.only_reader(value) else None


def _affine(source: int, node: Node, weight: NDArray[Any], bias: NDArray[Any] | None) -> Node:
    tensors = {"weight": weight} | ({} if bias is None else {"bias": bias.astype(np.float32)})
    return Node("affine", [source], list(node.outputs), tensors)


def _unary(function: str, source: int, node: Node) -> Node:
    return Node("unary", [source], list(node.outputs), {}, {"function": function})


RULES = (softplus, silu_and_mish, gelu, rsqrt, bias_into_affine, sum_of_affines, activation_into_affine)
