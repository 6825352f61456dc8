"""Lowers what acts on each element alone: activations, arithmetic, comparisons, conversions."""

from __future__ import annotations

from functools import reduce

import numpy as np

from ganglion.compiler.bounds import bounds
from ganglion.compiler.builder import BOOLEAN, FLOAT, INTEGER, Symbol, Tensor, scalar, size_of
from ganglion.compiler.lowering.site import Site, lowers

# Operators that are one function.
SIMPLE = {
    "Relu": "relu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Mish": "mish",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "HardSwish": "hard_swish",
    "Softsign": "softsign",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Sin": "sin",
    "Cos": "cos",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Erf": "erf",
}
WITH_PARAMETERS = {
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Celu": ("celu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
}
KEEPS_KIND = {"Neg": "neg", "Abs": "abs", "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Round": "round"}
_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Sum": "add", "Min": "min", "Max": "max"}
_COMPARISON = {
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Equal": "equal",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
}
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)

# TensorProto.DataType: FLOAT, DOUBLE; UINT8, INT8, UINT16, INT16, INT32, INT64, UINT32, UINT64; BOOL
_FLOATS, _INTEGERS, _BOOL = (1, 11), (2, 3, 4, 5, 6, 7, 12, 13), 9


def _kind(tensor: Tensor) -> str:
    if isinstance(tensor, Symbol):
        return tensor.kind
    return {"b": BOOLEAN, "i": INTEGER, "u": INTEGER}.get(tensor.dtype.kind, FLOAT)


def as_float32(tensor: Tensor) -> Tensor:
    """A known tensor in the type that the program computes in."""
    return tensor.astype(np.float32) if not isinstance(tensor, Symbol) and tensor.dtype.kind == "f" else tensor


@lowers(*SIMPLE)
def _simple(site: Site) -> Tensor:
    if site.operator == "Selu":
        alpha, gamma = site.attribute("alpha", _SELU[0]), site.attribute("gamma", _SELU[1])
        if not np.allclose((alpha, gamma), _SELU, rtol=1e-6, atol=0.0):
            return site.binary("mul", site.unary("elu", site.tensor(0), alpha=float(alpha)), scalar(gamma))
    return site.unary(SIMPLE[site.operator], site.tensor(0))


@lowers(*WITH_PARAMETERS)
def _with_parameters(site: Site) -> Tensor:
    function, defaults = WITH_PARAMETERS[site.operator]
    parameters = {key: float(site.attribute(key, default)) for key, default in defaults.items()}
    return site.unary(function, site.tensor(0), FLOAT, **parameters)


@lowers(*KEEPS_KIND)
def _keeps_kind(site: Site) -> Tensor:
    x = site.tensor(0)
    return site.unary(KEEPS_KIND[site.operator], x, _kind(x))


@lowers("Not")
def _not(site: Site) -> Tensor:
    return site.unary("not", site.tensor(0), BOOLEAN)


@lowers("Tan")
def _tan(site: Site) -> Tensor:
    x = site.tensor(0)
    return site.binary("div", site.unary("sin", x), site.unary("cos", x))


_ROOT_IS_SIZE = 1e9
"""From here on `sqrt(x * x + 1)` and `x` are the same float32; the square of larger numbers may overflow."""


@lowers("Sinh")
def _sinh(site: Site) -> Tensor:
    # With e = exp(-|x|) - 1, which ELU has to the last digit: |sinh x| = -e (e + 2) / (2 (e + 1)).
    x = site.tensor(0)
    e = site.unary("elu", site.unary("neg", site.unary("abs", x)), alpha=1.0)
    above = site.binary("mul", e, site.binary("add", e, scalar(2.0)))
    size = site.binary("div", above, site.binary("mul", site.binary("add", e, scalar(1.0)), scalar(-2.0)))
    return site.binary("mul", site.unary("sign", x), size)


@lowers("Cosh")
def _cosh(site: Site) -> Tensor:
    e = site.unary("exp", site.unary("abs", site.tensor(0)))
    return site.binary("mul", site.binary("add", e, site.unary("reciprocal", e)), scalar(0.5))


@lowers("Asinh")
def _asinh(site: Site) -> Tensor:
    x = site.tensor(0)
    return site.binary("mul", site.unary("sign", x), _log_of_sum(site, site.unary("abs", x), 1.0))


@lowers("Acosh")
def _acosh(site: Site) -> Tensor:
    return _log_of_sum(site, site.tensor(0), -1.0)


