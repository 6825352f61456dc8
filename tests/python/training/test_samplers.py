"""Episodes: whole, enough, repeatable, with what the policy was fed; the same from this process and from Ray's."""

from __future__ import annotations

import os
import random

import gymnasium
import numpy as np
import pytest
import torch
from training_parts import SPEC, Agent, MortalAgent, Points, same_episodes

from ganglion.data import StepType
from ganglion.envs import VectorGymEnvironment
from ganglion.policies import GaussianLSTMPolicy
from ganglion.training import LocalSampler, RaySampler, TrainingError, set_seed

MAKE = dict


def local(agent=None, **options) -> LocalSampler:
    options = {"seed": 3, "vectorize": Points, **options}
    return LocalSampler(Agent() if agent is None else agent, MAKE, **options)


@pytest.mark.parametrize(("workers", "rows", "steps"), [(1, 1, 50), (1, 8, 100), (3, 4, 100), (1, 8, 3)])
def test_episodes_are_whole_and_enough(workers: int, rows: int, steps: int) -> None:
    with local(num_workers=workers, envs_per_worker=rows) as sampler:
        batch = sampler.obtain_episodes(0, steps)
    assert steps <= batch.lengths.sum() < steps + workers * rows * SPEC.max_episode_length
    ends = np.cumsum(batch.lengths)
    # An episode of one step is over at once: its only step is the last one.
    assert (batch.step_types[(ends - batch.lengths)[batch.lengths > 1]] == StepType.FIRST).all()
    too_far = np.abs(batch.last_observations[:, 0]) > 2.0
    assert np.array_equal(batch.step_types[ends - 1], np.where(too_far, StepType.TERMINAL, StepType.TIMEOUT))
    assert (batch.lengths[~too_far] == 20).all()
    middle = np.ones(len(batch.rewards), bool)
    middle[ends - 1] = middle[ends - batch.lengths] = False
    assert (batch.step_types[middle] == StepType.MID).all()
    # One row after the other: every reward is that of the observation behind it.
    assert np.array_equal(batch.rewards, 1.0 - np.abs(batch.next_observations[:, 0]).astype(np.float64))
    assert np.array_equal(batch.env_infos["speed"], np.abs(batch.next_observations[:, 1]))
    assert list(batch.env_infos) == ["speed"]


def test_hidden_states_are_those_that_were_fed() -> None:
    agent = Agent()
    batch = local(agent, envs_per_worker=5).obtain_episodes(0, 200)
    hidden, log_prob = batch.agent_infos["hidden_states"], batch.agent_infos["log_prob"]
    starts = np.cumsum(batch.lengths) - batch.lengths
    assert len(starts) > 5
    assert (hidden[starts] == 0.0).all()
    with torch.no_grad():
        after = agent.cell(torch.from_numpy(batch.observations), torch.from_numpy(hidden))
        again = agent.distribution(after).log_prob(torch.from_numpy(batch.actions)).sum(-1)
    inside = np.setdiff1d(np.arange(len(hidden)), starts)
    np.testing.assert_allclose(hidden[inside], after.numpy()[inside - 1], atol=1e-6)
    np.testing.assert_allclose(log_prob, again.numpy(), atol=1e-6)


def test_an_episode_is_its_seed() -> None:
    batch = local(envs_per_worker=4).obtain_episodes(5, 100)
    seeds = batch.episode_infos_by_episode["seed"]
    starts = np.cumsum(batch.lengths) - batch.lengths
    for seed, start in zip(seeds, starts, strict=True):
        assert np.array_equal(batch.observations[start], Points(count=1).reset(None, [int(seed)])[0])
    assert len(set(seeds.tolist())) == len(seeds)


def test_nothing_but_seed_update_and_weights_matters() -> None:
    sampler = local(num_workers=2, envs_per_worker=3)
    first = sampler.obtain_episodes(7, 100)
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    sampler.obtain_episodes(8, 30)
    assert same_episodes(first, sampler.obtain_episodes(7, 100))
    sampler.close()
    assert same_episodes(first, sampler.obtain_episodes(7, 100))
    assert not same_episodes(first, sampler.obtain_episodes(8, 100))
    assert not same_episodes(first, local(num_workers=2, envs_per_worker=3, seed=4).obtain_episodes(7, 100))
    sampler.obtain_episodes(0, 10, Agent(seed=5).state_dict())
    other = sampler.obtain_episodes(7, 100)
    assert not same_episodes(first, other)
    assert same_episodes(first, sampler.obtain_episodes(7, 100, Agent().state_dict()))


