"""How far the statistics of a log are from those of a profile, and how much nearer an explanation brings them.

The distance of one number from another is counted in deviations: what it varied by between segments of the recording
and of the log, and at least a floor, for runs differ by more than their pieces do. It is bounded (Geman and McClure,
1987), so that one number that is far off does not outvote the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile
    from ganglion.wiring.unpaired.related import Related

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_FLOOR_CORRELATION = 0.08
_FLOOR_RESPONSE = 0.05
_FLOOR_AUTOCORRELATION = 0.08
_FLOOR_SHAPE = 0.25
_FLOOR_MEAN = 0.18
"""In spreads of the element."""

_FLOOR_SPREAD = 0.09
"""Of the logarithm, as that of change."""

_MOST_SPREAD = 0.7
"""What is still in most segments, as a command is, varies by more from one to the next than from run to run."""

_FLOOR_RANGE = 0.2
_ALIVE = 12.0
_ALIKE = 0.95
_TURNS = 0.2
_RUN = 0.25
"""A run differs from another one by less than its pieces do: the share of their variance."""

_USUAL = 1.5
"""A relation of a healthy log is so far from holding."""

_BOUND_PAIR = 3.0
_BOUND_OWN = 5.0
_INDEPENDENT = 16.0
"""So many independent numbers an element's correlations are worth, however many there are; so its responses."""

_RESPONSE_LAG = 3
"""Lags of responses before this one are those that a delay brings in."""

LONGEST_LAG = 4
"""In steps."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `trained` would have to go through: found[i] = factor[i] * trained[source[i]] + offset[i].

    Attributes:
        source: `[n]`.
        factor: `[n]`, not 0.
        offset: `[n]`.
        lag: `[n]`, whole steps.
    """

    source: Integers
    factor: Doubles
    offset: Doubles
    lag: Integers

    @classmethod
    def nothing(cls, size: int) -> Explanation:
        """That nothing was changed."""
        return cls(np.arange(size), np.ones(size), np.zeros(size), np.zeros(size, np.int64))

    def changed(
        self,
        elements: Integers,
        *,
        source: Integers | None = None,
        factor: Doubles | float | None = None,
        offset: Doubles | float | None = None,
        lag: int | None = None,
    ) -> Explanation:
        """The same with something done to some elements, behind all that was done already.

        Args:
            elements: `[k]`, which.
            source: `[k]`: the element whose place each takes over, with what was done to it; None for its own.
            factor: `[k]` or one: then multiplied.
            offset: `[k]` or one: then added.
            lag: then so many steps later.
        """
        made = Explanation(self.source.copy(), self.factor.copy(), self.offset.copy(), self.lag.copy())
        if source is not None:
            for name in ("source", "factor", "offset", "lag"):
                getattr(made, name)[elements] = getattr(self, name)[source]
        if factor is not None:
            made.factor[elements] *= factor
            made.offset[elements] *= factor
        if offset is not None:
            made.offset[elements] += offset
        if lag is not None:
            made.lag[elements] += lag
        return made


