"""What a fault is, and how one is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..layouts import Layout, Term
from ..motion import Raw

if TYPE_CHECKING:
    from numpy.random import Generator

Planted = tuple[Layout, dict[str, Any]]
"""The layout with the fault, and what was done, as JSON."""
Plant = Callable[["Generator", Layout, Raw], "Planted | None"]


@dataclass(frozen=True)
class Fault:
    """One way to be wrong.

    Attributes:
        name: of the variant, for the table.
        kinds: what a report must call it, by `ganglion.wiring.KINDS`.
        plant: makes it; None where the layout has no place for it.
        group: faults of one group on the same elements are one fault for everybody who looks at numbers.
        quaternion: it needs the base's orientation in the observation.
        frames: it needs a history (True), or one of none (False); None for either.
    """

    name: str
    kinds: tuple[str, ...]
    plant: Plant
    group: str = ""
    quaternion: bool = False
    frames: bool | None = None


def pick(
    rng: Generator, layout: Layout, names: tuple[str, ...] | None = None, wide: int = 1, clipped: bool = True
) -> Term | None:
    """A random term among those with these names and at least so many elements; `clipped`: also one that is clipped.

    A clip comes last: another scale before it is no scale behind it, and would be two faults.
    """
    fit = [one for one in layout.terms if (names is None or one.name in names) and len(layout.elements(one)) >= wide]
    fit = [one for one in fit if clipped or one.clip is None]
    return fit[rng.integers(len(fit))] if fit else None


def some(rng: Generator, size: int, most: int = 3) -> list[int]:
    return sorted(rng.choice(size, size=rng.integers(1, min(size, most) + 1), replace=False).tolist())
