"""What observations looked like in training: statistics of a recording that a contract carries.

Plain data, with the JSON form that `cpp/FORMAT.md` lays down; `statistics` makes one of recorded observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.observation_profile.encoding import FLOAT, check_array, count, decoded, encoded, integer, refuse
from ganglion.observation_profile.relations import Columns, Relations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Columns", "Discrete", "ObservationProfile", "Relations", "UnitNorm"]

MOST_ELEMENTS = 16_384
"""Observations of more elements, such as images, have no profile."""

MOST_PAIRED = 512
"""Observations of more elements have a profile without correlations: there is one number for every pair."""

MOST_ACTIONS = 64
"""Actions of more elements have a profile without responses."""

MOST_SEGMENTS = 32
MOST_LISTED = 32
"""The longest list of levels or lags."""

MOST_VALUES = 8
"""An element with more different values is not discrete."""

_SHARE = np.dtype("<i2")
_DEVIATION = np.dtype("u1")
_SHARE_ONE, _DEVIATION_ONE = 32767, 255


@dataclass(frozen=True)
class UnitNorm:
    """Neighbours in the observation whose squares add up to 1: a quaternion, a direction, a sine beside a cosine.

    Attributes:
        first: the first element.
        size: how many there are.
    """

    first: int
    size: int


@dataclass(frozen=True)
class Discrete:
    """An element with few values.

    Attributes:
        element: which.
        values: all that it had, in ascending order; one for a constant.
    """

    element: int
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ObservationProfile:
    """Statistics of recorded observations, N steps of n elements with m actions.

    Segments are pieces of the recording of the same length; what differs between them is what a healthy run may differ
    by. A step whose neighbour lies in another episode counts for no change and no lag.

    Attributes:
        steps: N.
        levels: `[Q]`, shares of the steps, ascending from 0 (the least value) to 1 (the largest).
        lags: `[L]`, steps of `autocorrelation`.
        response_lags: `[R]`, ascending steps of `response`; negative: the action came later.
        quantiles: `[Q, n]`, the value that this share of the steps does not exceed.
        mean: `[n]`.
        spread: `[n]`, standard deviation; 0 of a constant.
        skewness: `[n]`, third standardised moment; 0 of a constant.
        change: `[Q, n]`, quantiles of |x[t] - x[t - 1]|.
        autocorrelation: `[L, n]`, correlation of x[t] and x[t - lag]; 0 of a constant, as below.
        segment_means: `[S, n]`.
        segment_spreads: `[S, n]`.
        correlation: `[n, n]`, or None where n is more than `MOST_PAIRED`; symmetric, the diagonal is 1.
        correlation_deviation: `[n, n]`, root mean square difference between a segment's correlation and the whole one.
        response: `[R, n, m]`, correlation of x[t] and action[t - lag], where action[t] is the answer to x[t]; None
            where actions are not known, or too many.
        response_deviation: `[R, n, m]`, as `correlation_deviation`.
        unit_norm: groups of unit norm; they do not overlap.
        discrete: elements with at most `MOST_VALUES` values.
        starts: `[3, n]`, least, median and largest value of the first steps of episodes; None of fewer than two.
        relations: what stays the same from run to run; None of more than `MOST_PAIRED` elements, or few steps.
    """

    steps: int
    levels: tuple[float, ...]
    lags: tuple[int, ...]
    response_lags: tuple[int, ...]
    quantiles: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    skewness: NDArray[np.float32]
    change: NDArray[np.float32]
    autocorrelation: NDArray[np.float32]
    segment_means: NDArray[np.float32]
    segment_spreads: NDArray[np.float32]
    correlation: NDArray[np.float32] | None = None
    correlation_deviation: NDArray[np.float32] | None = None
    response: NDArray[np.float32] | None = None
    response_deviation: NDArray[np.float32] | None = None
    unit_norm: tuple[UnitNorm, ...] = ()
    discrete: tuple[Discrete, ...] = ()
    starts: NDArray[np.float32] | None = None
    relations: Relations | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or not 1 <= self.size <= MOST_ELEMENTS:
            refuse(f"mean has the shape {list(self.mean.shape)}; [n] with 1 to {MOST_ELEMENTS:,} elements is needed")
        if self.steps < 2:
            refuse(f"it was made of {self.steps} steps; at least 2 are needed")
        _check_list("levels", self.levels, at_least=2)
        if (self.levels[0], self.levels[-1]) != (0.0, 1.0) or not _ascends(self.levels):
            refuse(f"levels must ascend from 0 to 1, not {list(self.levels)}")
        _check_list("lags", self.lags, at_least=0)
        _check_list("response_lags", self.response_lags, at_least=0)
        if not _ascends(self.response_lags) or not _ascends(self.lags) or min(self.lags, default=1) < 1:
            refuse("lags must ascend, and those of the autocorrelation be 1 or more")
        if not 1 <= len(self.segment_means) <= MOST_SEGMENTS:
            refuse(f"it has {len(self.segment_means)} segments; 1 to {MOST_SEGMENTS} are possible")
        for name, shape in self._shapes().items():
            check_array(name, getattr(self, name), shape)
        if np.any(np.diff(self.quantiles, axis=0) < 0.0) or np.any(np.diff(self.change, axis=0) < 0.0):
            refuse("quantiles and change must not fall from one level to the next")
        if min(self.spread.min(), self.change.min(), self.segment_spreads.min()) < 0.0:
            refuse("spread, change and segment_spreads must not be negative")
        if self.starts is not None and np.any(np.diff(self.starts, axis=0) < 0.0):
            refuse("starts must not fall")
        self._check_groups()
        if self.relations is not None:
            if self.size > MOST_PAIRED:
                refuse(f"relations of {self.size} elements; up to {MOST_PAIRED} have them")
            self.relations.check(self.columns)

    @property
    def size(self) -> int:
        """Number of elements of the observation."""
        return int(self.mean.size)

    @property
    def actions(self) -> int:
        """Number of elements of the action; 0 where responses are not known."""
        return 0 if self.response is None else int(self.response.shape[2])

    @property
    def columns(self) -> Columns:
        """What relations are made of."""
        groups = tuple((group.first, group.size) for group in self.unit_norm if group.size in (3, 4))
        return Columns(self.size, self.actions, groups)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        n, segments = self.size, len(self.segment_means)
        shapes: dict[str, tuple[int, ...]] = {
            "quantiles": (len(self.levels), n),
            "mean": (n,),
            "spread": (n,),
            "skewness": (n,),
            "change": (len(self.levels), n),
            "autocorrelation": (len(self.lags), n),
            "segment_means": (segments, n),
            "segment_spreads": (segments, n),
        }
        if self.starts is not None:
            shapes["starts"] = (3, n)
        if (self.correlation is None) != (self.correlation_deviation is None):
            refuse("correlation and correlation_deviation come together")
        if (self.response is None) != (self.response_deviation is None):
            refuse("response and response_deviation come together")
        if self.correlation is not None:
            if n > MOST_PAIRED:
                refuse(f"correlations of {n} elements; up to {MOST_PAIRED} have them")
            shapes |= {"correlation": (n, n), "correlation_deviation": (n, n)}
        if self.response is not None:
            if self.response.ndim != 3 or not 1 <= self.actions <= MOST_ACTIONS or n > MOST_PAIRED:
                refuse(f"responses of {n} elements to the shape {list(self.response.shape)}")
            shapes |= dict.fromkeys(("response", "response_deviation"), (len(self.response_lags), n, self.actions))
        return shapes

    def _check_groups(self) -> None:
        stop = 0
        for group in self.unit_norm:
            if group.size < 2 or group.first < stop or group.first + group.size > self.size:
                refuse(f"the unit-norm group of {group.size} at element {group.first} does not fit")
            stop = group.first + group.size
        before = -1
        for entry in self.discrete:
            if not before < entry.element < self.size or not 1 <= len(entry.values) <= MOST_VALUES:
                refuse(f"the discrete element {entry.element} with {len(entry.values)} values does not fit")
            if not all(math.isfinite(value) for value in entry.values) or not _ascends(entry.values):
                refuse(f"the values of the discrete element {entry.element} must be finite and ascend")
            before = entry.element

    def to_document(self) -> dict[str, Any]:
        """The JSON object of `cpp/FORMAT.md`; `from_document` reads it back without loss but that of its numbers.

        Correlations are stored in steps of 1/32767, deviations in steps of 1/255.
        """
        document: dict[str, Any] = {
            "steps": self.steps,
            "size": self.size,
            "segments": len(self.segment_means),
            "actions": self.actions,
            "levels": list(self.levels),
            "lags": list(self.lags),
            "response_lags": list(self.response_lags),
        }
        for name in _FLOATS:
            document[name] = encoded(getattr(self, name), FLOAT)
        if self.correlation is not None and self.correlation_deviation is not None:
            above = np.triu_indices(self.size, 1)
            document["correlation"] = encoded(_whole(self.correlation[above], _SHARE_ONE), _SHARE)
            deviation = self.correlation_deviation[above]
            document["correlation_deviation"] = encoded(_whole(deviation, _DEVIATION_ONE), _DEVIATION)
        if self.response is not None and self.response_deviation is not None:
            document["response"] = encoded(_whole(self.response, _SHARE_ONE), _SHARE)
            document["response_deviation"] = encoded(_whole(self.response_deviation, _DEVIATION_ONE), _DEVIATION)
        if self.starts is not None:
            document["starts"] = encoded(self.starts, FLOAT)
        if self.relations is not None:
            document["relations"] = self.relations.to_document()
        document["unit_norm"] = [[group.first, group.size] for group in self.unit_norm]
        document["discrete"] = [{"element": one.element, "values": list(one.values)} for one in self.discrete]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ObservationProfile:
        """Reads what `to_document` gave.

        Raises:
            ArtifactError: a number is out of its range, or a list has the wrong length.
            KeyError: a field is missing.
            TypeError: a field has the wrong kind of value; also ValueError and AttributeError.
        """
        n, segments, m = (count(document, name) for name in ("size", "segments", "actions"))
        if not 1 <= n <= MOST_ELEMENTS:
            refuse(f"it has {n} elements; 1 to {MOST_ELEMENTS:,} are possible")
        levels = tuple(float(value) for value in document["levels"])
        lags, response_lags = (tuple(integer(lag) for lag in document[name]) for name in ("lags", "response_lags"))
        shapes: dict[str, tuple[int, ...]] = {
            "quantiles": (len(levels), n),
            "change": (len(levels), n),
            "autocorrelation": (len(lags), n),
            "segment_means": (segments, n),
            "segment_spreads": (segments, n),
        }
        arrays = {name: decoded(document, name, FLOAT, shapes.get(name, (n,))) for name in _FLOATS}
        pairs: dict[str, NDArray[np.float32]] = {}
        if "correlation" in document:
            if n > MOST_PAIRED:
                refuse(f"correlations of {n} elements; up to {MOST_PAIRED} have them")
            above = (n * (n - 1) // 2,)
            shares = _shares(document, "correlation", above)
            pairs["correlation"] = _symmetric(shares, n, 1.0)
            pairs["correlation_deviation"] = _symmetric(_deviations(document, "correlation_deviation", above), n, 0.0)
        if "response" in document:
            shape = (len(response_lags), n, m)
            pairs["response"] = _shares(document, "response", shape)
            pairs["response_deviation"] = _deviations(document, "response_deviation", shape)
        elif m:
            refuse(f"it is of {m} actions, and has no response to them")
        return cls(
            steps=count(document, "steps"),
            levels=levels,
            lags=lags,
            response_lags=response_lags,
            **arrays,
            **pairs,
            starts=decoded(document, "starts", FLOAT, (3, n)) if "starts" in document else None,
            relations=Relations.from_document(document["relations"]) if "relations" in document else None,
            unit_norm=tuple(UnitNorm(*(integer(value) for value in group)) for group in document["unit_norm"]),
            discrete=tuple(
                Discrete(integer(one["element"]), tuple(float(value) for value in one["values"]))
                for one in document["discrete"]
            ),
        )

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same."""
        if not isinstance(other, ObservationProfile):
            return NotImplemented
        return all(_same(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))

    __hash__ = None  # type: ignore[assignment]


