"""Lowers what picks elements by their places, known or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.bounds import bounds
from ganglion.compiler.builder import INTEGER, Symbol, Tensor, kind_of, scalar, size_of
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@lowers("Gather")
def _gather(site: Site) -> Tensor:
    data, index = site.tensor(0), site.tensor(1)
    axis = site.axis(site.attribute("axis", 0), len(data.shape))
    if isinstance(index, Symbol):
        return _lookup(site, data, index, axis)
    assert isinstance(data, Symbol)
    try:
        return site.builder.view(np.take(data.address, index, axis=axis), data.kind)
    except IndexError as error:
        raise site.refuse(f"an index is outside of an axis of {data.shape[axis]} elements") from error


def _lookup(site: Site, data: Tensor, index: Symbol, axis: int) -> Tensor:
    # Known rows are a table of addresses or numbers; each computed index picks one row of it.
    rows = data.shape[axis]
    index = inside(site, index, rows)
    table: Tensor = (
        Symbol(np.moveaxis(data.address, axis, 0), data.kind)
        if isinstance(data, Symbol)
        else np.moveaxis(data, axis, 0)
    )
    rest = table.shape[1:]
    columns = size_of(rest)
    source = site.builder.vector(table)
    picked = []
    for i in range(index.address.size):
        inputs = [source, site.builder.vector(Symbol(index.address.ravel()[i : i + 1]))]
        value = site.builder.emit("lookup", inputs, [columns], rows=rows, columns=columns)[0]
        picked.append(site.builder.symbol(value, rest).address)
    address = np.stack(picked).reshape(*index.shape, *rest)
    moved = np.moveaxis(address, tuple(range(len(index.shape))), tuple(range(axis, axis + len(index.shape))))
    return Symbol(moved, kind_of(data))


def inside(site: Site, index: Symbol, rows: int) -> Symbol:
    """An index into a table of so many rows that cannot leave it; a negative one counts from the end."""
    low, high = bounds(site.builder, site.builder.vector(index))
    if low < 0 and high > rows - 1:
        raise site.refuse(
            f"its index is computed from the observation or the state and may be from {low:g} to {high:g} for a table "
            f"of {rows} rows; limit it with torch.clamp(index, 0, {rows - 1})"
        )
    found: Tensor = index
    if low < 0:
        end = scalar(rows)
        from_end = site.binary("mul", site.binary("less", found, scalar(0.0)), end)
        found = site.binary("add", found, from_end, INTEGER)
    if low < -rows or high > rows - 1:
        found = site.unary("clip", found, INTEGER, low=0.0, high=float(rows - 1))
    assert isinstance(found, Symbol)
    return found


@lowers("GatherElements")
def _gather_elements(site: Site) -> Tensor:
    data, index = site.tensor(0), site.tensor(1)
    axis = site.axis(site.attribute("axis", 0), len(data.shape))
    if isinstance(index, Symbol):
        return _look_up_elements(site, data, index, axis)
    assert isinstance(data, Symbol)
    return site.builder.view(data.address[places_along(index, axis)], data.kind)


def _look_up_elements(site: Site, data: Tensor, index: Symbol, axis: int) -> Tensor:
    index = inside(site, index, data.shape[axis])
    tables = np.moveaxis(site.builder.addresses(data), axis, -1)
    wanted = np.moveaxis(index.address, axis, -1)
    found = np.empty(wanted.shape, np.int64)
    for place in np.ndindex(wanted.shape):
        table = site.builder.vector(site.builder.view(tables[place[:-1]]))
        inputs = [table, site.builder.vector(Symbol(wanted[place].reshape(1)))]
        value = site.builder.emit("lookup", inputs, [1], rows=data.shape[axis], columns=1)[0]
        found[place] = site.builder.symbol(value, ()).address
    return Symbol(np.moveaxis(found, -1, axis), kind_of(data))


def places_along(index: NDArray[Any], axis: int) -> tuple[NDArray[Any], ...]:
    """Where each element of an index into one axis lies, along all axes."""
    along = [np.asarray(place) for place in np.indices(index.shape)]
    return (*along[:axis], index, *along[axis + 1 :])


@lowers("GatherND")
def _gather_nd(site: Site) -> Tensor:
    data, index = site.tensor(0), site.tensor(1)
    shared = site.attribute("batch_dims", 0)
    if isinstance(index, Symbol):
        return _look_up_nd(site, data, index, shared)
    data = site.symbol(0)
    outer = data.shape[:shared]
    picked = [data.address[place][tuple(np.moveaxis(index[place], -1, 0))] for place in np.ndindex(outer)]
    return site.builder.view(np.stack(picked).reshape(*outer, *picked[0].shape), data.kind)


def _look_up_nd(site: Site, data: Tensor, index: Symbol, shared: int) -> Tensor:
    depth = index.shape[-1]
    rest = data.shape[shared + depth :]
    rows, columns = size_of(data.shape[shared : shared + depth]), size_of(rest)
    wanted = row_of(site, index, data.shape[shared : shared + depth])
    addresses = site.builder.addresses(data)
    found = np.empty((*wanted.shape, *rest), np.int64)
    for place in np.ndindex(wanted.shape):
        # A table of its own for each place of the axes that both have.
        table = site.builder.vector(site.builder.view(addresses[place[:shared]]))
        inputs = [table, site.builder.vector(Symbol(wanted.address[place].reshape(1)))]
        value = site.builder.emit("lookup", inputs, [columns], rows=rows, columns=columns)[0]
        found[place] = site.builder.symbol(value, rest).address
    return Symbol(found, kind_of(data))


def row_of(site: Site, index: Symbol, shape: Sequence[int]) -> Symbol:
    """The numbers of the rows of a table `[prod(shape), ...]` that computed indices `[..., len(shape)]` mean."""
    row: Tensor = np.zeros(1, np.float32)
    for axis, size in enumerate(shape):
        along = site.builder.view(index.address[..., axis], INTEGER)
        if isinstance(along, Symbol):
            along = inside(site, along, size)
        elif ((along < -size) | (along >= size)).any():
            raise site.refuse(f"an index is outside of an axis of {size} elements")
        else:
            along = np.where(along < 0, along + size, along)
        row = _sum(site, _product(site, row, size), along)
    assert isinstance(row, Symbol)
    return row


def _product(site: Site, a: Tensor, factor: int) -> Tensor:
    return site.binary("mul", a, scalar(factor), INTEGER) if isinstance(a, Symbol) else a * factor


def _sum(site: Site, a: Tensor, b: Tensor) -> Tensor:
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        # Broadcasting a known zero onto what is computed adds nothing to compute.
        if isinstance(b, Symbol) and not isinstance(a, Symbol) and not a.any():
            return b
        return site.binary("add", a, b, INTEGER)
    return np.asarray(a + b)
