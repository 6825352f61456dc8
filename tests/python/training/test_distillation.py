"""Distillation: a student that sees less than its teacher, resuming to the last bit, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from training_parts import Points, config

from ganglion.data import EnvSpec
from ganglion.policies import GRUPolicy, LSTMPolicy
from ganglion.training import (
    Distillation,
    LocalSampler,
    PolicyAgent,
    Trainer,
    TrainingError,
    load_policy,
    load_snapshot,
    set_seed,
)

STUDENT_SPEC = EnvSpec(Box(-np.inf, np.inf, (1,), np.float32), Box(-1.0, 1.0, (1,), np.float32))


class Feedback:
    """A teacher that sees position and speed; counts its resets."""

    resets = 0

    def reset(self, rows):
        self.resets += int(rows.sum())

    def get_actions(self, observations):
        return np.clip(-observations @ np.array([[0.4], [1.2]], np.float32), -1.0, 1.0), {}


def make(seed=0, student=None, **options):
    torch.manual_seed(seed)
    student = GRUPolicy(STUDENT_SPEC, 12, 1) if student is None else student
    options = {"learning_rate": 0.01, "sequence_length": 8, "remembered_epochs": 3, **options}
    algo = Distillation(
        student, Feedback(), sees=[0], teacher_epochs=3, updates_per_epoch=8, sequences_per_update=32, **options
    )
    sampler = LocalSampler(algo.exploration_policy, dict, num_workers=2, envs_per_worker=4, vectorize=Points)
    return algo, sampler


def run(folder, n_epochs, mode="last", **options):
    set_seed(3)
    algo, sampler = make(**options)
    trainer = Trainer(config(folder, mode), progress=False)
    trainer.setup(algo, None, sampler)
    trainer.train(n_epochs, batch_size=100)
    return trainer, algo


def schedule(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=8 * 20)


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_student_that_sees_less_learns_what_the_teacher_does(tmp_path) -> None:
    trainer, algo = run(tmp_path, 40, "none")
    sampler = LocalSampler(algo.exploration_policy, dict, envs_per_worker=4, seed=77, vectorize=Points)
    episodes = sampler.obtain_episodes(0, 400)
    # Nobody knows the speed at the first step.
    known = np.concatenate([np.arange(length) > 1 for length in episodes.lengths])
    position, wanted = episodes.observations[known, 0], episodes.agent_infos["teacher_actions"][known, 0]
    error = np.abs(episodes.actions[known, 0] - wanted).mean()
    # The best that sees the position alone and remembers nothing: what the teacher does on average at a position.
    fit = np.polyval(np.polyfit(position, wanted, 5), position)
    assert error < 0.5 * np.abs(fit - wanted).mean()
    assert trainer.total_env_steps > 40 * 100


def test_the_teacher_hands_over() -> None:
    algo, sampler = make()
    shares = []
    for share in (1.0, 0.5, 0.0):
        algo.exploration_policy.teacher_share.fill_(share)
        weights = algo.exploration_policy.state_dict()
        episodes = sampler.obtain_episodes(0, 800, weights)
        is_teachers = (episodes.actions == episodes.agent_infos["teacher_actions"]).ravel()
        # A whole episode is one's or the other's.
        whole = [np.mean(part) for part in np.split(is_teachers, np.cumsum(episodes.lengths)[:-1])]
        assert all(value > 0.99 or value < 0.2 for value in whole)
        shares.append(np.mean([value > 0.99 for value in whole]))
        # The student remembers what it saw, whoever acted.
        assert np.abs(episodes.agent_infos["hidden_states"]).max() > 0.01
    assert shares[0] == 1.0 and 0.2 < shares[1] < 0.8 and shares[2] == 0.0


def test_six_epochs_are_three_and_three(tmp_path) -> None:
    _, whole = run(tmp_path / "whole", 6, schedule=schedule)
    run(tmp_path / "first", 3, schedule=schedule)
    set_seed(99)
    algo, sampler = make(seed=5, schedule=schedule)
    trainer = Trainer(config(tmp_path / "second"), progress=False)
    trainer.restore(tmp_path / "first", algo=algo, sampler=sampler)
    torch.rand(7), np.random.rand(7)
    trainer.resume(6)
    assert same(algo.state_dict(), whole.state_dict())
    assert len(algo.state_dict()["remembered"]) == 3
    one, two = (load_snapshot(tmp_path / name) for name in ("whole", "second"))
    assert one["stats"] == two["stats"] and torch.equal(one["random"]["torch"], two["random"]["torch"])


def test_the_student_comes_out_of_the_snapshot(tmp_path) -> None:
    _, algo = run(tmp_path, 1)
    policy = load_policy(tmp_path)
    assert type(policy) is GRUPolicy
    assert torch.equal(policy.param_values, algo.policy.param_values)


def test_sequences_start_from_what_the_student_remembered() -> None:
    algo, sampler = make(sequence_length=5)
    episodes = sampler.obtain_episodes(0, 60)
    algo.learn_from(episodes)
    lessons = algo.state_dict()["remembered"][0]
    assert lessons["lengths"].max() == 5 and lessons["lengths"].sum() == len(episodes.rewards)
    assert lessons["observations"].shape == (len(episodes.rewards), 1)
    starts = np.cumsum(lessons["lengths"].numpy()) - lessons["lengths"].numpy()
    assert np.array_equal(lessons["hidden"], episodes.agent_infos["hidden_states"][starts])
    assert (lessons["hidden"].abs().sum(1) > 0).any()
    # Run again from there, the student does what it did.
    data = {"observations": lessons["observations"], "lengths": lessons["lengths"]}
    data["hidden_states"] = lessons["hidden"].repeat_interleave(lessons["lengths"], 0)
    np.testing.assert_allclose(algo.policy.evaluate(data).detach(), episodes.actions, atol=1e-6)


def test_gradients_go_through_time() -> None:
    algo, sampler = make(student=GRUPolicy(STUDENT_SPEC, 6, 1), sequence_length=20)
    algo.learn_from(sampler.obtain_episodes(0, 100))
    before = {name: value.clone() for name, value in algo.policy.named_parameters()}
    algo.update()
    moved = [name for name, value in algo.policy.named_parameters() if not torch.equal(value, before[name])]
    assert any("weight_hh" in name for name in moved) and len(moved) == len(before)


def test_a_policy_as_the_teacher(tmp_path) -> None:
    full = EnvSpec(Box(-np.inf, np.inf, (2,), np.float32), STUDENT_SPEC.action_space)
    torch.manual_seed(1)
    teacher = LSTMPolicy(full, 6, 1)
    student = GRUPolicy(STUDENT_SPEC, 8, 1)
    algo = Distillation(student, PolicyAgent(teacher), sees=[1], teacher_epochs=math.inf, updates_per_epoch=2)
    sampler = LocalSampler(algo.exploration_policy, dict, envs_per_worker=4, vectorize=Points, seed=0)
    set_seed(0)
    trainer = Trainer(config(tmp_path, "none"), progress=False)
    trainer.setup(algo, None, sampler)
    weights = teacher.param_values
    assert trainer.train(3, batch_size=80) < 1.0
    assert torch.equal(teacher.param_values, weights)
    episodes = sampler.obtain_episodes(0, 80)
    # Behaviour cloning: the teacher acts, and along the way it has its own memory.
    assert np.array_equal(episodes.actions, episodes.agent_infos["teacher_actions"])
    labels = teacher.evaluate({"observations": torch.from_numpy(episodes.observations), "lengths": episodes.lengths})
    np.testing.assert_allclose(labels.detach(), episodes.actions, atol=1e-6)


def test_recorded_episodes_of_a_policy() -> None:
    full = EnvSpec(Box(-np.inf, np.inf, (2,), np.float32), STUDENT_SPEC.action_space)
    torch.manual_seed(2)
    policy = LSTMPolicy(full, 6, 1)
    sampler = LocalSampler(PolicyAgent(policy), dict, envs_per_worker=3, seed=0, vectorize=Points)
    episodes = sampler.obtain_episodes(0, 60)
    assert len(episodes.lengths) > 3
    np.testing.assert_allclose(policy.evaluate(episodes).detach(), episodes.actions, atol=1e-6)
    # Every episode began in the initial state, so from there it is the same.
    again = policy.evaluate({"observations": torch.from_numpy(episodes.observations), "lengths": episodes.lengths})
    np.testing.assert_allclose(again.detach(), episodes.actions, atol=1e-6)
    assert episodes.agent_infos["hidden_states"].shape == (len(episodes.rewards), 12)


def test_actions_of_discrete_spaces() -> None:
    torch.manual_seed(0)
    scores = GRUPolicy(EnvSpec(Discrete(3), Discrete(4, start=2)), 5, 1)
    agent = PolicyAgent(scores)
    agent.reset(np.ones(3, np.bool_))
    actions, _ = agent.get_actions(np.array([0, 1, 2]))
    with torch.no_grad():
        expected, _ = scores(torch.eye(3))
    assert actions.tolist() == (expected.argmax(1) + 2).tolist()


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match=r"the teacher, a GRUPolicy, has no method get_actions\(\)"):
        Distillation(GRUPolicy(STUDENT_SPEC, 4, 1), GRUPolicy(STUDENT_SPEC, 4, 1))
    with pytest.raises(TypeError, match="must be a RecurrentPolicy, not Linear"):
        Distillation(torch.nn.Linear(2, 2), Feedback())
    for options, message in (
        ({"sequence_length": 0}, "sequence_length must be an int of at least 1, not 0"),
        ({"updates_per_epoch": 1.5}, "updates_per_epoch must be an int"),
        ({"learning_rate": math.nan}, "learning_rate must be positive"),
        ({"teacher_epochs": -1.0}, "teacher_epochs must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            Distillation(GRUPolicy(STUDENT_SPEC, 4, 1), Feedback(), **options)
    algo = Distillation(GRUPolicy(STUDENT_SPEC, 4, 1), Feedback(), sees=[4])
    sampler = LocalSampler(algo.exploration_policy, dict, vectorize=Points, seed=0)
    with pytest.raises(ValueError, match="sees has 4, observations have 2 elements"):
        sampler.obtain_episodes(0, 10)

    class Wide(Feedback):
        def get_actions(self, observations):
            return np.zeros((len(observations), 2), np.float32), {}

    algo = Distillation(GRUPolicy(STUDENT_SPEC, 4, 1), Wide(), sees=[0])
    sampler = LocalSampler(algo.exploration_policy, dict, vectorize=Points, seed=0)
    with pytest.raises(ValueError, match=r"teacher's actions have shape \(1, 2\), the student's \(1, 1\)"):
        sampler.obtain_episodes(0, 10)
    agent = PolicyAgent(GRUPolicy(STUDENT_SPEC, 4, 1))
    with pytest.raises(RuntimeError, match=r"call reset\(rows\) with 2 rows"):
        agent.get_actions(np.zeros((2, 1)))


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    algo, sampler = make(loss=lambda actions, labels: (actions - labels).sum() * math.inf)
    before = algo.policy.param_values
    algo.learn_from(sampler.obtain_episodes(0, 20))
    with pytest.raises(TrainingError, match="; take a smaller learning_rate"):
        algo.update()
    assert torch.equal(algo.policy.param_values, before)
