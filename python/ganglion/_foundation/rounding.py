"""What float32 itself can hold of a policy: the rule of every comparison where nobody demands a tolerance.

Large weights and large observations make a policy amplify the rounding of its own sums; two right runs then differ by
more than `LEAST`. How much rounding does is measured element by element and step by step, along the very trajectory:
the distance of float32 runs with different roundings to the float64 run of the same function. An element may be
`MULTIPLE` times as far from the truth as the farthest of these runs was in the steps before it, back to the last reset;
an error that a network makes larger from step to step is so compared with rounding that was made larger in the same
way. Where there is no float64 run, the distances are those to the float32 run of the reference.

A policy may amplify rounding without end. Once that has taken a part of its memory `MOST` of its range away, all of it
may be as far away, in parts of its range, until the next reset: which element is hit next is chance by then. Once it
may have taken all of the range of a part, the trajectory is another one, and nothing of it is judged until then.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.comparison import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LEAST = 1e-5
"""Accepted in any case, as a scaled error: some hundred roundings of a number of magnitude 1."""
MULTIPLE = 16.0
"""Four bits between the farthest of the measured runs and what is accepted: other orders of the same sums, and other
approximations of the same functions, stay within them."""
MOST = 1e-2
"""Of the range of an element: where rounding may do more, float32 does not hold it, and nothing is proven of it."""
NUDGES = (0, 1, 2)
"""One run may be right by luck; these others begin with observations that are `nudged`."""

_BEHIND, _AHEAD = 16, 2
"""Steps whose rounding counts for a step: an element that is near the truth by chance is not so all the time."""
_LARGEST = float(np.finfo(np.float32).max)


class Nudge:
    """Moves observations to a float32 next to them, up or down by a fixed draw that goes on from block to block.

    Args:
        seed: of the draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, observation: Floats) -> Floats:
        """The observations with every element moved."""
        up = self._random.integers(0, 2, observation.shape).astype(np.bool_)
        moved = np.nextafter(observation, np.where(up, np.inf, -np.inf).astype(np.float32))
        return np.where(np.isfinite(moved), moved, observation)


def nudged(observation: Floats, seed: int = 0) -> Floats:
    """The observations of a whole run with every element moved to a float32 next to it; see `Nudge`."""
    return Nudge(seed)(observation)


def several(run: Callable[[Floats], Floats], observation: Floats, plain: Floats, *, pure: bool = False) -> list[Floats]:
    """Float32 runs with different roundings, the plain one first; none at all where a run cannot be repeated.

    Chance, and memory that a reset leaves as it was, are no rounding: nothing may be allowed for them.

    Args:
        run: gives the outputs, and the state, of a whole run for its observations `[steps, rows, size]`.
        observation: of that run.
        plain: what it gave for them.
        pure: whether it is known to give the same again, and to take any number of rows, each for itself: the nudged
            runs are one then.
    """
    moved = [nudged(observation, seed) for seed in NUDGES]
    if pure:
        return [plain, *np.split(run(np.concatenate(moved, axis=1)), len(moved), axis=1)]
    if not repeats(lambda: run(observation), plain):
        return []
    return [plain, *map(run, moved)]


def repeats(run: Callable[[], Floats], before: Floats) -> bool:
    """Whether a run gives the same bits again; a second time it is tried, for libraries that look at addresses."""
    return any(np.array_equal(run(), before, equal_nan=True) for _ in range(2))


def allowance(
    truth: NDArray[np.floating[Any]], runs: Iterable[Floats], reset: NDArray[np.bool_], memory: int
) -> Floats:
    """How far each element may be from the truth because of rounding, as an absolute difference.

    Args:
        truth: `[steps, rows, size]` of the float64 run, outputs and then the state; of a float32 run where there is
            none.
        runs: those of float32 runs, see `several`.
        reset: `[steps, rows]`; what rounding did before a reset says nothing about the steps behind it.
        memory: how many of the last elements are the state.
    """
    farthest = np.zeros(truth.shape, np.float32)
    for run in runs:
        np.maximum(farthest, np.minimum(errors(run, truth).absolute, _LARGEST).astype(np.float32), out=farthest)
    widest = farthest.copy()
    episode = np.cumsum(reset, axis=0)
    for lag in range(1, min(_BEHIND, len(reset) - 1) + 1):
        same = (episode[lag:] == episode[:-lag])[:, :, None]
        np.maximum(widest[lag:], np.where(same, farthest[:-lag], 0.0), out=widest[lag:])
        if lag <= _AHEAD:
            np.maximum(widest[:-lag], np.where(same, farthest[lag:], 0.0), out=widest[:-lag])
    if memory:
        reach = _largest_so_far(np.where(np.isfinite(truth), np.maximum(1.0, np.abs(truth)), _LARGEST), reset)
        share = (widest[:, :, -memory:] / reach[:, :, -memory:]).max(axis=2, keepdims=True)
        share = _largest_so_far(share, reset)
        taken = np.where(MULTIPLE * share < 1.0, share * reach, _LARGEST)
        np.maximum(widest, np.where(MULTIPLE * share > MOST, taken, 0.0), out=widest)
    allowed: Floats = np.minimum(widest, _LARGEST / MULTIPLE) * np.float32(MULTIPLE)
    return allowed


def _largest_so_far(values: NDArray[np.floating[Any]], reset: NDArray[np.bool_]) -> Floats:
    """The largest value of `[steps, rows, size]` since the last reset."""
    largest: Floats = np.minimum(values, _LARGEST).astype(np.float32)
    for row in range(reset.shape[1]):
        edges = [0, *(np.flatnonzero(reset[1:, row]) + 1), len(reset)]
        for begin, end in itertools.pairwise(edges):
            np.maximum.accumulate(largest[begin:end, row], axis=0, out=largest[begin:end, row])
    return largest


def lost(truth: NDArray[np.floating[Any]], allowed: Floats) -> NDArray[np.bool_]:
    """`[steps, rows]`: where float32 holds no element of the trajectory, so that a wrong policy would pass, too.

    Args:
        truth: `[steps, rows, size]` of the outputs.
        allowed: their `allowance`.
    """
    reach = np.maximum(1.0, np.max(np.abs(truth), axis=(0, 1), initial=0.0, where=np.isfinite(truth)))
    gone: NDArray[np.bool_] = (allowed > MOST * reach).all(axis=2)
    return gone


def beyond(expected: Floats, tolerance: float, allowed: Floats) -> Floats | None:
    """What is to be kept of an allowance: two digits where it is more than the tolerance, else 0; None if that is all.

    Args:
        expected: `[steps, rows, size]` what a tolerance is relative to.
        tolerance: accepted in any case.
        allowed: the `allowance`.
    """
    needed = allowed > tolerance * np.maximum(1.0, np.abs(expected))
    if not needed.any():
        return None
    kept = np.zeros(allowed.shape, np.float32)
    digits = 10.0 ** (np.floor(np.log10(allowed[needed].astype(np.float64))) - 1.0)
    kept[needed] = np.minimum(np.ceil(allowed[needed] / digits) * digits, _LARGEST)
    return kept


def both(allowances: Sequence[Floats | None]) -> Floats | None:
    """The larger one of several allowances, element by element; those that are None allow nothing."""
    known = [allowed for allowed in allowances if allowed is not None and allowed.size]
    return np.maximum.reduce(known) if known else None
