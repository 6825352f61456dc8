"""Programs of the header tests: one that has every operation with every function, put together by hand."""

from __future__ import annotations

import numpy as np
from one_operation import GOOD

from ganglion.compiler import vocabulary
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.program import Op, Program, StatePort, Value
from ganglion.compiler.quantise import KINDS
from ganglion.contract import Contract, Golden, StateSlot, TensorSpec

SIZE, ROWS, COLUMNS = 12, 3, 4
HIDDEN = 35  # the gates of the cells are more rows than one panel of the header
PARAMETERS = {"alpha": 0.3, "beta": 0.4, "low": -0.5, "high": 0.75}


class Sketch:
    """A program under construction; whatever is added becomes an output."""

    def __init__(self):
        self.random = np.random.default_rng(0)
        self.values, self.ops, self.tensors, self.outputs, self.state = [], [], {}, [], []

    def value(self, size, constant=None):
        self.values.append(Value(size, constant))
        return len(self.values) - 1

    def constant(self, elements):
        name = f"constant{len(self.values)}"
        self.tensors[name] = np.asarray(elements, np.float32)
        return self.value(len(elements), name)

    def add(self, kind, inputs, sizes, tensors=None, **attributes):
        names = {}
        for role, shape in (tensors or {}).items():
            names[role] = f"op{len(self.ops)}.{role}"
            limit = min(0.5, 1.2 / shape[-1] ** 0.5)  # small enough for a recurrence that does not grow
            self.tensors[names[role]] = self.random.uniform(-limit, limit, shape).astype(np.float32)
        outputs = tuple(self.value(size) for size in sizes)
        self.ops.append(Op(kind, tuple(inputs), outputs, names, attributes))
        self.outputs += outputs
        return outputs

    def gather(self, inputs, index):
        name = f"op{len(self.ops)}.index"
        self.tensors[name] = np.asarray(index, np.int32)
        outputs = (self.value(len(index)),)
        self.ops.append(Op("gather", tuple(inputs), outputs, {"index": name}))
        self.outputs += outputs
        return outputs[0]

    def program(self, inputs):
        return Program(
            values=tuple(self.values),
            inputs=tuple(inputs),
            state=tuple(StatePort(*pair) for pair in self.state),
            outputs=tuple(self.outputs),
            ops=tuple(self.ops),
            tensors=self.tensors,
        )


def program_of_everything():
    """Every operation with every function; NaN and infinity come up, but not in the outputs and in the state."""
    s = Sketch()
    a, b = s.value(SIZE), s.value(SIZE)
    states = tuple(s.value(HIDDEN) for _ in range(6))
    swapped = s.value(SIZE), s.value(SIZE)
    action = _action(s, a)
    (bad,) = s.add("unary", [b], [SIZE], function="log")  # NaN below 0, -infinity at 0,
    (bad,) = s.add("binary", [bad, s.constant([2.0])], [SIZE], function="add")  # positive in the golden trajectory
    _recurrent(s, a, states)
    s.state += [(swapped[0], swapped[1]), (swapped[1], a)]
    _products(s, a, swapped[0])
    _elementwise(s, a, b, bad)
    _tables(s, a, b, bad)
    _convolutions(s, a)
    _images(s, a)
    _gathers(s, a, b, swapped[0], action)
    _others(s, a, b)
    _show_all(s, [a, b])
    # Outputs that are an input, a constant, a state, and the same value twice.
    s.outputs += [a, s.constant([1.0, -0.0, 1e-42, 3.4e38]), states[0], action]
    s.add("binary", [s.constant([np.inf] * 3), action], [3], function="min")
    return s.program([a, b])


def program_of_weights():
    """Every operation whose weights are stored in more than one way: all that a way to store them can change.

    Compiles in a fraction of the time of the program of everything.
    """
    s = Sketch()
    a, b = s.value(SIZE), s.value(SIZE)
    states = tuple(s.value(HIDDEN) for _ in range(6))
    _action(s, a)
    _recurrent(s, a, states)
    _products(s, a, b)
    assert {op.kind for op in s.ops} >= set(KINDS)
    return s.program([a, b])


def _action(s, a):
    return s.add("affine", [a], [3], {"weight": (3, SIZE), "bias": (3,)}, activation={"name": "tanh"})[0]


def _products(s, a, b):
    # More rows than one panel; columns in all remainders of four.
    for columns in (1, 2, 3, 4):
        piece = s.gather([a], range(2, 2 + columns))
        s.add("affine", [piece], [150], {"weight": (150, columns)})
    s.add("affine", [b], [128], {"weight": (128, SIZE), "bias": (128,)}, activation=_named("clip"))


NAN_SHOWN, LARGEST_SHOWN = 12345.0, 1e38


