"""What float32 itself can hold of a policy: the tolerance of a comparison where nobody demands one.

Large weights and large observations make a policy amplify the rounding of its own sums; two right runs then differ by
more than `LEAST`. How much rounding does is measured on one side alone, never between the sides that are compared: the
distance of its float32 runs to its float64 run of the same trajectory. Two runs are equal where they differ by no more
than `MULTIPLE` times that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.comparison import errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LEAST = 1e-5
"""Accepted in any case: some hundred roundings of a number of magnitude 1."""
MULTIPLE = 16.0
"""Four bits. Measured over drawn GRU and LSTM policies, with large observations, large weights and weights that make
them chaotic: two right runs of 128 steps differ by 0.6 to 1.3 times that (medians), by 2.8 times at most."""
MOST = 1e-2
"""Beyond it nothing is proven: a wrong policy would pass too."""


class Nudge:
    """Moves observations to a float32 next to them, up or down by a fixed draw that goes on from block to block."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def __call__(self, observation: Floats) -> Floats:
        """The observations with every element moved."""
        up = self._random.integers(0, 2, observation.shape).astype(np.bool_)
        moved = np.nextafter(observation, np.where(up, np.inf, -np.inf).astype(np.float32))
        return np.where(np.isfinite(moved), moved, observation)


def nudged(observation: Floats) -> Floats:
    """The observations of a whole run with every element moved to a float32 next to it; see `Nudge`."""
    return Nudge()(observation)


def rounding(truth: NDArray[np.float64], *runs: Floats) -> float:
    """How far float32 is from float64 over a trajectory, as a scaled error; infinite where either is not finite.

    Args:
        truth: outputs `[steps, rows, output size]` of the float64 run.
        runs: those of float32 runs. One may be right by luck, a second with other roundings hardly is: that of the
            observations `nudged`.
    """
    return max(float(errors(run, truth).scaled.max(initial=0.0)) for run in runs)


def tolerance_for(rounded: float) -> float:
    """The tolerance that fits what `rounding` found."""
    return min(max(LEAST, MULTIPLE * rounded), MOST)
