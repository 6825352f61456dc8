"""Histories inside of `trained`: columns that hold what another column held a step before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.columns import likely
from ganglion.wiring.paired.judge import NoiseJudge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.pair import Pair


@dataclass(frozen=True, eq=False)
class Chains:
    """Columns of trained by signal and age.

    Attributes:
        signal: `[n]`: the column of the newest frame of the signal that a column belongs to; -1 outside of histories.
        age: `[n]`: frames behind the newest one; 0 outside of histories.
        frames: `[n]`: how many frames this signal has; 1 outside of histories.
    """

    signal: NDArray[np.int64]
    age: NDArray[np.int64]
    frames: NDArray[np.int64]


def chains_of(pair: Pair) -> Chains:
    """Finds them; columns that hardly move have no age, for all of theirs would be alike."""
    size = pair.trained.shape[1]
    judge = NoiseJudge(None, pair.judge.floor)
    rows = pair.sample(1)
    signal, age, frames = np.full(size, -1), np.zeros(size, np.int64), np.ones(size, np.int64)
    if len(rows) < 8 or size < 2:
        return Chains(signal, age, frames)
    now, before = pair.trained[rows], pair.trained[rows - 1]
    large = np.abs(pair.trained).max(axis=0)
    allowed = judge.rounding(0.0) + (judge.rounding(1.0) - judge.rounding(0.0)) * large
    slow = np.abs(now - before).max(axis=0) <= allowed
    older: dict[int, int] = {}
    for old, young in np.argwhere(likely(before, now, judge)):
        if old == young or slow[old] or slow[young]:
            continue
        if float(np.abs(now[:, old] - before[:, young]).max()) > allowed[old]:
            continue
        if int(young) not in older or abs(old - young) < abs(older[int(young)] - young):
            older[int(young)] = int(old)
    youngest = set(older) - set(older.values())
    for head in youngest:
        chain = [head]
        while chain[-1] in older and older[chain[-1]] not in chain:
            chain.append(older[chain[-1]])
        signal[chain], age[chain], frames[chain] = head, np.arange(len(chain)), len(chain)
    return Chains(signal, age, frames)
