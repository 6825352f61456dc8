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
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LEAST = 1e-5
"""Accepted in any case: some hundred roundings of a number of magnitude 1."""
MULTIPLE = 16.0
"""Four bits. Measured over drawn GRU and LSTM policies, wide ones and chaotic ones, two right runs of 128 steps differ
by 0.9 to 1.5 times what one is away from float64, and by 5 times at most."""
MOST = 1e-2
"""Beyond it nothing is proven: a wrong policy would pass too."""


def nudged(observation: Floats) -> Floats:
    """The observations with every element moved to a float32 next to it, up or down by a fixed draw."""
    up = np.random.default_rng(0).integers(0, 2, observation.shape).astype(np.bool_)
    moved = np.nextafter(observation, np.where(up, np.inf, -np.inf).astype(np.float32))
    return np.where(np.isfinite(moved), moved, observation)


def rounding(
    run: Callable[[Floats], Floats], run_wide: Callable[[Floats], NDArray[np.float64]], observation: Floats
) -> float:
    """How far float32 is from float64 over a trajectory, as a scaled error; infinite where either is not finite.

    Args:
        run: runs the policy in float32: observations `[steps, rows, size]` to outputs `[steps, rows, output size]`.
        run_wide: runs it in float64.
        observation: the observations.
    """
    truth = run_wide(observation)
    # One run may be right by luck; a second, with other roundings, hardly is.
    return max(float(errors(run(given), truth).scaled.max(initial=0.0)) for given in (observation, nudged(observation)))


def tolerance_for(rounded: float) -> float:
    """The tolerance that fits what `rounding` found."""
    return min(max(LEAST, MULTIPLE * rounded), MOST)
