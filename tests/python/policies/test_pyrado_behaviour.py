"""All policies of Pyrado against recorded behaviour of the original, case by case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import pytest
import torch
from pyrado_golden import BEHAVIOUR

from ganglion.data.env_spec import EnvSpec
from ganglion.policies.base import TrainablePolicy
from ganglion.policies.pyrado import adn
from ganglion.policies.pyrado.adn import ADNPolicy, pd_capacity_21, pd_cubic, pd_linear
from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer
from ganglion.policies.pyrado.neural_field import NFPolicy
from ganglion.policies.pyrado.rnn import GRUPolicy, LSTMPolicy, RNNPolicy, RNNPolicyBase
from ganglion.policies.pyrado.two_headed import TwoHeadedGRUPolicy, TwoHeadedLSTMPolicy, TwoHeadedRNNPolicy
from ganglion.policies.recurrent_layers import default_pack_hidden, default_unpack_hidden

if TYPE_CHECKING:
    from collections.abc import Callable

BOX = gymnasium.spaces.Box
SPEC_2, SPEC_3 = (EnvSpec(BOX(-1.0, 1.0, (4,)), BOX(-1.0, 1.0, (size,))) for size in (2, 3))


def an_adn(dynamics=pd_linear, activation=torch.sigmoid, **kwargs) -> ADNPolicy:
    return ADNPolicy(SPEC_3, activation, dynamics, **kwargs)


def an_nf(hidden_size=6, **kwargs) -> NFPolicy:
    return NFPolicy(SPEC_2, hidden_size, **({"kappa_init": 0.01} | kwargs))


def shapes(*tensors: torch.Tensor) -> list[list[int]]:
    return [list(tensor.shape) for tensor in tensors]


def stimuli(policy, obs):
    policy(obs)
    return shapes(policy.stimuli_external, policy.stimuli_internal)


def dynamics(name: str, tau: float = 4.0, kappa: float = 0.25):
    p, s, h = ([-2, -0.5, 0, 0.5, 2], [0.1, 0.2, 0.3, -0.4, -0.5], [0.3, -0.2, 0, 0.7, -1])
    values = [torch.tensor(value, dtype=torch.float32) for value in (p, s, h, [tau])]
    more = {"kappa": torch.tensor([kappa]), "capacity": torch.tensor([3.8])}
    return [round(value, 7) for value in getattr(adn, name)(*values, **more).tolist()]


def edited_initial_state(policy):
    policy.init_hidden().fill_(5.0)
    return [policy.init_hidden().tolist(), policy.init_hidden(2).tolist()]


def after_a_step_and_init_param(policy):
    before = policy.tau.item(), policy.capacity.item()
    policy(torch.ones(4))[0].sum().backward()
    torch.optim.SGD(policy.parameters(), lr=10.0).step()
    assert policy.tau.item() != before[0]
    assert policy.capacity.item() != before[1]
    policy.init_param(None)
    return [round(value, 4) for value in (policy.tau.item(), policy.capacity.item())]


def initial_potentials_without_gradient(policy):
    policy(torch.ones(4))[0].sum().backward()
    return policy._potentials_init.grad is None


def no_gradient_through_hidden(policy):
    hidden = torch.zeros(3, requires_grad=True)
    policy(torch.ones(4), hidden)[0].sum().backward()
    return hidden.grad is None


def scripted(policy):
    script, observations = policy.script(), torch.rand(2, 4)
    first, hidden = policy(observations[0])[0::2] if isinstance(policy, TwoHeadedGRUPolicy) else policy(observations[0])
    second = policy(observations[1], hidden)[0]
    same = [torch.allclose(script(obs), out, atol=1e-6) for obs, out in zip(observations, (first, second), strict=True)]
    script.reset()
    same.append(torch.allclose(script(observations[0]), first, atol=1e-6))
    return {
        **dict(zip(("same_first", "same_second", "reset_ok"), same, strict=True)),
        "input_size": script.input_size,
        "output_size": script.output_size,
        "buffer": ["hidden"] if "hidden" in dict(script.named_buffers()) else [],
    }


SCRIPTED = {"same_first": True, "same_second": True, "reset_ok": True, "input_size": 4, "buffer": ["hidden"]}


def mode_after_evaluate(policy):
    policy.eval().evaluate({"observations": torch.rand(3, 4), "lengths": [3]})
    return policy.training


def initial_shapes():
    policies = RNNPolicy(SPEC_2, 8, 1), LSTMPolicy(SPEC_2, 8, 1)
    return shapes(*(policy.init_hidden(count) for policy in policies for count in (None, 3)))


def on_the_cpu():
    # Whatever this machine has: CUDA must look as if it were missing.
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="stays on the CPU"):
        patch.setattr(torch.cuda, "is_available", lambda: False)
        return GRUPolicy(SPEC_2, 8, 1, use_cuda=True).device


def counted_parameters():
    policy = RNNPolicy(SPEC_2, 4, 1)
    policy.init_param(torch.arange(float(policy.num_param)))
    values = [value.flatten() for value in policy.parameters()]
    return [values[0][0].item(), values[-1][-1].item(), [name for name, _ in policy.named_parameters()]]


def set_three_parameters() -> None:
    GRUPolicy(SPEC_2, 4, 1).param_values = torch.zeros(3)


def packed_states():
    hidden = torch.arange(24.0).reshape(2, 3, 4)
    packed = default_pack_hidden(hidden, 2, 4, 3)
    return {"packed": packed.tolist(), "roundtrip": torch.equal(default_unpack_hidden(packed, 2, 4, 3), hidden)}


def packed_lstm_states():
    policy, h = LSTMPolicy(SPEC_2, 4, 2), torch.arange(24.0).reshape(2, 3, 4)
    packed = policy._pack_hidden((h, h + 100.0), 3)
    pairs = zip(policy._unpack_hidden(packed, 3), (h, h + 100.0), strict=True)
    return {"packed": packed.tolist(), "roundtrip": all(torch.equal(one, other) for one, other in pairs)}


def lstm_initialisation():
    """Whether weights, and the random state behind them, are those of torch's own layers from the same seed."""
    torch.manual_seed(3)
    policy = LSTMPolicy(SPEC_2, 4, 1)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    lstm, linear = torch.nn.LSTM(4, 4), torch.nn.Linear(4, 2)
    plain = torch.cat([param.detach().flatten() for layer in (lstm, linear) for param in layer.parameters()])
    same = torch.equal(policy.param_values, plain)
    return {"weights_equal_plain_torch": same, "rng_equal": torch.equal(torch.get_rng_state(), after)}


