"""Recorded flights as episodes, and episodes as recorded flights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import runtime
from ganglion._foundation.recordings import read_episodes
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.flight.recorder import FlightRecorder

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ganglion.data import EnvSpec, EpisodeBatch
    from ganglion.flight.recorded import Flight, FlownPolicy
    from ganglion.runtime.engines import EngineName

_FLUSH = 1000
"""Steps after which the recorder gets its time to write: a simulation is faster than a disk."""


def episodes(
    flight: Flight, policy: int | None = None, *, rewards: str | None = None, env_spec: EnvSpec | None = None
) -> EpisodeBatch:
    """What a policy saw and gave, as episodes.

    An episode begins with the first step, where its row is reset, and where events are missing; episodes of one row
    stand behind each other, then those of the next. Steps that were refused gave no action and are left out. What
    followed the last action of an episode is not in a recording: the last observation stands there once more.

    Args:
        flight: the recording, see `read`.
        policy: its number; None for the only one.
        rewards: the channel of the user's own that holds the reward of every step: its first value behind the step;
            None for zeros.
        env_spec: of the environment; None leaves observations and actions unchecked.

    Returns:
        The episodes; `agent_infos` has the further outputs by their names, `env_infos` has `time_ns`.

    Raises:
        ArtifactError: there is no such policy or channel, no step, or a step without a reward.
        EngineUnavailableError: gymnasium is not installed.
    """
    try:
        from ganglion.data import EpisodeBatch, StepType
    except ImportError as error:
        raise EngineUnavailableError(f"episodes need '{error.name}': pip install 'ganglion[torch]'") from error

    flown = flight.policy(policy)
    good = np.flatnonzero(flown.is_ok)
    if not len(good):
        raise ArtifactError(f"'{flight.path}': policy {flown.number} has no step that gave an action")
    begins = _begins(flight, flown, good)
    order = np.concatenate([good] * flown.batch)
    rows = np.repeat(np.arange(flown.batch), len(good))
    first = begins.T.reshape(-1)
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=len(order))
    types = np.full(len(order), StepType.MID, np.uint8)
    types[starts + lengths - 1] = StepType.TIMEOUT
    types[starts[lengths > 1]] = StepType.FIRST
    observations = np.ascontiguousarray(flown.observation[order, rows])
    gains = np.zeros(len(order), np.float32) if rewards is None else _rewards(flight, flown, good, rewards)[order]
    return EpisodeBatch(
        env_spec,
        episode_infos={},
        observations=observations,
        last_observations=observations[starts + lengths - 1],
        actions=np.ascontiguousarray(flown.action[order, rows]),
        rewards=gains,
        env_infos={"time_ns": flown.steps["time_ns"][order]},
        agent_infos={
            spec.name: np.ascontiguousarray(flown.output(index)[order, rows])
            for index, spec in enumerate(flown.contract.outputs)
            if index or flown.sample_seed is not None
        },
        step_types=types,
        lengths=lengths,
    )


def record_episodes(
    path: str | os.PathLike[str],
    recording: EpisodeBatch | str | os.PathLike[str],
    policy: str | os.PathLike[str],
    *,
    engine: EngineName = "automatic",
    period_s: float | None = None,
    overwrite: bool = False,
) -> None:
    """Flies a policy along recorded episodes, and records that as a flight: the inverse of `episodes`.

    Every episode begins with a reset. The actions of the flight are those of the policy; what stands in the episodes is
    beside them, as the channels `recorded_actions` and `rewards`.

    Args:
        path: the `.mcap` file to write.
        recording: an `EpisodeBatch`, or the path of a recording (see `ganglion.verify.load_recording`).
        policy: the file of a policy; it flies with one row.
        engine: what runs it.
        period_s: simulated time from step to step; None for the contract's period, or else 0.01.
        overwrite: replace a file that is there already.

    Raises:
        ArtifactError: a file cannot be read, or the observations have another size.
        GanglionError: the recording cannot be written.
        ValueError: the period is not positive.
    """
    pilot = runtime.load(policy, engine=engine, batch=1)
    seconds = period_s if period_s is not None else pilot.contract.period_s or 0.01
    if not (math.isfinite(seconds) and seconds > 0.0):
        raise ValueError(f"period_s must be positive and finite, not {seconds}")
    found = read_episodes(recording, pilot.contract.observation_size)
    batch, starts = found.batch, set(found.starts.tolist())
    actions = None if batch is None else batch.actions.reshape(len(found.observations), -1)
    is_kept = actions is not None and actions.dtype.kind in "biuf" and actions.shape[1] > 0
    with FlightRecorder.open(path, overwrite=overwrite) as recorder:
        pilot.attach(recorder)
        given = recorder.channel("recorded_actions", actions.shape[1]) if actions is not None and is_kept else None
        gains = None if batch is None else recorder.channel("rewards", 1)
        for step, observation in enumerate(found.observations):
            recorder.set_time(round(step * seconds * 1e9))
            if step in starts:
                pilot.reset()
            pilot.step(observation)
            if given is not None and actions is not None:
                given.record(actions[step])
            if gains is not None and batch is not None:
                gains.record([batch.rewards[step]])
            if step % _FLUSH == _FLUSH - 1:
                recorder.flush()


def _begins(flight: Flight, flown: FlownPolicy, good: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`[steps, rows]`, of the steps that gave an action."""
    begins = flown.begins.copy()
    for gap in flight.gaps:
        at = int(np.searchsorted(flown.steps["sequence"], gap.sequence))
        if at < len(begins):
            begins[at] = True
    # A reset before a refused step is one before the next that was not.
    parts = np.concatenate([[0], good[:-1] + 1])
    since: NDArray[np.bool_] = np.add.reduceat(begins[: good[-1] + 1], parts, axis=0) > 0
    since[0] = True
    return since


def _rewards(flight: Flight, flown: FlownPolicy, good: NDArray[np.int64], name: str) -> NDArray[np.float32]:
    values: Any = flight.channels.get(name)
    if values is None:
        known = ", ".join(flight.channels) or "none"
        raise ArtifactError(f"'{flight.path}' has no channel '{name}' with rewards; there are: {known}")
    at = np.searchsorted(values["sequence"], flown.steps["sequence"])
    following = np.append(flown.steps["sequence"][1:].astype(np.float64), np.inf)
    found = np.append(values["sequence"].astype(np.float64), np.inf)[at]
    missing = found[good] > following[good]
    if missing.any():
        raise ArtifactError(f"'{flight.path}': step {int(good[missing.argmax()])} has no value in channel '{name}'")
    gains: NDArray[np.float32] = np.append(values["values"].reshape(len(values), -1)[:, 0], np.float32(0.0))[at]
    return gains
