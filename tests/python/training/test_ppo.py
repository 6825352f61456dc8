"""PPO: each of its parts against a slow formula, and the whole from training to the C++ runtime."""

from __future__ import annotations

import functools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from training_parts import SPEC, Points, config

import ganglion
from ganglion.data import EnvSpec, EpisodeBatch, StepType
from ganglion.errors import ArtifactError
from ganglion.policies import (
    ActionFilter,
    ActionMap,
    ADNPolicy,
    DeployablePolicy,
    GRUPolicy,
    LSTMPolicy,
    MinGRU,
    ObservationHistory,
    ObservationNormalizer,
    SequentialPolicy,
    pd_cubic,
)
from ganglion.policies.layered import LayeredPolicy
from ganglion.training import LocalSampler, Trainer, TrainingError, load_policy, set_seed
from ganglion.training._sequences import Sequences, cut, minibatches, run_along
from ganglion.training.advantages import generalized_advantages
from ganglion.training.gaussian_agent import GaussianAgent
from ganglion.training.ppo import PPO
from ganglion.training.value_function import ValueFunction, value_spec

LENGTHS = np.array([4, 1, 7, 3])


@pytest.fixture(autouse=True)
def _seeded():
    torch.set_num_threads(1)
    set_seed(3)


def made(**options) -> PPO:
    torch.manual_seed(0)
    options = {"sequence_length": 5, "num_passes": 2, "learning_rate": 3e-3, **options}
    return PPO(LSTMPolicy(SPEC, 8, 1), GRUPolicy(value_spec(SPEC), 6, 1), **options)


def sampled(algo: PPO, update=0, steps=60) -> EpisodeBatch:
    sampler = LocalSampler(algo.exploration_policy, dict, envs_per_worker=3, seed=5, vectorize=Points)
    return sampler.obtain_episodes(update, steps, algo.exploration_policy.state_dict())


def test_advantages_are_sums_of_discounted_errors() -> None:
    rng = np.random.default_rng(0)
    rewards, values, last_values = rng.normal(size=15), rng.normal(size=15), rng.normal(size=4)
    discount, gae_lambda = 0.9, 0.7
    found = generalized_advantages(rewards, values, last_values, LENGTHS, discount, gae_lambda)
    start = 0
    for length, last_value in zip(LENGTHS, last_values, strict=True):
        worth = [*values[start : start + length], last_value]
        for t in range(length):
            # Schulman et al. 2016, eq. 16, written out.
            expected = sum(
                (discount * gae_lambda) ** k * (rewards[start + t + k] + discount * worth[t + k + 1] - worth[t + k])
                for k in range(length - t)
            )
            assert found[start + t] == pytest.approx(expected, abs=1e-12)
        start += length


def test_advantages_with_lambda_one_are_returns_less_values() -> None:
    rewards, values = np.ones(15), np.linspace(-1.0, 1.0, 15)
    found = generalized_advantages(rewards, values, np.zeros(4), LENGTHS, 1.0, 1.0)
    to_go = np.concatenate([np.arange(length, 0, -1) for length in LENGTHS])
    np.testing.assert_allclose(found + values, to_go)


def test_sequences_hold_every_step_once() -> None:
    sequences = cut(LENGTHS, 3)
    assert sequences.starts.tolist() == [0, 3, 4, 5, 8, 11, 12]
    assert sequences.lengths.tolist() == [3, 1, 1, 3, 3, 1, 3]
    assert sequences.steps.tolist() == list(range(15))
    assert cut(LENGTHS, None).lengths.tolist() == LENGTHS.tolist()
    parts = list(minibatches(sequences, 3))
    assert sorted(step for part in parts for step in part.steps.tolist()) == list(range(15))
    assert len(parts) == 3
    assert [len(part.starts) for part in minibatches(Sequences(np.array([0]), np.array([9])), 4)] == [1]


def test_running_along_equals_stepping_each_episode() -> None:
    policy = LSTMPolicy(SPEC, 8, 2)
    observations = torch.randn(15, 2)
    outputs, hidden_states = run_along(policy, observations, LENGTHS)
    for start, length in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS, strict=True):
        hidden = policy.init_hidden()
        for step in range(start, start + length):
            torch.testing.assert_close(hidden_states[step], hidden, rtol=0.0, atol=1e-6)
            action, hidden = policy(observations[step], hidden)
            torch.testing.assert_close(outputs[step], action, rtol=0.0, atol=1e-6)


