"""RNN, GRU and LSTM policies against recorded runs of the original (Pyrado)."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import ganglion.policies
from ganglion.policies import EnvSpec, RNNPolicyBase, Rollout

GOLDEN = Path(__file__).parents[2] / "golden" / "pyrado"
CASES = sorted(path.stem for kind in ("rnn", "gru", "lstm") for path in GOLDEN.glob(f"{kind}_*.npz"))
NONLINEARITIES = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}


class Case:
    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = dict(file)
        self.meta = json.loads(str(arrays.pop("meta")))
        self.data = {key: torch.from_numpy(array) for key, array in arrays.items()}

    def fresh(self) -> RNNPolicyBase:
        """The policy as the original constructed it, from the same seed."""
        kwargs = dict(self.meta["kwargs"])
        if "output_nonlin" in kwargs:
            kwargs["output_nonlin"] = NONLINEARITIES[kwargs["output_nonlin"]]
        box = gymnasium.spaces.Box
        spec = EnvSpec(box(-1.0, 1.0, (self.meta["obs_dim"],)), box(-1.0, 1.0, (self.meta["act_dim"],)))
        torch.manual_seed(self.meta["seed"])
        return getattr(ganglion.policies, self.meta["cls"])(spec, **kwargs)

    def policy(self) -> RNNPolicyBase:
        """The policy with the recorded parameters, in eval mode."""
        policy = self.fresh()
        params = {key.removeprefix("param."): value for key, value in self.data.items() if key.startswith("param.")}
        policy.load_state_dict(params, strict=True)
        return policy.eval()


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def run(policy: RNNPolicyBase, observations: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    actions, states = [], []
    with torch.no_grad():
        for obs in observations:
            action, hidden = policy(obs, hidden)
            actions.append(action)
            states.append(hidden)
    return torch.stack(actions), torch.stack(states)


def test_all_cases_are_here() -> None:
    assert len(CASES) == 8


def test_sizes_names_and_order(case: Case) -> None:
    policy = case.policy()
    assert policy.hidden_size == case.meta["hidden_size"] == sum(slot.size for slot in policy.state_layout)
    assert policy.num_param == case.meta["num_param"]
    assert [name for name, _ in policy.named_parameters()] == case.meta["param_order"]
    assert policy.name == case.meta["name"]
    assert policy.is_recurrent is case.meta["is_recurrent"]
    assert torch.equal(policy.param_values, case.data["param_values"])


def test_param_values_load_as_well_as_state_dict(case: Case) -> None:
    policy = case.fresh()
    policy.init_param(torch.zeros(policy.num_param))
    policy.param_values = case.data["param_values"]
    for name, param in policy.named_parameters():
        assert torch.equal(param, case.data[f"param.{name}"])


def test_equal_seed_gives_equal_initial_parameters(case: Case) -> None:
    assert not case.meta["perturbed"]
    assert_close(case.fresh().param_values, case.data["param_values"])


def test_sequence_from_initial_state(case: Case) -> None:
    policy = case.policy()
    hidden = policy.init_hidden()
    assert torch.equal(hidden, case.data["hidden0"])
    actions, states = run(policy, case.data["obs"], hidden)
    assert_close(actions, case.data["seq.act"])
    assert_close(states, case.data["seq.hidden"])


def test_sequence_from_random_state(case: Case) -> None:
    actions, states = run(case.policy(), case.data["obs"], case.data["hidden0_rand"])
    assert_close(actions, case.data["seqr.act"])
    assert_close(states, case.data["seqr.hidden"])


def test_batch(case: Case) -> None:
    policy = case.policy()
    assert torch.equal(policy.init_hidden(3), case.data["hidden0_b"])
    actions, states = run(policy, case.data["obs_b"], case.data["hidden0_b_rand"])
    assert_close(actions, case.data["batch.act"])
    assert_close(states, case.data["batch.hidden"])


def test_without_hidden_state(case: Case) -> None:
    action, hidden = case.policy()(case.data["obs"][0])
    assert_close(action, case.data["none.act0"])
    assert_close(hidden, case.data["none.hidden0"])


@pytest.mark.parametrize("kind", ["eval", "evalnh"])
def test_evaluate_and_gradients(case: Case, kind: str) -> None:
    policy = case.policy()
    states = case.data["eval.hidden_states"] if kind == "eval" else None
    out = policy.evaluate(Rollout(case.data["eval.obs"], case.data["eval.lengths"], states))
    assert isinstance(out, torch.Tensor)
    assert_close(out, case.data[f"{kind}.out"])
    loss = out.square().sum()
    assert_close(loss, case.data[f"{kind}.loss"])
    loss.backward()
    for name, param in policy.named_parameters():
        # Sums over 50 steps and 3 sequences: rounding grows with the largest element, not with each one.
        expected = case.data[f"{kind}.grad.{name}"]
        torch.testing.assert_close(param.grad, expected, atol=1e-6 * max(1.0, float(expected.abs().max())), rtol=1e-6)


def test_evaluate_equals_stepping(case: Case) -> None:
    # The general way of the base class must agree with one call of the recurrent layers.
    policy = case.policy()
    observations, lengths = case.data["eval.obs"], case.data["eval.lengths"]
    packed = torch.nn.utils.rnn.pack_sequence(torch.split(observations, lengths.tolist()), enforce_sorted=False)
    hidden = torch.randn(len(lengths), policy.hidden_size)
    (fast,) = policy._evaluate_packed(packed, hidden)
    (stepped,) = super(RNNPolicyBase, policy)._evaluate_packed(packed, hidden)
    assert_close(stepped, fast)
