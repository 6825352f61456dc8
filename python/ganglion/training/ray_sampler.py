"""Episodes from other processes, on this machine or others, by Ray."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ganglion.envs import VectorGymEnvironment
from ganglion.errors import EngineUnavailableError
from ganglion.training._plain import from_plain, to_plain
from ganglion.training.errors import TrainingError
from ganglion.training.rollouts import RolloutWorker
from ganglion.training.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ganglion.data import EpisodeBatch
    from ganglion.training.protocols import Agent
    from ganglion.training.rollouts import Job, VectorEnvironment

_MOST_LOSSES = 3
"""So often a job is begun again, in an update, because its worker was lost; more than that is no accident."""


class RaySampler(Sampler):
    """Runs the job of every worker in a Ray actor; see `Sampler`. Needs the extra `ray`.

    It gives the episodes of a `LocalSampler` with the same seed, number of workers and environments per worker (on
    machines that compute alike). Weights are sent once per update. A worker that is lost, with its process or its
    machine, is replaced and its job run again: nothing is missing, nothing comes twice. An exception of the agent or
    the environment is no loss; it comes back as it is.

    Without a connection to a cluster (`ray.init(address=...)`) it starts one on this machine at first use. Workers
    import ganglion, and the modules of the agent's and the environment's classes.

    Args:
        agent: see `Sampler`.
        env_factory: see `Sampler`.
        num_workers: number of actors.
        envs_per_worker: see `Sampler`.
        seed: see `Sampler`.
        vectorize: see `Sampler`.
        actor_options: options of the actors, for example `{"num_cpus": 0.5, "resources": {"sim": 1}}`; see Ray's
            `.options()`. By default one CPU each.

    Raises:
        EngineUnavailableError: Ray is not installed.
        TypeError, ValueError: see `Sampler`.
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
        actor_options: Mapping[str, Any] | None = None,
    ) -> None:
        _ray()
        super().__init__(
            agent,
            env_factory,
            num_workers=num_workers,
            envs_per_worker=envs_per_worker,
            seed=seed,
            vectorize=vectorize,
        )
        self._actor_options = {"num_cpus": 1, **(actor_options or {})}
        self._actors: dict[int, Any] = {}
        self._parts: Any = None
        self._weights: Any = None

    def close(self) -> None:
        """Ends the actors; the next use makes new ones. The connection to the cluster stays."""
        for worker in list(self._actors):
            self._end(worker)
        self._parts = None

    def _run(self, jobs: Sequence[Job], weights: Mapping[str, Any] | None) -> list[EpisodeBatch]:
        ray = _ray()
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        if weights is not None:
            # Kept, so that a worker that is made later has them, too.
            self._weights = ray.put(to_plain(dict(weights), "weights"))
        try:
            return self._gather(ray, jobs)
        except BaseException:
            # What still runs belongs to an update that nobody waits for.
            self.close()
            raise

    def _gather(self, ray: Any, jobs: Sequence[Job]) -> list[EpisodeBatch]:
        lost = (
            ray.exceptions.RayActorError,
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.OutOfMemoryError,
        )
        results: dict[int, EpisodeBatch] = {}
        losses: Counter[int] = Counter()
        pending = {self._submit(ray, job): job for job in jobs}
        while pending:
            (reference,), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(reference)
            try:
                results[job.worker] = ray.get(reference)
            except lost as error:
                losses[job.worker] += 1
                self._end(job.worker)
                if losses[job.worker] > _MOST_LOSSES:
                    raise TrainingError(
                        f"worker {job.worker} was lost {losses[job.worker]} times in update {job.update}; the last "
                        f"time: {error}"
                    ) from error
                pending[self._submit(ray, job)] = job
        return [results[job.worker] for job in jobs]

    def _submit(self, ray: Any, job: Job) -> Any:
        if job.worker not in self._actors:
            if self._parts is None:
                self._parts = ray.put((self._agent, self._make_envs))
            self._actors[job.worker] = ray.remote(_Actor).options(**self._actor_options).remote()
        # In a tuple, Ray hands over the reference and not what it stands for, which the actor needs only once.
        return self._actors[job.worker].run.remote(job, (self._parts,), self._weights)

    def _end(self, worker: int) -> None:
        actor = self._actors.pop(worker)
        ray = _ray()
        if ray.is_initialized():
            ray.kill(actor, no_restart=True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_actors": {}, "_parts": None, "_weights": None}


class _Actor:
    """What runs in the other process."""

    def __init__(self) -> None:
        # Filled by the first job: an exception there comes back to the caller, one in here would end the process.
        self._worker: RolloutWorker | None = None

    def run(self, job: Job, parts: tuple[Any], weights: Mapping[str, Any] | None) -> EpisodeBatch:
        if self._worker is None:
            self._worker = RolloutWorker(*_ray().get(parts[0]))
        self._worker.load(None if weights is None else from_plain(weights))
        return self._worker.run(job)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise EngineUnavailableError("RaySampler needs Ray: pip install 'ganglion[ray]'") from error
    return ray
