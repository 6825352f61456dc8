"""Environments with fewer observations, and with actions from -1 to 1."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box

from ganglion.data import EnvSpec, EnvStep
from ganglion.envs.environment import Environment, Wrapper, reset_environment
from ganglion.envs.gym_environment import as_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium


class MaskObservation(Wrapper):
    """An environment of which only some elements of the observations are seen, for example positions only.

    Args:
        env: an environment with vectors for observations; one of gymnasium, or its id, is taken too.
        keep: the elements to keep, in this order: indices, or names where the spec of the environment has them.

    Raises:
        TypeError: `env` is no environment, or `keep` holds something else.
        ValueError: the observations are no vectors, or `keep` is empty, names an element twice or one that is not
            there.
    """

    def __init__(self, env: Environment | gymnasium.Env[Any, Any] | str, keep: Sequence[int | str]) -> None:
        super().__init__(as_environment(env))
        inner = self._env.spec
        space = inner.observation_space
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise ValueError(f"MaskObservation: observation_space must be a Box with one axis, not {space}")
        self._keep = _indices(keep, inner)
        names = tuple(inner.observation_names[index] for index in self._keep) if inner.observation_names else ()
        dtype = np.dtype(space.dtype).type
        seen = Box(space.low[self._keep], space.high[self._keep], dtype=dtype)
        self._spec = EnvSpec(seen, inner.action_space, inner.max_episode_length, names, inner.action_names)

    @property
    def spec(self) -> EnvSpec:
        """The spec of the environment, with the elements that are kept."""
        return self._spec

    def reset(self, *, seed: int | None = None) -> tuple[Any, Mapping[str, Any]]:
        """Begins an episode, see `Environment.reset`."""
        observation, episode_info = reset_environment(self._env, seed)
        return observation[self._keep], episode_info

    def step(self, action: Any) -> EnvStep:
        """Takes one step, see `Environment.step`."""
        step = self._env.step(action)
        return dataclasses.replace(step, env_spec=self._spec, observation=step.observation[self._keep])


class ScaleAction(Wrapper):
    """An environment whose actions go from -1 to 1: `low + (a + 1) / 2 (high - low)` for each element.

    Actions beyond -1 and 1 are scaled alike and not clipped.

    Args:
        env: an environment with bounded actions; one of gymnasium, or its id, is taken too.

    Raises:
        TypeError: `env` is no environment.
        ValueError: the action space is no bounded `Box`.
    """

    def __init__(self, env: Environment | gymnasium.Env[Any, Any] | str) -> None:
        super().__init__(as_environment(env))
        inner = self._env.spec
        space = inner.action_space
        if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating) or not space.is_bounded():
            raise ValueError(f"ScaleAction: action_space must be a Box of floats with finite bounds, not {space}")
        dtype = np.dtype(space.dtype).type
        self._middle, self._half = (space.high + space.low) / 2, (space.high - space.low) / 2
        scaled = Box(-1.0, 1.0, space.shape, dtype)
        self._spec = EnvSpec(
            inner.observation_space, scaled, inner.max_episode_length, inner.observation_names, inner.action_names
        )

    @property
    def spec(self) -> EnvSpec:
        """The spec of the environment, with the action space from -1 to 1."""
        return self._spec

    def step(self, action: Any) -> EnvStep:
        """Takes one step; the `action` of what is returned is the one that was given."""
        given = np.asarray(action)
        if given.shape != self.action_space.shape:
            raise ValueError(f"ScaleAction: the action has shape {given.shape}, action_space is {self.action_space}")
        step = self._env.step((self._middle + given * self._half).astype(self.action_space.dtype))
        return dataclasses.replace(step, env_spec=self._spec, action=action)


def _indices(keep: Sequence[int | str], spec: EnvSpec) -> list[int]:
    if isinstance(keep, str):
        raise TypeError(f"MaskObservation: keep must be a sequence of indices or names, not {keep!r}")
    indices = []
    for element in keep:
        if isinstance(element, str):
            if element not in spec.observation_names:
                known = ", ".join(spec.observation_names) or "none; give observation_names to GymEnvironment"
                raise ValueError(f"MaskObservation: no observation is called '{element}'; known: {known}")
            indices.append(spec.observation_names.index(element))
        elif isinstance(element, bool) or not isinstance(element, (int, np.integer)):
            raise TypeError(f"MaskObservation: keep must hold indices or names, not {element!r}")
        elif not 0 <= element < spec.observation_size:
            raise ValueError(f"MaskObservation: no element {element} in {spec.observation_size} observations")
        else:
            indices.append(int(element))
    if not indices or len(set(indices)) != len(indices):
        raise ValueError(f"MaskObservation: keep must name at least one element, and none twice, not {list(keep)}")
    return indices
