"""The explanation under which a log's statistics come nearest to those of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.assignment import assign
from ganglion.wiring.paired.known import KNOWN
from ganglion.wiring.unpaired import proposals
from ganglion.wiring.unpaired.candidates import Candidate, for_terms, scaled
from ganglion.wiring.unpaired.clips import clips
from ganglion.wiring.unpaired.distance import Explanation
from ganglion.wiring.unpaired.exact import exact
from ganglion.wiring.unpaired.headings import unknown_headings
from ganglion.wiring.unpaired.layouts import history_of
from ganglion.wiring.unpaired.undone import negated, undone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance
    from ganglion.wiring.unpaired.logs import Log
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_DECISIVE = 7.0
"""By so much, in units of a log-likelihood, an explanation must be nearer than none."""

_SHARE = 0.35
"""And by this share of what the changed elements were away."""

_LIKELY_FACTORS = 4
"""Of each term: to look at relations under more takes time."""

_MEASURED_ANEW = 3
_MOVED = 0.15
_USUAL = 1.5
"""So far an element of a healthy log is."""

_PARAMETER = 1.5

_OF_OTHERS = ("quaternion_conjugate", "quaternion_order", "lag")
"""They show in the relations of other elements."""

_STRETCH = ("offset", "scale", "unit", "double_normalised")
_FLIP = 8.0
"""A single element must be by so much nearer with the other sign, and a cycle of a permutation where it goes."""

_SAME_RATIO = 0.2
"""Logarithms of factors that may be one."""

_MANY = 4
"""An encoder or two may be off by themselves."""

_FLIPS = 24
"""Rounds of turning signs; one may turn back what another one turned."""

_SUSPICIOUS = 4.0
"""An element that is so far from the profile may be another one."""

_ROUNDS = 3


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


_COLUMNS = 96
"""With so many of the others an element's correlations are looked at, to tell which one it is."""


def is_decisive(one: Ranked) -> bool:
    """Whether a healthy log would not look so."""
    return one.gain * one.worth >= _DECISIVE and one.gain >= _SHARE * (one.gain + one.left)


def _candidates(distance: Distance, base: Explanation, layout: Terms, far: Doubles) -> Iterator[Candidate]:
    yield from for_terms(base, layout, distance.trained, far)
    yield from _signs(distance, base, layout)
    yield from _scales(distance, base, layout.terms)
    yield from _offsets(distance, base, layout.terms)
    yield from proposals.factors(distance, base, layout.terms)
    yield from proposals.offsets(distance, base, layout.terms)
    yield from _normalised(base, layout.terms, distance)
    yield from _orders(distance, base, layout)


def _signs(distance: Distance, base: Explanation, layout: Terms) -> Iterator[Candidate]:
    """The elements that are nearer with the other sign, first one by one, then with what has turned already."""
    everything, trusted = np.arange(distance.size), np.ones(distance.size)
    turned = np.zeros(distance.size, np.bool_)
    current = base
    for _ in range(_FLIPS):
        flipped = current.changed(everything, factor=-1.0)
        before = distance.alone(current, current, everything, trusted)
        gains = before - distance.alone(current, flipped, everything, trusted)
        gains[~distance.moves | (gains < _SHARE * before)] = -math.inf
        if gains.max() <= _FLIP:
            break
        better = np.flatnonzero(gains > max(_FLIP, 0.6 * gains.max()))
        turned[better] = ~turned[better]
        current = current.changed(better, factor=-1.0)
    elements = np.flatnonzero(turned)
    if not len(elements):
        return
    yield Candidate("sign", elements, -1, current, 0.5 + 0.5 * len(elements))
    # A motor that turns the other way does so in all that is observed of it.
    motors = layout.beside(elements)
    motors = motors[distance.moves[motors]]
    if len(motors) > len(elements):
        flipped = base.changed(motors, factor=-1.0)
        yield Candidate("sign", motors, -1, flipped, 0.5 + 0.5 * len(elements))


