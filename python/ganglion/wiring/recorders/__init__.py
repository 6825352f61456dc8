"""What an environment was in each step, beside what its policy saw; none of the simulators is imported."""

from __future__ import annotations

from ganglion.wiring.recorders.recorder import Recorder, record

__all__ = ["Recorder", "record"]
