"""Lowers writes at known and at computed places, and what picks or reverses elements by known masks and lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor, kind_of, size_of
from ganglion.compiler.lowering.gather import inside, places_along, row_of
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_KNOWN: dict[str, Callable[[Any, Any], Any]] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
_REDUCTIONS = tuple(_KNOWN)
_LARGEST_CHOICE = 1 << 20
"""Elements that are chosen among in all turns of a scatter."""


@lowers("ScatterND", "ScatterElements", "Scatter")
def _scatter(site: Site) -> Tensor:
    data, index, updates = site.tensor(0), site.tensor(1), site.tensor(2)
    if isinstance(index, Symbol):
        return _scatter_computed(site, data, index, updates)
    address = site.builder.addresses(data).copy()
    table = np.arange(address.size).reshape(address.shape)
    try:
        if site.operator == "ScatterND":
            targets = table[tuple(np.moveaxis(index, -1, 0))].ravel()
        else:
            targets = table[places_along(index, site.axis(site.attribute("axis", 0), table.ndim))].ravel()
    except IndexError as error:
        raise site.refuse(f"an index is outside of its data of shape {list(data.shape)}") from error
    sources = site.builder.addresses(updates).ravel()
    reduction = site.attribute("reduction", "none")
    flat = address.reshape(-1)
    if reduction == "none":
        flat[targets] = sources
    elif reduction not in _REDUCTIONS:
        raise site.refuse(f"the reduction '{reduction}' is unknown")
    else:
        for chosen in _rounds(targets):
            old, new = Symbol(flat[targets[chosen]]), Symbol(sources[chosen])
            result = site.binary(reduction, old, new)
            flat[targets[chosen]] = site.builder.addresses(result)
    return site.builder.view(address, kind_of(data, updates))


def _scatter_computed(site: Site, data: Tensor, index: Symbol, updates: Tensor) -> Tensor:
    """Writes one after the other, each as a choice over all the places where it may go."""
    addresses, sources = site.builder.addresses(data), site.builder.addresses(updates)
    if site.operator == "ScatterND":
        depth = index.shape[-1]
        rows = size_of(data.shape[:depth])
        places = row_of(site, index, data.shape[:depth]).address.reshape(1, -1)
        lines = addresses.reshape(1, rows, -1)
        sources = sources.reshape(1, places.shape[1], -1)
    else:
        axis = site.axis(site.attribute("axis", 0), len(data.shape))
        # Where the indices are fewer along another axis, what lies behind them stays.
        seen = tuple(slice(None) if place == axis else slice(size) for place, size in enumerate(index.shape))
        places = np.moveaxis(inside(site, index, data.shape[axis]).address, axis, -1)
        lines = np.moveaxis(addresses[seen], axis, -1)
        shape, places = lines.shape, places.reshape(-1, places.shape[-1])
        lines = lines.reshape(len(places), -1, 1)
        sources = np.moveaxis(sources, axis, -1).reshape(*places.shape, 1)
    if lines.size * places.shape[1] > _LARGEST_CHOICE:
        raise site.refuse(f"{places.shape[1]} writes at computed places among {lines.size} elements are too many")
    for turn in range(places.shape[1]):
        lines = _written(site, lines, Symbol(places[:, turn, None]), sources[:, turn, None])
    if site.operator == "ScatterND":
        return site.builder.view(lines.reshape(data.shape), kind_of(data, updates))
    written = addresses.copy()
    written[seen] = np.moveaxis(lines.reshape(shape), -1, axis)
    return site.builder.view(written, kind_of(data, updates))


def _written(site: Site, lines: NDArray[np.int64], place: Symbol, sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """Addresses `[lines, rows, columns]` after a write of `[lines, 1, columns]` into the row `place` of each line."""
    reduction = site.attribute("reduction", "none")
    hit = site.binary("equal", place, np.arange(lines.shape[1], dtype=np.float32))  # [lines, rows]
    assert isinstance(hit, Symbol)
    old = site.builder.view(lines)
    new = site.builder.view(np.broadcast_to(sources, lines.shape))
    if reduction != "none":
        if reduction not in _REDUCTIONS:
            raise site.refuse(f"the reduction '{reduction}' is unknown")
        both_known = not isinstance(old, Symbol) and not isinstance(new, Symbol)
        new = _KNOWN[reduction](old, new) if both_known else site.binary(reduction, old, new)
    chosen = np.broadcast_to(hit.address[..., None], lines.shape)
    operands = [site.builder.vector(tensor) for tensor in (Symbol(chosen), new, old)]
    return site.builder.symbol(site.builder.emit("where", operands, [lines.size])[0], lines.shape).address


def _rounds(targets: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions in a list of targets, in rounds in which no target comes twice."""
    order = np.argsort(targets, kind="stable")
    ordered = targets[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    number = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    return [np.sort(order[number == turn]) for turn in range(int(number.max(initial=-1)) + 1)]


@lowers("TensorScatter")
def _tensor_scatter(site: Site) -> Tensor:
    cache, update = site.tensor(0), site.tensor(1)
    axis = site.axis(site.attribute("axis", -2), len(cache.shape))
    firsts = np.ravel(site.array(2, "write_indices")) if site.has(2) else np.zeros(cache.shape[0], np.int64)
    address = np.moveaxis(site.builder.addresses(cache), axis, 1).copy()
    sources = np.moveaxis(site.builder.addresses(update), axis, 1)
    for row, first in enumerate(firsts):
        spots = int(first) + np.arange(sources.shape[1])
        if site.attribute("mode", "linear") == "circular":
            spots = spots % address.shape[1]
        elif spots.max() >= address.shape[1]:
            raise site.refuse(f"it writes beyond the end of an axis of {address.shape[1]} elements")
        address[row, spots] = sources[row]
    return site.builder.view(np.moveaxis(address, 1, axis), kind_of(cache, update))


@lowers("Compress")
def _compress(site: Site) -> Tensor:
    x, mask = site.symbol(0), np.ravel(site.array(1, "condition")).astype(np.bool_)
    axis = site.attribute("axis", None)
    return site.builder.view(np.compress(mask, x.address, None if axis is None else int(axis)), x.kind)


@lowers("ReverseSequence")
def _reverse_sequence(site: Site) -> Tensor:
    x, lengths = site.symbol(0), site.integers(1, "sequence lengths")
    batch, time = site.attribute("batch_axis", 1), site.attribute("time_axis", 0)
    moved = np.moveaxis(x.address, (batch, time), (0, 1)).copy()
    for row, length in enumerate(lengths):
        moved[row, :length] = moved[row, :length][::-1]
    return Symbol(np.moveaxis(moved, (0, 1), (batch, time)), x.kind)


@lowers("NonZero", "Unique", "NonMaxSuppression")
def _dynamic(site: Site) -> Tensor:
    raise site.refuse("the size of its result depends on the observation; the native engine needs fixed sizes")
