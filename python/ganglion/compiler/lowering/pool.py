"""Lowers poolings, along any number of axes: reductions over windows."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import INTEGER, Symbol, Tensor
from ganglion.compiler.lowering.reduce import norm, over
from ganglion.compiler.lowering.site import Site, lowers
from ganglion.compiler.lowering.windows import Window, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ELEMENTS_FOR_ONE = 8
"""So many elements in a row take the time of one that is looked up."""


@lowers("MaxPool", "AveragePool", "LpPool")
def _pool(site: Site) -> Tensor | tuple[Tensor, ...]:
    x = site.symbol(0)
    kernel = tuple(int(size) for size in site.attribute("kernel_shape"))
    if len(x.shape) != len(kernel) + 2:
        raise site.refuse(f"an input of shape {list(x.shape)} and a kernel of shape {list(kernel)} do not fit together")
    axes = windows(site, x.shape[2:], kernel)
    if site.operator == "AveragePool":
        return _average(site, x, axes)
    if site.operator == "LpPool":
        return norm(site, _seen(site, x.address, axes, 0.0), _kernel_axes(axes), float(site.attribute("p", 2)))
    if len(site.outputs) == 1 or not site.outputs[1]:
        return _largest(site, x, axes)
    seen = _seen(site, x.address, axes, -np.inf)
    return over(site, "reduce", seen, _kernel_axes(axes), function="max"), _places(site, x, seen, axes)


def _largest(site: Site, x: Symbol, axes: Sequence[Window]) -> Tensor:
    """Of each place the largest element that the kernel sees.

    Along one axis after the other, for all elements at once: the whole image beside itself, moved by one element of the
    kernel. What wraps round an edge on that way is at no place. Where places are few among the elements, each of them
    is looked at by itself instead.
    """
    pads = [(axis.before, max(0, int(axis.positions().max()) + 1 - axis.length)) for axis in axes]
    fill = site.builder.address_of(-np.inf) if any(map(any, pads)) else 0
    padded = np.pad(x.address, ((0, 0), (0, 0), *pads), constant_values=fill)
    seen = prod(x.shape[:2]) * prod(axis.places * axis.kernel for axis in axes)
    passes = sum(axis.kernel - 1 for axis in axes)
    if padded.size * passes > _ELEMENTS_FOR_ONE * seen:
        table = _seen(site, x.address, axes, -np.inf)
        return over(site, "reduce", table, _kernel_axes(axes), function="max")
    strides = [prod(padded.shape[3 + number :]) for number in range(len(axes))]
    line: Tensor = Symbol(padded.ravel())
    if passes:
        value = site.builder.vector(line)
        line = site.builder.symbol(value, (-1,))
    for axis, stride in zip(axes, strides, strict=True):
        step = axis.dilation * stride
        assert isinstance(line, Symbol)
        address, size = line.address, line.address.size - (axis.kernel - 1) * step
        line = Symbol(address[:size])
        for tap in range(1, axis.kernel):
            line = site.binary("max", line, Symbol(address[tap * step : tap * step + size]))
    assert isinstance(line, Symbol)
    first = np.arange(prod(x.shape[:2])).reshape(x.shape[:2]) * prod(padded.shape[2:])
    for axis, stride in zip(axes, strides, strict=True):
        first = np.add.outer(first, np.arange(axis.places) * axis.stride * stride)
    return Symbol(line.address[first])


def _kernel_axes(axes: Sequence[Window]) -> list[int]:
    return list(range(2 + len(axes), 2 + 2 * len(axes)))


def _seen(site: Site, address: NDArray[np.int64], axes: Sequence[Window], padding: float) -> Symbol:
    """`[batch, channels, places..., kernel...]`: the elements that the kernel sees at each place."""
    if any(((axis.positions() < 0) | (axis.positions() >= axis.length)).any() for axis in axes):
        fill = site.builder.address_of(padding)
        address = np.pad(address, ((0, 0), (0, 0), *[(0, 1)] * len(axes)), constant_values=fill)
    return Symbol(_laid_on(address, axes))


def _laid_on(table: NDArray[np.int64], axes: Sequence[Window]) -> NDArray[np.int64]:
    for number in reversed(range(len(axes))):
        positions, length = axes[number].positions(), axes[number].length
        table = table.take(np.where((positions < 0) | (positions >= length), length, positions), axis=2 + number)
    places = [2 + 2 * number for number in range(len(axes))]
    return np.transpose(table, (0, 1, *places, *(axis + 1 for axis in places)))


def _average(site: Site, x: Symbol, axes: Sequence[Window]) -> Tensor:
    with_padding = site.attribute("count_include_pad", 0)
    counts = []
    for axis in axes:
        positions = axis.positions()
        low, high = (-axis.before, axis.length + axis.behind) if with_padding else (0, axis.length)
        counts.append(((positions >= low) & (positions < high)).sum(axis=1))
    seen = _seen(site, x.address, axes, 0.0)
    number = reduce(np.multiply.outer, counts)
    if (number == np.prod([axis.kernel for axis in axes])).all():
        return over(site, "reduce", seen, _kernel_axes(axes), function="mean")
    total = over(site, "reduce", seen, _kernel_axes(axes), function="sum")
    return site.binary("div", total, number.astype(np.float32))


def _places(site: Site, x: Symbol, seen: Symbol, axes: Sequence[Window]) -> Tensor:
    """Where the largest elements lie in the flat input; with `storage_order` 1 as if its axes went the other way."""
    batch, channels, *spatial = x.shape
    image = np.arange(np.prod(spatial)).reshape(spatial)
    if site.attribute("storage_order", 0):
        image = np.arange(np.prod(spatial)).reshape(spatial[::-1]).T
    flat = np.arange(batch * channels).reshape(batch, channels, *[1] * len(spatial)) * image.size + image
    flat = _laid_on(np.pad(flat, ((0, 0), (0, 0), *[(0, 1)] * len(axes))), axes)
    kernel = seen.shape[-len(axes) :]
    best = over(site, "argmax", seen, _kernel_axes(axes))
    number = np.arange(np.prod(kernel)).reshape(kernel)
    hit = site.binary("equal", Symbol(best.address.reshape(*best.shape, *[1] * len(axes))), number)
    chosen = site.binary("mul", hit, flat.astype(np.float32))
    assert isinstance(chosen, Symbol)
    return Symbol(over(site, "reduce", chosen, _kernel_axes(axes), function="sum").address, INTEGER)


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(site: Site) -> Tensor:
    x = site.symbol(0)
    axes = list(range(2, len(x.shape)))
    if site.operator == "GlobalLpPool":
        reduced = norm(site, x, axes, float(site.attribute("p", 2)))
    else:
        reduced = over(site, "reduce", x, axes, function="max" if site.operator == "GlobalMaxPool" else "mean")
    return Symbol(np.expand_dims(reduced.address, tuple(axes)))


@lowers("MaxUnpool")
def _max_unpool(site: Site) -> Tensor:
    x, places = site.symbol(0), site.array(1, "indices")
    kernel, pads = site.attribute("kernel_shape"), site.attribute("pads", [0] * 2 * len(x.shape[2:]))
    strides = site.attribute("strides", [1] * len(kernel))
    ends = zip(x.shape[2:], strides, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True)
    shape = [*x.shape[:2], *((size - 1) * stride - a - b + k for size, stride, k, a, b in ends)]
    fixed = site.integers(2, "output shape") if site.has(2) else shape
    result = np.full(int(np.prod(fixed)), site.builder.address_of(0.0))
    # The indices count in the smaller of the two shapes.
    where = np.unravel_index(places.ravel(), shape)
    result.reshape(fixed)[where] = x.address.ravel()
    return site.builder.view(result.reshape(fixed))
