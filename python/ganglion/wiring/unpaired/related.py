"""How far the relations between elements of a log are from those of a profile, under an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.observation_profile.regression import columns_at
from ganglion.observation_profile.relations import ACTION_LAGS, NONE, STEPS, steps_inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.observation_profile.relations import Columns, Relations
    from ganglion.wiring.unpaired.distance import Explanation

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

_FLOOR_LEVEL = 0.02
"""In spreads of the element."""

_FLOOR_LEVEL_LEFT = 0.1
"""In what is left."""

_FLOOR_SLOPE = 0.03
_FLOOR_LEFT = 0.12
"""Of the logarithm."""

_EXACT = 0.02
"""In spreads: what is left of a relation is not looked at more closely."""

_LOOSE = 1.5
"""A run differs by more than pieces of the recording do, which the relation was fitted to."""

_BOUND = 5.0
_FEWEST_ROWS = 64
_FEW_ELEMENTS = 200
"""Of more, delays of one step alone are looked at."""

_STILL = 0.05
"""In spreads of the element, and of what is told."""

_LESS = 0.5
"""A log with less than this share of the movement tells no slope."""


class Related:
    """The relations of a profile in a log.

    Args:
        relations: of the profile.
        columns: what they are made of.
        spread: `[n]`, of the profile.
        values: `[N, n]`, the log.
        action: `[N, m]`, or None.
        episode: `[N]`, which episode each step is of.
        longest: a delay of so many steps is looked at.
    """

    def __init__(
        self,
        relations: Relations,
        columns: Columns,
        spread: NDArray[np.floating],
        values: Doubles,
        action: Doubles | None,
        episode: Integers,
        longest: int,
    ) -> None:
        self.relations, self.columns = relations, columns
        self.longest = longest if columns.size <= _FEW_ELEMENTS else 1
        now = steps_inside(episode, STEPS[-1] + self.longest)
        self.enough = len(now) >= _FEWEST_ROWS
        if not self.enough:
            return
        parts = [columns_at(values, action, now, columns)]
        parts += [values[now + STEPS[-1] + late] for late in range(1, self.longest + 1)]
        made = np.concatenate(parts, axis=1)
        if action is None:
            # Actions that are not known have no columns, and relations with them are not told.
            begin = len(STEPS) * columns.size
            blank = np.zeros((len(made), len(ACTION_LAGS) * columns.actions))
            made = np.concatenate([made[:, :begin], blank, made[:, begin:]], axis=1)
        self.mean = made.mean(0)
        made -= self.mean
        self.covariance = made.T @ made / len(made)
        self._products = {one: place for place, one in enumerate(columns.products)}
        self.of = relations.of.astype(np.int64)
        there = relations.columns != NONE
        begin, end = len(STEPS) * columns.size, columns.count - len(columns.products)
        self._terms = np.where(there, relations.columns, 0).astype(np.int64)
        self._there = there
        acts = there & (self._terms >= begin) & (self._terms < end)
        self._usable = np.ones(len(self.of), np.bool_) if action is not None else ~acts.any(1)
        self._weights = np.where(there, relations.coefficients, 0.0).astype(np.float64)
        self.spread = np.maximum(spread[self.of].astype(np.float64), 1e-12)
        loose = _LOOSE * relations.mean_deviation.astype(np.float64)
        self._level = np.sqrt(
            loose**2 + (_FLOOR_LEVEL * self.spread) ** 2 + (_FLOOR_LEVEL_LEFT * relations.residual) ** 2
        )
        self._slope = np.sqrt((_LOOSE * relations.slope_deviation.astype(np.float64)) ** 2 + _FLOOR_SLOPE**2)
        self._left = np.sqrt((_LOOSE * relations.residual_deviation.astype(np.float64)) ** 2 + _FLOOR_LEFT**2)
        self._floor = _EXACT * self.spread

    def distances(self, explanation: Explanation) -> Doubles:
        """`[P]`: the distance of each relation; NaN where the explanation leaves nothing to look at."""
        return self._distance(*self._whole(explanation))

    def levels(self, explanation: Explanation) -> tuple[Doubles, Doubles]:
        """`[P]` each: by how much elements are above what their relations say, and what that may vary by."""
        return self._whole(explanation)[0], self._level

    def slopes(self, explanation: Explanation) -> tuple[Doubles, Doubles]:
        """`[P]` each: the slope of elements over what their relations say, and what that may vary by."""
        _, told, common, _ = self._whole(explanation)
        return common / np.maximum(told, 1e-12), self._slope

    def _whole(self, explanation: Explanation) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        to, scale, shift = self._mapped(explanation)
        target = self.columns.size + self.of
        level, told, common, seen = self._moments(to, scale, shift, to[target], scale[target], shift[target])
        return np.where(to[target] >= 0, level, np.nan), told, common, seen

    def in_place_of(self, explanation: Explanation, elements: Integers, slot: Integers, sign: float) -> Doubles:
        """`[len(elements), len(slot)]`: how far each of some elements is from the relations of each slot's element."""
        to, scale, shift = self._mapped(explanation)
        source = explanation.source[slot]
        rows = [np.flatnonzero(self.of == one) for one in source]
        used = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        made = np.zeros((len(elements), len(slot)))
        if not len(used):
            return made
        at = np.repeat(np.arange(len(slot)), [len(one) for one in rows])
        columns, known = to[self._terms[used]], np.where(self._there[used], to[self._terms[used]] >= 0, True).all(1)
        weights = self._weights[used] * np.where(self._there[used], scale[self._terms[used]], 0.0)
        constant = self.relations.intercept[used] + (self._weights[used] * shift[self._terms[used]]).sum(1)
        columns = np.where(columns < 0, 0, columns)
        told_level = constant + (weights * self.mean[columns]).sum(1)
        told = np.einsum("pk,pkl,pl->p", weights, self.covariance[columns[:, :, None], columns[:, None, :]], weights)
        n = self.columns.size
        factor = 1.0 / (sign * explanation.factor[slot[at]])
        offset = -explanation.offset[slot[at]] * factor
        common = np.einsum("epk,pk->ep", self.covariance[(n + elements)[:, None, None], columns[None]], weights)
        level = self.mean[n + elements][:, None] * factor + offset - told_level
        seen = self.covariance[n + elements, n + elements][:, None] * factor**2
        # An element that is told by itself, under another name, tells nothing.
        itself = np.asarray(np.equal(columns[None], (n + elements)[:, None, None]), np.bool_).any(2)
        far = self._distance(level, told[None], common * factor, seen, used)
        far = np.where(np.asarray(known, np.bool_)[None] & ~itself & np.isfinite(far), far, 0.0)
        for place in range(len(slot)):
            made[:, place] = far[:, at == place].sum(1)
        return made

    def alone(self, base: Explanation, moved: Explanation, elements: Integers) -> Doubles:
        """`[len(elements)]`: how far each is from its relations, where it alone moves and all else stays."""
        to, scale, shift = self._mapped(base)
        source = moved.source[elements]
        rows = [np.flatnonzero(self.of == one) for one in source]
        used = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        at = np.repeat(np.arange(len(elements)), [len(one) for one in rows])
        place = self.columns.size + elements[at]
        factor = 1.0 / moved.factor[elements[at]]
        level, told, common, seen = self._moments(
            to, scale, shift, place, factor, -moved.offset[elements[at]] * factor, used
        )
        far = self._distance(level, told, common, seen, used)
        return np.asarray(np.bincount(at, np.where(np.isfinite(far), far, 0.0), len(elements)), np.float64)

    def made_of(self) -> NDArray[np.bool_]:
        """`[P, n]`: which elements each relation is made of, those of its products, too."""
        n, columns = self.columns.size, self.columns
        inside = np.zeros((columns.count, n), np.bool_)
        for step in range(len(STEPS)):
            inside[np.arange(step * n, (step + 1) * n), np.arange(n)] = True
        begin = columns.count - len(self._products)
        for (a, b, _), place in self._products.items():
            inside[begin + place, [a, b]] = True
        return np.asarray((inside[self._terms] & self._there[:, :, None]).any(1), np.bool_)

    def influence(self, explanation: Explanation) -> Doubles:
        """`[P, n]`: how the level of each relation answers to an offset of each element of found."""
        n = self.columns.size
        made = np.zeros((len(self.of), n))
        rows = np.arange(len(self.of))
        for k in range(self._terms.shape[1]):
            inside = self._there[:, k] & (self._terms[:, k] < len(STEPS) * n)
            np.add.at(made, (rows[inside], self._terms[inside, k] % n), -self._weights[inside, k])
        np.add.at(made, (rows, self.of), 1.0)
        found = np.empty_like(made)
        found[:, np.arange(n)] = made[:, explanation.source] / explanation.factor
        return found

    def _mapped(self, explanation: Explanation) -> tuple[Integers, Doubles, Doubles]:
        """Of each column of the profile: the column of the log that holds it, -1 for none, a factor and a constant."""
        columns, n = self.columns, self.columns.size
        where = np.full(n, -1)
        where[explanation.source] = np.arange(n)
        held = np.maximum(where, 0)
        lag = explanation.lag[held]
        scale = 1.0 / explanation.factor[held]
        shift = -explanation.offset[held] * scale
        good = (where >= 0) & (lag >= 0) & (lag <= self.longest)
        to, scales, shifts = [], [], []
        for number in range(len(STEPS)):
            step = number + lag
            beyond = columns.count + (step - len(STEPS)) * n + held
            to.append(np.where(good, np.where(step < len(STEPS), step * n + held, beyond), -1))
            scales.append(scale)
            shifts.append(shift)
        acts = len(ACTION_LAGS) * columns.actions
        to.append(np.arange(len(STEPS) * n, len(STEPS) * n + acts))
        scales.append(np.ones(acts))
        shifts.append(np.zeros(acts))
        if columns.groups:
            products = [self._product(a, b, turns, where, scale, shift, lag) for a, b, turns in columns.products]
            to.append(np.array([place for place, _ in products], np.int64))
            scales.append(np.array([factor for _, factor in products]))
            shifts.append(np.zeros(len(products)))
        return np.concatenate(to).astype(np.int64), np.concatenate(scales), np.concatenate(shifts)

    def _product(
        self, a: int, b: int, turns: bool, where: Integers, scale: Doubles, shift: Doubles, lag: Integers
    ) -> tuple[int, float]:
        one, other = int(where[a]), int(where[b])
        begin = self.columns.count - len(self._products)
        straight, turned = self._products.get((one, other, turns)), self._products.get((other, one, turns))
        if shift[a] or shift[b] or lag[a] or lag[b] or (straight is None and turned is None):
            return -1, 0.0
        if straight is not None:
            return begin + straight, scale[a] * scale[b]
        assert turned is not None
        return begin + turned, scale[a] * scale[b] * (-1.0 if turns else 1.0)

    def _moments(
        self,
        to: Integers,
        scale: Doubles,
        shift: Doubles,
        place: Integers,
        factor: Doubles,
        offset: Doubles,
        rows: Integers | slice = slice(None),
    ) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Level of what is left, variance of what is told, its covariance with the element, variance of that.

        Args:
            to: where the columns of the profile are, with
            scale: and
            shift: from `_mapped`.
            place: `[P]`, the column of the log that holds what is told.
            factor: `[P]`, and
            offset: `[P]`, of it.
            rows: of which relations.
        """
        terms, there = self._terms[rows], self._there[rows]
        columns = to[terms]
        known = np.where(there, columns >= 0, True).all(1) & self._usable[rows]
        columns, place = np.maximum(columns, 0), np.maximum(place, 0)
        weights = self._weights[rows] * np.where(there, scale[terms], 0.0)
        constant = self.relations.intercept[rows] + (self._weights[rows] * shift[terms]).sum(1)
        told_level = constant + (weights * self.mean[columns]).sum(1)
        told = np.einsum("pk,pkl,pl->p", weights, self.covariance[columns[:, :, None], columns[:, None, :]], weights)
        common = factor * np.einsum("pk,pk->p", self.covariance[place[:, None], columns], weights)
        seen = factor**2 * self.covariance[place, place]
        level = factor * self.mean[place] + offset - told_level
        return np.where(known, level, np.nan), told, common, seen

    def _distance(
        self, level: Doubles, told: Doubles, common: Doubles, seen: Doubles, rows: Integers | slice = slice(None)
    ) -> Doubles:
        relations = self.relations
        total = _bounded(level / self._level[rows])
        share = told / np.maximum(relations.told[rows].astype(np.float64) ** 2, 1e-12)
        slope = (common / np.maximum(told, 1e-12) - 1.0) / self._slope[rows]
        total = total + np.where(share > _LESS**2, _bounded(slope * np.minimum(1.0, np.sqrt(share))), 0.0)
        left = np.sqrt(np.maximum(seen - 2.0 * common + told, 0.0) + self._floor[rows] ** 2)
        before = np.sqrt(relations.residual[rows].astype(np.float64) ** 2 + self._floor[rows] ** 2)
        ratio = np.log(left / before) / self._left[rows]
        # A calmer run leaves less.
        total = total + _bounded(np.where(ratio < 0.0, 0.5 * ratio, ratio))
        # What stands still, or is told by what does, says nothing.
        moves = (seen > (_STILL * self.spread[rows]) ** 2) & (share > _STILL**2)
        return np.asarray(np.where(moves | np.isnan(total), total, 0.0), np.float64)


def _bounded(far: Doubles) -> Doubles:
    square = far * far
    return np.asarray(0.5 * square / (1.0 + square / (_BOUND * _BOUND)))
