"""One column of `found` as one column of the sources: sign, scale, offset, clip and lag, checked in every row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.known import KNOWN, near, rounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.wiring.paired.judge import NoiseJudge
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]

_FEWEST = 8
FEW = 200
"""One of so many rows between the limits of a column is enough to see a line."""
_INF = math.inf
_SURE = 3.0
_UNLIKELY = 25.0
"""What is lost with the right gain and bias is, in variances of noise, a chi-square of two: this is one in 250,000."""
_MORE = 1.5
"""Times the largest difference of other rows that is another matter."""
_SLACK = 1.01
"""Noise of the source bends the line of least squares, which then fits better than the right one."""


@dataclass(frozen=True)
class Fit:
    """found = clip(gain * source[t - lag] + bias, low, high).

    Attributes:
        source: column of the sources.
        lag: steps.
        gain: factor.
        bias: what is added.
        low: found is cut there, in units of found; infinite where it is not.
        high: the same above.
        inner_low: the source is cut there, and found is not, in units of the source; infinite where it is not.
        inner_high: the same above.
        residual: the largest difference in settled rows.
        starts: in so many rows behind a reset it does not hold; 0 where it holds in all of them.
    """

    source: int
    lag: int = 0
    gain: float = 1.0
    bias: float = 0.0
    low: float = -_INF
    high: float = _INF
    inner_low: float = -_INF
    inner_high: float = _INF
    residual: float = 0.0
    starts: int = 0

    @property
    def cut(self) -> bool:
        """Whether a clip is in it."""
        return any(map(math.isfinite, (self.low, self.high, self.inner_low, self.inner_high)))

    @property
    def plain(self) -> bool:
        """Whether nothing but the place may differ."""
        return self.gain == 1.0 and self.bias == 0.0 and self.lag == 0 and not self.cut

    @property
    def cost(self) -> float:
        """How much is to be said to say it; the place is not in it."""
        cost = 0.5 * (self.gain < 0.0)
        size = abs(self.gain)
        if size != 1.0:
            known = any(math.isclose(size, one, rel_tol=1e-9) for one in KNOWN)
            cost += 0.6 if known else 0.9 if float(f"{size:.3g}") == size else 1.4
        if self.bias != 0.0:
            cost += 0.8 if float(f"{self.bias:.3g}") == self.bias else 1.1
        return cost + 1.0 * (self.lag != 0) + 0.9 * self.cut

    def of(self, column: Doubles) -> Doubles:
        """What found is, of the source's column without its lag."""
        return np.clip(self.gain * column + self.bias, self.low, self.high)


def difference(fit: Fit, source: Doubles, found: Doubles) -> Doubles:
    """Found without what the fit says, in units of found; where only the source is cut, what is beyond is none."""
    if math.isfinite(fit.inner_low) or math.isfinite(fit.inner_high):
        undone = np.clip((found - fit.bias) / fit.gain, fit.inner_low, fit.inner_high)
        return (undone - source) * fit.gain
    return found - fit.of(source)


def fit_columns(
    pair: Pair, source: Doubles, found: Doubles, number: int, lag: int = 0, keep: NDArray[np.bool_] | None = None
) -> Fit | None:
    """The simplest fit of two columns, or None.

    Args:
        pair: where they are from.
        source: `[N]`.
        found: `[N]`.
        number: of the source.
        lag: steps.
        keep: `[N]`: rows of the source that tell something; None for all.
    """
    rows = pair.rows(lag)
    rows = rows if keep is None else rows[keep[rows - lag]]
    if len(rows) < _FEWEST:
        return None
    fit = _simplest(pair.judge, source[rows - lag], found[rows])
    if fit is None:
        return None
    return _with_starts(pair, replace(fit, source=number, lag=lag), source, found, keep)


def is_equal(pair: Pair, source: Doubles, found: Doubles, number: int) -> Fit | None:
    """The fit of two columns that are equal in settled rows, or None."""
    off = found - source
    magnitude = float(np.abs(found).max())
    if pair.judge.fits(off, magnitude):
        return Fit(number, residual=_worst(off))
    settled = off[pair.settled]
    if not pair.judge.fits(settled, magnitude):
        return None
    return _with_starts(pair, Fit(number, residual=_worst(settled)), source, found)


