"""Lowers products with matrices."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_OPERATIONS = 4096
"""A product that is not vector times matrix becomes one operation per row; more of them are no straight line."""


@lowers("MatMul")
def _matmul(site: Site) -> Tensor:
    return product(site, site.tensor(0), site.tensor(1))


@lowers("Gemm")
def _gemm(site: Site) -> Tensor:
    a = _transposed(site.tensor(0)) if site.attribute("transA", 0) else site.tensor(0)
    b = _transposed(site.tensor(1)) if site.attribute("transB", 0) else site.tensor(1)
    alpha, beta = np.float32(site.attribute("alpha", 1.0)), np.float32(site.attribute("beta", 1.0))
    if alpha != 1.0 and not isinstance(b, Symbol):
        b, alpha = b * alpha, np.float32(1.0)
    elif alpha != 1.0 and not isinstance(a, Symbol):
        a, alpha = a * alpha, np.float32(1.0)
    y = product(site, a, b)
    if alpha != 1.0:
        y = site.binary("mul", y, np.full(1, alpha))
    if not site.has(2):
        return y
    c = site.tensor(2)
    if beta != 1.0:
        c = site.binary("mul", c, np.full(1, beta)) if isinstance(c, Symbol) else c * beta
    return site.binary("add", y, c)


def product(site: Site, a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` with the rules of `numpy.matmul`; at least one of them is computed."""
    if len(a.shape) == 0 or len(b.shape) == 0:
        raise site.refuse("a factor is a scalar")
    row, column = len(a.shape) == 1, len(b.shape) == 1
    left = _reshaped(a, (1, *a.shape)) if row else a
    right = _reshaped(b, (*b.shape, 1)) if column else b
    if left.shape[-1] != right.shape[-2]:
        raise site.refuse(f"shapes {list(a.shape)} and {list(b.shape)} do not fit together")
    try:
        outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError as error:
        raise site.refuse(f"shapes {list(a.shape)} and {list(b.shape)} do not fit together") from error
    shape = (*outer, left.shape[-2], right.shape[-1])
    if 0 in (*shape, left.shape[-1]):
        return np.zeros(_final(shape, row, column), np.float32)
    address = np.empty(shape, np.int64)
    weights: dict[int, NDArray[Any]] = {}
    for index in itertools.product(*map(range, outer)):
        address[index] = _product(site, _matrix(left, index, outer), _matrix(right, index, outer), weights)
    return Symbol(address.reshape(_final(shape, row, column)))


def _product(site: Site, a: Tensor, b: Tensor, weights: dict[int, NDArray[Any]]) -> NDArray[np.int64]:
    if isinstance(a, Symbol) and isinstance(b, Symbol):
        rows, inner, columns = *a.shape, b.shape[1]
        values = [site.builder.vector(a), site.builder.vector(b)]
        sizes = {"rows": rows, "inner": inner, "columns": columns}
        return site.builder.symbol(
            site.builder.emit("matmul", values, [rows * columns], None, **sizes)[0], (rows, columns)
        ).address
    if isinstance(a, Symbol):
        assert not isinstance(b, Symbol)
        return _rows_times(site, a, b.T, weights)
    assert isinstance(b, Symbol)
    return _rows_times(site, Symbol(b.address.T), a, weights).T


def _rows_times(site: Site, x: Symbol, weight: NDArray[Any], weights: dict[int, NDArray[Any]]) -> NDArray[np.int64]:
    """Each row of `x` through the same matrix `[out, in]`."""
    if len(x.address) > _MOST_OPERATIONS:
        raise site.refuse(f"a product of {len(x.address)} rows; a policy steps one row at a time")
    # One array for all rows, so that the file holds the weights once.
    weight = weights.setdefault(weight.__array_interface__["data"][0], np.ascontiguousarray(weight, np.float32))
    rows = []
    for address in x.address:
        value = site.builder.emit(
            "affine", [site.builder.vector(Symbol(address))], [weight.shape[0]], {"weight": weight}
        )[0]
        rows.append(site.builder.symbol(value, (-1,)).address)
    return np.stack(rows)


def _matrix(tensor: Tensor, index: tuple[int, ...], outer: tuple[int, ...]) -> Tensor:
    own = tensor.shape[:-2]
    place = tuple(0 if size == 1 else i for i, size in zip(index[len(outer) - len(own) :], own, strict=True))
    return Symbol(tensor.address[place], tensor.kind) if isinstance(tensor, Symbol) else tensor[place]


def _final(shape: tuple[int, ...], row: bool, column: bool) -> tuple[int, ...]:
    kept = list(shape[:-2])
    if not row:
        kept.append(shape[-2])
    if not column:
        kept.append(shape[-1])
    return tuple(kept)


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return Symbol(tensor.address.reshape(shape), tensor.kind) if isinstance(tensor, Symbol) else tensor.reshape(shape)


def _transposed(tensor: Tensor) -> Tensor:
    return Symbol(tensor.address.T, tensor.kind) if isinstance(tensor, Symbol) else tensor.T
