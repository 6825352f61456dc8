"""Lowers writes at known places, and what picks or reverses elements by known masks and lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor, kind_of
from ganglion.compiler.lowering.layout import places_along
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REDUCTIONS = ("add", "mul", "min", "max")


@lowers("ScatterND", "ScatterElements", "Scatter")
def _scatter(site: Site) -> Tensor:
    data, index, updates = site.tensor(0), site.array(1, "indices"), site.tensor(2)
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