def as_well(pair: Pair, fit: Fit, other: Fit, source: Doubles, found: Doubles) -> Fit | None:
    """Another fit of the same columns, where chance alone may have made this one better."""
    rows = pair.rows(fit.lag)
    off, more = (difference(one, source[rows - fit.lag], found[rows]) for one in (fit, other))
    rounding = pair.judge.rounding(magnitude_of(other, source, found))
    least = float(np.mean(off**2)) * (_SLACK + _UNLIKELY / len(rows))
    return None if float(np.mean(more**2)) > least + rounding**2 else checked(pair, other, source, found)


def checked(pair: Pair, fit: Fit, source: Doubles, found: Doubles) -> Fit | None:
    """A fit with its residual, if it holds."""
    rows = pair.rows(fit.lag)
    off = difference(fit, source[rows - fit.lag], found[rows])
    if not pair.judge.fits(off, magnitude_of(fit, source, found), fit.gain):
        return None
    return _with_starts(pair, replace(fit, residual=_worst(off)), source, found)


def _with_starts(pair: Pair, fit: Fit, source: Doubles, found: Doubles, keep: NDArray[np.bool_] | None = None) -> Fit:
    """A fit with the rows behind a reset in which it does not hold, or with a limit that is met there alone."""
    starts, before = shown(pair, fit, source, found, keep)
    if not starts:
        return fit
    size = magnitude_of(fit, source, found)
    early = np.flatnonzero(pair.since < starts)
    off = np.abs(difference(fit, source[before[early]], found[early]))
    early = early[off > largest(pair.judge, fit, size)]
    if any((np.abs(side) <= pair.judge.worst(size)).all() for side in (found[early], source[before[early]])):
        return replace(fit, starts=starts)  # zeros are a fill, and no limit
    rows = np.flatnonzero(pair.left >= -fit.lag)
    rows = rows if keep is None else rows[keep[before[rows]]]
    cut = _cut(pair.judge, source[before[rows]], found[rows], fit.gain, fit.bias, size)
    if cut is None or not cut.cut:
        return replace(fit, starts=starts)
    return replace(cut, source=fit.source, lag=fit.lag)


def shown(
    pair: Pair, fit: Fit, source: Doubles, found: Doubles, keep: NDArray[np.bool_] | None = None
) -> tuple[int, NDArray[np.int64]]:
    """How many rows behind a reset differ, and `[N]` the row of the source that a delay shows in each row.

    Behind a reset a history that is late as a whole repeats its first row; one of late elements, or one whose frames
    are farther apart, is filled before they come. What differs less is taken.
    """
    rows = np.arange(len(pair.since))
    if fit.lag < 0:
        tries = [rows - np.maximum(fit.lag, -pair.left)]
    else:
        tries = [rows - np.minimum(fit.lag, pair.since)]
        age = pair.age(fit.source)
        apart = range(0, fit.lag + 1, age) if age and fit.lag else ()
        tries += [
            rows - np.minimum(more, pair.since) - np.clip(pair.since - age - more, 0, fit.lag - more) for more in apart
        ]
    return min(((_differ(pair, fit, source, found, before, keep), before) for before in tries), key=lambda one: one[0])


def _differ(
    pair: Pair, fit: Fit, source: Doubles, found: Doubles, before: NDArray[np.int64], keep: NDArray[np.bool_] | None
) -> int:
    rows = np.flatnonzero(~pair.settled & (pair.left >= -fit.lag))
    rows = rows if keep is None else rows[keep[before[rows]]]
    off = np.abs(difference(fit, source[before[rows]], found[rows]))
    bad = off > largest(pair.judge, fit, magnitude_of(fit, source, found))
    return int(pair.since[rows[bad]].max()) + 1 if bad.any() else 0


def largest(judge: NoiseJudge, fit: Fit, size: float) -> float:
    """The largest difference behind a reset that is none, from what it is in all other rows."""
    return min(max(judge.worst(size), judge.rounding(size) + _MORE * fit.residual), judge.worst(size, fit.gain))


def magnitude_of(fit: Fit, source: Doubles, found: Doubles) -> float:
    """Size of the numbers that were added and multiplied."""
    return _size(source, found, fit.gain, fit.bias)


