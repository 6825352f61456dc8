"""Explanations that are tried by name: what adapters are known to do to a term, or to single elements."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.observation_profile.relations import NONE, STEPS
from ganglion.wiring.paired.known import unit_of
from ganglion.wiring.unpaired.distance import LONGEST_LAG, Explanation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile
    from ganglion.wiring.correction import Turn
    from ganglion.wiring.unpaired.terms import Terms

    Integers = NDArray[np.int64]

_ANGLES = ("rad", "deg")
"""Other units are told as the factor that they are: statistics do not tell a turn from a scale of 6.28."""

_WRONG = 4.0
"""An element, or the mean of a term, that is farther from the profile looks wrong."""

_EXACTLY = 0.02
_MEDIAN = 5
_LONGEST_VECTORS = 30
_MOST_FRAMES = 32


@dataclass(frozen=True, eq=False)
class Candidate:
    """One explanation.

    Attributes:
        kind: as in `Edit`.
        elements: what it changes.
        value: as in `Edit`.
        explanation: with it.
        parameters: how many numbers it was free to choose, each of which makes it fit better than it should.
        values: `[N, n]`, the log with it undone, where no explanation can describe it; None where one does.
        turns: what undid it.
        credit: what speaks for it beside the statistics.
        lost: why it cannot be undone in a controller, or empty.
    """

    kind: str
    elements: Integers
    value: Any
    explanation: Explanation
    parameters: float = 1.0
    values: NDArray[np.float64] | None = None
    turns: tuple[Turn, ...] = ()
    credit: float = 0.0
    lost: str = ""

    @property
    def is_linear(self) -> bool:
        """Whether the explanation says all of it."""
        return self.values is None and not self.lost


def scaled(base: Explanation, elements: Integers, factor: float, parameters: float = 1.0) -> Candidate:
    """Elements times a factor, by the name that it has."""
    explanation = base.changed(elements, factor=factor)
    unit = unit_of(factor) if factor > 0.0 else None
    if unit is not None and unit.trained in _ANGLES and unit.found in _ANGLES:
        value = {"from": unit.trained, "to": unit.found, "factor": factor}
        return Candidate("unit", elements, value, explanation, parameters)
    return Candidate("scale", elements, factor, explanation, parameters)


def for_terms(
    base: Explanation, layout: Terms, trained: ObservationProfile, far: NDArray[np.float64]
) -> Iterator[Candidate]:
    """Explanations for whole terms: orders, turns, lags, histories.

    Args:
        base: what was done already.
        layout: which elements belong together.
        trained: the profile.
        far: `[n]`, the distance of each element under base.
    """
    terms = layout.terms
    units = {
        size: [np.arange(one.first, one.first + one.size) for one in trained.unit_norm if one.size == size]
        for size in (3, 4)
    }
    for groups in _each_and_all(units[4]):
        yield from _quaternion(base, groups)
    for groups in _each_and_all(units[3]):
        group = np.concatenate(groups)
        yield Candidate("frame", group, {"kind": "negated_gravity", "quaternion": []}, base.changed(group, factor=-1.0))
    known = {int(element) for size in units for group in units[size] for element in group}
    for term in terms:
        if not known.issuperset(term.tolist()):  # in a history a term has a group in each frame
            yield Candidate("sign", term, -1, base.changed(term, factor=-1.0))
        for lag in range(1, LONGEST_LAG + 1):
            yield Candidate("lag", term, {"steps": lag, "of": "observation"}, base.changed(term, lag=lag))
    yield from _all_late(base, layout, trained)
    stands = trained.change[_MEDIAN] <= 1e-6 * trained.spread
    for vectors in _vectors(terms, units[3], far):
        # A command, which stands for seconds, is nothing that a sensor measures.
        if not (stands & (trained.spread > 0.0))[np.concatenate(vectors)].any():
            yield from _turned(base, vectors)
    if layout.frames > 1:
        yield from _told_history(base, layout)
    elif not layout.named:
        yield from _history(base, np.arange(trained.size))
    yield from _exchanged(base, layout, far)


def _all_late(base: Explanation, layout: Terms, trained: ObservationProfile) -> Iterator[Candidate]:
    """All that sensors measure, late together; a policy's own action and a clock are not measured."""
    if len(layout.terms) < 3 or trained.relations is None:
        return
    told = trained.relations
    of = told.of.astype(np.int64)
    from_actions = (told.columns >= len(STEPS) * trained.size) & (told.columns != NONE)
    exact = (from_actions | (told.columns == NONE)).all(1) & (told.residual < _EXACTLY * trained.spread[of])
    clocks = [np.arange(one.first, one.first + 2) for one in trained.unit_norm if one.size == 2]
    own = np.concatenate([of[exact], *clocks]).astype(np.int64)
    measured = [term for term in layout.terms if not np.isin(term, own).any()]
    if len(measured) > 1:
        elements = np.sort(np.concatenate(measured))
        for lag in range(1, LONGEST_LAG + 1):
            yield Candidate("lag", elements, {"steps": lag, "of": "observation"}, base.changed(elements, lag=lag), 2.0)


def _each_and_all(groups: list[Integers]) -> list[list[Integers]]:
    """One after the other, and all at once: a history holds the same one in every frame."""
    return [[group] for group in groups] + ([groups] if len(groups) > 1 else [])