def _scales(distance: Distance, base: Explanation, terms: Sequence[Integers]) -> Iterator[Candidate]:
    everything = np.flatnonzero(distance.moves)
    if not len(everything):
        return
    before = distance.own(base, everything)
    spread = np.abs(base.factor) * distance.trained.spread[base.source]
    places = np.full(distance.size, -1)
    for place, term in enumerate(terms):
        places[term] = place
    likely: dict[int, list[tuple[float, float, Integers]]] = {}
    for factor in KNOWN:
        if factor == 1.0:
            continue
        # An offset in trained's own units grows with the factor, as the mean does.
        gain = before - distance.own(base.changed(everything, factor=factor), everything)
        whole = np.zeros(distance.size)
        whole[everything] = gain
        for elements in _sets(everything, gain, terms):
            found = places[elements]
            place = int(found[0]) if (found == found[0]).all() else -1
            likely.setdefault(place, []).append((float(whole[elements].sum()), factor, elements))
    for some in likely.values():
        for _, factor, elements in sorted(some, key=lambda one: -one[0])[:_LIKELY_FACTORS]:
            yield scaled(base, elements, factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(distance.moves, distance.found.spread / spread, 1.0)
    for term in terms:
        inside = term[distance.moves[term]]
        if len(inside):
            factor = float(np.exp(np.median(np.log(ratio[inside]))))
            for elements, free in ((term, factor), *_alike(inside, np.log(ratio[inside]))):
                if abs(math.log(free)) > math.log(1.25):
                    yield scaled(base, elements, free, 3.0)


def _alike(elements: Integers, ratio: Doubles) -> Iterator[tuple[Integers, float]]:
    """The elements whose spread went with that of the one that changed most."""
    most = ratio[np.abs(ratio).argmax()]
    same = np.abs(ratio - most) < _SAME_RATIO
    if not same.all():
        yield elements[same], float(np.exp(np.median(ratio[same])))


def _sets(elements: Integers, gain: Doubles, terms: Sequence[Integers]) -> Iterator[Integers]:
    """Which elements a thing may have been done to: all that are nearer with it, in all terms and in each."""
    nearer = elements[gain > 1.0]
    if not len(nearer):
        return
    if not any(np.isin(nearer, term).all() for term in terms):
        yield nearer
    for term in terms:
        there = np.isin(term, nearer)
        if gain[np.isin(elements, term)].sum() > 1.0 and there.any():
            # A term in which most, or many, elements are nearer was changed as a whole.
            is_whole = there.mean() >= 0.5 or (len(terms) > 1 and there.sum() >= _MANY)
            yield term if is_whole else np.intersect1d(term, nearer)


def _offsets(distance: Distance, base: Explanation, terms: Sequence[Integers]) -> Iterator[Candidate]:
    everything = np.flatnonzero(distance.moves)
    if not len(everything):
        return
    mean = base.factor * distance.trained.mean[base.source] + base.offset
    added = (distance.found.mean - mean)[everything]
    gain = distance.own(base, everything) - distance.own(base.changed(everything, offset=added), everything)
    for elements in _sets(everything, gain - 2.0, terms):
        chosen = added[np.searchsorted(everything, elements[distance.moves[elements]])]
        inside = elements[distance.moves[elements]]
        explanation = base.changed(inside, offset=chosen)
        yield Candidate("offset", inside, [float(value) for value in chosen], explanation, 0.5 + 0.5 * len(inside))


def _normalised(base: Explanation, terms: Sequence[Integers], distance: Distance) -> Iterator[Candidate]:
    mean = base.factor * distance.trained.mean[base.source] + base.offset
    spread = np.abs(base.factor) * distance.trained.spread[base.source]
    sets = [*terms, np.arange(distance.size)] if len(terms) > 1 else list(terms)
    for term in sets:
        inside = term[distance.moves[term]].astype(np.int64)
        if len(inside) < 0.5 * len(term):
            continue
        value = {"mean": mean[inside].tolist(), "std": spread[inside].tolist()}
        explanation = base.changed(inside, offset=-mean[inside]).changed(inside, factor=1.0 / spread[inside])
        yield Candidate("double_normalised", inside, value, explanation, 2.0)


def _orders(distance: Distance, base: Explanation, layout: Terms) -> Iterator[Candidate]:
    """Elements in each other's place: by assignment among those that look wrong, until nothing moves."""
    current = base
    for _ in range(4):
        far = distance.suspicion(current)
        wrong = np.flatnonzero(distance.moves & (far > _SUSPICIOUS))
        if len(wrong) < 2:
            return
        trusted = np.where(far > _SUSPICIOUS, 0.3, 1.0)
        cost = _places(distance, current, wrong, trusted)
        # What is as near where it is stays.
        np.fill_diagonal(cost, cost.diagonal() - 1.0)
        to = wrong[assign(cost)]
        changed = to != wrong
        if not changed.any():
            return
        current = current.changed(wrong[changed], source=to[changed])
        yield from _as_permutation(distance, base, current, layout)


def _as_permutation(distance: Distance, base: Explanation, current: Explanation, layout: Terms) -> Iterator[Candidate]:
    where = np.empty(len(base.source), np.int64)
    where[base.source] = np.arange(len(base.source))
    moved = np.flatnonzero(current.source != base.source)
    source = where[current.source[moved]]
    moved, source = _without_idle_cycles(distance, base, moved, source)
    yield from _alike_orders(base, moved, source, layout)
    if len(moved):
        plain = base.changed(moved, source=source)
        yield Candidate("permutation", moved, source.tolist(), plain, 1.0 + 0.5 * len(moved))
        order = np.arange(len(where))
        order[moved] = source
        # Names that tell terms, and no ages, tell that there is no history.
        history = None if layout.named and layout.frames == 1 else history_of(order)
        if history is not None:
            kind, value, order = history
            place = np.flatnonzero(order != np.arange(len(order)))
            yield Candidate(kind, place, value, base.changed(place, source=order[place]))


def _alike_orders(base: Explanation, moved: Integers, source: Integers, layout: Terms) -> Iterator[Candidate]:
    """The order of one term in all terms of its size that moved: joints are put in order for all that is observed."""
    goes = dict(zip(moved.tolist(), source.tolist(), strict=True))
    for term in layout.terms:
        order = np.array([goes.get(element, element) for element in term.tolist()])
        if (
            len(term) <= 3 * layout.frames
            or not np.array_equal(np.sort(order), np.sort(term))
            or np.array_equal(order, term)
        ):
            continue
        places = np.searchsorted(np.sort(term), order)
        places = np.argsort(term, kind="stable")[places]
        family = [other for other in layout.terms if len(other) == len(term) and np.isin(other, moved).any()]
        if len(family) < 2:
            continue
        place, whence = np.concatenate(family), np.concatenate([other[places] for other in family])
        there = place != whence
        made = base.changed(place[there], source=whence[there])
        free = 1.0 + 0.5 * int((order != term).sum())
        yield Candidate("permutation", place[there], whence[there].tolist(), made, free)


def _without_idle_cycles(
    distance: Distance, base: Explanation, place: Integers, source: Integers
) -> tuple[Integers, Integers]:
    """A permutation without the cycles that bring nothing of their own."""
    goes = dict(zip(place.tolist(), source.tolist(), strict=True))
    kept = dict(goes)
    left = set(goes)
    while left:
        start = left.pop()
        cycle = [start]
        while goes[cycle[-1]] != start:
            cycle.append(goes[cycle[-1]])
        left -= set(cycle)
        rest = {element: kept[element] for element in kept if element not in cycle}
        gain = (_far(distance, base, rest, place) - _far(distance, base, kept, place)).sum()
        if gain < _FLIP:
            kept = rest
    return np.array(sorted(kept), np.int64), np.array([kept[element] for element in sorted(kept)], np.int64)


def _far(distance: Distance, base: Explanation, goes: dict[int, int], elements: Integers) -> Doubles:
    moved = base.changed(np.array(list(goes), np.int64), source=np.array(list(goes.values()), np.int64))
    return distance.of(moved, elements)


def _places(distance: Distance, base: Explanation, wrong: Integers, trusted: Doubles) -> Doubles:
    """`[k, k]`: how far each element that looks wrong is from each that stands there in base, with either sign."""
    columns = np.flatnonzero(distance.moves)
    if len(columns) > _COLUMNS:
        columns = columns[np.argsort(-trusted[columns], kind="stable")]
        columns = np.sort(columns[np.linspace(0, len(columns) - 1, _COLUMNS).astype(np.int64)])
    costs = []
    for sign, believed in ((1.0, 0.0), (-1.0, 2.0)):
        cost = np.empty((len(wrong), len(wrong)))
        for column, element in enumerate(wrong):
            moved = base.changed(wrong, source=np.full(len(wrong), element), factor=sign)
            cost[:, column] = distance.apart(base, moved, wrong, trusted, columns) + believed
        if distance.related is not None:
            cost += distance.related.in_place_of(base, wrong, wrong, sign)
        costs.append(cost)
    return np.minimum(*costs)
