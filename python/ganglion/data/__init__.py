"""Environment specs, time steps and episodes. NumPy and gymnasium spaces only."""

from __future__ import annotations

from ganglion.data.env_spec import EnvSpec, InOutSpec
from ganglion.data.episode_batch import EpisodeBatch
from ganglion.data.step_type import StepType
from ganglion.data.time_step import EnvStep, TimeStep
from ganglion.data.time_step_batch import TimeStepBatch

get_step_type = StepType.get_step_type

__all__ = ["EnvSpec", "EnvStep", "EpisodeBatch", "InOutSpec", "StepType", "TimeStep", "TimeStepBatch", "get_step_type"]
