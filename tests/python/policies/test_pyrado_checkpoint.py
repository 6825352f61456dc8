"""Checkpoints of the original Pyrado: every recorded one loads; what does not fit is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from pyrado_golden import Case, cases
from torch import nn

from ganglion.policies.pyrado.adn import ADNPolicy, pd_capacity_21, pd_cubic, pd_linear
from ganglion.policies.pyrado.checkpoint import from_pyrado_state_dict
from ganglion.policies.pyrado.neural_field import NFPolicy
from ganglion.policies.pyrado.rnn import GRUPolicy

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec


def original(policy: nn.Module) -> dict[str, torch.Tensor]:
    """What the original would have saved of a policy: parameters only, and no offset of the stimuli."""
    return {name: value.detach() for name, value in policy.named_parameters() if name != "obs_layer.bias"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", cases("thrnn", "thgru", "thlstm", "adn", "nf"))
def test_every_recorded_checkpoint_loads_into_a_policy_and_a_class(name: str) -> None:
    case = Case(name)
    built = from_pyrado_state_dict(case.cls, case.params, case.spec, **case.kwargs)
    given = case.cls(case.spec, **case.kwargs)
    assert from_pyrado_state_dict(given, case.params) is given
    for policy in (built, given):
        for key, value in case.params.items():
            assert torch.equal(policy.state_dict()[key], value)
        torch.testing.assert_close(policy(case.data["obs"][0])[0], case.data["none.act0"], atol=2e-5, rtol=2e-5)


def test_single_headed_policies_load_too(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 8, 2)
    assert torch.equal(
        from_pyrado_state_dict(GRUPolicy, original(policy), spec, 8, 2).param_values, policy.param_values
    )


def test_random_numbers_of_the_caller_stay(spec: EnvSpec) -> None:
    params = original(ADNPolicy(spec, torch.tanh, pd_linear))
    state = torch.get_rng_state()
    from_pyrado_state_dict(ADNPolicy, params, spec, torch.tanh, pd_linear)
    assert torch.equal(torch.get_rng_state(), state)


def test_fixed_values_come_from_the_constructor(spec: EnvSpec) -> None:
    kwargs = {"tau_init": 3.0, "tau_learnable": False, "kappa_init": 0.5, "kappa_learnable": False}
    policy = ADNPolicy(spec, torch.tanh, pd_capacity_21, capacity_learnable=False, **kwargs)
    params = original(policy)
    assert params.keys() == {"resting_level", "obs_layer.weight", "prev_act_layer.weight", "pot_to_act_layer.weight"}
    loaded = from_pyrado_state_dict(
        ADNPolicy, params, spec, torch.tanh, pd_capacity_21, **kwargs, capacity_learnable=False
    )
    assert [value.item() for value in (loaded.tau, loaded.kappa, loaded.capacity)] == pytest.approx([3.0, 0.5, 3.8])
    assert not loaded.obs_layer.bias.any()


def test_values_that_are_saved_win(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.sigmoid, pd_linear)
    params = {**policy.state_dict(), "_log_tau": torch.tensor([1.0]), "_potentials_init": torch.tensor([1.0, 2.0])}
    loaded = from_pyrado_state_dict(ADNPolicy, params, spec, torch.sigmoid, pd_linear, tau_learnable=False)
    assert loaded._log_tau.item() == 1.0
    assert loaded.init_hidden().tolist() == [1.0, 2.0]
    assert torch.equal(loaded.obs_layer.bias, policy.obs_layer.bias)


@pytest.mark.parametrize("dynamics", [pd_linear, pd_cubic])
def test_a_disabled_kappa_was_e(spec: EnvSpec, dynamics: object) -> None:
    args = (spec, torch.tanh, dynamics, None, 10.0, True, 0.0, False)
    params = original(ADNPolicy(*args))
    with pytest.warns(UserWarning, match="as kappa = e"):
        policy = from_pyrado_state_dict(ADNPolicy, params, *args)
    assert policy.kappa.item() == pytest.approx(2.7182818)


@pytest.mark.parametrize(
    ("sigmoid", "initial"), [(torch.sigmoid, -7.0), (nn.Sigmoid(), 0.0), (nn.functional.sigmoid, 0.0)]
)
def test_initial_potentials_are_those_of_the_original(spec: EnvSpec, sigmoid: object, initial: float) -> None:
    params = original(ADNPolicy(spec, sigmoid, pd_linear))
    policy = from_pyrado_state_dict(ADNPolicy, params, spec, sigmoid, pd_linear)
    assert policy.init_hidden().tolist() == [initial] * 2


def test_a_mirrored_kernel_with_reflection_is_refused(spec: EnvSpec) -> None:
    kwargs = {"kappa_init": 0.1, "conv_kernel_size": 3, "conv_padding_mode": "reflect"}
    params = original(NFPolicy(spec, 6, **kwargs))
    with pytest.raises(ValueError, match="conv_padding_mode='zeros'"):
        from_pyrado_state_dict(NFPolicy, params, spec, 6, **kwargs)
    full = NFPolicy(spec, 6, **kwargs, mirrored_conv_weights=False)
    from_pyrado_state_dict(full, original(full))


def test_what_does_not_fit_is_named_and_changes_nothing(spec: EnvSpec) -> None:
    policy = NFPolicy(spec, 6, kappa_init=0.1)
    params = original(policy)
    before = policy.param_values
    params["conv_layer.weight"] = torch.zeros(1, 1, 3)
    params["conv_layer.bias"] = torch.zeros(1)
    params["resting_level"] = torch.ones(6)
    del params["act_layer.weight"], params["_log_tau"]
    with pytest.raises(ValueError, match="does not fit NFPolicy") as caught:
        from_pyrado_state_dict(policy, params)
    for problem in (
        "act_layer.weight is missing",
        "_log_tau is missing",
        "conv_layer.bias is unknown",
        "conv_layer.weight has shape (1, 1, 3), expected (1, 1, 4)",
    ):
        assert problem in str(caught.value)
    assert torch.equal(policy.param_values, before)


def test_wrong_types(spec: EnvSpec) -> None:
    policy = ADNPolicy(spec, torch.tanh, pd_linear)
    with pytest.raises(TypeError, match="'resting_level' must be"):
        from_pyrado_state_dict(policy, {**original(policy), "resting_level": [0.0, 0.0]})
    with pytest.raises(TypeError, match="expected tensors by name, not list"):
        from_pyrado_state_dict(policy, [])
    with pytest.raises(TypeError, match="for a policy class, not for a policy"):
        from_pyrado_state_dict(policy, original(policy), spec)
    with pytest.raises(TypeError, match="expected a recurrent policy, not Linear"):
        from_pyrado_state_dict(nn.Linear(2, 2), {})
