"""One job: whole episodes of an agent in environments side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ganglion.data import EnvSpec, EpisodeBatch, StepType
from ganglion.training.errors import TrainingError
from ganglion.training.seeding import apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ganglion.training.protocols import Agent


class VectorEnvironment(Protocol):
    """Environments side by side, as `ganglion.envs.VectorGymEnvironment`, which says what the methods do."""

    @property
    def count(self) -> int:
        """Number of environments."""

    @property
    def spec(self) -> EnvSpec:
        """The spec of one of them."""

    def reset(self, rows: NDArray[np.bool_] | None = None, seeds: Sequence[int] | None = None) -> NDArray[Any]:
        """Begins an episode in the flagged rows, with one seed each; returns the observations of all rows."""

    def step(
        self, actions: NDArray[Any], active: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Returns observations, rewards, terminated, truncated and infos of a step of the active rows."""

    def close(self) -> None:
        """Gives back what the environments hold."""


@dataclass(frozen=True)
class Job:
    """What one worker does for one update. Its episodes depend on this and on the weights, and on nothing else.

    Attributes:
        seed: seed of the sampler.
        update: number of the update.
        worker: number of the worker.
        num_steps: new episodes are begun until there are so many steps.
    """

    seed: int
    update: int
    worker: int
    num_steps: int

    @property
    def sequence(self) -> np.random.SeedSequence:
        """Where the agent's random numbers come from."""
        return np.random.SeedSequence(self.seed, spawn_key=(self.update, self.worker))

    def episode_seed(self, episode: int) -> int:
        """Returns what the environment of an episode, counted from 0 in this job, is seeded with: 32 bits."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(self.update, self.worker, episode))
        return int(sequence.generate_state(1)[0])


class RolloutWorker:
    """An agent and its environments.

    Args:
        agent: who acts; it is not copied.
        make_envs: makes the environments.

    Raises:
        ValueError: the agent was made for other spaces.
    """

    def __init__(self, agent: Agent, make_envs: Callable[[], VectorEnvironment]) -> None:
        self._agent = agent
        self._envs = make_envs()
        _check_spaces(agent, self._envs.spec)

    def load(self, weights: Mapping[str, Any] | None) -> None:
        """Gives the agent new weights.

        Raises:
            TypeError: it takes none.
        """
        if weights is None:
            return
        if not callable(getattr(self._agent, "load_state_dict", None)):
            raise TypeError(
                f"the agent, a {type(self._agent).__name__}, has no load_state_dict(), so it cannot be sent weights"
            )
        self._agent.load_state_dict(weights)  # type: ignore[attr-defined]

    def run(self, job: Job) -> EpisodeBatch:
        """Runs the episodes of a job; see `Sampler.obtain_episodes`.

        Raises:
            TrainingError: an action, observation or reward is not finite, or the agent's infos change their names.
        """
        with apart(job.sequence):
            return _RunningJob(job, self._agent, self._envs).run()

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()


class _Episode(NamedTuple):
    """Where the steps of an episode lie: row `row` of the times `start` to `stop`."""

    number: int
    row: int
    start: int
    stop: int
    terminated: bool
    last_observation: NDArray[Any]


class _RunningJob:
    """The state of a job while it runs. All rows are stepped together; the episodes are cut out at the end."""

    def __init__(self, job: Job, agent: Agent, envs: VectorEnvironment) -> None:
        self._job = job
        self._agent = agent
        self._envs = envs
        self._starts = np.zeros(envs.count, np.int64)
        self._numbers = np.zeros(envs.count, np.int64)
        self._episodes: list[_Episode] = []
        self._begun = 0
        self._steps: dict[str, list[Any]] = {
            name: [] for name in ("observations", "actions", "rewards", "agent_infos", "env_infos")
        }

    def run(self) -> EpisodeBatch:
        # An episode has at least one step, so more rows than steps are never needed.
        active = np.arange(self._envs.count) < self._job.num_steps
        observations = self._begin(active, 0)
        time = steps = 0
        while active.any():
            hidden_states = getattr(self._agent, "hidden_states", None)
            actions, agent_infos = self._agent.get_actions(observations)
            if hidden_states is not None:
                agent_infos = {"hidden_states": hidden_states, **agent_infos}
            self._check_finite("action", actions, active, time)
            following, rewards, terminated, truncated, env_infos = self._envs.step(actions, active)
            self._check_finite("observation", following, active, time)
            self._check_finite("reward", rewards, active, time)
            for name, value in (
                ("observations", observations),
                ("actions", actions),
                ("rewards", rewards),
                ("agent_infos", agent_infos),
                ("env_infos", env_infos),
            ):
                self._steps[name].append(value)
            time += 1
            steps += int(active.sum())
            observations = following
            ended = active & (terminated | truncated)
            if ended.any():
                self._end(ended, terminated, following, time)
                # The choice does not look at how long the others still run, so no length is preferred.
                if steps < self._job.num_steps:
                    observations = self._begin(ended, time)
                else:
                    active = active & ~ended
        return self._batch()

    def _begin(self, rows: NDArray[np.bool_], time: int) -> NDArray[Any]:
        numbers = self._begun + np.arange(int(rows.sum()))
        self._begun += len(numbers)
        self._numbers[rows] = numbers
        self._starts[rows] = time
        # At the beginning of a job all rows: nothing may be left of the job before.
        self._agent.reset(rows if time else np.ones_like(rows))
        return self._envs.reset(rows, [self._job.episode_seed(number) for number in numbers.tolist()])

    def _end(self, ended: NDArray[np.bool_], terminated: NDArray[np.bool_], following: NDArray[Any], time: int) -> None:
        for row in np.flatnonzero(ended).tolist():
            self._episodes.append(
                _Episode(
                    int(self._numbers[row]), row, int(self._starts[row]), time, bool(terminated[row]), following[row]
                )
            )

    def _batch(self) -> EpisodeBatch:
        episodes = sorted(self._episodes)
        rows = self._envs.count
        picks = np.concatenate([np.arange(one.start, one.stop) * rows + one.row for one in episodes])
        lengths = np.array([one.stop - one.start for one in episodes])
        ends = np.cumsum(lengths)
        step_types = np.full(len(picks), StepType.MID, np.uint8)
        step_types[ends - lengths] = StepType.FIRST
        step_types[ends - 1] = [StepType.TERMINAL if one.terminated else StepType.TIMEOUT for one in episodes]
        return EpisodeBatch(
            env_spec=self._envs.spec,
            episode_infos={"seed": np.array([self._job.episode_seed(one.number) for one in episodes], np.int64)},
            observations=_picked(self._steps["observations"], picks),
            last_observations=np.stack([one.last_observation for one in episodes]),
            actions=_picked(self._steps["actions"], picks),
            rewards=_picked(self._steps["rewards"], picks),
            env_infos=_picked_env_infos(self._steps["env_infos"], picks, rows),
            agent_infos=self._picked_agent_infos(picks),
            step_types=step_types,
            lengths=lengths,
        )

    def _picked_agent_infos(self, picks: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        infos = self._steps["agent_infos"]
        names = infos[0].keys()
        for time, info in enumerate(infos):
            if info.keys() != names:
                raise TrainingError(
                    f"the agent, a {type(self._agent).__name__}, gave the infos {sorted(names)} at step 0 and "
                    f"{sorted(info)} at step {time}; they must be the same at every step"
                )
        return {name: _picked([info[name] for info in infos], picks) for name in names}

    def _check_finite(self, what: str, values: NDArray[Any], active: NDArray[np.bool_], time: int) -> None:
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1) & active
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            number = int(self._numbers[row])
            raise TrainingError(
                f"{what} {values[row]} at step {time - int(self._starts[row])} of episode {number} (update "
                f"{self._job.update}, worker {self._job.worker}, environment seed {self._job.episode_seed(number)}) is "
                "not finite"
            )


def joined(batches: Sequence[EpisodeBatch]) -> EpisodeBatch:
    """Returns all episodes in one batch. An info of the environments that a batch does not have is zero there."""
    if len(batches) == 1:
        return batches[0]
    known = {name: value for batch in batches for name, value in batch.env_infos.items()}
    complete = []
    for batch in batches:
        infos = {
            name: batch.env_infos[name]
            if name in batch.env_infos
            else np.zeros((len(batch.rewards), *value.shape[1:]), value.dtype)
            for name, value in known.items()
        }
        complete.append(
            EpisodeBatch(
                batch.env_spec,
                batch.episode_infos_by_episode,
                batch.observations,
                batch.last_observations,
                batch.actions,
                batch.rewards,
                infos,
                batch.agent_infos,
                batch.step_types,
                batch.lengths,
            )
        )
    return EpisodeBatch.concatenate(*complete)


def _picked(values: list[NDArray[Any]], picks: NDArray[np.int64]) -> NDArray[Any]:
    """Stacks `[rows, ...]` of every time and takes the steps `time * rows + row`."""
    stacked = np.stack(values)
    # The number of steps is spelt out: rows may be empty, as the hidden states of a policy without memory are.
    return stacked.reshape(stacked.shape[0] * stacked.shape[1], *stacked.shape[2:])[picks]


def _picked_env_infos(infos: list[dict[str, Any]], picks: NDArray[np.int64], rows: int) -> dict[str, NDArray[Any]]:
    """As `_picked`, for gymnasium's infos: names come and go, masks `_name` tell where; zeros elsewhere.

    Only numbers are kept; a dictionary inside becomes names `outer/inner`.
    """
    flat = [_flat(info) for info in infos]
    examples = {name: value for info in flat for name, value in info.items()}
    return {
        name: _picked([info.get(name, np.zeros_like(example)) for info in flat], picks)
        for name, example in examples.items()
        if example.shape[:1] == (rows,)
    }


def _flat(infos: Mapping[str, Any], prefix: str = "") -> dict[str, NDArray[Any]]:
    result: dict[str, NDArray[Any]] = {}
    for name, value in infos.items():
        if name.startswith("_") and name[1:] in infos:
            continue
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            result[prefix + name] = value
    return result


def _check_spaces(agent: Any, spec: EnvSpec) -> None:
    known = getattr(agent, "env_spec", None)
    if not isinstance(known, EnvSpec):
        return
    for name in ("observation_space", "action_space"):
        if getattr(known, name) != getattr(spec, name):
            raise ValueError(
                f"the agent was made for {name} {getattr(known, name)}, the environment has {getattr(spec, name)}"
            )
