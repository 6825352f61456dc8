"""Lowers what only moves elements: indexing of addresses, no operation of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.bounds import bounds
from ganglion.compiler.builder import FLOAT, Symbol, Tensor, size_of
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAD_MODES = ("constant", "reflect", "edge", "wrap")


def _kind(tensor: Tensor) -> str:
    return tensor.kind if isinstance(tensor, Symbol) else FLOAT


def _symbol(site: Site, index: int = 0) -> Symbol:
    found = site.tensor(index)
    if not isinstance(found, Symbol):
        raise site.refuse("its data is constant but a parameter is computed; the native engine needs it the other way")
    return found


@lowers("Identity", "Dropout")
def _identity(site: Site) -> Tensor | tuple[Tensor, ...]:
    x = site.tensor(0)
    if site.operator == "Dropout" and site.has(2) and np.any(site.array(2, "training mode")):
        raise site.refuse("it is in training mode; export the policy in eval mode")
    return x if len(site.outputs) == 1 else (x, np.ones(x.shape, np.bool_))


@lowers("Reshape")
def _reshape(site: Site) -> Tensor:
    x, shape = _symbol(site), site.integers(1, "shape")
    if not site.attribute("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    try:
        return Symbol(x.address.reshape(shape), x.kind)
    except ValueError as error:
        raise site.refuse(f"a tensor of shape {list(x.shape)} cannot take the shape {shape}") from error


@lowers("Flatten")
def _flatten(site: Site) -> Tensor:
    x = _symbol(site)
    axis = site.attribute("axis", 1)
    axis = axis if axis == len(x.shape) else site.axis(axis, len(x.shape))
    return Symbol(x.address.reshape(size_of(x.shape[:axis]), -1), x.kind)


@lowers("Squeeze")
def _squeeze(site: Site) -> Tensor:
    x = _symbol(site)
    axes = site.axes("axes", 1, len(x.shape))
    try:
        return Symbol(x.address.squeeze(None if axes is None else tuple(axes)), x.kind)
    except ValueError as error:
        raise site.refuse(f"axes {axes} of shape {list(x.shape)} are not all of size one") from error


@lowers("Unsqueeze")
def _unsqueeze(site: Site) -> Tensor:
    x = _symbol(site)
    given = site.integers(1, "axes") if site.has(1) else site.attribute("axes")
    axes = tuple(site.axis(axis, len(x.shape) + len(given)) for axis in given)
    return Symbol(np.expand_dims(x.address, axes), x.kind)


@lowers("Transpose")
def _transpose(site: Site) -> Tensor:
    x = _symbol(site)
    return Symbol(x.address.transpose(site.attribute("perm", None)), x.kind)


@lowers("Concat")
def _concat(site: Site) -> Tensor:
    tensors = [site.tensor(i) for i in range(len(site.inputs))]
    axis = site.axis(site.attribute("axis"), len(tensors[0].shape))
    kind = next(tensor.kind for tensor in tensors if isinstance(tensor, Symbol))
    try:
        address = np.concatenate([site.builder.addresses(tensor) for tensor in tensors], axis=axis)
    except ValueError as error:
        raise site.refuse(f"shapes {[list(tensor.shape) for tensor in tensors]} do not fit together") from error
    return site.builder.view(address, kind)


@lowers("Split")
def _split(site: Site) -> tuple[Tensor, ...]:
    x = _symbol(site)
    axis = site.axis(site.attribute("axis", 0), len(x.shape))
    if site.has(1):
        sizes = site.integers(1, "split")
    elif "split" in site.attributes:
        sizes = list(site.attributes["split"])
    else:
        count = site.attribute("num_outputs", len(site.outputs))
        chunk = -(-x.shape[axis] // count)
        sizes = [min(chunk, x.shape[axis] - i * chunk) for i in range(count)]
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise site.refuse(f"an axis of {x.shape[axis]} elements cannot be split into {sizes}")
    parts = np.split(x.address, np.cumsum(sizes)[:-1], axis=axis)
    return tuple(site.builder.view(part, x.kind) for part in parts)


@lowers("Slice")
def _slice(site: Site) -> Tensor:
    x = _symbol(site)
    starts, ends = site.integers(1, "starts"), site.integers(2, "ends")
    axes = site.axes("axes", 3, len(x.shape)) or list(range(len(starts)))
    steps = site.integers(4, "steps") if site.has(4) else [1] * len(starts)
    slices = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise site.refuse("a step of 0")
        # In NumPy an end of -1 is the last element; ONNX marks "before the first" with a number below -size.
        before_first = step < 0 and end < -x.shape[axis]
        slices[axis] = slice(start, None if before_first else end, step)
    return site.builder.view(x.address[tuple(slices)], x.kind)


@lowers("Expand")
def _expand(site: Site) -> Tensor:
    x, shape = _symbol(site), site.integers(1, "shape")
    try:
        return Symbol(np.broadcast_to(x.address, np.broadcast_shapes(x.shape, tuple(shape))), x.kind)
    except ValueError as error:
        raise site.refuse(f"a tensor of shape {list(x.shape)} cannot be expanded to {shape}") from error


@lowers("Tile")
def _tile(site: Site) -> Tensor:
    x = _symbol(site)
    return site.builder.view(np.tile(x.address, site.integers(1, "repeats")), x.kind)


@lowers("Pad")
def _pad(site: Site) -> Tensor:
    x = _symbol(site)
    rank = len(x.shape)
    pads = site.integers(1, "pads") if site.has(1) else list(site.attribute("pads"))
    axes = site.axes("axes", 3, rank) or list(range(rank))
    widths = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    mode = site.attribute("mode", "constant")
    if mode not in _PAD_MODES:
        raise site.refuse(f"padding mode '{mode}' is unknown")
    # Negative widths crop.
    kept = tuple(slice(-min(a, 0), size + min(b, 0)) for (a, b), size in zip(widths, x.shape, strict=True))
    address = x.address[kept]
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    if not any(a or b for a, b in widths):
        return site.builder.view(address, x.kind)
    if mode == "constant":
        filling = site.array(2, "constant value") if site.has(2) else np.zeros(1, np.float32)
        fill = int(site.builder.addresses(np.ravel(filling)[:1])[0])
        return site.builder.view(np.pad(address, widths, constant_values=fill), x.kind)
    return site.builder.view(np.pad(address, widths, mode=mode), x.kind)


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
    low, high = bounds(site.builder, site.builder.vector(index))
    if low < 0 or high > rows - 1:
        raise site.refuse(
            f"its index is computed from the observation or the state and may be from {low:g} to {high:g} for a table "
            f"of {rows} rows; limit it with torch.clamp(index, 0, {rows - 1})"
        )
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
    return Symbol(moved, _kind(data))


@lowers("GatherElements")
def _gather_elements(site: Site) -> Tensor:
    data, index = _symbol(site), site.array(1, "indices")
    axis = site.axis(site.attribute("axis", 0), len(data.shape))
    return site.builder.view(data.address[_places(index, axis)], data.kind)


def _places(index: NDArray[Any], axis: int) -> tuple[NDArray[Any], ...]:
    """Where each element of an index into one axis lies, along all axes."""
    along = [np.asarray(place) for place in np.indices(index.shape)]
    return (*along[:axis], index, *along[axis + 1 :])


@lowers("GatherND")
def _gather_nd(site: Site) -> Tensor:
    data, index = _symbol(site), site.array(1, "indices")
    if site.attribute("batch_dims", 0):
        raise site.refuse("batch_dims above 0 is not supported")
    return site.builder.view(data.address[tuple(np.moveaxis(index, -1, 0))], data.kind)


@lowers("ScatterND", "ScatterElements", "Scatter")
def _scatter(site: Site) -> Tensor:
    data, index, updates = site.tensor(0), site.array(1, "indices"), site.tensor(2)
    if site.attribute("reduction", "none") != "none":
        raise site.refuse("only the reduction 'none' is supported")
    address = site.builder.addresses(data).copy()
    if site.operator == "ScatterND":
        places = tuple(np.moveaxis(index, -1, 0))
    else:
        places = _places(index, site.axis(site.attribute("axis", 0), len(data.shape)))
    address[places] = site.builder.addresses(updates)
    return site.builder.view(address, _kind(data) if isinstance(data, Symbol) else _kind(updates))


@lowers("ReverseSequence", "NonZero", "Unique", "Compress", "NonMaxSuppression")
def _dynamic(site: Site) -> Tensor:
    raise site.refuse("the size of its result depends on the observation; the native engine needs fixed sizes")


@lowers("Trilu")
def _trilu(site: Site) -> Tensor:
    x = _symbol(site)
    shift = int(site.array(1, "k").ravel()[0]) if site.has(1) else 0
    rows, columns = x.shape[-2:]
    distance = np.arange(columns) - np.arange(rows)[:, None]
    keep = distance >= shift if site.attribute("upper", 1) else distance <= shift
    zero = site.builder.addresses(np.zeros(1, np.float32))[0]
    return site.builder.view(np.where(keep, x.address, zero), x.kind)


@lowers("OneHot")
def _one_hot(site: Site) -> Tensor:
    index, depth = _symbol(site), site.integers(1, "depth")[0]
    off, on = np.ravel(site.array(2, "values"))
    axis = site.axis(site.attribute("axis", -1), len(index.shape) + 1)
    shape = [1] * (len(index.shape) + 1)
    shape[axis] = depth
    numbers = np.arange(depth, dtype=np.float32).reshape(shape)
    wide = Symbol(np.expand_dims(index.address, axis), index.kind)
    # A negative index counts from the end.
    hit = site.binary("or", site.binary("equal", wide, numbers), site.binary("equal", wide, numbers - depth))
    assert isinstance(hit, Symbol)
    if (off, on) == (0, 1):
        return hit
    values = [site.builder.vector(hit), *(site.builder.constant(np.full(1, end, np.float32)) for end in (on, off))]
    return site.builder.symbol(site.builder.emit("where", values, [hit.address.size])[0], hit.shape)
