"""What stands around a step: when it is due, whether the loop keeps time, what the motors get, and what is recorded.

The classes are those of the C++ runtime, the same code that flies on the robot. Times are nanoseconds of any clock that
goes on steadily, such as `time.monotonic_ns()`.
"""

from __future__ import annotations

from ganglion.flight.cadence import Cadence
from ganglion.flight.episodes import episodes, record_episodes
from ganglion.flight.guard import ActionGuard, GuardStatus
from ganglion.flight.observations import ElementCounts, ObservationMonitor, WorstElement
from ganglion.flight.page import report
from ganglion.flight.policy_switch import PolicySwitch, SwitchReport
from ganglion.flight.recorded import Flight, FlownPolicy, read
from ganglion.flight.recorder import FlightRecorder, RecorderChannel, RecorderStatistics
from ganglion.flight.replay_report import FlightDifference, PolicyReplay, ReplayReport
from ganglion.flight.replaying import replay
from ganglion.flight.summary import FlightSummary, summary
from ganglion.flight.ticks import TickMonitor, TickStatistics

__all__ = [
    "ActionGuard",
    "Cadence",
    "ElementCounts",
    "Flight",
    "FlightDifference",
    "FlightRecorder",
    "FlightSummary",
    "FlownPolicy",
    "GuardStatus",
    "ObservationMonitor",
    "PolicyReplay",
    "PolicySwitch",
    "RecorderChannel",
    "RecorderStatistics",
    "ReplayReport",
    "SwitchReport",
    "TickMonitor",
    "TickStatistics",
    "WorstElement",
    "episodes",
    "read",
    "record_episodes",
    "replay",
    "report",
    "summary",
]
