"""Lowers convolutions along one or two axes, and poolings along one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lowering.reduce import over
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.compiler.builder import Builder


@lowers("Conv")
def _conv(site: Site) -> Tensor:
    x = site.tensor(0)
    weight = np.ascontiguousarray(site.array(1, "weight"), np.float32)
    axes = weight.ndim - 2
    if axes not in (1, 2) or len(x.shape) != weight.ndim:
        raise site.refuse(
            f"an input of shape {list(x.shape)}; only convolutions along one axis, [batch, channels, length], or two, "
            "[batch, channels, height, width], are supported"
        )
    assert isinstance(x, Symbol)
    if axes == 1:
        return Symbol(np.stack([_along_last_axis(site, address, weight) for address in x.address]))
    # A row of an image is a convolution along its width, of as many channels more as the kernel is high.
    top, bottom = _pads(site, x.shape[2], weight.shape[2], axis=0)
    stride, dilation = _along(site, "strides", 0), _along(site, "dilations", 0)
    offsets = np.arange(weight.shape[2]) * dilation
    flat_weight = weight.reshape(weight.shape[0], -1, weight.shape[3])
    zero = site.builder.addresses(np.zeros(1, np.float32))[0]
    images = []
    for address in x.address:
        padded = np.pad(address, ((0, 0), (top, bottom), (0, 0)), constant_values=zero)
        if padded.shape[1] <= offsets[-1]:
            raise site.refuse(f"the kernel is higher than the input of height {address.shape[1]}")
        rows = [
            _along_last_axis(site, padded[:, first + offsets].reshape(-1, padded.shape[2]), flat_weight)
            for first in range(0, padded.shape[1] - offsets[-1], stride)
        ]
        images.append(np.stack(rows, axis=1))
    return Symbol(np.stack(images))


def _along_last_axis(site: Site, address: NDArray[np.int64], weight: NDArray[np.float32]) -> NDArray[np.int64]:
    """Emits the convolution of `[channels, length]` with `[out channels, channels of a group, kernel]`."""
    stride, dilation = _along(site, "strides", -1), _along(site, "dilations", -1)
    tensors = {"weight": weight}
    if site.has(2):
        tensors["bias"] = site.array(2, "bias").astype(np.float32)
    pads, padding = _pads(site, address.shape[1], weight.shape[2], axis=-1), "zeros"
    if pads == (0, 0):
        address, pads, padding = _unpadded(site.builder, address)
    length = address.shape[1]
    out_length = (sum(pads) + length - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    if out_length < 1:
        raise site.refuse(f"the kernel is longer than the input of length {length}")
    value = site.builder.emit(
        "conv1d",
        [site.builder.vector(Symbol(address))],
        [weight.shape[0] * out_length],
        tensors,
        in_channels=address.shape[0],
        length=length,
        out_channels=weight.shape[0],
        out_length=out_length,
        stride=stride,
        dilation=dilation,
        groups=site.attribute("group", 1),
        pad_left=pads[0],
        pad_right=pads[1],
        padding=padding,
    )[0]
    return site.builder.symbol(value, (weight.shape[0], out_length)).address


def _along(site: Site, attribute: str, axis: int) -> int:
    values = site.attribute(attribute, [])
    return int(values[axis]) if values else 1


def _pads(site: Site, length: int, kernel: int, axis: int = -1) -> tuple[int, int]:
    """Padding before and behind one axis; ONNX lists those before all axes first."""
    mode = site.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = site.attribute("pads", [])
        before, behind = pads[: len(pads) // 2], pads[len(pads) // 2 :]
        return (int(before[axis]), int(behind[axis])) if pads else (0, 0)
    if mode == "VALID":
        return 0, 0
    stride, dilation = _along(site, "strides", axis), _along(site, "dilations", axis)
    total = max((-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _unpadded(builder: Builder, address: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[int, int], str]:
    """Finds padding that was written as a Pad or a Concat before the convolution."""
    padded = address.shape[1]
    zero = builder.addresses(np.zeros(1, np.float32))[0]
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


@lowers("MaxPool", "AveragePool")
def _pool(site: Site) -> Tensor:
    x = site.tensor(0)
    if len(x.shape) != 3 or len(site.outputs) > 1 or site.attribute("ceil_mode", 0):
        raise site.refuse("only poolings along one axis, without ceil_mode and indices, are supported")
    assert isinstance(x, Symbol)
    kernel = site.attribute("kernel_shape")[0]
    stride, dilation = site.attribute("strides", [1])[0], site.attribute("dilations", [1])[0]
    if _pads(site, x.shape[2], kernel) != (0, 0):
        raise site.refuse("padding is not supported")
    out_length = (x.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    if out_length < 1:
        raise site.refuse(f"the kernel is longer than the input of length {x.shape[2]}")
    windows = x.address[:, :, np.arange(out_length)[:, None] * stride + np.arange(kernel) * dilation]
    function = "max" if site.operator == "MaxPool" else "mean"
    return over(site, "reduce", Symbol(windows), [3], function=function)


@lowers("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(site: Site) -> Tensor:
    x = site.tensor(0)
    assert isinstance(x, Symbol)
    axes = list(range(2, len(x.shape)))
    reduced = over(site, "reduce", x, axes, function="max" if site.operator == "GlobalMaxPool" else "mean")
    return Symbol(np.expand_dims(reduced.address, tuple(axes)))
