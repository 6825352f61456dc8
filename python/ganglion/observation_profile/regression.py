"""Relations of recorded observations, by orthogonal matching pursuit (Pati et al., 1993)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ganglion.observation_profile.relations import (
    ACTION_LAGS,
    MOST_RELATIONS,
    NONE,
    STEPS,
    Columns,
    Relations,
    products_at,
    steps_inside,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

TERMS = 12
_PICKS = 7
"""Columns, or differences of one that count as two, that a relation takes at most."""

_MOST_ROWS = 12_000
"""More steps say little more, and take memory."""

_FEWEST_ROWS = 64
_PIECES = 6
_RIDGE = 1e-5
_LEAST_PICK = 0.01
"""Of what is left, a further term has to explain at least this share."""

_LEAST_TOLD = 0.1
"""A relation that explains a smaller share of the variance is none."""

_SAME = 0.95
"""Elements that go together so much are one thing said twice, as frames of a history are."""


def relations_of(
    values: Doubles, actions: Doubles | None, episode: Integers, spread: Doubles, columns: Columns
) -> Relations | None:
    """Up to three relations of each element: with the actions alone, with other elements, and with anything.

    Args:
        values: `[N, n]`.
        actions: `[N, m]`, or None.
        episode: `[N]`, which episode each step is of.
        spread: `[n]`, 0 of a constant.
        columns: what relations may be made of.
    """
    now = steps_inside(episode)
    if len(now) < _FEWEST_ROWS:
        return None
    if len(now) > _MOST_ROWS:
        now = now[np.linspace(0, len(now) - 1, _MOST_ROWS).astype(np.int64)]
    made = columns_at(values, actions, now, columns)
    mean, size = made.mean(0), made.std(0)
    size[size <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 0.0
    made -= mean
    made /= np.where(size > 0.0, size, 1.0)
    made[:, size <= 0.0] = 0.0
    covariance = made.T @ made / len(made)
    chosen = _chosen(covariance, size, spread, columns)
    if not chosen:
        return None
    return _relations(made, mean, size, chosen, columns)


def columns_at(values: Doubles, actions: Doubles | None, now: Integers, columns: Columns) -> Doubles:
    """`[len(now), columns.count]`: the columns in some steps."""
    parts = [values[now + step] for step in STEPS]
    if actions is not None and columns.actions:
        parts += [actions[now - lag] for lag in ACTION_LAGS]
    parts.append(products_at(values, now, columns.products))
    return np.concatenate(parts, axis=1)


Choice = tuple[int, list[int], "Doubles"]
"""Element, columns, and coefficients of the standardised columns."""


def _chosen(covariance: Doubles, size: Doubles, spread: Doubles, columns: Columns) -> list[Choice]:
    n, begin = columns.size, len(STEPS) * columns.size
    end = begin + len(ACTION_LAGS) * columns.actions
    moves = np.flatnonzero((spread > 0.0) & (size[n : 2 * n] > 0.0))
    # A derivative is a small difference of two columns that are each by themselves hardly like it.
    before, after = covariance[:n], covariance[2 * n : begin]
    ratio = np.where(size[:n] > 0.0, size[2 * n : begin] / np.where(size[:n] > 0.0, size[:n], 1.0), 0.0)[:, None]
    differences = after * ratio - before
    diagonal = np.arange(n)
    own = ratio[:, 0] * differences[diagonal, 2 * n + diagonal] - differences[diagonal, diagonal]
    pursuit = _Pursuit(covariance, differences, own, ratio[:, 0], size > 0.0)
    now = covariance[n : 2 * n]
    alike = np.maximum.reduce([np.abs(now[:, step * n : (step + 1) * n]) for step in range(len(STEPS))]) > _SAME
    chosen: list[Choice] = []
    for element in moves:
        target = n + int(element)
        is_action = np.zeros(columns.count, np.bool_)
        is_action[begin:end] = True
        family = alike[element] | (np.arange(n) == element)
        others = ~np.concatenate([np.tile(family, len(STEPS)), np.zeros(columns.count - begin, np.bool_)])
        everything = np.ones(columns.count, np.bool_)
        everything[target] = False
        for allowed in (is_action, others & ~_own_products(columns, int(element)), everything):
            found = pursuit(target, allowed)
            if found is not None and not any(found[1] == one[1] and one[0] == element for one in chosen[-2:]):
                chosen.append((int(element), found[1], found[2]))
    return chosen[:MOST_RELATIONS]


def _own_products(columns: Columns, element: int) -> NDArray[np.bool_]:
    inside = np.zeros(columns.count, np.bool_)
    products = columns.products
    inside[columns.count - len(products) :] = [element in (a, b) for a, b, _ in products]
    return inside


class _Pursuit:
    """Chooses columns one after the other, each time the one that is most like what is left."""

    def __init__(
        self, covariance: Doubles, differences: Doubles, own: Doubles, ratio: Doubles, moves: NDArray[np.bool_]
    ) -> None:
        self.covariance, self.ratio, self.moves = covariance, ratio, moves
        self.n = len(differences)
        self.difference_size = np.sqrt(np.maximum(own, 0.0))
        self.differences = differences / np.where(self.difference_size > 1e-6, self.difference_size, 1.0)[:, None]

    def __call__(self, target: int, allowed: NDArray[np.bool_]) -> tuple[int, list[int], Doubles] | None:
        n = self.n
        allowed = allowed & self.moves
        pairs = allowed[:n] & allowed[2 * n : 3 * n] & (self.difference_size > 1e-6)
        column = self.covariance[:, target]
        gaps = self.differences[:, target]
        chosen: list[int] = []
        weights: Doubles = np.zeros(0)
        left, gaps_left, variance = column, gaps, 1.0
        for _ in range(_PICKS):
            single = np.where(allowed, np.abs(left), 0.0)
            single[chosen] = 0.0
            double = np.where(pairs, np.abs(gaps_left), 0.0)
            best, pair = int(single.argmax()), int(double.argmax())
            if max(single[best], double[pair]) <= 0.0:
                break
            picked = [best] if single[best] >= double[pair] else [pair, 2 * n + pair]
            tried = list(dict.fromkeys([*chosen, *picked]))
            if len(tried) == len(chosen) or len(tried) > TERMS:
                break
            inner = self.covariance[np.ix_(tried, tried)] + _RIDGE * np.eye(len(tried))
            solved = np.linalg.solve(inner, column[tried])
            now = max(0.0, 1.0 - float(solved @ column[tried]))
            if variance - now < _LEAST_PICK * variance or variance < 1e-6:
                break
            chosen, weights, variance = tried, np.asarray(solved, np.float64), now
            left = column - self.covariance[:, chosen] @ weights
            gaps_left = gaps - self.differences[:, chosen] @ weights
        return None if variance > 1.0 - _LEAST_TOLD else (target, chosen, weights)


def _relations(made: Doubles, mean: Doubles, size: Doubles, chosen: list[Choice], columns: Columns) -> Relations:
    terms, count = TERMS, len(chosen)
    of = np.array([element for element, _, _ in chosen], np.int64)
    target = columns.size + of
    weights = np.zeros((columns.count, count))
    places = np.full((count, terms), NONE, np.int64)
    coefficients = np.zeros((count, terms))
    for row, (_, picked, solved) in enumerate(chosen):
        weights[picked, row] = solved
        places[row, : len(picked)] = picked
        coefficients[row, : len(picked)] = solved * size[target[row]] / size[picked]
    known = places != NONE
    intercept = mean[target] - np.where(known, coefficients * mean[np.where(known, places, 0)], 0.0).sum(1)
    said, seen = made @ weights, made[:, target]
    residual = (seen - said).std(0)
    cuts = np.linspace(0, len(made), _PIECES + 1).astype(np.int64)
    apart = np.zeros((3, count))
    for begin, end in pairwise(cuts):
        rest, told = seen[begin:end] - said[begin:end], said[begin:end]
        level, centre = rest.mean(0), told.mean(0)
        slope = ((rest - level) * (told - centre)).mean(0) / np.maximum(told.var(0), 1e-12)
        apart += np.stack([level, slope, np.log(np.maximum(rest.std(0), 1e-4) / np.maximum(residual, 1e-4))]) ** 2
    mean_apart, slope_apart, residual_apart = np.sqrt(apart / _PIECES)
    scale = size[target]
    single = [
        np.asarray(one, np.float32)
        for one in (
            *(coefficients, intercept, residual * scale, said.std(0) * scale),
            *(mean_apart * scale, np.minimum(slope_apart, 1e6), residual_apart),
        )
    ]
    return Relations(of.astype(np.uint16), places.astype(np.uint16), *single)