def _vectors(
    terms: Sequence[Integers], directions: list[Integers], far: NDArray[np.float64]
) -> Iterator[list[Integers]]:
    """What may be vectors in space, alone or together: an IMU that is turned turns all that it measures."""
    named = [list(term.reshape(-1, 3)) for term in terms if len(term) % 3 == 0 and len(term) <= _LONGEST_VECTORS]
    if len(terms) == 1:
        # No names: any three neighbours, where two of them look wrong.
        windows = np.arange(len(far) - 2)[:, None] + np.arange(3)
        named = [[window] for window in windows if np.sum(far[window] > _WRONG) >= 2]
    wrong = [vectors for vectors in named if far[np.concatenate(vectors)].sum() > _WRONG]
    yield from wrong
    for direction in directions:
        if far[direction].sum() > _WRONG:
            yield [direction]
            for vectors in wrong:
                if not np.isin(direction, np.concatenate(vectors)).any():
                    yield [*vectors, direction]
    if len(terms) > 1 and len(wrong) > 1:
        for one in range(len(wrong)):
            for other in range(one + 1, len(wrong)):
                yield [*wrong[one], *wrong[other]]


def _quaternion(base: Explanation, groups: list[Integers]) -> Iterator[Candidate]:
    place = np.concatenate(groups)
    orders = {(1, 2, 3, 0): ("wxyz", "xyzw"), (3, 0, 1, 2): ("xyzw", "wxyz")}
    for order, (trained, found) in orders.items():
        moved = base.changed(place, source=np.concatenate([group[list(order)] for group in groups]))
        yield Candidate("quaternion_order", place, {"trained": trained, "found": found}, moved)
    for part in (slice(1, 4), slice(0, 3)):
        vector = np.concatenate([group[part] for group in groups])
        yield Candidate("quaternion_conjugate", vector, "conjugate", base.changed(vector, factor=-1.0))


def _turned(base: Explanation, vectors: list[Integers]) -> Iterator[Candidate]:
    """The axes of vectors in another order and of other signs: all quarter turns."""
    place = np.concatenate(vectors)
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) < 0.0 or (order == (0, 1, 2) and min(signs) > 0.0):
                continue
            source = np.concatenate([vector[list(order)] for vector in vectors])
            moved = base.changed(place, source=source, factor=np.tile(signs, len(vectors)))
            # What a turn leaves where it was is no part of it.
            changed = place[(source != place) | (np.tile(signs, len(vectors)) < 0.0)]
            if min(signs) > 0.0:
                yield Candidate("permutation", place, source.tolist(), moved)
                continue
            yield Candidate("frame", changed, {"kind": "fixed", "matrix": matrix.tolist()}, moved)


def _history(base: Explanation, block: Integers) -> Iterator[Candidate]:
    """A block of frames: the other way round, or the other way nested."""
    size = len(block)
    for frames in range(2, min(size, _MOST_FRAMES) + 1):
        if size % frames:
            continue
        width = size // frames
        grid = block.reshape(frames, width)
        yield Candidate("history_order", block, {"frames": frames}, base.changed(block, source=grid[::-1].reshape(-1)))
        if width == 1:
            continue
        by_term = block.reshape(width, frames)
        reverse = by_term[:, ::-1].reshape(-1)
        yield Candidate("history_order", block, {"frames": frames}, base.changed(block, source=reverse))
        for source, trained, found in ((by_term.T, "term_major", "frame_major"), (grid.T, "frame_major", "term_major")):
            value = {"frames": frames, "trained": trained, "found": found}
            yield Candidate("history_layout", block, value, base.changed(block, source=source.reshape(-1)))


def _told_history(base: Explanation, layout: Terms) -> Iterator[Candidate]:
    """Frames the other way round, or the other way nested, where names tell which element is of which frame."""
    frames, terms = layout.frames, layout.terms
    place = np.concatenate(terms)
    reverse = np.concatenate([term.reshape(frames, -1)[::-1].reshape(-1) for term in terms])
    yield Candidate("history_order", place, {"frames": frames}, base.changed(place, source=reverse))
    by_frame = np.concatenate([np.concatenate(layout.frame(number)) for number in range(frames)])
    source, trained, found = (
        (place, "frame_major", "term_major") if layout.frame_major else (by_frame, "term_major", "frame_major")
    )
    there = np.flatnonzero(source != np.arange(len(source)))
    value = {"frames": frames, "trained": trained, "found": found}
    yield Candidate("history_layout", there, value, base.changed(there, source=source[there]))


def _exchanged(base: Explanation, layout: Terms, far: NDArray[np.float64]) -> Iterator[Candidate]:
    """One term in another's place, what lies between them moved."""
    wrong = [number for number, term in enumerate(layout.terms) if far[term].mean() > _WRONG]
    for first in wrong:
        for second in wrong:
            if second <= first:
                continue
            orders = [[second, *range(first + 1, second), first]]
            if second > first + 1:
                orders += [[*range(first + 1, second + 1), first], [second, *range(first, second)]]
            for order in orders:
                places, sources = [], []
                groups = [layout.terms] if not layout.frame_major else map(layout.frame, range(layout.frames))
                for terms in groups:
                    places.append(np.concatenate([terms[number] for number in range(first, second + 1)]))
                    sources.append(np.concatenate([terms[number] for number in order]))
                yield _moved(base, np.concatenate(places), np.concatenate(sources))


def _moved(base: Explanation, place: Integers, source: Integers) -> Candidate:
    moved = place != source
    return Candidate(
        *("permutation", place[moved], source[moved].tolist()),
        base.changed(place[moved], source=source[moved]),
        2.0,
    )
