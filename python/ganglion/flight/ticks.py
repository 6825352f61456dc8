"""Whether a loop keeps time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ganglion import _core
from ganglion._foundation.core_errors import core_errors

if TYPE_CHECKING:
    from ganglion.contract import Contract
    from ganglion.flight.recorder import FlightRecorder


@dataclass(frozen=True)
class TickStatistics:
    """What a loop did so far.

    Attributes:
        ticks: ticks in all.
        early: those that came early.
        late: those that came late.
        missed: ticks that never came.
        clock_set_back: ticks at an earlier time than the one before.
        longest_run: most ticks in a row that never came or came late.
        mean_s: mean time between two ticks, in seconds; 0 before there are two, as the two below.
        shortest_s: shortest time between two ticks, in seconds.
        longest_s: longest time between two ticks, in seconds.
        off_ns: ticks by how far they were from on time: number i counts 2^i to 2^(i+1) nanoseconds, the first one less
            too, the last one more too.
    """

    ticks: int
    early: int
    late: int
    missed: int
    clock_set_back: int
    longest_run: int
    mean_s: float
    shortest_s: float
    longest_s: float
    off_ns: tuple[int, ...]


class TickMonitor:
    """Watches when the ticks of a loop come.

    Args:
        period: of the loop, in seconds; or the contract of a policy that is stepped in every tick.
        tolerance: part of the period: what is nearer to it is on time.
        mismatch_tolerance: part of the period: a loop whose mean is farther from it runs at another one.

    Raises:
        GanglionError: the contract has no period, or a number is not positive.
    """

    def __init__(self, period: float | Contract, *, tolerance: float = 0.1, mismatch_tolerance: float = 0.05) -> None:
        period_s = period if isinstance(period, (int, float)) else period.period_s
        with core_errors():
            self._core = _core.TickMonitor(period_s, tolerance, mismatch_tolerance)

    def tick(self, now_ns: int) -> str:
        """How this tick came: `"on_time"`, `"early"`, `"late"`, `"missed"` (one before it never came) or
        `"clock_set_back"`.
        """
        return self._core.tick(now_ns)

    @property
    def statistics(self) -> TickStatistics:
        """What the loop did so far."""
        found = self._core.statistics()
        values = {field.name: getattr(found, field.name) for field in fields(TickStatistics)}
        return TickStatistics(**values | {"off_ns": tuple(values["off_ns"])})

    @property
    def mismatch(self) -> str | None:
        """One sentence where the last 64 ticks say that the loop runs at another period; None where it does not."""
        return self._core.mismatch()

    def attach(self, recorder: FlightRecorder) -> None:
        """Records every tick from now on, as `/ticks`.

        Raises:
            GanglionError: the recording is closed.
        """
        with core_errors():
            self._core.attach(recorder._core)

    def reset(self) -> None:
        """Forgets everything."""
        self._core.reset()
