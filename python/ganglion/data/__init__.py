"""Environment specs, time steps and episodes. NumPy and gymnasium spaces only."""

from __future__ import annotations

from ganglion.data.env_spec import EnvSpec, InOutSpec

__all__ = ["EnvSpec", "InOutSpec"]
