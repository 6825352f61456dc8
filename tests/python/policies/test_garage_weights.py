"""Loading garage's parameters: by name, in order, as one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from garage_cases import CASES, Case, box_spec

from ganglion.policies.garage.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.garage.weights import load_garage_parameters
from ganglion.policies.pyrado.rnn import GRUPolicy

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def state(policy: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def assert_same_state(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def test_list_in_the_order_of_get_global_vars(case: Case) -> None:
    policy = case.fresh()
    load_garage_parameters(policy, case.values("param"))
    kernel, recurrent, bias, output, output_bias, hidden, cell, *log_std = case.values("param")
    loaded = policy.state_dict()
    assert np.array_equal(loaded["core.input_term.weight"], kernel.T)
    assert np.array_equal(loaded["core.recurrent_term.weight"], recurrent.T)
    assert np.array_equal(loaded["core.input_term.bias"], bias)
    assert np.array_equal(loaded["head.output.weight"], output.T)
    assert np.array_equal(loaded["head.output.bias"], output_bias)
    assert np.array_equal(loaded["core.initial_h"], hidden)
    assert np.array_equal(loaded["core.initial_c"], cell)
    if log_std:
        assert np.array_equal(loaded["head.log_std"], log_std[0])


def test_by_name_in_any_order(case: Case) -> None:
    policy = case.fresh()
    names = sorted(case.meta["global_vars"], reverse=True)
    load_garage_parameters(policy, {name: case.data[f"param.{name}"] for name in names})
    assert_same_state(state(policy), state(case.policy()))


def test_trainable_variables_only(case: Case) -> None:
    # The others keep what their initialisers drew.
    trainable = case.meta["trainable_vars"]
    whole, drawn = state(case.policy()), state(case.fresh())
    for values in (
        case.data["get_param_values"],
        [case.data[f"param.{name}"] for name in trainable],
        {name: case.data[f"param.{name}"] for name in trainable},
    ):
        policy = case.fresh()
        load_garage_parameters(policy, values)
        parameters = dict(policy.named_parameters())
        expected = {name: (whole if name in parameters else drawn)[name] for name in whole}
        assert_same_state(state(policy), expected)


def test_trainable_initial_states_are_part_of_the_vector() -> None:
    policy = GaussianLSTMPolicy(
        box_spec(), hidden_dim=6, hidden_state_init_trainable=True, cell_state_init_trainable=True
    )
    load_garage_parameters(policy, np.arange(float(policy.num_param)))
    assert policy.core.initial_h.tolist() == [*range(policy.num_param - 14, policy.num_param - 8)]
    assert policy.core.initial_c.tolist() == [*range(policy.num_param - 8, policy.num_param - 2)]
    assert policy.head.log_std.tolist() == [policy.num_param - 2, policy.num_param - 1]


def test_gru_has_two_biases_in_one_variable() -> None:
    policy = GaussianGRUPolicy(box_spec(), hidden_dim=3)
    shapes = [(6, 9), (3, 9), (2, 9), (3, 2), (2,), (3,), (2,)]
    values = [np.random.default_rng(index).normal(size=shape) for index, shape in enumerate(shapes)]
    load_garage_parameters(policy, values)
    np.testing.assert_allclose(policy.core.input_term.bias.detach(), values[2][0], rtol=1e-6)
    np.testing.assert_allclose(policy.core.recurrent_term.bias.detach(), values[2][1], rtol=1e-6)
    np.testing.assert_allclose(policy.core.recurrent_term.weight.detach(), values[1].T, rtol=1e-6)


def test_mlp_with_layer_normalization() -> None:
    policy = GaussianMLPPolicy(box_spec(), hidden_sizes=(3, 5), layer_normalization=True)
    scope = "GaussianMLPPolicy/GaussianMLPModel/default/dist_params/mean_network"
    shapes = {
        "hidden_0/kernel": (4, 3), "hidden_0/bias": (3,), "layer_normalization/gamma": (3,),
        "layer_normalization/beta": (3,), "hidden_1/kernel": (3, 5), "hidden_1/bias": (5,),
        "layer_normalization_1/gamma": (5,), "layer_normalization_1/beta": (5,), "output/kernel": (5, 2),
        "output/bias": (2,), "log_std_network/parameter": (2,),
    }  # fmt: skip
    random = np.random.default_rng(0)
    values = {f"{scope}/{name}:0": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    load_garage_parameters(policy, values)
    x = random.normal(size=(7, 4)).astype(np.float32)
    mean = policy(torch.from_numpy(x))[0].detach().numpy()

    # The formula of garage's mlp, with Keras' epsilon.
    array = {name: values[f"{scope}/{name}:0"] for name in shapes}
    for index, suffix in enumerate(("", "_1")):
        x = np.tanh(x @ array[f"hidden_{index}/kernel"] + array[f"hidden_{index}/bias"])
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        x = x * array[f"layer_normalization{suffix}/gamma"] + array[f"layer_normalization{suffix}/beta"]
    np.testing.assert_allclose(mean, x @ array["output/kernel"] + array["output/bias"], rtol=2e-5, atol=2e-5)


def test_what_does_not_fit_changes_nothing(spec: EnvSpec) -> None:
    case = Case("act1_share0_ln0_fb0")
    policy, names = case.fresh(), case.meta["global_vars"]
    before = state(policy)
    values = case.values("param")
    named = dict(zip(names, values, strict=True))
    with pytest.raises(ValueError, match="3 arrays; expected 8"):
        load_garage_parameters(policy, values[:3])
    with pytest.raises(ValueError, match=r"'output_layer/kernel' has shape \(2, 6\); expected \(6, 2\)"):
        load_garage_parameters(policy, [*values[:3], values[3].T, *values[4:]])
    with pytest.raises(ValueError, match=r"0 arrays are called '\.\.\.lstm_layer/bias'"):
        load_garage_parameters(policy, {name: value for name, value in named.items() if "layer/bias" not in name})
    with pytest.raises(ValueError, match=r"unknown garage variables \['P/other:0'\]"):
        load_garage_parameters(policy, {**named, "P/other:0": values[0]})
    with pytest.raises(ValueError, match=r"2 arrays are called '\.\.\.parameter'"):
        load_garage_parameters(policy, {**named, "Q/dist_params/log_std_param/parameter:0": values[-1]})
    with pytest.raises(ValueError, match=r"\(327,\); the trainable variables have 328"):
        load_garage_parameters(policy, case.data["get_param_values"][1:])
    assert_same_state(state(policy), before)
    with pytest.raises(ValueError, match="garage ignores layer_normalization"):
        load_garage_parameters(case.fresh(layer_normalization=True), values)
    with pytest.raises(TypeError, match="GaussianPolicy, not GRUPolicy"):
        load_garage_parameters(GRUPolicy(spec, 4, 1), values)
