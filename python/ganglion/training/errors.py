"""The exceptions of training."""

from __future__ import annotations

from ganglion.errors import ArtifactError, GanglionError


class TrainingError(GanglionError):
    """Training cannot go on; snapshots that were written before are as they were."""


class NotSetupError(TrainingError):
    """A `Trainer` was used before `setup()`, or resumed before `restore()`."""


class SnapshotNotFoundError(ArtifactError, FileNotFoundError):
    """A folder holds no snapshot, or not the one that was asked for."""
