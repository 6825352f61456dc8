"""The C++ functions of the header target, picked from `kernels.hpp`, and C++ literals."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_SOURCE = Path(__file__).with_name("kernels.hpp")
_MARK = "// --- "

UNARY = {
    "relu": "detail::relu(x)",
    "leaky_relu": "detail::leaky_relu(x, {alpha})",
    "elu": "detail::elu(x, {alpha})",
    "celu": "detail::celu(x, {alpha})",
    "selu": "detail::selu(x)",
    "gelu": "detail::gelu(x)",
    "gelu_tanh": "detail::gelu_tanh(x)",
    "silu": "detail::silu(x)",
    "softplus": "detail::softplus(x)",
    "mish": "detail::mish(x)",
    "tanh": "std::tanh(x)",
    "sigmoid": "detail::sigmoid(x)",
    "hard_sigmoid": "detail::hard_sigmoid(x, {alpha}, {beta})",
    "hard_swish": "detail::hard_swish(x)",
    "softsign": "detail::softsign(x)",
    "exp": "std::exp(x)",
    "log": "std::log(x)",
    "sqrt": "std::sqrt(x)",
    "rsqrt": "1.0F / std::sqrt(x)",
    "reciprocal": "1.0F / x",
    "neg": "-x",
    "abs": "std::fabs(x)",
    "sign": "detail::sign(x)",
    "floor": "std::floor(x)",
    "ceil": "std::ceil(x)",
    "round": "std::nearbyint(x)",
    "sin": "std::sin(x)",
    "cos": "std::cos(x)",
    "atan": "std::atan(x)",
    "erf": "std::erf(x)",
    "not": "x == 0.0F ? 1.0F : 0.0F",
}
"""Functions of one element as C++ expressions of `x`, but for `clip`, whose bounds may be missing."""

BINARY = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a / b",
    "pow": "std::pow(a, b)",
    "min": "detail::minimum(a, b)",
    "max": "detail::maximum(a, b)",
    "mod": "std::fmod(a, b)",
    "less": "a < b ? 1.0F : 0.0F",
    "less_equal": "a <= b ? 1.0F : 0.0F",
    "greater": "a > b ? 1.0F : 0.0F",
    "greater_equal": "a >= b ? 1.0F : 0.0F",
    "equal": "a == b ? 1.0F : 0.0F",
    "and": "a != 0.0F && b != 0.0F ? 1.0F : 0.0F",
    "or": "a != 0.0F || b != 0.0F ? 1.0F : 0.0F",
    "xor": "(a != 0.0F) != (b != 0.0F) ? 1.0F : 0.0F",
}
"""Functions of two elements as C++ expressions of `a` and `b`."""


def unary(function: str, parameters: dict[str, float | None]) -> str:
    """A function of one element as a C++ expression of `x`."""
    if function == "clip":
        result = "x"
        for bound, name in (("low", "at_least"), ("high", "at_most")):
            limit = parameters[bound]
            if limit is not None:
                result = f"detail::{name}({result}, {literal(limit)})"
        return result
    numbers = {key: literal(value) for key, value in parameters.items() if value is not None}
    return UNARY[function].format(**numbers)


def literal(value: float) -> str:
    """A C++ literal of type float that has exactly the value of `value` rounded to float32."""
    single = np.float32(value)
    if not np.isfinite(single):
        return "INFINITY" if single > 0 else "-INFINITY"
    return f"{single!s}F"  # the shortest decimal that no other float32 is nearer to


def double_literal(value: float) -> str:
    """A C++ literal of type double."""
    assert math.isfinite(value)
    return repr(value)


def string(text: str) -> str:
    """A C++ string literal with the UTF-8 bytes of `text`."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return '"' + "".join(plain) + '"'


def functions(text: str) -> str:
    """The sections of `kernels.hpp` that a piece of C++ uses, and those that they use, in their order there."""
    sections = _sections()
    wanted: set[str] = set()
    pending = [name for name, (names, _, _) in sections.items() if _mentions(text, names)]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending.extend(sections[name][1])
    return "\n\n".join(body for name, (_, _, body) in sections.items() if name in wanted)


def _mentions(text: str, names: Iterable[str]) -> bool:
    return any(f"detail::{name}{end}" in text for name in names for end in "<(")


@functools.cache
def _sections() -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    """Name of each section: functions that it offers, sections that it needs, text."""
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {}
    for section in _SOURCE.read_text(encoding="utf-8").split(f"\n{_MARK}")[1:]:
        title, _, body = section.partition("\n")
        name, _, needs = title.partition(":")
        offers = ("at_least", "at_most") if name == "clip" else (name,)
        found[name] = (offers, tuple(needs.split()), body.strip())
    return found