def _show_all(s, inputs):
    """Outputs that are not always finite, and would have a step refused, as numbers: infinities clipped, NaN 12345."""
    random = np.random.default_rng(3)
    program = s.program(inputs)
    observations = random.uniform(-2, 2, (300, sum(program.values[v].size for v in inputs))).astype(np.float32)
    for special in (0.0, -0.0, 0.5, -1.5):
        observations[random.random(observations.shape) < 0.05] = special
    state = np.zeros((300, sum(program.values[port.input].size for port in program.state)), np.float32)
    found, _ = Interpreter(program).step(observations, state)
    bounds = np.cumsum([program.values[v].size for v in program.outputs])[:-1]
    outputs, s.outputs = s.outputs, []
    for value, seen in zip(outputs, np.split(found, bounds, axis=1), strict=True):
        if np.isfinite(seen).all():
            s.outputs.append(value)
            continue
        size = [program.values[value].size]
        kept = list(s.outputs)
        (is_number,) = s.add("binary", [value, value], size, function="equal")
        (clipped,) = s.add("unary", [value], size, function="clip", low=-LARGEST_SHOWN, high=LARGEST_SHOWN)
        (shown,) = s.add("where", [is_number, clipped, s.constant([NAN_SHOWN])], size)
        s.outputs = [*kept, shown]


def _named(function):
    return {"name": function} | _parameters(function)


def _parameters(function):
    return {key: PARAMETERS[key] for key in vocabulary.UNARY[function]}


def _recurrent(s, x, states):
    h, c, g0, g1, r0, r1 = states
    joined = SIZE + HIDDEN
    s.state += list(
        zip(
            (h, c),
            s.add("lstm", [x, h, c], [HIDDEN] * 2, {"weight": (4 * HIDDEN, joined), "bias": (4 * HIDDEN,)}),
            strict=True,
        )
    )
    for before, state in ((True, g0), (False, g1)):
        shapes = {"weight": (3 * HIDDEN, joined), "bias": (3 * HIDDEN,), "recurrent_bias": (HIDDEN,)}
        (after,) = s.add("gru", [x, state], [HIDDEN], shapes, linear_before_reset=before)
        s.state.append((state, after))
    for function, state in (("tanh", r0), ("relu", r1)):
        shapes = {"weight": (HIDDEN, joined)} | ({"bias": (HIDDEN,)} if function == "tanh" else {})
        (after,) = s.add("rnn", [x, state], [HIDDEN], shapes, activation={"name": function})
        s.state.append((state, after))


def _elementwise(s, a, b, bad):
    one = s.constant([0.5])
    for x in (a, bad):
        # asin and acos are NaN beyond 1 and infinitely steep there: one rounding of x (`bad` is a logarithm) is more
        # than any tolerance. math_test compares them up to 1, on the very same x.
        (inside,) = s.add("unary", [x], [SIZE], function="clip", low=-0.9, high=0.9)
        for function in vocabulary.UNARY:
            argument = inside if function in ("asin", "acos") else x
            s.add("unary", [argument], [SIZE], function=function, **_parameters(function))
        s.add("unary", [x], [SIZE], function="clip", low=None, high=0.25)
        s.add("unary", [x], [SIZE], function="clip", low=None, high=None)
    for function in vocabulary.BINARY:
        for pair in ((a, b), (a, one), (one, b), (bad, a), (a, bad)):
            s.add("binary", pair, [SIZE], function=function)
    (condition,) = s.add("binary", [a, b], [SIZE], function="less")
    s.add("where", [condition, a, b], [SIZE])
    s.add("where", [one, one, bad], [SIZE])
    s.add("where", [bad, one, one], [SIZE])


def _tables(s, a, b, bad):
    table = {"rows": ROWS, "columns": COLUMNS}
    for x in (a, bad):
        for function in vocabulary.REDUCE:
            s.add("reduce", [x], [ROWS], function=function, **table)
        for kind in ("softmax", "log_softmax"):
            s.add(kind, [x], [SIZE], **table)
        s.add("argmax", [x], [ROWS], **table)
    (large,) = s.add("binary", [a, s.constant([500.0])], [SIZE], function="mul")  # exp() of it overflows
    for kind in ("softmax", "log_softmax"):
        s.add(kind, [large], [SIZE], **table)
    s.add("reduce", [large], [ROWS], function="logsumexp", **table)
    s.add("argmax", [s.constant([1.0, 2.0, 2.0])], [1], rows=1, columns=3)
    s.add("layer_norm", [a], [SIZE], {"weight": (COLUMNS,), "bias": (COLUMNS,)}, epsilon=1e-5, **table)
    s.add("layer_norm", [a], [SIZE], epsilon=0.1, **table)
    s.add("matmul", [a, b], [ROWS * ROWS], rows=ROWS, inner=COLUMNS, columns=ROWS)
    for index in (0, 5):
        (number,) = s.add("unary", [s.gather([a], [index])], [1], function="exp")
        s.add("lookup", [b, number], [COLUMNS], **table)
        (number,) = s.add("unary", [s.gather([bad], [index])], [1], function="neg")
        s.add("lookup", [b, number], [COLUMNS], **table)


