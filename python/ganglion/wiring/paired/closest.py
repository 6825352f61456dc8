"""The edit that comes closest to an element that none explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ganglion.wiring.paired.pair import Pair


def closest(pair: Pair, element: int) -> tuple[dict[str, Any], float]:
    """The line over an element of trained that leaves the least, as a value of an edit, and what it leaves.

    Args:
        pair: both recordings.
        element: of found.
    """
    rows = pair.rows(0)
    y = pair.found[rows, element]
    if float(np.ptp(pair.found[:, element])) == 0.0:
        value = {"closest": "constant", "of": None, "gain": 0.0, "offset": float(y[0])}
        return value, 0.0
    x = pair.trained[rows]
    dx, dy = x - x.mean(axis=0), y - y.mean()
    square = np.maximum((dx * dx).sum(axis=0), 1e-300)
    product = dx.T @ dy
    left = (dy * dy).sum() - product**2 / square
    best = int(left.argmin())
    gain = float(product[best] / square[best])
    offset = float(y.mean() - gain * x[:, best].mean())
    residual = float(np.abs(y - gain * x[:, best] - offset).max())
    kind = "scale" if best == element else "permutation"
    return {"closest": kind, "of": best, "gain": gain, "offset": offset}, residual
