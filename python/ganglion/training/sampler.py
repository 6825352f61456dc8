"""What all samplers share: how many episodes, which seeds, in which order."""

from __future__ import annotations

import copy
import functools
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ganglion.envs import VectorGymEnvironment
from ganglion.training.rollouts import Job, joined
from ganglion.training.seeding import get_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ganglion.data import EpisodeBatch
    from ganglion.training.protocols import Agent
    from ganglion.training.rollouts import VectorEnvironment


class Sampler(ABC):
    """Runs an agent in environments and returns whole episodes.

    The work of an update is split into jobs, one per worker. What a job returns depends on nothing but the weights, the
    seed, the number of the update and the number of the worker; so samplers with equal seeds and numbers return equal
    episodes, wherever they run, and a job that got lost can be run again. That holds for environments that
    `reset(seed=...)` puts into the same state whatever happened before.

    Args:
        agent: who acts; the sampler works on a copy.
        env_factory: makes one environment, of gymnasium or an `Environment`; called `envs_per_worker` times by every
            worker. The id of a registered one will do.
        num_workers: number of jobs of an update.
        envs_per_worker: environments that a worker steps side by side.
        seed: seed of all episodes; None for that of `set_seed`, or a drawn one if that was not called.
        vectorize: makes environments that are stepped side by side of `env_factory` and their number.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is below 1, or the seed is negative.
    """

    def __init__(
        self,
        agent: Agent,
        env_factory: Callable[[], Any] | str,
        *,
        num_workers: int = 1,
        envs_per_worker: int = 1,
        seed: int | None = None,
        vectorize: Callable[[Any, int], VectorEnvironment] = VectorGymEnvironment,
    ) -> None:
        name = type(self).__name__
        for method in ("reset", "get_actions"):
            if not callable(getattr(agent, method, None)):
                raise TypeError(f"{name}: the agent, a {type(agent).__name__}, has no method {method}(); see Agent")
        if not callable(env_factory) and not isinstance(env_factory, str):
            raise TypeError(f"{name}: env_factory must be a function that makes an environment, not {env_factory!r}")
        _check_count(f"{name}: num_workers", num_workers)
        _check_count(f"{name}: envs_per_worker", envs_per_worker)
        if seed is None:
            seed = secrets.randbits(32) if (known := get_seed()) is None else known
        self._agent = copy.deepcopy(agent)
        self._make_envs = functools.partial(vectorize, env_factory, envs_per_worker)
        self._num_workers = num_workers
        self._envs_per_worker = envs_per_worker
        self._seed = _checked_seed(name, seed)

    @property
    def num_workers(self) -> int:
        """Number of jobs of an update."""
        return self._num_workers

    @property
    def envs_per_worker(self) -> int:
        """Environments that a worker steps side by side."""
        return self._envs_per_worker

    @property
    def seed(self) -> int:
        """Seed of all episodes."""
        return self._seed

    def obtain_episodes(self, update: int, num_steps: int, weights: Mapping[str, Any] | None = None) -> EpisodeBatch:
        """Runs episodes to their ends until there are enough steps.

        Every episode that is begun is returned, however long it gets, so short ones are not preferred. A worker begins
        new ones until it has made its share of the steps, `num_steps / num_workers`.

        Args:
            update: number of the update; the same number, seed and weights give the same episodes.
            num_steps: least number of steps.
            weights: what the agent's `load_state_dict` takes; None to go on with those that it has.

        Returns:
            The episodes, by worker, then in the order of their beginnings. `episode_infos["seed"]` is what the
            environment was seeded with.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: a number is out of range.
            TrainingError: an action, observation or reward is not finite, or workers keep getting lost.
        """
        if isinstance(update, bool) or not isinstance(update, int) or not 0 <= update < 1 << 32:
            raise ValueError(f"obtain_episodes: update must be an int from 0 to 2^32 - 1, not {update!r}")
        _check_count("obtain_episodes: num_steps", num_steps)
        share = -(-num_steps // self._num_workers)
        jobs = [Job(self._seed, update, worker, share) for worker in range(self._num_workers)]
        return joined(self._run(jobs, weights))

    @abstractmethod
    def _run(self, jobs: Sequence[Job], weights: Mapping[str, Any] | None) -> list[EpisodeBatch]:
        """Runs the jobs and returns what they gave, in their order."""

    @abstractmethod
    def close(self) -> None:
        """Ends workers and closes environments; the next use makes new ones."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what the episodes depend on."""
        return {
            "seed": self._seed,
            "num_workers": self._num_workers,
            "envs_per_worker": self._envs_per_worker,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the seed of another sampler.

        Raises:
            ValueError: that one had another number of workers or environments, so the episodes would be others.
        """
        for name in ("num_workers", "envs_per_worker"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"the sampler has {name}={getattr(self, name)}, the snapshot was made with {state[name]}; with "
                    "other numbers the episodes would not be those of one uninterrupted run"
                )
        self._seed = _checked_seed(type(self).__name__, state["seed"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_count(label: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{label} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{label} must be at least 1, not {value}")


def _checked_seed(name: str, seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{name}: the seed must be an int, not {seed!r}")
    if seed < 0:
        raise ValueError(f"{name}: the seed must not be negative, not {seed}")
    return seed
