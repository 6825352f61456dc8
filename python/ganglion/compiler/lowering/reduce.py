"""Lowers reductions, softmax, argmax and normalisations. Other axes than the last one are moved there first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import INTEGER, Symbol, Tensor, scalar, size_of
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_REDUCTIONS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceSumSquare": "sum_square",
    "ReduceLogSumExp": "logsumexp",
    "ReduceLogSum": "sum",
}


@lowers(*_REDUCTIONS)
def _reduce(site: Site) -> Tensor:
    x = site.symbol(0)
    axes = site.axes("axes", 1, len(x.shape))
    if not axes:
        if site.attribute("noop_with_empty_axes", 0):
            return x
        axes = list(range(len(x.shape)))
    reduced = over(site, "reduce", x, axes, function=_REDUCTIONS[site.operator])
    if site.operator == "ReduceLogSum":
        reduced = site.unary("log", reduced)  # type: ignore[assignment]
    return _with_axes(reduced, axes) if site.attribute("keepdims", 1) else reduced


@lowers("ArgMax", "ArgMin")
def _argmax(site: Site) -> Tensor:
    x = site.symbol(0)
    if site.operator == "ArgMin":
        x = site.unary("neg", x)  # type: ignore[assignment]
    axes = [site.axis(site.attribute("axis", 0), len(x.shape))]
    if site.attribute("select_last_index", 0):
        reverse = over(site, "argmax", Symbol(np.flip(x.address, axes[0])), axes)
        last = scalar(x.shape[axes[0]] - 1)
        found = site.binary("sub", last, reverse)
    else:
        found = over(site, "argmax", x, axes)
    assert isinstance(found, Symbol)
    found = Symbol(found.address, INTEGER)
    return _with_axes(found, axes) if site.attribute("keepdims", 1) else found


@lowers("TopK")
def _top_k(site: Site) -> tuple[Tensor, ...]:
    x = site.symbol(0)
    count = site.integers(1, "k")[0] if site.opset >= 10 else int(site.attribute("k"))
    axes = [site.axis(site.attribute("axis", -1), len(x.shape))]
    if not 1 <= count <= x.shape[axes[0]]:
        raise site.refuse(f"the {count} largest of {x.shape[axes[0]]} elements")
    negative = not site.attribute("largest", 1)
    signed = site.unary("neg", x) if negative else x
    assert isinstance(signed, Symbol)
    if count > 1:
        return _largest(site, x, signed, axes[0], count)
    best: Tensor = over(site, "reduce", signed, axes, function="max")
    if negative:
        best = site.unary("neg", best)
    index = over(site, "argmax", signed, axes)
    assert isinstance(best, Symbol)
    return _with_axes(Symbol(best.address, x.kind), axes), _with_axes(Symbol(index.address, INTEGER), axes)


def _largest(site: Site, x: Symbol, signed: Symbol, axis: int, count: int) -> tuple[Tensor, ...]:
    """Several largest elements, by how many others come before each: the larger ones, and of equal ones the first."""
    size = x.shape[axis]
    last = Symbol(np.moveaxis(signed.address, axis, -1))
    one, other = Symbol(last.address[..., :, None]), Symbol(last.address[..., None, :])
    earlier = np.tri(size, k=-1, dtype=np.float32)  # [one, other]: the other stands before
    ties = site.binary("mul", site.binary("equal", other, one), earlier)
    before = site.binary("add", site.binary("greater", other, one), ties)
    assert isinstance(before, Symbol)
    rank = over(site, "reduce", before, [len(x.shape)], function="sum")  # [..., size]
    ranks = np.arange(count, dtype=np.float32)[:, None]
    hit = site.binary("equal", Symbol(rank.address[..., None, :]), ranks)  # [..., count, size]
    assert isinstance(hit, Symbol)
    index = over(site, "argmax", hit, [len(x.shape)])
    values = np.broadcast_to(np.moveaxis(x.address, axis, -1)[..., None, :], hit.shape)
    # What is not chosen must not count, even where it is infinite.
    operands = [site.builder.vector(hit), site.builder.vector(Symbol(values)), site.builder.constant(np.zeros(1))]
    chosen = site.builder.symbol(site.builder.emit("where", operands, [hit.address.size])[0], hit.shape)
    found = over(site, "reduce", chosen, [len(x.shape)], function="sum")
    return (
        Symbol(np.moveaxis(found.address, -1, axis), x.kind),
        Symbol(np.moveaxis(index.address, -1, axis), INTEGER),
    )


@lowers("Hardmax")
def _hardmax(site: Site) -> Tensor:
    x = site.symbol(0)
    # Before opset 13 the tensor is taken as a matrix, and the axis says where its columns begin.
    axis = site.axis(site.attribute("axis", -1 if site.opset >= 13 else 1), len(x.shape))
    axes = [axis] if site.opset >= 13 else list(range(axis, len(x.shape)))
    best = over(site, "argmax", x, axes)
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(len(x.shape))]
    return site.binary("equal", _with_axes(best, axes), np.arange(size_of(shape), dtype=np.float32).reshape(shape))


@lowers("LpNormalization")
def _lp_normalization(site: Site) -> Tensor:
    x = site.symbol(0)
    axes = [site.axis(site.attribute("axis", -1), len(x.shape))]
    length = _with_axes(norm(site, x, axes, float(site.attribute("p", 2))), axes)
    # Zeros stay zeros.
    nothing = site.binary("equal", length, scalar(0.0))
    return site.binary("div", x, site.binary("add", length, nothing))


@lowers("LRN")
def _local_response(site: Site) -> Tensor:
    x, size = site.symbol(0), int(site.attribute("size"))
    zero = site.builder.address_of(0.0)
    before = (size - 1) // 2
    padded = np.pad(
        x.address, ((0, 0), (before, size - 1 - before), *[(0, 0)] * (len(x.shape) - 2)), constant_values=zero
    )
    seen = padded[:, np.arange(x.shape[1])[:, None] + np.arange(size)]  # [batch, channels, size, ...]
    total = over(site, "reduce", Symbol(seen), [2], function="sum_square")
    alpha, beta = float(site.attribute("alpha", 1e-4)), float(site.attribute("beta", 0.75))
    scaled = site.binary("mul", total, scalar(alpha / size))
    scaled = site.binary("add", scaled, scalar(site.attribute("bias", 1.0)))
    return site.binary("div", x, site.binary("pow", scaled, scalar(beta)))


def norm(site: Site, x: Symbol, axes: Sequence[int], order: float) -> Symbol:
    """`sum(|x| ** order) ** (1 / order)` over some axes, which go away."""
    if order in (1.0, 2.0):
        return over(site, "reduce", x, axes, function="l1" if order == 1.0 else "l2")
    powers = site.binary("pow", site.unary("abs", x), scalar(order))
    assert isinstance(powers, Symbol)
    total = over(site, "reduce", powers, axes, function="sum")
    root = site.binary("pow", total, scalar(1.0 / order))
    assert isinstance(root, Symbol)
    return root


def over(site: Site, kind: str, x: Symbol, axes: Sequence[int], **attributes: Any) -> Symbol:
    """An operation that gives one element per row, over some axes, which go away."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    address = x.address.transpose(*kept, *sorted(axes))
    shape = address.shape[: len(kept)]
    rows, columns = size_of(shape), size_of(address.shape[len(kept) :])
    if rows * columns == 0:
        raise site.refuse(f"its input of shape {list(x.shape)} is empty")
    value = site.builder.vector(Symbol(address))
    return site.builder.symbol(
        site.builder.emit(kind, [value], [rows], rows=rows, columns=columns, **attributes)[0], shape
    )


