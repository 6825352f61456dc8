"""Lowers what reads an image at other places: Resize, Upsample, GridSample with a known grid, Col2Im.

Coordinates and coefficients: ONNX operator documentation, Resize, opset 19, and GridSample, opset 20.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor, scalar
from ganglion.compiler.lowering.reduce import over
from ganglion.compiler.lowering.site import Site, lowers
from ganglion.compiler.lowering.windows import Window, along

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

_PLACES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)
_CROP = "tf_crop_and_resize"


def weighted(site: Site, address: NDArray[np.int64], weight: NDArray[Any]) -> Symbol:
    """The sums over the last axis of elements, each times its weight."""
    weight = np.broadcast_to(weight, address.shape).astype(np.float32)
    if address.shape[-1] == 1 and (weight == 1).all():
        return Symbol(address[..., 0])
    product = site.binary("mul", Symbol(address), weight)
    assert isinstance(product, Symbol)
    return over(site, "reduce", product, [len(address.shape) - 1], function="sum")


@lowers("Resize", "Upsample")
def _resize(site: Site) -> Tensor:
    x = site.symbol(0)
    sizes, scales = _target(site, x.shape)
    roi = np.ravel(site.array(1, "roi")) if site.operator == "Resize" and site.opset > 10 and site.has(1) else ()
    axes = site.axes("axes", len(site.inputs), len(x.shape)) or list(range(len(x.shape)))
    outside = np.zeros([1] * len(x.shape), np.bool_)
    for number, axis in enumerate(axes):
        if sizes[number] == x.shape[axis] and scales[number] == 1.0 and not len(roi):
            continue
        part = (float(roi[number]), float(roi[len(axes) + number])) if len(roi) else (0.0, 1.0)
        places, beyond = _coordinates(site, x.shape[axis], sizes[number], scales[number], part)
        index, weight = _taps(site, places, x.shape[axis], scales[number])
        taken = x.address.take(np.clip(index, 0, x.shape[axis] - 1), axis=axis)  # [..., size, taps, ...]
        taken = np.moveaxis(taken, axis + 1, -1)
        wide = weight.reshape(*[1] * axis, len(places), *[1] * (len(x.shape) - axis - 1), -1)
        x = Symbol(weighted(site, taken, wide).address, x.kind)
        outside = outside | np.reshape(beyond, [-1 if other == axis else 1 for other in range(len(x.shape))])
    if not outside.any():
        return x
    value = scalar(site.attribute("extrapolation_value", 0.0))
    return site.builder.view(np.where(outside, site.builder.addresses(value), x.address), x.kind)


def _target(site: Site, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """Size and scale along each axis that is resized."""
    place = {"Resize": 2 if site.opset > 10 else 1, "Upsample": 1}[site.operator]
    if site.operator == "Resize" and site.has(3):
        sizes = site.integers(3, "sizes")
        axes = site.axes("axes", len(site.inputs), len(shape)) or list(range(len(shape)))
        scales = [size / shape[axis] for size, axis in zip(sizes, axes, strict=True)]
        policy = site.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scale = min(scales) if policy == "not_larger" else max(scales)
            scales = [scale] * len(scales)
            sizes = [int(scale * shape[axis] + 0.5) for axis in axes]
        return sizes, scales
    if site.has(place):
        scales = [float(scale) for scale in np.ravel(site.array(place, "scales"))]
    else:
        scales = list(site.attribute("scales"))
    axes = site.axes("axes", len(site.inputs), len(shape)) or list(range(len(shape)))
    return [int(np.floor(shape[axis] * scale)) for axis, scale in zip(axes, scales, strict=True)], scales


def _coordinates(
    site: Site, length: int, size: int, scale: float, part: tuple[float, float]
) -> tuple[Doubles, NDArray[np.bool_]]:
    """Where each element of the result lies on the axis, and which lie outside of what is cropped."""
    old = site.operator == "Upsample" or site.opset < 11
    mode = "asymmetric" if old else site.attribute("coordinate_transformation_mode", "half_pixel")
    place = np.arange(size, dtype=np.float64)
    width = scale * length
    inside = np.zeros(size, np.bool_)
    if mode == _CROP:
        start, end = part
        reach = end - start
        step = place * reach * (length - 1) / (width - 1) if width > 1 else np.full(size, reach * (length - 1) / 2)
        found = step + start * (length - 1)
        return found, (found < 0) | (found > length - 1)
    if mode not in _PLACES:
        raise site.refuse(f"coordinate_transformation_mode '{mode}' is unknown")
    if mode == "asymmetric":
        return place / scale, inside
    if mode == "align_corners":
        return place * (length - 1) / (width - 1) if width > 1 else 0.0 * place, inside
    if mode == "tf_half_pixel_for_nn":
        return (place + 0.5) / scale, inside
    if mode == "pytorch_half_pixel" and size == 1:
        return 0.0 * place - 0.5, inside
    shift = length / 2 * (1 - size / width) if mode == "half_pixel_symmetric" else 0.0
    return shift + (place + 0.5) / scale - 0.5, inside


def _taps(site: Site, places: Doubles, length: int, scale: float) -> tuple[NDArray[np.int64], Doubles]:
    """Which elements make an element of the result, `[size, taps]`, and how much of each; some lie outside."""
    mode = site.attribute("mode", "nearest")
    if mode == "nearest":
        rounding = site.attribute("nearest_mode", "round_prefer_floor")
        if site.operator == "Upsample" or site.opset < 11:
            rounding = "floor"
        rounded = {
            "round_prefer_floor": np.ceil(places - 0.5),
            "round_prefer_ceil": np.floor(places + 0.5),
            "floor": np.floor(places),
            "ceil": np.ceil(places),
        }[rounding]
        return rounded.astype(np.int64)[:, None], np.ones((len(places), 1))
    if mode not in ("linear", "cubic"):
        raise site.refuse(f"mode '{mode}' is unknown")
    wide = min(scale, 1.0) if site.attribute("antialias", 0) else 1.0
    index, weight = _kernel(mode, places, float(site.attribute("cubic_coeff_a", -0.75)), wide)
    if site.attribute("exclude_outside", 0):
        weight = np.where((index < 0) | (index >= length), 0.0, weight)
    if wide < 1.0 or site.attribute("exclude_outside", 0):
        weight = weight / weight.sum(axis=1, keepdims=True)
    return index.astype(np.int64), weight


def _kernel(mode: str, places: Doubles, a: float, wide: float = 1.0) -> tuple[Doubles, Doubles]:
    """The elements around each place, `[..., taps]`, and how much a linear or cubic kernel takes of each.

    The kernel is `1 / wide` times as long as that of an image that keeps its size.
    """
    reach = 1 if mode == "linear" else 2
    first = int(np.floor(-reach / wide)) + 1
    index: Doubles = np.floor(places)[..., None] + np.arange(first, 2 - first)
    distance = np.abs(index - places[..., None]) * wide
    return index, np.clip(1 - distance, 0, None) if mode == "linear" else cubic(distance, a)


def cubic(distance: Doubles, a: float) -> Doubles:
    """Keys' kernel, IEEE Transactions on Acoustics, Speech, and Signal Processing 29(6), 1981."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


