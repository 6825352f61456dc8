"""Lowers reductions, softmax, argmax and normalisations. Other axes than the last one are moved there first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.builder import INTEGER, Symbol, Tensor, size_of
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


def _symbol(site: Site) -> Symbol:
    found = site.tensor(0)
    if not isinstance(found, Symbol):
        raise site.refuse("its data is constant but a parameter is computed")
    return found


@lowers(*_REDUCTIONS)
def _reduce(site: Site) -> Tensor:
    x = _symbol(site)
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
    x = _symbol(site)
    if site.attribute("select_last_index", 0):
        raise site.refuse("select_last_index is not supported")
    if site.operator == "ArgMin":
        x = site.unary("neg", x)  # type: ignore[assignment]
    axes = [site.axis(site.attribute("axis", 0), len(x.shape))]
    found = over(site, "argmax", x, axes)
    found = Symbol(found.address, INTEGER)
    return _with_axes(found, axes) if site.attribute("keepdims", 1) else found


@lowers("TopK")
def _top_k(site: Site) -> tuple[Tensor, ...]:
    x = _symbol(site)
    if site.integers(1, "k") != [1]:
        raise site.refuse("only the one largest element (k = 1) is supported")
    axes = [site.axis(site.attribute("axis", -1), len(x.shape))]
    if not site.attribute("largest", 1):
        x = site.unary("neg", x)  # type: ignore[assignment]
    best: Tensor = over(site, "reduce", x, axes, function="max")
    if not site.attribute("largest", 1):
        best = site.unary("neg", best)
    index = over(site, "argmax", x, axes)
    assert isinstance(best, Symbol)
    return _with_axes(best, axes), _with_axes(Symbol(index.address, INTEGER), axes)


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
    x = _symbol(site)
    kind = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[site.operator]
    if site.opset >= 13:
        return along(site, kind, x, [site.axis(site.attribute("axis", -1), len(x.shape))])
    # Before opset 13 the tensor is taken as a matrix, and the axis says where its columns begin.
    axis = site.axis(site.attribute("axis", 1), len(x.shape))
    return along(site, kind, x, range(axis, len(x.shape)))


@lowers("LayerNormalization")
def _layer_norm(site: Site) -> Tensor:
    x = _symbol(site)
    if any(site.outputs[1:]):
        raise site.refuse("its outputs Mean and InvStdDev are not supported")
    axes = range(site.axis(site.attribute("axis", -1), len(x.shape)), len(x.shape))
    epsilon = float(site.attribute("epsilon", 1e-5))
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
    x = _symbol(site)
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
    x = _symbol(site)
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

    x = _symbol(site)
    axis = site.axis(site.integers(1, "axis")[0], len(x.shape))
    size = x.shape[axis]
    upper = np.triu(np.ones((size, size), np.float32), k=1 if site.attribute("exclusive", 0) else 0)
    summed = product(site, Symbol(np.moveaxis(x.address, axis, -1)), upper.T if site.attribute("reverse", 0) else upper)
    assert isinstance(summed, Symbol)
    return Symbol(np.moveaxis(summed.address, -1, axis), x.kind)
