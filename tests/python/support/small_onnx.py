"""ONNX files of a few nodes, written by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(path, nodes, inputs, outputs, initializers=None, metadata=None, opset=17):
    """A model of float32 tensors, or of (type, shape)."""

    def info(name, shape):
        kind, axes = shape if isinstance(shape, tuple) else (TensorProto.FLOAT, shape)
        return helper.make_tensor_value_info(name, kind, axes)

    graph = helper.make_graph(
        nodes,
        "graph",
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (initializers or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def sums(*triples):
    return [helper.make_node("Add", [a, b], [c]) for a, b, c in triples]


def two_states(path, names=("a_state", "b_state"), next_names=("x", "y")):
    """Two states of one shape, each of which may be fed by either output."""
    (a, b), (x, y) = names, next_names
    nodes = [
        *sums(("obs", a, "oa"), ("oa", b, "actions")),
        helper.make_node("Add", ["oa", b], [x]),
        helper.make_node("Sub", ["oa", b], [y]),
    ]
    return write(path, nodes, {"obs": [1, 3], a: [1, 3], b: [1, 3]}, {"actions": [1, 3], x: [1, 3], y: [1, 3]})