def test_stored_hidden_states_and_probabilities_are_those_of_the_learner() -> None:
    algo = made()
    algo.update(sampled(algo))  # so that the normaliser does something
    episodes = sampled(algo, update=1)
    agent = algo.exploration_policy
    inputs = agent.normalize(torch.from_numpy(episodes.flat_observations))
    means, hidden_states = run_along(agent.mean_policy, inputs, episodes.lengths)
    np.testing.assert_allclose(episodes.agent_infos["hidden_states"], hidden_states, atol=1e-6)
    # Before anything is learnt, the ratio of every probability is 1, however the episodes are cut.
    for longest in (1, 5, None):
        data, _, _ = algo._prepared(episodes)
        part = cut(episodes.lengths, longest)
        outputs = agent.mean_policy.evaluate(
            {
                "observations": data.policy_inputs[part.steps],
                "lengths": torch.from_numpy(part.lengths),
                "hidden_states": data.policy_hidden[part.steps],
            }
        )
        torch.testing.assert_close(outputs, means[part.steps], rtol=0.0, atol=1e-5)
        log_prob = agent.log_prob(data.samples[part.steps], outputs)
        torch.testing.assert_close(log_prob, data.log_prob[part.steps], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_gradient_is_that_of_the_written_out_loss(entropy_weight) -> None:
    algo = made(sequence_length=4, num_passes=1, entropy_weight=entropy_weight, max_grad_norm=1e9)
    algo.update(sampled(algo))  # weights that differ from those that act
    episodes = sampled(algo, update=1)
    data, targets, sequences = algo._prepared(episodes)
    with torch.no_grad():
        for parameter in algo.exploration_policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    algo._optimizer.zero_grad()
    algo._optimizer.step = lambda: None  # gradients only
    scalars = algo._improve(data, sequences)
    agent, value_function = algo.exploration_policy, algo.value_function
    parameters = [*agent.parameters(), *value_function.network.parameters()]
    found = [parameter.grad.clone() for parameter in parameters]
    assert 0.05 < scalars["ClipFraction"] < 0.95

    losses = []
    std = agent.log_std.exp()
    advantages = data.advantages
    for start, length in zip(sequences.starts.tolist(), sequences.lengths.tolist(), strict=True):
        hidden, value_hidden = data.policy_hidden[start], data.value_hidden[start]
        for step in range(start, start + length):
            mean, hidden = agent.mean_policy(data.policy_inputs[step], hidden)
            value, value_hidden = value_function.network(data.value_inputs[step], value_hidden)
            noise = (data.samples[step] - mean) / std
            log_prob = (-0.5 * noise**2 - std.log() - 0.5 * math.log(2.0 * math.pi)).sum()
            ratio = (log_prob - data.log_prob[step]).exp()
            gain = torch.minimum(ratio * advantages[step], ratio.clamp(0.8, 1.2) * advantages[step])
            entropy = (0.5 * math.log(2.0 * math.pi * math.e) + std.log()).sum()
            losses.append(-gain + 0.5 * (value[0] - data.targets[step]) ** 2 - entropy_weight * entropy)
    assert len(losses) == len(targets)
    expected = torch.autograd.grad(torch.stack(losses).mean(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_other_sequences_and_what_lies_behind_have_no_influence() -> None:
    """A short sequence beside long ones gives what it gives alone: no padding, no neighbour leaks in."""
    policy = LSTMPolicy(SPEC, 8, 1)
    observations, hidden_states = torch.randn(15, 2), torch.randn(15, 16)

    def run(starts, lengths):
        part = Sequences(np.array(starts), np.array(lengths))
        outputs = policy.evaluate(
            {
                "observations": observations[part.steps],
                "lengths": torch.from_numpy(part.lengths),
                "hidden_states": hidden_states[part.steps],
            }
        )
        return outputs.split(lengths)

    together = run([0, 4, 5, 12], [4, 1, 7, 3])
    torch.testing.assert_close(together[1], run([4], [1])[0], rtol=0.0, atol=1e-6)
    (gradient,) = torch.autograd.grad(together[1].sum(), policy.output_layer.weight, retain_graph=True)
    (alone,) = torch.autograd.grad(run([4], [1])[0].sum(), policy.output_layer.weight)
    torch.testing.assert_close(gradient, alone, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("last_type", [StepType.TERMINAL, StepType.TIMEOUT])
def test_only_time_limits_are_bootstrapped(last_type) -> None:
    algo = made(discount=0.9, gae_lambda=1.0)
    algo.update(sampled(algo))
    episodes = sampled(algo, update=1)[0]
    types = episodes.step_types.copy()
    types[-1] = last_type
    episodes = EpisodeBatch(
        episodes.env_spec,
        {},
        episodes.observations,
        episodes.last_observations,
        episodes.actions,
        episodes.rewards,
        {},
        episodes.agent_infos,
        types,
        episodes.lengths,
    )
    _, targets, _ = algo._prepared(episodes)
    following = 0.0
    if last_type == StepType.TIMEOUT:
        value_function, hidden = algo.value_function, None
        for observation in [*episodes.observations, *episodes.last_observations]:
            inputs = value_function.observation_normalizer(torch.from_numpy(observation))
            output, hidden = value_function.network(inputs, hidden)
        normalizer = value_function.value_normalizer
        following = (output * (normalizer.variance + 1e-8).sqrt() + normalizer.mean).item()
        assert abs(following) > 0.1
    for reward, target in zip(episodes.rewards[::-1], targets.flip(0).tolist(), strict=True):
        following = reward + 0.9 * following
        assert target == pytest.approx(following, abs=1e-4)


def run_ppo(folder, policy, **options) -> PPO:
    set_seed(1)
    algo = PPO(policy, GRUPolicy(value_spec(SPEC), 6, 1), sequence_length=5, num_passes=1)
    trainer = Trainer(config(folder), progress=False, **options)
    trainer.setup(algo, None, LocalSampler(algo.exploration_policy, dict, envs_per_worker=3, vectorize=Points))
    trainer.train(2, batch_size=30)
    return algo


def test_a_snapshot_keeps_an_adn_policy(tmp_path) -> None:
    algo = run_ppo(tmp_path, ADNPolicy(SPEC, torch.tanh, pd_cubic, potential_init_learnable=True))
    policy = load_policy(tmp_path)
    assert type(policy.policy) is ADNPolicy
    saved, found = algo.deployed_policy.state_dict(), policy.state_dict()
    assert all(torch.equal(saved[name], found[name]) for name in saved)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert ganglion.verify(tmp_path / "policy.ganglion", algo.deployed_policy, steps=100).ok


def test_parts_in_a_row_are_trained_kept_and_exported(tmp_path) -> None:
    parts = [
        ObservationHistory(2, 3),
        nn.Linear(6, 8),
        MinGRU(8, 6),
        nn.Linear(6, 1),
        ActionFilter(1, period_s=0.1, low_pass_hz=2.0, start=0.0),
    ]
    begin = [parameter.detach().clone() for part in parts for parameter in part.parameters()]
    algo = run_ppo(tmp_path, SequentialPolicy(parts, SPEC))
    trained = [parameter for part in parts for parameter in part.parameters()]
    assert not any(torch.equal(old, new) for old, new in zip(begin, trained, strict=True))
    ganglion.export(load_policy(tmp_path), tmp_path / "policy.ganglion")
    assert ganglion.inspect(tmp_path / "policy.ganglion").period_s == 0.1
    assert ganglion.verify(tmp_path / "policy.ganglion", algo.deployed_policy, steps=100).ok


class OwnPolicy(LSTMPolicy):
    """What the house does not know by name."""


def test_a_policy_that_no_snapshot_keeps_is_refused_before_anything_is_trained(tmp_path) -> None:
    policy = OwnPolicy(SPEC, 4, 1)
    before = policy.param_values
    with pytest.raises(TrainingError, match=r"the policy of PPO: OwnPolicy cannot be saved .*keep_policy=False"):
        run_ppo(tmp_path, policy)
    assert torch.equal(before, policy.param_values)
    assert not list(tmp_path.iterdir())
    run_ppo(tmp_path, policy, keep_policy=False)
    with pytest.raises(ArtifactError, match=r"no policy that can be built without its algorithm: .*keep_policy=False"):
        load_policy(tmp_path)


def trained(folder, n_epochs, resumed_from=None) -> PPO:
    set_seed(1)
    schedule = functools.partial(torch.optim.lr_scheduler.LinearLR, end_factor=0.1, total_iters=4)
    algo = made(schedule=schedule)
    sampler = LocalSampler(algo.exploration_policy, dict, envs_per_worker=3, seed=5, vectorize=Points)
    trainer = Trainer(config(folder), progress=False)
    if resumed_from is None:
        trainer.setup(algo, None, sampler)
        trainer.train(n_epochs, batch_size=60)
    else:
        torch.rand(3)
        with torch.no_grad():
            algo.exploration_policy.log_std += 1.0
        trainer.restore(resumed_from, algo=algo, sampler=sampler)
        trainer.resume(n_epochs)
    return algo


def flat(state) -> list:
    if isinstance(state, dict):
        return [leaf for key in state for leaf in (key, *flat(state[key]))]
    return [leaf for item in state for leaf in flat(item)] if isinstance(state, (list, tuple)) else [state]


def test_four_epochs_are_two_and_two(tmp_path) -> None:
    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "first", 2)
    again = trained(tmp_path / "second", 4, tmp_path / "first")
    one, two = flat(whole.state_dict()), flat(again.state_dict())
    assert len(one) == len(two) > 60
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, two, strict=True))
    assert whole._optimizer.param_groups[0]["lr"] == pytest.approx(3e-4)
    assert int(whole.deployed_policy.observation_normalizer.count) > 200


@pytest.mark.whole
@pytest.mark.deep
def test_snapshot_in_a_new_process_flies_as_the_agent(tmp_path) -> None:
    algo = trained(tmp_path / "run", 3)
    episodes = sampled(algo, update=9)
    script = (
        "import sys, ganglion; from ganglion.training import load_policy; "
        "ganglion.export(load_policy(sys.argv[1]), sys.argv[2])"
    )
    artifact = tmp_path / "policy.ganglion"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "run"), str(artifact)], check=True)
    agent = algo.exploration_policy
    pilot = ganglion.load(artifact)
    assert ganglion.verify(artifact, load_policy(tmp_path / "run")).ok
    for episode in episodes.split():
        agent.reset(np.ones(1, np.bool_))
        pilot.reset()
        for observation in episode.observations:
            expected, _ = agent.get_actions(observation[None], deterministic=True)
            np.testing.assert_allclose(pilot.step(observation.astype(np.float32)), expected[0], atol=1e-5)
        assert not np.allclose(expected, 0.0)


