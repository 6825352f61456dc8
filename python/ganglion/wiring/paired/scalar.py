"""Explains single elements of `found` by single elements of `trained`."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.assignment import assign
from ganglion.wiring.paired.columns import likely
from ganglion.wiring.paired.fit import Fit, as_well, checked, fit_columns, is_equal
from ganglion.wiring.paired.frames import frames_of
from ganglion.wiring.paired.known import rounded
from ganglion.wiring.paired.model import column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]

LAGS = (1, 2, 3, -1, 4, 5, 6, -2, 7, 8, 9, 10, 11, 12)
"""Steps that are looked at, the likeliest first."""

_MOVED = 1.0
_NOTHING = 50.0
_MOST_FITS = 24
_WEAK = 6.0
_MOST_LAGS = 4
_NEAR = 3
_ALIKE = 0.02


class ScalarSearch:
    """A search with its intermediate results.

    Args:
        pair: both recordings.
        base: `[m]`: the element of trained that each element of found should hold, or -1.

    Attributes:
        fits: `[m]`: what was found so far.
        frames: how found lays histories out.
        base: `[m]`: as given, and where frames stand otherwise the element that stands there then.
        late: `[m]`: steps that an element is late, because frames are farther apart.
    """

    def __init__(self, pair: Pair, base: NDArray[np.int64]) -> None:
        self.pair, self.base = pair, base
        self.fits: list[Fit | None] = [None] * pair.found.shape[1]
        self.late = np.zeros(len(base), np.int64)
        self._asked: set[int] = set()
        self._quiet_trained = quiet(pair, pair.trained)
        self._quiet_found = quiet(pair, pair.found)
        self.weak = quiet(pair, pair.found, _WEAK)
        self.frames = frames_of(pair, base, self.fits, [], self._quiet_trained)

    @property
    def open(self) -> list[int]:
        """Elements of found that nothing explains so far."""
        return [j for j, fit in enumerate(self.fits) if fit is None]

    @property
    def free(self) -> list[int]:
        """Elements of trained that nothing is made of so far."""
        used = {fit.source for fit in self.fits if fit is not None}
        return [i for i in range(self.pair.trained.shape[1]) if i not in used]

    def run(self) -> None:
        """Equal elements first; then all others, in place before elsewhere, now before earlier."""
        self._equal()
        if not self.open:
            return
        self._framed()
        self._weak_with_others()
        now = self._candidates(self._unasked(), self.free, 0)
        self._lags_in_place(now)
        self._assign(now)
        for lag in LAGS:
            open_, free = self._unasked(), self.free
            if not open_ or not free:
                break
            self._assign(self._candidates(open_, free, lag))

    def _weak_with_others(self) -> None:
        """Elements that are so near to the noise that any delay would fit have one that others have."""
        usual = Counter(
            fit.lag - int(self.late[j]) for j, fit in enumerate(self.fits) if fit is not None and not self.weak[j]
        )
        for lag, _ in usual.most_common(_MOST_LAGS):
            waiting = [j for j in self.open if self.weak[j] and not self._quiet_found[j]]
            self._assign({j: self._unchanged(j, lag) for j in waiting})

    def _unchanged(self, j: int, lag: int) -> dict[int, Fit]:
        """Columns of the same frame that an element may hold as they are, but for a delay."""
        pair, own = self.pair, self.pair.found[:, j]
        lag += int(self.late[j])
        age = pair.age(int(self.base[j])) if self.base[j] >= 0 else 0
        alike = np.abs(pair.trained.std(axis=0) - own.std()) <= _WEAK * pair.judge.allowed(float(np.abs(own).max()))
        near = [i for i in self.free if alike[i] and pair.age(i) == age]
        tries = {i: checked(pair, Fit(i, lag), pair.trained[:, i], own) for i in near}
        return {i: fit for i, fit in tries.items() if fit is not None}

    def _unasked(self) -> list[int]:
        """Open elements that the look at frames has not asked for every signal and delay."""
        return [j for j in self.open if j not in self._asked]

    def _framed(self) -> None:
        """Elements of histories: those tell together how frames stand, and each what it holds."""
        waiting = [j for j in self.open if not self._quiet_found[j] and not self.weak[j]]
        self.frames = frames_of(self.pair, self.base, self.fits, waiting, ~self._quiet_trained)
        if self.frames.order or self.frames.layout or self.frames.stride != 1:
            self.base, self.late = self.frames.base, self.frames.late
            self.fits[:] = [None] * len(self.fits)
            self._equal()
        used = {fit.source for fit in self.fits if fit is not None}
        by_place = sorted(self.frames.held.items(), key=lambda one: (one[1][:1] != [(self.base[one[0]], 0)], one[0]))
        for j, places in by_place:
            self._hold(j, [one for one in places if one[0] not in used])
            used |= {fit.source for fit in [self.fits[j]] if fit is not None}
        self._asked = set(self.frames.held)

    def _hold(self, j: int, places: Iterable[tuple[int, int]]) -> None:
        """Gives an element the column, of these with their delays, of which the least is to be said."""
        if self.fits[j] is None:
            columns = ((column(self.pair, self.pair.trained, source), source, lag) for source, lag in places)
            tries = (fit_columns(self.pair, own, self.pair.found[:, j], source, lag) for own, source, lag in columns)
            held = [fit for fit in tries if fit is not None]
            self.fits[j] = min(held, key=lambda fit: fit.cost + _MOVED * (fit.source != self.base[j]), default=None)

    def others(self, sources: list[int], lags: Iterable[int]) -> None:
        """Explains elements of found by other sources than elements of trained.

        Args:
            sources: see `column`.
            lags: in the order in which they are tried.
        """
        pair = self.pair
        if not sources:
            return
        values = np.stack([column(pair, pair.trained, number) for number in sources], axis=1)
        for lag in lags:
            rows = pair.sample(lag)
            rows = rows[rows - lag > 0]
            asked = self._asked if sources[0] < 2 * pair.trained.shape[1] else set()
            waiting = [j for j in self.open if j not in asked]
            if len(rows) < 8 or not waiting:
                continue
            maybe = likely(values[rows - lag], pair.found[rows][:, waiting], pair.judge)
            for at, j in enumerate(waiting):
                near = sorted(np.flatnonzero(maybe[at]), key=lambda k: abs(sources[k] % pair.trained.shape[1] - j))
                fits = (fit_columns(pair, values[:, k], pair.found[:, j], sources[k], lag) for k in near[:_MOST_FITS])
                self.fits[j] = next((fit for fit in fits if fit is not None), None)

    def reuse(self, known: set[int]) -> None:
        """Elements of trained that stand in several places of found."""
        for j in [j for j in self.open if j not in known]:
            self._hold(j, self.frames.held.get(j, ()))
        everything = list(range(self.pair.trained.shape[1]))
        for lag in (0, *LAGS):
            waiting = [j for j in self._unasked() if j not in known]
            if not waiting:
                return
            for j, fits in self._candidates(waiting, everything, lag).items():
                if fits:
                    self.fits[j] = min(fits.values(), key=lambda fit: (fit.cost, abs(fit.source - self.base[j])))

    def _equal(self) -> None:
        for j, i in enumerate(self.base):
            own = self.pair.trained[:, i]
            if i >= 0 and self.late[j]:
                self.fits[j] = checked(self.pair, Fit(int(i), int(self.late[j])), own, self.pair.found[:, j])
            elif i >= 0:
                self.fits[j] = is_equal(self.pair, own, self.pair.found[:, j], int(i))

    def _candidates(self, found: Iterable[int], trained: Iterable[int], lag: int) -> dict[int, dict[int, Fit]]:
        """By element of found and element of trained: the fits that hold."""
        pair = self.pair
        rows = pair.sample(lag)
        moving_f = [j for j in found if not self._quiet_found[j]]
        bases = {int(self.base[j]) for j in moving_f}
        moving_t = [
            i for i in trained if not self._quiet_trained[i] or (i in bases and np.ptp(pair.trained[:, i]) > 0.0)
        ]
        fits: dict[int, dict[int, Fit]] = {j: {} for j in found}
        if moving_f and moving_t and len(rows) >= 8:
            maybe = likely(pair.trained[rows - lag][:, moving_t], pair.found[rows][:, moving_f], pair.judge)
            for at, j in enumerate(moving_f):
                near = sorted((moving_t[k] for k in np.flatnonzero(maybe[at])), key=lambda i: abs(i - self.base[j]))
                for i in near[:_MOST_FITS]:
                    fit = fit_columns(pair, pair.trained[:, i], pair.found[:, j], i, lag)
                    # So near to the noise, much would fit: elsewhere, only what needs no factor.
                    if fit is not None and (i == self.base[j] or fit.plain or not self.weak[j]):
                        fits[j][i] = fit
        if lag == 0:
            for j in fits.keys() - set(moving_f):
                self._quiet_fits(j, [i for i in trained if self._quiet_trained[i]], fits[j])
        return fits

    def _quiet_fits(self, j: int, trained: list[int], fits: dict[int, Fit]) -> None:
        """Elements that do not move: the same value elsewhere, or another one in place."""
        y = self.pair.found[:, j]
        for i in trained:
            x = self.pair.trained[:, i]
            fit = is_equal(self.pair, x, y, i)
            if fit is not None:  # what does not move is as late as its frame
                fits[i] = checked(self.pair, replace(fit, lag=int(self.late[j])), x, y) or fit

    def follow(self) -> None:
        """Elements that hardly move, or are cut nearly always, tell no factor: they have that of another element.

        Or else, in place, an offset.
        """
        shared = Counter(
            (fit.gain, fit.lag - int(self.late[j]))
            for j, fit in enumerate(self.fits)
            if fit is not None and fit.bias == 0.0
        )
        for j in self.open:
            i = int(self.base[j])
            if i < 0:
                continue
            near = {k: fit for k in range(max(0, j - 1), min(j + 2, len(self.fits))) if (fit := self.fits[k])}
            tries = [replace(fit, source=i, lag=self._here(j, fit, k), starts=0) for k, fit in near.items() if fit.cut]
            if self.weak[j] or self._quiet_trained[i]:
                beside = [(fit.gain, fit.lag - int(self.late[k])) for k, fit in near.items() if fit.bias == 0.0]
                usual = dict.fromkeys(beside + [one for one, _ in shared.most_common()])
                tries += [Fit(i, lag=lag + int(self.late[j]), gain=gain) for gain, lag in usual if gain != 1.0 or lag]
            if self._quiet_found[j] and self._quiet_trained[i]:
                bias = float(np.mean(self.pair.found[:, j] - self.pair.trained[:, i]))
                tries += [Fit(i, bias=more) for more in (*rounded(bias, self.pair.judge.noise() / 4.0), bias)]
            held = (checked(self.pair, fit, self.pair.trained[:, i], self.pair.found[:, j]) for fit in tries)
            self.fits[j] = next((fit for fit in held if fit is not None), None)

    def _here(self, j: int, fit: Fit, k: int) -> int:
        """How late an element is that is as late as another is beside its frame."""
        return fit.lag - int(self.late[k]) + int(self.late[j])

    def share(self, turned: set[int]) -> None:
        """Factors that noise made each a little different are that of the neighbour that tells it best.

        Args:
            turned: elements of trained that are turned before.
        """
        pair = self.pair
        if pair.judge.tolerance is None:
            return
        size = pair.trained.shape[1]
        plain = {j: fit for j, fit in enumerate(self.fits) if fit is not None and fit.source < size and not fit.cut}
        told = {j: fit for j, fit in plain.items() if fit.source not in turned}
        large = (pair.trained**2).mean(axis=0)
        for j in sorted(told, key=lambda j: -large[told[j].source]):
            fit = told[j]
            if abs(fit.gain) == 1.0 and not fit.bias:
                continue
            own = pair.trained[:, fit.source], pair.found[:, j]
            near = [told[k] for k in range(j - _NEAR, j + _NEAR + 1) if k in told and k != j]
            gains = [one.gain for one in near if one.bias == 0.0 and abs(one.gain) != 1.0]
            if fit.bias:  # of what hardly moves, a factor is as good as an offset
                rows = pair.rows(fit.lag)
                x, y = own[0][rows - fit.lag], own[1][rows]
                through = float(x @ y) / max(float(x @ x), 1e-300)
                gains = [through] * any(math.isclose(through, gain, rel_tol=_ALIKE) for gain in gains)
            else:
                better = [one for one in near if large[one.source] > large[fit.source] and one.bias == 0.0]
                gains = [one.gain for one in better if math.isclose(one.gain, fit.gain, rel_tol=_ALIKE)]
            tries = (as_well(pair, fit, replace(fit, gain=gain, bias=0.0), *own) for gain in gains)
            told[j] = next((one for one in tries if one is not None), fit)
            self.fits[j] = told[j]

    def _in_place(self, j: int, lag: int) -> Fit | None:
        i = int(self.base[j])
        if i < 0 or self._quiet_found[j] or self._quiet_trained[i]:
            return None
        return fit_columns(self.pair, self.pair.trained[:, i], self.pair.found[:, j], i, lag)

    def _lags_in_place(self, now: dict[int, dict[int, Fit]]) -> None:
        """Elements that are late.

        In a history a late element is also what stands a frame away; so those that can be nothing else say which lags
        there are.
        """
        waiting = [j for j in now if self.base[j] >= 0 and self.base[j] not in now[j]]
        late: dict[int, dict[int, Fit]] = {j: {} for j in waiting}
        for lag in LAGS:
            rows = self.pair.sample(lag)
            if len(rows) < 8:
                continue
            for j in waiting:
                if self._quick(j, lag, rows):
                    fit = self._in_place(j, lag)
                    if fit is not None:
                        late[j][lag] = fit
        forced = {j for j in waiting if late[j] and not now[j]}
        while forced:
            votes = Counter(lag for j in forced for lag in late[j])
            lag = max(votes, key=lambda lag: (votes[lag], -LAGS.index(lag)))
            for j in waiting:
                if lag in late[j] and self.fits[j] is None:
                    self.fits[j] = late[j][lag]
                    now.pop(j, None)
            forced = {j for j in forced if self.fits[j] is None}

    def _quick(self, j: int, lag: int, rows: NDArray[np.int64]) -> bool:
        """Whether a lag in place is worth a look: of sampled rows alone."""
        i = int(self.base[j])
        if self._quiet_found[j] or self._quiet_trained[i]:
            return False
        return bool(likely(self.pair.trained[rows - lag, i : i + 1], self.pair.found[rows, j : j + 1], self.pair.judge))

    def _assign(self, candidates: dict[int, dict[int, Fit]]) -> None:
        """Gives each element of found an element of trained that no other has."""
        waiting = [j for j in candidates if self.fits[j] is None and candidates[j]]
        used = {fit.source for fit in self.fits if fit is not None}
        sources = sorted({i for j in waiting for i in candidates[j]} - used)
        if not waiting or not sources:
            return
        at = {i: k for k, i in enumerate(sources)}
        cost = np.full((len(waiting), len(sources) + len(waiting)), _NOTHING)
        for row, j in enumerate(waiting):
            for i, fit in candidates[j].items():
                if i in at:
                    cost[row, at[i]] = fit.cost + _MOVED * (i != self.base[j]) + 0.2 * bool(fit.starts)
        chosen = self._chosen(waiting, sources, cost)
        cost -= self._bonus(waiting, sources, candidates, chosen)
        for j, i in self._chosen(waiting, sources, cost).items():
            self.fits[j] = candidates[j][i]

    def _chosen(self, waiting: list[int], sources: list[int], cost: Doubles) -> dict[int, int]:
        columns = assign(cost)
        return {
            j: sources[columns[row]]
            for row, j in enumerate(waiting)
            if columns[row] < len(sources) and cost[row, columns[row]] < _NOTHING - _MOVED
        }

    def _bonus(
        self, waiting: list[int], sources: list[int], candidates: dict[int, dict[int, Fit]], chosen: dict[int, int]
    ) -> Doubles:
        """What others do too is likelier: the same shift as a neighbour, the same factor as many."""
        bonus = np.zeros((len(waiting), len(sources) + len(waiting)))
        gains = Counter(candidates[j][i].gain for j, i in chosen.items())
        at = {i: k for k, i in enumerate(sources)}
        for row, j in enumerate(waiting):
            for i, fit in candidates[j].items():
                if i not in at:
                    continue
                beside = sum(chosen.get(j + step, -1) == i + step for step in (-2, -1, 1, 2))
                bonus[row, at[i]] = 0.05 * beside + (0.2 if gains[fit.gain] > 2 else 0.0)
        return bonus


def quiet(pair: Pair, values: Doubles, times: float = 2.0) -> NDArray[np.bool_]:
    """Columns that do not move more than what counts as equal, or some times the noise."""
    settled = values[pair.settled]
    spread = settled.std(axis=0)
    large = np.abs(values).max(axis=0)
    judge = pair.judge
    rounding = judge.rounding(0.0) + (judge.rounding(1.0) - judge.rounding(0.0)) * large
    quiet_: NDArray[np.bool_] = spread <= 0.5 * rounding + times * judge.noise()
    return quiet_