def indi_nonlin(x, count=3):
    layer = IndiNonlinLayer(3, [torch.sigmoid, torch.tanh, torch.relu][:count], bias=True)
    return layer(x).requires_grad, list(layer(x).shape)


ALL_LEARNABLE = {"potential_init_learnable": True}
ALL_FIXED = {"tau_learnable": False, "kappa_learnable": False, "capacity_learnable": False}
FIXED_BUFFERS = ["_potentials_init", "_log_tau", "_log_kappa", "_log_capacity"]

SAME: dict[str, Callable] = {
    "forward.float64_hidden_float32_obs.nf": lambda: str(an_nf()(torch.rand(4), torch.rand(6).double())[0].dtype),
    "forward.batch1.nf": lambda: shapes(*an_nf()(torch.rand(1, 4))),
    "forward.batch0.nf": lambda: shapes(*an_nf()(torch.rand(0, 4))),
    "forward.batch0.adn": lambda: shapes(*an_adn()(torch.rand(0, 4))),
    "ctor.torch_sigmoid_potential_init": lambda: an_adn().init_hidden().tolist(),
    "ctor.custom_dyn_fcn.adn": lambda: shapes(*an_adn(lambda p, s, _h, tau, **_: (s - p) / tau)(torch.rand(4))),
    "state_dict.keys.thlstm": lambda: [
        [name, list(value.shape)] for name, value in TwoHeadedLSTMPolicy(SPEC_2, 4, 2).state_dict().items()
    ],
    "script_float64_default.adn": lambda: scripted(an_adn()),
    "script_float64_default.nf": lambda: scripted(an_nf()),
    "script_float64_default.gru": lambda: scripted(GRUPolicy(SPEC_2, 8, 1)),
    "script_float64_default.lstm": lambda: scripted(LSTMPolicy(SPEC_2, 8, 1)),
    "init_hidden.rnn": initial_shapes,
    "init_hidden.batch_size_0": lambda: list(RNNPolicy(SPEC_2, 8, 1).init_hidden(0).shape),
    "forward.float64_hidden_float32_obs.rnn": lambda: str(
        RNNPolicy(SPEC_2, 8, 1)(torch.rand(4), torch.rand(8).double())[0].dtype
    ),
    "forward.batch0.gru": lambda: shapes(*GRUPolicy(SPEC_2, 8, 1)(torch.rand(0, 4))),
    "ctor.use_cuda_true_on_cpu": on_the_cpu,
    "gru.gradient_through_hidden_missing": lambda: no_gradient_through_hidden(GRUPolicy(SPEC_2, 3, 1)),
    "init_param.values": counted_parameters,
    "pack_hidden.default_batched": packed_states,
    "pack_hidden.lstm_batched": packed_lstm_states,
    "lstm.init_rng_consumption": lstm_initialisation,
    "reset.default": lambda: LSTMPolicy(SPEC_2, 8, 1).reset(),
    "dyn.pd_linear": lambda: dynamics("pd_linear"),
    "dyn.pd_cubic": lambda: dynamics("pd_cubic"),
    "dyn.pd_capacity_21": lambda: dynamics("pd_capacity_21"),
    "dyn.pd_capacity_21_abs": lambda: dynamics("pd_capacity_21_abs"),
    "dyn.pd_capacity_32": lambda: dynamics("pd_capacity_32"),
    "dyn.pd_capacity_32_abs": lambda: dynamics("pd_capacity_32_abs"),
}
"""Behaviour that is the same."""