def _simplest(judge: NoiseJudge, x: Doubles, y: Doubles) -> Fit | None:
    every = np.ones(len(x), np.bool_)
    fits = (
        Fit(0, gain=some, bias=more, residual=_worst(y - some * x - more)) for some, more in _lines(judge, x, y, every)
    )
    whole = next(fits, None)
    if whole is not None and whole.cost <= Fit(0, high=1.0).cost:
        return whole
    inside = interior(x, judge) & interior(y, judge)
    for some, more in _lines(judge, x, y, inside if int(inside.sum()) >= max(_FEWEST, len(x) // FEW) else every):
        cut = _cut(judge, x, y, some, more, _size(x, y, some, more))
        if cut is not None:
            return cut if whole is None or (cut.cut and cut.cost < whole.cost) else whole
    return whole


def _lines(judge: NoiseJudge, x: Doubles, y: Doubles, rows: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
    """Gains and biases that chance alone may set apart from the line of least squares, the simplest first."""
    x, y = x[rows], y[rows]
    mx, my = float(x.mean()), float(y.mean())
    dx = x - mx
    square = float(dx @ dx)
    if square <= 0.0:
        return
    gain = float(dx @ (y - my)) / square
    bias = my - gain * mx
    size = _size(x, y, gain, 0.0)
    if abs(gain) * math.sqrt(square / len(x)) <= max(judge.rounding(size), judge.noise()):
        return  # a line that says nothing
    off = y - gain * x - bias
    if not judge.fits(off, size, gain):
        return
    least = float(np.mean(off**2)) * (_SLACK + _UNLIKELY / len(x))
    noise = _SURE * judge.noise(gain) / math.sqrt(len(x))
    through = float(x @ y) / float(x @ x)
    for some, more in _tries(gain, bias, through, mx, my, noise, noise / math.sqrt(square / len(x))):
        size = _size(x, y, some, more)
        off = y - some * x - more
        if judge.fits(off, size, some) and float(np.mean(off**2)) <= least + judge.rounding(size) ** 2:
            yield some, more


def _size(x: Doubles, y: Doubles, gain: float, bias: float) -> float:
    return max(float(np.abs(y).max()), abs(gain) * float(np.abs(x).max()), abs(bias))


def _tries(
    gain: float, bias: float, through: float, mx: float, my: float, bias_error: float, gain_error: float
) -> Iterator[tuple[float, float]]:
    """Pairs of gain and bias, the simplest first; digits are left out where the noise allows it."""
    sign = math.copysign(1.0, gain)
    yield sign, 0.0
    known = near(through)
    for some in known:
        yield some, 0.0
    for some in dict.fromkeys((sign, *near(gain, 0.02))):
        exact = my - some * mx
        for more in rounded(exact, bias_error):
            yield some, more
        yield some, exact
    for some in (*rounded(through, gain_error), through):
        yield some, 0.0
    for some in rounded(gain, gain_error):
        exact = my - some * mx
        for more in rounded(exact, bias_error):
            yield some, more
    yield gain, bias


def interior(values: Doubles, judge: NoiseJudge) -> NDArray[np.bool_]:
    """Rows that are not at the lowest or highest value of a column: there it may be cut."""
    low, high = float(values.min()), float(values.max())
    margin = max(2.0 * judge.rounding(max(abs(low), abs(high))), min(10.0 * judge.noise(), (high - low) / 8.0))
    return (values > low + margin) & (values < high - margin)


def _cut(judge: NoiseJudge, x: Doubles, y: Doubles, gain: float, bias: float, size: float) -> Fit | None:
    whole, undone = gain * x + bias, (y - bias) / gain
    for sure in (True, False):  # a limit that is met by more than noise first
        low, high = (_limit(y, whole, judge, gain, side, sure=sure) for side in (-1.0, 1.0))
        off = y - np.clip(whole, low, high)
        if judge.fits(off, size, gain):
            return Fit(0, gain=gain, bias=bias, low=low, high=high, residual=_worst(off))
        low, high = (_limit(x, undone, judge, 1.0 / gain, side, sure=sure) for side in (-1.0, 1.0))
        off = (x - np.clip(undone, low, high)) * gain
        if judge.fits(off, size, gain):
            return Fit(0, gain=gain, bias=bias, inner_low=low, inner_high=high, residual=_worst(off))
    return None


def _limit(cut: Doubles, whole: Doubles, judge: NoiseJudge, gain: float, side: float, *, sure: bool) -> float:
    """Where values are cut on one side, or infinity: the usual value of those that would be beyond."""
    most = float((side * cut).max())
    margin = judge.allowed(abs(most), gain)
    beyond = side * whole > most + (judge.worst(abs(most), gain) if sure else margin)
    if not beyond.any():
        return side * _INF
    return round_limit(float(np.median(cut[beyond])), margin)


def round_limit(limit: float, margin: float) -> float:
    """A limit in few digits, where that is as good."""
    return next((short for short in rounded(limit, margin)), limit)


def _worst(off: Doubles) -> float:
    return max(float(off.max()), -float(off.min()), 0.0) if off.size else 0.0
