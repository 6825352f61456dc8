"""What a policy must know of its environment: the two spaces, the longest episode, and names where there are any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.spaces import utils as space_utils

from ganglion.contract import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class InOutSpec:
    """Input space and output space of anything that maps one to the other, as garage's `InOutSpec`.

    Values are flat vectors: an element of a space is flattened as by `gymnasium.spaces.utils.flatten`.

    Attributes:
        input_space: any gymnasium space with a fixed flat size.
        output_space: any gymnasium space with a fixed flat size.

    Raises:
        TypeError: a space is no gymnasium space.
        ValueError: a space has no fixed flat size or no element.
    """

    input_space: gymnasium.Space[Any]
    output_space: gymnasium.Space[Any]

    def __post_init__(self) -> None:
        _check_space("InOutSpec: input_space", self.input_space)
        _check_space("InOutSpec: output_space", self.output_space)

    @cached_property
    def input_size(self) -> int:
        """Number of elements of one flat input."""
        return int(space_utils.flatdim(self.input_space))

    @cached_property
    def output_size(self) -> int:
        """Number of elements of one flat output."""
        return int(space_utils.flatdim(self.output_space))


@dataclass(frozen=True, init=False, repr=False)
class EnvSpec(InOutSpec):
    """Observation space, action space and episode length of an environment.

    An environment takes actions and gives observations: its input space is the action space, its output space the
    observation space. Policies work on flat vectors, see `InOutSpec`.

    Args:
        observation_space: any gymnasium space with a fixed flat size.
        action_space: any gymnasium space with a fixed flat size.
        max_episode_length: largest number of steps of one episode, or None where there is no limit.
        observation_names: one name per element of a flat observation, or empty where unknown.
        action_names: one name per element of a flat action, or empty where unknown.

    Raises:
        TypeError: a space is no gymnasium space, `max_episode_length` is no int, or a name is no string.
        ValueError: a space has no fixed flat size or no element, `max_episode_length` is below 1, or the number of
            names is not the number of elements.
    """

    max_episode_length: int | None
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        max_episode_length: int | None = None,
        observation_names: Sequence[str] = (),
        action_names: Sequence[str] = (),
    ) -> None:
        _check_space("EnvSpec: observation_space", observation_space)
        _check_space("EnvSpec: action_space", action_space)
        super().__init__(input_space=action_space, output_space=observation_space)
        _check_length(max_episode_length)
        # A frozen dataclass with its own constructor has no other way to set its fields.
        object.__setattr__(self, "max_episode_length", max_episode_length)
        for label, names, size in (
            ("observation_names", observation_names, self.observation_size),
            ("action_names", action_names, self.action_size),
        ):
            object.__setattr__(self, label, _checked_names(label, names, size))

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """What the environment gives: the output space."""
        return self.output_space

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """What the environment takes: the input space."""
        return self.input_space

    @property
    def observation_size(self) -> int:
        """Number of elements of one flat observation."""
        return self.output_size

    @property
    def action_size(self) -> int:
        """Number of elements of one flat action."""
        return self.input_size

    @cached_property
    def observation_spec(self) -> TensorSpec:
        """The flat observation as the tensor `"obs"` of a contract, with its names and the bounds of the space.

        Every space has bounds once it is flat: those of a `Discrete` observation are 0 and 1, of a one-hot vector.
        """
        flat = space_utils.flatten_space(self.observation_space)
        return _tensor_spec("obs", self.observation_size, flat, self.observation_names)

    @cached_property
    def action_spec(self) -> TensorSpec:
        """The flat action as the tensor `"actions"` of a contract, with its names.

        It has the bounds of the space where that is a `Box`. A policy answers to other spaces with scores (logits),
        which the space does not bound.
        """
        return _tensor_spec("actions", self.action_size, self.action_space, self.action_names)

    def __repr__(self) -> str:
        names = ("observation_space", "action_space", "max_episode_length", "observation_names", "action_names")
        return f"EnvSpec({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def _check_space(label: str, space: gymnasium.Space[Any]) -> None:
    if not isinstance(space, gymnasium.Space):
        raise TypeError(f"{label} must be a gymnasium space, not {type(space).__name__}")
    try:
        size = space_utils.flatdim(space)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{label} {space} cannot be flattened to a vector of fixed size") from error
    if size < 1:
        raise ValueError(f"{label} {space} has no element")


def _check_length(length: int | None) -> None:
    if length is not None and (isinstance(length, bool) or not isinstance(length, int)):
        raise TypeError(f"EnvSpec: max_episode_length must be an int or None, not {length!r}")
    if length is not None and length < 1:
        raise ValueError(f"EnvSpec: max_episode_length must be at least 1, not {length}")


def _checked_names(label: str, names: Sequence[str], size: int) -> tuple[str, ...]:
    # A plain string is a sequence of strings too, of its letters.
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"EnvSpec: {label} must be a sequence of strings, not {names!r}")
    if names and len(names) != size:
        raise ValueError(f"EnvSpec: {len(names)} {label} for {size} elements")
    return tuple(names)


def _tensor_spec(name: str, size: int, space: gymnasium.Space[Any], names: tuple[str, ...]) -> TensorSpec:
    if not isinstance(space, gymnasium.spaces.Box):
        return TensorSpec(name, size, names)
    low = tuple(float(value) for value in space.low.reshape(-1))
    high = tuple(float(value) for value in space.high.reshape(-1))
    if not any(math.isfinite(value) for value in (*low, *high)):
        return TensorSpec(name, size, names)
    return TensorSpec(name, size, names, low=low, high=high)