def _with_axes(x: Symbol, axes: Sequence[int]) -> Symbol:
    return Symbol(np.expand_dims(x.address, tuple(axes)), x.kind)


def along(
    site: Site,
    kind: str,
    x: Symbol,
    axes: Sequence[int],
    tensors: dict[str, NDArray[Any]] | None = None,
    **attributes: Any,
) -> Symbol:
    """An operation that gives as many elements as it takes, along some axes."""
    order = [axis for axis in range(len(x.shape)) if axis not in axes] + sorted(axes)
    address = x.address.transpose(order)
    columns = size_of(x.shape[axis] for axis in axes)  # type: ignore[arg-type]
    value = site.builder.vector(Symbol(address))
    rows = address.size // columns
    sizes = {"rows": rows, "columns": columns}
    result = site.builder.emit(kind, [value], [address.size], tensors, **sizes, **attributes)[0]
    return Symbol(site.builder.symbol(result, address.shape).address.transpose(np.argsort(order)))


@lowers("Softmax", "LogSoftmax")
def _softmax(site: Site) -> Tensor:
    x = site.symbol(0)
    kind = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[site.operator]
    if site.opset >= 13:
        return along(site, kind, x, [site.axis(site.attribute("axis", -1), len(x.shape))])
    # Before opset 13 the tensor is taken as a matrix, and the axis says where its columns begin.
    axis = site.axis(site.attribute("axis", 1), len(x.shape))
    return along(site, kind, x, range(axis, len(x.shape)))


