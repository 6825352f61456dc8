"""Many environments of one kind, stepped side by side."""

from __future__ import annotations

import contextlib
import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from ganglion.data import EnvSpec
from ganglion.envs.environment import Environment, reset_environment
from ganglion.envs.fitting import check_action, checked_reward
from ganglion.envs.gym_environment import episode_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

AnyEnvironment = Environment | gymnasium.Env[Any, Any]


class VectorGymEnvironment:
    """Rows of environments on gymnasium's vector API, each with episodes of its own.

    No row is ever reset by itself, so the observation after the last step of every episode is seen:

    ```python
    envs = VectorGymEnvironment(lambda: gymnasium.make("InvertedPendulum-v5"), 8)
    observations = envs.reset(seeds=range(8))
    while True:
        observations, rewards, terminated, truncated, infos = envs.step(act(observations))
        if (ended := terminated | truncated).any():
            observations = envs.reset(ended, seeds=[next(seeds) for _ in range(ended.sum())])
    ```

    Args:
        make: makes one new environment each time, of gymnasium or an `Environment`; the id of a registered one; or a
            ready vector environment of gymnasium (`AsyncVectorEnv`, say) with `autoreset_mode=AutoresetMode.DISABLED`.
        count: number of rows; None only with a ready one.
        max_episode_length: the largest number of steps of one episode, counted here; None for that of the environments
            alone.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `count` or `max_episode_length` is below 1, a space gives no arrays of one shape, the environments
            differ, or a ready one resets by itself.
    """

    def __init__(
        self,
        make: Callable[[], AnyEnvironment] | str | VectorEnv[Any, Any, Any],
        count: int | None = None,
        max_episode_length: int | None = None,
    ) -> None:
        self._closed = False
        names: dict[str, tuple[str, ...]] = {}
        if isinstance(make, VectorEnv):
            _check_ready(make, count)
            self._vector, limit = make, None
        else:
            envs = _made(make, count)
            # The arrays that it hands out are copied here.
            self._vector = SyncVectorEnv(
                [partial(_same, env) for env in envs], copy=False, autoreset_mode=AutoresetMode.DISABLED
            )
            limit = episode_limit(envs[0])
            if isinstance(first := envs[0], EnvironmentForGymnasium):
                spec = first.environment.spec
                limit = spec.max_episode_length
                names = {"observation_names": spec.observation_names, "action_names": spec.action_names}
        limits = [steps for steps in (max_episode_length, limit) if steps is not None]
        observations, actions = self._vector.single_observation_space, self._vector.single_action_space
        for name, space in (("observation_space", observations), ("action_space", actions)):
            if not isinstance(space, (Box, Discrete, MultiDiscrete, MultiBinary)):
                raise ValueError(
                    f"VectorGymEnvironment: {name} {space} gives no arrays; gymnasium.wrappers.FlattenObservation helps"
                )
        self._spec = EnvSpec(observations, actions, min(limits, default=None), **names)
        self._steps = np.zeros(self.count, np.int64)
        self._waiting = np.ones(self.count, np.bool_)
        self._begun = np.zeros(self.count, np.bool_)
        self._over = np.ones(self.count, np.bool_)  # gymnasium's own episode has ended, whoever took part

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self._vector.num_envs)

    @property
    def spec(self) -> EnvSpec:
        """The spec of one row."""
        return self._spec

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The observation space of one row."""
        return self._spec.observation_space

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """The action space of one row."""
        return self._spec.action_space

    def reset(
        self,
        rows: NDArray[np.bool_] | Sequence[int] | None = None,
        seeds: Sequence[int | None] | None = None,
    ) -> NDArray[Any]:
        """Begins an episode in some rows; the others stay as they are.

        Args:
            rows: a mask `[count]`, or indices; None for all rows.
            seeds: one seed per row that is reset, in the order of the rows (None goes on with its random numbers).

        Returns:
            `[count, ...]`: the present observations of ALL rows, an array of its own. Those of rows that never
            began mean nothing.

        Raises:
            RuntimeError: the environments are closed.
            ValueError: `rows` holds no row, or one that is not there, or there are more or fewer seeds than rows.
        """
        self._check_open("reset")
        chosen = self._rows(rows)
        row_seeds: list[int | None] = [None] * self.count
        if seeds is not None:
            if len(seeds) != len(chosen):
                raise ValueError(f"VectorGymEnvironment: {len(seeds)} seeds for {len(chosen)} rows")
            for row, seed in zip(chosen, seeds, strict=True):
                row_seeds[row] = None if seed is None else operator.index(seed)
        mask = np.zeros(self.count, np.bool_)
        mask[chosen] = True
        observations = self._reset(mask, row_seeds)
        self._begun |= mask
        self._waiting &= ~mask
        self._steps[mask] = 0
        return observations

    def step(
        self, actions: NDArray[Any], active: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes one step in every row.

        Args:
            actions: `[count, ...]`, elements of `action_space`; a `Box`'s bounds may be exceeded.
            active: mask `[count]` of the rows that take part; None for all. The others must be reset before they take
                part again.

        Returns:
            Observations `[count, ...]` after the step (those after the last one of an episode, too), rewards,
            `terminated`, `truncated` `[count]`, and gymnasium's infos: arrays `[count, ...]` by name, with masks
            `_name` of the rows that have them. All are arrays of their own; of rows that take no part, rewards are 0,
            flags False, and observations and infos mean nothing.

        Raises:
            RuntimeError: a row has no episode that goes on, or the environments are closed.
            ValueError: the actions do not fit, or a reward is not finite.
        """
        self._check_open("step")
        taking = np.ones(self.count, np.bool_)
        if active is not None:
            taking[:] = False
            taking[self._rows(active)] = True
        if (wrong := np.flatnonzero(taking & self._waiting)).size:
            why = ", ".join(f"{row} ({'ended' if self._begun[row] else 'not begun'})" for row in wrong)
            raise RuntimeError(f"VectorGymEnvironment: call reset() before step() for rows {why}, or leave them out")
        actions = self._checked_actions(actions, taking)
        # gymnasium steps all rows: those that take no part must be able to, and nobody looks.
        if (stuck := self._over & ~taking).any():
            self._reset(stuck, [None] * self.count)
        observations, rewards, terminated, truncated, infos = self._vector.step(actions)
        self._steps += 1
        self._over = terminated | truncated
        rewards = np.where(taking, np.asarray(rewards, np.float64), 0.0)
        if not np.isfinite(rewards).all():
            row = int(np.argmin(np.isfinite(rewards)))
            checked_reward(f"VectorGymEnvironment: row {row}, step {self._steps[row]}", rewards[row])
        terminated = taking & terminated
        limit = self._spec.max_episode_length
        truncated = taking & truncated if limit is None else taking & (truncated | (self._steps >= limit) & ~terminated)
        self._waiting = terminated | truncated | ~taking
        return np.array(observations), rewards, terminated, truncated, infos

    def close(self) -> None:
        """Closes all environments. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._vector.close()

    def __repr__(self) -> str:
        return f"VectorGymEnvironment({self._vector})"

    def __del__(self) -> None:
        # Nobody can catch what is raised here; a half-made object has nothing to give back.
        with contextlib.suppress(Exception):
            self.close()

    def _check_open(self, verb: str) -> None:
        if self._closed:
            raise RuntimeError(f"VectorGymEnvironment: {verb}() after close(); make a new one")

    def _rows(self, rows: NDArray[np.bool_] | Sequence[int] | None) -> NDArray[np.int64]:
        """Indices of the rows that a mask or indices mean."""
        if rows is None:
            return np.arange(self.count)
        given = np.asarray(rows)
        if given.dtype == np.bool_ and given.shape == (self.count,):
            chosen = np.flatnonzero(given)
        elif given.ndim == 1 and given.dtype.kind in "iu":
            chosen = given.astype(np.int64)
        else:
            raise ValueError(f"VectorGymEnvironment: rows must be a mask of {self.count} or indices, not {rows!r}")
        if not len(chosen) or chosen.min() < 0 or chosen.max() >= self.count or len(np.unique(chosen)) != len(chosen):
            raise ValueError(
                f"VectorGymEnvironment: rows must name at least one of {self.count} rows, and none twice, not {rows!r}"
            )
        return chosen

    def _reset(self, mask: NDArray[np.bool_], seeds: list[int | None]) -> NDArray[Any]:
        # The first reset is one of all rows: gymnasium needs an observation of each.
        options = {"reset_mask": mask} if self._begun.any() else None
        any_seeds: Any = seeds  # VectorEnv declares one seed, all of its kinds take a list
        observations, _ = self._vector.reset(seed=any_seeds, options=options)
        self._over &= False if options is None else ~mask
        return np.array(observations)

    def _checked_actions(self, actions: Any, taking: NDArray[np.bool_]) -> NDArray[Any]:
        shape = (self.count, *(self.action_space.shape or ()))
        given = np.asarray(actions)
        if given.shape != shape:
            raise ValueError(f"VectorGymEnvironment: the actions have shape {given.shape}, expected {shape}")
        if not taking.all():
            # Whatever stands in rows that take no part, the environments below see an action of another row.
            given = np.where(taking.reshape(-1, *[1] * (given.ndim - 1)), given, given[np.argmax(taking)])
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            row = int(np.argmin(np.isfinite(given).reshape(self.count, -1).all(axis=1)))
            check_action(f"VectorGymEnvironment: row {row}", given[row], self.action_space)
        if not isinstance(self.action_space, Box):
            for row, action in enumerate(given):
                check_action(f"VectorGymEnvironment: row {row}", action, self.action_space)
        return given


class EnvironmentForGymnasium(gymnasium.Env[Any, Any]):
    """An `Environment` as gymnasium knows them.

    Args:
        environment: the environment.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.observation_space = environment.observation_space
        self.action_space = environment.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; options are not used."""
        del options
        observation, episode_info = reset_environment(self.environment, seed)
        return observation, dict(episode_info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step."""
        step = self.environment.step(action)
        return step.observation, step.reward, step.terminal, step.timeout, dict(step.env_info)

    def close(self) -> None:
        """Closes the environment."""
        self.environment.close()


