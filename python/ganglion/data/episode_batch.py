"""Whole episodes behind each other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.spaces import utils as space_utils

from ganglion.data import checks, recording
from ganglion.data._rows import join, map_rows, pad, part, take
from ganglion.data.step_type import StepType
from ganglion.data.time_step_batch import TimeStepBatch, joined_samples

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ganglion.data.env_spec import EnvSpec

_BY_STEP = ("observations", "actions", "rewards", "env_infos", "agent_infos", "step_types")
_BY_EPISODE = ("episode_infos_by_episode", "last_observations", "lengths")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class EpisodeBatch(TimeStepBatch):
    """E episodes (or parts of episodes) behind each other, N steps in all, as garage's `EpisodeBatch`.

    `batch[i]` and `batch[i:j]` are batches of those EPISODES. Arrays are kept as they are given, and parts are views.

    Args:
        env_spec: the spec of the environment; None leaves observations and actions unchecked.
        episode_infos: what the environment said at `reset`, by name: arrays `[E, ...]`, one row per EPISODE; kept as
            `episode_infos_by_episode`.
        observations: `[N, ...]` observations before the actions; elements of the space, or flat.
        last_observations: `[E, ...]` observations after the last action of every episode.
        actions: `[N, ...]` actions; elements of the space, or flat.
        rewards: `[N]`, finite.
        env_infos: what the environment said, by name: arrays `[N, ...]`, or dictionaries of them.
        agent_infos: what the agent said, by name: arrays `[N, ...]`, or dictionaries of them. Recurrent policies start
            from `agent_infos["hidden_states"]` when they evaluate the batch.
        step_types: `[N]` `StepType`s. Integers or `StepType` objects are taken; kept as `uint8`.
        lengths: `[E]` integers of at least 1, the number of steps of every episode.

    Raises:
        ValueError: a field has the wrong type, shape or dtype (the message names the field, what was found and what
            was expected), the lengths do not add up to N, or there is no episode.
    """

    episode_infos_by_episode: Mapping[str, Any]
    last_observations: NDArray[Any]
    lengths: NDArray[Any]

    def __init__(
        self,
        env_spec: EnvSpec | None,
        episode_infos: Mapping[str, Any],
        observations: NDArray[Any],
        last_observations: NDArray[Any],
        actions: NDArray[Any],
        rewards: NDArray[Any],
        env_infos: Mapping[str, Any],
        agent_infos: Mapping[str, Any],
        step_types: NDArray[Any],
        lengths: NDArray[Any],
    ) -> None:
        # A frozen dataclass with its own constructor has no other way to set its fields.
        for name, value in (
            ("env_spec", env_spec),
            ("episode_infos_by_episode", episode_infos),
            ("observations", observations),
            ("last_observations", last_observations),
            ("actions", actions),
            ("rewards", rewards),
            ("env_infos", env_infos),
            ("agent_infos", agent_infos),
            ("step_types", step_types),
            ("lengths", lengths),
        ):
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        steps = self._check_steps()
        checks.check_lengths("EpisodeBatch: lengths", self.lengths, steps)
        episodes = len(self.lengths)
        checks.check_infos(
            "EpisodeBatch: episode_infos", self.episode_infos_by_episode, episodes, unit="episodes", nested=False
        )
        checks.check_array("EpisodeBatch: last_observations", self.last_observations, episodes, "episodes")
        checks.check_observations("EpisodeBatch: last_observations", self.last_observations, self.env_spec)
        if checks.row_size(self.last_observations) != checks.row_size(self.observations):
            raise ValueError(
                f"EpisodeBatch: last_observations has rows of shape {self.last_observations.shape[1:]}, expected "
                f"{self.observations.shape[1:]} as in observations"
            )

    def __getitem__(self, index: int | slice) -> Self:
        """Returns the batch of one episode, or of a slice of consecutive episodes, as views.

        Raises:
            IndexError: there is no such episode.
            ValueError: the slice is empty or has a step width.
        """
        episodes = part("EpisodeBatch", index, len(self.lengths))
        steps = slice(self._bounds[episodes.start], self._bounds[episodes.stop])
        return self._unchecked(
            env_spec=self.env_spec,
            **{name: take(getattr(self, name), steps) for name in _BY_STEP},
            **{name: take(getattr(self, name), episodes) for name in _BY_EPISODE},
        )

    @classmethod
    def concatenate(cls, *batches: Self) -> Self:
        """Returns all episodes in one batch. Neighbouring slices of one batch are joined without a copy.

        Raises:
            ValueError: there is no batch, or specs, keys or shapes differ.
        """
        spec = checks.check_batches(EpisodeBatch, batches)
        return cls._unchecked(
            env_spec=spec,
            **{
                name: join(f"EpisodeBatch.concatenate: {name}", [getattr(batch, name) for batch in batches])
                for name in (*_BY_STEP, *_BY_EPISODE)
            },
        )

    def split(self) -> list[Self]:
        """Returns one batch per episode, as views."""
        return [self[index] for index in range(len(self.lengths))]

    def to_list(self) -> list[dict[str, Any]]:
        """Returns one dictionary per episode of T steps, the inverse of `from_list`.

        Keys: `observations, next_observations, actions, rewards, env_infos, agent_infos, step_types` with T rows each
        (views, but for `next_observations`), and `episode_infos` with the values of this episode, without a row axis.
        """
        following = self.next_observations
        paths = []
        for index, (start, stop) in enumerate(zip(self._bounds[:-1], self._bounds[1:], strict=True)):
            path = {name: take(getattr(self, name), slice(start, stop)) for name in _BY_STEP}
            path["next_observations"] = following[start:stop]
            path["episode_infos"] = take(self.episode_infos_by_episode, index)
            paths.append(path)
        return paths

    @classmethod
    def from_list(cls, env_spec: EnvSpec | None, paths: Sequence[Mapping[str, Any]]) -> Self:
        """Returns the batch of such dictionaries, one per episode of T steps.

        Args:
            env_spec: the spec of the environment, or None.
            paths: dictionaries with `episode_infos, observations, actions, rewards, env_infos, agent_infos`, with
                `step_types` or else `dones` (True becomes `TERMINAL`, False `MID`), and maybe `next_observations`.
                `observations` may have T + 1 rows: the last of them is what followed the last action. Where there are
                T, it is the last row of `next_observations`, and without those the last observation once more. Both
                kinds may be mixed.

        Raises:
            ValueError: there is no dictionary, a key is missing, or the fields do not fit.
        """
        if not paths:
            raise ValueError("EpisodeBatch.from_list: no dictionary, expected at least one")
        parts = [_episode(index, path) for index, path in enumerate(paths)]
        fields = {
            name: join(f"EpisodeBatch.from_list: {name}", [part[name] for part in parts])
            for name in ("episode_infos", "last_observations", *_BY_STEP)
        }
        lengths = np.array([len(part["rewards"]) for part in parts], dtype=np.int64)
        return cls(env_spec, lengths=lengths, **fields)

    @classmethod
    def from_time_step_list(cls, env_spec: EnvSpec | None, ts_samples: Sequence[Mapping[str, Any]]) -> Self:
        """Returns the episodes of consecutive steps, the inverse of `to_time_step_list`.

        An episode ends with a step that is `TERMINAL` or `TIMEOUT`, before one that is `FIRST`, and with the list.

        Raises:
            ValueError: there is no dictionary, a key is missing, the fields do not fit, or the next observation of a
                step is not the observation of the step that follows in its episode.
        """
        # This checks every field.
        steps = TimeStepBatch(env_spec, **joined_samples("EpisodeBatch", ts_samples))
        types = steps.step_types
        ends = types >= StepType.TERMINAL
        ends[:-1] |= types[1:] == StepType.FIRST
        ends[-1] = True
        inner = np.flatnonzero(~ends)
        following, expected = steps.next_observations[inner], steps.observations[inner + 1]
        same = (following == expected) | ((following != following) & (expected != expected))  # NaN is like NaN
        if not np.all(same):
            step = int(inner[np.argmin(same.reshape(len(inner), -1).all(axis=1))])
            raise ValueError(
                f"EpisodeBatch.from_time_step_list: next_observations of step {step} are not the observations of step "
                f"{step + 1}, though no episode ends there; put such steps into a TimeStepBatch"
            )
        stops = np.flatnonzero(ends) + 1
        lengths = np.diff(stops, prepend=0)
        return cls(
            env_spec,
            episode_infos=map_rows(lambda array: array[stops - lengths], steps.episode_infos),
            last_observations=steps.next_observations[stops - 1],
            lengths=lengths,
            **{name: getattr(steps, name) for name in _BY_STEP},
        )

    @property  # type: ignore[misc]
    def next_observations(self) -> NDArray[Any]:
        """`[N, ...]`: the observations after the actions. A new array each time."""
        dtype = np.result_type(self.observations, self.last_observations)
        following = np.empty(self.observations.shape, dtype)
        following[:-1] = self.observations[1:]
        last = self._bounds[1:] - 1
        following[last] = self.last_observations.reshape(len(last), *self.observations.shape[1:])
        return following

    @property  # type: ignore[misc]
    def episode_infos(self) -> Mapping[str, Any]:
        """What the environment said at `reset`, by name: `[N, ...]`, one row per STEP. New arrays each time."""
        infos: Mapping[str, Any] = map_rows(
            lambda array: np.repeat(array, self.lengths, axis=0), self.episode_infos_by_episode
        )
        return infos

    @property
    def flat_observations(self) -> NDArray[Any]:
        """`[N, observation_size]`: the observations as policies take them; a view where they already are numbers.

        Elements of a `Discrete` or `MultiDiscrete` space become one-hot, as by `gymnasium.spaces.utils.flatten`.
        """
        space = None if self.env_spec is None else self.env_spec.observation_space
        if isinstance(space, (Discrete, MultiDiscrete)) and self.observations.shape[1:] == space.shape:
            return np.array([space_utils.flatten(space, row) for row in self.observations])
        return self.observations.reshape(len(self.observations), checks.row_size(self.observations))

    @property
    def observations_list(self) -> list[NDArray[Any]]:
        """One view `[T, ...]` of the observations per episode."""
        return self._by_episode(self.observations)

    @property
    def actions_list(self) -> list[NDArray[Any]]:
        """One view `[T, ...]` of the actions per episode."""
        return self._by_episode(self.actions)

    @property
    def padded_observations(self) -> NDArray[Any]:
        """`[E, P, ...]`, zeros behind the end of an episode.

        P is `max_episode_length` of the spec, or the longest episode where that is unknown or (with a warning) longer.
        """
        return self._padded(self.observations)

    @property
    def padded_next_observations(self) -> NDArray[Any]:
        """`[E, P, ...]`, see `padded_observations`."""
        return self._padded(self.next_observations)

    @property
    def padded_actions(self) -> NDArray[Any]:
        """`[E, P, ...]`, see `padded_observations`."""
        return self._padded(self.actions)

    @property
    def padded_rewards(self) -> NDArray[Any]:
        """`[E, P]`, see `padded_observations`."""
        return self._padded(self.rewards)

    @property
    def padded_step_types(self) -> NDArray[Any]:
        """`[E, P]`, see `padded_observations`. The padding, 0, is also `StepType.FIRST`: `valids` tells them apart."""
        return self._padded(self.step_types)

    @property
    def padded_agent_infos(self) -> dict[str, Any]:
        """By name `[E, P, ...]`, see `padded_observations`."""
        return self._padded_infos(self.agent_infos)

    @property
    def padded_env_infos(self) -> dict[str, Any]:
        """By name `[E, P, ...]`, see `padded_observations`."""
        return self._padded_infos(self.env_infos)

    @property
    def valids(self) -> NDArray[Any]:
        """`[E, P]` of the dtype of the rewards: 1 at a step, 0 in the padding."""
        return self._padded(np.ones_like(self.rewards))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one `.npz` file without pickles; `path` is replaced only when the new file is complete.

        Raises:
            ValueError: an array holds Python objects, or a space has no JSON form.
            OSError: the file cannot be written; what was there before is still there.
        """
        fields = {name: getattr(self, name) for name in (*_BY_STEP, *_BY_EPISODE)}
        fields["episode_infos"] = fields.pop("episode_infos_by_episode")
        recording.write(path, "EpisodeBatch", self.env_spec, fields)

    def __repr__(self) -> str:
        return f"EpisodeBatch({len(self.lengths)} episodes, {len(self.rewards)} steps, {self.env_spec})"

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """First step of every episode and, last, the number of steps."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    def _by_episode(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        return [array[start:stop] for start, stop in zip(self._bounds[:-1], self._bounds[1:], strict=True)]

    def _padded(self, array: NDArray[Any]) -> NDArray[Any]:
        return pad(array, self.lengths, self._padded_length())

    def _padded_infos(self, infos: Mapping[str, Any]) -> dict[str, Any]:
        length = self._padded_length()
        padded: dict[str, Any] = map_rows(lambda array: pad(array, self.lengths, length), infos)
        return padded

    def _padded_length(self) -> int:
        longest = int(self.lengths.max())
        limit = None if self.env_spec is None else self.env_spec.max_episode_length
        if limit is not None and limit < longest:
            warnings.warn(
                f"EpisodeBatch: the longest episode has {longest} steps, the spec's max_episode_length is {limit}; "
                f"padding to {longest}",
                stacklevel=4,
            )
        return max(longest, limit or 0)


def _episode(index: int, path: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one episode out of a dictionary of `from_list`."""
    label = f"EpisodeBatch.from_list: dictionary {index}: "
    needed = ("episode_infos", "observations", "actions", "rewards", "env_infos", "agent_infos")
    if missing := [name for name in needed if name not in path]:
        raise ValueError(f"{label}lacks {', '.join(missing)}")
    episode = {name: path[name] for name in needed[1:]}
    # Here, because after joining a surplus of one episode could make up for a lack of another.
    steps = checks.check_rewards(f"{label}rewards", path["rewards"])
    checks.check_array(f"{label}observations", path["observations"])
    if len(path["observations"]) == steps + 1:
        episode["observations"], last = path["observations"][:-1], path["observations"][-1:]
    elif "next_observations" in path:
        checks.check_array(f"{label}next_observations", path["next_observations"], steps)
        last = path["next_observations"][-1:]
    else:
        last = path["observations"][-1:]
    checks.check_array(f"{label}observations", episode["observations"], steps)
    checks.check_array(f"{label}actions", path["actions"], steps)
    for name in ("env_infos", "agent_infos"):
        checks.check_infos(label + name, path[name], steps)
    episode["last_observations"] = last
    episode["step_types"] = _step_types(label, path, steps)
    episode["episode_infos"] = {key: np.asarray(value)[np.newaxis] for key, value in path["episode_infos"].items()}
    return episode


def _step_types(label: str, path: Mapping[str, Any], steps: int) -> NDArray[Any]:
    if "step_types" in path:
        types: NDArray[Any] = path["step_types"]
        checks.check_vector(f"{label}step_types", types, steps)
        return types
    if "dones" not in path:
        raise ValueError(f"{label}lacks step_types, or dones")
    checks.check_vector(f"{label}dones", path["dones"], steps)
    return np.where(path["dones"], np.uint8(StepType.TERMINAL), np.uint8(StepType.MID))
