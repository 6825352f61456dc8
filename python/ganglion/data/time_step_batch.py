"""Many steps, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion.data import checks, recording
from ganglion.data._rows import join, part, take
from ganglion.data.step_type import StepType, as_step_types

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from ganglion.data.env_spec import EnvSpec

_STEP_FIELDS = (
    "episode_infos",
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "agent_infos",
    "env_infos",
    "step_types",
)


@dataclass(frozen=True, eq=False, repr=False)
class TimeStepBatch:
    """N steps, not necessarily of one episode nor in order, as garage's `TimeStepBatch`.

    `batch[i]` and `batch[i:j]` are batches of those steps. Arrays are kept as they are given, and parts are views.

    Attributes:
        env_spec: the spec of the environment; None leaves observations and actions unchecked.
        episode_infos: what the environment said at `reset`, by name: arrays `[N, ...]`, one row per STEP.
        observations: `[N, ...]` observations before the actions; elements of the space, or flat.
        actions: `[N, ...]` actions; elements of the space, or flat.
        rewards: `[N]`, finite.
        next_observations: `[N, ...]` observations after the actions.
        agent_infos: what the agent said, by name: arrays `[N, ...]`, or dictionaries of them.
        env_infos: what the environment said, by name: arrays `[N, ...]`, or dictionaries of them.
        step_types: `[N]` `StepType`s. Integers or `StepType` objects are taken; kept as `uint8`.

    Raises:
        ValueError: a field has the wrong type, shape or dtype (the message names the field, what was found and what
            was expected), or there is no step.
    """

    env_spec: EnvSpec | None
    episode_infos: Mapping[str, Any]
    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    next_observations: NDArray[Any]
    agent_infos: Mapping[str, Any]
    env_infos: Mapping[str, Any]
    step_types: NDArray[Any]

    def __post_init__(self) -> None:
        steps = self._check_steps()
        checks.check_array("TimeStepBatch: next_observations", self.next_observations, steps)
        checks.check_observations("TimeStepBatch: next_observations", self.next_observations, self.env_spec)
        checks.check_infos("TimeStepBatch: episode_infos", self.episode_infos, steps)

    def __getitem__(self, index: int | slice) -> Self:
        """Returns the batch of one step, or of a slice of consecutive steps, as views.

        Raises:
            IndexError: there is no such step.
            ValueError: the slice is empty or has a step width.
        """
        steps = part(type(self).__name__, index, len(self.rewards))
        return self._unchecked(
            env_spec=self.env_spec, **{name: take(getattr(self, name), steps) for name in _STEP_FIELDS}
        )

    @classmethod
    def concatenate(cls, *batches: Self) -> Self:
        """Returns all steps in one batch. Neighbouring slices of one batch are joined without a copy.

        Raises:
            ValueError: there is no batch, or specs, keys or shapes differ.
        """
        spec = checks.check_batches(cls, batches)
        label = f"{cls.__name__}.concatenate: "
        return cls._unchecked(
            env_spec=spec,
            **{name: join(label + name, [getattr(batch, name) for batch in batches]) for name in _STEP_FIELDS},
        )

    def split(self) -> list[Self]:
        """Returns one batch per step, as views."""
        return [self[index] for index in range(len(self.rewards))]

    def to_time_step_list(self) -> list[dict[str, Any]]:
        """Returns one dictionary per step, with views `[1, ...]` of every array.

        Keys: `episode_infos, observations, actions, rewards, next_observations, env_infos, agent_infos, step_types`.
        """
        # Read once: an EpisodeBatch works some of them out.
        fields = {name: getattr(self, name) for name in _STEP_FIELDS}
        return [
            {name: take(value, slice(step, step + 1)) for name, value in fields.items()}
            for step in range(len(self.rewards))
        ]

    @classmethod
    def from_time_step_list(cls, env_spec: EnvSpec | None, ts_samples: Sequence[Mapping[str, Any]]) -> Self:
        """Returns the batch of such dictionaries, the inverse of `to_time_step_list`.

        Args:
            env_spec: the spec of the environment, or None.
            ts_samples: dictionaries with the keys of `to_time_step_list`; each may hold several steps. For
                `next_observations` the name on garage's page, `next_observation`, is taken as well.

        Raises:
            ValueError: there is no dictionary, a key is missing, or the fields do not fit.
        """
        return cls(env_spec, **joined_samples(cls.__name__, ts_samples))

    @property
    def terminals(self) -> NDArray[np.bool_]:
        """`[N]`: where the environment ended the episode. A timeout is no terminal step."""
        terminals: NDArray[np.bool_] = self.step_types == StepType.TERMINAL
        return terminals

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one `.npz` file without pickles; `path` is replaced only when the new file is complete.

        Raises:
            ValueError: an array holds Python objects, or a space has no JSON form.
            OSError: the file cannot be written; what was there before is still there.
        """
        recording.write(path, type(self).__name__, self.env_spec, {name: getattr(self, name) for name in _STEP_FIELDS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote; runs no code of the file.

        Raises:
            ArtifactError: the file is missing, damaged, of a newer format, or of another class.
        """
        return recording.read(path, cls.__name__, cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.rewards)} steps, {self.env_spec})"

    @classmethod
    def _unchecked(cls, **fields: Any) -> Self:
        """A batch of parts of checked batches, which need no second look."""
        batch = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(batch, name, value)
        return batch

    def _check_steps(self) -> int:
        """Checks what every batch has and returns the number of steps."""
        owner = type(self).__name__
        steps = checks.check_rewards(f"{owner}: rewards", self.rewards)
        for name in ("observations", "actions"):
            checks.check_array(f"{owner}: {name}", getattr(self, name), steps)
        checks.check_observations(f"{owner}: observations", self.observations, self.env_spec)
        checks.check_actions(f"{owner}: actions", self.actions, self.env_spec)
        checks.check_vector(f"{owner}: step_types", self.step_types, steps)
        object.__setattr__(self, "step_types", as_step_types(f"{owner}: step_types", self.step_types))
        checks.check_infos(f"{owner}: agent_infos", self.agent_infos, steps)
        checks.check_infos(f"{owner}: env_infos", self.env_infos, steps)
        return steps


def joined_samples(owner: str, ts_samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the fields of a `TimeStepBatch` out of dictionaries of steps.

    Raises:
        ValueError: there is no dictionary, or a key is missing.
    """
    if not ts_samples:
        raise ValueError(f"{owner}.from_time_step_list: no dictionary, expected at least one")
    ts_samples = [_named_alike(sample) for sample in ts_samples]
    for index, sample in enumerate(ts_samples):
        if missing := [name for name in _STEP_FIELDS if name not in sample]:
            raise ValueError(f"{owner}.from_time_step_list: dictionary {index} lacks {', '.join(missing)}")
    label = f"{owner}.from_time_step_list: "
    return {name: join(label + name, [sample[name] for sample in ts_samples]) for name in _STEP_FIELDS}


def _named_alike(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    if "next_observations" in sample or "next_observation" not in sample:
        return sample
    return {**sample, "next_observations": sample["next_observation"]}
