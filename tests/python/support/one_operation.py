"""Programs of one operation, and one that is right for every kind of operation."""

from __future__ import annotations

import numpy as np

from ganglion.compiler.program import Op, Program, Value

FLOAT = np.float32


def one_op(kind, inputs, outputs, tensors=None, **attributes):
    """A program of one operation; `inputs` and `outputs` are sizes."""
    values = tuple(Value(size) for size in (*inputs, *outputs))
    reads, writes = tuple(range(len(inputs))), tuple(range(len(inputs), len(values)))
    arrays = {role: np.asarray(tensor) for role, tensor in (tensors or {}).items()}
    op = Op(kind, reads, writes, {role: role for role in arrays}, attributes)
    return Program(values, reads, (), writes, (op,), arrays)


CONV = {
    "in_channels": 2, "length": 5, "out_channels": 4, "out_length": 5, "stride": 1, "dilation": 1, "groups": 2,
    "pad_left": 1, "pad_right": 1, "padding": "circular",
}  # fmt: skip
KERNEL = {"weight": np.ones((4, 1, 3), FLOAT)}
IMAGE = {
    "in_channels": 2, "height": 3, "width": 5, "out_channels": 4, "out_height": 2, "out_width": 5, "stride_height": 2,
    "stride_width": 1, "dilation_height": 1, "dilation_width": 2, "groups": 2, "pad_top": 0, "pad_bottom": 1,
    "pad_left": 1, "pad_right": 3,
}  # fmt: skip
PATCH = {"weight": np.ones((4, 1, 2, 3), FLOAT)}
GOOD = {
    "affine": ((2,), (3,), {"weight": np.ones((3, 2), FLOAT)}, {}),
    "gru": ((2, 3), (3,), {"weight": np.ones((9, 5), FLOAT)}, {"linear_before_reset": True}),
    "binary": ((3, 3), (3,), {}, {"function": "mul"}),
    "log_softmax": ((6,), (6,), {}, {"rows": 2, "columns": 3}),
    "lstm": ((2, 3, 3), (3, 3), {"weight": np.ones((12, 5), FLOAT)}, {}),
    "rnn": ((2, 3), (3,), {"weight": np.ones((3, 5), FLOAT)}, {"activation": {"name": "relu"}}),
    "unary": ((3,), (3,), {}, {"function": "clip", "low": None, "high": 1}),
    "where": ((3, 1, 3), (3,), {}, {}),
    "reduce": ((6,), (2,), {}, {"function": "mean", "rows": 2, "columns": 3}),
    "softmax": ((6,), (6,), {}, {"rows": 2, "columns": 3}),
    "argmax": ((6,), (2,), {}, {"rows": 2, "columns": 3}),
    "layer_norm": ((6,), (6,), {"weight": np.ones(3, FLOAT)}, {"rows": 2, "columns": 3, "epsilon": 0}),
    "conv1d": ((10,), (20,), KERNEL, CONV),
    "conv2d": ((30,), (40,), PATCH, IMAGE),
    "matmul": ((6, 12), (8,), {}, {"rows": 2, "inner": 3, "columns": 4}),
    "lookup": ((6, 1), (3,), {}, {"rows": 2, "columns": 3}),
}
"""Kind: sizes of inputs and outputs, tensors, attributes; every kind but `gather`, which takes inputs of any size."""