def _made(make: Callable[[], AnyEnvironment] | str, count: int | None) -> list[gymnasium.Env[Any, Any]]:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"VectorGymEnvironment: count must be an int, not {count!r}")
    if count < 1:
        raise ValueError(f"VectorGymEnvironment: count must be at least 1, not {count}")
    if not isinstance(make, str) and not callable(make):
        raise TypeError(
            f"VectorGymEnvironment: make must be a function, an id or a VectorEnv, not {type(make).__name__}"
        )
    envs: list[gymnasium.Env[Any, Any]] = []
    for _ in range(count):
        env = gymnasium.make(make) if isinstance(make, str) else make()
        if not isinstance(env, (gymnasium.Env, Environment)):
            raise TypeError(f"VectorGymEnvironment: make returned a {type(env).__name__}, expected an environment")
        if any(env in (other, getattr(other, "environment", None)) for other in envs):
            raise ValueError("VectorGymEnvironment: make returned one environment twice, expected a new one each time")
        first = envs[0] if envs else env
        for name in ("observation_space", "action_space"):
            if getattr(env, name) != getattr(first, name):
                raise ValueError(
                    f"VectorGymEnvironment: {name} of row {len(envs)} is {getattr(env, name)}, expected "
                    f"{getattr(first, name)} as in row 0"
                )
        envs.append(EnvironmentForGymnasium(env) if isinstance(env, Environment) else env)
    return envs


def _same(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env


def _check_ready(vector: VectorEnv[Any, Any, Any], count: int | None) -> None:
    if count is not None and count != vector.num_envs:
        raise ValueError(f"VectorGymEnvironment: count is {count}, the vector environment has {vector.num_envs} rows")
    mode = vector.metadata.get("autoreset_mode")
    if mode != AutoresetMode.DISABLED:
        raise ValueError(
            f"VectorGymEnvironment: the vector environment has autoreset_mode {mode}, which loses the end of episodes; "
            "make it with autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED"
        )
