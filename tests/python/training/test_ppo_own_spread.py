"""PPO on policies with a distribution of their own, and on policies that look at their previous action."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from training_parts import SPEC, Points

import ganglion
from ganglion.policies import (
    ActionMap,
    ActorDistributionNetwork,
    ActorPolicy,
    ArraySpec,
    BoundedArraySpec,
    DeployablePolicy,
    GaussianGRUPolicy,
    GaussianLSTMPolicy,
    GaussianMLPModel,
    GRUPolicy,
    RecurrentPolicy,
    SkrlPolicy,
    time_step_spec,
)
from ganglion.training import Distillation, LocalSampler, PolicyAgent, set_seed
from ganglion.training.gaussian_agent import GaussianAgent
from ganglion.training.ppo import PPO
from ganglion.training.value_function import value_spec

pytestmark = pytest.mark.deep  # trains


@pytest.fixture(autouse=True)
def _seeded():
    torch.set_num_threads(1)
    set_seed(3)


def actor() -> ActorPolicy:
    spec = BoundedArraySpec((1,), torch.float32, "act", -1.0, 1.0)
    return ActorPolicy(time_step_spec(ArraySpec((2,))), spec, ActorDistributionNetwork(ArraySpec((2,)), spec, (8,)))


POLICIES = {
    "LSTM": lambda: GaussianLSTMPolicy(SPEC, hidden_dim=6, init_std=0.7),
    "GRU, shared": lambda: GaussianGRUPolicy(SPEC, hidden_dim=6, std_share_network=True),
    "own map": lambda: DeployablePolicy(
        GaussianLSTMPolicy(SPEC, hidden_dim=6), None, ActionMap([2.0], low=[-0.5], high=[0.7], squash=True)
    ),
    "skrl": lambda: SkrlPolicy(
        GaussianMLPModel(
            observation_space=SPEC.observation_space, action_space=SPEC.action_space, device="cpu", clip_actions=True
        )
    ),
    "actor": actor,
}


def made(policy: RecurrentPolicy, **options) -> PPO:
    options = {"sequence_length": 5, "num_passes": 2, "learning_rate": 3e-3, **options}
    return PPO(policy, GRUPolicy(value_spec(policy.env_spec), 6, 1), **options)


def sampled(agent, update=0, steps=60):
    sampler = LocalSampler(agent, dict, envs_per_worker=3, seed=5, vectorize=Points)
    return sampler.obtain_episodes(update, steps, agent.state_dict())


@pytest.mark.parametrize("name", POLICIES)
def test_an_update_begins_at_the_policy_that_acted_and_trains_its_own_spread(name) -> None:
    policy = POLICIES[name]()
    algo = made(policy, num_passes=1, num_minibatches=1)
    before = {key: value.clone() for key, value in policy.named_parameters() if "log_std" in key or "std_layer" in key}
    for update in range(2):
        scalars = algo.update(sampled(algo.exploration_policy, update))
        assert abs(scalars["KL"]) < 1e-8
        assert scalars["ClipFraction"] == 0.0
        assert math.isfinite(scalars["Std"])
    trained = dict(policy.named_parameters())
    assert all(not torch.equal(trained[key], value) for key, value in before.items())
    assert bool(before) == (name != "GRU, shared")


def test_the_trained_spread_is_the_exported_one_and_the_robot_draws_as_the_sampler_did(tmp_path) -> None:
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=6, init_std=0.7)
    algo = made(policy)
    agent = algo.exploration_policy
    assert agent.log_std is policy.head.log_std
    for update in range(3):
        algo.update(sampled(agent, update))
    assert abs(float(agent.log_std.detach()) - math.log(0.7)) > 1e-3
    path = tmp_path / "policy.ganglion"
    ganglion.export(algo.deployed_policy, path)
    pilot = ganglion.load(path, sample_seed=1)
    episode = sampled(agent, 9)[0]
    for observation, fed, sample, action in zip(
        episode.flat_observations,
        episode.agent_infos["hidden_states"],
        episode.agent_infos["samples"],
        episode.actions,
        strict=True,
    ):
        pilot.set_state(fed)
        drawn = pilot.step(observation.astype(np.float32))
        assert pilot.output("log_std")[0] == pytest.approx(float(policy.head.log_std.detach()), abs=1e-6)
        own = torch.from_numpy(pilot.state()[:1])
        np.testing.assert_allclose(drawn, algo.deployed_policy.as_command(own).numpy(), atol=1e-6)
        # What the sampler executed, told to the robot, is what the policy drew there.
        pilot.set_applied_action(action)
        clipped = abs(float(sample[0])) > 1.0
        assert clipped or pilot.state()[0] == pytest.approx(float(sample[0]), abs=1e-5)


def test_rollouts_feed_what_was_drawn() -> None:
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=6)
    for agent in (GaussianAgent(policy), GaussianAgent(Remembers())):
        episodes = sampled(agent)
        for episode in episodes.split():
            fed = episode.agent_infos["hidden_states"][:, : SPEC.action_size]
            np.testing.assert_array_equal(fed[0], 0.0)
            np.testing.assert_array_equal(fed[1:], episode.agent_infos["samples"][:-1])


class Remembers(RecurrentPolicy):
    """A policy without a distribution that looks at its previous action."""

    state_layout = (ganglion.contract.StateSlot("prev_action", (1,)),)

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(*obs.shape[:-1]) if hidden is None else hidden
        action = self.layer(torch.cat((obs, hidden), -1))
        return action, action


@pytest.mark.parametrize("kind", [GaussianLSTMPolicy, GaussianGRUPolicy])
def test_evaluate_has_the_recorded_means_again(kind) -> None:
    policy = kind(SPEC, hidden_dim=6)
    episodes = sampled(policy)
    assert sorted(episodes.agent_infos) == ["hidden_states", "log_std", "mean", "prev_action"]
    place = policy.previous_action
    np.testing.assert_array_equal(episodes.agent_infos["hidden_states"][:, place], episodes.agent_infos["prev_action"])
    mean, log_std = policy.evaluate(episodes)
    np.testing.assert_allclose(mean.detach(), episodes.agent_infos["mean"], rtol=0.0, atol=1e-6)
    np.testing.assert_allclose(log_std.detach(), episodes.agent_infos["log_std"], rtol=0.0, atol=1e-6)
    # The infos of garage are enough, with or without the states.
    episodes.agent_infos.pop("hidden_states")
    np.testing.assert_allclose(policy.evaluate(episodes)[0].detach(), mean.detach(), rtol=0.0, atol=1e-6)
    episodes.agent_infos.pop("prev_action")
    assert float((policy.evaluate(episodes)[0] - mean).detach().abs().max()) > 1e-3
    # And build(), which is given the previous actions, says the same.
    episode = sampled(policy)[0]
    inputs = np.concatenate([episode.flat_observations, episode.agent_infos["prev_action"]], 1)
    built = policy.build(torch.from_numpy(inputs[None].astype(np.float32))).step_mean[0]
    np.testing.assert_allclose(built.detach(), episode.agent_infos["mean"], rtol=0.0, atol=1e-6)


def test_previous_actions_of_another_size_are_refused() -> None:
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=6)
    data = {"observations": torch.zeros(4, 2), "lengths": [4], "previous_actions": torch.zeros(4, 3)}
    with pytest.raises(ValueError, match="previous actions have 3 elements, the policy's have 1"):
        policy.evaluate(data)


def test_a_spread_of_its_own_is_set_in_the_policy() -> None:
    with pytest.raises(ValueError, match="GaussianLSTMPolicy has a standard deviation of its own; set init_std there"):
        PPO(GaussianLSTMPolicy(SPEC, hidden_dim=4), init_std=0.3)
    fixed = made(GaussianLSTMPolicy(SPEC, hidden_dim=4, learn_std=False, init_std=0.3))
    assert fixed.exploration_policy.log_std is None
    assert fixed.update(sampled(fixed.exploration_policy))["Std"] == pytest.approx(0.3)
    assert float(GaussianAgent(GRUPolicy(SPEC, 4, 1)).log_std.detach().exp()) == pytest.approx(0.5)


def test_a_policy_that_maps_its_actions_itself_is_not_mapped_again() -> None:
    agent = GaussianAgent(actor())
    assert agent.deployed_policy.action_map is None
    agent.reset(np.ones(200, np.bool_))
    actions, infos = agent.get_actions(np.zeros((200, 2)))
    np.testing.assert_allclose(actions, infos["samples"].clip(-1.0, 1.0))
    assert np.abs(infos["samples"]).max() > 0.5


def test_the_deterministic_action_is_that_of_the_deployed_policy() -> None:
    agent = GaussianAgent(POLICIES["own map"]())
    agent.reset(np.ones(2, np.bool_))
    observations = np.random.default_rng(0).normal(size=(2, 2)).astype(np.float32)
    expected, *_ = agent.deployed_policy(torch.from_numpy(observations))
    np.testing.assert_allclose(agent.get_actions(observations, deterministic=True)[0], expected.detach(), atol=1e-6)


def test_a_student_remembers_what_its_teacher_did() -> None:
    student = DeployablePolicy(GaussianLSTMPolicy(SPEC, hidden_dim=4), None, ActionMap([2.0]))
    algo = Distillation(student, PolicyAgent(GRUPolicy(SPEC, 4, 1)), teacher_epochs=math.inf, sequence_length=5)
    algo.exploration_policy.teacher_share.fill_(1.0)
    episodes = sampled(algo.exploration_policy)
    for episode in episodes.split():
        fed = episode.agent_infos["hidden_states"][:, :1]
        np.testing.assert_allclose(2.0 * fed[1:], episode.actions[:-1].reshape(-1, 1), atol=1e-6)
    algo.learn_from(episodes)
    lessons = algo._remembered[0]
    assert lessons.previous_actions.shape == (len(episodes.rewards), 1)
    assert math.isfinite(algo.update())


@pytest.mark.whole
def test_learns_with_a_spread_of_its_own() -> None:
    """Returns of 2,000 steps from the same starts, before and behind.

    Runs differ: of twelve (four seeds, with and without the previous action, and a plain LSTM) two had not left the
    first plateau after 15 updates; after 25 all had gained more than 5.
    """
    algo = made(GaussianLSTMPolicy(SPEC, hidden_dim=8, init_std=0.5), num_passes=5, learning_rate=1e-2)

    def judged() -> float:
        judge = LocalSampler(algo.exploration_policy, dict, envs_per_worker=8, seed=77, vectorize=Points)
        episodes = judge.obtain_episodes(0, 2000, algo.exploration_policy.state_dict())
        return float(episodes.rewards.sum() / len(episodes.lengths))

    before = judged()
    for update in range(25):
        algo.update(sampled(algo.exploration_policy, update, 200))
    assert judged() > before + 4.0
