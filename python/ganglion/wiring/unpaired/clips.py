"""A clip that is missing, or too much: values that are exactly a bound, on one side and not on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.unpaired.candidates import Candidate
from ganglion.wiring.unpaired.distance import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile
    from ganglion.wiring.unpaired.logs import Log
    from ganglion.wiring.unpaired.terms import Terms

    Integers = NDArray[np.int64]
    Doubles = NDArray[np.float64]

_MEDIAN = 5
_SAME = 3e-6
"""Bounds that differ by less, as a share, are one: float32 holds no more."""

_BEYOND = 1.02
_FEWEST_ENDS = 2
"""One element may end where it happens to; several ends at the same bound are a clip."""

_FEWEST_ROWS = 8
_SHARE = 0.001
_END = 8.0
"""What one end that is cut says."""


def clips(trained: ObservationProfile, log: Log, layout: Terms) -> Iterator[Candidate]:
    """Clips of the adapter that training has not, and of training that the adapter has not."""
    # A command stands for seconds, and is exactly the same wherever it is.
    stands = trained.change[_MEDIAN] <= 1e-6 * trained.spread
    highest, lowest = trained.quantiles[-1].astype(np.float64), -trained.quantiles[0].astype(np.float64)
    size = np.abs(log.values)
    reach = np.stack([log.values.max(0), -log.values.min(0)])
    rows = max(_FEWEST_ROWS + layout.frames, round(_SHARE * len(log.values)))
    piled = np.stack(
        [
            (np.abs(side * log.values - end) <= _SAME * np.abs(end)).sum(0)
            for side, end in zip((1.0, -1.0), reach, strict=True)
        ]
    )
    cut = np.where((piled >= rows) & ~stands & (reach > 0.0), reach, np.nan)
    for bound, elements, ends in _shared(cut, np.stack([highest, lowest]), layout):
        there = elements[np.any(np.abs(size[:, elements] - bound) <= _SAME * bound, axis=0)]
        yield _clip(there, bound, "found", ends, trained.size)
    cut = np.stack(
        [
            np.where(trained.quantiles[-1] == trained.quantiles[-2], highest, np.nan),
            np.where(trained.quantiles[0] == trained.quantiles[1], lowest, np.nan),
        ]
    )
    cut[:, stands | (trained.spread <= 0.0)] = np.nan
    cut[cut <= 0.0] = np.nan
    for bound, elements, ends in _shared(cut, reach, layout):
        there = elements[np.any(size[:, elements] > bound * (1.0 + _SAME), axis=0)]
        yield _clip(there, bound, "trained", ends, trained.size)


def _shared(cut: Doubles, free: Doubles, layout: Terms) -> Iterator[tuple[float, Integers, int]]:
    """The bounds that several ends of a term share on one side, where the other side goes beyond."""
    for term in layout.terms:
        rest = np.sort(cut[:, term][np.isfinite(cut[:, term])])
        while len(rest):
            bound = float(rest[0])
            same = np.abs(rest - bound) <= _SAME * bound
            ends = np.abs(cut[:, term] - bound) <= _SAME * bound
            beyond = ends & (free[:, term] > _BEYOND * bound)
            # What is cut elsewhere is another bound; nothing of the side that is cut goes beyond.
            if same.sum() >= _FEWEST_ENDS and beyond.sum() >= max(_FEWEST_ENDS, 0.5 * ends.sum()):
                yield bound, term, int(beyond.sum())
            rest = rest[~same]


def _clip(elements: Integers, bound: float, of: str, ends: int, size: int) -> Candidate:
    value = {"low": -float(f"{bound:.4g}"), "high": float(f"{bound:.4g}"), "of": of}
    lost = "what the adapter cuts is lost" if of == "found" else "the adapter has to clip where training does"
    return Candidate("clip", elements, value, Explanation.nothing(size), 0.0, credit=_END * ends, lost=lost)
