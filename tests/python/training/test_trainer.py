"""The trainer: resuming to the last bit, what is logged, and everything that stops it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from rich.console import Console
from torch import nn
from training_parts import SPEC, Agent, Points, PolicyGradient, config, same_episodes, ten_steps

from ganglion.data import EnvSpec, EpisodeBatch
from ganglion.errors import ArtifactError
from ganglion.policies import LSTMPolicy
from ganglion.training import (
    ExperimentContext,
    ExperimentLogger,
    LocalSampler,
    NotSetupError,
    Trainer,
    TrainingError,
    load_policy,
    load_snapshot,
    set_seed,
)
from ganglion.training.progress import TrainingProgress


def parts(seed=None, **options):
    sampler = LocalSampler(Agent(), dict, num_workers=2, envs_per_worker=2, seed=seed, vectorize=Points)
    return PolicyGradient(**options), sampler


def run(folder, n_epochs=10, mode="last", gap=1):
    """Ten epochs, of which `n_epochs` are run."""
    set_seed(1)
    algo, sampler = parts()
    trainer = Trainer(config(folder, mode, gap), progress=False)
    trainer.setup(algo, None, sampler)
    trainer.train(n_epochs=n_epochs, batch_size=60)
    return trainer, algo


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else one == other


def test_ten_epochs_are_five_and_five(tmp_path) -> None:
    _, whole = run(tmp_path / "whole")
    run(tmp_path / "first", n_epochs=5)
    # Another process: other objects, other weights, other state of all generators.
    set_seed(99)
    algo, sampler = parts(seed=17)
    algo.policy = Agent(seed=5)
    algo.optimizer = torch.optim.Adam(algo.policy.parameters(), lr=0.5)
    trainer = Trainer(config(tmp_path / "second"), progress=False)
    args = trainer.restore(tmp_path / "first", algo=algo, sampler=sampler)
    assert (args.start_epoch, args.n_epochs, args.batch_size) == (5, 5, 60)
    torch.rand(7), np.random.rand(7)
    trainer.resume(n_epochs=10)
    assert algo.returns == whole.returns
    assert len(algo.returns) == 10
    assert same(algo.state_dict(), whole.state_dict())
    # The moments are really there, and so are the generators.
    assert algo.state_dict()["optimizer"]["state"][0]["step"] == 10.0
    one, two = (load_snapshot(tmp_path / name) for name in ("whole", "second"))
    assert same(one["random"], two["random"])
    assert one["sampler"] == two["sampler"]
    assert one["stats"] == two["stats"]


def test_every_epoch_can_be_resumed(tmp_path) -> None:
    _, whole = run(tmp_path / "whole", n_epochs=4, mode="all")
    for epoch in (0, 2):
        algo, sampler = parts()
        trainer = Trainer(config(tmp_path / f"again_{epoch}", "none"), progress=False)
        trainer.restore(tmp_path / "whole", epoch, algo=algo, sampler=sampler)
        trainer.resume()
        assert same(algo.state_dict(), whole.state_dict())


def test_draws_before_the_first_epoch_do_not_matter(tmp_path) -> None:
    class Drawing(PolicyGradient):
        def train(self, trainer):
            torch.rand(3)
            return super().train(trainer)

    def made():
        return Drawing(), LocalSampler(Agent(), dict, envs_per_worker=2, vectorize=Points)

    results = []
    for n_epochs in ((4,), (2, 4)):
        set_seed(1)
        algo, sampler = made()
        trainer = Trainer(config(tmp_path / str(len(n_epochs))), progress=False)
        trainer.setup(algo, None, sampler)
        trainer.train(n_epochs[0], batch_size=30)
        for more in n_epochs[1:]:
            algo, sampler = made()
            trainer.restore(tmp_path / "2", algo=algo, sampler=sampler)
            trainer.resume(more)
        results.append(algo.state_dict())
    assert same(*results)


def test_learning_is_real(tmp_path) -> None:
    _, algo = run(tmp_path, n_epochs=40, mode="none")
    assert np.mean(algo.returns[-5:]) > np.mean(algo.returns[:5]) + 1.0


def test_snapshot_is_plain_data(tmp_path) -> None:
    run(tmp_path, n_epochs=1)
    document = torch.load(tmp_path / "params.pt", weights_only=True)
    assert document["ganglion_snapshot"] == 1
    assert document["content"]["objects"] is None
    description = json.loads((tmp_path / "experiment.json").read_text())
    assert description["algo"] == "training_parts.PolicyGradient"
    assert description["sampler"]["num_workers"] == 2
    assert description["train_args"]["batch_size"] == 60


def test_episode_in_the_snapshot(tmp_path) -> None:
    set_seed(1)
    algo, sampler = parts()
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(algo, None, sampler)
    trainer.train(2, batch_size=30, store_episodes=True)
    other = Trainer(config(tmp_path / "other"), progress=False)
    other.restore(tmp_path, algo=parts()[0], sampler=sampler)
    last = other._stats.last_episode
    assert isinstance(last, EpisodeBatch)
    assert same_episodes(last, trainer.step_episode)


def refused(trainer, folder, match, error=ArtifactError, **options) -> None:
    with pytest.raises(error, match=match):
        trainer.restore(folder, **options)
    with pytest.raises(NotSetupError):
        trainer.resume()


def test_restore_refuses_what_does_not_fit(tmp_path) -> None:
    run(tmp_path, n_epochs=1)
    trainer = Trainer(config(tmp_path / "new"))

    class Other(PolicyGradient):
        pass

    class Newer(PolicyGradient):
        state_version = 2

    Newer.__qualname__, Newer.__module__ = PolicyGradient.__qualname__, PolicyGradient.__module__
    algo, sampler = parts()
    refused(trainer, tmp_path, "of the algorithm training_parts.PolicyGradient, not of .*Other", algo=Other())
    refused(trainer, tmp_path, "state version 1 .* this one has 2", algo=Newer())
    refused(trainer, tmp_path, "holds no pickled algorithm")
    refused(trainer, tmp_path / "nowhere", "no folder", algo=algo)
    refused(trainer, tmp_path, "no snapshot of iteration 3", from_epoch=3, algo=algo)
    algo.policy.mean = nn.Linear(4, 3)
    refused(trainer, tmp_path, "does not fit training_parts.PolicyGradient, which was made otherwise", algo=algo)
    few = LocalSampler(Agent(), dict, vectorize=Points)
    refused(trainer, tmp_path, "num_workers=1", error=ValueError, algo=parts()[0], sampler=few)
    torch.save({"ganglion_snapshot": 1, "content": {"seed": 1}}, tmp_path / "params.pt")
    refused(trainer, tmp_path, "damaged, or was not written by a Trainer", algo=parts()[0], sampler=sampler)


def test_a_script_is_not_another_class(tmp_path, monkeypatch) -> None:
    """The class of a script is `__main__.X` when that runs, and `script.X` when it is imported."""
    monkeypatch.setattr(PolicyGradient, "__module__", "__main__")
    run(tmp_path, n_epochs=1)
    monkeypatch.undo()
    algo, sampler = parts()
    Trainer(config(tmp_path / "new")).restore(tmp_path, algo=algo, sampler=sampler)


class SpacesOnly:
    def __init__(self, size=2):
        self.spec = EnvSpec(Box(-1.0, 1.0, (size,)), SPEC.action_space)


def test_restore_refuses_other_spaces(tmp_path) -> None:
    algo, sampler = parts()
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(algo, SpacesOnly(), sampler)
    trainer.train(1, batch_size=30)
    with pytest.raises(ArtifactError, match=r"observation_space Box\(-1.0, 1.0, \(2,\).*this one has Box\(.*\(3,\)"):
        Trainer(config(tmp_path)).restore(tmp_path, algo=parts()[0], env=SpacesOnly(3), sampler=sampler)
    Trainer(config(tmp_path)).restore(tmp_path, algo=parts()[0], env=SpacesOnly(), sampler=sampler)


class Stateless:
    """An algorithm without `state_dict`."""

    def train(self, trainer):
        return list(trainer.step_epochs())


def test_pickles_need_consent(tmp_path) -> None:
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(Stateless())
    with pytest.raises(TypeError, match=r"Stateless has no method state_dict\(\).*allow_pickle=True"):
        trainer.train(2)
    trainer = Trainer(config(tmp_path), allow_pickle=True, progress=False)
    trainer.setup(Stateless(), SpacesOnly())
    assert trainer.train(2) == [0, 1]
    other = Trainer(config(tmp_path / "other", "none"), progress=False)
    with pytest.raises(ArtifactError, match="can run any code"):
        other.restore(tmp_path)
    with pytest.raises(ArtifactError, match="as a pickle only"):
        other.restore(tmp_path, algo=Stateless())
    with pytest.warns(UserWarning, match="unpickled"):
        other.restore(tmp_path, allow_pickle=True)
    assert isinstance(other.get_env_copy(), SpacesOnly)
    assert other.resume(4) == [2, 3]


def test_a_pickled_run_goes_on_alike(tmp_path) -> None:
    _, whole = run(tmp_path / "whole", n_epochs=4)
    set_seed(1)
    algo, sampler = parts()
    algo.sampler = sampler
    trainer = Trainer(config(tmp_path / "first"), allow_pickle=True, progress=False)
    trainer.setup(algo)
    trainer.train(2, batch_size=60)
    set_seed(99)
    other = Trainer(config(tmp_path / "second", "none"), progress=False)
    with pytest.warns(UserWarning, match="unpickled"):
        other.restore(tmp_path / "first", allow_pickle=True)
    other.resume(4)
    assert same(other.algo.state_dict(), whole.state_dict())


def test_what_cannot_be_pickled(tmp_path) -> None:
    algo = Stateless()
    algo.function = lambda: 0
    trainer = Trainer(config(tmp_path), allow_pickle=True, progress=False)
    trainer.setup(algo)
    with pytest.raises(TrainingError, match="cannot be pickled"):
        trainer.train(1)


class Diverging(PolicyGradient):
    def update(self, episodes):
        super().update(episodes)
        if len(self.returns) == 3:
            self.policy.mean.weight.data[0, 1] = torch.nan


def test_nan_weights_are_not_saved(tmp_path) -> None:
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(Diverging(), None, parts()[1])
    match = r"epoch 2 left NaN in Diverging's state\['policy'\]\['mean.weight'\]"
    with pytest.raises(TrainingError, match=match):
        trainer.train(5, batch_size=30)
    content = load_snapshot(tmp_path)
    assert content["stats"]["total_epoch"] == 1
    assert not content["algo"]["state"]["policy"]["mean.weight"].isnan().any()


def test_nan_rewards_leave_the_last_snapshot(tmp_path) -> None:
    class Late:
        updates = 0

        def obtain_episodes(self, update, num_steps, weights):
            self.updates += 1
            envs = (lambda make, count: Points(make, count, nan_at=3)) if self.updates == 3 else Points
            return LocalSampler(Agent(), dict, seed=1, vectorize=envs).obtain_episodes(update, num_steps, weights)

    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(PolicyGradient(), None, Late())
    with pytest.raises(TrainingError, match="reward nan at step 2"):
        trainer.train(5, batch_size=30)
    assert load_snapshot(tmp_path)["stats"]["total_epoch"] == 1


def test_full_disk_while_training(tmp_path, monkeypatch) -> None:
    import os

    files = []

    def sync(number):
        file = Path(f"/proc/self/fd/{number}").resolve()
        files.extend([file] * file.name.startswith(".params"))  # folders and other files are synchronised, too
        if len(files) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    algo, sampler = parts()
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(algo, None, sampler)
    with pytest.raises(TrainingError, match="No space left on device; the older one is as it was"):
        trainer.train(5, batch_size=30)
    assert load_snapshot(tmp_path)["stats"]["total_epoch"] == 1


class Idle(PolicyGradient):
    def train(self, trainer):
        return list(trainer.step_epochs())

    def state_dict(self):
        return {}


class Asleep(Idle):
    def train(self, trainer):
        return trainer.total_env_steps


@pytest.mark.parametrize(("kind", "epochs"), [(Idle, 2), (Asleep, 0)])
def test_an_algorithm_that_never_samples(kind, epochs, tmp_path) -> None:
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(kind(), None, parts()[1])
    with pytest.raises(TrainingError, match=rf"{kind.__name__}.train\(\) never asked for episodes in {epochs} epochs"):
        trainer.train(2, batch_size=30)
    # Without a sampler there is nothing to forget: some algorithms learn from recordings.
    trainer.setup(kind())
    trainer.train(2)


def test_bad_calls(tmp_path) -> None:
    trainer = Trainer(config(tmp_path))
    with pytest.raises(NotSetupError):
        next(trainer.step_epochs())
    with pytest.raises(TypeError, match="no method train"):
        trainer.setup(object())
    algo, sampler = parts()
    trainer.setup(algo, None, sampler)
    with pytest.raises(NotSetupError):
        trainer.obtain_episodes(0)
    with pytest.raises(NotSetupError, match="inside of train"):
        trainer.save(0)
    with pytest.raises(ValueError, match="n_epochs must be at least 0"):
        trainer.train(-1)
    with pytest.raises(TypeError, match="n_epochs must be an int"):
        trainer.train(1.5)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        trainer.train(1, batch_size=0)
    with pytest.raises(ValueError, match="no batch_size"):
        trainer.train(1)
    with pytest.raises(ValueError, match="unknown snapshot mode 'sometimes'"):
        Trainer(config(tmp_path, "sometimes"))
    del algo.policy
    with pytest.raises(ValueError, match="neither `exploration_policy` nor `policy`"):
        trainer.train(1, batch_size=30)


def test_exploration_policy_goes_first_and_given_weights_before_it(tmp_path) -> None:
    seen = []

    class Recording:
        def obtain_episodes(self, update, num_steps, weights):
            seen.append((update, num_steps, float(weights["log_std"])))
            return ten_steps()

    class Algo(Idle):
        def train(self, trainer):
            for _ in trainer.step_epochs():
                trainer.obtain_episodes(0)
                trainer.obtain_episodes(0, 5, {"log_std": torch.tensor(7.0)})

    algo = Algo()
    algo.exploration_policy = Agent()
    algo.exploration_policy.log_std.data[:] = 3.0
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(algo, None, Recording())
    trainer.train(2, batch_size=30)
    # Updates are counted, whatever the algorithm calls its iterations: no two get the same seeds.
    assert seen == [(0, 30, 3.0), (1, 5, 7.0), (2, 30, 3.0), (3, 5, 7.0)]
    assert trainer.total_env_steps == 40


def test_what_is_logged(tmp_path) -> None:
    logger = ExperimentLogger(tmp_path)
    algo, sampler = parts()
    trainer = Trainer(ExperimentContext(str(tmp_path), logger=logger), progress=False)
    trainer.setup(algo, None, sampler)
    trainer.train(3, batch_size=60)
    logger.close()
    with (tmp_path / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert [float(row["AverageReturn"]) for row in rows] == pytest.approx(algo.returns)
    steps = [int(float(row["TotalEnvSteps"])) for row in rows]
    assert steps[-1] == trainer.total_env_steps
    assert all(float(row["StepsPerSecond"]) > 0.0 for row in rows)
    text = (tmp_path / "debug.log").read_text()
    assert re.search(r"\d\d:\d\d:\d\d \| epoch #2 \| snapshot saved", text)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("AverageReturn")
    assert [scalar.step for scalar in scalars] == steps
    assert [scalar.value for scalar in scalars] == pytest.approx(algo.returns, rel=1e-6)


def test_new_columns_and_old_rows(tmp_path) -> None:
    logger = ExperimentLogger(tmp_path, tensorboard=False)
    logger.record("a", 1)
    logger.dump(0)
    logger.record("b", torch.tensor(2.5))
    logger.dump(1)
    logger.dump(2)  # nothing to write
    again = ExperimentLogger(tmp_path, tensorboard=False)
    again.record("a", np.float32(3.0))
    again.record("c", 4)
    again.dump(3)
    assert (tmp_path / "progress.csv").read_text().split() == ["a,b,c", "1.0,,", ",2.5,", "3.0,,4.0"]
    with pytest.raises(TypeError, match="'a' must be one number"):
        again.record("a", [1, 2])


def test_log_on_a_full_disk(tmp_path) -> None:
    logger = ExperimentLogger(tmp_path, tensorboard=False)
    (tmp_path / "progress.csv").unlink()
    (tmp_path / "progress.csv").symlink_to("/dev/full")
    logger._columns = ["a"]
    logger.record("a", 1)
    with pytest.raises(TrainingError, match=r"cannot write .*progress.csv': No space left on device"):
        logger.dump(0)


def test_progress_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    with TrainingProgress(1, 3, console) as progress:
        progress.update(1, 1234.56, 9876.5)
        progress.update(2, None, None)
    # Not every epoch has a line where there is no terminal; the last one has.
    assert console.file.getvalue() == "epoch 3/3  0:00:00 left\n"


def test_progress_bar(monkeypatch) -> None:
    clock = iter([0.0, 30.0])
    monkeypatch.setattr("ganglion.training.progress.time.monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with TrainingProgress(0, 3, console) as progress:
        progress.update(0, 1234.56, 9876.5)
        assert progress._bar.tasks[0].completed == 1
        monkeypatch.undo()
    text = console.file.getvalue()
    assert "return 1,234.6  9,876 steps/s  0:01:00 left" in text


def test_plot(tmp_path, monkeypatch) -> None:
    shown = []

    class Env:
        def __init__(self):
            self.points = Points()

        def visualize(self):
            shown.append("visualize")

        def reset(self, *, seed=None):
            return self.points.reset(None, [seed])[0], {}

        def step(self, action):
            from types import SimpleNamespace

            observations, rewards, terminated, truncated, _ = self.points.step(action[None])
            return SimpleNamespace(observation=observations[0], reward=rewards[0], last=(terminated | truncated)[0])

        def close(self):
            shown.append("close")

    monkeypatch.setattr("builtins.input", lambda _: shown.append("pause"))
    algo, sampler = parts()
    trainer = Trainer(config(tmp_path, "none"), progress=False)
    trainer.setup(algo, Env(), sampler)
    trainer.train(1, batch_size=30, plot=True, pause_for_plot=True)
    assert shown == ["visualize", "close", "pause"]
    trainer.setup(algo, None, sampler)
    with pytest.raises(TrainingError, match="plot=True has no environment"):
        trainer.train(1, batch_size=30, plot=True)


class WithPolicy(Idle):
    def __init__(self, policy):
        self.policy = policy
        self.seen = []

    def train(self, trainer):
        return list(trainer.step_epochs())


def test_policy_of_a_snapshot(tmp_path) -> None:
    policy = LSTMPolicy(SPEC, hidden_size=5, num_recurrent_layers=1)
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(WithPolicy(policy))
    trainer.train(1)
    found = load_policy(tmp_path)
    assert torch.equal(found.param_values, policy.param_values)
    trainer.setup(WithPolicy(Agent()))
    trainer.train(1)
    with pytest.raises(ArtifactError, match="holds no policy that can be built without its algorithm"):
        load_policy(tmp_path)


def test_without_a_context_the_snapshots_go_where_the_snapshotter_puts_them(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Trainer()
    assert (tmp_path / "data" / "local" / "experiment").is_dir()


def test_environments_are_not_changed_from_here(tmp_path) -> None:
    trainer = Trainer(config(tmp_path))
    for obtain in (trainer.obtain_episodes, trainer.obtain_samples):
        with pytest.raises(ValueError, match="the factory that the sampler was given"):
            obtain(0, 10, None, {"task": 1})
        with pytest.raises(ValueError, match="no sampler"):
            obtain(0, 10, env_update=None)
