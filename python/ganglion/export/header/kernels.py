"""The C++ functions of the header target, from `kernels.hpp` and the table of functions, and C++ literals."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SOURCE = Path(__file__).with_name("kernels.hpp")
_MARK = "// --- "

_BOUNDS = ("at_least", "at_most")
_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")


def unary(function: str, parameters: Mapping[str, float | None]) -> str:
    """A function of one element as a C++ expression of `x`."""
    given = parameters.values()
    if None in given:  # a bound that is not there
        result = "x"
        for bound, name in zip(("low", "high"), _BOUNDS, strict=True):
            limit = parameters[bound]
            if limit is not None:
                result = f"detail::{name}({result}, {literal(limit)})"
        return result
    arguments = ", ".join(["x", *(literal(value) for value in given if value is not None)])
    return f"detail::{vocabulary.UNARY_FUNCTIONS[function].identifier}({arguments})"


def binary(function: str) -> str:
    """A function of two elements as a C++ expression of `a` and `b`."""
    return _in_float(vocabulary.BINARY_FUNCTIONS[function].definition)


def _in_float(definition: str) -> str:
    """A definition of the table with its numbers as literals of type float."""
    return _NUMBER.sub(lambda number: literal(float(number[0])), definition)


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
        found[name] = (_BOUNDS if name == "bounds" else (name,), tuple(needs.split()), body.strip())
        if name == "bounds":
            found |= _functions_of_one_element()
    return found


def _functions_of_one_element() -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {}
    for function in vocabulary.UNARY_FUNCTIONS.values():
        name, body = function.identifier, _in_float(function.definition)
        called = set(re.findall(r"(?<![\w:])\w+(?=\()", body))
        needs = [other for other in found if other in called] + (["bounds"] if called & set(_BOUNDS) else [])
        arguments = ", ".join(f"float {argument}" for argument in ("x", *function.parameters))
        text = f"inline float {name}({arguments}) noexcept {{ return {body}; }}"
        found[name] = ((name,), tuple(needs), text)
    return found
