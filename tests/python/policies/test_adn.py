"""Potential-based policies, by the example of ADN, beyond recorded numbers."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from ganglion.contract import StateSlot
from ganglion.policies.pyrado.adn import (
    ADNPolicy,
    pd_capacity_21,
    pd_capacity_21_abs,
    pd_capacity_32,
    pd_capacity_32_abs,
    pd_cubic,
    pd_linear,
)

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.pyrado import adn

CAPACITY_DYNAMICS = [pd_capacity_21, pd_capacity_21_abs, pd_capacity_32, pd_capacity_32_abs]
every_dynamics = pytest.mark.parametrize(
    "dynamics", [pd_linear, pd_cubic, *CAPACITY_DYNAMICS], ids=lambda f: f.__name__
)


def own_dynamics(p, s, h, tau, kappa=None, capacity=None):
    assert capacity is None
    return (s - kappa * torch.sinh(0.1 * (p - h))) / tau


# --- construction ---


def test_wrong_arguments(spec: EnvSpec) -> None:
    with pytest.raises(TypeError, match="potentials_dyn_fcn must be callable, not 'pd_linear'"):
        ADNPolicy(spec, torch.tanh, "pd_linear")
    with pytest.raises(TypeError, match="or None, not function"):
        ADNPolicy(spec, torch.tanh, pd_linear, obs_layer=lambda obs: obs)
    with pytest.raises(ValueError, match="unknown nonlinearity 'than'; known: tanh"):
        ADNPolicy(spec, "than", pd_linear)
    with pytest.raises(ValueError, match="3 nonlinearities for 2 elements"):
        ADNPolicy(spec, [torch.tanh] * 3, pd_linear)
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="tau_init must be positive and finite"):
            ADNPolicy(spec, torch.tanh, pd_linear, tau_init=value)
    with pytest.raises(ValueError, match="kappa_init must be finite and not negative, not nan"):
        ADNPolicy(spec, torch.tanh, pd_linear, kappa_init=math.nan)
    with pytest.raises(TypeError, match="bell"):
        ADNPolicy(spec, torch.tanh, pd_linear, init_param_kwargs={"bell": True})


@pytest.mark.parametrize(
    "sigmoid", ["sigmoid", torch.sigmoid, nn.functional.sigmoid, torch.special.expit, nn.Sigmoid, nn.Sigmoid()]
)
def test_sigmoid_is_recognised_in_every_form(spec: EnvSpec, sigmoid: object) -> None:
    policy = ADNPolicy(spec, sigmoid, pd_capacity_21)
    assert policy.init_hidden().tolist() == [-7.0, -7.0]
    assert policy.capacity.tolist() == pytest.approx([7.0])


@pytest.mark.parametrize("tanh", ["tanh", torch.tanh, nn.functional.tanh, nn.Tanh, nn.Tanh()])
def test_tanh_is_recognised_in_every_form(spec: EnvSpec, tanh: object) -> None:
    policy = ADNPolicy(spec, tanh, pd_capacity_21)
    assert policy.init_hidden().tolist() == [0.0, 0.0]
    assert policy.capacity.tolist() == pytest.approx([3.8])


def test_one_nonlinearity_for_each_neuron(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, ["sigmoid", nn.Tanh()], pd_capacity_32)
    assert policy.init_hidden().tolist() == [-7.0, 0.0]
    assert policy.capacity.tolist() == pytest.approx([7.0, 3.8])
    policy.pot_to_act_layer.weight.data.fill_(1.0)
    actions, potentials = policy(torch.randn(5, 4))
    torch.testing.assert_close(actions[:, 0], torch.sigmoid(potentials[:, 0]))
    torch.testing.assert_close(actions[:, 1], torch.tanh(potentials[:, 1]))
    assert ADNPolicy(spec, ["tanh", nn.Tanh], pd_capacity_32).capacity.shape == (1,)


@pytest.mark.parametrize("dynamics", CAPACITY_DYNAMICS)
def test_capacity_needs_sigmoid_or_tanh(spec: EnvSpec, dynamics: adn.PotentialDynamics) -> None:
    with pytest.raises(TypeError, match="sigmoid or tanh"):
        ADNPolicy(spec, [torch.tanh, torch.relu], dynamics)


def test_learnable_kappa_of_zero_warns_where_it_is_asked_for(spec: EnvSpec) -> None:
    with pytest.warns(UserWarning, match="never leaves kappa_init=0") as caught:
        ADNPolicy(spec, torch.tanh, pd_cubic, kappa_init=0.0)
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
def test_kappa_of_zero_is_no_cubic_term(spec: EnvSpec) -> None:
    off = ADNPolicy(spec, torch.tanh, pd_cubic, kappa_init=0.0, kappa_learnable=False)
    linear = ADNPolicy(spec, torch.tanh, pd_linear, kappa_init=0.0, kappa_learnable=False)
    linear.load_state_dict(off.state_dict())
    obs, hidden = torch.randn(3, 4), 5.0 * torch.randn(3, 2)
    for left, right in zip(off(obs, hidden), linear(obs, hidden), strict=True):
        torch.testing.assert_close(left, right)


def test_custom_layer_of_the_wrong_size(spec: EnvSpec) -> None:
    # One column would broadcast.
    policy = ADNPolicy(spec, torch.tanh, pd_linear, obs_layer=nn.Linear(4, 1))
    with pytest.raises(ValueError, match=r"external stimuli has shape \(3, 1\); expected \(3, 2\)"):
        policy(torch.zeros(3, 4))


def test_custom_layer_is_left_alone_unless_linear(spec: EnvSpec) -> None:
    layer = nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    weight = layer[0].weight.clone()
    policy = ADNPolicy(spec, torch.tanh, pd_linear, obs_layer=layer)
    assert torch.equal(policy.obs_layer[0].weight, weight)
    linear = nn.Linear(4, 2)
    weight = linear.weight.clone()
    assert not torch.equal(ADNPolicy(spec, torch.tanh, pd_linear, obs_layer=linear).obs_layer.weight, weight)


# --- dynamics ---


@every_dynamics
def test_dynamics_look_at_their_arguments(dynamics: adn.PotentialDynamics) -> None:
    p, s, h, one = torch.rand(3), torch.rand(3), torch.rand(3), torch.ones(1)
    dynamics(p, s, h, one, kappa=one, capacity=one)
    for tau in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"{dynamics.__name__}: tau must be positive"):
            dynamics(p, s, h, torch.tensor([tau]), kappa=one, capacity=one)
    with pytest.raises(ValueError, match=f"{dynamics.__name__}: kappa must not be negative"):
        dynamics(p, s, h, one, kappa=-one, capacity=one)
    with pytest.raises(ValueError, match=f"{dynamics.__name__}: capacity must be positive"):
        dynamics(p, s, h, one, kappa=one, capacity=0.0 * one)


@pytest.mark.parametrize(
    ("dynamics", "stable", "unstable"),
    [
        (pd_capacity_21, [-2.0, 2.0], [0.0]),
        (pd_capacity_21_abs, [-2.0, 2.0], [0.0]),
        (pd_capacity_32, [-2.0, 0.0, 2.0], [-1.0, 1.0]),
        (pd_capacity_32_abs, [-2.0, 0.0, 2.0], [-1.0, 1.0]),
    ],
)
def test_capacity_dynamics_have_the_documented_fixed_points(
    dynamics: adn.PotentialDynamics, stable: list[float], unstable: list[float]
) -> None:
    points = torch.tensor([*stable, *unstable], requires_grad=True)
    change = dynamics(points, torch.zeros(1), torch.zeros(1), torch.ones(1), capacity=torch.tensor([2.0]))
    torch.testing.assert_close(change, torch.zeros_like(change))
    (slope,) = torch.autograd.grad(change.sum(), points)
    assert (slope[: len(stable)] < 0.0).all()
    assert (slope[len(stable) :] > 0.0).all()


def test_any_function_can_be_the_dynamics(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, own_dynamics)
    assert policy.capacity is None
    action, potentials = policy(torch.randn(3, 4))
    assert action.shape == potentials.shape == (3, 2)
    with pytest.raises(ValueError, match=r"potentials_dot has shape \(3, 1\); expected \(3, 2\)"):
        ADNPolicy(spec, torch.tanh, lambda p, *_, **__: p[:, :1])(torch.randn(3, 4))


@every_dynamics
def test_one_step_is_the_formula(spec: EnvSpec, dynamics: adn.PotentialDynamics) -> None:
    policy = ADNPolicy(spec, torch.sigmoid, dynamics)
    obs, p = torch.randn(3, 4), 4.0 * torch.randn(3, 2)
    scale = policy.pot_to_act_layer.weight
    s = policy.obs_layer(obs) + torch.sigmoid(scale * p) @ policy.prev_act_layer.weight.T
    change = dynamics(p, s, policy.resting_level, policy.tau, kappa=policy.kappa, capacity=policy.capacity)
    action, potentials = policy(obs, p)
    torch.testing.assert_close(potentials, p + change)
    torch.testing.assert_close(action, torch.sigmoid(scale * (p + change)))


def test_potentials_are_clipped(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_linear, tau_init=1.0)
    potentials = policy(torch.tensor([[1e6] * 4, [-1e6] * 4]))[1]
    assert potentials.abs().tolist() == [[100.0, 100.0]] * 2


# --- state ---


def test_initial_potentials_reach_the_contract(spec: EnvSpec) -> None:
    contract = ADNPolicy(spec, torch.sigmoid, pd_linear).contract()
    assert contract.state == (StateSlot("potentials", (2,)),)
    assert contract.initial_state == (-7.0, -7.0)
    policy = ADNPolicy(spec, torch.sigmoid, pd_linear, potential_init_learnable=True)
    assert policy.contract().initial_state == tuple(policy._potentials_init.tolist())


@pytest.mark.parametrize("learnable", [False, True])
def test_init_hidden_is_a_copy(spec: EnvSpec, learnable: bool) -> None:
    policy = ADNPolicy(spec, torch.sigmoid, pd_linear, potential_init_learnable=learnable)
    before = policy.init_hidden().detach().clone()
    with torch.no_grad():
        policy.init_hidden().fill_(5.0)
        policy.init_hidden(2).fill_(5.0)
    assert torch.equal(policy.init_hidden(), before)
    assert torch.equal(policy.init_hidden(2), before.repeat(2, 1))
    assert policy.init_hidden(0).shape == (0, 2)


def test_rows_of_a_batch_are_independent(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, ["sigmoid", "tanh"], pd_capacity_32)
    obs, hidden = torch.randn(5, 4), torch.randn(5, 2)
    actions, states = policy(obs, hidden)
    for row in range(5):
        action, state = policy(obs[row], hidden[row])
        torch.testing.assert_close(actions[row], action)
        torch.testing.assert_close(states[row], state)


def test_stimuli_are_those_of_the_last_call(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_linear)
    assert policy.stimuli_external.tolist() == policy.stimuli_internal.tolist() == [0.0, 0.0]
    obs, hidden = torch.randn(3, 4), torch.randn(3, 2)
    policy(obs, hidden)
    torch.testing.assert_close(policy.stimuli_external, policy.obs_layer(obs).detach())
    activations = torch.tanh(policy.pot_to_act_layer.weight * hidden)
    torch.testing.assert_close(policy.stimuli_internal, policy.prev_act_layer(activations).detach())
    policy(obs[0], hidden[0])
    assert policy.stimuli_external.shape == policy.stimuli_internal.shape == (2,)
    # They hold no graph, so that a policy in training can be copied.
    assert not policy.stimuli_external.requires_grad
    copy.deepcopy(policy)


def test_fixed_values_move_and_are_saved_with_the_policy(spec: EnvSpec) -> None:
    fixed = {"tau_learnable": False, "kappa_learnable": False, "capacity_learnable": False}
    policy = ADNPolicy(spec, torch.sigmoid, pd_capacity_21, **fixed)
    names = {"_potentials_init", "_log_tau", "_log_kappa", "_log_capacity"}
    assert names <= policy.state_dict().keys()
    assert not names & dict(policy.named_parameters()).keys()
    policy.double()
    assert {value.dtype for value in (policy.tau, policy.kappa, policy.capacity, policy.init_hidden())} == {
        torch.float64
    }
    assert policy(torch.randn(4))[0].dtype == torch.float64


@every_dynamics
def test_policies_can_be_pickled(spec: EnvSpec, dynamics: adn.PotentialDynamics) -> None:
    policy = ADNPolicy(spec, ["tanh", nn.Sigmoid], dynamics)
    copied = pickle.loads(pickle.dumps(policy))
    obs = torch.randn(4)
    assert torch.equal(copied(obs)[0], policy(obs)[0])


# --- parameters ---


def test_init_param_draws_anew_and_restores_the_scales(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_capacity_21, tau_init=5.0, kappa_init=0.5, potential_init_learnable=True)
    before = {name: param.clone() for name, param in policy.named_parameters()}
    with torch.no_grad():
        for param in policy.parameters():
            param.add_(1.0)
    policy.init_param(None)
    for name, param in policy.named_parameters():
        if name in ("_log_tau", "_log_kappa", "_log_capacity"):
            assert torch.equal(param, before[name])
        else:
            assert (param != before[name]).all()
            assert (param != before[name] + 1.0).all()
    assert (policy.tau.item(), policy.kappa.item(), policy.capacity.item()) == pytest.approx((5.0, 0.5, 3.8))


def test_sigmoid_nlin(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.sigmoid, pd_linear, init_param_kwargs={"sigmoid_nlin": True})
    assert policy.prev_act_layer.weight.tolist() == [[1.0, -0.5], [-0.5, 1.0]]


def test_init_param_takes_values(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.sigmoid, pd_capacity_21, tau_learnable=False)
    tau = policy.tau.clone()
    policy.init_param(torch.arange(float(policy.num_param)))
    assert torch.equal(policy.param_values, torch.arange(float(policy.num_param)))
    assert torch.equal(policy.tau, tau)


# --- gradients ---


@pytest.mark.parametrize(
    "activation", [torch.sigmoid, torch.tanh, ["sigmoid", "tanh"]], ids=["sigmoid", "tanh", "both"]
)
@every_dynamics
def test_gradient_through_time_agrees_with_finite_differences(
    spec: EnvSpec, dynamics: adn.PotentialDynamics, activation: object
) -> None:
    kwargs = {"tau_init": 3.0, "kappa_init": 0.05, "potential_init_learnable": True}
    policy = ADNPolicy(spec, activation, dynamics, **kwargs).double()
    observations = torch.randn(7, 4, dtype=torch.float64)

    def outputs(*_: torch.Tensor) -> torch.Tensor:
        out = policy.evaluate({"observations": observations, "lengths": [4, 3]})
        assert isinstance(out, torch.Tensor)
        return out

    assert torch.autograd.gradcheck(outputs, tuple(policy.parameters()))


def test_gradient_reaches_everything_that_is_learned(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_cubic, potential_init_learnable=True)
    out = policy.evaluate({"observations": torch.randn(5, 4), "lengths": [5]})
    out[-1].sum().backward()  # of the last step only: everything before it is seen through the potentials
    assert all(param.grad is not None and param.grad.any() for param in policy.parameters())


def test_gradient_with_respect_to_observation_and_state(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_cubic).double()
    obs = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy, (obs, hidden))
