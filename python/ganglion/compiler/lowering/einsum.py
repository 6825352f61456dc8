"""Lowers Einsum: products with matrices where there are some, else products of elements and sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor, size_of
from ganglion.compiler.lowering.linear import product
from ganglion.compiler.lowering.reduce import over
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    _Labels = list[str]


@lowers("Einsum")
def _einsum(site: Site) -> Tensor:
    operands = [site.tensor(i) for i in range(len(site.inputs))]
    terms, result = _parsed(site, site.attribute("equation"), [len(operand.shape) for operand in operands])
    found = [_diagonal(site, operand, labels) for operand, labels in zip(operands, terms, strict=True)]
    while len(found) > 1:
        first, second, *rest = found
        needed = {*result, *(label for _, labels in rest for label in labels)}
        found = [_pair(site, *first, *second, needed), *rest]
    tensor, labels = _summed(site, *found[0], result)
    if set(labels) != set(result) or len(labels) != len(result):
        raise site.refuse(f"the equation '{site.attribute('equation')}' gives an axis that no operand has")
    return _moved(tensor, lambda elements: elements.transpose([labels.index(label) for label in result]))


def _parsed(site: Site, equation: str, ranks: Sequence[int]) -> tuple[list[_Labels], _Labels]:
    """The labels of each operand and of the result, one for each axis; axes of an ellipsis count from its end."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise site.refuse(f"the equation '{equation}' has {len(texts)} terms for {len(ranks)} operands")
    terms = []
    for text, rank in zip(texts, ranks, strict=True):
        before, dots, behind = text.partition("...")
        hidden = rank - len(before) - len(behind) if dots else 0
        terms.append([*before, *(f".{axis}" for axis in range(hidden, 0, -1)), *behind])
        if len(terms[-1]) != rank:
            raise site.refuse(f"the term '{text}' does not fit an operand with {rank} axes")
    longest = max((sum(label[0] == "." for label in labels) for labels in terms), default=0)
    ellipsis = [f".{axis}" for axis in range(longest, 0, -1)]
    if arrow:
        before, dots, behind = right.partition("...")
        return terms, [*before, *(ellipsis if dots else []), *behind]
    every = [label for labels in terms for label in labels if label[0] != "."]
    return terms, [*ellipsis, *sorted(label for label in every if every.count(label) == 1)]


def _diagonal(site: Site, tensor: Tensor, labels: _Labels) -> tuple[Tensor, _Labels]:
    """An operand with each label once."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if tensor.shape[first] != tensor.shape[second]:
                raise site.refuse(f"the axes '{label}' of an operand have different sizes")
            tensor = _moved(tensor, lambda elements, a=first, b=second: elements.diagonal(axis1=a, axis2=b))  # type: ignore[misc]
            labels = [*(other for axis, other in enumerate(labels) if axis not in (first, second)), label]
    return tensor, labels


def _pair(
    site: Site, a: Tensor, of_a: _Labels, b: Tensor, of_b: _Labels, needed: Collection[str]
) -> tuple[Tensor, _Labels]:
    """Two operands as one, without the axes that nobody needs any more."""
    a, of_a = _summed(site, a, of_a, {*needed, *of_b})
    b, of_b = _summed(site, b, of_b, {*needed, *of_a})
    shared = [label for label in of_a if label in of_b]
    batch = [label for label in shared if label in needed]
    inner = [label for label in shared if label not in needed]
    rows = [label for label in of_a if label not in of_b]
    columns = [label for label in of_b if label not in of_a]
    is_matrix = inner and (rows or columns) and (not batch or (rows and columns))
    if not is_matrix:
        labels = [*batch, *rows, *columns, *inner]
        together = _times(site, _spread(a, of_a, labels), _spread(b, of_b, labels))
        return _summed(site, together, labels, needed)
    left, right = _spread(a, of_a, [*batch, *rows, *inner]), _spread(b, of_b, [*batch, *inner, *columns])
    count = len(batch)
    outer = np.broadcast_shapes(left.shape[:count], right.shape[:count])
    middle = left.shape[count : count + len(rows)]
    last = right.shape[count + len(inner) :]
    if left.shape[count + len(rows) :] != right.shape[count : count + len(inner)]:
        raise site.refuse(f"shapes {list(a.shape)} and {list(b.shape)} do not fit together")
    size = size_of(right.shape[count : count + len(inner)])
    left = _moved(left, lambda elements: elements.reshape(*left.shape[:count], size_of(middle), size))
    right = _moved(right, lambda elements: elements.reshape(*right.shape[:count], size, size_of(last)))
    found: Tensor
    if isinstance(left, Symbol) or isinstance(right, Symbol):
        found = product(site, left, right)
    else:
        found = np.matmul(left, right)
    return _moved(found, lambda elements: elements.reshape(*outer, *middle, *last)), [*batch, *rows, *columns]


def _times(site: Site, a: Tensor, b: Tensor) -> Tensor:
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return site.binary("mul", a, b)
    return np.multiply(a, b)


def _summed(site: Site, tensor: Tensor, labels: _Labels, kept: Collection[str]) -> tuple[Tensor, _Labels]:
    axes = [axis for axis, label in enumerate(labels) if label not in kept]
    left = [label for label in labels if label in kept]
    if not axes:
        return tensor, labels
    if isinstance(tensor, Symbol):
        return over(site, "reduce", tensor, axes, function="sum"), left
    return np.asarray(tensor.sum(axis=tuple(axes))), left


def _spread(tensor: Tensor, labels: _Labels, wanted: _Labels) -> Tensor:
    """An operand with its axes in the order wanted, and axes of one element for labels that it has not."""
    order = [labels.index(label) for label in wanted if label in labels]
    missing = tuple(axis for axis, label in enumerate(wanted) if label not in labels)
    return _moved(tensor, lambda elements: np.expand_dims(elements.transpose(order), missing))


def _moved(tensor: Tensor, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
    return Symbol(move(tensor.address), tensor.kind) if isinstance(tensor, Symbol) else move(tensor)
