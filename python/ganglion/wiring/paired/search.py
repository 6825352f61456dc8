"""The whole search: from two recordings to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.groups import GroupSearch
from ganglion.wiring.paired.model import AdapterModel
from ganglion.wiring.paired.scalar import ScalarSearch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.pair import Pair


def search(pair: Pair, base: NDArray[np.int64]) -> AdapterModel:
    """Looks for the shortest explanation.

    Args:
        pair: both recordings.
        base: `[m]`: the element of trained that each element of found should hold, or -1.
    """
    scalar = ScalarSearch(pair, base)
    scalar.run()
    groups = GroupSearch(pair, scalar.frames, scalar.fits, scalar.weak)
    if scalar.open or any(fit.starts for fit in scalar.fits if fit is not None):
        scalar.follow()
        _other_sources(pair, scalar)
        groups.run()
        known = {j for group in groups.turns for j in group.elements if not group.exact}
        scalar.reuse(known)
        for j in known:
            scalar.fits[j] = None
    scalar.share({i for group in groups.turns for i in group.turn.elements})
    return AdapterModel(tuple(scalar.fits), tuple(groups.turns), tuple(groups.covers), pair.chains, scalar.frames)


def _other_sources(pair: Pair, scalar: ScalarSearch) -> None:
    """Velocities as changes of positions per step; actions themselves."""
    size = pair.trained.shape[1]
    scalar.others([size + i for i in range(size) if np.ptp(pair.trained[:, i]) > 0.0], (0,))
    if pair.action is not None:
        scalar.others([2 * size + k for k in range(pair.action.shape[1])], (1, 0, 2, 3))
