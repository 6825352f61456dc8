"""ADN and neural field policies against recorded runs of the original (Pyrado)."""

from __future__ import annotations

import pytest
import torch
from pyrado_golden import DIFFERENCES, GOLDEN, Case, cases

from ganglion.policies.rollout import Rollout

CASES = cases("adn", "nf")
RUNS = {"seq": ("obs", "hidden0"), "seqr": ("obs", "hidden0_rand"), "batch": ("obs_b", "hidden0_b_rand")}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(case: Case, actual: torch.Tensor, expected: torch.Tensor) -> None:
    # Potentials of up to 100, and steps that grow: the tolerances of the golden README.
    tolerance = 2e-4 if case.meta["case"] == "adn_clip100" else 2e-5
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_no_file_of_the_folder_is_left_out() -> None:
    kinds = {"rnn": 3, "gru": 2, "lstm": 3, "thrnn": 2, "thgru": 1, "thlstm": 1, "adn": 18, "nf": 22}
    assert {kind: len(cases(kind)) for kind in kinds} == kinds
    assert sum(kinds.values()) == len(list(GOLDEN.glob("*.npz")))
    assert len(CASES) == kinds["adn"] + kinds["nf"]


def test_sizes_names_and_order(case: Case) -> None:
    policy = case.fresh()
    assert policy.hidden_size == case.meta["hidden_size"]
    assert policy.num_param == case.meta["num_param"]
    assert [name for name, _ in policy.named_parameters()] == case.meta["param_order"]
    assert policy.name == case.meta["name"]
    assert policy.extra_repr() == case.meta["extra_repr"]
    policy.param_values = case.data["param_values"]
    for name, param in policy.named_parameters():
        assert torch.equal(param, case.params[name])


def test_default_layer_has_a_bias_that_the_original_has_not(case: Case) -> None:
    assert "default obs_layer" in DIFFERENCES
    policy = case.policy()
    assert policy.num_param == case.meta["num_param"] + case.meta["hidden_size"]
    assert not policy.obs_layer.bias.any()


@pytest.mark.parametrize("name", [name for name in CASES if not Case(name).meta["perturbed"]])
def test_equal_seed_gives_equal_initial_parameters(name: str) -> None:
    case = Case(name)
    for param, values in case.fresh().state_dict().items():
        if param in case.params:
            assert_close(case, values, case.params[param])


def test_values_that_are_not_saved(case: Case) -> None:
    policy = case.policy()
    assert_close(case, policy.tau, case.data["derived.tau"])
    assert_close(case, policy.kappa, case.data["derived.kappa"])
    assert_close(case, policy.init_hidden(), case.data["derived.potentials_init"])
    if "derived.capacity" in case.data:
        assert_close(case, policy.capacity, case.data["derived.capacity"])
    if "derived.conv_full_kernel_shape" in case.data:
        weight = getattr(policy.conv_layer, "full_weight", policy.conv_layer.weight)
        # The shape of a mirrored kernel was recorded without its channels.
        shape = case.data["derived.conv_full_kernel_shape"].tolist()
        assert list(weight.shape)[-len(shape) :] == shape


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
def test_sequence(case: Case, run: str) -> None:
    observations, initial = RUNS[run]
    policy, hidden = case.policy(), case.data[initial]
    for step, obs in enumerate(case.data[observations]):
        action, hidden = policy(obs, hidden)
        assert_close(case, action, case.data[f"{run}.act"][step])
        assert_close(case, hidden, case.data[f"{run}.hidden"][step])
        assert_close(case, policy.stimuli_external, case.data[f"{run}.stim_ext"][step])
        assert_close(case, policy.stimuli_internal, case.data[f"{run}.stim_int"][step])


def test_initial_state(case: Case) -> None:
    policy = case.policy()
    assert torch.equal(policy.init_hidden(), case.data["hidden0"])
    assert torch.equal(policy.init_hidden(3), case.data["hidden0_b"])
    action, hidden = policy(case.data["obs"][0])
    assert_close(case, action, case.data["none.act0"])
    assert_close(case, hidden, case.data["none.hidden0"])


@pytest.mark.parametrize("kind", ["eval", "evalnh"])
def test_evaluate(case: Case, kind: str) -> None:
    policy = case.policy()
    states = case.data["eval.hidden_states"] if kind == "eval" else None
    out = policy.evaluate(Rollout(case.data["eval.obs"], case.data["eval.lengths"], states))
    assert_close(case, out, case.data[f"{kind}.out"])
    assert_close(case, out.square().sum(), case.data[f"{kind}.loss"])


@pytest.mark.parametrize("kind", ["eval", "evalnh"])
def test_gradients_of_single_steps(case: Case, kind: str) -> None:
    """The original lets no gradient through the potentials; cut at every step, ours are the same."""
    assert "evaluate()" in DIFFERENCES
    policy, loss, first = case.policy(), torch.zeros(()), 0
    for length in case.data["eval.lengths"].tolist():
        hidden = case.data["eval.hidden_states"][first] if kind == "eval" else policy.init_hidden()
        for obs in case.data["eval.obs"][first : first + length]:
            action, hidden = policy(obs, hidden.detach())
            loss = loss + action.square().sum()
        first += length
    loss.backward()
    for name in case.meta["param_order"]:
        grad, expected = policy.get_parameter(name).grad, case.data[f"{kind}.grad.{name}"]
        if expected.numel() == 0:
            assert grad is None or not grad.any()
        else:
            largest = max(1.0, float(expected.abs().max()))
            assert_close(case, grad / largest, expected / largest)


@pytest.mark.parametrize("name", CASES)
def test_evaluate_has_more_gradient_than_single_steps(name: str) -> None:
    case = Case(name)
    policy = case.policy()
    out = policy.evaluate(Rollout(case.data["eval.obs"], case.data["eval.lengths"]))
    out.square().sum().backward()
    assert (policy.resting_level.grad - case.data["evalnh.grad.resting_level"]).abs().max() > 1e-5


def test_mirrored_reflection_was_padding_with_zeros() -> None:
    assert "reflect padding with mirrored kernel" in DIFFERENCES
    reflect, zeros = Case("nf_mirr_reflect_k5"), Case("nf_mirr_zeros_k5")
    assert reflect.meta["kwargs"]["conv_padding_mode"] == "reflect"
    assert torch.equal(reflect.data["seq.act"], zeros.data["seq.act"])


def test_disabled_kappa_was_e() -> None:
    assert "kappa_init=0, not learnable" in DIFFERENCES
    for name in ("adn_pd_cubic_kappa0_fixed", "nf_full_kappa0_fixed", "nf_mirr_kappa0_fixed"):
        case = Case(name)
        assert case.cls(case.spec, **case.kwargs).kappa.item() == 0.0
        assert_close(case, case.fresh().kappa, case.data["derived.kappa"])
