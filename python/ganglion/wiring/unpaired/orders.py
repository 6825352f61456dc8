"""Candidates that put elements in each other's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.assignment import assign
from ganglion.wiring.unpaired.candidates import Candidate
from ganglion.wiring.unpaired.layouts import history_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance, Explanation
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_SUSPICIOUS = 4.0
"""An element that is so far from the profile may be another one."""

_CYCLE = 8.0
"""A cycle of a permutation must bring its elements by so much nearer."""

_COLUMNS = 96
"""With so many of the others an element's correlations are looked at, to tell which one it is."""


def changed_orders(distance: Distance, base: Explanation, layout: Terms) -> Iterator[Candidate]:
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
        if gain < _CYCLE:
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
