"""Between which numbers a value lies, whatever the observation is: the proof that a computed index stays in its table.

A NaN is outside of every bound; executors guard `lookup` against it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ganglion.compiler.builder import Builder, Node

_Interval = tuple[float, float]
_ANY = (-math.inf, math.inf)
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "and", "or", "xor")
_RISING: dict[str, Callable[[float], float]] = {"floor": math.floor, "ceil": math.ceil, "round": round}
_RANGES = {
    "sigmoid": (0.0, 1.0),
    "not": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "sign": (-1.0, 1.0),
}


_DEEPEST = 100


def bounds(builder: Builder, value: int) -> _Interval:
    """The smallest and the largest number that any element of a value can be.

    Args:
        builder: where the value is computed.
        value: the value.
    """
    return _bounds(builder, value, {}, 0)


def _bounds(builder: Builder, value: int, known: dict[int, _Interval], depth: int) -> _Interval:
    if value in builder.constants:
        elements = builder.constants[value]
        return float(elements.min()), float(elements.max())
    node = builder.producers.get(value)
    if node is None or depth > _DEEPEST:
        return _ANY
    if value not in known:
        known[value] = _of_node(builder, node, known, depth + 1)
    return known[value]


def _of_node(builder: Builder, node: Node, known: dict[int, _Interval], depth: int) -> _Interval:
    if node.kind == "argmax":
        return 0.0, float(node.attributes["columns"] - 1)
    if node.kind == "softmax":
        return 0.0, 1.0
    if node.kind not in ("unary", "binary", "where", "gather"):
        return _ANY
    inputs = [_bounds(builder, index, known, depth) for index in node.inputs]
    if node.kind == "gather":
        return _union(inputs)
    if node.kind == "where":
        return _union(inputs[1:])
    function = node.attributes["function"]
    if node.kind == "unary":
        return _unary(function, inputs[0], node)
    return _binary(function, *inputs)


def _unary(function: str, x: _Interval, node: Node) -> _Interval:
    low, high = x
    if function in _RANGES:
        return _RANGES[function]
    if function in _RISING:
        low, high = (_RISING[function](end) if math.isfinite(end) else end for end in x)
        return float(low), float(high)
    if function == "clip":
        least, most = node.attributes["low"], node.attributes["high"]
        low, high = (end if least is None else max(end, least) for end in x)
        return (low, high) if most is None else (min(low, most), min(high, most))
    if function == "neg":
        return -high, -low
    if function == "abs":
        return max(low, -high, 0.0), max(-low, high)
    if function == "relu":
        return max(low, 0.0), max(high, 0.0)
    return _ANY


def _binary(function: str, a: _Interval, b: _Interval) -> _Interval:
    if function in _COMPARISONS:
        return 0.0, 1.0
    if function == "add":
        return a[0] + b[0], a[1] + b[1]
    if function == "sub":
        return a[0] - b[1], a[1] - b[0]
    if function == "min":
        return min(a[0], b[0]), min(a[1], b[1])
    if function == "max":
        return max(a[0], b[0]), max(a[1], b[1])
    if function == "mul" and np.isfinite([*a, *b]).all():
        products = [x * y for x in a for y in b]
        return min(products), max(products)
    return _ANY


def _union(intervals: Sequence[_Interval]) -> _Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)
