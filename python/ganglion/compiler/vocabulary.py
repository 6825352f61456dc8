"""The operations of a program: which tensors and attributes they have and which sizes fit together.

What each of them computes is written in `cpp/FORMAT.md` and, as NumPy code, in `interpreter.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

LARGEST_SIZE = 2**24
"""Most elements of one value: whole numbers up to here are exact in float32."""

UNARY: Mapping[str, tuple[str, ...]] = {
    "relu": (),
    "leaky_relu": ("alpha",),
    "elu": ("alpha",),
    "celu": ("alpha",),
    "selu": (),
    "gelu": (),
    "gelu_tanh": (),
    "silu": (),
    "softplus": (),
    "mish": (),
    "tanh": (),
    "sigmoid": (),
    "hard_sigmoid": ("alpha", "beta"),
    "hard_swish": (),
    "softsign": (),
    "exp": (),
    "log": (),
    "sqrt": (),
    "rsqrt": (),
    "reciprocal": (),
    "neg": (),
    "abs": (),
    "sign": (),
    "floor": (),
    "ceil": (),
    "round": (),
    "sin": (),
    "cos": (),
    "atan": (),
    "erf": (),
    "not": (),
    "clip": ("low", "high"),
}
"""Functions of one element and their parameters. All of them may also be the activation of an `affine`."""

BINARY = (
    "add", "sub", "mul", "div", "pow", "min", "max", "mod",
    "less", "less_equal", "greater", "greater_equal", "equal", "and", "or", "xor",
)  # fmt: skip
REDUCE = ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "logsumexp")
RNN_ACTIVATIONS = ("tanh", "relu")

_FLOAT = np.dtype(np.float32)
_WEIGHT = (_FLOAT, np.dtype(np.float16), np.dtype(np.int8))


@dataclass(frozen=True)
class _Use:
    """One operation as it stands in a program, with everything that its check needs."""

    where: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    tensors: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any]

    def refuse(self, why: str) -> ArtifactError:
        return ArtifactError(f"program: {self.where}: {why}")

    def ports(self, inputs: int, outputs: int = 1) -> None:
        if (len(self.inputs), len(self.outputs)) != (inputs, outputs):
            raise self.refuse(
                f"it has {len(self.inputs)} inputs and {len(self.outputs)} outputs; {inputs} and {outputs} are needed"
            )

    def only(self, tensors: tuple[str, ...], attributes: tuple[str, ...]) -> None:
        for what, found, known in (("tensor", self.tensors, tensors), ("attribute", self.attributes, attributes)):
            for key in found:
                if key not in known:
                    raise self.refuse(f"{what} '{key}' is unknown")

    def attribute(self, key: str) -> Any:
        if key not in self.attributes:
            raise self.refuse(f"attribute '{key}' is missing")
        return self.attributes[key]

    def count(self, key: str, least: int = 1) -> int:
        number = self.attribute(key)
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= LARGEST_SIZE:
            raise self.refuse(f"attribute '{key}' is {number!r}; an integer from {least} to {LARGEST_SIZE} is needed")
        return number

    def choice(self, key: str, options: Sequence[str]) -> str:
        chosen = self.attribute(key)
        if not isinstance(chosen, str) or chosen not in options:
            raise self.refuse(f"{key} {chosen!r} is not one of {', '.join(options)}")
        return chosen

    def tensor(self, role: str, shape: tuple[int, ...]) -> None:
        tensor = self.tensors.get(role)
        if tensor is not None and (tensor.dtype != _FLOAT or tensor.shape != shape):
            raise self.refuse(
                f"tensor '{role}' is {tensor.dtype} {list(tensor.shape)}; float32 {list(shape)} is needed"
            )
        if tensor is not None and not np.isfinite(tensor).all():
            raise self.refuse(f"tensor '{role}' has an element that is not finite")

    def weight(self, shape: tuple[int, int]) -> None:
        weight = self.tensors.get("weight")
        if weight is None or weight.dtype not in _WEIGHT or weight.shape != shape:
            found = "missing" if weight is None else f"{weight.dtype} {list(weight.shape)}"
            raise self.refuse(f"tensor 'weight' is {found}; float32, float16 or int8 {list(shape)} is needed")
        if weight.dtype.kind == "f" and not np.isfinite(weight).all():
            raise self.refuse("tensor 'weight' has an element that is not finite")
        if (weight.dtype == np.int8) != ("scale" in self.tensors):
            raise self.refuse("an int8 weight, and only that, needs a tensor 'scale'")
        self.tensor("scale", shape[:1])

    def fit(self, what: str, found: int, wanted: int) -> None:
        if found != wanted:
            raise self.refuse(f"{what} has {found} elements; {wanted} fit")


def check(
    where: str,
    kind: str,
    inputs: Sequence[int],
    outputs: Sequence[int],
    tensors: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Refuses an operation whose parts do not fit together.

    Args:
        where: how to call the operation in a message.
        kind: its name.
        inputs: sizes of the values that it reads.
        outputs: sizes of the values that it writes.
        tensors: its tensors by role.
        attributes: its attributes.

    Raises:
        ArtifactError: says what does not fit.
    """
    if kind not in _CHECKS:
        raise ArtifactError(f"program: {where}: this version of ganglion does not know operation '{kind}'")
    _CHECKS[kind](_Use(where, inputs, outputs, tensors, attributes))