ERRORS: dict[str, tuple[Callable, type[Exception], str]] = {
    "forward.obs3d.rnn": (lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(1, 2, 4)), ValueError, "1 or 2 axes"),
    "forward.hidden_wrong_size.rnn": (
        lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(4), torch.rand(5)),
        ValueError,
        r"\(5,\).*\(8,\)",
    ),
    "forward.hidden_1d_obs_2d.rnn": (
        lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(3, 4), torch.rand(8)),
        ValueError,
        r"\(8,\).*\(3, 8\)",
    ),
    "forward.hidden_2d_obs_1d.rnn": (
        lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(4), torch.rand(1, 8)),
        ValueError,
        r"\(1, 8\).*\(8,\)",
    ),
    "forward.hidden_2d_batch_mismatch.rnn": (
        lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(3, 4), torch.rand(2, 8)),
        ValueError,
        r"\(2, 8\).*\(3, 8\)",
    ),
    "forward.hidden_3d.rnn": (
        lambda: RNNPolicy(SPEC_2, 8, 1)(torch.rand(3, 4), torch.rand(1, 3, 8)),
        ValueError,
        r"\(1, 3, 8\).*\(3, 8\)",
    ),
    "forward.hidden_3d.lstm": (
        lambda: LSTMPolicy(SPEC_2, 8, 1)(torch.rand(3, 4), torch.rand(1, 3, 16)),
        ValueError,
        r"\(1, 3, 16\).*\(3, 16\)",
    ),
    "ctor.spec_not_envspec": (lambda: GRUPolicy((4, 2), 8, 1), TypeError, "EnvSpec, not tuple"),
    "ctor.use_cuda_not_bool": (lambda: GRUPolicy(SPEC_2, 8, 1, use_cuda=1), TypeError, "use_cuda must be a bool"),
    "ctor.base_rnn_type_none": (lambda: RNNPolicyBase(SPEC_2, 8, 1), TypeError, "LSTMPolicy"),
    "ctor.rnn_bad_nonlin": (
        lambda: RNNPolicy(SPEC_2, 8, 1, hidden_nonlin="sigmoid"),
        ValueError,
        "Select from 'tanh' or 'relu'",
    ),
    "param_values.set_wrong_shape": (set_three_parameters, ValueError, r"not \(3,\)"),
    "policy.nonrecurrent_init_hidden": (lambda: TrainablePolicy(SPEC_2).init_hidden(), AttributeError, "not recurrent"),
    "forward.obs3d.adn": (lambda: an_adn()(torch.rand(1, 2, 4)), ValueError, "1 or 2 axes"),
    "forward.obs3d.nf": (lambda: an_nf()(torch.rand(1, 2, 4)), ValueError, "1 or 2 axes"),
    "forward.hidden_wrong_size.adn": (lambda: an_adn()(torch.rand(4), torch.rand(5)), ValueError, r"\(5,\).*\(3,\)"),
    "forward.hidden_3d.adn": (lambda: an_adn()(torch.rand(4), torch.rand(1, 1, 3)), ValueError, r"\(1, 1, 3\).*\(3,\)"),
    "ctor.activation_not_callable.adn": (lambda: an_adn(activation=3), TypeError, "nonlinearity must be"),
    "ctor.capacity_relu.adn": (lambda: an_adn(pd_capacity_21, torch.relu), TypeError, "sigmoid or tanh"),
    "ctor.nf_hidden_size_float": (lambda: an_nf(6.0), TypeError, "hidden_size must be an int, not 6.0"),
    "ctor.nf_hidden_size_1": (lambda: an_nf(1), ValueError, "hidden_size must be at least 2, not 1"),
    "ctor.nf_bad_padding": (
        lambda: an_nf(conv_padding_mode="replicate"),
        ValueError,
        "one of circular, reflect, zeros",
    ),
    "ctor.nf_reflected_padding": (lambda: an_nf(conv_padding_mode="reflected"), ValueError, "circular, reflect, zeros"),
    "ctor.nf_reflect_full_kernel_too_big": (
        lambda: an_nf(4, conv_kernel_size=9, conv_padding_mode="reflect", mirrored_conv_weights=False),
        ValueError,
        "reflect padding of 4 neurons gives at most 3",
    ),
    "ctor.nf_circular_kernel_too_big": (
        lambda: an_nf(4, conv_kernel_size=11),
        ValueError,
        "circular padding of 4 neurons gives at most 4",
    ),
    "ctor.tau_negative.adn": (lambda: an_adn(tau_init=-1.0), ValueError, "tau_init must be positive"),
    "ctor.tau_zero.adn": (lambda: an_adn(tau_init=0.0), ValueError, "tau_init must be positive"),
    "ctor.kappa_negative.cubic": (lambda: an_adn(pd_cubic, kappa_init=-1.0), ValueError, "kappa_init must be"),
    "indi_nonlin.list_wrong_len": (
        lambda: indi_nonlin(torch.rand(3), 2),
        ValueError,
        "2 nonlinearities for 3 elements",
    ),
    "dyn.tau0": (lambda: dynamics("pd_linear", tau=0.0), ValueError, "pd_linear: tau must be positive"),
    "dyn.kappa_neg": (lambda: dynamics("pd_cubic", kappa=-1.0), ValueError, "pd_cubic: kappa must not be negative"),
    "evaluate.numpy_rollout": (
        lambda: an_adn().evaluate({"observations": np.zeros((3, 4)), "lengths": [3]}),
        TypeError,
        "must be a torch.Tensor",
    ),
    "evaluate.non_continuous": (
        lambda: an_adn().evaluate({"observations": torch.rand(3, 4), "lengths": [3], "continuous": False}),
        ValueError,
        "not continuous",
    ),
}
"""Errors of the original that are errors here, with the classes and words of this house."""

