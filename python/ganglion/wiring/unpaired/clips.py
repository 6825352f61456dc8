"""A clip that is missing, or too much: values that pile up at one bound, on one side and not on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.unpaired.candidates import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile
    from ganglion.wiring.unpaired.distance import Distance, Explanation

    Integers = NDArray[np.int64]
    Doubles = NDArray[np.float64]

_PILED = 0.01
"""The largest thousandth of the values lies within this share of the spread."""

_MEDIAN = 5
_SAME = 0.01
_BEYOND = 1.04
_FEWEST_ENDS = 2
"""One element may end where it happens to; several ends at the same bound are a clip."""


def clips(distance: Distance, base: Explanation, terms: Sequence[Integers]) -> Iterator[tuple[Candidate, int]]:
    """Clips, with how many ends speak for each."""
    for cut, free, of in ((distance.found, distance.trained, "found"), (distance.trained, distance.found, "trained")):
        bound, reach = _ends(cut, 1), _reach(free)
        sure = _ends(cut, 2)
        # A command stands for seconds, and piles up wherever it is.
        bound[:, distance.trained.change[_MEDIAN] <= _PILED * distance.trained.spread] = np.nan
        for term in terms:
            for value in _values(bound[:, term]):
                at = np.abs(bound[:, term] - value) <= _SAME * value
                beyond = at & np.isfinite(sure[:, term]) & (reach[:, term] > _BEYOND * value)
                if beyond.sum() < _FEWEST_ENDS or beyond.sum() < 0.5 * at.sum():
                    continue
                elements = term[np.any((np.abs(bound[:, term] - value) <= _SAME * value), axis=0)]
                bounds = {
                    "low": -float(f"{value:.4g}"),
                    "high": float(f"{value:.4g}"),
                    "of": of,
                    "of": of,
                }
                yield Candidate("clip", elements, bounds, base), int(beyond.sum())


def _ends(profile: ObservationProfile, level: int) -> Doubles:
    """`[2, n]`: the size of the upper and the lower bound where values pile up; NaN where they do not.

    Args:
        profile: of one side.
        level: 1: a thousandth of the values is there; 2: a hundredth, which is more than the frames of a history that a
            reset fills with one value.
    """
    quantiles, spread = profile.quantiles.astype(np.float64), profile.spread
    high = np.where(quantiles[-1] - quantiles[-1 - level] <= _PILED * spread, quantiles[-1], np.nan)
    low = np.where(quantiles[level] - quantiles[0] <= _PILED * spread, -quantiles[0], np.nan)
    ends = np.stack([high, low])
    ends[:, spread <= 0.0] = np.nan
    return np.where(ends > 0.0, ends, np.nan)


def _reach(profile: ObservationProfile) -> Doubles:
    return np.stack([profile.quantiles[-1], -profile.quantiles[0]]).astype(np.float64)


def _values(ends: Doubles) -> list[float]:
    """The bounds that several ends share."""
    rest = np.sort(ends[np.isfinite(ends)])
    found = []
    while len(rest):
        same = np.abs(rest - rest[0]) <= _SAME * rest[0]
        if same.sum() >= _FEWEST_ENDS:
            found.append(float(np.median(rest[same])))
        rest = rest[~same]
    return found