def _affine(use: _Use) -> None:
    use.ports(1)
    use.only(("weight", "bias", "scale"), ("activation",))
    use.weight((use.outputs[0], use.inputs[0]))
    use.tensor("bias", (use.outputs[0],))
    if "activation" in use.attributes:
        _activation(use, tuple(UNARY))


def _lstm(use: _Use) -> None:
    use.ports(3, 2)
    use.only(("weight", "bias", "scale"), ())
    hidden = _hidden(use, 4)
    use.tensor("bias", (4 * hidden,))


def _gru(use: _Use) -> None:
    use.ports(2)
    use.only(("weight", "bias", "recurrent_bias", "scale"), ("linear_before_reset",))
    hidden = _hidden(use, 3)
    use.tensor("bias", (3 * hidden,))
    use.tensor("recurrent_bias", (hidden,))
    if not isinstance(use.attribute("linear_before_reset"), bool):
        raise use.refuse("attribute 'linear_before_reset' is not true or false")


def _rnn(use: _Use) -> None:
    use.ports(2)
    use.only(("weight", "bias", "scale"), ("activation",))
    use.tensor("bias", (_hidden(use, 1),))
    _activation(use, RNN_ACTIVATIONS)


def _hidden(use: _Use, gates: int) -> int:
    features, *states = use.inputs
    hidden = states[0]
    for what, sizes in (("a state input", states), ("an output", use.outputs)):
        for size in sizes:
            use.fit(what, size, hidden)
    use.weight((gates * hidden, features + hidden))
    return hidden


def _activation(use: _Use, options: Sequence[str]) -> None:
    activation = use.attribute("activation")
    if not isinstance(activation, dict) or activation.get("name") not in options:
        raise use.refuse(f"activation {activation!r} is not one of {', '.join(options)}")
    _parameters(use, activation["name"], {key: value for key, value in activation.items() if key != "name"})


def _parameters(use: _Use, function: str, given: Mapping[str, Any]) -> None:
    if set(given) != set(UNARY[function]):
        raise use.refuse(f"{function} has the parameters {sorted(given)}; {sorted(UNARY[function])} are needed")
    for key, value in given.items():
        if value is None and function == "clip":
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise use.refuse(f"{key} of {function} is {value!r}; a finite number is needed")
        if abs(value) > float(np.finfo(np.float32).max):
            raise use.refuse(f"{key} of {function} is {value!r}, which is no float32")


def _unary(use: _Use) -> None:
    use.ports(1)
    function = use.choice("function", tuple(UNARY))
    use.only((), ("function", *UNARY[function]))
    _parameters(use, function, {key: value for key, value in use.attributes.items() if key != "function"})
    use.fit("the output", use.outputs[0], use.inputs[0])


def _binary(use: _Use) -> None:
    use.ports(2)
    use.only((), ("function",))
    use.choice("function", BINARY)
    _elementwise(use)


def _where(use: _Use) -> None:
    use.ports(3)
    use.only((), ())
    _elementwise(use)


def _elementwise(use: _Use) -> None:
    for size in use.inputs:
        if size not in (1, use.outputs[0]):
            raise use.refuse(f"an input has {size} elements; 1 or {use.outputs[0]} are possible")


def _table(use: _Use) -> tuple[int, int]:
    rows, columns = use.count("rows"), use.count("columns")
    use.fit("the input", use.inputs[0], rows * columns)
    return rows, columns


