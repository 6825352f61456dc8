"""Episodes from this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.training.rollouts import RolloutWorker
from ganglion.training.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganglion.data import EpisodeBatch
    from ganglion.training.rollouts import Job


class LocalSampler(Sampler):
    """Runs the jobs of all workers one after the other, in one set of environments; see `Sampler`.

    One worker with many environments is the fastest. Several workers give what a `RaySampler` with as many gives.
    """

    _worker: RolloutWorker | None = None

    def close(self) -> None:
        """Closes the environments; the next use makes new ones."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _run(self, jobs: Sequence[Job], weights: Mapping[str, Any] | None) -> list[EpisodeBatch]:
        if self._worker is None:
            self._worker = RolloutWorker(self._agent, self._make_envs)
        self._worker.load(weights)
        return [self._worker.run(job) for job in jobs]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_worker": None}