@lowers("LayerNormalization")
def _layer_norm(site: Site) -> tuple[Tensor, ...]:
    x = site.symbol(0)
    axes = range(site.axis(site.attribute("axis", -1), len(x.shape)), len(x.shape))
    epsilon = float(site.attribute("epsilon", 1e-5))
    y = _normal(site, x, axes, epsilon)
    if not any(site.outputs[1:]):
        return (y,)
    mean = _with_axes(over(site, "reduce", x, axes, function="mean"), axes)
    centred = site.binary("sub", x, mean)
    variance = over(site, "reduce", site.binary("mul", centred, centred), axes, function="mean")  # type: ignore[arg-type]
    deviation = site.unary("rsqrt", site.binary("add", variance, scalar(epsilon)))
    assert isinstance(deviation, Symbol)
    return y, mean, _with_axes(deviation, axes)


def _normal(site: Site, x: Symbol, axes: range, epsilon: float) -> Tensor:
    shape = x.shape[axes[0] :]
    given = {"weight": site.tensor(1)} | ({"bias": site.tensor(2)} if site.has(2) else {})
    tensors = {
        role: np.ascontiguousarray(np.broadcast_to(tensor, shape), np.float32).ravel()
        for role, tensor in given.items()
        if not isinstance(tensor, Symbol)
    }
    if len(tensors) == len(given):
        return along(site, "layer_norm", x, axes, tensors, epsilon=epsilon)
    y = site.binary("mul", along(site, "layer_norm", x, axes, epsilon=epsilon), given["weight"])
    return site.binary("add", y, given["bias"]) if "bias" in given else y


@lowers("InstanceNormalization", "GroupNormalization")
def _group_norm(site: Site) -> Tensor:
    x = site.symbol(0)
    channels = x.shape[1]
    groups = site.attribute("num_groups") if site.operator == "GroupNormalization" else channels
    grouped = Symbol(x.address.reshape(x.shape[0], groups, -1))
    normal = along(site, "layer_norm", grouped, [2], epsilon=float(site.attribute("epsilon", 1e-5)))
    scale, bias = site.array(1, "scale"), site.array(2, "bias")
    if len(scale) != channels:  # before opset 21: one number per group
        scale, bias = (np.repeat(numbers, channels // groups) for numbers in (scale, bias))
    shape = (1, channels, *[1] * (len(x.shape) - 2))
    y = site.binary("mul", Symbol(normal.address.reshape(x.shape)), scale.reshape(shape))
    return site.binary("add", y, bias.reshape(shape))


@lowers("BatchNormalization")
def _batch_norm(site: Site) -> Tensor:
    x = site.symbol(0)
    if site.attribute("training_mode", 0) or any(site.outputs[1:]):
        raise site.refuse("it is in training mode; export the policy in eval mode")
    scale, bias, mean, variance = (site.array(i, "statistics").astype(np.float32) for i in range(1, 5))
    factor = scale / np.sqrt(variance + np.float32(site.attribute("epsilon", 1e-5)))
    shape = (1, len(scale), *[1] * (len(x.shape) - 2)) if len(x.shape) > 1 else (len(scale),)
    y = site.binary("mul", x, factor.reshape(shape))
    return site.binary("add", y, (bias - mean * factor).reshape(shape))


@lowers("CumSum")
def _cumsum(site: Site) -> Tensor:
    from ganglion.compiler.lowering.linear import product

    x = site.symbol(0)
    axis = site.axis(site.integers(1, "axis")[0], len(x.shape))
    size = x.shape[axis]
    upper = np.triu(np.ones((size, size), np.float32), k=1 if site.attribute("exclusive", 0) else 0)
    summed = product(site, Symbol(np.moveaxis(x.address, axis, -1)), upper.T if site.attribute("reverse", 0) else upper)
    assert isinstance(summed, Symbol)
    return Symbol(np.moveaxis(summed.address, -1, axis), x.kind)
