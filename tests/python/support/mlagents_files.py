"""Files as ML-Agents writes them: constants come first among the outputs, then what is drawn, then what is not."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper
from small_onnx import write

OBSERVATIONS, UNITS = 8, 16
_CONSTANTS = {"version_number": 3.0, "memory_size": 0.0}


def continuous(path, *, deterministic=True):
    """Two drawn actions, and their mean where `deterministic`."""
    rng = np.random.default_rng(0)
    mean = "deterministic_continuous_actions"
    nodes = [
        *_constants(),
        helper.make_node("MatMul", ["obs_0", "W"], ["e"]),
        helper.make_node("Tanh", ["e"], ["t"]),
        helper.make_node("MatMul", ["t", "O"], [mean]),
        helper.make_node("RandomNormalLike", [mean], ["z"], name="draw"),
        helper.make_node("Add", [mean, "z"], ["continuous_actions"]),
    ]
    outputs = {"continuous_actions": ["batch", 2]} | ({mean: ["batch", 2]} if deterministic else {})
    weights = {"W": rng.standard_normal((OBSERVATIONS, UNITS)), "O": rng.standard_normal((UNITS, 2))}
    return _write(path, nodes, {"obs_0": ["batch", OBSERVATIONS]}, outputs, weights)


def discrete(path):
    """One of five actions, with an LSTM; memory goes in and out as h and c side by side, by one row."""
    rng = np.random.default_rng(0)
    h = UNITS
    nodes = [
        *_constants(),
        helper.make_node("MatMul", ["obs_0", "W"], ["e"]),
        helper.make_node("Reshape", ["e", "sequence"], ["x"]),
        helper.make_node("Transpose", ["recurrent_in"], ["memory"], perm=[1, 0, 2]),
        helper.make_node("Split", ["memory"], ["h0", "c0"], axis=2),
        helper.make_node("LSTM", ["x", "LW", "LR", "", "", "h0", "c0"], ["y", "h1", "c1"], hidden_size=h),
        helper.make_node("Concat", ["h1", "c1"], ["memory_out"], axis=2),
        helper.make_node("Transpose", ["memory_out"], ["recurrent_out"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["h1", "flat"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "O"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("Mul", ["p", "action_masks"], ["allowed"]),
        helper.make_node("ArgMax", ["allowed"], ["discrete_actions"], axis=1),
    ]
    inputs = {"obs_0": ["batch", OBSERVATIONS], "action_masks": ["batch", 5], "recurrent_in": ["batch", 1, 2 * h]}
    outputs = {"discrete_actions": (TensorProto.INT64, ["batch", 1]), "recurrent_out": [1, 1, 2 * h]}
    weights = {"W": rng.standard_normal((OBSERVATIONS, h)), "O": 2 * rng.standard_normal((h, 5))}
    weights |= {name: 0.5 * rng.standard_normal((1, 4 * h, h)) for name in ("LW", "LR")}
    shapes = {"sequence": np.int64([1, -1, h]), "flat": np.int64([-1, h])}
    return _write(path, nodes, inputs, outputs, weights, shapes)


def _constants():
    return [helper.make_node("Identity", [f"{name}.value"], [name]) for name in _CONSTANTS]


def _write(path, nodes, inputs, outputs, weights, others=None):
    constants = {f"{name}.value": np.float32([value]) for name, value in _CONSTANTS.items()}
    weights = {name: np.float32(weight) for name, weight in weights.items()}
    outputs = {name: [1] for name in _CONSTANTS} | outputs
    return write(path, nodes, inputs, outputs, constants | weights | (others or {}))
