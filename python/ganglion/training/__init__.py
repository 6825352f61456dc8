"""From an environment to a trained policy: experiments, trainer, snapshots, samplers. Needs the extra `training`."""

from __future__ import annotations

from ganglion.training.checkpoint import load_policy
from ganglion.training.errors import NotSetupError, SnapshotNotFoundError, TrainingError
from ganglion.training.experiment import ExperimentContext, wrap_experiment
from ganglion.training.local_sampler import LocalSampler
from ganglion.training.logger import ExperimentLogger
from ganglion.training.protocols import Agent, Algorithm
from ganglion.training.ray_sampler import RaySampler
from ganglion.training.sampler import Sampler
from ganglion.training.seeding import get_seed, set_seed
from ganglion.training.snapshotter import Snapshotter, find_snapshot, load_snapshot
from ganglion.training.train_state import TrainArgs, TrainStats
from ganglion.training.trainer import Trainer

__all__ = [
    "Agent",
    "Algorithm",
    "ExperimentContext",
    "ExperimentLogger",
    "LocalSampler",
    "NotSetupError",
    "RaySampler",
    "Sampler",
    "SnapshotNotFoundError",
    "Snapshotter",
    "TrainArgs",
    "TrainStats",
    "Trainer",
    "TrainingError",
    "find_snapshot",
    "get_seed",
    "load_policy",
    "load_snapshot",
    "set_seed",
    "wrap_experiment",
]