class Distance:
    """Compares the statistics of a log with those of a profile under an explanation.

    Args:
        trained: the profile.
        found: the same of the log.
        related: the profile's relations in the log; None where one of them has none.
    """

    def __init__(self, trained: ObservationProfile, found: ObservationProfile, related: Related | None = None) -> None:
        self.trained, self.found, self.related = trained, found, related
        self.size = trained.size
        self.moves = (trained.spread > 0.0) & (found.spread > 0.0)
        """`[n]`: of a constant, on either side, nothing but its value is known."""
        self._lags = np.asarray(trained.response_lags)
        self.has_response = trained.response is not None and found.response is not None
        self._means = _deviation(trained.segment_means), _deviation(found.segment_means)
        self._spreads = tuple(
            _deviation(np.log(np.maximum(side.segment_spreads, 1e-3 * np.maximum(side.spread, 1e-12))))
            for side in (trained, found)
        )
        moving = trained.spread[trained.spread > 0.0]
        self._noise = 0.02 * float(np.median(moving)) if moving.size else 0.0
        with np.errstate(divide="ignore"):
            ratios = np.log(found.spread[self.moves]) - np.log(trained.spread[self.moves])
        # A run that is livelier, or calmer, than the recording is so in most of its elements.
        common = float(np.median(ratios)) if ratios.size else 0.0
        self.activity = common if abs(common) < np.log(1.8) else 0.0

    def worth(self, source: Integers) -> Doubles:
        """What each of some elements of trained says beside the others, from 0 to 1.

        Frames of a history are much alike, and together say little more than one of them.
        """
        if self.trained.correlation is None:
            return np.ones(len(source))
        alike = np.abs(self.trained.correlation[np.ix_(source, source)]) > _ALIKE
        return np.asarray(1.0 / np.maximum(1, alike.sum(1)), np.float64)

    def of(self, explanation: Explanation, elements: Integers) -> Doubles:
        """The distance of some elements.

        Returns:
            `[len(elements)]`: of each; one of a correlation between two of them is counted half at either.
        """
        own = self._own(explanation, elements)
        return own + self._pairs(explanation, elements) + self._responses(explanation, elements)

    def unrelated(self, explanation: Explanation) -> Doubles:
        """`[P]`: how far each relation of the profile is from holding; NaN where that does not show."""
        return np.zeros(0) if self.related is None else self.related.distances(explanation)

    def suspicion(self, explanation: Explanation) -> Doubles:
        """`[n]`: the distance of each element, with that of its relations."""
        far = self.of(explanation, np.arange(self.size))
        if self.related is not None:
            unrelated = np.maximum(np.nan_to_num(self.related.distances(explanation)) - _USUAL, 0.0)
            held = np.bincount(self.related.of, unrelated, self.size)
            far += held[explanation.source]
        return far

    def suspicion_of_terms(self, explanation: Explanation) -> Doubles:
        """`[n]`: that of the relations which are made of each element, products included."""
        if self.related is None:
            return np.zeros(self.size)
        unrelated = np.maximum(np.nan_to_num(self.related.distances(explanation)) - _USUAL, 0.0)
        return np.asarray(unrelated @ self.related.made_of(), np.float64)[explanation.source]

    def own(self, explanation: Explanation, elements: Integers) -> Doubles:
        """The part of the distance that the element's own values make, `[len(elements)]`."""
        return self._own(explanation, elements)

    def alone(
        self,
        base: Explanation,
        moved: Explanation,
        elements: Integers,
        trusted: Doubles,
        columns: Integers | None = None,
    ) -> Doubles:
        """The distance of elements of which each moves by itself, and everything else stays as base has it.

        Args:
            base: what everything else went through.
            moved: what each of the elements went through.
            elements: which.
            trusted: `[n]`, the weight of the correlation with each element.
            columns: the elements with which correlations are looked at; None for all.
        """
        related = 0.0 if self.related is None else self.related.alone(base, moved, elements)
        return self.apart(base, moved, elements, trusted, columns) + related

    def apart(
        self,
        base: Explanation,
        moved: Explanation,
        elements: Integers,
        trusted: Doubles,
        columns: Integers | None = None,
    ) -> Doubles:
        """`alone`, without relations."""
        pairs = self._pairs_with(moved, base, elements, trusted, columns)
        return self._own(moved, elements) + pairs + self._responses(moved, elements)

    def _own(self, explanation: Explanation, elements: Integers) -> Doubles:
        trained, found = self.trained, self.found
        source, factor = explanation.source[elements], explanation.factor[elements]
        size, sign = np.abs(factor), np.sign(factor)
        moves = self._moves_as(source, elements)
        spread = np.where(moves, size * trained.spread[source], 1.0).astype(np.float64)
        spread_found = np.where(moves, found.spread[elements], 1.0).astype(np.float64)

        mean = factor * trained.mean[source] + explanation.offset[elements]
        lively = spread * np.exp(max(0.0, self.activity))
        deviation = np.sqrt(
            _RUN * ((size * self._means[0][source]) ** 2 + self._means[1][elements] ** 2) + (_FLOOR_MEAN * lively) ** 2
        )
        total = _bounded((found.mean[elements] - mean) / deviation, _BOUND_OWN)

        ratio = np.log(spread_found) - np.log(spread) - self.activity
        deviation = np.sqrt(
            np.minimum(_RUN * (self._spreads[0][source] ** 2 + self._spreads[1][elements] ** 2), _MOST_SPREAD**2)
            + _FLOOR_SPREAD**2
        )
        total += _bounded(ratio / deviation, _BOUND_OWN)

        # Beyond what training ever saw, in shares of its range: a run may stay inside of it, and may not leave it.
        ends = np.sort(factor * trained.quantiles[[0, -1]][:, source] + explanation.offset[elements], axis=0)
        beyond = np.maximum(found.quantiles[-3][elements] - ends[1], ends[0] - found.quantiles[2][elements])
        width = np.maximum(ends[1] - ends[0], 1e-9)
        total += _bounded(np.maximum(beyond, 0.0) / (_FLOOR_RANGE * width), _BOUND_OWN)

        change = np.log(np.maximum(found.change[5][elements], 1e-9)) - np.log(
            np.maximum(size * trained.change[5][source], 1e-9)
        )
        # Sensor noise makes change larger and never smaller.
        noise = np.where(change > 0.0, 2.0, 1.0)
        total += _bounded((change - self.activity) / (2.0 * noise * deviation), _BOUND_OWN)

        shape = _shape(trained)[:, source]
        shape = np.where(sign < 0.0, -shape[::-1], shape)
        total += 2.0 * _bounded((_shape(found)[:, elements] - shape) / _FLOOR_SHAPE, _BOUND_PAIR).mean(0)
        total += 2.0 * _bounded(
            (found.autocorrelation[:, elements] - trained.autocorrelation[:, source]) / _FLOOR_AUTOCORRELATION,
            _BOUND_PAIR,
        ).mean(0)
        # What never moved in training has no business here; what stands still in the log may have been left standing.
        still = (trained.spread[source] <= 0.0) & (found.spread[elements] > self._noise)
        return np.where(moves, total, np.where(still, _ALIVE, 0.0))

    def _pairs(self, explanation: Explanation, elements: Integers) -> Doubles:
        weight = np.ones(self.size)
        weight[elements] = 0.5
        return self._pairs_with(explanation, explanation, elements, weight)

    def _pairs_with(
        self,
        explanation: Explanation,
        others: Explanation,
        elements: Integers,
        weight: Doubles,
        columns: Integers | None = None,
    ) -> Doubles:
        trained, found = self.trained, self.found
        if trained.correlation is None or found.correlation is None:
            return np.zeros(len(elements))
        assert trained.correlation_deviation is not None and found.correlation_deviation is not None
        columns = np.arange(self.size) if columns is None else columns
        source = explanation.source[elements]
        rows, cells = np.ix_(source, others.source[columns]), np.ix_(elements, columns)
        sign = np.sign(explanation.factor[elements])[:, None] * np.sign(others.factor[columns])[None, :]
        expected = trained.correlation[rows] * sign.astype(np.float32)
        variance = (
            0.5 * trained.correlation_deviation[rows] ** 2
            + 0.5 * found.correlation_deviation[cells] ** 2
            + np.float32(_FLOOR_CORRELATION**2)
        )
        far = _bounded_square((found.correlation[cells] - expected) ** 2 / variance, _BOUND_PAIR)
        # What turns from one piece of a recording to the next, as the correlations of a heading do, turns as a whole:
        # many numbers tell one thing.
        far /= 1.0 + (trained.correlation_deviation[rows] / np.float32(_TURNS)) ** 2
        # What is late is no longer beside what is not: of these pairs the profile does not know.
        known = explanation.lag[elements][:, None] == others.lag[None, columns]
        known &= elements[:, None] != columns
        known &= self._moves_as(source, elements)[:, None] & self._moves_as(others.source[columns], columns)
        share = self.size / max(1, len(columns))
        return _worth(int(self.moves.sum())) * share * (np.where(known, far, 0.0) @ weight[columns])

    def _responses(self, explanation: Explanation, elements: Integers) -> Doubles:
        if not self.has_response:
            return np.zeros(len(elements))
        assert self.trained.response is not None and self.found.response is not None
        assert self.trained.response_deviation is not None and self.found.response_deviation is not None
        source, sign = explanation.source[elements], np.sign(explanation.factor[elements])
        # A lag of d: what was the response after k steps comes after k + d.
        place = np.arange(len(self._lags))[:, None] - explanation.lag[elements][None, :]
        inside = np.clip(place, 0, len(self._lags) - 1)
        expected = self.trained.response[inside, source[None, :]] * sign[None, :, None]
        deviation = np.sqrt(
            0.5 * self.trained.response_deviation[inside, source[None, :]] ** 2
            + 0.5 * self.found.response_deviation[:, elements] ** 2
            + _FLOOR_RESPONSE**2
        )
        far = _bounded((self.found.response[:, elements] - expected) / deviation, _BOUND_PAIR)
        # The same lags for every explanation: those that the longest lag leaves.
        known = (np.arange(len(self._lags)) >= _RESPONSE_LAG)[:, None, None]
        known = known & self._moves_as(source, elements)[None, :, None]
        worth = _worth((len(self._lags) - _RESPONSE_LAG) * self.trained.actions)
        return np.asarray(worth * np.where(known, far, 0.0).sum((0, 2)), np.float64)

    def _moves_as(self, source: Integers, elements: Integers) -> NDArray[np.bool_]:
        return (self.trained.spread[source] > 0.0) & (self.found.spread[elements] > 0.0)


def _worth(count: int) -> float:
    return min(1.0, _INDEPENDENT / max(1, count))


def _deviation(segments: NDArray[np.floating]) -> Doubles:
    return np.asarray(np.std(np.asarray(segments, np.float64), axis=0), np.float64)


def _bounded(far: NDArray[Any], bound: float) -> Doubles:
    """Half the square, as in the logarithm of a normal density, but no more than half of bound squared."""
    return _bounded_square(far * far, bound)


def _bounded_square(square: NDArray[Any], bound: float) -> Doubles:
    return np.asarray(0.5 * square / (1.0 + square / (bound * bound)))


def _shape(profile: ObservationProfile) -> Doubles:
    """Quantiles from 1 % to 99 % in spreads around the mean."""
    spread = np.where(profile.spread > 0.0, profile.spread, 1.0)
    return np.asarray((profile.quantiles[2:-2] - profile.mean) / spread, np.float64)
