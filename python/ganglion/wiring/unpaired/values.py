"""Candidates that change values where they stand: signs, factors, offsets, a normaliser once more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.known import KNOWN
from ganglion.wiring.unpaired import proposals
from ganglion.wiring.unpaired.candidates import Candidate, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance, Explanation
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_LIKELY_FACTORS = 4
"""Of each term: to look at relations under more takes time."""

_FLIP = 8.0
"""A single element must be by so much nearer with the other sign."""

_SHARE = 0.35
"""And by this share of what it was away."""

_SAME_RATIO = 0.2
"""Logarithms of factors that may be one."""

_MANY = 4
"""An encoder or two may be off by themselves."""

_FLIPS = 24
"""Rounds of turning signs; one may turn back what another one turned."""


def changed_values(distance: Distance, base: Explanation, layout: Terms) -> Iterator[Candidate]:
    """All that may have been done to values: by fits, by known numbers, and by what relations propose."""
    yield from _signs(distance, base, layout)
    yield from _scales(distance, base, layout.terms)
    yield from _offsets(distance, base, layout.terms)
    yield from proposals.factors(distance, base, layout.terms)
    yield from proposals.offsets(distance, base, layout.terms)
    yield from _normalised(base, layout.terms, distance)


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
    # Where a whole quaternion is the other one of its pair is told by `negated`: what its elements go with is a matter
    # of the heading.
    for one in distance.trained.unit_norm:
        whole = np.arange(one.first, one.first + one.size)
        if one.size == 4 and turned[whole][distance.moves[whole]].all():
            turned[whole] = False
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
