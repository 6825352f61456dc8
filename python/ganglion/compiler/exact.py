"""The graph itself in float64: the truth of a program that differs from its origin, where neither may be the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

_RAISED = ("to", "dtype", "output_datatype")
"""Attributes of operators that name a type of element."""


def widened(proto: Any) -> Any:
    """A copy of a model whose float32 tensors, constants and conversions are float64; weights keep their values.

    Args:
        proto: an `onnx.ModelProto` with its weights inside.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for graph in _graphs(copy.graph):
        for index, tensor in enumerate(graph.initializer):
            graph.initializer[index].CopyFrom(_wide(tensor))
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
                value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        del graph.value_info[:]
        for node in graph.node:
            for attribute in node.attribute:
                _widen(node, attribute)
    return copy


def _widen(node: Any, attribute: Any) -> None:
    import onnx
    from onnx import numpy_helper

    if attribute.name in _RAISED and attribute.i == onnx.TensorProto.FLOAT:
        attribute.i = onnx.TensorProto.DOUBLE
    elif attribute.HasField("t"):
        attribute.t.CopyFrom(_wide(attribute.t))
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        value = numpy_helper.from_array(np.asarray(np.asarray(numbers, np.float32), np.float64))
        attribute.CopyFrom(onnx.helper.make_attribute("value", value))


def _wide(tensor: Any) -> Any:
    import onnx
    from onnx import numpy_helper

    if tensor.data_type != onnx.TensorProto.FLOAT:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)
