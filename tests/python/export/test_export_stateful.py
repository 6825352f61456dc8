"""`StatefulRecurrentNetwork` in TorchScript: state, reset, step, shapes, independence from ganglion."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from export_policies import (
    ACTIONS,
    OBSERVATIONS,
    SPEC,
    EncoderGruPolicy,
    LastActionPolicy,
    MemorylessPolicy,
    run_policy,
    trajectory,
)

from ganglion.export import StatefulRecurrentNetwork
from ganglion.policies import GRUPolicy, LSTMPolicy


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return EncoderGruPolicy().eval()


@pytest.fixture(scope="module")
def scripted(policy):
    return torch.jit.script(StatefulRecurrentNetwork(policy))


@pytest.fixture
def network(scripted):
    scripted.reset()
    return scripted


def test_attributes(network, policy):
    assert (network.input_size, network.output_size) == (OBSERVATIONS, ACTIONS)
    torch.testing.assert_close(network.hidden, policy.init_hidden(), rtol=0, atol=0)


def test_forward_keeps_the_state_and_reset_restores_it(network, policy):
    observations, _ = trajectory(20)
    expected = run_policy(policy, observations, np.zeros(20, bool))
    for _ in range(2):
        actual = np.stack([network(torch.from_numpy(o)).detach().numpy() for o in observations])
        np.testing.assert_allclose(actual, expected, atol=1e-6)
        assert not torch.equal(network.hidden, policy.init_hidden())
        network.reset()
        torch.testing.assert_close(network.hidden, policy.init_hidden(), rtol=0, atol=0)


def test_every_row_of_a_batch_starts_from_the_initial_state(network, policy):
    observations = torch.randn(10, 4, OBSERVATIONS)
    batched = torch.stack([network(o) for o in observations], 1)
    assert network.hidden.shape == (4, policy.hidden_size)
    for row in range(4):
        expected = run_policy(policy, observations[:, row].numpy(), np.zeros(10, bool))
        np.testing.assert_allclose(batched[row].detach().numpy(), expected, atol=1e-6)


def test_step_returns_all_outputs_and_touches_nothing(network, policy):
    before = network.hidden.clone()
    for shape in ((), (1,), (6,)):
        obs, hidden = torch.randn(*shape, OBSERVATIONS), torch.randn(*shape, policy.hidden_size)
        result = network.step(obs, hidden)
        with torch.no_grad():
            expected = policy(obs, hidden)
        assert isinstance(result, tuple)
        assert len(result) == 3
        for one, other in zip(result, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    torch.testing.assert_close(network.hidden, before, rtol=0, atol=0)


@pytest.mark.parametrize("second", [(OBSERVATIONS,), (3, OBSERVATIONS)])
def test_another_number_of_rows_needs_a_reset(network, second):
    network(torch.zeros(2, OBSERVATIONS))
    hidden = network.hidden.clone()
    with pytest.raises(Exception, match=r"call reset\(\) first"):
        network(torch.zeros(second))
    torch.testing.assert_close(network.hidden, hidden, rtol=0, atol=0)
    network.reset()
    network(torch.zeros(second))


def test_single_then_batch_of_one_needs_a_reset(network):
    network(torch.zeros(OBSERVATIONS))
    with pytest.raises(Exception, match=r"call reset\(\) first"):
        network(torch.zeros(1, OBSERVATIONS))


@pytest.mark.parametrize("shape", [(), (OBSERVATIONS + 1,), (2, 1), (1, 1, OBSERVATIONS)])
def test_a_wrong_observation_is_refused(network, shape):
    with pytest.raises(Exception, match="the observation must be"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(3,), (1, 14), (15,)])
def test_a_wrong_hidden_vector_is_refused(network, shape):
    with pytest.raises(Exception, match="the hidden vector must be"):
        network.step(torch.zeros(OBSERVATIONS), torch.zeros(shape))


def test_a_caller_who_reuses_the_action_does_not_change_the_state():
    network = torch.jit.script(StatefulRecurrentNetwork(LastActionPolicy()))
    for obs in (torch.randn(OBSERVATIONS), torch.randn(2, OBSERVATIONS)):
        network.reset()
        action = network(obs)
        expected = action.clone()
        action.zero_()
        torch.testing.assert_close(network.hidden, expected)


def test_a_policy_without_memory():
    policy = MemorylessPolicy().eval()
    network = torch.jit.script(StatefulRecurrentNetwork(policy))
    for obs in (torch.randn(OBSERVATIONS), torch.randn(3, OBSERVATIONS)):
        network.reset()
        torch.testing.assert_close(network(obs), policy(obs)[0])
        assert network.hidden.numel() == 0


def test_the_policy_and_the_random_state_are_left_alone():
    policy = LSTMPolicy(SPEC, 4, 2, dropout=0.3)
    policy.train()
    policy.output_layer.eval()
    modes = [module.training for module in policy.modules()]
    parameters = [parameter.clone() for parameter in policy.parameters()]
    torch.manual_seed(7)
    np.random.seed(7)
    StatefulRecurrentNetwork(policy)
    drawn, drawn_numpy = torch.randn(3), np.random.rand(3)
    torch.manual_seed(7)
    np.random.seed(7)
    torch.testing.assert_close(drawn, torch.randn(3), rtol=0, atol=0)
    np.testing.assert_array_equal(drawn_numpy, np.random.rand(3))
    assert modes == [module.training for module in policy.modules()]
    assert all(torch.equal(a, b) and b.requires_grad for a, b in zip(parameters, policy.parameters(), strict=True))


def test_script_of_a_policy():
    policy = GRUPolicy(SPEC, 4, 1).double().eval()
    network = policy.script()
    obs = torch.randn(OBSERVATIONS)
    assert network(obs).dtype == torch.float32
    assert network.hidden.dtype == torch.float32


def test_it_loads_where_ganglion_is_unknown(tmp_path, policy, network):
    torch.jit.save(network, tmp_path / "policy.pt")
    obs = torch.linspace(-1, 1, OBSERVATIONS)
    with torch.no_grad():
        expected = policy(obs, policy.init_hidden())[0]
    program = """
        import sys, torch
        sys.modules["ganglion"] = None  # every import of it fails from here on
        module = torch.jit.load(sys.argv[1])
        obs = torch.linspace(-1, 1, module.input_size)
        first = module(obs)
        module(obs)
        module.reset()
        assert torch.equal(module(obs), first)
        print(*first.tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "policy.pt")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], expected.numpy(), atol=1e-6)
