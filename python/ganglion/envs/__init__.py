"""Environments: what they are, gymnasium's, many at once, and wrappers."""

from __future__ import annotations

from ganglion.data.env_spec import EnvSpec
from ganglion.envs.environment import Environment, Wrapper
from ganglion.envs.gym_environment import GymEnvironment
from ganglion.envs.vector_environment import VectorGymEnvironment
from ganglion.envs.wrappers import MaskObservation, ScaleAction

__all__ = [
    "EnvSpec",
    "Environment",
    "GymEnvironment",
    "MaskObservation",
    "ScaleAction",
    "VectorGymEnvironment",
    "Wrapper",
]
