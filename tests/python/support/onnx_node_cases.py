"""The node tests that the package onnx carries, each as a policy whose observation is the first input."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganglion.contract import Contract, Golden, TensorSpec

RELATIVE, ABSOLUTE = 2e-4, 2e-5


class NodeCase(NamedTuple):
    """One node test: the model, what goes in, what comes out."""

    name: str
    model: onnx.ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


@functools.cache
def node_cases():
    """Those that are about numbers: a first input of finite float32, finite outputs of float32, int64 or bool."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    return [made for made in map(_numeric, sorted(found, key=lambda case: case.name)) if made is not None]


def _numeric(case):
    try:
        inputs, outputs = ([np.asarray(value) for value in values] for values in case.data_sets[0])
    except (TypeError, ValueError, IndexError):  # sequences, optionals
        return None
    if not inputs or len(inputs) != len(case.model.graph.input):
        return None
    good = inputs[0].dtype == np.float32 and inputs[0].size and np.isfinite(inputs[0]).all()
    for output in outputs:
        good = good and output.dtype in (np.float32, np.bool_, np.int64) and output.size and np.isfinite(output).all()
    return NodeCase(case.name, case.model, inputs, outputs) if good else None


def as_policy(case, *, whole=False):
    """The model of a case with an observation for its first input, or for all of float32, and what is left known.

    Outputs are flat, and the golden trajectory of the contract, which comes with it, is the node test itself.
    """
    graph = case.model.graph
    names = [value.name for value in graph.input]
    observed = [
        (name, array)
        for position, (name, array) in enumerate(zip(names, case.inputs, strict=True))
        if position == 0 or (whole and array.dtype == np.float32 and array.size and np.isfinite(array).all())
    ]
    known = [*graph.initializer, numpy_helper.from_array(np.array([1, -1], np.int64), "__flat")]
    nodes, takes = [], []
    for name, array in observed:
        takes.append(helper.make_tensor_value_info(f"{name}__obs", TensorProto.FLOAT, [1, array.size]))
        known.append(numpy_helper.from_array(np.array(array.shape, np.int64), f"{name}__shape"))
        nodes.append(helper.make_node("Reshape", [f"{name}__obs", f"{name}__shape"], [name]))
    nodes += graph.node
    for name, array in zip(names, case.inputs, strict=True):
        if name not in dict(observed):
            known.append(numpy_helper.from_array(array, name))
    infos = []
    for position, (value, array) in enumerate(zip(graph.output, case.outputs, strict=True)):
        source = value.name
        if array.dtype != np.float32:
            nodes.append(helper.make_node("Cast", [source], [f"{source}__float"], to=TensorProto.FLOAT))
            source += "__float"
        nodes.append(helper.make_node("Reshape", [source, "__flat"], [f"out{position}"]))
        infos.append(helper.make_tensor_value_info(f"out{position}", TensorProto.FLOAT, [1, array.size]))
    made = helper.make_model(
        helper.make_graph(nodes, "policy", takes, infos, known),
        opset_imports=case.model.opset_import,
        ir_version=min(max(case.model.ir_version, 4), 10),
    )
    observation, expected = (
        np.concatenate([array.astype(np.float32).ravel() for array in arrays]).reshape(1, 1, -1)
        for arrays in ([array for _, array in observed], case.outputs)
    )
    golden = Golden(observation, np.ones((1, 1), np.bool_), expected, tolerance=10.0 * RELATIVE)
    inputs = tuple(TensorSpec(f"{name}__obs", array.size) for name, array in observed)
    outputs = tuple(TensorSpec(f"out{i}", array.size) for i, array in enumerate(case.outputs))
    return made, Contract(inputs, outputs, golden=golden)
