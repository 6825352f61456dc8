"""Explanations that no factor, offset or order can describe: undone in the log itself, which is measured anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.correction import Turn
from ganglion.wiring.unpaired.candidates import Candidate
from ganglion.wiring.unpaired.distance import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile
    from ganglion.wiring.unpaired.distance import Distance
    from ganglion.wiring.unpaired.logs import Log
    from ganglion.wiring.unpaired.terms import Terms

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_JUMP = 8.0
_JUMP_EACH = 2.0
"""What says that a quaternion jumps to its negative, where in training none did."""

_MEDIAN = 5
_WRONG = 7.0
_TRUSTED = 6.0
_OPPOSITE = 20.0
_LOW = 2
_FAR_FROM_NOTHING = 0.1
_LEAST_TURN = 0.15
"""In rad: less may be how a robot stands."""


def undone(distance: Distance, log: Log, layout: Terms, strange: Doubles) -> Iterator[Candidate]:
    """Candidates with what they leave of the log."""
    trained = distance.trained
    fours = [np.arange(one.first, one.first + one.size) for one in trained.unit_norm if one.size == 4]
    threes = [np.arange(one.first, one.first + one.size) for one in trained.unit_norm if one.size == 3]
    yield from _covers(trained, log, fours)
    stands = (trained.change[_MEDIAN] <= 1e-6 * trained.spread) & (trained.spread > 0.0)
    # A command, which stands for seconds, is nothing that a sensor measures.
    vectors = [some for some in _vectors(layout, threes) if not stands[np.concatenate(some)].any()]
    for some in vectors:
        if strange[np.concatenate(some)].sum() < _WRONG:
            continue
        for groups in _beside(some, fours):
            yield from _oriented(log, some, groups)
    wrong = [some for some in vectors if strange[np.concatenate(some)].sum() >= _WRONG]
    directions = [some for some in wrong if any(np.array_equal(some[0], three) for three in threes)]
    sets = wrong + [[*one, *other] for one in wrong for other in directions if one is not other]
    for some in sets:
        turned = _turned(distance, log, some, strange)
        if turned is not None:
            yield turned


def _vectors(layout: Terms, threes: list[Integers]) -> list[list[Integers]]:
    """What may be vectors in space: terms of three elements in each frame, and directions."""
    named = [list(term.reshape(-1, 3)) for term in layout.terms if len(term) == 3 * layout.frames]
    known = {tuple(one) for some in named for one in some}
    return named + [[three] for three in threes if tuple(three) not in known]


def _covers(trained: ObservationProfile, log: Log, fours: list[Integers]) -> Iterator[Candidate]:
    places, values, rows, jumps = [], log.values.copy(), 0, 0
    for four in fours:
        if trained.change[-1][four].max() > 1.0:
            continue
        turned = np.zeros(len(values), np.bool_)
        turned[1:] = (values[1:, four] * values[:-1, four]).sum(1) < -0.5
        turned[log.begins] = False
        if not turned.any():
            continue
        count = np.cumsum(turned)
        start = np.maximum.accumulate(np.where(log.begins, np.arange(len(values)), 0))
        negative: NDArray[np.bool_] = np.equal((count - count[start]) % 2, 1)
        values[np.ix_(negative, four)] *= -1.0
        places.append(four)
        rows, jumps = max(rows, int(negative.sum())), max(jumps, int(turned.sum()))
    if places:
        yield Candidate(
            *("sign", np.concatenate(places), {"double_cover": rows}, Explanation.nothing(trained.size)),
            values=values,
            credit=_JUMP + _JUMP_EACH * jumps,
            lost="which of a quaternion and its negative it is, a controller has to follow from step to step",
        )


def negated(distance: Distance) -> Iterator[Candidate]:
    """Quaternions that are the other one of the pair that means the same: told by where episodes begin, for a heading
    that has turned may be at either.
    """
    trained, found = distance.trained, distance.found
    fours = [np.arange(one.first, one.first + one.size) for one in trained.unit_norm if one.size == 4]
    places = [four for four in fours if any(_is_opposite(trained, found, int(element)) for element in four)]
    if places:
        place = np.concatenate(places)
        turned = Explanation.nothing(distance.size).changed(place, factor=-1.0)
        yield Candidate("sign", place, -1, turned, credit=_OPPOSITE)


def _is_opposite(trained: ObservationProfile, found: ObservationProfile, element: int) -> bool:
    """Whether all of an element begins, or lies, outside of where it did in training, and its negative inside."""
    sides = [(trained.quantiles[[0, -1], element], found.quantiles[[_LOW, -1 - _LOW], element])]
    if trained.starts is not None and found.starts is not None:
        sides.append((trained.starts[[0, -1], element], found.starts[[0, -1], element]))
    for (low, high), (least, most) in sides:
        margin = 0.05 * (high - low)
        outside = most < low or least > high
        inside = -most >= low - margin and -least <= high + margin
        # Of what is the same to both sides of 0 nothing is told.
        if outside and inside and min(abs(least), abs(most)) + (high - low) > _FAR_FROM_NOTHING:
            return True
    return False


def _beside(vectors: list[Integers], fours: list[Integers]) -> list[list[Integers]]:
    """The quaternion of the same frame for each vector; or one for all."""
    if len(fours) == len(vectors) and len(fours) > 1:
        return [fours]
    return [[four] * len(vectors) for four in fours] if len(vectors) == 1 else []


def _oriented(log: Log, vectors: list[Integers], groups: list[Integers]) -> Iterator[Candidate]:
    place = np.concatenate(vectors)
    for kind, power in (("world_for_body", -1), ("body_for_world", 1)):
        values = log.values.copy()
        turns = [
            Turn(tuple(vector.tolist()), None, tuple(four.tolist()), power)
            for vector, four in zip(vectors, groups, strict=True)
        ]
        for turn in turns:
            turn.apply(values)
        value = {"kind": kind, "quaternion": groups[-1].tolist()}
        nothing = Explanation.nothing(values.shape[1])
        yield Candidate("frame", place, value, nothing, values=values, turns=tuple(turns))


def _turned(distance: Distance, log: Log, vectors: list[Integers], strange: Doubles) -> Candidate | None:
    """The one rotation that brings what vectors go with nearest to training (Kabsch, 1976)."""
    trained, found = distance.trained, distance.found
    if trained.correlation is None or found.correlation is None:
        return None
    place = np.concatenate(vectors)
    if np.any(trained.spread[place].reshape(-1, 3).max(1) <= 0.0):
        return None
    others = distance.moves & (strange <= _TRUSTED)
    others[place] = False
    common = np.zeros((3, 3))
    for vector in vectors:
        before, after = trained.spread[vector][:, None], found.spread[vector][:, None]
        size = float(np.sqrt(np.mean(trained.spread[vector] ** 2)))
        pairs = [(trained.correlation[vector][:, others] * before, found.correlation[vector][:, others] * after, 1.0)]
        if distance.has_response:
            assert trained.response is not None and found.response is not None
            shape = (3, -1)
            pairs.append(
                (
                    trained.response[3:, vector].swapaxes(0, 1).reshape(shape) * before,
                    found.response[3:, vector].swapaxes(0, 1).reshape(shape) * after,
                    1.0 / max(1, len(trained.response_lags) - 3),
                )
            )
        pairs.append((trained.mean[vector][:, None], found.mean[vector][:, None], 1.0))
        for wanted, seen, weight in pairs:
            common += weight * (seen @ wanted.T).astype(np.float64) / size**2
    left, _, right = np.linalg.svd(common)
    matrix = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    if np.arccos(np.clip((np.trace(matrix) - 1.0) / 2.0, -1.0, 1.0)) < _LEAST_TURN:
        return None
    values = log.values.copy()
    turns = tuple(Turn(tuple(vector.tolist()), matrix.T) for vector in vectors)
    for turn in turns:
        turn.apply(values)
    value = {"kind": "fixed", "matrix": matrix.tolist()}
    nothing = Explanation.nothing(trained.size)
    return Candidate("frame", place, value, nothing, 3.0, values=values, turns=turns)
