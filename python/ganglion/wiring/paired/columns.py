"""Which columns of the sources a column of `found` can be made of: a look at some rows, for all pairs at once.

What is left is only a guess, and `fit` checks it in every row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.fit import FEW, interior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.judge import NoiseJudge

    Doubles = NDArray[np.float64]

_FEWEST = 8
_LOOSE = 1.6
"""In some rows noise may be larger than in all."""


def likely(source: Doubles, found: Doubles, judge: NoiseJudge) -> NDArray[np.bool_]:
    """Pairs of columns that a line may join.

    The residual of a least-squares line of every pair, over rows in which neither column is at its own end, from six
    products of matrices.

    Args:
        source: `[S, p]` rows of the sources, each behind by the lag that is looked for.
        found: `[S, m]` the same rows of found.
        judge: what counts as equal.

    Returns:
        `[m, p]`.
    """
    mx, my = source.mean(axis=0), found.mean(axis=0)
    sx, sy = _spread(source), _spread(found)
    x, y = (source - mx) / sx, (found - my) / sy
    wx, wy = _interior(source, judge), _interior(found, judge)
    count = np.maximum(wy.T @ wx, 1.0)
    ex, ey = (wy.T @ (wx * x)) / count, ((wy * y).T @ wx) / count
    xx, yy = (wy.T @ (wx * x * x)) / count - ex * ex, ((wy * y * y).T @ wx) / count - ey * ey
    xy = ((wy * y).T @ (wx * x)) / count - ex * ey
    gain = xy / np.maximum(xx, 1e-300)
    left = np.sqrt(np.maximum(yy - gain * xy, 0.0)) * sy[:, None]
    gain = np.abs(gain) * sy[:, None] / sx
    size = np.maximum(np.abs(found).max(axis=0)[:, None], gain * np.abs(source).max(axis=0))
    allowed = judge.rounding(0.0) + (judge.rounding(1.0) - judge.rounding(0.0)) * size
    if judge.tolerance is not None:
        allowed = allowed + judge.tolerance * np.maximum(gain, 1.0)
    moving = (sx > 1e-290) & (_range(source) > 0.0)
    told = (count >= _FEWEST) & (xx > 0.0) & moving & (_range(found) > 0.0)[:, None]
    near: NDArray[np.bool_] = told & (left <= _LOOSE * allowed)
    return near


def _range(values: Doubles) -> Doubles:
    span: Doubles = np.ptp(values, axis=0)
    return span


def _spread(values: Doubles) -> Doubles:
    spread = values.std(axis=0)
    return np.where(spread > 0.0, spread, 1.0)


def _interior(values: Doubles, judge: NoiseJudge) -> Doubles:
    inside = np.empty(values.shape)
    for column in range(values.shape[1]):
        inner = interior(values[:, column], judge)
        inside[:, column] = inner if int(inner.sum()) >= max(_FEWEST, len(inner) // FEW) else True
    return inside
