"""Observations drawn over the bounds that a contract states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

# A bound beyond a million (gymnasium writes 3.4e38 for "no limit") says nothing about the values to expect.
_WIDEST_BOUND = 1e6
_CORNER_PROBABILITY = 0.1

_GOLDEN_ROWS = 3
_MOST_NUMBERS = 1 << 20
"""Observation elements of a golden trajectory: as text in a file they take 20 MB."""

_FEWEST_STEPS = 8
_LEAST_STEPS = 2


class Bounded(Protocol):
    """What has bounds: a contract."""

    @property
    def observation_bounds(self) -> tuple[Doubles, Doubles]:
        """Lowest and highest value of each element, `[n]`; infinite where there is none."""


def believed_bounds(contract: Bounded) -> tuple[Doubles, Doubles]:
    """The bounds that say something: lowest and highest values, `[n]`, infinite where there is no such bound."""
    low, high = contract.observation_bounds
    return (
        np.where(np.abs(low) <= _WIDEST_BOUND, low, -np.inf),
        np.where(np.abs(high) <= _WIDEST_BOUND, high, np.inf),
    )


def within_bounds(low: Doubles, high: Doubles, share: Doubles, free: Doubles) -> Doubles:
    """Puts random numbers into bounds.

    Args:
        low: lowest values, `[n]`; minus infinity where there is none.
        high: highest values, `[n]`; infinity where there is none.
        share: where between two bounds, from 0 to 1, `[..., n]`.
        free: the value of an element without bounds; its distance from the bound where there is one, `[..., n]`.
    """
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    low, high = np.where(has_low, low, 0.0), np.where(has_high, high, 0.0)
    one_sided = np.where(has_low, low + np.abs(free), high - np.abs(free))
    return np.where(has_low & has_high, low + share * (high - low), np.where(has_low | has_high, one_sided, free))


def golden_size(observation_size: int, steps: int, batch: int | None) -> tuple[int, int]:
    """Steps and rows of a golden trajectory: every file has room for it, whatever is asked for.

    Images have fewer steps, and one row where the rows are free; the largest ones have two steps, the second of which
    is a reset.

    Args:
        observation_size: elements of one observation.
        steps: what is asked for.
        batch: rows of the file; None for any number.
    """
    rows = min(batch or (_GOLDEN_ROWS if _GOLDEN_ROWS * steps * observation_size <= _MOST_NUMBERS else 1), _GOLDEN_ROWS)
    size = max(1, rows * observation_size)
    fewest = max(_LEAST_STEPS, min(_FEWEST_STEPS, 4 * _MOST_NUMBERS // size))
    return min(steps, max(fewest, _MOST_NUMBERS // size)), rows


def draw_observations(contract: Bounded, steps: int, rows: int, seed: int) -> NDArray[np.float32]:
    """Draws observations that cover the bounds of the contract, each for itself.

    Elements with two finite bounds are uniform between them, with one step in ten exactly on a bound; elements with
    one bound are half-normal from it; elements without bounds (or with bounds beyond 1e6, which gymnasium uses for
    "none") are standard normal.

    Args:
        contract: the contract whose inputs give the bounds.
        steps: number of steps.
        rows: number of batch rows.
        seed: seed of the draw; global random state is not used.

    Returns:
        `[steps, rows, observation_size]`, float32.
    """
    generator = np.random.default_rng(seed)
    low, high = believed_bounds(contract)
    shape = (steps, rows, len(low))
    free = generator.standard_normal(shape)
    share = generator.random(shape)
    corner = generator.random(shape) < _CORNER_PROBABILITY
    share = np.where(corner, np.round(share), share)
    return within_bounds(low, high, share, free).astype(np.float32)
