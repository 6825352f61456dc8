"""Whether observations are what they were in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion import _core
from ganglion._foundation.core_errors import core_errors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ganglion.contract import Contract


@dataclass(frozen=True)
class ElementCounts:
    """What was seen of one element, in all rows together.

    Attributes:
        outside: how often it was outside of its envelope.
        jumped: how often it changed in one step by more than the limit.
        not_finite: how often it was NaN or infinite.
    """

    outside: int
    jumped: int
    not_finite: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.outside + self.jumped + self.not_finite


@dataclass(frozen=True)
class WorstElement:
    """The element that was implausible most often.

    Attributes:
        element: its index.
        name: in the contract, or empty.
        counts: what was seen of it.
        value: the last implausible one.
        low: lower end of its envelope.
        high: upper end of it.
        change: the most that it may change in a step.
        sentence: all of that, and what to do.
    """

    element: int
    name: str
    counts: ElementCounts
    value: float
    low: float
    high: float
    change: float
    sentence: str


class ObservationMonitor:
    """Looks at every observation beside the profile of the training that the contract carries.

    An adapter that gives degrees for radians, or another joint's angle, is noticed before the policy moves the robot.
    Inside of the envelope is not right: a sign or an order may be wrong all the same; `ganglion.wiring` finds it in a
    log.

    Args:
        contract: of the policy, with an observation profile.
        margin: wider than training's range, at either end, by this share of it.
        change_factor: times the largest change per step of the training.
        period_s: between two checks, in seconds; None for the contract's.
        rows: of one check; None for the contract's batch, or 1.

    Raises:
        GanglionError: the contract has no profile, nobody says the period, or an argument is out of its range.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        margin: float = 0.25,
        change_factor: float = 2.0,
        period_s: float | None = None,
        rows: int | None = None,
    ) -> None:
        with core_errors():
            self._core = _core.ObservationMonitor(
                contract.to_json(), margin=margin, change_factor=change_factor, period_s=period_s, rows=rows
            )

    def check(self, observation: ArrayLike) -> str:
        """Looks at an observation, once in every step of the policy.

        Args:
            observation: `[rows, n]`, or `[n]` of one row.

        Returns:
            `"plausible"`; else what is wrong, of several the worst: `"jumped"`, `"outside"`, `"not_finite"`, or
            `"bad_size"`.
        """
        return self._core.check(np.ascontiguousarray(observation, np.float32))

    def plausible(self, seconds: float) -> bool:
        """The arm check: whether all checks of the last so many seconds were plausible, and there were as many."""
        return self._core.plausible(seconds)

    @property
    def worst(self) -> WorstElement | None:
        """The element that was implausible most often; None where every check was plausible."""
        found = self._core.worst()
        if found is None:
            return None
        return WorstElement(
            element=found.element,
            name=found.name,
            counts=_counts(found.counts),
            value=found.value,
            low=found.low,
            high=found.high,
            change=found.change,
            sentence=self._core.sentence(),
        )

    @property
    def counts(self) -> tuple[ElementCounts, ...]:
        """What was seen of each element."""
        return tuple(_counts(one) for one in self._core.counts())

    @property
    def checks(self) -> int:
        """How many observations were looked at."""
        return self._core.checks

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Forgets everything; or, with flags `[rows]`, lets these rows begin again: what comes next is no change.

        Raises:
            ValueError: there are not as many flags as rows.
        """
        if rows is None:
            self._core.reset()
        elif not self._core.reset_rows(np.ascontiguousarray(rows, np.bool_).astype(np.uint8)):
            raise ValueError(f"one flag for each of {self._core.rows} rows is needed, not {np.shape(rows)}")


def _counts(found: _core.ElementCounts) -> ElementCounts:
    return ElementCounts(found.outside, found.jumped, found.not_finite)
