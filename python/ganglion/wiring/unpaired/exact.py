"""What a log shows by itself, without statistics: a velocity that is exactly a difference, frames of another stride, a
history that a reset filled otherwise.
"""

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

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_SURE = 1000.0
"""What an identity says that holds in every row, and did not in training."""

_SAME = 1e-5
"""Of the variance: so much may be left of an identity."""

_TIMES = 20.0
"""In training so much more was left of it."""

_LONGEST_STRIDE = 6
_SHARE = 0.995
_FEWEST_ROWS = 64


def exact(trained: ObservationProfile, log: Log, layout: Terms) -> Iterator[Candidate]:
    """Candidates that identities in the log speak for."""
    yield from _differences(trained, log, layout)
    if layout.frames > 1:
        yield from _strides(trained, log, layout)
        yield from _prefills(trained, log, layout)


def _inside(log: Log, steps: int) -> Integers:
    now = np.arange(steps, len(log.values))
    return np.asarray(now[log.episode[now] == log.episode[now - steps]], np.int64)


def _differences(trained: ObservationProfile, log: Log, layout: Terms) -> Iterator[Candidate]:
    if trained.relations is None:
        return
    now = _inside(log, 1)
    if len(now) < _FEWEST_ROWS:
        return
    change = log.values[now] - log.values[now - 1]
    seen = log.values[now] - log.values[now].mean(0)
    size, step = seen.std(0), change.std(0)
    good, goes = size > 0.0, step > 0.0
    likeness = (seen / np.where(good, size, 1.0)).T @ ((change - change.mean(0)) / np.where(goes, step, 1.0)) / len(now)
    likeness[:, ~goes] = 0.0
    np.fill_diagonal(likeness, 0.0)
    best = np.abs(likeness).argmax(1)
    left = 1.0 - likeness[np.arange(trained.size), best] ** 2
    least = np.ones(trained.size)
    variance = np.maximum(trained.spread.astype(np.float64), 1e-12) ** 2
    of = trained.relations.of.astype(np.int64)
    np.minimum.at(least, of, trained.relations.residual.astype(np.float64) ** 2 / variance[of])
    is_difference = good & (left < _SAME) & (least > _TIMES * np.maximum(left, _SAME / _TIMES))
    for term in layout.terms:
        inside = term[good[term]]
        if len(inside) < 2 or is_difference[inside].mean() < 0.8:
            continue
        elements = inside[is_difference[inside]]
        factor = float(np.median(size[elements] / step[best[elements]] * np.sign(likeness[elements, best[elements]])))
        value = {"of": "finite_difference", "position": best[elements].tolist(), "factor": float(f"{factor:.5g}")}
        yield Candidate(
            *("lag", elements, value, Explanation.nothing(trained.size)),
            credit=_SURE,
            lost="a measured velocity cannot be made of differences",
        )


def _strides(trained: ObservationProfile, log: Log, layout: Terms) -> Iterator[Candidate]:
    frames = [np.concatenate(layout.frame(number)) for number in range(layout.frames)]
    if trained.correlation is None:
        return
    moves = trained.spread > 0.0
    for older, newer, ends in ((0, 1, frames[:-1]), (1, 0, frames[1:])):
        one, other = frames[older], frames[newer]
        both = moves[one] & moves[other] & (log.values[:, one].std(0) > 0.0)
        one, other = one[both], other[both]
        if len(one) < 2:
            continue
        agree = {}
        for stride in range(1, _LONGEST_STRIDE + 1):
            # Behind a reset the frames hold what they were filled with.
            now = _inside(log, layout.frames * _LONGEST_STRIDE)
            if len(now) >= _FEWEST_ROWS:
                agree[stride] = float(np.mean(log.values[now][:, one] == log.values[now - stride][:, other]))
        if not agree or agree.get(1, 1.0) >= _SHARE or max(agree.values()) < _SHARE:
            continue
        stride = max(agree, key=lambda one: agree[one])
        lags = list(trained.lags)
        together = trained.correlation[one, other]
        if 1 not in lags:
            continue
        apart = [
            float(np.median(np.abs(trained.autocorrelation[place, other] - together))) for place in range(len(lags))
        ]
        if lags[int(np.argmin(apart))] != 1:
            continue
        value = {"frames": layout.frames, "stride": stride}
        yield Candidate(
            *("history_layout", np.sort(np.concatenate(ends)), value, Explanation.nothing(trained.size)),
            credit=_SURE,
            lost="frames of another stride do not hold the steps between",
        )


def _prefills(trained: ObservationProfile, log: Log, layout: Terms) -> Iterator[Candidate]:
    if trained.starts is None or not log.told or log.begins.sum() < 2:
        return
    first = log.values[log.begins]
    empty = np.all(first == 0.0, axis=0) & (log.values.std(0) > 0.0)
    was_empty = np.all(trained.starts == 0.0, axis=0) & (trained.spread > 0.0)
    newest = _newest(layout, empty, was_empty)
    if newest is None:
        return
    moved = (log.values.std(0) > 0.0) & (trained.spread > 0.0)
    base = np.zeros(trained.size, np.bool_)
    for frames in (term.reshape(layout.frames, -1) for term in layout.terms):
        # An element that is 0 in the newest frame, too, tells nothing: so a previous action is where an episode begins.
        base[frames[:, empty[frames[newest]] | was_empty[frames[newest]]]] = True
    more, fewer = empty & ~was_empty & ~base & moved, was_empty & ~empty & ~base & moved
    if more.any() and fewer.any():
        return  # Frames in another order are as empty as before, in other places.
    for filled, before, changed in (("zeros", "repeat", more), ("repeat", "zeros", fewer)):
        elements = np.flatnonzero(changed)
        if len(elements) < 2:
            continue
        value = {"trained": before, "found": filled, "rows": layout.frames - 1}
        yield Candidate(
            *("prefill", elements, value, Explanation.nothing(trained.size)),
            credit=_SURE,
            lost="the first rows of an episode hold another filling; it is gone after the frames of the history",
        )


def _newest(layout: Terms, empty: NDArray[np.bool_], was_empty: NDArray[np.bool_]) -> int | None:
    """The place of the newest frame: the one at an end that is filled with nothing in either."""
    filled = [float(np.mean((empty | was_empty)[np.concatenate(layout.frame(end))])) for end in (0, layout.frames - 1)]
    if filled[0] == filled[1]:
        return None
    return 0 if filled[0] < filled[1] else layout.frames - 1
