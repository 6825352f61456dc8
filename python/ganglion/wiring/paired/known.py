"""Numbers that adapters multiply with, by name."""

from __future__ import annotations

import math
from typing import NamedTuple


class KnownUnit(NamedTuple):
    """A change of units.

    Attributes:
        factor: found = factor * trained.
        trained: unit of trained.
        found: unit of found.
    """

    factor: float
    trained: str
    found: str


_UNITS = (
    KnownUnit(180.0 / math.pi, "rad", "deg"),
    KnownUnit(2.0 * math.pi, "turns", "rad"),
    KnownUnit(30.0 / math.pi, "rad/s", "rpm"),
    KnownUnit(1000.0, "m", "mm"),
    KnownUnit(9.81, "g", "m/s^2"),
    KnownUnit(9.80665, "g", "m/s^2"),
    KnownUnit(360.0, "turns", "deg"),
)
UNITS = tuple(unit for one in _UNITS for unit in (one, KnownUnit(1.0 / one.factor, one.found, one.trained)))
"""Both ways."""

_SCALES = (0.25, 0.05, 2.0, 0.1, 0.2, 0.5, 0.01, 0.4, 0.3, 3.0, 1.5, 0.15, 0.125, 0.7, 0.02, 0.0625, 0.0025)
SCALES = tuple(dict.fromkeys(scale for one in _SCALES for scale in (one, 1.0 / one)))
"""Of observations and actions in public training code: twice, or missing."""

KNOWN = tuple(sorted({1.0, *SCALES, *(unit.factor for unit in UNITS)}))


def unit_of(factor: float) -> KnownUnit | None:
    """The change of units that multiplies with `factor`."""
    return next((unit for unit in UNITS if math.isclose(unit.factor, abs(factor), rel_tol=1e-9)), None)


def near(factor: float, share: float = 0.1) -> list[float]:
    """Known numbers close to one, the closest first, with its sign."""
    size = abs(factor)
    close = [known for known in KNOWN if abs(known - size) <= share * known]
    return [math.copysign(known, factor) for known in sorted(close, key=lambda known: abs(known - size))[:3]]


def rounded(number: float, error: float) -> list[float]:
    """A number in two to four digits where that changes it by `error` or some roundings at most, the shortest first."""
    allowed = max(error, 1e-6 * abs(number))
    short = dict.fromkeys(float(f"{number:.{digits}g}") for digits in (2, 3, 4))
    return [one for one in short if abs(one - number) <= allowed]
