"""Linear relations between elements of neighbouring steps and the actions before them, as plain data.

A joint follows its actions, a velocity is the change of a position, gravity turns with the gyroscope: such relations
stay the same from run to run where means, spreads and correlations do not.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.observation_profile.encoding import FLOAT, PLACE, check_array, count, decoded, encoded, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

STEPS = (-1, 0, 1)
"""Of the elements that a relation may be made of: x[t - 1], x[t], x[t + 1]."""

ACTION_LAGS = (1, 2, 3)
"""Of the actions: a[t - 1], a[t - 2], a[t - 3]. That of the same step is the policy's answer, and no law of a robot."""

NONE = 65535
"""The column of a term that a relation does not have."""

MOST_RELATIONS = 2048
MOST_TERMS = 16


@dataclass(frozen=True)
class Columns:
    """What relations are made of, in this order: the elements of each of `STEPS`, the actions of each of `ACTION_LAGS`,
    then of each unit-norm group of three or four what it turns by, `x[a][t - 1] x[b][t + 1] - x[b][t - 1] x[a][t + 1]`
    for all a < b, and of each of four where it points to, `x[a][t] x[b][t]` for all a <= b.

    Attributes:
        size: n.
        actions: m.
        groups: first element and size of each unit-norm group of three or four.
    """

    size: int
    actions: int
    groups: tuple[tuple[int, int], ...]

    @property
    def products(self) -> list[tuple[int, int, bool]]:
        """Both elements of each product, and whether it is one of what a group turns by."""
        made = []
        for first, size in self.groups:
            elements = range(first, first + size)
            made += [(a, b, True) for a, b in combinations(elements, 2)]
            if size == 4:
                made += [(a, b, False) for a, b in combinations_with_replacement(elements, 2)]
        return made

    @property
    def count(self) -> int:
        """How many there are."""
        pairs = sum(6 + 10 if size == 4 else 3 for _, size in self.groups)
        return len(STEPS) * self.size + len(ACTION_LAGS) * self.actions + pairs

    def place(self, step: int, element: int) -> int:
        """The column of an element in one of `STEPS`."""
        return STEPS.index(step) * self.size + element


@dataclass(frozen=True, eq=False)
class Relations:
    """P relations of up to K terms: `x[of][t] = intercept + sum of coefficient * column`, and what is left.

    Attributes:
        of: `[P]`, the element that is told.
        columns: `[P, K]`, see `Columns`; `NONE` where there are fewer terms.
        coefficients: `[P, K]`, 0 there.
        intercept: `[P]`.
        residual: `[P]`, standard deviation of what is left.
        told: `[P]`, standard deviation of what the relation says.
        mean_deviation: `[P]`, root mean square over pieces of the recording of the mean of what is left.
        slope_deviation: `[P]`, likewise of the slope of `x[of]` over what the relation says, less 1.
        residual_deviation: `[P]`, likewise of the logarithm of what is left in a piece by what is left in all.
    """

    of: NDArray[np.uint16]
    columns: NDArray[np.uint16]
    coefficients: NDArray[np.float32]
    intercept: NDArray[np.float32]
    residual: NDArray[np.float32]
    told: NDArray[np.float32]
    mean_deviation: NDArray[np.float32]
    slope_deviation: NDArray[np.float32]
    residual_deviation: NDArray[np.float32]

    def check(self, columns: Columns) -> None:
        """Refuses what does not fit into a profile with these columns."""
        if self.of.ndim != 1 or self.columns.ndim != 2:
            refuse("relations are not [P] and [P, K]")
        relations, terms = len(self.of), self.columns.shape[1]
        _check_sizes(relations, terms)
        for name, shape in _shapes(relations, terms).items():
            check_array(f"relations: {name}", getattr(self, name), shape)
        if np.any(self.of >= columns.size) or np.any((self.columns >= columns.count) & (self.columns != NONE)):
            refuse("a relation is of an element, or a column, that is not there")
        if any(np.any(getattr(self, name) < 0.0) for name in _FLOATS[2:]):
            refuse("what is left of a relation, or what that varies by, must not be negative")

    def to_document(self) -> dict[str, Any]:
        """The JSON object of `cpp/FORMAT.md`."""
        document: dict[str, Any] = {"count": len(self.of), "terms": self.columns.shape[1]}
        for name in _PLACES:
            document[name] = encoded(getattr(self, name), PLACE)
        for name in _FLOATS:
            document[name] = encoded(getattr(self, name), FLOAT)
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Relations:
        """Reads what `to_document` gave.

        Raises:
            ArtifactError: a list has the wrong length.
            KeyError: a field is missing.
            TypeError: a field has the wrong kind of value.
        """
        relations, terms = count(document, "count"), count(document, "terms")
        _check_sizes(relations, terms)  # before memory is taken for as many
        return cls(
            **{
                name: decoded(document, name, PLACE if name in _PLACES else FLOAT, shape)
                for name, shape in _shapes(relations, terms).items()
            }
        )

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same."""
        if not isinstance(other, Relations):
            return NotImplemented
        return all(np.array_equal(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))

    __hash__ = None  # type: ignore[assignment]


_PLACES = ("of", "columns")
_FLOATS = (
    *("coefficients", "intercept"),
    *("residual", "told", "mean_deviation", "slope_deviation", "residual_deviation"),
)


def _check_sizes(relations: int, terms: int) -> None:
    if relations > MOST_RELATIONS or not 1 <= terms <= MOST_TERMS:
        refuse(f"it has {relations} relations of {terms} terms; {MOST_RELATIONS} of {MOST_TERMS} are possible")


def _shapes(relations: int, terms: int) -> dict[str, tuple[int, ...]]:
    pairs = dict.fromkeys(("columns", "coefficients"), (relations, terms))
    return {name: pairs.get(name, (relations,)) for name in (*_PLACES, *_FLOATS)}


def steps_inside(episode: NDArray[np.int64], ahead: int = STEPS[-1]) -> NDArray[np.int64]:
    """The steps t of which t - 3 to t + `ahead` lie in one episode.

    Args:
        episode: `[N]`, ascending: which episode each step is of.
        ahead: steps.
    """
    behind = max(ACTION_LAGS)
    now = np.arange(behind, len(episode) - ahead)
    return np.asarray(now[episode[now - behind] == episode[now + ahead]], np.int64)


def products_at(
    values: NDArray[np.float64], now: NDArray[np.int64], products: Sequence[tuple[int, int, bool]]
) -> NDArray[np.float64]:
    """`[len(now), len(products)]`: the products of `Columns` in some steps."""
    made = np.empty((len(now), len(products)))
    for place, (a, b, turns) in enumerate(products):
        if turns:
            made[:, place] = values[now - 1, a] * values[now + 1, b] - values[now - 1, b] * values[now + 1, a]
        else:
            made[:, place] = values[now, a] * values[now, b]
    return made
