"""What goes into an environment and what comes out must fit its spaces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box

if TYPE_CHECKING:
    import gymnasium


def check_observation(label: str, observation: Any, space: gymnasium.Space[Any]) -> None:
    """Checks that an observation is of its space; bounds of a `Box` do not count.

    Raises:
        ValueError: it is not.
    """
    if isinstance(space, Box):
        if np.shape(observation) != space.shape:
            raise ValueError(
                f"{label}: the observation has shape {np.shape(observation)}, observation_space is {space}"
            )
    elif not space.contains(observation):
        raise ValueError(f"{label}: the observation is {observation!r}, observation_space is {space}")


def check_action(label: str, action: Any, space: gymnasium.Space[Any]) -> None:
    """Checks that an action is of its space; bounds of a `Box` do not count, clipping is for policies.

    Raises:
        ValueError: it is not, or an element is not finite.
    """
    if isinstance(space, Box):
        if np.shape(action) != space.shape:
            raise ValueError(f"{label}: the action has shape {np.shape(action)}, action_space is {space}")
        if not np.all(np.isfinite(action)):
            raise ValueError(f"{label}: the action is {action}, expected finite numbers")
    elif not space.contains(action):
        raise ValueError(f"{label}: the action is {action!r}, action_space is {space}")


def checked_reward(label: str, reward: Any) -> float:
    """Returns a reward as a float.

    Raises:
        ValueError: it is no finite number.
    """
    try:
        number = float(reward)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label}: the reward is {reward!r}, expected a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{label}: the reward is {number}, expected a finite number; mend the environment's reward")
    return number