_FLOATS = (
    *("quantiles", "mean", "spread", "skewness", "change", "autocorrelation", "segment_means", "segment_spreads"),
)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is not None and other is not None and np.array_equal(one, other)
    return bool(one == other)


def _ascends(values: tuple[float, ...] | tuple[int, ...]) -> bool:
    return all(one < next_one for one, next_one in pairwise(values))


def _check_list(name: str, values: tuple[Any, ...], *, at_least: int) -> None:
    if not at_least <= len(values) <= MOST_LISTED:
        refuse(f"{name} has {len(values)} entries; {at_least} to {MOST_LISTED} are possible")


def _whole(values: NDArray[Any], one: int) -> NDArray[np.float64]:
    low = -one if one == _SHARE_ONE else 0
    return np.clip(np.round(values.astype(np.float64) * one), low, one)


def _shares(document: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    stored = decoded(document, name, _SHARE, shape)
    if stored.size and stored.min() < -_SHARE_ONE:
        refuse(f"{name} has a number below -1")
    return (stored / np.float32(_SHARE_ONE)).astype(np.float32)


def _deviations(document: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    stored = decoded(document, name, _DEVIATION, shape)
    return np.asarray(stored.astype(np.float32) / np.float32(_DEVIATION_ONE), np.float32)


def _symmetric(above: NDArray[np.float32], n: int, diagonal: float) -> NDArray[np.float32]:
    matrix = np.zeros((n, n), np.float32)
    matrix[np.triu_indices(n, 1)] = above
    matrix += matrix.T
    np.fill_diagonal(matrix, diagonal)
    return matrix
