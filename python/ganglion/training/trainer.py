"""The trainer: epochs, episodes, snapshots, and going on from one of them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.files import replacing
from ganglion.training import checkpoint
from ganglion.training.errors import NotSetupError, TrainingError
from ganglion.training.logger import ExperimentLogger
from ganglion.training.performance import episode_scalars
from ganglion.training.progress import TrainingProgress
from ganglion.training.seeding import get_seed, random_state, set_random_state, set_seed
from ganglion.training.snapshotter import Snapshotter
from ganglion.training.train_state import TrainArgs, TrainStats, check_number, overridden

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from ganglion.data import EpisodeBatch
    from ganglion.training.protocols import Algorithm
    from ganglion.training.sampler import Sampler

_NOT_KEPT = "it was trained with Trainer(ctxt, keep_policy=False)"


class Trainer:
    """Runs an algorithm over epochs, hands it episodes, writes snapshots and goes on from them, as garage's `Trainer`.

        trainer = Trainer(ctxt)
        trainer.setup(algo, env, sampler)
        trainer.train(n_epochs=10, batch_size=4000)

    and later, in another process, `trainer.restore(folder, algo=algo, env=env, sampler=sampler)`, `trainer.resume()`.
    A run that was interrupted and resumed ends with the same numbers as one that was not, to the last bit, if the
    algorithm's `state_dict` is complete.

    Args:
        snapshot_config: the `ctxt` of `wrap_experiment`, or anything that has `snapshot_dir`, `snapshot_mode` and
            `snapshot_gap`; None for the defaults of `Snapshotter`: the last snapshot, in `data/local/experiment`.
        allow_pickle: let snapshots also hold the algorithm and the environment as a pickle, so that
            `restore(folder, allow_pickle=True)` makes them. Without that, snapshots hold data only.
        keep_policy: let snapshots also hold the policy, so that `load_policy` and `ganglion export` build it without
            the algorithm. `train` refuses a policy that cannot be kept, see `save_checkpoint`; False is for those.
        progress: show the progress; None for whenever there is more than one epoch.

    Attributes:
        step_itr: number of the iteration; the algorithm adds 1 to it.
        step_episode: what the algorithm leaves here goes into the snapshot, with `store_episodes`.
        enable_logging: write a row of scalars behind every epoch.

    Raises:
        ValueError: an unknown snapshot mode, or a gap that does not fit it.
    """

    def __init__(
        self,
        snapshot_config: Any = None,
        *,
        allow_pickle: bool = False,
        keep_policy: bool = True,
        progress: bool | None = None,
    ) -> None:
        self._snapshotter = _snapshotter(snapshot_config)
        self._logger: ExperimentLogger = getattr(snapshot_config, "logger", None) or ExperimentLogger()
        self._allow_pickle = allow_pickle
        self._keep_policy = keep_policy
        self._show_progress = progress
        self._algo: Any = None
        self._env: Any = None
        self._sampler: Sampler | None = None
        self._seed: int | None = None
        self._train_args: TrainArgs | None = None
        self._stats = TrainStats()
        self._random_state: Mapping[str, Any] | None = None
        self._progress: TrainingProgress | None = None
        self._start_time = self._epoch_start_time = time.monotonic()
        self._epochs_run = 0
        self._epoch_steps = self._run_updates = 0
        self._epoch_returns: list[float] = []
        self.step_itr = 0
        self.step_episode: Any = None
        self.enable_logging = True

    @property
    def logger(self) -> ExperimentLogger:
        """Where scalars and lines of text go."""
        return self._logger

    @property
    def algo(self) -> Any:
        """The algorithm, or None before `setup`."""
        return self._algo

    @property
    def total_env_steps(self) -> int:
        """Steps in environments so far, with those before a restored snapshot."""
        return self._stats.total_env_steps

    def setup(self, algo: Algorithm, env: Any = None, sampler: Sampler | None = None) -> None:
        """Says what to train.

        Args:
            algo: the algorithm, see `Algorithm`.
            env: the environment, for `get_env_copy`; None if there is none.
            sampler: where episodes come from; None for the algorithm's `sampler`, if it has one.

        Raises:
            TypeError: `algo` has no method `train`.
        """
        if not callable(getattr(algo, "train", None)):
            raise TypeError(f"setup: the algorithm, a {type(algo).__name__}, has no method train(trainer)")
        self._algo = algo
        self._env = env
        self._sampler = _sampler(algo, sampler)
        self._seed = get_seed()

    def train(
        self,
        n_epochs: int,
        batch_size: int | None = None,
        plot: bool = False,
        store_episodes: bool = False,
        pause_for_plot: bool = False,
    ) -> Any:
        """Trains from epoch 0.

        Args:
            n_epochs: number of epochs.
            batch_size: steps of one `obtain_episodes`; None if the algorithm says it each time.
            plot: show an episode of the policy in a copy of the environment behind every epoch.
            store_episodes: keep `step_episode` in snapshots.
            pause_for_plot: wait for the Enter key behind every episode that is shown.

        Returns:
            What the algorithm's `train` returns.

        Raises:
            NotSetupError: `setup` was not called.
            TypeError: a number is no int, or snapshots are wanted and the algorithm has no `state_dict`.
            ValueError: a number is out of range.
            TrainingError: snapshots are wanted and cannot keep the policy, there was a sampler and the algorithm never
                asked for episodes, a snapshot could not be written, or actions, observations, rewards or weights
                became NaN.
        """
        if self._algo is None:
            raise NotSetupError("call setup(algo, env) before train()")
        check_number("n_epochs", n_epochs, 0)
        if batch_size is not None:
            check_number("batch_size", batch_size, 1)
        self._check_saveable()
        self._train_args = TrainArgs(n_epochs, batch_size, plot, store_episodes, pause_for_plot, start_epoch=0)
        self._random_state = None
        self._write_description(self._train_args)
        return self._run(self._train_args)

    def step_epochs(self) -> Iterator[int]:
        """Counts the epochs; behind each one a snapshot and a row of scalars are written.

            for epoch in trainer.step_epochs():
                episodes = trainer.obtain_episodes(trainer.step_itr)
                ...
                trainer.step_itr += 1

        Raises:
            NotSetupError: called outside of `train` and `resume`.
        """
        args = self._require_train_args()
        self._start_time = time.monotonic()
        self.step_itr = self._stats.total_itr
        self.step_episode = None
        n_epochs = overridden(args.n_epochs)
        if self._random_state is not None:
            # The algorithm may have drawn numbers on its way here; the uninterrupted run did not.
            set_random_state(self._random_state)
            self._random_state = None
        with contextlib.ExitStack() as stack:
            if self._show_progress or (self._show_progress is None and n_epochs - args.start_epoch > 1):
                self._progress = stack.enter_context(TrainingProgress(args.start_epoch, n_epochs))
            stack.callback(setattr, self, "_progress", None)
            for epoch in range(args.start_epoch, n_epochs):
                self._epoch_start_time = time.monotonic()
                self._epoch_steps = 0
                self._epoch_returns = []
                with self._logger.prefix(f"epoch #{epoch} | "):
                    yield epoch
                    self._epochs_run += 1
                    self._end_epoch(epoch, args)

    def obtain_episodes(
        self,
        itr: int,
        batch_size: int | None = None,
        agent_update: Mapping[str, Any] | None = None,
        env_update: None = None,
    ) -> EpisodeBatch:
        """Gets new episodes of the policy as it is now.

        Args:
            itr: number of the iteration, for the log.
            batch_size: least number of steps; None for that of `train`.
            agent_update: weights to run; None for those of the algorithm's `exploration_policy`, or else `policy`.
            env_update: only None, in its place in garage's signature: tasks come from the factory of the environments.

        Raises:
            NotSetupError: called outside of `train` and `resume`.
            ValueError: there is no sampler, no batch size, or no policy; or there is an `env_update`.
            TrainingError: an action, observation or reward is not finite.
        """
        if env_update is not None:
            raise ValueError(
                "env_update: environments are not changed from here; let the factory that the sampler was given make "
                "them for their tasks"
            )
        if self._sampler is None:
            raise ValueError(
                "there is no sampler to obtain episodes from; give one to setup(algo, env, sampler), or give the "
                "algorithm a field `sampler`"
            )
        args = self._require_train_args()
        size = args.batch_size if batch_size is None else batch_size
        if size is None:
            raise ValueError("no batch_size: give one to train(), or to obtain_episodes()")
        weights = self._policy_weights() if agent_update is None else agent_update
        episodes = self._sampler.obtain_episodes(self._stats.total_updates, size, weights)
        self._stats.total_updates += 1
        self._run_updates += 1
        steps = int(episodes.lengths.sum())
        self._stats.total_env_steps += steps
        self._epoch_steps += steps
        scalars, returns = episode_scalars(episodes)
        self._epoch_returns += returns
        # A later call in the same epoch takes the place of an earlier one.
        for name, value in scalars.items():
            self._logger.record(name, value)
        self._logger.log(f"iteration {itr}: {len(episodes.lengths)} episodes, {steps} steps")
        return episodes

    def obtain_samples(
        self,
        itr: int,
        batch_size: int | None = None,
        agent_update: Mapping[str, Any] | None = None,
        env_update: None = None,
    ) -> list[dict[str, Any]]:
        """Gets new episodes as `obtain_episodes` does, one dictionary each; see `EpisodeBatch.to_list`."""
        return self.obtain_episodes(itr, batch_size, agent_update, env_update).to_list()

    def save(self, epoch: int) -> None:
        """Writes the snapshot of an epoch, if the snapshot mode asks for one.

        Raises:
            NotSetupError: `setup` was not called, or there is nothing to save before `train`.
            TypeError: the algorithm's state holds something that no snapshot holds.
            TrainingError: the state holds NaN, or the file cannot be written; the last snapshot stays as it was.
        """
        if self._algo is None:
            raise NotSetupError("call setup(algo, env) before save()")
        args = self._require_train_args()
        if not self._snapshotter.file_names(epoch):
            return
        content = {
            "seed": self._seed,
            "train_args": dataclasses.asdict(args),
            "stats": checkpoint.stats_to_plain(self._stats),
            "algo": checkpoint.describe_algo(self._algo, epoch),
            "env": checkpoint.describe_env(self._env),
            "sampler": None if self._sampler is None else _sampler_state(self._sampler),
            "random": random_state(),
            "objects": checkpoint.pickled(self._algo, self._env) if self._allow_pickle else None,
            "policy": checkpoint.describe_policy(self._algo) if self._keep_policy else _NOT_KEPT,
        }
        self._snapshotter.save_itr_params(epoch, content)
        self._logger.log("snapshot saved")

    def restore(
        self,
        from_dir: str | os.PathLike[str],
        from_epoch: int | str = "last",
        *,
        algo: Algorithm | None = None,
        env: Any = None,
        sampler: Sampler | None = None,
        allow_pickle: bool = False,
    ) -> TrainArgs:
        """Takes up a snapshot; `resume` then goes on behind it. New snapshots go to this trainer's own folder.

        Args:
            from_dir: folder of the snapshots.
            from_epoch: which one, see `find_snapshot`.
            algo: made as for the run that is continued; its state is loaded. None to unpickle it.
            env: the environment; None for the one of the pickle, or none.
            sampler: as for `setup`.
            allow_pickle: unpickle the algorithm and the environment where they are not given. That can run any code:
                only for snapshots that you trust.

        Returns:
            A copy of the arguments of `train`.

        Raises:
            ArtifactError: no such snapshot, a damaged one, or one of another class, version or environment. The trainer
                is as it was then; the algorithm too, unless its own `load_state_dict` failed half-way.
            ValueError: the sampler has another number of workers or environments.
        """
        content = self._snapshotter.load(from_dir, from_epoch)
        label = f"the snapshot in '{from_dir}'"
        with checkpoint.damage(label):
            train_args = TrainArgs(**content["train_args"])
            stats = TrainStats(**checkpoint.stats_from_plain(content["stats"]))
            train_args.start_epoch = stats.total_epoch + 1
            seed, random, sampler_state = content["seed"], content["random"], content["sampler"]
            saved_algo, saved_env, objects = content["algo"], content["env"], content["objects"]
        is_given = algo is not None
        if algo is None:
            algo, pickled_env = checkpoint.unpickled(objects, label, allow_pickle)
            env = pickled_env if env is None else env
        checkpoint.check_env(saved_env, env, label)
        sampler = _sampler(algo, sampler)
        if sampler is not None and sampler_state is not None and hasattr(sampler, "load_state_dict"):
            sampler.load_state_dict(sampler_state)
        checkpoint.load_algo(saved_algo, algo, label, needs_state=is_given)
        if seed is not None:
            set_seed(seed)
        with checkpoint.damage(label):
            set_random_state(random)
        self.setup(algo, env, sampler)
        self._random_state = random
        self._train_args, self._stats = train_args, stats
        self.step_itr = stats.total_itr
        return dataclasses.replace(train_args)

    def resume(
        self,
        n_epochs: int | None = None,
        batch_size: int | None = None,
        plot: bool | None = None,
        store_episodes: bool | None = None,
        pause_for_plot: bool | None = None,
    ) -> Any:
        """Trains on behind the restored snapshot.

        Args:
            n_epochs: number of epochs in all, with those before the snapshot; None or 0 for what it was.
            batch_size: as for `train`; None or 0 for what it was.
            plot: as for `train`; None for what it was.
            store_episodes: as for `train`; None for what it was.
            pause_for_plot: as for `train`; None for what it was.

        Returns:
            What the algorithm's `train` returns.

        Raises:
            NotSetupError: `restore` was not called.
            TypeError, ValueError, TrainingError: as for `train`.
        """
        if self._train_args is None:
            raise NotSetupError("call restore(folder) before resume()")
        args = dataclasses.replace(self._train_args)
        for name, value in (("n_epochs", n_epochs), ("batch_size", batch_size)):
            if value:
                check_number(name, value, 1)
                setattr(args, name, value)
        for name, flag in (("plot", plot), ("store_episodes", store_episodes), ("pause_for_plot", pause_for_plot)):
            if flag is not None:
                setattr(args, name, flag)
        self._check_saveable()
        self._train_args = args
        if self._random_state is not None:
            set_random_state(self._random_state)
        return self._run(args)

    def log_diagnostics(self, pause_for_plot: bool = False) -> None:
        """Records how long the epoch took, its episodes and the totals, and shows an episode where that is wanted.

        Args:
            pause_for_plot: wait for the Enter key behind the episode that is shown.
        """
        now = time.monotonic()
        epoch_s = now - self._epoch_start_time
        self._logger.record("TotalEnvSteps", self._stats.total_env_steps)
        self._logger.record("EpochTime", epoch_s)
        self._logger.record("Time", now - self._start_time)
        if self._epoch_steps:
            self._logger.record("StepsPerSecond", self._epoch_steps / max(epoch_s, 1e-9))
        if self._train_args is not None and self._train_args.plot:
            self._show_episode(pause_for_plot)

    def get_env_copy(self) -> Any:
        """Returns a deep copy of the environment, or None if there is none."""
        return None if self._env is None else copy.deepcopy(self._env)

    def _run(self, args: TrainArgs) -> Any:
        self._epochs_run = self._run_updates = 0
        try:
            result = self._algo.train(self)
        finally:
            if self._sampler is not None and hasattr(self._sampler, "close"):
                self._sampler.close()
        if self._sampler is not None and self._run_updates == 0 and args.start_epoch < overridden(args.n_epochs):
            raise TrainingError(
                f"{type(self._algo).__name__}.train() never asked for episodes in {self._epochs_run} epochs, though it "
                "was given a sampler; call trainer.obtain_episodes(), or set up without a sampler"
            )
        return result

    def _end_epoch(self, epoch: int, args: TrainArgs) -> None:
        if self._sampler is not None and self._run_updates == 0:
            self._logger.log(f"{type(self._algo).__name__} asked for no episodes, though it was given a sampler")
        self._stats.last_episode = self.step_episode if args.store_episodes else None
        self._stats.total_epoch = epoch
        self._stats.total_itr = self.step_itr
        self.save(epoch)
        if self._progress is not None:
            seconds = max(time.monotonic() - self._epoch_start_time, 1e-9)
            mean_return = float(np.mean(self._epoch_returns)) if self._epoch_returns else None
            self._progress.update(epoch, mean_return, self._epoch_steps / seconds if self._epoch_steps else None)
        if self.enable_logging:
            self.log_diagnostics(args.pause_for_plot)
            self._logger.dump(self.step_itr)

    def _policy_weights(self) -> Mapping[str, Any] | None:
        policy = _policy(self._algo)
        if policy is None:
            raise ValueError(
                f"{type(self._algo).__name__} has neither `exploration_policy` nor `policy`, so it is not known which "
                "weights to run; give it one, or give agent_update to obtain_episodes()"
            )
        weights: Mapping[str, Any] | None = policy.state_dict() if hasattr(policy, "state_dict") else None
        return weights

    def _require_train_args(self) -> TrainArgs:
        if self._train_args is None:
            raise NotSetupError("this works inside of train() and resume() only; call setup(algo, env), then train()")
        return self._train_args

    def _check_saveable(self) -> None:
        if self._snapshotter.snapshot_mode == "none":
            return
        if not self._allow_pickle:
            checkpoint.check_protocol(self._algo)
        if self._keep_policy:
            checkpoint.check_policy(self._algo)

    def _write_description(self, args: TrainArgs) -> None:
        text = json.dumps(
            {
                "train_args": dataclasses.asdict(args),
                "seed": self._seed,
                "algo": checkpoint.class_name(self._algo),
                "env": None if self._env is None else checkpoint.class_name(self._env),
                "sampler": None if self._sampler is None else _sampler_state(self._sampler),
            },
            indent=2,
        )
        with replacing(Path(self._snapshotter.snapshot_dir) / "experiment.json") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    def _show_episode(self, pause: bool) -> None:
        # Imported here: most runs never show anything.
        from ganglion.training.showing import show_episode

        show_episode(self.get_env_copy(), _policy(self._algo))
        if pause:
            input("Press Enter to go on ")


def _snapshotter(config: Any) -> Snapshotter:
    if config is None:
        return Snapshotter()
    return Snapshotter(config.snapshot_dir, config.snapshot_mode, config.snapshot_gap)


def _policy(algo: Any) -> Any:
    exploration = getattr(algo, "exploration_policy", None)
    return getattr(algo, "policy", None) if exploration is None else exploration


def _sampler(algo: Any, given: Any) -> Any:
    candidates = (given, getattr(algo, "sampler", None), getattr(algo, "_sampler", None))
    return next((one for one in candidates if one is not None), None)


def _sampler_state(sampler: Any) -> dict[str, Any]:
    state = sampler.state_dict() if hasattr(sampler, "state_dict") else {}
    return {"class": checkpoint.class_name(sampler), **state}