_GRID_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@lowers("GridSample")
def _grid_sample(site: Site) -> Tensor:
    x, grid = site.symbol(0), site.array(1, "grid").astype(np.float64)
    given = site.attribute("mode", "linear")
    mode, padding = _GRID_MODES.get(given, given), site.attribute("padding_mode", "zeros")
    if mode not in ("nearest", "linear", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise site.refuse(f"mode '{given}' with padding_mode '{padding}' is unknown")
    corners = site.attribute("align_corners", 0)
    zero = site.builder.address_of(0.0)
    rows = []
    for address, points in zip(x.address, np.broadcast_to(grid, (len(x.address), *grid.shape[1:])), strict=True):
        index, weight = [], []
        # The last number of a point belongs to the first axis.
        for length, number in zip(address.shape[1:], np.moveaxis(points, -1, 0)[::-1], strict=True):
            place = (number + 1) / 2 * (length - 1) if corners else ((number + 1) * length - 1) / 2
            low, high = (0.0, length - 1.0) if corners else (-0.5, length - 0.5)
            if mode == "nearest":
                place = np.rint(place)
            if padding == "border":
                place = np.where((place < low) | (place > high), np.clip(place, 0, length - 1), place)
            elif padding == "reflection":
                place = _reflected(place, low, high)
            taps, share = _grid_taps(mode, place)
            if padding == "zeros":
                taps = np.where((taps < 0) | (taps >= length), length, taps)
            elif padding == "border":
                taps = np.clip(taps, 0, length - 1)
            else:
                taps = np.clip(np.trunc(_reflected(taps, low, high)), 0, length - 1)
            index.append(taps.astype(np.int64))
            weight.append(share)
        padded = np.pad(address, ((0, 0), *[(0, 1)] * len(index)), constant_values=zero)
        combinations = list(itertools.product(*(range(taps.shape[-1]) for taps in index)))
        last = np.moveaxis(padded, 0, -1)
        seen = [
            np.moveaxis(last[tuple(taps[..., tap] for taps, tap in zip(index, choice, strict=True))], -1, 0)
            for choice in combinations
        ]
        shares = [
            np.prod([share[..., tap] for share, tap in zip(weight, choice, strict=True)], axis=0)
            for choice in combinations
        ]
        rows.append(weighted(site, np.stack(seen, axis=-1), np.stack(shares, axis=-1)).address)
    return Symbol(np.stack(rows), x.kind)


def _grid_taps(mode: str, place: Doubles) -> tuple[Doubles, Doubles]:
    if mode == "nearest":
        return place[..., None], np.ones((*place.shape, 1))
    return _kernel(mode, place, -0.75)


def _reflected(place: Doubles, low: float, high: float) -> Doubles:
    """Places beyond an end, mirrored at the ends until they are inside."""
    if high <= low:
        return np.full_like(place, low)
    beyond = np.where(place < low, low - place, place - high)
    turns, rest = np.floor(beyond / (high - low)), np.mod(beyond, high - low)
    from_low = (place < low) == (turns % 2 == 0)
    return np.where((place < low) | (place > high), np.where(from_low, low + rest, high - rest), place)


@lowers("Col2Im")
def _col_to_image(site: Site) -> Tensor:
    x = site.symbol(0)
    image, block = site.integers(1, "image_shape"), site.integers(2, "block_shape")
    pads = site.attribute("pads", [0] * 2 * len(image))
    axes = []
    for axis, (length, kernel) in enumerate(zip(image, block, strict=True)):
        stride, dilation = along(site, "strides", axis), along(site, "dilations", axis)
        before, behind = int(pads[axis]), int(pads[len(image) + axis])
        count = (length + before + behind - dilation * (kernel - 1) - 1) // stride + 1
        axes.append(Window(length, kernel, stride, dilation, before, behind, count))
    columns = x.address.reshape(x.shape[0], -1, *block, *(axis.places for axis in axes))
    zero = site.builder.address_of(0.0)
    into: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
    for spot in np.ndindex(*block, *(axis.places for axis in axes)):
        taps, places = spot[: len(axes)], spot[len(axes) :]
        target = tuple(int(axis.positions()[place, tap]) for axis, place, tap in zip(axes, places, taps, strict=True))
        if all(0 <= position < axis.length for position, axis in zip(target, axes, strict=True)):
            into.setdefault(target, []).append(np.moveaxis(columns, (0, 1), (-2, -1))[spot])
    most = max(map(len, into.values()))
    result = np.full((*image, most, *columns.shape[:2]), zero)
    for target, sources in into.items():
        result[target][: len(sources)] = sources
    result = np.moveaxis(result, (-2, -1, -3), (0, 1, -1))
    return weighted(site, result, np.ones(1)) if most > 1 else site.builder.view(result[..., 0])