DEVIATIONS: dict[str, tuple[Callable, object, str]] = {
    "forward.float64_obs.rnn": (
        lambda: str(RNNPolicy(SPEC_2, 8, 1)(torch.rand(4).double())[0].dtype),
        "torch.float32",
        "float64 obs into float32 weights: cast to the parameters' dtype",
    ),
    "script.gru": (
        lambda: scripted(GRUPolicy(SPEC_2, 8, 1)),
        SCRIPTED | {"output_size": 2},
        "float64 obs into float32 weights: cast",
    ),
    "script.lstm": (
        lambda: scripted(LSTMPolicy(SPEC_2, 8, 1)),
        SCRIPTED | {"output_size": 2},
        "float64 obs into float32 weights: cast",
    ),
    "forward.float64_obs.adn": (
        lambda: str(an_adn()(torch.rand(4).double())[0].dtype),
        "torch.float32",
        "float64 obs into float32 weights: cast to the parameters' dtype",
    ),
    "forward.float64_hidden_float32_obs.adn": (
        lambda: str(an_adn()(torch.rand(4), torch.rand(3).double())[0].dtype),
        "torch.float32",
        "float64 obs into float32 weights: observation and hidden are cast",
    ),
    "forward.float64_hidden_float32_obs.thrnn": (
        lambda: str(TwoHeadedRNNPolicy(SPEC_2, 8, 1)(torch.rand(4), torch.rand(8).double())[0].dtype),
        "torch.float32",
        "float64 obs into float32 weights: observation and hidden are cast",
    ),
    "forward.batch1.nf_stim_shapes": (
        lambda: stimuli(an_nf(), torch.rand(1, 4)),
        [[1, 6], [1, 6]],
        "no row yet: the stimuli are shaped like the hidden state, a batch of one is no exception",
    ),
    "ctor.activation_list.adn": (
        lambda: shapes(*an_adn(activation=[torch.sigmoid, torch.tanh, torch.relu])(torch.rand(2, 4))),
        [[2, 3], [2, 3]],
        "activation_nonlin: a sequence (one per neuron) works",
    ),
    "ctor.capacity_functional_sigmoid.adn": (
        lambda: round(an_adn(pd_capacity_21, torch.nn.functional.sigmoid).capacity.item(), 5),
        7.0,
        "activation_nonlin: functions and modules are recognised alike",
    ),
    "ctor.capacity_nnSigmoid.adn": (
        lambda: round(an_adn(pd_capacity_21, torch.nn.Sigmoid()).capacity.item(), 5),
        7.0,
        "activation_nonlin: functions and modules are recognised alike",
    ),
    "ctor.nnSigmoid_potential_init": (
        lambda: an_adn(activation=torch.nn.Sigmoid()).init_hidden().tolist(),
        [-7.0, -7.0, -7.0],
        "activation_nonlin: functions and modules are recognised alike",
    ),
    "kappa.disabled_value": (
        lambda: [
            an_adn(pd_cubic, kappa_init=0.0, kappa_learnable=False).kappa.item(),
            an_nf(kappa_init=0.0, kappa_learnable=False).kappa.item(),
            an_nf(kappa_init=0.0).kappa.item(),
        ],
        [0.0, 0.0, 0.0],
        "kappa_init=0, not learnable: the cubic term is off",
    ),
    "state_dict.keys.adn_all_fixed": (
        lambda: sorted(an_adn(pd_capacity_21, **ALL_FIXED).state_dict()),
        sorted([*BEHAVIOUR["state_dict.keys.adn_all_fixed"]["result"], *FIXED_BUFFERS, "obs_layer.bias"]),
        "fixed tau, kappa, capacity: buffers; default obs_layer: bias",
    ),
    "state_dict.keys.adn_all_learnable": (
        lambda: [name for name in an_adn(pd_capacity_21, **ALL_LEARNABLE).state_dict() if name != "obs_layer.bias"],
        BEHAVIOUR["state_dict.keys.adn_all_learnable"]["result"],
        "default obs_layer: bias",
    ),
    "state_dict.keys.nf": (
        lambda: [
            [name, list(value.shape)]
            for name, value in an_nf(conv_kernel_size=5).state_dict().items()
            if name not in ("obs_layer.bias", "_potentials_init")
        ],
        BEHAVIOUR["state_dict.keys.nf"]["result"],
        "fixed initial potentials: a buffer like fixed tau, kappa, capacity; default obs_layer: bias",
    ),
    "init_hidden.aliases_storage.adn": (
        lambda: edited_initial_state(an_adn(activation=torch.tanh)),
        [[0.0] * 3, [[0.0] * 3] * 2],
        "init_hidden(): a copy",
    ),
    "init_param.does_not_restore_tau": (
        lambda: after_a_step_and_init_param(an_adn(pd_capacity_21, torch.tanh)),
        [10.0, 3.8],
        "init_param(): restores them",
    ),
    "potential_init.grad_is_None": (
        lambda: initial_potentials_without_gradient(an_adn(potential_init_learnable=True)),
        False,
        "learnable initial potentials: receive one",
    ),
    "adn.no_gradient_through_hidden": (
        lambda: no_gradient_through_hidden(an_adn()),
        False,
        "ADN/NF evaluate(): gradient flows through time",
    ),
    "script.adn": (lambda: scripted(an_adn()), SCRIPTED | {"output_size": 3}, "float64 obs into float32 weights: cast"),
    "script.nf": (lambda: scripted(an_nf()), SCRIPTED | {"output_size": 2}, "float64 obs into float32 weights: cast"),
    "script.thgru_float64": (
        lambda: scripted(TwoHeadedGRUPolicy(SPEC_2, 8, 1)),
        SCRIPTED | {"output_size": 2},
        "two-headed policies: scripted and exported",
    ),
    "evaluate.leaves_training_mode_on": (
        lambda: mode_after_evaluate(an_nf()),
        False,
        "evaluate() mode: restores the mode it found",
    ),
    "indi_nonlin.list": (
        lambda: indi_nonlin(torch.rand(3)),
        (True, [3]),
        "activation_nonlin: a sequence works, batched and with gradients",
    ),
    "indi_nonlin.list_batched": (
        lambda: indi_nonlin(torch.rand(2, 3)),
        (True, [2, 3]),
        "activation_nonlin: a sequence works, batched and with gradients",
    ),
    "indi_nonlin.list_batched3": (
        lambda: indi_nonlin(torch.rand(3, 3)),
        (True, [3, 3]),
        "activation_nonlin: a sequence works, batched and with gradients",
    ),
}
"""Behaviour that differs, what it is here, and the row of DECISIONS that says so."""


def test_every_behaviour_case_is_accounted_for() -> None:
    here = [*SAME, *ERRORS, *DEVIATIONS]
    assert sorted(here) == sorted(BEHAVIOUR)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAME)
def test_same_behaviour(name: str) -> None:
    assert BEHAVIOUR[name]["ok"]
    found, recorded = SAME[name](), BEHAVIOUR[name]["result"]
    assert found == (pytest.approx(recorded, abs=1e-6) if name.startswith("dyn.") else recorded)


@pytest.mark.parametrize("name", ERRORS)
def test_same_refusals(name: str) -> None:
    call, error, message = ERRORS[name]
    assert not BEHAVIOUR[name]["ok"]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DEVIATIONS)
def test_deliberate_deviations(name: str) -> None:
    call, expected, _ = DEVIATIONS[name]
    assert call() == expected
