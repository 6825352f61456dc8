"""The explanation under which a log's statistics come nearest to those of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.unpaired.candidates import for_terms
from ganglion.wiring.unpaired.clips import clips
from ganglion.wiring.unpaired.distance import Explanation
from ganglion.wiring.unpaired.exact import exact
from ganglion.wiring.unpaired.headings import unknown_headings
from ganglion.wiring.unpaired.orders import changed_orders
from ganglion.wiring.unpaired.undone import negated, undone
from ganglion.wiring.unpaired.values import changed_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.candidates import Candidate
    from ganglion.wiring.unpaired.distance import Distance
    from ganglion.wiring.unpaired.logs import Log
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]

_DECISIVE = 7.0
"""By so much, in units of a log-likelihood, an explanation must be nearer than none."""

_SHARE = 0.35
"""And by this share of what the changed elements were away."""

_MEASURED_ANEW = 3
_MOVED = 0.15
_USUAL = 1.5
"""So far an element of a healthy log is."""

_PARAMETER = 1.5

_OF_OTHERS = ("quaternion_conjugate", "quaternion_order", "lag")
"""They show in the relations of other elements."""

_STRETCH = ("offset", "scale", "unit", "double_normalised")


@dataclass(frozen=True, eq=False)
class Ranked:
    """A candidate with what speaks for it.

    Attributes:
        candidate: the explanation.
        gain: by how much it is nearer, less what its free numbers alone would make it.
        left: the distance that stays in the elements it changes.
        worth: how much of that its elements do not say together, see `Distance.worth`.
    """

    candidate: Candidate
    gain: float
    left: float
    worth: float = 1.0


def ranked(distance: Distance, log: Log, layout: Terms) -> list[Ranked]:
    """All explanations that bring the log nearer, the best first.

    Args:
        distance: of the log.
        log: without what was undone before.
        layout: which elements belong together.
    """
    base = Explanation.nothing(distance.size)
    far = distance.suspicion(base)
    judge = _Judge(distance, base, log)
    strange = np.maximum(far - _USUAL, 0.0)
    intact, held = _of_unit_norm(distance), strange + distance.suspicion_of_terms(base)
    tried = (
        one
        for one in _candidates(distance, base, layout, far)
        if (strange if one.kind not in _OF_OTHERS else held)[one.elements].sum() >= _DECISIVE
        and not (one.kind in _STRETCH and intact[one.elements].any())
    )
    found = [judge(candidate) for candidate in tried]
    found += [judge(candidate) for candidate in judge.likely(undone(distance, log, layout, strange))]
    seen = (*negated(distance), *exact(distance.trained, log, layout), *clips(distance.trained, log, layout))
    found += [judge(candidate) for candidate in (*seen, *unknown_headings(distance, layout, strange))]
    return sorted((one for one in found if one.gain > 0.0), key=lambda one: (not is_decisive(one), -one.gain))


def _of_unit_norm(distance: Distance) -> NDArray[np.bool_]:
    """`[n]`: what is still of length 1, as in training, has gone through no factor and no offset."""
    found, made = distance.found, np.zeros(distance.size, np.bool_)
    there = {(one.first, one.size) for one in found.unit_norm}
    for one in distance.trained.unit_norm:
        made[one.first : one.first + one.size] = (one.first, one.size) in there
    return made


class _Judge:
    """How much nearer a candidate brings a log."""

    def __init__(self, distance: Distance, base: Explanation, log: Log) -> None:
        self.distance, self.base, self.log = distance, base, log
        self.before = distance.of(base, np.arange(distance.size))
        self.unrelated = np.nan_to_num(distance.unrelated(base))

    def likely(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The few that relations speak for most: to measure a log anew takes time."""
        some = list(candidates)
        if self.distance.related is None or len(some) <= _MEASURED_ANEW:
            return some
        gains = []
        for candidate in some:
            assert candidate.values is not None
            related = self.log.holding(candidate.values).related(self.distance.trained)
            far = np.zeros(0) if related is None else related.distances(self.base)
            gains.append(candidate.credit + (self._related(far) if len(far) else 0.0))
        return [some[place] for place in np.argsort(-np.array(gains), kind="stable")[:_MEASURED_ANEW]]

    def __call__(self, candidate: Candidate) -> Ranked:
        elements = candidate.elements
        if not len(elements):
            return Ranked(candidate, -math.inf, math.inf)
        cost = _PARAMETER * float(candidate.parameters) - candidate.credit
        worth = float(self.distance.worth(self.base.source[elements]).mean())
        if candidate.values is not None:
            after = self.log.holding(candidate.values).against(self.distance.trained)
            own = after.of(self.base, np.arange(after.size))
            gain = float(self.before.sum() - own.sum()) + self._related(after.unrelated(self.base)) - cost
            return Ranked(candidate, gain, float(own[elements].sum()), worth)
        if candidate.lost:
            return Ranked(candidate, -cost, 0.0, worth)
        own, before = self.distance.of(candidate.explanation, elements), self.distance.of(self.base, elements)
        gain = float((before - own).sum()) - cost
        # What relations can add is known, and to look at them takes time.
        if gain + self.unrelated.sum() >= _DECISIVE:
            gain += self._related(self.distance.unrelated(candidate.explanation))
        # What it does not move, as another sign does not where both are as likely, is not its to explain.
        return Ranked(
            candidate, gain, float(own[np.abs(before - own) > _MOVED * np.abs(before - own).max()].sum()), worth
        )

    def _related(self, after: Doubles) -> float:
        # What an explanation leaves nothing of to look at neither speaks for it nor against it.
        return float((self.unrelated - np.where(np.isnan(after), self.unrelated, after)).sum())


def is_decisive(one: Ranked) -> bool:
    """Whether a healthy log would not look so."""
    return one.gain * one.worth >= _DECISIVE and one.gain >= _SHARE * (one.gain + one.left)


def _candidates(distance: Distance, base: Explanation, layout: Terms, far: Doubles) -> Iterator[Candidate]:
    yield from for_terms(base, layout, distance.trained, far)
    yield from changed_values(distance, base, layout)
    yield from changed_orders(distance, base, layout)
