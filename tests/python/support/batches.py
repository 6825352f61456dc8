"""Batches for the tests of this room."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from ganglion.data import EnvSpec, EpisodeBatch, StepType, TimeStepBatch

LENGTHS = [2, 1, 3]


def spec(max_episode_length: int | None = 4) -> EnvSpec:
    box = gymnasium.spaces.Box
    return EnvSpec(box(-10.0, 10.0, (2,)), box(-np.inf, np.inf, (1,)), max_episode_length, observation_names=("x", "v"))


def episode_fields(lengths: list[int] | None = None, /, **changes: Any) -> dict[str, Any]:
    """Fields in which every number is another one."""
    lengths = LENGTHS if lengths is None else lengths
    steps, episodes = sum(lengths), len(lengths)
    types = np.concatenate(
        [[StepType.FIRST, *[StepType.MID] * (length - 2), StepType.TERMINAL][-length:] for length in lengths]
    )
    fields = {
        "env_spec": spec(),
        "episode_infos": {"goal": np.arange(2.0 * episodes).reshape(episodes, 2), "seed": np.arange(episodes)},
        "observations": np.linspace(-9, 9, 2 * steps, dtype=np.float32).reshape(steps, 2),
        "last_observations": np.linspace(5, 6, 2 * episodes, dtype=np.float32).reshape(episodes, 2),
        "actions": np.arange(steps, dtype=np.float32).reshape(steps, 1),
        "rewards": np.arange(1.0, steps + 1),
        "env_infos": {"contact": {"left": np.arange(steps) % 2 == 0, "force": np.arange(3 * steps).reshape(steps, 3)}},
        "agent_infos": {"hidden_states": np.arange(8.0 * steps, dtype=np.float32).reshape(steps, 8)},
        "step_types": types.astype(np.uint8),
        "lengths": np.array(lengths),
    }
    return {**fields, **changes}


def episodes(lengths: list[int] | None = None, /, **changes: Any) -> EpisodeBatch:
    return EpisodeBatch(**episode_fields(lengths, **changes))


def steps(count: int = 6) -> TimeStepBatch:
    batch = episodes([count])
    names = ("episode_infos", "observations", "actions", "rewards", "next_observations", "agent_infos", "env_infos")
    return TimeStepBatch(spec(), step_types=batch.step_types, **{name: getattr(batch, name) for name in names})


def arrays(value: Any) -> list[np.ndarray]:
    """All arrays of a batch or of nested dictionaries, in a fixed order."""
    if isinstance(value, EpisodeBatch):
        names = ("observations", "actions", "rewards", "env_infos", "agent_infos", "step_types")
        names += ("episode_infos_by_episode", "last_observations", "lengths")
        return [array for name in names for array in arrays(getattr(value, name))]
    if isinstance(value, TimeStepBatch):
        names = ("observations", "actions", "rewards", "env_infos", "agent_infos", "step_types", "episode_infos")
        return [array for name in (*names, "next_observations") for array in arrays(getattr(value, name))]
    if isinstance(value, dict):
        return [array for key in sorted(value) for array in arrays(value[key])]
    return [value]


def assert_equal(left: TimeStepBatch, right: TimeStepBatch) -> None:
    assert type(left) is type(right)
    assert left.env_spec == right.env_spec
    for one, other in zip(arrays(left), arrays(right), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
