"""What an environment is, and wrapping one."""

from __future__ import annotations

import abc
import contextlib
import inspect
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium

    from ganglion.data import EnvSpec, EnvStep


class Environment(abc.ABC):
    """Something that takes actions and gives observations, episode by episode, as garage's `Environment`.

    ```python
    observation, episode_info = env.reset(seed=0)
    while not (step := env.step(act(observation))).last:
        observation = step.observation
    env.close()
    ```
    """

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """The space of the actions."""
        return self.spec.action_space

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The space of the observations."""
        return self.spec.observation_space

    @property
    @abc.abstractmethod
    def spec(self) -> EnvSpec:
        """Both spaces, the largest number of steps of one episode, and names where there are any."""

    @property
    @abc.abstractmethod
    def render_modes(self) -> Sequence[str]:
        """What `render` takes."""

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None) -> tuple[Any, Mapping[str, Any]]:
        """Begins an episode.

        An environment of your own may leave `seed` out, as garage's do: `reset(self)`. It is then never given one, and
        whoever wants to seed it is warned that its episodes cannot be had again; see `reset_environment`.

        Args:
            seed: seed of the environment's random numbers; None goes on with those it has.

        Returns:
            The first observation, an element of `observation_space`; and what the environment says of this episode (of
            an environment with several goals, say, its goal).
        """

    @abc.abstractmethod
    def step(self, action: Any) -> EnvStep:
        """Takes one step.

        Args:
            action: an element of `action_space`, or outside its bounds.

        Raises:
            RuntimeError: there was no `reset()` before, or the episode has ended.
            ValueError: the action does not fit, or the environment gave a reward that is no finite number.
        """

    @abc.abstractmethod
    def render(self, mode: str) -> Any:
        """Renders the present state.

        Args:
            mode: one of `render_modes`. By convention `"rgb_array"` returns an `[x, y, 3]` array of `uint8`, `"ansi"` a
                string; others may return something else, or nothing.

        Raises:
            ValueError: there is no such mode.
        """

    @abc.abstractmethod
    def visualize(self) -> None:
        """Shows this and every later step to a person, until `close()`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives everything back that the environment holds, windows for example. A second call does nothing."""

    def check_render_mode(self, mode: str) -> None:
        """Checks a mode of `render`.

        Raises:
            ValueError: it is none of `render_modes`.
        """
        if mode not in self.render_modes:
            known = ", ".join(f"'{known}'" for known in self.render_modes) or "none"
            raise ValueError(f"{type(self).__name__}: render mode {mode!r} is not supported; supported: {known}")

    def __del__(self) -> None:
        # Nobody can catch what is raised here; a half-made environment has nothing to give back.
        with contextlib.suppress(Exception):
            self.close()


def reset_environment(env: Environment, seed: int | None = None) -> tuple[Any, Mapping[str, Any]]:
    """Calls `reset` of an environment, with the seed if there is one and the environment takes one.

    Warns:
        UserWarning: there is a seed, and `reset` has no such argument.
    """
    if seed is None:
        return env.reset()
    if _takes_seed(env):
        return env.reset(seed=seed)
    warnings.warn(
        f"{type(env).__name__}.reset() takes no seed, so its episodes cannot be had again from one; write "
        "reset(self, *, seed=None)",
        UserWarning,
        stacklevel=3,
    )
    return env.reset()


def _takes_seed(env: Environment) -> bool:
    parameters = inspect.signature(env.reset).parameters.values()
    return any(one.name == "seed" or one.kind is one.VAR_KEYWORD for one in parameters)


class Wrapper(Environment):
    """An environment around another one. What a subclass does not define is looked up in the wrapped one.

    Args:
        env: the environment to wrap.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env

    def __getattr__(self, name: str) -> Any:
        # Called for what is found nowhere else. Private names are not forwarded: copying and unpickling look for some
        # of them before `_env` is there.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}', and private ones are not forwarded")
        if not hasattr(self._env, name):
            raise AttributeError(f"neither {type(self).__name__} nor what it wraps has an attribute '{name}'")
        return getattr(self._env, name)

    @property
    def spec(self) -> EnvSpec:
        """Both spaces, the largest number of steps of one episode, and names where there are any."""
        return self._env.spec

    @property
    def render_modes(self) -> Sequence[str]:
        """What `render` takes."""
        return self._env.render_modes

    @property
    def unwrapped(self) -> Any:
        """The environment inside all wrappers."""
        return getattr(self._env, "unwrapped", self._env)

    def reset(self, *, seed: int | None = None) -> tuple[Any, Mapping[str, Any]]:
        """Begins an episode, see `Environment.reset`."""
        return reset_environment(self._env, seed)

    def step(self, action: Any) -> EnvStep:
        """Takes one step, see `Environment.step`."""
        return self._env.step(action)

    def render(self, mode: str) -> Any:
        """Renders the present state, see `Environment.render`."""
        return self._env.render(mode)

    def visualize(self) -> None:
        """Shows this and every later step to a person, until `close()`."""
        self._env.visualize()

    def close(self) -> None:
        """Closes the wrapped environment. A second call does nothing."""
        self._env.close()

    def __del__(self) -> None:
        """Does nothing: the wrapped environment may outlive its wrapper, and closes itself."""
