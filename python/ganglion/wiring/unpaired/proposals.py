"""Offsets and factors that the relations of a profile ask for."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.unpaired.candidates import Candidate, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.wiring.unpaired.distance import Distance, Explanation
    from ganglion.wiring.unpaired.related import Related

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_MOST_OFFSETS = 48
_LEAST_OFFSET = 25.0
"""Of the sum of squares of deviations, an offset has to explain so much."""

_MANY = 4
_MOST_OF = 0.55
"""If so many elements of a term are off, and so large a share of it, all are."""

_CUT = 30.0
"""Deviations beyond are as good as these: one relation that is far off does not outvote the others."""

_STRANGE_SLOPE = 3.5
_SAME_FACTOR = 0.06
"""Logarithms of factors that may be one."""

_SURE_SHARE = 0.3
_NEARLY_ONE = 1.06
_REFINEMENTS = 4
_OTHER_LENGTH = 1.02


def offsets(distance: Distance, base: Explanation, terms: Sequence[Integers]) -> Iterator[Candidate]:
    """The fewest offsets that explain why elements are above, or below, what their relations say."""
    related = distance.related
    if related is None:
        return
    level, deviation = related.levels(base)
    good = np.isfinite(level)
    answers = related.influence(base)[good] / deviation[good][:, None]
    far = level[good] / deviation[good]
    # That of the mean itself is one more, and a weak one.
    size = np.maximum(np.abs(base.factor) * distance.trained.spread[base.source], 1e-12)
    answers = np.concatenate([answers, np.diag(1.0 / (0.5 * size))])
    far = np.concatenate([far, (distance.found.mean - base.factor * distance.trained.mean[base.source]) / (0.5 * size)])
    weight = np.minimum(1.0, _CUT / np.maximum(np.abs(far), 1e-9))
    answers, far = answers * weight[:, None], far * weight
    answers[:, ~distance.moves] = 0.0
    chosen: list[int] = []
    added: Doubles = np.zeros(0)
    left = far
    norms = np.sqrt((answers**2).sum(0))
    for _ in range(_MOST_OFFSETS):
        gain = np.where(norms > 0.0, (answers.T @ left) ** 2 / np.where(norms > 0.0, norms, 1.0) ** 2, 0.0)
        gain[chosen] = 0.0
        best = int(gain.argmax())
        if gain[best] < _LEAST_OFFSET:
            break
        chosen.append(best)
        added = np.asarray(np.linalg.lstsq(answers[:, chosen], far, rcond=None)[0], np.float64)
        left = far - answers[:, chosen] @ added
    if not chosen:
        return
    elements, values = np.array(chosen), added
    if not any(np.isin(elements, term).all() for term in terms):
        yield _offset(base, elements, values)
    for term in terms:
        inside = np.isin(elements, term)
        if not inside.any():
            continue
        if inside.sum() >= max(_MANY, _MOST_OF * len(term)):
            # The default pose is of all joints, though that of some may be near to 0.
            every = term[distance.moves[term]]
            both = np.union1d(elements, every)
            fitted = np.asarray(np.linalg.lstsq(answers[:, both], far, rcond=None)[0], np.float64)
            yield _offset(base, every, fitted[np.searchsorted(both, every)], 0.5)
            continue
        yield _offset(base, elements[inside], values[inside])
        for count in (1, 2, 3, 4):
            if count < inside.sum():
                most = np.flatnonzero(inside)[:count]
                yield _offset(base, elements[most], values[most])


def _offset(base: Explanation, elements: Integers, added: Doubles, parameters: float | None = None) -> Candidate:
    value = [float(one) for one in added]
    free = 0.5 + 0.5 * len(elements) if parameters is None else parameters
    return Candidate("offset", elements, value, base.changed(elements, offset=added), free)


def factors(distance: Distance, base: Explanation, terms: Sequence[Integers]) -> Iterator[Candidate]:
    """Factors that bring the slopes of elements over what their relations say to what they were."""
    yield from _lengths(distance, base)
    related = distance.related
    if related is None:
        return
    logarithm, sure = _logarithms(distance, related, base)
    for term in terms:
        inside = term[sure[term]]
        if not len(inside):
            continue
        middle = float(np.median(logarithm[inside]))
        if abs(middle) > math.log(_NEARLY_ONE):
            yield scaled(base, term, _refined(distance, related, base, term, math.exp(middle)), 3.0)
        strange = inside[np.abs(logarithm[inside]) > math.log(_NEARLY_ONE)]
        strange = strange[np.argsort(-np.abs(logarithm[strange]), kind="stable")][:8]
        if len(strange) > 1:
            each = np.exp(logarithm[strange])
            order = np.argsort(strange)
            value = [float(one) for one in each[order]]
            explanation = base.changed(strange, factor=each)
            yield Candidate("scale", strange[order], value, explanation, 2.0 + len(strange))
        for element in strange:
            alike = strange[np.abs(logarithm[strange] - logarithm[element]) < _SAME_FACTOR]
            for count in range(1, min(3, len(alike)) + 1):
                for some in combinations(alike.tolist(), count):
                    if element in some:
                        yield scaled(
                            base, np.array(sorted(some)), math.exp(float(np.median(logarithm[list(some)]))), 3.0
                        )


def _refined(distance: Distance, related: Related, base: Explanation, term: Integers, factor: float) -> float:
    """Relations inside of a term have its factor on both sides, so that the first look sees a part of it."""
    for _ in range(_REFINEMENTS):
        logarithm, _ = _logarithms(distance, related, base.changed(term, factor=factor))
        further = float(np.median(logarithm[term[distance.moves[term]]]))
        if abs(further) > 0.5:
            break
        factor *= math.exp(further)
    return factor


def _lengths(distance: Distance, base: Explanation) -> Iterator[Candidate]:
    """What was of length 1 is of the length that its factor has."""
    found = distance.found
    groups = [np.arange(one.first, one.first + one.size) for one in distance.trained.unit_norm]
    square = found.mean.astype(np.float64) ** 2 + found.spread.astype(np.float64) ** 2
    sizes = np.array([math.sqrt(max(square[group].sum(), 1e-12)) for group in groups])
    for place, group in enumerate(groups):
        if abs(math.log(sizes[place])) > math.log(_OTHER_LENGTH):
            alike = np.abs(np.log(sizes / sizes[place])) < math.log(_OTHER_LENGTH)
            alike &= np.array([len(one) == len(group) for one in groups])
            every = [one for one, same in zip(groups, alike, strict=True) if same]
            yield scaled(base, np.concatenate(every), float(sizes[place]))


def _logarithms(distance: Distance, related: Related, base: Explanation) -> tuple[Doubles, NDArray[np.bool_]]:
    """`[n]`: of the factor that the relations of each element ask for; and whether they do."""
    slope, deviation = related.slopes(base)
    unrelated = related.distances(base)
    relations = related.relations
    share = (relations.told / np.maximum(distance.trained.spread[related.of], 1e-12)) ** 2
    good = np.isfinite(unrelated) & (share > _SURE_SHARE) & (slope > 0.02)
    weight = np.where(good, 1.0 / deviation**2, 0.0)
    of = related.of
    total = np.bincount(of, weight, distance.size)
    mean = np.bincount(of, weight * np.log(np.maximum(slope, 1e-6)), distance.size) / np.maximum(total, 1e-12)
    strange = np.bincount(of, np.where(good, np.nan_to_num(unrelated), 0.0), distance.size)
    where = base.source
    return mean[where], (total[where] > 0.0) & (strange[where] > _STRANGE_SLOPE) & distance.moves
