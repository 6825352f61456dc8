"""`RecurrentPolicy.evaluate` takes an `EpisodeBatch`."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from batches import LENGTHS, episode_fields, episodes, spec

from ganglion.data import EnvSpec, EpisodeBatch
from ganglion.policies import GRUPolicy, LSTMPolicy, Rollout

STARTS = [0, 2, 3]


@pytest.fixture(scope="module")
def policy() -> GRUPolicy:
    torch.manual_seed(0)
    return GRUPolicy(spec(), 8, 1)


def batch(**changes: object) -> EpisodeBatch:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(6, 8)).astype(np.float32)
    return episodes(**{"agent_infos": {"hidden_states": hidden, "mean": np.zeros((6, 1))}, **changes})


def test_actions_are_those_of_stepping(policy: GRUPolicy) -> None:
    data = batch()
    expected = []
    for start, length in zip(STARTS, LENGTHS, strict=True):
        hidden = torch.from_numpy(data.agent_infos["hidden_states"][start])
        for step in range(start, start + length):
            action, hidden = policy(torch.from_numpy(data.observations[step]), hidden)
            expected.append(action)
    actions = policy.evaluate(data)
    torch.testing.assert_close(actions, torch.stack(expected))
    actions.sum().backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_recorded_states_are_used_by_name(policy: GRUPolicy) -> None:
    data = batch()
    without = policy.evaluate(batch(agent_infos={}))
    assert not torch.equal(policy.evaluate(data), without)
    assert torch.equal(policy.evaluate(data, hidden_states_name="elsewhere"), without)


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int32"])
def test_lengths_of_any_kind(policy: GRUPolicy, dtype: str) -> None:
    data = batch(lengths=np.array(LENGTHS, dtype))
    assert torch.equal(policy.evaluate(data), policy.evaluate(batch()))


def test_float64_and_arrays_that_torch_does_not_take(policy: GRUPolicy) -> None:
    data = batch()
    expected = policy.evaluate(data)
    backwards = batch(observations=data.observations[::-1].copy()[::-1])
    torch.testing.assert_close(policy.evaluate(backwards), expected)
    torch.testing.assert_close(policy.evaluate(batch(observations=data.observations.astype(np.float64))), expected)
    fixed = data.observations.copy()
    fixed.flags.writeable = False
    torch.testing.assert_close(policy.evaluate(batch(observations=fixed)), expected)
    shaped = batch(observations=data.observations[:, np.newaxis], last_observations=data.last_observations)
    torch.testing.assert_close(policy.evaluate(shaped), expected)


def test_tensors_share_the_memory_of_the_batch() -> None:
    data = batch()
    rollout = Rollout.of(data)
    assert np.shares_memory(rollout.observations.numpy(), data.observations)
    assert rollout.hidden_states is not None
    assert np.shares_memory(rollout.hidden_states.numpy(), data.agent_infos["hidden_states"])


def test_discrete_observations(policy: GRUPolicy) -> None:
    del policy
    discrete = EnvSpec(gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2))
    data = batch(
        env_spec=discrete,
        observations=np.array([0, 1, 1, 0, 1, 0]),
        last_observations=np.array([0, 1, 1]),
        actions=np.zeros(6, np.int64),
        agent_infos={},
    )
    torch.manual_seed(0)
    lstm = LSTMPolicy(discrete, 4, 1)
    rows = {"observations": torch.eye(2)[[0, 1, 1, 0, 1, 0]], "lengths": LENGTHS}
    assert torch.equal(lstm.evaluate(data), lstm.evaluate(rows))


def test_what_does_not_fit(policy: GRUPolicy) -> None:
    with pytest.raises(ValueError, match="hidden states have 3 elements, not 8"):
        policy.evaluate(batch(agent_infos={"hidden_states": np.zeros((6, 3))}))
    with pytest.raises(
        TypeError, match=r"agent_infos\['hidden_states'\] must be an array of numbers, not dtype object"
    ):
        policy.evaluate(batch(agent_infos={"hidden_states": np.array([None] * 6)}))
    with pytest.raises(TypeError, match=r"agent_infos\['hidden_states'\] must be an array of numbers, not dict"):
        policy.evaluate(batch(agent_infos={"hidden_states": {"h": np.zeros((6, 8))}}))
    fields = episode_fields()
    with pytest.raises(TypeError, match=r"observations must be a torch\.Tensor"):
        Rollout.of({"observations": fields["observations"], "lengths": LENGTHS})
