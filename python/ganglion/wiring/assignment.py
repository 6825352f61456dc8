"""Who gets whom at the least cost; NumPy has no solver of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def assign(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The assignment of rows to columns with the least sum of costs.

    Shortest augmenting paths with potentials (Jonker and Volgenant, Computing 38, 1987).

    Args:
        cost: `[rows, columns]`, finite, not more rows than columns.

    Returns:
        `[rows]`: a column for each row.
    """
    rows, columns = cost.shape
    assert rows <= columns
    row_of = np.full(columns + 1, -1)
    u, v = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        row_of[columns] = row
        here = columns
        least = np.full(columns, np.inf)
        before = np.full(columns, columns)
        done = np.zeros(columns + 1, np.bool_)
        while row_of[here] != -1:
            done[here] = True
            at = row_of[here]
            reduced = cost[at] - u[at] - v[:columns]
            better = ~done[:columns] & (reduced < least)
            least[better], before[better] = reduced[better], here
            free = np.where(done[:columns], np.inf, least)
            there = int(free.argmin())
            step = free[there]
            u[row_of[done]] += step
            v[done] -= step
            least[~done[:columns]] -= step
            here = there
        while here != columns:
            row_of[here] = row_of[before[here]]
            here = int(before[here])
    answer = np.full(rows, -1)
    taken = np.flatnonzero(row_of[:columns] >= 0)
    answer[row_of[taken]] = taken
    return answer