def test_generators_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    threads = torch.get_num_threads()
    local().obtain_episodes(0, 30)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]
    assert torch.get_num_threads() == threads


def test_sampler_does_not_touch_the_agent_it_was_given() -> None:
    agent = Agent()
    local(agent).obtain_episodes(0, 30, Agent(seed=9).state_dict())
    assert agent.hidden is None
    assert torch.equal(agent.mean.weight, Agent().mean.weight)


def test_lengths_are_not_preferred() -> None:
    """Eight rows at once see the lengths that one row after the other sees, though short episodes end first."""
    many, one = (
        np.concatenate([sampler.obtain_episodes(update, steps).lengths for update in range(60)])
        for sampler, steps in ((local(envs_per_worker=8), 40), (local(seed=4), 150))
    )
    error = np.hypot(many.std() / np.sqrt(len(many)), one.std() / np.sqrt(len(one)))
    assert abs(many.mean() - one.mean()) < 4.0 * error


def test_seed_comes_from_set_seed() -> None:
    set_seed(12)
    assert local(seed=None).seed == 12


def test_nan_reward_names_the_step() -> None:
    sampler = local(envs_per_worker=2, vectorize=lambda make, count: Points(make, count, nan_at=2))
    with pytest.raises(
        TrainingError, match=r"reward nan at step 1 of episode 0 \(update 4, worker 0, environment seed"
    ):
        sampler.obtain_episodes(4, 30)


def test_nan_action_is_refused() -> None:
    class Nan(Agent):
        def get_actions(self, observations):
            actions, infos = super().get_actions(observations)
            return np.full_like(actions, np.nan), infos

    with pytest.raises(TrainingError, match=r"action .*nan.* at step 0 of episode 0"):
        local(Nan()).obtain_episodes(0, 30)


def test_infos_that_change_are_refused() -> None:
    class Changing(Agent):
        def get_actions(self, observations):
            actions, infos = super().get_actions(observations)
            return actions, infos if observations[0, 0] > 0.0 else {"other": infos["log_prob"]}

    with pytest.raises(TrainingError, match="must be the same at every step"):
        local(Changing()).obtain_episodes(0, 200)


def test_spaces_that_do_not_fit() -> None:
    from gymnasium.spaces import Box

    from ganglion.data import EnvSpec

    agent = Agent()
    agent.env_spec = EnvSpec(Box(-1.0, 1.0, (3,)), SPEC.action_space)
    with pytest.raises(ValueError, match=r"made for observation_space Box\(-1.0, 1.0, \(3,\)"):
        local(agent).obtain_episodes(0, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"agent": object()}, TypeError, "no method reset"),
        ({"num_workers": 0}, ValueError, "num_workers must be at least 1"),
        ({"envs_per_worker": 1.5}, TypeError, "envs_per_worker must be an int"),
        ({"seed": -1}, ValueError, "seed must not be negative"),
        ({"seed": "x"}, TypeError, "seed must be an int"),
    ],
)
def test_bad_arguments(options, error, message) -> None:
    with pytest.raises(error, match=message):
        local(**options)


def test_bad_requests() -> None:
    sampler = local()
    with pytest.raises(ValueError, match="update"):
        sampler.obtain_episodes(-1, 10)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        sampler.obtain_episodes(0, 0)
    with pytest.raises(TypeError, match="env_factory"):
        LocalSampler(Agent(), 3)
    with pytest.raises(ValueError, match="num_workers=1, the snapshot was made with 2"):
        sampler.load_state_dict(local(num_workers=2).state_dict())