def test_action_spaces_end_in_the_exported_policy() -> None:
    observations = SPEC.observation_space
    bounded = EnvSpec(observations, Box(np.array([0.0, -3.0], np.float32), np.array([1.0, 5.0], np.float32)))
    agent = GaussianAgent(LSTMPolicy(bounded, 4, 1))
    torch.testing.assert_close(
        agent.deployed_policy.action_map(torch.tensor([[-1.0, 0.5]])), torch.tensor([[0.0, 3.0]])
    )
    agent.log_std.data.fill_(3.0)
    agent.reset(np.ones(50, np.bool_))
    actions, infos = agent.get_actions(np.zeros((50, 2)))
    assert bounded.action_space.low.tolist() == actions.min(0).tolist()
    assert bounded.action_space.high.tolist() == actions.max(0).tolist()
    assert np.abs(infos["samples"]).max() > 5.0
    half_open = EnvSpec(observations, Box(np.array([0.0, -np.inf], np.float32), np.array([np.inf, np.inf], np.float32)))
    action_map = GaussianAgent(LSTMPolicy(half_open, 4, 1)).deployed_policy.action_map
    torch.testing.assert_close(action_map(torch.tensor([[-2.0, -7.0]])), torch.tensor([[0.0, -7.0]]))


def test_own_normaliser_and_map_are_kept_and_feed_forward_networks_learn() -> None:
    normalizer, action_map = ObservationNormalizer.empty(2), ActionMap([0.5], squash=True)
    policy = DeployablePolicy(LayeredPolicy(SPEC, nn.Linear(2, 1)), normalizer, action_map)
    algo = PPO(policy, LayeredPolicy(value_spec(SPEC), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))))
    assert algo.deployed_policy is policy
    before = algo.value_function.network.param_values
    scalars = algo.update(sampled(algo))
    assert int(normalizer.count) >= 60
    assert scalars["Minibatches"] >= 10
    assert not torch.equal(before, algo.value_function.network.param_values)


