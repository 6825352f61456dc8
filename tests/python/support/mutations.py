"""Damage: flipped bytes, and ONNX graphs that are no longer what their exporter wrote."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

_WHOLE = (0, 1, 2, 3, -1, -2, 5, 7, 64, 2**31, -(2**31), 2**62)
_REAL = (0.0, -1.0, 0.5, 1e30, -1e30, 1e-30, float("nan"), float("inf"))
_TEXTS = (b"forward", b"reverse", b"bidirectional", b"SAME_UPPER", b"tanh", b"Tanh", b"Affine", b"", b"\xff\xfe")
_OPSETS = (1, 7, 9, 11, 13, 14, 17, 18, 21, 99)
_TYPES = (1, 6, 7, 9, 10, 11)
_OPERATORS = (
    *("Relu", "Tanh", "Exp", "Log", "Elu", "Selu", "Not", "Identity", "Gelu", "Softmax", "Flatten"),
    *("Squeeze", "Shape", "Add", "Sub", "Mul", "Div", "Pow", "Min", "Mod", "PRelu", "MatMul", "Gemm"),
    *("Gather", "Concat", "Slice", "Reshape", "Transpose", "ReduceSum", "LayerNormalization", "Conv"),
    *("MaxPool", "LSTM", "GRU", "RNN", "Where", "Expand", "Split", "Pad", "Clip", "Unsqueeze", "TopK"),
    *("OneHot", "CumSum", "Einsum", "ScatterND", "GatherElements", "Loop", "If"),
)


def flipped(data: bytes, seed: int) -> bytes:
    """The bytes with one bit in them turned, a piece taken out, or some written over."""
    draw = random.Random(seed)
    changed, where = bytearray(data), draw.randrange(len(data))
    kind = draw.randrange(8)
    if kind == 0:
        del changed[where : where + draw.choice((1, 4, 100))]
    elif kind == 1:
        changed[where : where + 4] = draw.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b'""{}'))
    elif kind == 2:
        del changed[where:]
    else:
        for _ in range(draw.choice((1, 1, 1, 3, 20))):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def mutated(model: Any, seed: int) -> Any:
    """The model with one to three things in it changed."""
    draw = random.Random(seed)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.choice(_MUTATIONS)(changed, draw)
    return changed


def _node(model: Any, draw: random.Random) -> Any:
    return draw.choice(model.graph.node) if model.graph.node else onnx.NodeProto()


def _another_operator(model: Any, draw: random.Random) -> None:
    _node(model, draw).op_type = draw.choice(_OPERATORS)


def _another_input(model: Any, draw: random.Random) -> None:
    node, graph = _node(model, draw), model.graph
    names = [name for other in graph.node for name in other.output]
    names += [value.name for values in (graph.input, graph.initializer) for value in values]
    if node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice([*names, ""])


def _inputs_swapped(model: Any, draw: random.Random) -> None:
    node = _node(model, draw)
    order = list(node.input)
    draw.shuffle(order)
    node.input[:] = order


def _an_input_less_or_more(model: Any, draw: random.Random) -> None:
    node = _node(model, draw)
    if node.input and draw.random() < 0.5:
        del node.input[-1]
    elif node.input:
        node.input.append(draw.choice(node.input))


def _an_output_less(model: Any, draw: random.Random) -> None:
    values = draw.choice((_node(model, draw).output, model.graph.output, model.graph.input))
    if values:
        del values[draw.randrange(len(values))]


def _an_attribute_less(model: Any, draw: random.Random) -> None:
    attributes = _node(model, draw).attribute
    if attributes:
        del attributes[draw.randrange(len(attributes))]


def _another_attribute(model: Any, draw: random.Random) -> None:
    attributes = _node(model, draw).attribute
    if not attributes:
        return
    attribute = draw.choice(attributes)
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = draw.choice(_WHOLE)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = draw.choice(_REAL)
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = draw.choice(_TEXTS)
    elif attribute.type == onnx.AttributeProto.INTS:
        attribute.ints[:] = [draw.choice(_WHOLE) for _ in range(draw.randrange(4))]
    elif attribute.type == onnx.AttributeProto.STRINGS:
        attribute.strings[:] = [draw.choice(_TEXTS) for _ in range(draw.randrange(4))]
    elif attribute.type == onnx.AttributeProto.TENSOR:
        attribute.t.dims[:] = [draw.choice(_WHOLE[:6])]


def _an_attribute_of_another_kind(model: Any, draw: random.Random) -> None:
    attributes = _node(model, draw).attribute
    if attributes:
        attribute = draw.choice(attributes)
        attribute.CopyFrom(onnx.helper.make_attribute(attribute.name, draw.choice((1, 0.5, "x", [1, 2], [0.5], ["x"]))))


def _an_attribute_more(model: Any, draw: random.Random) -> None:
    name = draw.choice(("axis", "axes", "perm", "keepdims", "direction", "layout", "hidden_size", "activations", "to"))
    node = _node(model, draw)
    if all(attribute.name != name for attribute in node.attribute):
        node.attribute.append(onnx.helper.make_attribute(name, draw.choice((1, -7, [0, 1], [9], "reverse"))))


def _another_weight(model: Any, draw: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = draw.choice(model.graph.initializer)
    try:
        values = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError):  # damaged before
        return
    if not values.size or values.dtype.kind not in "fi":
        return
    flat = values.reshape(-1)
    flat[draw.randrange(flat.size)] = draw.choice(_WHOLE[:8] if values.dtype.kind == "i" else _REAL)
    shaped = draw.choice((values, values.reshape(1, *values.shape), values.reshape(-1), values[..., None], flat[:0]))
    tensor.CopyFrom(numpy_helper.from_array(shaped, tensor.name))


def _another_shape(model: Any, draw: random.Random) -> None:
    if model.graph.initializer and draw.random() < 0.5:
        tensor = draw.choice(model.graph.initializer)
        if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(_WHOLE)
        return
    values = [*model.graph.input, *model.graph.output]
    if values:
        shape = draw.choice(values).type.tensor_type.shape
        if shape.dim and draw.random() < 0.7:
            draw.choice(shape.dim).dim_value = draw.choice(_WHOLE)
        elif shape.dim:
            del shape.dim[draw.randrange(len(shape.dim))]
        else:
            shape.dim.add().dim_value = 1


def _another_type(model: Any, draw: random.Random) -> None:
    graph = model.graph
    if graph.initializer and draw.random() < 0.5:
        draw.choice(graph.initializer).data_type = draw.choice(_TYPES)
    elif graph.input:
        draw.choice([*graph.input, *graph.output]).type.tensor_type.elem_type = draw.choice(_TYPES)


def _a_node_less(model: Any, draw: random.Random) -> None:
    if model.graph.node:
        del model.graph.node[draw.randrange(len(model.graph.node))]


def _a_node_elsewhere(model: Any, draw: random.Random) -> None:
    nodes = list(model.graph.node)
    draw.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _a_weight_less(model: Any, draw: random.Random) -> None:
    if model.graph.initializer:
        del model.graph.initializer[draw.randrange(len(model.graph.initializer))]


def _another_opset(model: Any, draw: random.Random) -> None:
    if model.opset_import:
        model.opset_import[0].version = draw.choice(_OPSETS)


_MUTATIONS: tuple[Callable[[Any, random.Random], None], ...] = (
    _another_operator,
    _another_input,
    _inputs_swapped,
    _an_input_less_or_more,
    _an_output_less,
    _an_attribute_less,
    _another_attribute,
    _another_attribute,
    _an_attribute_of_another_kind,
    _an_attribute_more,
    _another_weight,
    _another_shape,
    _another_shape,
    _another_type,
    _a_node_less,
    _a_node_elsewhere,
    _a_weight_less,
    _another_opset,
)