def test_infos_that_only_some_workers_have() -> None:
    class Late(Points):
        def step(self, actions, active=None):
            *result, infos = super().step(actions, active)
            if self.state[0, 0] > 1.5:
                infos["far"] = np.ones(self.count)
            return *result, {"deep": {"x": infos["speed"]}, **infos}

    batch = local(num_workers=4, vectorize=Late).obtain_episodes(0, 100)
    far = batch.env_infos["far"]
    assert np.array_equal(far, (batch.next_observations[:, 0] > 1.5).astype(np.float64))
    assert 0.0 < far.mean() < 1.0
    assert np.array_equal(batch.env_infos["deep/x"], batch.env_infos["speed"])


def test_gymnasium_and_a_policy_of_ganglion() -> None:
    def sampler(seed=3):
        return LocalSampler(policy, "Pendulum-v1", envs_per_worker=3, num_workers=2, seed=seed)

    policy = GaussianLSTMPolicy(VectorGymEnvironment("Pendulum-v1", 1).spec, hidden_dim=4)
    batch = sampler().obtain_episodes(0, 900)
    # Three episodes are begun for 450 steps of each worker; a row that has ended early has nothing to do.
    assert batch.lengths.tolist() == [200] * 6
    assert batch.env_spec == VectorGymEnvironment("Pendulum-v1", 1).spec
    ends = np.cumsum(batch.lengths)
    assert (batch.step_types[ends - 1] == StepType.TIMEOUT).all()
    assert (batch.agent_infos["prev_action"][ends - 200] == 0.0).all()
    env = gymnasium.make("Pendulum-v1")
    start, seed = 400, int(batch.episode_infos_by_episode["seed"][2])
    observation, _ = env.reset(seed=seed)
    for step in range(start, start + 200):
        assert np.array_equal(batch.observations[step], observation)
        observation, reward, *_ = env.step(batch.actions[step])
        assert batch.rewards[step] == reward
    assert np.array_equal(batch.last_observations[2], observation)
    assert same_episodes(batch, sampler().obtain_episodes(0, 900))
    assert not same_episodes(batch, sampler(4).obtain_episodes(0, 900))


@pytest.fixture(scope="module")
def ray_cluster():
    import ray
    import training_parts

    # Workers do not know the folder of the tests.
    ray.cloudpickle.register_pickle_by_value(training_parts)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.whole  # waits for workers of Ray again and again
@pytest.mark.usefixtures("ray_cluster")
def test_ray(tmp_path) -> None:
    """Two workers, the episodes of a `LocalSampler`; the second update in a cluster that loses one of them midway."""
    marker = tmp_path / "marker"
    agent = MortalAgent(marker)
    options = {"num_workers": 2, "envs_per_worker": 2, "seed": 3, "vectorize": Points}
    weights = [Agent(seed=1).state_dict(), Agent(seed=2).state_dict()]
    with LocalSampler(agent, MAKE, **options) as sampler:
        expected = [sampler.obtain_episodes(update, 60, weights[update]) for update in range(2)]
    with RaySampler(agent, MAKE, **options) as sampler:
        assert same_episodes(expected[0], sampler.obtain_episodes(0, 60, weights[0]))
        # Both workers are new, and the first of them to come to its seventh step dies.
        sampler.close()
        marker.touch()
        assert same_episodes(expected[1], sampler.obtain_episodes(1, 60, weights[1]))
        assert not marker.exists()
        # Without new weights: those of the last time, in the worker that was replaced, too.
        assert same_episodes(expected[1], sampler.obtain_episodes(1, 60))


@pytest.mark.usefixtures("ray_cluster")
def test_ray_hands_errors_on() -> None:
    class Broken(Agent):
        def get_actions(self, observations):
            return np.full((len(observations), 1), np.nan, np.float32), {}

    broken = RaySampler(Broken(), MAKE, seed=1, vectorize=Points)
    with broken as sampler, pytest.raises(TrainingError, match="action"):
        sampler.obtain_episodes(0, 10)


@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_up(monkeypatch) -> None:
    monkeypatch.setattr("ganglion.training.ray_sampler._MOST_LOSSES", 1)

    class Deadly(Agent):
        def reset(self, rows):
            os._exit(len(rows))

    deadly = RaySampler(Deadly(), MAKE, seed=1, vectorize=Points)
    with deadly as sampler, pytest.raises(TrainingError, match="worker 0 was lost 2 times in update 0"):
        sampler.obtain_episodes(0, 10)
