"""Lowers convolutions, along any number of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lowering.site import Site, lowers
from ganglion.compiler.lowering.windows import Window, along, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.builder import Builder


@lowers("Conv")
def _conv(site: Site) -> Tensor:
    x = site.symbol(0)
    weight = np.ascontiguousarray(site.array(1, "weight"), np.float32)
    _check(site, x, weight)
    return _all_rows(site, x.address, weight, windows(site, x.shape[2:], weight.shape[2:]))


@lowers("ConvTranspose")
def _conv_transpose(site: Site) -> Tensor:
    x = site.symbol(0)
    weight = np.ascontiguousarray(site.array(1, "weight"), np.float32)
    _check(site, x, weight)
    groups = site.attribute("group", 1)
    # A convolution of the input with zeros between its elements, with the kernel the other way round.
    flipped = np.flip(weight.reshape(groups, -1, *weight.shape[1:]), tuple(range(3, weight.ndim + 1)))
    turned = np.ascontiguousarray(flipped.swapaxes(1, 2).reshape(-1, flipped.shape[1], *weight.shape[2:]))
    zero = site.builder.address_of(0.0)
    spread = x.address
    axes = []
    for axis, kernel in enumerate(weight.shape[2:]):
        length, stride = x.shape[2 + axis], along(site, "strides", axis)
        wide = np.full((*spread.shape[: 2 + axis], (length - 1) * stride + 1, *spread.shape[3 + axis :]), zero)
        wide[(*[slice(None)] * (2 + axis), slice(None, None, stride))] = spread
        spread = wide
        axes.append(_transposed_window(site, axis, length, kernel))
    return _all_rows(site, spread, turned, axes)


def _transposed_window(site: Site, axis: int, length: int, kernel: int) -> Window:
    stride, dilation = along(site, "strides", axis), along(site, "dilations", axis)
    given = site.attribute("output_padding", [])
    extra = int(given[axis]) if given else 0
    reach = dilation * (kernel - 1)
    whole = (length - 1) * stride + reach + 1 + extra
    pads, wanted, mode = site.attribute("pads", []), site.attribute("output_shape", []), site.attribute("auto_pad", "")
    if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
        # An output shape may be given with all axes.
        size = int(wanted[axis - (len(site.tensor(0).shape) - 2)]) if wanted else length * stride
        total = whole - size
        before = total - total // 2 if mode != "SAME_UPPER" else total // 2
        behind = total - before
    else:
        before, behind = (int(pads[axis]), int(pads[len(pads) // 2 + axis])) if pads else (0, 0)
    spread = (length - 1) * stride + 1
    return Window(spread, kernel, 1, dilation, reach - before, reach - behind + extra, whole - before - behind)


def _check(site: Site, x: Symbol, weight: NDArray[np.float32]) -> None:
    if weight.ndim < 3 or len(x.shape) != weight.ndim:
        raise site.refuse(
            f"an input of shape {list(x.shape)} with a weight of shape {list(weight.shape)}; [batch, channels, length] "
            "or more axes behind, and as many in the weight, are supported"
        )


def _all_rows(site: Site, addresses: NDArray[np.int64], weight: NDArray[np.float32], axes: Sequence[Window]) -> Tensor:
    # One array for all operations, so that the file holds it once.
    inside = min(len(axes), 2)
    tensors = {"weight": weight.reshape(weight.shape[0], -1, *weight.shape[weight.ndim - inside :])}
    if site.has(2):
        tensors["bias"] = site.array(2, "bias").astype(np.float32)
    return Symbol(np.stack([_convolved(site, _cropped(address, axes), tensors, axes) for address in addresses]))


def _cropped(address: NDArray[np.int64], axes: Sequence[Window]) -> NDArray[np.int64]:
    """`[channels, ...]` without what negative padding takes away."""
    for number, axis in enumerate(axes, start=1):
        kept = range(max(-axis.before, 0), address.shape[number] - max(-axis.behind, 0))
        address = address.take(kept, axis=number)
    return address


def _convolved(
    site: Site, address: NDArray[np.int64], tensors: dict[str, NDArray[np.float32]], axes: Sequence[Window]
) -> NDArray[np.int64]:
    """Emits the convolution of `[channels, ...]`."""
    if len(axes) == 1:
        return _of_row(site, address, tensors, axes[0])
    if len(axes) == 2:
        return _of_image(site, address, tensors, axes)
    # A layer of a volume is a convolution of images, of as many channels more as the kernel is deep.
    first = axes[0]
    zero = site.builder.address_of(0.0)
    pads = _padding(first)
    padded = np.pad(address, ((0, 0), pads, *[(0, 0)] * (address.ndim - 2)), constant_values=zero)
    offsets = np.arange(first.kernel) * first.dilation
    layers = []
    for place in range(first.places):
        seen = padded[:, place * first.stride + offsets]
        layers.append(_convolved(site, seen.reshape(-1, *seen.shape[2:]), tensors, axes[1:]))
    return np.stack(layers, axis=1)


def _padding(axis: Window) -> tuple[int, int]:
    return max(axis.before, 0), max(axis.behind, 0)


def _of_row(
    site: Site, address: NDArray[np.int64], tensors: dict[str, NDArray[np.float32]], axis: Window
) -> NDArray[np.int64]:
    pads, padding = _padding(axis), "zeros"
    if pads == (0, 0):
        address, pads, padding = _unpadded(site.builder, address)
    channels = len(tensors["weight"])
    value = site.builder.emit(
        "conv1d",
        [site.builder.vector(Symbol(address))],
        [channels * axis.places],
        tensors,
        in_channels=address.shape[0],
        length=address.shape[1],
        out_channels=channels,
        out_length=axis.places,
        stride=axis.stride,
        dilation=axis.dilation,
        groups=site.attribute("group", 1),
        pad_left=pads[0],
        pad_right=pads[1],
        padding=padding,
    )[0]
    return site.builder.symbol(value, (channels, axis.places)).address


def _of_image(
    site: Site, address: NDArray[np.int64], tensors: dict[str, NDArray[np.float32]], axes: Sequence[Window]
) -> NDArray[np.int64]:
    down, across = axes
    (top, bottom), (left, right) = _padding(down), _padding(across)
    zero = site.builder.address_of(0.0)
    # Padding that was written as a Pad before the convolution.
    rows, columns = (np.flatnonzero((address != zero).any(axis=axis)) for axis in ((0, 2), (0, 1)))
    if len(rows) and len(columns):
        top, bottom = top + int(rows[0]), bottom + address.shape[1] - 1 - int(rows[-1])
        left, right = left + int(columns[0]), right + address.shape[2] - 1 - int(columns[-1])
        address = address[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    channels = len(tensors["weight"])
    value = site.builder.emit(
        "conv2d",
        [site.builder.vector(Symbol(address))],
        [channels * down.places * across.places],
        tensors,
        in_channels=address.shape[0],
        height=address.shape[1],
        width=address.shape[2],
        out_channels=channels,
        out_height=down.places,
        out_width=across.places,
        stride_height=down.stride,
        stride_width=across.stride,
        dilation_height=down.dilation,
        dilation_width=across.dilation,
        groups=site.attribute("group", 1),
        pad_top=top,
        pad_bottom=bottom,
        pad_left=left,
        pad_right=right,
    )[0]
    return site.builder.symbol(value, (channels, down.places, across.places)).address


def _unpadded(builder: Builder, address: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[int, int], str]:
    """Finds padding that was written as a Pad or a Concat before the convolution."""
    padded = address.shape[1]
    zero = builder.address_of(0.0)
    inside = np.flatnonzero((address != zero).any(axis=0))
    if 0 < len(inside) < padded:
        left, right = int(inside[0]), padded - 1 - int(inside[-1])
        return address[:, left : padded - right], (left, right), "zeros"
    length = len(np.unique(address[0]))
    for left in range(padded - length + 1):
        right = padded - length - left
        core = address[:, left : left + length]
        if max(left, right) <= length and np.array_equal(core[:, (np.arange(padded) - left) % length], address):
            return core, (left, right), "circular" if left or right else "zeros"
    return address, (0, 0), "zeros"
