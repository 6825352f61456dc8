"""Lowers what only moves elements: indexing of addresses, no operation of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.bounds import bounds
from ganglion.compiler.builder import INTEGER, Symbol, Tensor, kind_of, scalar, size_of
from ganglion.compiler.lowering.site import Site, lowers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAD_MODES = ("constant", "reflect", "edge", "wrap")


@lowers("Identity", "Dropout")
def _identity(site: Site) -> Tensor | tuple[Tensor, ...]:
    x = site.tensor(0)
    if site.operator == "Dropout" and site.has(2) and np.any(site.array(2, "training mode")):
        raise site.refuse("it is in training mode; export the policy in eval mode")
    return x if len(site.outputs) == 1 else (x, np.ones(x.shape, np.bool_))


@lowers("Reshape")
def _reshape(site: Site) -> Tensor:
    x, shape = site.symbol(0), site.integers(1, "shape")
    if not site.attribute("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    try:
        return Symbol(x.address.reshape(shape), x.kind)
    except ValueError as error:
        raise site.refuse(f"a tensor of shape {list(x.shape)} cannot take the shape {shape}") from error


@lowers("Flatten")
def _flatten(site: Site) -> Tensor:
    x = site.symbol(0)
    axis = site.attribute("axis", 1)
    axis = axis if axis == len(x.shape) else site.axis(axis, len(x.shape))
    return Symbol(x.address.reshape(size_of(x.shape[:axis]), -1), x.kind)


@lowers("Squeeze")
def _squeeze(site: Site) -> Tensor:
    x = site.symbol(0)
    axes = site.axes("axes", 1, len(x.shape))
    try:
        return Symbol(x.address.squeeze(None if axes is None else tuple(axes)), x.kind)
    except ValueError as error:
        raise site.refuse(f"axes {axes} of shape {list(x.shape)} are not all of size one") from error


@lowers("Unsqueeze")
def _unsqueeze(site: Site) -> Tensor:
    x = site.symbol(0)
    given = site.integers(1, "axes") if site.has(1) else site.attribute("axes")
    axes = tuple(site.axis(axis, len(x.shape) + len(given)) for axis in given)
    return Symbol(np.expand_dims(x.address, axes), x.kind)


@lowers("Transpose")
def _transpose(site: Site) -> Tensor:
    x = site.symbol(0)
    return Symbol(x.address.transpose(site.attribute("perm", None)), x.kind)


@lowers("Concat")
def _concat(site: Site) -> Tensor:
    tensors = [site.tensor(i) for i in range(len(site.inputs))]
    axis = site.axis(site.attribute("axis"), len(tensors[0].shape))
    kind = kind_of(*tensors)
    try:
        address = np.concatenate([site.builder.addresses(tensor) for tensor in tensors], axis=axis)
    except ValueError as error:
        raise site.refuse(f"shapes {[list(tensor.shape) for tensor in tensors]} do not fit together") from error
    return site.builder.view(address, kind)


@lowers("Split")
def _split(site: Site) -> tuple[Tensor, ...]:
    x = site.symbol(0)
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
    x = site.symbol(0)
    if site.opset < 10:
        starts, ends = list(site.attribute("starts")), list(site.attribute("ends"))
    else:
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
    x, shape = site.symbol(0), site.integers(1, "shape")
    try:
        return Symbol(np.broadcast_to(x.address, np.broadcast_shapes(x.shape, tuple(shape))), x.kind)
    except ValueError as error:
        raise site.refuse(f"a tensor of shape {list(x.shape)} cannot be expanded to {shape}") from error


@lowers("Tile")
def _tile(site: Site) -> Tensor:
    x = site.symbol(0)
    return site.builder.view(np.tile(x.address, site.integers(1, "repeats")), x.kind)


@lowers("Pad")
def _pad(site: Site) -> Tensor:
    x = site.symbol(0)
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
        filling = site.tensor(2) if site.has(2) else scalar(site.attribute("value", 0.0))
        fill = int(site.builder.addresses(filling).flat[0])
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
    index = _inside(site, index, rows)
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
    return Symbol(moved, kind_of(data))


def _inside(site: Site, index: Symbol, rows: int) -> Symbol:
    """An index into a table of so many rows that cannot leave it; a negative one counts from the end."""
    low, high = bounds(site.builder, site.builder.vector(index))
    if low < 0 and high > rows - 1:
        raise site.refuse(
            f"its index is computed from the observation or the state and may be from {low:g} to {high:g} for a table "
            f"of {rows} rows; limit it with torch.clamp(index, 0, {rows - 1})"
        )
    found: Tensor = index
    if low < 0:
        end = scalar(rows)
        from_end = site.binary("mul", site.binary("less", found, scalar(0.0)), end)
        found = site.binary("add", found, from_end, INTEGER)
    if low < -rows or high > rows - 1:
        found = site.unary("clip", found, INTEGER, low=0.0, high=float(rows - 1))
    assert isinstance(found, Symbol)
    return found


@lowers("GatherElements")
def _gather_elements(site: Site) -> Tensor:
    data, index = site.tensor(0), site.tensor(1)
    axis = site.axis(site.attribute("axis", 0), len(data.shape))
    if isinstance(index, Symbol):
        return _look_up_elements(site, data, index, axis)
    assert isinstance(data, Symbol)
    return site.builder.view(data.address[places_along(index, axis)], data.kind)


def _look_up_elements(site: Site, data: Tensor, index: Symbol, axis: int) -> Tensor:
    index = _inside(site, index, data.shape[axis])
    tables = np.moveaxis(site.builder.addresses(data), axis, -1)
    wanted = np.moveaxis(index.address, axis, -1)
    found = np.empty(wanted.shape, np.int64)
    for place in np.ndindex(wanted.shape):
        table = site.builder.vector(site.builder.view(tables[place[:-1]]))
        inputs = [table, site.builder.vector(Symbol(wanted[place].reshape(1)))]
        value = site.builder.emit("lookup", inputs, [1], rows=data.shape[axis], columns=1)[0]
        found[place] = site.builder.symbol(value, ()).address
    return Symbol(np.moveaxis(found, -1, axis), kind_of(data))


def places_along(index: NDArray[Any], axis: int) -> tuple[NDArray[Any], ...]:
    """Where each element of an index into one axis lies, along all axes."""
    along = [np.asarray(place) for place in np.indices(index.shape)]
    return (*along[:axis], index, *along[axis + 1 :])


@lowers("GatherND")
def _gather_nd(site: Site) -> Tensor:
    data, index = site.symbol(0), site.array(1, "indices")
    shared = site.attribute("batch_dims", 0)
    outer = data.shape[:shared]
    picked = [data.address[place][tuple(np.moveaxis(index[place], -1, 0))] for place in np.ndindex(outer)]
    return site.builder.view(np.stack(picked).reshape(*outer, *picked[0].shape), data.kind)


@lowers("Trilu")
def _trilu(site: Site) -> Tensor:
    x = site.symbol(0)
    shift = int(site.array(1, "k").ravel()[0]) if site.has(1) else 0
    rows, columns = x.shape[-2:]
    distance = np.arange(columns) - np.arange(rows)[:, None]
    keep = distance >= shift if site.attribute("upper", 1) else distance <= shift
    zero = site.builder.address_of(0.0)
    return site.builder.view(np.where(keep, x.address, zero), x.kind)


@lowers("DepthToSpace")
def _depth_to_space(site: Site) -> Tensor:
    x, block = site.symbol(0), int(site.attribute("blocksize"))
    batch, channels, height, width = x.shape
    depth = channels // block**2
    if site.attribute("mode", "DCR") == "DCR":
        parts = x.address.reshape(batch, block, block, depth, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.address.reshape(batch, depth, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return Symbol(parts.reshape(batch, depth, height * block, width * block), x.kind)


@lowers("SpaceToDepth")
def _space_to_depth(site: Site) -> Tensor:
    x, block = site.symbol(0), int(site.attribute("blocksize"))
    batch, channels, height, width = x.shape
    parts = x.address.reshape(batch, channels, height // block, block, width // block, block)
    moved = parts.transpose((0, 3, 5, 1, 2, 4) if site.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4))
    return Symbol(moved.reshape(batch, channels * block**2, height // block, width // block), x.kind)


@lowers("OneHot")
def _one_hot(site: Site) -> Tensor:
    index, depth = site.symbol(0), site.integers(1, "depth")[0]
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
    values = [site.builder.vector(hit), *(site.builder.constant(scalar(end)) for end in (on, off))]
    return site.builder.symbol(site.builder.emit("where", values, [hit.address.size])[0], hit.shape)
