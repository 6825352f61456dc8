"""Two-headed policies: against recorded runs of the original (Pyrado), and beyond recorded numbers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from pyrado_golden import BEHAVIOUR, Case, cases

from ganglion.contract import StateSlot
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.pyrado.two_headed import (
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    TwoHeadedRNNPolicy,
    TwoHeadedRNNPolicyBase,
)
from ganglion.policies.rollout import Rollout

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec

CASES = cases("thrnn", "thgru", "thlstm")
CLASSES = [TwoHeadedRNNPolicy, TwoHeadedGRUPolicy, TwoHeadedLSTMPolicy]
every_class = pytest.mark.parametrize("cls", CLASSES)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=2e-6)


# --- recorded runs ---


def test_all_cases_are_here() -> None:
    assert len(CASES) == 4
    assert {Case(name).cls for name in CASES} == set(CLASSES)


def test_sizes_names_and_order(case: Case) -> None:
    policy = case.policy()
    assert policy.hidden_size == case.meta["hidden_size"] == sum(slot.size for slot in policy.state_layout)
    assert policy.num_param == case.meta["num_param"]
    assert [name for name, _ in policy.named_parameters()] == case.meta["param_order"]
    assert policy.name == case.meta["name"]
    assert policy.extra_repr() == case.meta["extra_repr"]
    assert torch.equal(policy.param_values, case.data["param_values"])


def test_equal_seed_gives_equal_initial_parameters(case: Case) -> None:
    assert not case.meta["perturbed"]
    assert_close(case.fresh().param_values, case.data["param_values"])


@torch.no_grad()
@pytest.mark.parametrize(
    ("observations", "hidden", "run"),
    [("obs", "hidden0", "seq"), ("obs", "hidden0_rand", "seqr"), ("obs_b", "hidden0_b_rand", "batch")],
)
def test_sequence(case: Case, observations: str, hidden: str, run: str) -> None:
    policy, state = case.policy(), case.data[hidden]
    for step, obs in enumerate(case.data[observations]):
        action, second, state = policy(obs, state)
        assert_close(action, case.data[f"{run}.act"][step])
        assert_close(second, case.data[f"{run}.head2"][step])
        assert_close(state, case.data[f"{run}.hidden"][step])


def test_initial_state(case: Case) -> None:
    policy = case.policy()
    assert torch.equal(policy.init_hidden(), case.data["hidden0"])
    assert torch.equal(policy.init_hidden(3), case.data["hidden0_b"])
    action, _, hidden = policy(case.data["obs"][0])
    assert_close(action, case.data["none.act0"])
    assert_close(hidden, case.data["none.hidden0"])


@pytest.mark.parametrize("kind", ["eval", "evalnh"])
def test_evaluate_and_gradients(case: Case, kind: str) -> None:
    policy = case.policy()
    states = case.data["eval.hidden_states"] if kind == "eval" else None
    out_1, out_2 = policy.evaluate(Rollout(case.data["eval.obs"], case.data["eval.lengths"], states))
    assert_close(out_1, case.data[f"{kind}.out1"])
    assert_close(out_2, case.data[f"{kind}.out2"])
    loss = out_1.square().sum() + out_2.square().sum()
    assert_close(loss, case.data[f"{kind}.loss"])
    loss.backward()
    for name, param in policy.named_parameters():
        # Sums over 50 steps and 3 sequences: rounding grows with the largest element, not with each one.
        expected = case.data[f"{kind}.grad.{name}"]
        torch.testing.assert_close(param.grad, expected, atol=2e-6 * max(1.0, float(expected.abs().max())), rtol=2e-6)


def test_evaluate_equals_stepping(case: Case) -> None:
    policy = case.policy()
    observations, lengths = case.data["eval.obs"], case.data["eval.lengths"]
    packed = torch.nn.utils.rnn.pack_sequence(torch.split(observations, lengths.tolist()), enforce_sorted=False)
    hidden = torch.randn(len(lengths), policy.hidden_size)
    stepped = RecurrentPolicy._evaluate_packed(policy, packed, hidden)
    for fast, slow in zip(policy._evaluate_packed(packed, hidden), stepped, strict=True):
        assert_close(slow, fast)


# --- construction ---


def test_base_class_cannot_be_instantiated(spec: EnvSpec) -> None:
    with pytest.raises(TypeError, match="TwoHeadedRNNPolicy, TwoHeadedGRUPolicy or TwoHeadedLSTMPolicy"):
        TwoHeadedRNNPolicyBase(spec, 8, 1)


@pytest.mark.parametrize("head", [1, 2])
def test_heads_are_checked(spec: EnvSpec, head: int) -> None:
    with pytest.raises(TypeError, match=f"head_{head}_output_nonlin"):
        TwoHeadedGRUPolicy(spec, 8, 1, **{f"head_{head}_output_nonlin": "tanh"})
    with pytest.raises(ValueError, match=f"head_{head}_size must be at least 1, not 0"):
        TwoHeadedGRUPolicy(spec, 8, 1, **{f"head_{head}_size": 0})
    with pytest.raises(TypeError, match=f"head_{head}_size must be an int"):
        TwoHeadedGRUPolicy(spec, 8, 1, **{f"head_{head}_size": 2.0})


def test_further_arguments_reach_the_torch_module(spec: EnvSpec) -> None:
    assert TwoHeadedRNNPolicy(spec, 8, 1, "relu").shared.nonlinearity == "relu"
    assert TwoHeadedGRUPolicy(spec, 8, 1, dtype=torch.float64).shared.weight_ih_l0.dtype == torch.float64
    with pytest.raises(ValueError, match="proj_size"):
        TwoHeadedLSTMPolicy(spec, 8, 1, proj_size=3)


@every_class
def test_parameter_names(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    policy = cls(spec, 4, 2)
    assert {name.split(".")[0] for name in policy.state_dict()} == {"shared", "head_1", "head_2"}
    if cls is TwoHeadedLSTMPolicy:
        shapes = [[name, list(value.shape)] for name, value in policy.state_dict().items()]
        assert shapes == BEHAVIOUR["state_dict.keys.thlstm"]["result"]


def test_chrono_initialisation(spec: EnvSpec) -> None:
    policy = TwoHeadedLSTMPolicy(spec, 8, 1, init_param_kwargs={"t_max": 50})
    assert torch.equal(policy.shared.weight_hh_l0, torch.eye(8).repeat(4, 1))
    with pytest.raises(ValueError, match="TwoHeadedLSTMPolicy: t_max must be at least 2"):
        policy.init_param(None, t_max=1.0)
    with pytest.raises(TypeError):
        policy.init_param(None, tmax=50)


# --- outputs ---


def test_output_specs(spec: EnvSpec) -> None:
    head_1, head_2 = TwoHeadedLSTMPolicy(spec, 8, 2, head_2_size=5).output_specs
    assert (head_1.name, head_1.size, head_1.low, head_1.high) == ("head_1", 2, (-2.0, -2.0), (2.0, 2.0))
    assert (head_2.name, head_2.size, head_2.low) == ("head_2", 5, ())
    # Another size than an action: the bounds of the action space say nothing about it.
    assert TwoHeadedGRUPolicy(spec, 8, 2, head_1_size=3).output_specs[0].low == ()
    contract = TwoHeadedLSTMPolicy(spec, 8, 2).contract()
    assert contract.state == (StateSlot("h", (2, 8)), StateSlot("c", (2, 8)))
    assert [output.name for output in contract.outputs] == ["head_1", "head_2"]


@every_class
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_follow_the_observation(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase], batch: int) -> None:
    policy = cls(spec, 8, 2, head_1_size=3, head_2_size=1)
    shapes = [tuple(result.shape) for result in policy(torch.randn(batch, 4))]
    assert shapes == [(batch, 3), (batch, 1), (batch, policy.hidden_size)]
    assert [tuple(result.shape) for result in policy(torch.randn(4))] == [(3,), (1,), (policy.hidden_size,)]


@every_class
def test_heads_have_their_own_nonlinearity(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1, head_1_output_nonlin=torch.nn.Softmax(dim=-1), head_2_output_nonlin=torch.zeros_like)
    first, second, _ = policy(torch.randn(5, 4))
    torch.testing.assert_close(first.sum(-1), torch.ones(5))
    assert not second.any()


@every_class
def test_wrong_shapes_name_both(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1)
    with pytest.raises(ValueError, match=r"obs has shape \(3, 5\); expected \(3, 4\)"):
        policy(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=rf"hidden has shape \(2, {policy.hidden_size}\).*\(3, {policy.hidden_size}\)"):
        policy(torch.zeros(3, 4), torch.zeros(2, policy.hidden_size))


@every_class
def test_other_dtypes_are_cast_to_that_of_the_parameters(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    # The original raises: BEHAVIOUR["forward.float64_hidden_float32_obs.thrnn"].
    policy = cls(spec, 8, 1)
    obs, hidden = torch.randn(4), torch.randn(policy.hidden_size)
    for left, right in zip(policy(obs, hidden.double()), policy(obs, hidden), strict=True):
        assert left.dtype == torch.float32
        assert torch.equal(left, right)


@every_class
def test_gradient_agrees_with_finite_differences(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    policy = cls(spec, 3, 2).double()
    obs = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, policy.hidden_size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy, (obs, hidden))


@every_class
def test_policies_can_be_pickled(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2, head_2_output_nonlin=torch.tanh)
    copy = pickle.loads(pickle.dumps(policy))
    obs = torch.randn(4)
    for left, right in zip(copy(obs), policy(obs), strict=True):
        assert torch.equal(left, right)


@every_class
def test_script_keeps_its_own_state(spec: EnvSpec, cls: type[TwoHeadedRNNPolicyBase]) -> None:
    # The original cannot be scripted: BEHAVIOUR["script.thgru_float64"].
    policy = cls(spec, 8, 2)
    script = policy.script()
    observations, hidden = torch.randn(6, 4), None
    for obs in observations:
        first, _, hidden = policy(obs, hidden)
        torch.testing.assert_close(script(obs), first, atol=1e-6, rtol=1e-5)
    assert [tuple(result.shape) for result in script.step(observations[0], hidden)][:2] == [(2,), (2,)]
    torch.testing.assert_close(script.step(observations[5], hidden)[1], policy(observations[5], hidden)[1])
