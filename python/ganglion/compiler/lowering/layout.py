"""Lowers what only moves elements: indexing of addresses, no operation of its own."""

from __future__ import annotations

import numpy as np

from ganglion.compiler.builder import Symbol, Tensor, kind_of, scalar, size_of
from ganglion.compiler.lowering.site import Site, lowers

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