def test_an_update_begins_at_the_policy_that_acted() -> None:
    algo = made(num_passes=1, num_minibatches=1)
    for update in range(2):
        scalars = algo.update(sampled(algo, update))
        # Statistics that changed before the first minibatch would show.
        assert scalars["KL"] < 1e-8
        assert scalars["ClipFraction"] == 0.0


def test_target_kl_ends_an_update() -> None:
    free, careful = made(num_passes=8, learning_rate=0.03), made(num_passes=8, learning_rate=0.03, target_kl=0.02)
    counts = [algo.update(sampled(algo))["Minibatches"] for algo in (free, careful)]
    assert counts[0] == 32
    assert 0 < counts[1] < 32


@pytest.mark.deep
def test_learns_in_a_small_task() -> None:
    set_seed(1)
    algo = made(num_passes=5, learning_rate=1e-2)
    returns = []
    for update in range(15):
        episodes = sampled(algo, update, 200)
        returns.append(float(episodes.rewards.sum() / len(episodes.lengths)))
        algo.update(episodes)
    assert np.mean(returns[-3:]) > np.mean(returns[:3]) + 2.0


def test_rewards_that_are_no_numbers_leave_the_last_snapshot(tmp_path) -> None:
    algo = made()
    make = functools.partial(Points, nan_at=3)
    trainer = Trainer(config(tmp_path), progress=False)
    trainer.setup(algo, None, LocalSampler(algo.exploration_policy, dict, seed=5, vectorize=make))
    with pytest.raises(TrainingError, match=r"reward nan at step .* not finite"):
        trainer.train(1, batch_size=60)


