"""`found` as a function of `trained`: what a search gives, before it has names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.wiring.paired.fit import difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.correction import Turn
    from ganglion.wiring.paired.chains import Chains
    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.frames import Frames
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TurnedGroup:
    """A turn of elements of trained, which comes before everything that is done to single elements.

    Attributes:
        turn: what makes what is found of what was trained.
        elements: of found.
        value: `Edit.value`.
        exact: whether the turn is known, so that it can be undone: without an orientation in trained it is not.
        residual: the largest difference that it leaves where `exact` is false.
        gain: the factor behind it where `exact` is false, and
        lag: how late it is then; else the fits of its elements say so.
        keep: `[N]`: rows in which trained holds all of the vector, and not what a clip left of it; None for all.
    """

    turn: Turn
    elements: tuple[int, ...]
    value: dict[str, Any]
    exact: bool = True
    residual: float = 0.0
    gain: float = 1.0
    lag: int = 0
    keep: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Cover:
    """A quaternion that is negated in some rows: the same orientation, and other numbers for a network.

    Attributes:
        elements: of found.
        rows: how many rows of it.
    """

    elements: tuple[int, ...]
    rows: int


@dataclass(frozen=True, eq=False)
class AdapterModel:
    """What makes found.

    Attributes:
        fits: `[m]`: of each element of found; None where nothing explains it, or only a turn that is not known.
        turns: come first, in this order.
        covers: come last.
        chains: histories in trained.
        frames: how found lays histories out.
    """

    fits: tuple[Fit | None, ...]
    turns: tuple[TurnedGroup, ...]
    covers: tuple[Cover, ...]
    chains: Chains
    frames: Frames

    @property
    def base(self) -> NDArray[np.int64]:
        """`[m]`: the element of trained that each element of found should hold; -1 where it should not be there."""
        return self.frames.base

    def late(self, fit: Fit) -> int:
        """How late a column is because frames are farther apart."""
        size, apart = len(self.frames.age), self.frames.stride - 1
        return int(self.frames.age[fit.source % size]) * apart if fit.source < 2 * size else 0

    def residuals(self, pair: Pair) -> Doubles:
        """`[m]`: the largest difference to found in settled rows; NaN where nothing explains an element."""
        sources = turned(pair, self.turns)
        worst = np.full(len(self.fits), np.nan)
        for j, fit in enumerate(self.fits):
            if fit is None:
                continue
            rows = pair.rows(fit.lag)
            for group in self.turns:
                if group.keep is not None and fit.source in group.turn.elements:
                    rows = rows[group.keep[rows - fit.lag]]
            source = column(pair, sources, fit.source)
            off = np.abs(difference(fit, source[rows - fit.lag], pair.found[rows, j]))
            if any(j in cover.elements for cover in self.covers):
                off = np.minimum(off, np.abs(difference(fit, -source[rows - fit.lag], pair.found[rows, j])))
            worst[j] = off.max(initial=0.0)
        for group in self.turns:
            if not group.exact:
                worst[list(group.elements)] = group.residual
        return worst


def turned(pair: Pair, turns: tuple[TurnedGroup, ...]) -> Doubles:
    """Trained behind the turns."""
    if not turns:
        return pair.trained
    values = pair.trained.copy()
    for group in turns:
        if group.exact:
            group.turn.apply(values)
    return values


def column(pair: Pair, sources: Doubles, number: int) -> Doubles:
    """A source: an element of trained; behind them the change of one since the row before; behind them an action."""
    size = sources.shape[1]
    if number < size:
        return sources[:, number]
    if number < 2 * size:
        own = pair.trained[:, number - size]
        return np.diff(own, prepend=own[0])
    assert pair.action is not None
    return pair.action[:, number - 2 * size]
