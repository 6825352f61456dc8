"""Reads values out of nested plain data; what is wrong is named with its path in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganglion.errors import ArtifactError


@dataclass(frozen=True)
class Field:
    """One value of a document and where it stands.

    Attributes:
        value: plain data: a mapping, list, string, number, bool or None.
        path: where it stands, for example `"deploy.yaml: observations.joint_pos_rel.scale"`.
    """

    value: Any
    path: str

    @property
    def is_null(self) -> bool:
        """Whether nothing is given."""
        return self.value is None

    def refuse(self, expected: str) -> ArtifactError:
        """The exception to raise where the value is not what it should be."""
        text = repr(self.value)
        where = self.path.removesuffix(": ")
        return ArtifactError(f"{where} is {text if len(text) <= 80 else text[:77] + '...'}; expected {expected}")

    def mapping(self) -> Mapping[str, Any]:
        """The value as a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.refuse("a mapping")
        return self.value

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def __getitem__(self, key: str) -> Field:
        entries = self.mapping()
        if key not in entries:
            where = self.path.removesuffix(": ")
            raise ArtifactError(f"{where}: the key '{key}' is missing; found {sorted(map(str, entries))}")
        return Field(entries[key], self._below(str(key)))

    def get(self, key: str, default: Any = None) -> Field:
        """The value of a key that may be missing."""
        return Field(self.mapping().get(key, default), self._below(key))

    def items(self) -> list[tuple[str, Field]]:
        """The entries of a mapping, in the order of the file."""
        return [(str(key), Field(value, self._below(str(key)))) for key, value in self.mapping().items()]

    def entries(self) -> list[Field]:
        """The entries of a list."""
        if isinstance(self.value, str) or not isinstance(self.value, Sequence):
            raise self.refuse("a list")
        return [Field(value, f"{self.path}[{i}]") for i, value in enumerate(self.value)]

    def number(self, *, finite: bool = True) -> float:
        """A number; text is accepted where it is one, because YAML 1.1 reads `1e-3` as text."""
        try:
            number = math.nan if isinstance(self.value, bool) else float(self.value)
        except (TypeError, ValueError, OverflowError):
            raise self.refuse("a number") from None
        if math.isnan(number) or (finite and math.isinf(number)):
            raise self.refuse("a finite number" if finite else "a number that is not NaN")
        return number

    def integer(self) -> int:
        """A whole number."""
        number = self.number()
        if number != int(number):
            raise self.refuse("a whole number")
        return int(number)

    def numbers(self, size: int | None = None, *, finite: bool = True) -> tuple[float, ...]:
        """A list of numbers, of a given length unless None."""
        found = tuple(entry.number(finite=finite) for entry in self.entries())
        if size is not None and len(found) != size:
            raise ArtifactError(f"{self.path} has {len(found)} numbers; expected {size}")
        return found

    def spread(self, size: int, *, finite: bool = True) -> tuple[float, ...]:
        """One number for all of `size` elements, or one each."""
        if isinstance(self.value, str) or not isinstance(self.value, Sequence):
            return (self.number(finite=finite),) * size
        return self.numbers(size, finite=finite)

    def range(self) -> tuple[float, float]:
        """Lower and upper limit, possibly infinite."""
        low, high = self.numbers(2, finite=False)
        if low > high:
            raise self.refuse("a lower limit that is not above the upper one")
        return low, high

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.refuse("text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(entry.text() for entry in self.entries())

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.refuse("true or false")
        return self.value

    def _below(self, key: str) -> str:
        return f"{self.path}{'' if self.path.endswith(': ') else '.'}{key}"