def _log_of_sum(site: Site, x: Tensor, one: float) -> Tensor:
    """`log(x + sqrt(x * x + one))`; `log(2 x)` where the square may overflow."""
    root = site.unary("sqrt", site.binary("add", site.binary("mul", x, x), scalar(one)))
    small = site.unary("log", site.binary("add", x, root))
    large = site.binary("add", site.unary("log", x), scalar(np.log(2.0)))
    return _select(site, site.binary("less", x, scalar(_ROOT_IS_SIZE), BOOLEAN), small, large)


@lowers("Atanh")
def _atanh(site: Site) -> Tensor:
    x = site.tensor(0)
    ratio = site.binary("div", site.binary("add", scalar(1.0), x), site.binary("sub", scalar(1.0), x))
    return site.binary("mul", site.unary("log", ratio), scalar(0.5))


@lowers("Gelu")
def _gelu(site: Site) -> Tensor:
    return site.unary("gelu_tanh" if site.attribute("approximate", "none") == "tanh" else "gelu", site.tensor(0))


@lowers("Clip")
def _clip(site: Site) -> Tensor:
    x = site.tensor(0)
    limits = [site.inputs[i] if site.has(i) else _given_limit(site, key) for i, key in ((1, "min"), (2, "max"))]
    if any(isinstance(limit, Symbol) for limit in limits):
        for limit, function in zip(limits, ("max", "min"), strict=True):
            x = x if limit is None else site.binary(function, x, limit, _kind(x))
        return x
    low, high = (_limit(limit) for limit in limits)
    if low is not None and high is not None and low > high:
        low = high  # what the operator's definition, min(max(x, low), high), then means
    return x if low is None and high is None else site.unary("clip", x, _kind(x), low=low, high=high)


def _given_limit(site: Site, key: str) -> Tensor | None:
    """A limit that is an attribute, as before opset 11."""
    return scalar(site.attributes[key]) if key in site.attributes else None


def _limit(limit: Tensor | None) -> float | None:
    value = None if limit is None or isinstance(limit, Symbol) else float(np.float32(limit.flat[0]))
    # PyTorch writes the largest float32 where there is no bound.
    return value if value is not None and abs(value) < np.finfo(np.float32).max else None


@lowers("PRelu")
def _prelu(site: Site) -> Tensor:
    x, slope = site.tensor(0), site.tensor(1)
    if not isinstance(slope, Symbol) and slope.size == 1:
        return site.unary("leaky_relu", x, alpha=float(slope.ravel()[0]))
    return _select(site, site.binary("less", x, np.zeros(1), BOOLEAN), site.binary("mul", x, slope), x)


@lowers(*_ARITHMETIC)
def _arithmetic(site: Site) -> Tensor:
    operands = [site.tensor(i) for i in range(len(site.inputs))]
    kind = _kind(operands[0])
    return reduce(lambda a, b: site.binary(_ARITHMETIC[site.operator], a, b, kind), operands)


@lowers("Mean")
def _mean(site: Site) -> Tensor:
    operands = [site.tensor(i) for i in range(len(site.inputs))]
    total = reduce(lambda a, b: site.binary("add", a, b, FLOAT), operands)
    return site.binary("div", total, scalar(len(operands)))


@lowers(*_COMPARISON)
def _comparison(site: Site) -> Tensor:
    return site.binary(_COMPARISON[site.operator], site.tensor(0), site.tensor(1), BOOLEAN)


@lowers("Div")
def _div(site: Site) -> Tensor:
    a, b = site.tensor(0), site.tensor(1)
    quotient = site.binary("div", a, b, FLOAT)
    # Exact for whole numbers below 2^24: the quotient is never rounded up to a whole number that it is below.
    return truncated(site, quotient) if _kind(a) == INTEGER else quotient


@lowers("Mod")
def _mod(site: Site) -> Tensor:
    a, b = site.tensor(0), site.tensor(1)
    if site.attribute("fmod", 0):
        return site.binary("mod", a, b, _kind(a))
    whole = site.unary("floor", site.binary("div", a, b))
    rest = site.binary("sub", a, site.binary("mul", whole, b), _kind(a))
    if _kind(a) == INTEGER and not isinstance(b, Symbol) and (b == b.flat[0]).all() and b.flat[0] > 0:
        # Changes nothing, but lets a computed index be seen to lie in its table: torch wraps negative ones by this.
        return site.unary("clip", rest, INTEGER, low=0.0, high=float(b.flat[0]) - 1.0)
    return rest


