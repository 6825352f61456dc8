"""Small ONNX graphs for the tests of the compiler, and the comparison with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ganglion.compiler import compile_onnx
from ganglion.compiler.interpreter import Interpreter

TOLERANCE = 1e-6


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def constants(**arrays):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model(nodes, inputs, outputs, initializers=(), opset=18):
    """`inputs` and `outputs`: shapes by name."""

    def infos(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    graph = helper.make_graph(list(nodes), "policy", infos(inputs), infos(outputs), list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def shaped(nodes, shape, result="y", initializers=(), opset=18):
    """A policy around `nodes`, which take the observation as `x` of any shape and give `result`, of any shape."""
    size = int(np.prod(shape))
    around = [
        node("Reshape", ["obs", "shape_of_x"], ["x"]),
        *nodes,
        node("Cast", [result], ["as_float"], to=TensorProto.FLOAT),
        node("Reshape", ["as_float", "flat"], ["actions"]),
    ]
    extra = constants(shape_of_x=np.array(shape, np.int64), flat=np.array([1, -1], np.int64))
    found = model(around, {"obs": [1, size]}, {"actions": [1, "n"]}, [*initializers, *extra], opset)
    columns = session_of(found).run(None, {"obs": np.ones((1, size), np.float32)})[0].shape[1]
    return model(around, {"obs": [1, size]}, {"actions": [1, columns]}, [*initializers, *extra], opset)


def session_of(made):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def kinds(program):
    return [op.kind for op in program.ops]


def compare(made, observations=None, steps=20, tolerance=TOLERANCE, seed=0):
    """Compiles a model and runs it beside onnxruntime with the state fed back; returns the program."""
    program, contract = compile_onnx(made)
    session, interpreter = session_of(made), Interpreter(program)
    names = [value.name for value in session.get_outputs()]
    state = np.zeros((1, contract.hidden_size), np.float32)
    if observations is None:
        observations = np.random.default_rng(seed).uniform(-2, 2, (steps, contract.observation_size))
    shapes = {value.name: value.shape for value in session.get_inputs()}
    for observation in np.asarray(observations, np.float32)[:, None, :]:
        feeds, first = {}, 0
        for spec in contract.inputs:
            part = observation[:, first : first + spec.size]
            feeds[spec.name] = part.reshape(shapes[spec.name])
            first += spec.size
        first = 0
        for slot in contract.state:
            feeds[f"{slot.name}_in"] = state[:, first : first + slot.size].reshape(shapes[f"{slot.name}_in"])
            first += slot.size
        results = dict(zip(names, session.run(names, feeds), strict=True))
        expected = np.concatenate([results[spec.name].ravel() for spec in contract.outputs])
        expected_state = [results[f"{slot.name}_out"].ravel() for slot in contract.state]
        found, found_state = interpreter.step(observation, state)
        np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=tolerance)
        if expected_state:
            np.testing.assert_allclose(found_state[0], np.concatenate(expected_state), rtol=tolerance, atol=tolerance)
        state = found_state
    return program
