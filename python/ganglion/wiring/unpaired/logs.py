"""A robot's log, and what of it is compared with a profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ganglion.observation_profile.statistics import measured
from ganglion.wiring.unpaired.distance import LONGEST_LAG, Distance
from ganglion.wiring.unpaired.related import Related

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.observation_profile import ObservationProfile

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Log:
    """What a robot's policy saw.

    Attributes:
        values: `[N, n]`, without what was undone so far.
        action: `[N, m]`, or None.
        begins: `[N]`: an episode begins in this row.
        told: whether the log says where episodes begin.
    """

    values: Doubles
    action: Doubles | None
    begins: NDArray[np.bool_]
    told: bool

    @cached_property
    def episode(self) -> NDArray[np.int64]:
        """`[N]`: which episode each row is of."""
        return np.cumsum(self.begins) - 1

    def holding(self, values: Doubles) -> Log:
        """The same with other values; what of them is NaN is held from the row before."""
        missing = np.isnan(values)
        if missing.any():
            rows = np.where(missing, 0, np.arange(len(values))[:, None])
            values = np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), 0)
        return replace(self, values=values)

    def against(self, profile: ObservationProfile) -> Distance:
        """How far it is from a profile."""
        lengths = np.diff(np.flatnonzero(np.append(self.begins, True)))
        action = None if self.action is None else self.action.astype(np.float32)
        found = measured(self.values.astype(np.float32), lengths, action, relations=False, starts=self.told)
        return Distance(profile, found, self.related(profile))

    def related(self, profile: ObservationProfile) -> Related | None:
        """The relations of a profile in it; None where there are none, or too few rows."""
        if profile.relations is None:
            return None
        made = Related(
            *(profile.relations, profile.columns, profile.spread, self.values, self.action, self.episode),
            LONGEST_LAG,
        )
        return made if made.enough else None
