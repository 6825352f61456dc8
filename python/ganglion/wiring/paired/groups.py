"""Explains elements that belong together: quaternions that change their sign, vectors that are turned."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.wiring.correction import Turn
from ganglion.wiring.paired.fit import Fit, checked, fit_columns
from ganglion.wiring.paired.known import near
from ganglion.wiring.paired.model import Cover, TurnedGroup
from ganglion.wiring.paired.rotations import as_rotation, columns_alone, least_squares, nearest_rotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.wiring.paired.frames import Frames
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]

_LAGS = (0, 1, 2, 3, -1)
_POWERS = (1, -1, 2, -2)
_ORDERS = ((0, 1, 2, 3), (3, 0, 1, 2))
"""Where w, x, y, z stand: w first or last."""
_FEWEST = 8
_MOST_PLACES, _MOST_LAGS = 8, 3
_FIRST_LOOK, _LOOSE = 80, 1.3
"""Of so many rows noise may be larger than of all."""


class GroupSearch:
    """Looks for groups among what single elements did not explain.

    Args:
        pair: both recordings.
        frames: how found lays histories out.
        fits: `[m]`: what is known of single elements; changed where a group explains more.
        weak: `[m]`: elements of found that are so near to the noise that much would fit.

    Attributes:
        turns: what was found, as `AdapterModel.turns`.
        covers: as `AdapterModel.covers`.
    """

    def __init__(self, pair: Pair, frames: Frames, fits: list[Fit | None], weak: NDArray[np.bool_]) -> None:
        self.pair, self.frames, self.base, self.fits, self.weak = pair, frames, frames.base, fits, weak
        self.turns: list[TurnedGroup] = []
        self.covers: list[Cover] = []
        self._rows = pair.sample(0)
        self.quaternions = [i for i in range(pair.trained.shape[1] - 3) if self._is_unit(pair.trained, i, 4)]
        self._known_lengths: dict[tuple[int, int], Doubles] = {}

    def run(self) -> None:
        """Quaternions first: their sign is the smallest change."""
        for j in range(len(self.fits) - 3):
            if any(fit is None or fit.starts for fit in self.fits[j : j + 4]):
                self._cover(j)
        for rank in (2, 1):  # a vector that moves in one direction alone takes a rotation of others before its own
            for j in self._windows(3):
                self._turned(j, 3, rank)
        for j in self._windows(4):
            self._turned(j, 4, 3)
        for j in self._windows(3):
            self._unknown(j)

    def _open(self, j: int, size: int) -> int:
        return sum(fit is None for fit in self.fits[j : j + size])

    def _windows(self, size: int) -> Iterator[int]:
        """Groups of neighbours in found with two or more that nothing explains, the most first."""
        starts = [j for j in range(len(self.fits) - size + 1) if self._open(j, size) >= 2]
        order = sorted(starts, key=lambda j: (-self._open(j, size), not self._constant_norm(j, size)))
        for j in order:
            base = self.base[j : j + size]
            still = not np.ptp(self.pair.found[:, j : j + size], axis=0).any()
            noisy = self.weak[j : j + size].all() and self.pair.judge.tolerance is not None and not still
            if noisy and not self._constant_norm(j, size):
                continue
            if self._open(j, size) >= 2 and base[0] >= 0 and (np.diff(base) == 1).all():
                yield j

    def _constant_norm(self, j: int, size: int) -> bool:
        i = int(self.base[j])
        if i < 0 or i + size > self.pair.trained.shape[1]:
            return False
        norm = self._norm(self.pair.trained[self._rows], i, size)
        return float(np.ptp(norm)) <= 1e-3 * float(norm.max(initial=0.0))

    def _norm(self, values: Doubles, at: int, size: int) -> Doubles:
        norm: Doubles = np.linalg.norm(values[:, at : at + size], axis=1)
        return norm

    def _is_unit(self, values: Doubles, at: int, size: int) -> bool:
        part = values[self._rows, at : at + size]
        allowed = 1e-4 + 6.0 * self.pair.judge.noise()
        off = np.abs(np.linalg.norm(part, axis=1) - 1.0)
        return bool(part.size and off.max() <= allowed and np.ptp(part, axis=0).max() > 4.0 * allowed)

    # -- quaternions

    def _lags(self, j: int) -> list[int]:
        """Delays that a group is tried with; in a history that is strided, beside that of its frame."""
        late = self.frames.late
        others = Counter(fit.lag - int(late[k]) for k, fit in enumerate(self.fits) if fit is not None)
        usual = [lag for lag, _ in others.most_common(_MOST_LAGS)]
        return [int(late[j]) + lag for lag in dict.fromkeys((0, *usual, *_LAGS))]

    def _quaternions_of(self, age: int) -> list[int]:
        """Those of a frame."""
        return [at for at in self.quaternions if int(self.frames.age[at : at + 4].max()) == age]

    def _cover(self, j: int) -> None:
        """Found = ±(trained in some order, conjugated or not), the sign by rows."""
        if self.base[j] < 0:
            return
        here = self._quaternions_of(int(self.frames.age[self.base[j]]))
        unit = self._is_unit(self.pair.found, j, 4)
        for i, lag in itertools.product(sorted(here, key=lambda i: abs(i - self.base[j])), self._lags(j)):
            if unit and self._covered(j, i, lag):
                return
            if not unit and i == self.base[j] and self._open(j, 4) >= 2 and self._rescaled(j, i, lag):
                return

    def _covered(self, j: int, i: int, lag: int) -> bool:
        pair = self.pair
        some_rows = pair.sample(lag)
        found, trained = pair.found[:, j : j + 4], pair.trained[:, i : i + 4]
        products = np.einsum("nk,nl->nkl", found[some_rows], trained[some_rows - lag])
        allowed = 1e-3 + 6.0 * pair.judge.noise()
        for order in sorted(itertools.permutations(range(4)), key=lambda order: _moved(order)):
            some = products[:, range(4), order]
            for signs in itertools.product((1.0, -1.0), repeat=3):
                sign = np.array((1.0, *signs))
                if len(some) < _FEWEST or abs(abs(some @ sign) - 1.0).max() > allowed:
                    continue
                rows = pair.rows(lag)
                expected = sign * trained[rows - lag][:, order]
                flip = np.where((found[rows] * expected).sum(axis=1) < 0.0, -1.0, 1.0)
                off = found[rows] - flip[:, None] * expected
                if not pair.judge.fits(off, 1.0):
                    continue
                early, flips = self._shown(found, sign * trained[:, order], lag)
                if self._open(j, 4) == 0 and (not flips.any() or early):
                    return False  # what is left behind a reset is no other sign
                if sign.sum() < 0.0:  # three of four: the other sign of all is the conjugate
                    sign, flips = -sign, ~flips
                for k in range(4):
                    worst = float(np.abs(off[:, k]).max())
                    self.fits[j + k] = Fit(i + order[k], lag, gain=float(sign[k]), residual=worst, starts=early)
                self.covers.append(Cover(tuple(range(j, j + 4)), int(flips.sum())))
                return True
        return False

    def _shown(self, found: Doubles, expected: Doubles, lag: int) -> tuple[int, NDArray[np.bool_]]:
        """Rows behind a reset that differ by more than a sign, and `[N]` whose sign is the other one."""
        before = np.arange(len(found)) - np.clip(lag, -self.pair.left, self.pair.since)
        flips: NDArray[np.bool_] = (found * expected[before]).sum(axis=1) < 0.0
        off = np.abs(found - np.where(flips, -1.0, 1.0)[:, None] * expected[before]).max(axis=1)
        bad = ~self.pair.settled & (off > self.pair.judge.worst(1.0))
        return (int(self.pair.since[bad].max()) + 1 if bad.any() else 0), flips

    def _rescaled(self, j: int, i: int, lag: int) -> bool:
        """Found = ±trained with a factor and an offset for each element; the sign by rows as adapters choose it."""
        trained = self.pair.trained[:, i : i + 4]
        orders = (*_ORDERS, (1, 2, 3, 0))
        for sign, order in itertools.product(_covers(trained, self.pair.begins), orders):
            fits = self._singly(j, i, lag, trained * sign[:, None], list(order), None)
            if fits is not None:
                self.fits[j : j + 4] = fits
                if (sign < 0.0).any():
                    self.covers.append(Cover(tuple(range(j, j + 4)), int((sign < 0.0).sum())))
                return True
        return False

    # -- turned vectors

    def _turned(self, j: int, size: int, rank: int) -> None:
        """Neighbours that are made of neighbours by a matrix, after or before the base's orientation."""
        if self._open(j, size) < 2:
            return
        lags, here = self._lags(j), int(self.base[j])
        places = [(lag, i) for lag in lags for i in self._places(j, size, lag)]
        for lag, i in sorted(places, key=lambda one: one[1] != here):
            moving = int((np.ptp(self.pair.trained[:, i : i + size], axis=0) > 0.0).sum())
            if moving < rank or (size == 4 and i not in self.quaternions):
                continue
            if (size == 3 and self._as_others(j, i, lag)) or self._by_matrix(j, i, size, lag):
                return
            if size != 3:
                continue
            oriented = self._quaternions_of(int(self.frames.age[i]))
            for at, order, power in itertools.product(oriented, _ORDERS, _POWERS):
                quaternion = tuple(at + k for k in order)
                if set(quaternion) & {i, i + 1, i + 2}:
                    continue
                if self._by_matrix(j, i, 3, lag, quaternion, power):
                    return

    def _places(self, j: int, size: int, lag: int) -> list[int]:
        """Where in trained the same vector may stand: in place, and wherever its length goes with that of found."""
        rows = self.pair.sample(lag)
        lengths = self._lengths(size, lag)
        norm = self._norm(self.pair.found[rows], j, size)
        square = np.maximum((lengths * lengths).sum(axis=0), 1e-300)
        off = np.abs(norm[:, None] - lengths * ((norm @ lengths) / square)).max(axis=0)
        near = np.flatnonzero(off <= 1e-3 * float(norm.max()) + 12.0 * self.pair.judge.noise())
        here = [int(self.base[j])] if 0 <= self.base[j] < lengths.shape[1] else []
        used = {fit.source for fit in self.fits if fit is not None}
        free = [i for i in near.tolist() if not used & set(range(i, i + size))]
        return list(dict.fromkeys(here + sorted(free, key=lambda i: abs(i - self.base[j]))))[:_MOST_PLACES]

    def _lengths(self, size: int, lag: int) -> Doubles:
        """Lengths of all groups of neighbours in trained, in some rows."""
        if (size, lag) not in self._known_lengths:
            rows = self.pair.sample(lag) - lag
            squares = self.pair.trained[rows] ** 2
            width = squares.shape[1] - size + 1
            self._known_lengths[size, lag] = np.sqrt(sum(squares[:, k : k + width] for k in range(size)))
        return self._known_lengths[size, lag]

    def _by_matrix(self, j: int, i: int, size: int, lag: int, quaternion: tuple[int, ...] = (), power: int = 0) -> bool:
        """Whether found[j:] is a matrix times trained[i:], turned by an orientation before where there is one."""
        pair = self.pair
        keep: NDArray[np.bool_] = ~np.any(pair.trained_cut[:, i : i + size], axis=1)
        rows = pair.rows(lag)
        rows = rows[keep[rows - lag]]
        whole = rows[~pair.found_cut[rows, j : j + size].any(axis=1)]
        if len(whole) < max(8, len(rows) // 20):
            return False
        few = whole[:: max(1, len(whole) // _FIRST_LOOK)]
        y = pair.found[:, j : j + size]
        x = self._source(i, size, quaternion, power, few - lag)
        solved = least_squares(x, y[few])
        if solved is None:
            return False
        matrix, bias = solved
        size_of = float(np.abs(y).max() + np.abs(pair.trained[:, i : i + size]).max() * np.abs(matrix).max())
        off = y[few] - x @ matrix.T - bias
        if not pair.judge.fits(off / _LOOSE, size_of, float(np.linalg.norm(matrix, axis=1).max())):
            return False
        source = self._source(i, size, quaternion, power, np.arange(len(pair.trained)))
        x = source[whole - lag]
        nearest = nearest_rotation(x, y[whole])
        if nearest is not None:
            gain = float(np.linalg.norm(nearest[0]))
            fits = pair.judge.fits(y[whole] - x @ nearest.T, float(np.abs(y).max()) * 2.0, gain)
            if fits and self._take(j, i, size, lag, quaternion, power, source, nearest, keep):
                return True
        solved = least_squares(x, y[whole])
        assert solved is not None
        return self._take(j, i, size, lag, quaternion, power, source, solved[0], keep)

    def _as_others(self, j: int, i: int, lag: int) -> bool:
        """Whether a rotation that was found holds here, too."""
        for group in self.turns:
            matrix = group.turn.matrix
            if not group.exact or matrix is None or len(matrix) != 3:
                continue
            keep: NDArray[np.bool_] = ~np.any(self.pair.trained_cut[:, i : i + 3], axis=1)
            source = self.pair.trained[:, i : i + 3] @ matrix.T
            fits = self._singly(j, i, lag, source, [0, 1, 2], keep)
            if fits is not None and all(fit.gain > 0.0 for fit in fits):
                elements, turn = tuple(range(j, j + 3)), Turn((i, i + 1, i + 2), matrix)
                self.turns.append(TurnedGroup(turn, elements, group.value, keep=keep))
                self.fits[j : j + 3] = fits
                return True
        return False

    def _source(self, i: int, size: int, quaternion: tuple[int, ...], power: int, rows: NDArray[np.int64]) -> Doubles:
        part = self.pair.trained[rows, i : i + size]
        if not quaternion:
            return part
        values = np.concatenate([self.pair.trained[rows][:, quaternion], part], axis=1)
        Turn((4, 5, 6), None, (0, 1, 2, 3), power).apply(values)
        return values[:, 4:]

    def _take(
        self,
        j: int,
        i: int,
        size: int,
        lag: int,
        quaternion: tuple[int, ...],
        power: int,
        source: Doubles,
        matrix: Doubles,
        keep: NDArray[np.bool_],
    ) -> bool:
        """Puts a matrix into words: an orientation, a fixed rotation, and what is done to single elements behind."""
        elements, places = tuple(range(j, j + size)), tuple(range(i, i + size))
        groups: list[TurnedGroup] = []
        if quaternion:
            kind = "world_for_body" if power > 0 else "body_for_world"
            value: dict[str, Any] = {"kind": kind, "quaternion": list(quaternion)}
            if abs(power) > 1:
                value["times"] = abs(power)
            groups.append(TurnedGroup(Turn(places, None, quaternion, power), elements, value, keep=keep))
            order = columns_alone(matrix)
            fits = None if order is None else self._singly(j, i, lag, source, order, keep)
            if fits is not None:
                self.turns += groups
                self.fits[j : j + size] = fits
                return True
        rotation = as_rotation(matrix)
        if rotation is None:
            return False
        fits = self._singly(j, i, lag, source @ rotation.T, list(range(size)), keep)
        if fits is None:
            return False
        value = {"kind": "fixed", "matrix": rotation.tolist()}
        groups.append(TurnedGroup(Turn(places, rotation), elements, value, keep=keep))
        self.turns += groups
        self.fits[j : j + size] = fits
        return True

    def _singly(
        self, j: int, i: int, lag: int, source: Doubles, order: list[int], keep: NDArray[np.bool_] | None
    ) -> list[Fit] | None:
        """What is done to single elements behind a turn, or None where that is not all."""
        fits: list[Fit] = []
        for k, place in enumerate(order):
            own, found = source[:, place], self.pair.found[:, j + k]
            fit = fit_columns(self.pair, own, found, i + place, lag, keep)
            if fit is None and np.ptp(own) == 0.0:  # it tells no factor
                tries = (Fit(i + place, lag, bias=bias) for bias in (0.0, float(np.mean(found) - own[0])))
                held = (checked(self.pair, one, own, found) for one in tries)
                fit = next((one for one in held if one is not None), None)
            if fit is None:
                return None
            fits.append(fit)
        return fits

    def _unknown(self, j: int) -> None:
        """Vectors of the same length that are turned differently in each row, with no orientation to say how."""
        for lag in self._lags(j):
            if self._open(j, 3) >= 2 and self._as_long(j, lag):
                return

    def _as_long(self, j: int, lag: int) -> bool:
        pair, rows = self.pair, self.pair.rows(lag)
        i = int(self.base[j])
        if i < 0 or i + 3 > pair.trained.shape[1] or len(rows) < _FEWEST:
            return False
        still = (np.ptp(pair.found[rows, j : j + 3], axis=0) <= 12.0 * pair.judge.allowed(1.0)).all()
        if not still:  # of a vector that a clip met nobody knows the length
            cut = pair.trained_cut[rows - lag, i : i + 3].any(axis=1) | pair.found_cut[rows, j : j + 3].any(axis=1)
            rows = rows[~cut]
            if len(rows) < 20:
                return False
        x, y = pair.trained[rows - lag, i : i + 3], pair.found[rows, j : j + 3]
        norm, other = np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1)
        gain = 1.0
        if not still and float(np.ptp(other)) > 0.1 * float(other.max()):
            gain = float(norm @ other) / float(other @ other)
            gain = next(iter(near(gain, 0.01)), gain)
        if not (norm.max() > 0.0 and gain and pair.judge.fits(norm - gain * other, float(norm.max()) * 4.0, 1.8)):
            return False
        kind, how = self._direction(gain * x, y, rows, lag)
        worst = float(np.abs(norm - gain * other).max())
        value = {"kind": kind, "quaternion": []} | how
        turn, elements = Turn((i, i + 1, i + 2), np.eye(3)), (j, j + 1, j + 2)
        self.turns.append(TurnedGroup(turn, elements, value, exact=False, residual=worst, gain=gain, lag=lag))
        self.fits[j : j + 3] = [None] * 3
        return True

    def _direction(self, x: Doubles, y: Doubles, rows: NDArray[np.int64], lag: int) -> tuple[str, dict[str, object]]:
        """Gravity in the body says how high the height axis stands in it: which of both vectors is in the world."""
        pair = self.pair
        if (np.ptp(y, axis=0) <= 12.0 * pair.judge.allowed(1.0)).all():
            return "world_for_body", {"known_by": "constant in found"}
        size = float(np.abs(y).max())
        for at in range(pair.trained.shape[1] - 2):
            down = pair.trained[rows - lag, at : at + 3]
            length = np.linalg.norm(down, axis=1)
            usual = float(length.mean())
            if usual <= 0.0 or float(np.ptp(length)) > 1e-3 * usual + 12.0 * pair.judge.noise():
                continue
            for kind, body, world in (("world_for_body", x, y), ("body_for_world", y, x)):
                height = (down * body).sum(axis=1) / usual
                for sign in (-1.0, 1.0):
                    if pair.judge.fits(world[:, 2] - sign * height, 4.0 * size, 2.0):
                        return kind, {"known_by": "gravity", "gravity": [at, at + 1, at + 2]}
        return "world_for_body", {"known_by": "length alone"}


def _moved(order: tuple[int, ...]) -> tuple[bool, bool]:
    """The order itself first, then w at the other end."""
    return order != (0, 1, 2, 3), order not in ((1, 2, 3, 0), (3, 0, 1, 2))


def _covers(quaternion: Doubles, begins: NDArray[np.bool_]) -> Iterator[Doubles]:
    """Signs by rows: w is not below 0, w first and last; or there is no jump inside of an episode."""
    for real in (0, 3):
        yield np.where(quaternion[:, real] < 0.0, -1.0, 1.0)
    turns = (quaternion[1:] * quaternion[:-1]).sum(axis=1) < 0.0
    steps = np.where(begins, 1.0, np.concatenate([[1.0], np.where(turns, -1.0, 1.0)]))
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    product: Doubles = np.cumprod(steps).astype(np.float64)
    for real in (0, 3):
        yield product * product[starts] * np.where(quaternion[starts, real] < 0.0, -1.0, 1.0)
