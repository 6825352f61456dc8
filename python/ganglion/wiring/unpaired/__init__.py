"""A log against the observation profile of a policy: nothing is paired, only the statistics speak."""

from __future__ import annotations

from ganglion.wiring.unpaired.compare import compare

__all__ = ["compare"]