def _reduce(use: _Use) -> None:
    use.ports(1)
    use.only((), ("function", "rows", "columns"))
    use.choice("function", REDUCE)
    use.fit("the output", use.outputs[0], _table(use)[0])


def _argmax(use: _Use) -> None:
    use.ports(1)
    use.only((), ("rows", "columns"))
    use.fit("the output", use.outputs[0], _table(use)[0])


def _softmax(use: _Use) -> None:
    use.ports(1)
    use.only((), ("rows", "columns"))
    _table(use)
    use.fit("the output", use.outputs[0], use.inputs[0])


def _layer_norm(use: _Use) -> None:
    use.ports(1)
    use.only(("weight", "bias"), ("rows", "columns", "epsilon"))
    _, columns = _table(use)
    use.fit("the output", use.outputs[0], use.inputs[0])
    use.tensor("weight", (columns,))
    use.tensor("bias", (columns,))
    epsilon = use.attribute("epsilon")
    if not isinstance(epsilon, (int, float)) or isinstance(epsilon, bool) or not 0.0 <= epsilon < math.inf:
        raise use.refuse(f"epsilon is {epsilon!r}; a finite number of at least 0 is needed")


def _conv1d(use: _Use) -> None:
    use.ports(1)
    sizes = ("in_channels", "length", "out_channels", "out_length", "stride", "dilation", "groups")
    use.only(("weight", "bias"), (*sizes, "pad_left", "pad_right", "padding"))
    channels, length, out_channels, out_length, stride, dilation, groups = (use.count(key) for key in sizes)
    left, right = use.count("pad_left", 0), use.count("pad_right", 0)
    padding = use.choice("padding", ("zeros", "circular"))
    if padding == "circular" and max(left, right) > length:
        raise use.refuse(f"circular padding of {left} and {right} is longer than the input ({length})")
    use.fit("the input", use.inputs[0], channels * length)
    use.fit("the output", use.outputs[0], out_channels * out_length)
    if channels % groups != 0 or out_channels % groups != 0:
        raise use.refuse(f"{channels} and {out_channels} channels cannot be divided into {groups} groups")
    weight = use.tensors.get("weight")
    if weight is None or weight.ndim != 3:
        raise use.refuse("tensor 'weight' is missing or has not three axes")
    use.tensor("weight", (out_channels, channels // groups, weight.shape[2]))
    use.tensor("bias", (out_channels,))
    reach = dilation * (weight.shape[2] - 1) + 1
    padded = left + length + right
    if padded < reach or (padded - reach) // stride + 1 != out_length:
        raise use.refuse(f"out_length {out_length} does not follow from the other lengths")


def _matmul(use: _Use) -> None:
    use.ports(2)
    use.only((), ("rows", "inner", "columns"))
    rows, inner, columns = use.count("rows"), use.count("inner"), use.count("columns")
    use.fit("the first input", use.inputs[0], rows * inner)
    use.fit("the second input", use.inputs[1], inner * columns)
    use.fit("the output", use.outputs[0], rows * columns)


def _gather(use: _Use) -> None:
    if not use.inputs:
        raise use.refuse("it has no inputs")
    use.ports(len(use.inputs))
    use.only(("index",), ())
    index = use.tensors.get("index")
    if index is None or index.dtype != np.int32 or index.shape != (use.outputs[0],):
        raise use.refuse(f"tensor 'index' is not int32 [{use.outputs[0]}]")
    total = sum(use.inputs)
    if index.min() < 0 or index.max() >= total:
        raise use.refuse(f"the index runs from {index.min()} to {index.max()}; the inputs have {total} elements")


def _lookup(use: _Use) -> None:
    use.ports(2)
    use.only((), ("rows", "columns"))
    _, columns = _table(use)
    use.fit("the second input", use.inputs[1], 1)
    use.fit("the output", use.outputs[0], columns)


_CHECKS: Mapping[str, Callable[[_Use], None]] = {
    "affine": _affine,
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
    "unary": _unary,
    "binary": _binary,
    "where": _where,
    "reduce": _reduce,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "argmax": _argmax,
    "layer_norm": _layer_norm,
    "conv1d": _conv1d,
    "matmul": _matmul,
    "gather": _gather,
    "lookup": _lookup,
}
