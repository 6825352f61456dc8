"""The words of a program, as the C++ runtime has them: `cpp/src/native/vocabulary.def` is the only list.

What each of them computes is written there, in `cpp/FORMAT.md` and, as NumPy code, in `interpreter.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion import _core

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Function:
    """A function of one or two elements.

    Attributes:
        identifier: its name in C++, where it is not a keyword.
        parameters: names of its parameters.
    """

    identifier: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """An operation.

    Attributes:
        attributes: what is said beside its operands, in order.
        plain: whether one call does it, with operands, attributes and tensors as they stand.
    """

    attributes: tuple[str, ...]
    plain: bool


FUNCTIONS_SOURCE: str = _core.functions()
"""The C++ of the functions of one and two elements, as the engine has them: `kernels/numbers.hpp` and `math.hpp`."""

_TABLE: Mapping[str, Any] = json.loads(_core.vocabulary_json())


def _functions(kind: str) -> dict[str, Function]:
    return {entry["name"]: Function(entry["identifier"], tuple(entry["parameters"])) for entry in _TABLE[kind]}


LIMITS: Mapping[str, int] = {name: entry["value"] for name, entry in _TABLE["limits"].items()}
"""What a program may be at most, by the names in `vocabulary.def`."""

FORMAT = LIMITS["newest_format"]
"""The newest program format that this version reads and the one that it writes."""

LARGEST_SIZE = LIMITS["largest_size"]
"""Most elements of one value: whole numbers up to here are exact in float32."""

SCHEMES: tuple[str, ...] = tuple(_TABLE["schemes"])
"""How the weights of a program may be stored. `int8x16` and `int8x8`: int8 weights that meet inputs rounded to 16 or 8
bits on processors with integer products, and float32 inputs on others; float32 inputs in all other schemes."""

OPERATIONS: Mapping[str, Operation] = {
    entry["name"]: Operation(tuple(entry["attributes"]), entry["plain"]) for entry in _TABLE["operations"]
}
UNARY_FUNCTIONS: Mapping[str, Function] = _functions("unary")
BINARY_FUNCTIONS: Mapping[str, Function] = _functions("binary")

UNARY: Mapping[str, tuple[str, ...]] = {name: function.parameters for name, function in UNARY_FUNCTIONS.items()}
"""Functions of one element and their parameters. All of them may also be the activation of an `affine`."""

BINARY: tuple[str, ...] = tuple(BINARY_FUNCTIONS)
REDUCE: tuple[str, ...] = tuple(_TABLE["reduce"])
RNN_ACTIVATIONS: tuple[str, ...] = tuple(_TABLE["rnn_activations"])
