"""Names what an adapter does to observations: against those of the training, on the same moments."""

from __future__ import annotations

from ganglion.wiring.correction import Correction
from ganglion.wiring.edits import KINDS, Edit
from ganglion.wiring.observations import Observations, read_observations
from ganglion.wiring.report import CannotTell, WiringReport

__all__ = ["KINDS", "CannotTell", "Correction", "Edit", "Observations", "WiringReport", "read_observations"]
