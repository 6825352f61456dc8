"""What counts as equal: rounding of float32, and the noise that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

ROUNDING = 2.0**-18
"""Share of a column's largest value that a few operations in float32 may lose: 32 of its units in the last place."""

_MOST = 6.0
"""Noise has this size at most in the worst of some million values, where its root mean square is 1."""

_RMS = 1.1


@dataclass(frozen=True)
class NoiseJudge:
    """Judges differences.

    Attributes:
        tolerance: noise that is no difference: its root mean square, and no value beyond six times it; None for none.
        floor: what is never a difference, in units of found: rounding of what stands beside small elements.
    """

    tolerance: float | None
    floor: float

    def rounding(self, magnitude: float) -> float:
        """What rounding may do to values of this size."""
        return ROUNDING * magnitude + self.floor

    def noise(self, gain: float = 1.0) -> float:
        """What noise may do on either side of a gain."""
        return 0.0 if self.tolerance is None else self.tolerance * max(1.0, abs(gain))

    def allowed(self, magnitude: float, gain: float = 1.0) -> float:
        """The usual difference that is none."""
        return self.rounding(magnitude) + self.noise(gain)

    def worst(self, magnitude: float, gain: float = 1.0) -> float:
        """The largest single difference that is none."""
        return self.rounding(magnitude) + _MOST * self.noise(gain)

    def fits(self, difference: Doubles, magnitude: float, gain: float = 1.0) -> bool:
        """Whether differences are none."""
        if difference.size == 0:
            return True
        worst = max(float(difference.max()), -float(difference.min()))
        rounding, noise = self.rounding(magnitude), self.noise(gain)
        if worst <= rounding + noise:
            return True
        if worst > rounding + _MOST * noise:
            return False
        return float(np.sqrt(np.mean(difference * difference))) <= rounding + _RMS * noise


def judge_of(trained: Doubles, found: Doubles, tolerance: float | None) -> NoiseJudge:
    """The judge of two recordings."""
    largest = np.concatenate([np.abs(trained).max(axis=0), np.abs(found).max(axis=0)])
    largest = largest[largest > 0.0]
    usual = float(np.median(largest)) if largest.size else 1.0
    return NoiseJudge(tolerance, 2.0**-22 * usual)
