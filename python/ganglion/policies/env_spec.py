"""What a policy must know of its environment: the two spaces and the longest episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
from gymnasium.spaces import utils as space_utils

from ganglion.contract import TensorSpec


@dataclass(frozen=True)
class EnvSpec:
    """Observation space, action space and episode length of an environment.

    Policies work on flat vectors: an observation or action is flattened as by `gymnasium.spaces.utils.flatten`.

    Attributes:
        observation_space: any gymnasium space with a fixed flat size.
        action_space: any gymnasium space with a fixed flat size.
        max_episode_length: largest number of steps of one episode, or None where there is no limit.

    Raises:
        TypeError: a space is no gymnasium space, or `max_episode_length` is no int.
        ValueError: a space has no fixed flat size or no element, or `max_episode_length` is below 1.
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    max_episode_length: int | None = None

    def __post_init__(self) -> None:
        _check_space("observation_space", self.observation_space)
        _check_space("action_space", self.action_space)
        length = self.max_episode_length
        if length is not None and (isinstance(length, bool) or not isinstance(length, int)):
            raise TypeError(f"EnvSpec: max_episode_length must be an int or None, not {length!r}")
        if length is not None and length < 1:
            raise ValueError(f"EnvSpec: max_episode_length must be at least 1, not {length}")

    @cached_property
    def observation_size(self) -> int:
        """Number of elements of one flat observation."""
        return int(space_utils.flatdim(self.observation_space))

    @cached_property
    def action_size(self) -> int:
        """Number of elements of one flat action."""
        return int(space_utils.flatdim(self.action_space))

    @cached_property
    def observation_spec(self) -> TensorSpec:
        """The flat observation as the tensor `"obs"` of a contract, with the bounds of the space.

        Every space has bounds once it is flat: those of a `Discrete` observation are 0 and 1, of a one-hot vector.
        """
        return _tensor_spec("obs", self.observation_size, space_utils.flatten_space(self.observation_space))

    @cached_property
    def action_spec(self) -> TensorSpec:
        """The flat action as the tensor `"actions"` of a contract, with the bounds of the space where that is a `Box`.

        A policy answers to other spaces with scores (logits), which the space does not bound.
        """
        return _tensor_spec("actions", self.action_size, self.action_space)


def _check_space(label: str, space: gymnasium.Space[Any]) -> None:
    if not isinstance(space, gymnasium.Space):
        raise TypeError(f"EnvSpec: {label} must be a gymnasium space, not {type(space).__name__}")
    try:
        size = space_utils.flatdim(space)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"EnvSpec: {label} {space} cannot be flattened to a vector of fixed size") from error
    if size < 1:
        raise ValueError(f"EnvSpec: {label} {space} has no element")


def _tensor_spec(name: str, size: int, space: gymnasium.Space[Any]) -> TensorSpec:
    if not isinstance(space, gymnasium.spaces.Box):
        return TensorSpec(name, size)
    low = tuple(float(value) for value in space.low.reshape(-1))
    high = tuple(float(value) for value in space.high.reshape(-1))
    if not any(math.isfinite(value) for value in (*low, *high)):
        return TensorSpec(name, size)
    return TensorSpec(name, size, low=low, high=high)
