"""The way back from a log to training, put together of the explanations that were found one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.correction import Correction, Turn
from ganglion.wiring.unpaired.distance import Explanation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.candidates import Candidate
    from ganglion.wiring.unpaired.logs import Log

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Undoing:
    """What undoes the explanations so far.

    Attributes:
        explanation: all that one can describe.
        turns: then these.
        lost: what cannot be undone, a sentence each.
    """

    explanation: Explanation
    turns: tuple[Turn, ...] = ()
    lost: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, size: int) -> Undoing:
        """Nothing was found."""
        return cls(Explanation.nothing(size))

    def then(self, candidate: Candidate) -> Undoing:
        """With one more, of what these leave of the log."""
        lost = self.lost + ((candidate.lost,) if candidate.lost else ())
        if candidate.turns:
            return replace(self, turns=self.turns + candidate.turns, lost=lost)
        turned = {element for turn in self.turns for element in (*turn.elements, *turn.quaternion)}
        if turned & set(candidate.elements.tolist()):
            lost += ("what was done to elements behind a rotation is not undone: put the rotation right first",)
            return replace(self, lost=lost)
        return replace(self, explanation=_behind(self.explanation, candidate.explanation), lost=lost)

    def correction(self) -> Correction:
        """As arrays."""
        made = self.explanation
        size = len(made.source)
        index = np.empty(size, np.int64)
        index[made.source] = np.arange(size)
        scale, infinite = 1.0 / made.factor[index], np.full(size, np.inf)
        lag = made.lag[index]
        lost = self.lost
        if lag.any():
            lost += ("a delay can be undone in a log, and not in a controller",)
        return Correction(
            index, scale, -made.offset[index] * scale, lag, -infinite, infinite, turns=self.turns, lost=lost
        )


def undone_values(candidate: Candidate, log: Log) -> Doubles:
    """`[N, n]`: a log with one explanation undone."""
    if candidate.values is not None:
        return candidate.values
    return Undoing(candidate.explanation).correction().apply(log.values, log.begins)


def _behind(first: Explanation, then: Explanation) -> Explanation:
    """Of what `first` leaves of a log, `then` is the explanation: found = first(then(trained))."""
    inner = first.source
    return Explanation(
        source=then.source[inner],
        factor=first.factor * then.factor[inner],
        offset=first.factor * then.offset[inner] + first.offset,
        lag=first.lag + then.lag[inner],
    )
