"""Observations of different widths: which elements stand for which, what is missing and what is too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.columns import likely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]

_EQUAL, _ALIKE = 1.0, 0.5
_OPEN, _MORE = -1.0, -0.01


def alignment(pair: Pair) -> NDArray[np.int64]:
    """`[m]`: the element of trained that each element of found should hold; -1 where it has none.

    In place where the widths are the same. Else the alignment in order with the most columns that are equal or joined
    by a line, with few gaps (Gotoh, Journal of Molecular Biology 162, 1982).
    """
    n, m = pair.trained.shape[1], pair.found.shape[1]
    if n == m:
        return np.arange(m)
    rows = pair.sample(0)
    trained, found = pair.trained[rows], pair.found[rows]
    score = np.where(likely(trained, found, pair.judge), _ALIKE, 0.0)
    for j in range(m):
        off = np.abs(trained - found[:, j : j + 1]).max(axis=0)
        score[j, off <= pair.judge.worst(float(np.abs(found[:, j]).max()))] = _EQUAL
    return _aligned(score)


def _aligned(score: Doubles) -> NDArray[np.int64]:
    """The best alignment of rows to columns, with affine costs of gaps."""
    m, n = score.shape
    # Along antidiagonals: cell (j, i) of diagonal d = j + i needs the two diagonals before it alone.
    best = np.full((3, m + 1, n + 1), -np.inf)  # ends in a match, in a row alone, in a column alone
    come = np.zeros((3, m + 1, n + 1), np.int8)
    best[0, 0, 0] = 0.0
    into = (np.array([0.0, 0.0, 0.0]), np.array([_OPEN, _MORE, _OPEN]), np.array([_OPEN, _OPEN, _MORE]))
    for diagonal in range(1, m + n + 1):
        j = np.arange(max(0, diagonal - n), min(m, diagonal) + 1)
        i = diagonal - j
        for state, (dj, di) in enumerate(((1, 1), (1, 0), (0, 1))):
            inside = (j >= dj) & (i >= di)
            to_j, to_i = j[inside], i[inside]
            before = best[:, to_j - dj, to_i - di] + into[state][:, None]
            come[state, to_j, to_i] = before.argmax(axis=0)
            best[state, to_j, to_i] = before.max(axis=0) + (score[to_j - 1, to_i - 1] if state == 0 else 0.0)
    base = np.full(m, -1)
    row, place, state = m, n, int(best[:, m, n].argmax())
    while row or place:
        came = int(come[state, row, place])
        if state == 0:
            base[row - 1] = place - 1
        row, place = row - (state != 2), place - (state != 1)
        state = came
    return base
