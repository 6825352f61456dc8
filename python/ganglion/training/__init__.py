"""From an environment to a trained policy: experiments, trainer, snapshots, samplers. Needs the extra `train`."""

from __future__ import annotations

from ganglion.training.checkpoint import load_policy
from ganglion.training.distillation import Distillation
from ganglion.training.errors import NotSetupError, SnapshotNotFoundError, TrainingError
from ganglion.training.experiment import ExperimentContext, wrap_experiment
from ganglion.training.gaussian_agent import GaussianAgent
from ganglion.training.local_sampler import LocalSampler
from ganglion.training.logger import ExperimentLogger
from ganglion.training.policy_agent import PolicyAgent
from ganglion.training.ppo import PPO
from ganglion.training.protocols import Agent, Algorithm
from ganglion.training.ray_sampler import RaySampler
from ganglion.training.sampler import Sampler
from ganglion.training.seeding import get_seed, set_seed
from ganglion.training.snapshotter import Snapshotter, find_snapshot, load_snapshot
from ganglion.training.train_state import TrainArgs, TrainStats
from ganglion.training.trainer import Trainer
from ganglion.training.value_function import ValueFunction, value_spec

__all__ = [
    "PPO",
    "Agent",
    "Algorithm",
    "Distillation",
    "ExperimentContext",
    "ExperimentLogger",
    "GaussianAgent",
    "LocalSampler",
    "NotSetupError",
    "PolicyAgent",
    "RaySampler",
    "Sampler",
    "SnapshotNotFoundError",
    "Snapshotter",
    "TrainArgs",
    "TrainStats",
    "Trainer",
    "TrainingError",
    "ValueFunction",
    "find_snapshot",
    "get_seed",
    "load_policy",
    "load_snapshot",
    "set_seed",
    "value_spec",
    "wrap_experiment",
]
