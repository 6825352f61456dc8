"""What the demo flew, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cartpole
import numpy as np

if TYPE_CHECKING:
    from cartpole import Trace
    from numpy.typing import NDArray

TOLERANCE_RAD = 1e-5
"""Largest accepted difference of a pole angle to the PyTorch flight, at any time of any flight."""


@dataclass(frozen=True)
class Flight:
    """One set of flights of the same starts.

    Attributes:
        engine: what computed the policy.
        language: what the control loop was written in.
        trace: what happened.
        difference: `[n]` absolute difference of the pole angle to that of the PyTorch flight, rad.
    """

    engine: str
    language: str
    trace: Trace
    difference: NDArray[np.float64]

    @property
    def label(self) -> str:
        """Engine and language in a few words."""
        return f"{self.engine} from {self.language}"

    @property
    def ok(self) -> bool:
        """True where every pole stayed up, as close to the PyTorch flight as it should."""
        return self.trace.balanced and float(self.difference.max()) <= TOLERANCE_RAD

    def cells(self) -> tuple[str, ...]:
        """The row of this flight in the tables; `FLIGHT_HEADINGS` names the columns."""
        microseconds = self.trace.step_ns / 1000.0
        return (
            self.engine,
            self.language,
            "yes" if self.trace.balanced else "NO",
            f"{self.trace.worst_angle:.4f}",
            f"{self.difference.max():.1e}",
            f"{np.median(microseconds):.1f}",
            f"{np.percentile(microseconds, 99.0):.1f}",
        )


FLIGHT_HEADINGS = (
    "engine",
    "language",
    "balanced",
    "worst (rad)",
    "off PyTorch (rad)",
    "median (us)",
    "p99 (us)",
)


def until_fall(trace: Trace) -> NDArray[np.float64]:
    """Pole angles, not-a-number from every fall to the next reset."""
    fallen = cartpole.has_fallen(trace.observation[:, 0], trace.pole_angle)
    leg = np.floor(trace.time_s / (cartpole.FLIGHT_S / 2.0)) + 2 * trace.flight
    angle = trace.pole_angle.copy()
    for index in np.unique(leg):
        rows = leg == index
        angle[rows] = np.where(np.cumsum(fallen[rows]) > 0, np.nan, angle[rows])
    return angle