def _convolutions(s, a):
    #           channels, length, out channels, kernel, stride, dilation, groups, left, right, padding
    for sizes in ((2, 6, 4, 3, 1, 1, 2, 1, 1, "circular"), (3, 4, 2, 2, 2, 2, 1, 0, 3, "zeros"),
                  (1, 12, 2, 5, 1, 2, 1, 0, 0, "zeros"), (2, 6, 2, 4, 3, 1, 1, 6, 2, "circular")):  # fmt: skip
        channels, length, out_channels, kernel, stride, dilation, groups, left, right, padding = sizes
        out_length = (left + length + right - dilation * (kernel - 1) - 1) // stride + 1
        shapes = {"weight": (out_channels, channels // groups, kernel)}
        if padding == "zeros":
            shapes["bias"] = (out_channels,)
        s.add(
            "conv1d", [a], [out_channels * out_length], shapes, in_channels=channels, length=length,
            out_channels=out_channels, out_length=out_length, stride=stride, dilation=dilation, groups=groups,
            pad_left=left, pad_right=right, padding=padding,
        )  # fmt: skip


def _images(s, a):
    #           channels, height, width, kernel, out channels, strides, dilations, groups, pads
    for sizes in ((2, 2, 3, (2, 2), 4, (1, 1), (1, 1), 2, (1, 0, 0, 2)),
                  (1, 4, 3, (2, 1), 3, (2, 3), (2, 1), 1, (0, 0, 0, 0)),
                  (3, 2, 2, (1, 1), 2, (1, 2), (1, 1), 1, (0, 0, 0, 0))):  # fmt: skip
        channels, height, width, kernel, out_channels, strides, dilations, groups, (top, bottom, left, right) = sizes
        padded = top + height + bottom, left + width + right
        down, across = ((padded[i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in range(2))
        shapes = {"weight": (out_channels, channels // groups, *kernel)}
        if groups == 1:
            shapes["bias"] = (out_channels,)
        s.add(
            "conv2d", [a], [out_channels * down * across], shapes, in_channels=channels, height=height, width=width,
            out_channels=out_channels, out_height=down, out_width=across, stride_height=strides[0],
            stride_width=strides[1], dilation_height=dilations[0], dilation_width=dilations[1], groups=groups,
            pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right,
        )  # fmt: skip


def _gathers(s, a, b, state, action):
    view = s.gather([a, b], range(SIZE + 2, SIZE + 6))
    view = s.gather([view], [1, 2])
    s.add("unary", [view], [2], function="neg")
    s.gather([state], range(3, 9))
    s.gather([a, b, action], [*range(3, 9), *range(SIZE, SIZE + 4), 2 * SIZE + 2])
    s.gather([a], np.arange(SIZE).reshape(ROWS, COLUMNS).T.ravel())
    s.gather([b, a], np.arange(2 * SIZE).reshape(2, SIZE).T.ravel())
    s.gather([action], [1] * 9)
    long = s.gather([a, b], np.tile([3, 2, 1], 100))
    s.gather([long], np.arange(300)[::-1])


def _others(s, a, b):
    """Operations that nothing above thinks of."""
    for kind in vocabulary.OPERATIONS.keys() - {op.kind for op in s.ops}:
        inputs, outputs, tensors, attributes = GOOD[kind]
        operands = [s.gather([a, b], range(size)) for size in inputs]
        s.add(kind, operands, outputs, {role: tensor.shape for role, tensor in tensors.items()}, **attributes)


def contract_of(program):
    """A contract for a program: golden trajectory on positive observations, where every output is finite."""
    inputs = tuple(TensorSpec(f"input{i}", program.values[v].size) for i, v in enumerate(program.inputs))
    outputs = tuple(TensorSpec(f"output{i}", program.values[v].size) for i, v in enumerate(program.outputs))
    state = tuple(StateSlot(f"slot{i}", (program.values[port.input].size,)) for i, port in enumerate(program.state))
    initial = tuple(np.linspace(-0.5, 0.5, sum(slot.size for slot in state)).tolist())
    observation = np.random.default_rng(1).uniform(0.5, 1.5, (16, 1, sum(spec.size for spec in inputs)))
    reset = np.zeros((16, 1), np.bool_)
    reset[8] = True
    observation = observation.astype(np.float32)
    recorded = Interpreter(program).run(initial, observation, reset)
    return Contract(inputs, outputs, state, initial, golden=Golden(observation, reset, recorded))
