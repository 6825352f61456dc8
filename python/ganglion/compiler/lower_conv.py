"""Lowers convolutions and poolings along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor
from ganglion.compiler.lower_reduce import over
from ganglion.compiler.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.compiler.builder import Builder


@lowers("Conv")
def _conv(site: Site) -> Tensor:
    x = site.tensor(0)
    weight = np.ascontiguousarray(site.array(1, "weight"), np.float32)
    if len(x.shape) != 3 or weight.ndim != 3:
        raise site.refuse(
            f"an input of shape {list(x.shape)}; only convolutions along one axis, [batch, channels, length], are "
            "supported"
        )
    assert isinstance(x, Symbol)
    left, right = _pads(site, x.shape[2], weight.shape[2])
    stride, dilation = site.attribute("strides", [1])[0], site.attribute("dilations", [1])[0]
    tensors = {"weight": weight}
    if site.has(2):
        tensors["bias"] = site.array(2, "bias").astype(np.float32)
    rows = []
    for address in x.address:
        padding = "zeros"
        pads = (left, right)
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
        rows.append(site.builder.symbol(value, (weight.shape[0], out_length)).address)
    return Symbol(np.stack(rows))


def _pads(site: Site, length: int, kernel: int) -> tuple[int, int]:
    mode = site.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        left, right = site.attribute("pads", [0, 0])
        return int(left), int(right)
    if mode == "VALID":
        return 0, 0
    stride, dilation = site.attribute("strides", [1])[0], site.attribute("dilations", [1])[0]
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
