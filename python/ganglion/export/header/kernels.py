"""The functions of the header target, from the engine's own functions and the files beside this one, and literals."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion.compiler import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FOLDER = Path(__file__).parent
_MARK = "// --- "
_DEFINITION = re.compile(r"^(?:inline|constexpr|struct|GANGLION_INLINE)\b[^(=;{\[]*?\b(\w+)\s*[(=;{\[]", re.MULTILINE)


def unary(function: str, parameters: Mapping[str, float | None]) -> str:
    """A function of one element as a C++ expression of the Vector `x`."""
    unbounded = {"low": -math.inf, "high": math.inf}
    given = (unbounded[name] if value is None else value for name, value in parameters.items())
    arguments = ", ".join(["x", *(f"detail::set({literal(value)})" for value in given)])
    return f"detail::{vocabulary.UNARY_FUNCTIONS[function].identifier}({arguments})"


def binary(function: str) -> str:
    """A function of two elements as a C++ expression of the Vectors `a` and `b`."""
    return f"detail::binary_{vocabulary.BINARY_FUNCTIONS[function].identifier}(a, b)"


def literal(value: float) -> str:
    """A literal of type float, in C and in C++, that has exactly the value of `value` rounded to float32."""
    single = np.float32(value)
    if not np.isfinite(single):
        return "INFINITY" if single > 0 else "-INFINITY"
    return f"{single!s}F"  # the shortest decimal that no other float32 is nearer to


def double_literal(value: float) -> str:
    """A literal of type double."""
    if not math.isfinite(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(float(value))


def string(text: str) -> str:
    """A string literal with the UTF-8 bytes of `text`."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return '"' + "".join(plain) + '"'


def arithmetic(name: str) -> str:
    """A section of `vectors.hpp`."""
    return _sections("vectors.hpp")[name]


def one_lane() -> str:
    """The Vector of processors of which `vectors.hpp` knows no registers, and of C."""
    return _sections("one_lane.hpp")["vectors"]


def policy(name: str) -> str:
    """A section of `policy.hpp`."""
    return _sections("policy.hpp")[name]


def c_types() -> str:
    """The types of the C header, with @ for the name of the policy."""
    return _sections("policy.h")["types"]


def is_defined(name: str) -> bool:
    """Whether there is a function of that name."""
    return any(name in block.names for block in _blocks())


def functions(text: str, *, one_lane: bool = False) -> list[str]:
    """The functions that a piece of C++ calls, and those that they call, in the order in which they are defined.

    Args:
        text: C++.
        one_lane: for one lane alone, as C has it.
    """
    blocks = _one_lane_blocks() if one_lane else _blocks()
    owner = {name: block for block in blocks for name in block.names}
    wanted = {block for block in blocks if not block.names}
    pending = [owner[name] for name in re.findall(r"\w+", _code(text)) if name in owner] + list(wanted)
    while pending:
        block = pending.pop()
        wanted.add(block)
        pending.extend(owner[name] for name in block.mentions if name in owner and owner[name] not in wanted)
    return [block.text for block in blocks if block in wanted]


@dataclass(frozen=True)
class _Block:
    """Functions, types and constants that are written together.

    Attributes:
        names: of what is defined in it; none: an operator, which every policy gets.
        mentions: the words of its code.
        text: as it stands in the header.
    """

    names: tuple[str, ...]
    mentions: frozenset[str]
    text: str


@functools.cache
def _blocks() -> tuple[_Block, ...]:
    one, many = _sections("one_lane.hpp")["affine"], _sections("kernels.hpp")["affine"]
    both = f"#if GANGLION_LANES > 1\n{many}\n#else\n{one}\n#endif"
    return tuple(_block(text) for text in _texts(both))


@functools.cache
def _one_lane_blocks() -> tuple[_Block, ...]:
    return tuple(_block(text) for text in _texts(_sections("one_lane.hpp")["affine"]))


def _texts(affine: str) -> Iterator[str]:
    yield from _definitions(vocabulary.FUNCTIONS_SOURCE)
    for name, text in _sections("kernels.hpp").items():
        yield affine if name == "affine" else text


def _block(text: str) -> _Block:
    code = _code(text)
    return _Block(tuple(_DEFINITION.findall(code)), frozenset(re.findall(r"\w+", code)), text)


def _code(text: str) -> str:
    return re.sub(r"//.*", "", text)


def _definitions(text: str) -> Iterator[str]:
    """What stands between empty lines, but for what is nothing but comments."""
    for block in re.split(r"\n\n+", text):
        lines = block.strip().splitlines()
        if any(not line.startswith("//") for line in lines):
            yield "\n".join(line for line in lines if not line.startswith("// "))


@functools.cache
def _sections(file: str) -> dict[str, str]:
    """Name and text of each section of a file beside this one."""
    pieces = (_FOLDER / file).read_text(encoding="utf-8").split(f"\n{_MARK}")[1:]
    return {name: body.strip() for name, _, body in (piece.partition("\n") for piece in pieces)}
