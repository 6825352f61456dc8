"""What stands around a step: when it is due, whether the loop keeps time, and what the motors get.

The classes are those of the C++ runtime, the same code that flies on the robot. Times are nanoseconds of any clock that
goes on steadily, such as `time.monotonic_ns()`.
"""

from __future__ import annotations

from ganglion.flight.cadence import Cadence
from ganglion.flight.guard import ActionGuard, GuardStatus
from ganglion.flight.recorder import FlightRecorder, RecorderChannel, RecorderStatistics
from ganglion.flight.ticks import TickMonitor, TickStatistics

__all__ = [
    "ActionGuard",
    "Cadence",
    "FlightRecorder",
    "GuardStatus",
    "RecorderChannel",
    "RecorderStatistics",
    "TickMonitor",
    "TickStatistics",
]