@lowers("Pow")
def _pow(site: Site) -> Tensor:
    x, exponent = site.tensor(0), site.tensor(1)
    if not isinstance(exponent, Symbol) and exponent.size > 0 and (exponent == exponent.flat[0]).all():
        shape = site.broadcast(x, exponent)
        power = float(exponent.flat[0])
        if isinstance(x, Symbol) and x.shape == shape and power in _POWERS:
            return _power(site, x, power)
    return site.binary("pow", x, exponent, _kind(x))


_POWERS = (1.0, 2.0, 3.0, 0.5, -1.0)


def _power(site: Site, x: Symbol, power: float) -> Tensor:
    if power == 1.0:
        return x
    if power in (0.5, -1.0):
        return site.unary("sqrt" if power == 0.5 else "reciprocal", x)
    square = site.binary("mul", x, x, x.kind)
    return square if power == 2.0 else site.binary("mul", square, x, x.kind)


@lowers("IsNaN")
def _is_nan(site: Site) -> Tensor:
    x = site.tensor(0)
    return site.unary("not", site.binary("equal", x, x), BOOLEAN)


@lowers("IsInf")
def _is_inf(site: Site) -> Tensor:
    x = site.tensor(0)
    positive, negative = site.attribute("detect_positive", 1), site.attribute("detect_negative", 1)
    if positive and negative:
        x = site.unary("abs", x)
    elif not positive and not negative:
        return np.zeros(x.shape, np.bool_)
    return site.binary("equal", x, scalar(np.inf if positive else -np.inf), BOOLEAN)


@lowers("Where")
def _where(site: Site) -> Tensor:
    return _select(site, site.tensor(0), site.tensor(1), site.tensor(2))


def _select(site: Site, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    shape = site.broadcast(condition, a, b)
    kind = _kind(a)
    if 0 in shape:
        return np.zeros(shape, np.float32)
    if not isinstance(condition, Symbol):
        addresses = (np.broadcast_to(site.builder.addresses(tensor), shape) for tensor in (a, b))
        return site.builder.view(np.where(condition, *addresses), kind)
    values = [site.operand(tensor, shape) for tensor in (condition, a, b)]
    return site.builder.symbol(site.builder.emit("where", values, [size_of(shape)])[0], shape, kind)


@lowers("Cast")
def _cast(site: Site) -> Tensor:
    x, to = site.tensor(0), site.attribute("to")
    assert isinstance(x, Symbol)  # what is known has been folded
    if to in _FLOATS:
        # A double is computed as a float32; the proof at the end of the compilation sees what that costs.
        return Symbol(x.address, FLOAT)
    if to == _BOOL:
        return x if x.kind == BOOLEAN else site.unary("not", site.unary("not", x, BOOLEAN), BOOLEAN)
    if to not in _INTEGERS:
        raise site.refuse(f"conversion to element type {to} of ONNX; float32, integers and booleans are supported")
    return Symbol(truncated(site, x).address, INTEGER) if x.kind == FLOAT else Symbol(x.address, INTEGER)


@lowers("CastLike")
def _cast_like(site: Site) -> Tensor:
    x, like = site.tensor(0), _kind(site.tensor(1))
    to = {FLOAT: _FLOATS[0], INTEGER: 7, BOOLEAN: _BOOL}[like]
    inputs = (x if isinstance(x, Symbol) else site.builder.symbol(site.builder.constant(x), x.shape, _kind(x)),)
    cast = Site(site.builder, site.operator, site.name, inputs, {"to": to}, site.outputs, site.opset)
    return _cast(cast)


def truncated(site: Site, x: Tensor) -> Symbol:
    """The whole part of a number, as a conversion to an integer leaves it."""
    assert isinstance(x, Symbol)
    low, high = bounds(site.builder, site.builder.vector(x))
    if low >= 0:
        result = site.unary("floor", x, INTEGER)
    elif high <= 0:
        result = site.unary("ceil", x, INTEGER)
    else:
        # A choice, because of it the bounds are known where x has one.
        below, above = site.unary("ceil", x, INTEGER), site.unary("floor", x, INTEGER)
        result = _select(site, site.binary("less", x, scalar(0.0), BOOLEAN), below, above)
    assert isinstance(result, Symbol)
    return result
