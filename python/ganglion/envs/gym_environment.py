"""One environment of gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from ganglion.data import EnvSpec, EnvStep, StepType
from ganglion.envs.environment import Environment
from ganglion.envs.fitting import check_action, check_observation, checked_reward

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class GymEnvironment(Environment):
    """An environment of gymnasium as an `Environment`, as garage's `GymEnv`.

    An episode ends with a `TERMINAL` step where gymnasium says `terminated`, and with a `TIMEOUT` where it says
    `truncated` or where the episode has `max_episode_length` steps. A step that is both is `TERMINAL`: nothing follows.

    Args:
        env: the id of a registered environment, or an environment.
        max_episode_length: the largest number of steps of one episode. None for that of the registration; of two
            limits the smaller one holds, but with an id this one replaces that of the registration.
        observation_names: one name per element of a flat observation, or empty where unknown.
        action_names: one name per element of a flat action, or empty where unknown.
        make_arguments: with an id, further arguments of `gymnasium.make`, for example `render_mode="rgb_array"`.

    Raises:
        TypeError: `env` is neither, or there are arguments for `gymnasium.make` beside an environment.
        ValueError: a space cannot be flattened, the length is below 1, or the number of names does not fit.
        gymnasium.error.Error: gymnasium cannot make it.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any] | str,
        max_episode_length: int | None = None,
        *,
        observation_names: Sequence[str] = (),
        action_names: Sequence[str] = (),
        **make_arguments: Any,
    ) -> None:
        if isinstance(env, str):
            env = gymnasium.make(env, max_episode_steps=max_episode_length, **make_arguments)
        elif not isinstance(env, gymnasium.Env):
            hint = "; use VectorGymEnvironment" if isinstance(env, gymnasium.vector.VectorEnv) else ""
            raise TypeError(f"GymEnvironment: env must be an id or a gymnasium.Env, not {type(env).__name__}{hint}")
        elif make_arguments:
            raise TypeError(f"GymEnvironment: {', '.join(make_arguments)}: arguments of gymnasium.make need an id")
        self._env = env
        limits = [limit for limit in (max_episode_length, episode_limit(env)) if limit is not None]
        self._spec = EnvSpec(
            env.observation_space, env.action_space, min(limits, default=None), observation_names, action_names
        )
        self._step_cnt: int | None = None
        self._begun = self._closed = False

    @property
    def spec(self) -> EnvSpec:
        """Both spaces, the largest number of steps of one episode, and names where there are any."""
        return self._spec

    @property
    def render_modes(self) -> tuple[str, ...]:
        """What `render` takes: gymnasium fixes the one mode of an environment when that is made."""
        return () if self._env.render_mode is None else (self._env.render_mode,)

    @property
    def unwrapped(self) -> gymnasium.Env[Any, Any]:
        """The environment of gymnasium inside all of its wrappers."""
        return self._env.unwrapped

    def reset(self, *, seed: int | None = None) -> tuple[Any, Mapping[str, Any]]:
        """Begins an episode.

        Args:
            seed: seed of the environment's random numbers; None goes on with those it has.

        Returns:
            The first observation, and the info of gymnasium's `reset`.

        Raises:
            RuntimeError: the environment is closed.
            ValueError: the observation is not of the observation space.
        """
        self._check_open("reset")
        observation, info = self._env.reset(seed=seed)
        check_observation(f"{self}: reset", observation, self.observation_space)
        self._step_cnt, self._begun = 0, True
        return observation, info

    def step(self, action: Any) -> EnvStep:
        """Takes one step.

        Args:
            action: an element of `action_space`; a `Box`'s bounds may be exceeded.

        Raises:
            RuntimeError: there was no `reset()` before, the episode has ended, or the environment is closed.
            ValueError: the action, or what the environment gave, does not fit its space, or the reward is not finite.
        """
        self._check_open("step")
        if self._step_cnt is None:
            why = "the episode has ended" if self._begun else "no episode has begun"
            raise RuntimeError(f"{self}: call reset() before step(): {why}")
        check_action(f"{self}: step", action, self.action_space)
        observation, reward, terminated, truncated, info = self._env.step(action)
        self._step_cnt += 1
        label = f"{self}: step {self._step_cnt}"
        check_observation(label, observation, self.observation_space)
        if terminated or truncated:
            step_type = StepType.TERMINAL if terminated else StepType.TIMEOUT
        else:
            step_type = StepType.get_step_type(self._step_cnt, self._spec.max_episode_length, done=False)
        step = EnvStep(self._spec, action, checked_reward(label, reward), observation, info, step_type)
        if step.last:
            self._step_cnt = None
        return step

    def render(self, mode: str) -> Any:
        """Returns what gymnasium renders.

        Raises:
            RuntimeError: the environment is closed.
            ValueError: the environment was made for another mode.
        """
        self._check_open("render")
        self._check_made_for(mode)
        return self._env.render()

    def visualize(self) -> None:
        """Shows this and every later step in a window. The environment must be made with `render_mode="human"`.

        Raises:
            RuntimeError: the environment is closed, or there was no `reset()`.
            ValueError: the environment was made for another mode.
        """
        self._check_open("visualize")
        self._check_made_for("human")
        if not self._begun:
            raise RuntimeError(f"{self}: call reset() before visualize()")
        # In this mode gymnasium shows every later step by itself.
        self._env.render()

    def close(self) -> None:
        """Closes the environment of gymnasium. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._env.close()

    def __repr__(self) -> str:
        return f"GymEnvironment({self._env})"

    def _check_open(self, verb: str) -> None:
        if self._closed:
            raise RuntimeError(f"{self}: {verb}() after close(); make a new one")

    def _check_made_for(self, mode: str) -> None:
        try:
            self.check_render_mode(mode)
        except ValueError as error:
            known = self._env.metadata.get("render_modes", [])
            hint = f"make it with render_mode='{mode}'" if mode in known else f"it knows {', '.join(known) or 'none'}"
            raise ValueError(f"{error}; {hint}") from None


def episode_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Number of steps after which gymnasium truncates an episode, where it says so."""
    return None if env.spec is None else env.spec.max_episode_steps


def as_environment(env: Environment | gymnasium.Env[Any, Any] | str) -> Environment:
    """Returns the environment, one of gymnasium in a `GymEnvironment`.

    Raises:
        TypeError: it is neither.
    """
    return env if isinstance(env, Environment) else GymEnvironment(env)
