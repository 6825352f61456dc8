"""The one rule by which two runs of a policy agree: `|found - expected| / max(1, |expected|)` within the tolerance.

Where float32 itself cannot hold that, an element may also be as far away as its rounding allows, see `rounding`.
`golden_replay.cpp` has both in C++, where it judges a file at every load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]


class Errors(NamedTuple):
    """How far some numbers are from what is expected, element by element; infinite where either is not finite."""

    absolute: Doubles
    """`|found - expected|`."""
    scaled: Doubles
    """`|found - expected| / max(1, |expected|)`, what a tolerance is compared with."""


@dataclass(frozen=True)
class Difference:
    """The first element beyond the tolerance: the earliest step, of it the first row, of that the first element.

    Attributes:
        step: counted from 0.
        row: row of the batch.
        element: index within all that was compared of that row.
        found: what it is.
        expected: what it should be.
        error: its scaled error.
        largest: the largest scaled error anywhere.
        tolerance: what was accepted.
        allowed: |difference| that rounding was allowed to make of it beside that; 0 where it is not known.
    """

    step: int
    row: int
    element: int
    found: float
    expected: float
    error: float
    largest: float
    tolerance: float
    allowed: float = 0.0

    def sentence(self, place: str) -> str:
        """Where and by how much, in words.

        Args:
            place: which element that is, in words.
        """
        return (
            f"first at step {self.step}, row {self.row}, {place}: {self.found:.9g} instead of {self.expected:.9g} "
            f"(relative difference {self.error:.3g}, tolerance {self.tolerance:.3g}; largest anywhere "
            f"{self.largest:.3g}{_allowed(self.allowed)})"
        )


def _allowed(allowed: float) -> str:
    return f"; rounding may change that element by {allowed:.3g}" if allowed > 0.0 else ""


def errors(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> Errors:
    """Compares two arrays of one shape."""
    wide_found, wide_expected = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(wide_found) & np.isfinite(wide_expected)
    absolute = np.full(finite.shape, np.inf)
    np.subtract(wide_found, wide_expected, out=absolute, where=finite)
    absolute = np.abs(absolute)
    return Errors(absolute, absolute / np.where(finite, np.maximum(1.0, np.abs(wide_expected)), 1.0))


def first_difference(
    found: NDArray[np.floating[Any]],
    expected: NDArray[np.floating[Any]],
    tolerance: float,
    allowed: NDArray[np.float32] | None = None,
) -> Difference | None:
    """The first element beyond a tolerance, or None.

    Args:
        found: `[steps, rows, size]`.
        expected: `[steps, rows, size]`.
        tolerance: largest accepted scaled error.
        allowed: `[steps, rows, size]` |difference| that is accepted beside that, see `rounding.allowance`.
    """
    absolute, scaled = errors(found, expected)
    beyond = scaled > tolerance
    if allowed is not None:  # what is not finite differs in any case
        beyond &= (absolute > allowed) | np.isinf(absolute)
    at = first(beyond)
    if at is None:
        return None
    return Difference(
        *at,
        found=float(found[at]),
        expected=float(expected[at]),
        error=float(scaled[at]),
        largest=float(scaled.max()),
        tolerance=float(tolerance),
        allowed=0.0 if allowed is None else float(allowed[at]),
    )


def first(wrong: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Step, row and element of the first one that is set in `[steps, rows, size]`, or None."""
    if not wrong.any():
        return None
    # argmax of booleans is the first true one; C order puts step before row before element.
    step, row, element = (int(index) for index in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return step, row, element
