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
    best = np.full((3, m + 1, n + 1), -np.inf)  # ends in a match, in a row alone, in a column alone
    come = np.zeros((3, m + 1, n + 1), np.int8)
    best[0, 0, 0] = 0.0
    for j in range(m + 1):
        for i in range(n + 1):
            if j and i:
                before = best[:, j - 1, i - 1]
                come[0, j, i] = int(before.argmax())
                best[0, j, i] = before.max() + score[j - 1, i - 1]
            if j:
                before = best[:, j - 1, i] + (_OPEN, _MORE, _OPEN)
                come[1, j, i] = int(before.argmax())
                best[1, j, i] = before.max()
            if i:
                before = best[:, j, i - 1] + (_OPEN, _OPEN, _MORE)
                come[2, j, i] = int(before.argmax())
                best[2, j, i] = before.max()
    base = np.full(m, -1)
    j, i, state = m, n, int(best[:, m, n].argmax())
    while j or i:
        came = int(come[state, j, i])
        if state == 0:
            base[j - 1] = i - 1
            j, i = j - 1, i - 1
        elif state == 1:
            j -= 1
        else:
            i -= 1
        state = came
    return base
