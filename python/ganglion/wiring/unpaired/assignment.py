"""Who takes whose place at the least cost altogether; NumPy has no solver of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def assigned(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The assignment of least cost, by shortest augmenting paths (Jonker and Volgenant, 1987).

    Args:
        cost: `[n, n]`, finite.

    Returns:
        `[n]`: the column of each row.
    """
    n = len(cost)
    of_row, of_column = np.zeros(n), np.zeros(n + 1)
    row_of = np.full(n + 1, -1)
    for row in range(n):
        row_of[n] = row
        column = n
        shortest, came_from = np.full(n, np.inf), np.full(n, n)
        done = np.zeros(n + 1, np.bool_)
        while row_of[column] != -1:
            done[column] = True
            here = row_of[column]
            reach = cost[here] - of_row[here] - of_column[:n]
            better = (reach < shortest) & ~done[:n]
            shortest[better], came_from[better] = reach[better], column
            free = np.where(done[:n], np.inf, shortest)
            next_column = int(free.argmin())
            step = free[next_column]
            of_row[row_of[done]] += step
            of_column[done] -= step
            shortest[~done[:n]] -= step
            column = next_column
        while column != n:
            before = came_from[column]
            row_of[column] = row_of[before]
            column = before
    columns = np.empty(n, np.int64)
    columns[row_of[:n]] = np.arange(n)
    return columns