def test_a_loss_that_is_no_number_changes_nothing() -> None:
    algo = made()
    episodes = sampled(algo)
    with torch.no_grad():
        algo.exploration_policy.log_std.fill_(math.nan)
    before = algo.value_function.network.param_values
    with pytest.raises(TrainingError, match="loss is nan; train with a smaller learning_rate"):
        algo.update(episodes)
    assert torch.equal(before, algo.value_function.network.param_values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"clip_range": math.nan}, "clip_range must be positive"),
        ({"discount": 1.5}, "discount must be from 0 to 1"),
        ({"entropy_weight": -1.0}, "entropy_weight must not be negative"),
        ({"num_passes": 0}, "num_passes must be an int of at least 1"),
        ({"sequence_length": 2.0}, "sequence_length must be an int"),
        ({"init_std": -1.0}, "init_std must be positive"),
        ({"target_kl": 0.0}, "target_kl must be positive"),
    ],
)
def test_numbers_out_of_range(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_spaces_and_networks_that_do_not_fit() -> None:
    box = SPEC.observation_space
    with pytest.raises(ValueError, match=r"action_space must be a Box of floats, not Discrete\(3\)"):
        PPO(LSTMPolicy(EnvSpec(box, Discrete(3)), 4, 1))
    with pytest.raises(ValueError, match="action_space must be a Box of floats"):
        PPO(LSTMPolicy(EnvSpec(box, Box(0, 5, (1,), np.int64)), 4, 1))
    with pytest.raises(ValueError, match=r"observation_space must be a Box of numbers, not Discrete\(4\)"):
        PPO(LSTMPolicy(EnvSpec(Discrete(4), SPEC.action_space), 4, 1))
    with pytest.raises(ValueError, match=r"GRUPolicy has 2 output elements, expected 1; make it with value_spec"):
        PPO(LSTMPolicy(SPEC, 4, 1), GRUPolicy(EnvSpec(box, Box(-1, 1, (2,))), 4, 1))
    with pytest.raises(ValueError, match="value_network was made for observations"):
        PPO(LSTMPolicy(SPEC, 4, 1), GRUPolicy(value_spec(EnvSpec(Box(-1, 1, (3,)), SPEC.action_space)), 4, 1))
    for wrong in (PPO, ValueFunction):
        with pytest.raises(TypeError, match="must be a RecurrentPolicy, not Linear"):
            wrong(nn.Linear(2, 1))


def test_episodes_of_another_agent_and_state_of_another_algorithm() -> None:
    algo = made()
    episodes = sampled(algo)
    episodes.agent_infos.pop("samples")
    with pytest.raises(ValueError, match="agent_infos lack samples; the episodes must come from `exploration_policy`"):
        algo.update(episodes)
    with pytest.raises(RuntimeError, match=r"call reset\(rows\) with 3 rows"):
        GaussianAgent(LSTMPolicy(SPEC, 4, 1)).get_actions(np.zeros((3, 2)))
    state = algo.state_dict()
    with pytest.raises(ValueError, match="that of a PPO without a schedule, this is one with"):
        made(schedule=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer)).load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch"):
        PPO(LSTMPolicy(SPEC, 9, 1), GRUPolicy(value_spec(SPEC), 6, 1)).load_state_dict(state)
