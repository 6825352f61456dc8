"""What an environment was in each step, beside what the policy saw: gymnasium, Isaac Lab, mjlab, none of them imported."""

from __future__ import annotations

from ganglion.wiring.recorders.recorder import Recorder, record

__all__ = ["Recorder", "record"]
