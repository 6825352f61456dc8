"""How C++ and C99 write constants: the contract, the weights and the golden trajectory of a header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ganglion.export.header import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WIDTH = 118


class Dialect(Protocol):
    """A language of headers."""

    def size(self, name: str, value: int, comment: str = "", *, group: str = "") -> str:
        """A number of elements."""

    def constant(self, c_type: str, name: str, literal: str, comment: str = "", *, group: str = "") -> str:
        """One number; `c_type` is `float`, `double` or `bool`."""

    def text(self, name: str, literal: str) -> str:
        """Characters."""

    def struct(self, name: str, members: Sequence[str]) -> list[str]:
        """A type of constants; members are C++, a size in brackets is one of the policy."""

    def structs(self, struct: str, name: str, size: str, rows: Sequence[str]) -> list[str]:
        """An array of them; each row with its indent and its comma."""

    def array(self, c_type: str, name: str, values: NDArray[Any], *, group: str = "") -> str:
        """An array of numbers, 118 columns wide."""

    def group(self, name: str, parts: Sequence[str]) -> str:
        """Constants that belong together, made with `group=name`."""


@dataclass(frozen=True)
class Cpp:
    """C++17: constants in the namespace of the policy, groups in one of their own."""

    def size(self, name: str, value: int, comment: str = "", *, group: str = "") -> str:
        """See `Dialect`."""
        return self.constant("std::size_t", name, str(value), comment, group=group)

    def constant(self, c_type: str, name: str, literal: str, comment: str = "", *, group: str = "") -> str:
        """See `Dialect`."""
        del group  # is a namespace
        return f"inline constexpr {c_type} {name} = {literal};{comment and f'  ///< {comment}'}"

    def text(self, name: str, literal: str) -> str:
        """See `Dialect`."""
        return f"inline constexpr char {name}[] = {literal};"

    def struct(self, name: str, members: Sequence[str]) -> list[str]:
        """See `Dialect`."""
        return [f"struct {name} {{", *(f"  {member};" for member in members), "};"]

    def structs(self, struct: str, name: str, size: str, rows: Sequence[str]) -> list[str]:
        """See `Dialect`."""
        return [f"inline constexpr {struct} {name}[{size}] = {{", *rows, "};"]

    def array(self, c_type: str, name: str, values: NDArray[Any], *, group: str = "") -> str:
        """See `Dialect`."""
        del group
        return _array(f"inline constexpr {c_type} {name}", values)

    def group(self, name: str, parts: Sequence[str]) -> str:
        """See `Dialect`."""
        return "\n".join((f"namespace {name} {{", *parts, f"}}  // namespace {name}"))


@dataclass(frozen=True)
class C99:
    """C99: the name of the policy before every name, and sizes that a preprocessor and an array can use."""

    prefix: str

    def size(self, name: str, value: int, comment: str = "", *, group: str = "") -> str:
        """See `Dialect`."""
        return self._define(name, f"{value}U", comment, group)

    def constant(self, c_type: str, name: str, literal: str, comment: str = "", *, group: str = "") -> str:
        """See `Dialect`."""
        del c_type  # a macro has none
        return self._define(name, literal, comment, group)

    def text(self, name: str, literal: str) -> str:
        """See `Dialect`."""
        return f"static const char {self.prefix}_{name}[] = {literal};"

    def struct(self, name: str, members: Sequence[str]) -> list[str]:
        """See `Dialect`."""
        own = self.type(name)
        given = (member.replace("std::", "").replace("[", f"[{self.prefix}_") for member in members)
        return [f"typedef struct {own} {{", *(f"  {member};" for member in given), f"}} {own};"]

    def structs(self, struct: str, name: str, size: str, rows: Sequence[str]) -> list[str]:
        """See `Dialect`."""
        return [f"static const {self.type(struct)} {self.prefix}_{name}[{self.prefix}_{size}] = {{", *rows, "};"]

    def array(self, c_type: str, name: str, values: NDArray[Any], *, group: str = "") -> str:
        """See `Dialect`."""
        return _array(f"static const {c_type.removeprefix('std::')} {self._name(name, group)}", values)

    def group(self, name: str, parts: Sequence[str]) -> str:
        """See `Dialect`."""
        del name  # is in theirs
        return "\n".join(parts)

    def type(self, name: str) -> str:
        """The C name of a C++ type of a header: `ActionStage` is `walker_action_stage`."""
        words = "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)
        return f"{self.prefix}{words}"

    def _define(self, name: str, literal: str, comment: str, group: str) -> str:
        return f"#define {self._name(name, group)} {literal}{comment and f'  ///< {comment}'}"

    def _name(self, name: str, group: str) -> str:
        return "_".join(part for part in (self.prefix, group, name) if part)


def _array(head: str, values: NDArray[Any]) -> str:
    flat = values.ravel()
    if flat.dtype == np.float32:
        items = [kernels.literal(value) for value in flat]
    else:
        items = [str(value).lower() for value in flat.tolist()]
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    lines.append(line)
    return "\n".join((f"{head}[{len(items)}] = {{", *lines, "};"))
