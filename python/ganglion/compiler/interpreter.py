"""Runs a program in NumPy: the reference that executors are compared with, and the measure of quantised weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.program import Op, Program

    Array = NDArray[np.float32]
    _Tensors = Mapping[str, Array]


_STEPS = {"int8x16": 32767, "int8x8": 127}
"""Steps of the largest magnitude of an input that is rounded to integers of 16 or 8 bits."""


class Interpreter:
    """A program that is ready to run; keeps no state.

    Weights that are stored small are expanded once, here. In the schemes `int8x16` and `int8x8` the inputs of products
    are rounded as executors with integer products do.

    Args:
        program: the program.
        precision: what it calculates in: float32 as executors do, or float64 to see what rounding does. Its weights
            are those of the program in both.
    """

    def __init__(self, program: Program, precision: type[np.floating[Any]] = np.float32) -> None:
        self._program = program
        self._precision = precision
        self._tensors = [_expanded(op, program) for op in program.ops]
        self._input_edges = np.cumsum([program.values[index].size for index in program.inputs])[:-1]
        self._state_edges = np.cumsum([program.values[port.input].size for port in program.state])[:-1]

    def step(self, observation: Array, state: Array) -> tuple[Array, Array]:
        """One step.

        Args:
            observation: `[rows, observation size]`, all inputs side by side.
            state: `[rows, hidden size]`, all state slots side by side.

        Returns:
            The outputs side by side, `[rows, output size]`, and the next state, `[rows, hidden size]`.
        """
        program, rows = self._program, observation.shape[0]
        vectors: dict[int, Array] = {}
        for index, value in enumerate(program.values):
            if value.constant is not None:
                vectors[index] = np.broadcast_to(program.tensors[value.constant], (rows, value.size))
        vectors.update(zip(program.inputs, np.split(observation, self._input_edges, axis=1), strict=True))
        if program.state:
            parts = np.split(state, self._state_edges, axis=1)
            vectors.update(zip((port.input for port in program.state), parts, strict=True))
        with np.errstate(all="ignore"):
            for op, tensors in zip(program.ops, self._tensors, strict=True):
                results = _KERNELS[op.kind]([vectors[index] for index in op.inputs], tensors, op.attributes)
                for index, result in zip(op.outputs, results, strict=True):
                    shape = (rows, program.values[index].size)
                    whole = result if result.shape == shape else np.broadcast_to(result, shape)
                    vectors[index] = whole.astype(self._precision, copy=False)
        outputs = np.concatenate([vectors[index] for index in program.outputs], axis=1)
        if not program.state:
            return outputs, state
        return outputs, np.concatenate([vectors[port.output] for port in program.state], axis=1)

    def run(self, initial_state: Sequence[float], observation: Array, reset: NDArray[np.bool_]) -> Array:
        """The outputs of a whole trajectory, `[steps, rows, output size]`; see `run_whole`."""
        whole = self.run_whole(initial_state, observation, reset)
        return whole[:, :, : whole.shape[2] - len(initial_state)]

    def run_whole(self, initial_state: Sequence[float], observation: Array, reset: NDArray[np.bool_]) -> Array:
        """A whole trajectory.

        Args:
            initial_state: `[hidden size]`.
            observation: `[steps, rows, observation size]`.
            reset: `[steps, rows]`; true where the row goes back to the initial state before the step.

        Returns:
            `[steps, rows, output size + hidden size]`: outputs, then the state behind each step.
        """
        initial = np.asarray(initial_state, np.float32).astype(self._precision)
        state = np.tile(initial, (observation.shape[1], 1))
        outputs = []
        for observed, flags in zip(observation, reset, strict=True):
            current, state = self.step(observed.astype(self._precision), np.where(flags[:, None], initial, state))
            outputs.append(np.concatenate((current, state), axis=1))
        return np.stack(outputs)


def _expanded(op: Op, program: Program) -> _Tensors:
    tensors = {role: program.tensors[name] for role, name in op.tensors.items()}
    if "weight" in tensors:
        weight = tensors["weight"].astype(np.float32)
        scale = tensors.pop("scale", None)
        tensors["weight"] = weight if scale is None else weight * scale[:, None]
        if scale is not None and program.scheme in _STEPS:
            tensors["steps"] = np.array(_STEPS[program.scheme], np.float32)
    return tensors


def _rounded(x: Array, tensors: _Tensors) -> Array:
    """The input of a product: the largest magnitude of each row is that many steps."""
    if "steps" not in tensors:
        return x
    largest = np.abs(x).max(axis=1, keepdims=True)
    inverse = np.where(largest > 0, tensors["steps"] / largest, np.float32(0))
    rounded: Array = np.rint(x * inverse) * (largest / tensors["steps"])
    return rounded


def _affine(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    y = _rounded(values[0], tensors) @ tensors["weight"].T + tensors.get("bias", np.float32(0))
    if "activation" in attributes:
        y = _activation(y, attributes["activation"])
    return [y]


def _lstm(values: list[Array], tensors: _Tensors, _: Mapping[str, Any]) -> list[Array]:
    x, h, c = values
    gates = _rounded(np.concatenate((x, h), axis=1), tensors) @ tensors["weight"].T + tensors.get("bias", np.float32(0))
    i, f, g, o = np.split(gates, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return [_sigmoid(o) * np.tanh(c), c]


def _gru(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    x, h = values
    from_x, from_h = np.split(tensors["weight"], [x.shape[1]], axis=1)
    hidden = h.shape[1]
    rounded_x, rounded_h = np.split(_rounded(np.concatenate(values, axis=1), tensors), [x.shape[1]], axis=1)
    gates = rounded_x @ from_x.T + tensors.get("bias", np.float32(0))
    recurrent_bias = tensors.get("recurrent_bias", np.float32(0))
    rz = _sigmoid(gates[:, : 2 * hidden] + rounded_h @ from_h[: 2 * hidden].T)
    r, z = np.split(rz, 2, axis=1)
    new, from_h = gates[:, 2 * hidden :], from_h[2 * hidden :]
    if attributes["linear_before_reset"]:
        n = np.tanh(new + r * (rounded_h @ from_h.T + recurrent_bias))
    else:
        n = np.tanh(new + _rounded(r * h, tensors) @ from_h.T + recurrent_bias)
    return [(1 - z) * n + z * h]


def _rnn(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    return _affine([np.concatenate(values, axis=1)], tensors, attributes)


def _activation(x: Array, activation: Mapping[str, Any]) -> Array:
    return _UNARY[activation["name"]](x, activation)


def _unary(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    return [_UNARY[attributes["function"]](values[0], attributes)]


def _binary(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    return [_BINARY[attributes["function"]](*values)]


def _where(values: list[Array], _: _Tensors, __: Mapping[str, Any]) -> list[Array]:
    condition, a, b = values
    return [np.where(condition != 0, a, b)]


def _table(x: Array, attributes: Mapping[str, Any]) -> Array:
    return x.reshape(-1, attributes["rows"], attributes["columns"])


def _reduce(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    return [_REDUCE[attributes["function"]](_table(values[0], attributes))]


def _softmax(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    x = _table(values[0], attributes)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return [(e / e.sum(axis=-1, keepdims=True)).reshape(values[0].shape)]


def _log_softmax(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    x = _table(values[0], attributes)
    x = x - x.max(axis=-1, keepdims=True)
    return [(x - np.log(np.exp(x).sum(axis=-1, keepdims=True))).reshape(values[0].shape)]


def _argmax(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    return [_table(values[0], attributes).argmax(axis=-1).astype(np.float32)]


def _layer_norm(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    x = _table(values[0], attributes)
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(attributes["epsilon"]))
    x = x * tensors.get("weight", np.float32(1)) + tensors.get("bias", np.float32(0))
    return [x.reshape(values[0].shape)]


def _taps(places: int, kernel: int, stride: int, dilation: int) -> NDArray[np.int64]:
    """`[places, kernel]`: where along an axis each element of a kernel lies at each place."""
    return np.asarray(np.arange(places)[:, None] * stride + np.arange(kernel) * dilation)


def _convolved(seen: Array, tensors: _Tensors, groups: int) -> Array:
    """The products with what a kernel sees, `[rows, channels, height, width, kernel height, kernel width]`."""
    weight = tensors["weight"].reshape(groups, -1, seen.shape[1] // groups, *seen.shape[4:])
    seen = seen.reshape(len(seen), groups, -1, *seen.shape[2:])
    y = np.einsum("rgcijkl,gockl->rgoij", seen, weight)
    y = y.reshape(len(y), weight.shape[0] * weight.shape[1], -1)
    y = y + tensors.get("bias", np.zeros(1, np.float32))[:, None]
    return np.asarray(y.reshape(len(y), -1))


def _conv1d(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    x = values[0].reshape(-1, attributes["in_channels"], 1, attributes["length"])
    pads = ((0, 0), (0, 0), (0, 0), (attributes["pad_left"], attributes["pad_right"]))
    x = np.pad(x, pads, mode="wrap" if attributes["padding"] == "circular" else "constant")
    across = _taps(attributes["out_length"], tensors["weight"].shape[2], attributes["stride"], attributes["dilation"])
    seen = x[:, :, np.zeros((1, 1, 1, 1), np.int64), across[None, :, None, :]]
    return [_convolved(seen, tensors, attributes["groups"])]


def _conv2d(values: list[Array], tensors: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    a, (height, width) = attributes, tensors["weight"].shape[2:]
    x = values[0].reshape(-1, a["in_channels"], a["height"], a["width"])
    x = np.pad(x, ((0, 0), (0, 0), (a["pad_top"], a["pad_bottom"]), (a["pad_left"], a["pad_right"])))
    down = _taps(a["out_height"], height, a["stride_height"], a["dilation_height"])
    across = _taps(a["out_width"], width, a["stride_width"], a["dilation_width"])
    return [_convolved(x[:, :, down[:, None, :, None], across[None, :, None, :]], tensors, a["groups"])]


def _matmul(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    a = values[0].reshape(-1, attributes["rows"], attributes["inner"])
    b = values[1].reshape(-1, attributes["inner"], attributes["columns"])
    return [(a @ b).reshape(len(a), -1)]


def _gather(values: list[Array], tensors: Mapping[str, Any], _: Mapping[str, Any]) -> list[Array]:
    return [np.concatenate(values, axis=1)[:, tensors["index"]]]


def _lookup(values: list[Array], _: _Tensors, attributes: Mapping[str, Any]) -> list[Array]:
    table, wanted = _table(values[0], attributes), values[1][:, 0]
    row = np.clip(np.where(np.isnan(wanted), 0, wanted), 0, attributes["rows"] - 1).astype(np.int64)
    return [table[np.arange(len(row)), row]]


_ONE = np.float32(1)


def _sigmoid(x: Array) -> Array:
    return _ONE / (_ONE + np.exp(-x))


def _gated(x: Array, gate: Array) -> Array:
    """The product of x and a gate that closes faster than x falls: 0 of -infinity."""
    return np.where(np.isneginf(x), np.float32(0.0), x * gate)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


def _clip(x: Array, attributes: Mapping[str, Any]) -> Array:
    low, high = attributes["low"], attributes["high"]
    x = x if low is None else np.maximum(x, np.float32(low))
    return x if high is None else np.minimum(x, np.float32(high))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, np.float32(alpha) * np.expm1(x)).astype(x.dtype)


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return _clip(np.float32(alpha) * x + np.float32(beta), {"low": 0.0, "high": 1.0})


_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
_GELU_TANH = np.float32(math.sqrt(2 / math.pi))

_UNARY: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "leaky_relu": lambda x, p: np.where(x >= 0, x, np.float32(p["alpha"]) * x),
    "elu": lambda x, p: _elu(x, p["alpha"]),
    "celu": lambda x, p: np.maximum(x, 0) + np.minimum(0, p["alpha"] * np.expm1(x / np.float32(p["alpha"]))),
    "selu": lambda x, _: np.float32(_SELU_GAMMA) * _elu(x, _SELU_ALPHA),
    "gelu": lambda x, _: np.float32(0.5) * x * (1 + _erf(x * np.float32(math.sqrt(0.5)))),
    "gelu_tanh": lambda x, _: np.float32(0.5) * x * (1 + np.tanh(_GELU_TANH * (x + np.float32(0.044715) * x * x * x))),
    "silu": lambda x, _: _gated(x, _sigmoid(x)),
    "softplus": lambda x, _: _softplus(x),
    "mish": lambda x, _: _gated(x, np.tanh(_softplus(x))),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "hard_sigmoid": lambda x, p: _hard_sigmoid(x, p["alpha"], p["beta"]),
    "hard_swish": lambda x, _: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "softsign": lambda x, _: np.divide(x, _ONE + np.abs(x), dtype=x.dtype),
    "exp": lambda x, _: np.exp(x),
    "log": lambda x, _: np.log(x),
    "sqrt": lambda x, _: np.sqrt(x),
    "rsqrt": lambda x, _: np.divide(_ONE, np.sqrt(x), dtype=x.dtype),
    "reciprocal": lambda x, _: _ONE / x,
    "neg": lambda x, _: -x,
    "abs": lambda x, _: np.abs(x),
    "sign": lambda x, _: np.sign(x),
    "floor": lambda x, _: np.floor(x),
    "ceil": lambda x, _: np.ceil(x),
    "round": lambda x, _: np.rint(x),
    "sin": lambda x, _: np.sin(x),
    "cos": lambda x, _: np.cos(x),
    "asin": lambda x, _: np.arcsin(x),
    "acos": lambda x, _: np.arccos(x),
    "atan": lambda x, _: np.arctan(x),
    "erf": lambda x, _: _erf(x),
    "not": lambda x, _: (x == 0).astype(np.float32),
    "clip": _clip,
}

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "mod": np.fmod,
    "less": lambda a, b: (a < b).astype(np.float32),
    "less_equal": lambda a, b: (a <= b).astype(np.float32),
    "greater": lambda a, b: (a > b).astype(np.float32),
    "greater_equal": lambda a, b: (a >= b).astype(np.float32),
    "equal": lambda a, b: (a == b).astype(np.float32),
    "and": lambda a, b: ((a != 0) & (b != 0)).astype(np.float32),
    "or": lambda a, b: ((a != 0) | (b != 0)).astype(np.float32),
    "xor": lambda a, b: ((a != 0) ^ (b != 0)).astype(np.float32),
}


def _logsumexp(x: Array) -> Array:
    largest = x.max(axis=-1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    total: Array = np.log(np.exp(x - largest).sum(axis=-1)) + largest[..., 0]
    return total


_REDUCE: dict[str, Callable[[Array], Array]] = {
    "sum": lambda x: x.sum(axis=-1),
    "mean": lambda x: x.mean(axis=-1),
    "max": lambda x: x.max(axis=-1),
    "min": lambda x: x.min(axis=-1),
    "prod": lambda x: x.prod(axis=-1),
    "l1": lambda x: np.abs(x).sum(axis=-1),
    "l2": lambda x: np.sqrt((x * x).sum(axis=-1)),
    "sum_square": lambda x: (x * x).sum(axis=-1),
    "logsumexp": _logsumexp,
}

_KERNELS: dict[str, Callable[[list[Array], Any, Mapping[str, Any]], list[Array]]] = {
    "affine": _affine,
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
    "unary": _unary,
    "binary": _binary,
    "where": _where,
    "reduce": _reduce,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "argmax": _argmax,
    "layer_norm": _layer_norm,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "matmul": _matmul,
    "gather": _gather,
    "lookup": _lookup,
}
