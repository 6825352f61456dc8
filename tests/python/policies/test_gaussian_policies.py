"""Behaviour of the Gaussian policies beyond recorded numbers."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import pytest
import torch
from garage_cases import BEHAVIOUR, box_spec, constant
from torch import nn

from ganglion.contract import Contract, StateSlot
from ganglion.data.env_spec import EnvSpec
from ganglion.policies.garage.cells import GRUCell, LSTMCell
from ganglion.policies.garage.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.rollout import Rollout

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies.garage.base import GaussianPolicy

CLASSES = [GaussianLSTMPolicy, GaussianGRUPolicy, GaussianMLPPolicy]
RECURRENT = [GaussianLSTMPolicy, GaussianGRUPolicy]
every_class = pytest.mark.parametrize("cls", CLASSES)
every_recurrent_class = pytest.mark.parametrize("cls", RECURRENT)


def small(cls: type[GaussianPolicy], spec: EnvSpec | None = None, **kwargs: object) -> GaussianPolicy:
    sizes = {"hidden_sizes": (6, 5)} if cls is GaussianMLPPolicy else {"hidden_dim": 6}
    return cls(box_spec() if spec is None else spec, **{"state_include_action": True, **sizes, **kwargs})


def observations(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def started(policy: GaussianPolicy, count: int = 2, steps: int = 3) -> GaussianPolicy:
    """The policy after a few steps, so that no part of its state is the initial one."""
    policy.reset([True] * count)
    for _ in range(steps):
        policy.get_actions(observations(count, policy.env_spec.observation_size))
    return policy


def with_initial_states() -> GaussianPolicy:
    return small(GaussianLSTMPolicy, hidden_state_init=constant(0.3), cell_state_init=constant(-0.2))


# --- every recorded behaviour of garage: the same, or a deliberate difference (DECISIONS) ---


def _discrete_action(case: dict) -> None:
    spec = EnvSpec(gymnasium.spaces.Box(-1.0, 1.0, (4,)), gymnasium.spaces.Discrete(3))
    for cls in CLASSES:
        with pytest.raises(ValueError, match="only works with a Box action space, not Discrete"):
            cls(spec)
    assert case["error_type"] == "builtins.ValueError"


def _before_reset(case: dict) -> None:
    # Deliberate: garage raises AssertionError with the previous action and ValueError without; ours is a ValueError.
    policy = small(GaussianLSTMPolicy, state_include_action=case["case"].endswith("include_action"))
    with pytest.raises(ValueError, match="call reset"):
        policy.get_action(np.zeros(4))
    assert case["error_type"] in ("builtins.AssertionError", "builtins.ValueError")


def _returned_actions_are_a_copy(case: dict) -> None:
    # Deliberate: DECISIONS, "garage returned action array | aliases the stored previous action | a copy".
    policy = started(small(GaussianLSTMPolicy))
    actions, infos = policy.get_actions(observations(2, 4))
    kept, state = actions.copy(), policy._state.clone()
    policy.reset([True, False])
    assert np.array_equal(actions, kept)
    assert kept[0].any()
    assert case["result"]["returned_array_after_partial_reset"][0] == [0.0, 0.0]
    assert np.array_equal(policy._state[1], state[1])
    for array in (actions, *infos.values()):
        array.fill(42.0)
    assert np.array_equal(policy._state[1], state[1])


def _new_length(case: dict) -> None:
    # Deliberate: DECISIONS, "garage partial reset on a new length | unflagged rows zero | all rows of a new length
    # start from the initial state".
    policy = with_initial_states()
    policy.reset([True, False, False])
    assert policy._state.tolist() == policy.init_hidden(3).tolist()
    for part, key in ((policy._state[:, 2], "h"), (policy._state[:, 8], "c")):
        assert part[0].item() == case["result"][key][0]


def _length_change(case: dict) -> None:
    policy = started(with_initial_states())
    policy.reset([False, False, False])
    assert case["result"]["h_row0_kept"] is False
    assert torch.equal(policy._state, policy.init_hidden(3))
    assert [3, policy.core.output_size] == case["result"]["shape"]


def _all_false(case: dict) -> None:
    policy = started(with_initial_states())
    before = policy._state.clone()
    policy.reset(np.array([False, False]))
    assert torch.equal(policy._state, before) is case["result"]
    policy.reset([False, True])
    assert torch.equal(policy._state[0], before[0])
    assert torch.equal(policy._state[1], policy.init_hidden())


def _types(case: dict) -> None:
    # Deliberate: DECISIONS, "garage actions | float64, never clipped | float32; clipping is the action map's job".
    policy = small(GaussianLSTMPolicy)
    policy.reset()
    action, infos = policy.get_action(np.zeros(4))
    assert sorted(infos) == case["result"]["keys"]
    assert {key: list(value.shape) for key, value in infos.items()} == case["result"]["shapes"]
    assert infos["prev_action"].tolist() == case["result"]["prev_action"]
    assert infos["mean"].dtype == case["result"]["mean_dtype"]
    assert (action.dtype, case["result"]["action_dtype"]) == (np.float32, "float64")
    assert policy.get_action(np.zeros(4))[1]["prev_action"].tolist() == action.tolist()


def _batch_mismatch(case: dict) -> None:
    policy = started(small(GaussianLSTMPolicy))
    with pytest.raises(ValueError, match=r"shape \(3, 4\), but the last reset\(\) was for 2 environments"):
        policy.get_actions(observations(3, 4))
    assert case["error_type"] == "builtins.ValueError"


def _multidimensional_observation(case: dict) -> None:
    policy = small(GaussianLSTMPolicy, box_spec((2, 4)))
    flat, shaped = observations(3, 8), observations(3, 8).reshape(3, 2, 4)
    results = []
    for given in (flat, shaped, list(flat), list(shaped), torch.from_numpy(flat)):
        np.random.seed(1)
        policy.reset([True] * 3)
        results.append(policy.get_actions(given)[0])
    assert all(np.array_equal(result, results[0]) for result in results)
    policy.reset()
    shapes = [list(policy.get_action(given[0])[0].shape) for given in (flat, shaped)]
    assert [*shapes, policy.env_spec.observation_size] == case["result"]


def _python_list(case: dict) -> None:
    policy = small(GaussianLSTMPolicy)
    policy.reset()
    assert list(policy.get_actions([[0.1, 0.2, 0.3, 0.4]])[0].shape) == case["result"]


def _multidimensional_action(case: dict) -> None:
    # Deliberate: garage fails at the second step, because it stores the unflattened action; ours stores the flat one.
    policy = small(GaussianLSTMPolicy, box_spec(actions=(3, 2)))
    policy.reset([True, True])
    action, infos = policy.get_actions(observations(2, 4))
    assert action.shape == (2, 3, 2)
    assert infos["mean"].shape == (2, 6)
    assert np.array_equal(policy.get_actions(observations(2, 4))[1]["prev_action"], action.reshape(2, 6))
    assert case["error_type"] == "builtins.ValueError"


def _clone(case: dict) -> None:
    # Deliberate: DECISIONS, "garage clone | page: configuration only; code: also parameters | configuration only, as
    # documented; `clone(copy_parameters=True)` copies".
    for cls in CLASSES:
        policy = started(small(cls, init_std=0.5, output_nonlinearity=torch.tanh))
        policy.param_values = policy.param_values + 1.0
        copied, fresh = policy.clone("copied", copy_parameters=True), policy.clone("fresh")
        assert torch.equal(copied.param_values, policy.param_values) is case["result"]["equal"]
        assert not torch.equal(fresh.param_values, policy.param_values)
        assert fresh.head.log_std.tolist() == [pytest.approx(math.log(0.5))] * 2
        for other in (copied, fresh):
            assert type(other) is cls
            assert other.env_spec == policy.env_spec
            assert other.head.output.nonlinearity is torch.tanh
            with pytest.raises(ValueError, match="call reset"):
                other.get_action(np.zeros(4))
        assert (policy.name, copied.name, fresh.name) == (cls.__name__, "copied", "fresh")
        copied.param_values = torch.zeros(copied.num_param)
        assert policy.param_values.any()
    assert small(GaussianLSTMPolicy).num_param == case["result"]["n"]


def _pickle(case: dict) -> None:
    for cls in CLASSES:
        policy = started(small(cls))
        restored = pickle.loads(pickle.dumps(policy))
        assert torch.equal(restored.param_values, policy.param_values) is case["result"]["params_equal"]
        assert torch.equal(restored._state, policy._state) is case["result"]["hidden_kept"]


def _trainable_variables(case: dict) -> None:
    ours = {
        "learn_std_false": {"learn_std": False},
        "default": {},
        "init_trainable": {"hidden_state_init_trainable": True, "cell_state_init_trainable": True},
        "share": {"std_share_network": True},
    }
    endings = {
        "core.input_term.weight": "lstm_layer/kernel:0",
        "core.recurrent_term.weight": "lstm_layer/recurrent_kernel:0",
        "core.input_term.bias": "lstm_layer/bias:0",
        "head.output.weight": "output_layer/kernel:0",
        "head.output.bias": "output_layer/bias:0",
        "core.initial_h": "/initial_hidden:0",
        "core.initial_c": "/initial_cell:0",
        "head.log_std": "/parameter:0",
    }
    assert ours.keys() == case["result"].keys()
    for label, kwargs in ours.items():
        policy = small(GaussianLSTMPolicy, **kwargs)
        found = [endings[name] for name, _ in policy.named_parameters()]
        recorded = case["result"][label]
        assert len(found) == len(recorded)
        assert all(any(name.endswith(ending) for name in recorded) for ending in found)
        # What is not trained is saved all the same.
        shared = kwargs.get("std_share_network", False)
        assert set(policy.state_dict()) == set(endings) - ({"head.log_std"} if shared else set())


def _build_twice(case: dict) -> None:
    # Deliberate: garage refuses to build twice under one name; there is no graph here, so there are no names in it.
    policy = small(GaussianLSTMPolicy)
    x = torch.from_numpy(observations(2, 3, 6))
    assert torch.equal(policy.build(x).step_mean, policy.build(x).step_mean)
    assert case["error_type"] == "builtins.ValueError"


def _init_std(case: dict) -> None:
    # Deliberate: garage stores log(0) = -inf or log(-1) = nan and goes on; no silent fallback here.
    value = 0.0 if case["case"].endswith("zero") else -1.0
    for cls in CLASSES:
        for bad in (value, math.nan, math.inf):
            with pytest.raises(ValueError, match="init_std must be positive and finite"):
                small(cls, init_std=bad)
    assert case["ok"]


CHECKS: dict[str, Callable[[dict], None]] = {
    "ctor.discrete_action": _discrete_action,
    "get_action_before_reset.include_action": _before_reset,
    "get_action_before_reset.no_action": _before_reset,
    "partial_reset_mutates_returned_actions": _returned_actions_are_a_copy,
    "reset.new_length_rows_not_flagged_are_zero": _new_length,
    "reset.length_change_drops_state": _length_change,
    "reset.all_false_keeps_state": _all_false,
    "get_action.types": _types,
    "get_actions.batch_mismatch_with_reset": _batch_mismatch,
    "get_action.multidim_obs": _multidimensional_observation,
    "get_actions.python_list_obs": _python_list,
    "get_action.multidim_action_second_step": _multidimensional_action,
    "clone.copies_parameters": _clone,
    "pickle_roundtrip": _pickle,
    "trainable_vars": _trainable_variables,
    "build.default_name_twice": _build_twice,
    "ctor.init_std_zero": _init_std,
    "ctor.init_std_negative": _init_std,
}


def test_every_behaviour_is_accounted_for() -> None:
    assert list(CHECKS) == list(BEHAVIOUR)


@pytest.mark.parametrize("name", CHECKS)
def test_behaviour(name: str) -> None:
    CHECKS[name](BEHAVIOUR[name])


# --- construction ---


@every_class
def test_defaults(cls: type[GaussianPolicy]) -> None:
    policy = cls(box_spec())
    assert policy.name == cls.__name__
    assert policy.state_include_action is (cls is not GaussianMLPPolicy)
    assert policy.is_recurrent is (cls is not GaussianMLPPolicy)
    assert policy.head.log_std.tolist() == [0.0, 0.0]
    assert policy.core.output_size == 32
    assert not policy.init_hidden().any()


@every_class
@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ({"name": 3}, TypeError, "name must be a string"),
        ({"learn_std": 1}, TypeError, "learn_std must be a bool, not 1"),
        ({"layer_normalization": None}, TypeError, "layer_normalization must be a bool"),
        ({"state_include_action": "yes"}, TypeError, "state_include_action must be a bool"),
        ({"hidden_nonlinearity": "tanh"}, TypeError, "nonlinearity must be a function, a module instance or None"),
        ({"output_nonlinearity": nn.Tanh}, TypeError, "nonlinearity must be a function, a module instance or None"),
        ({"hidden_w_init": 0.1}, TypeError, "w_init must be callable"),
        ({"output_w_init": lambda _: "text"}, TypeError, "or return a tensor, not str"),
        ({"output_b_init": lambda _: torch.zeros(3)}, ValueError, r"b_init returned shape \(3,\); expected \(2,\)"),
        ({"hidden_b_init": lambda _: None}, ValueError, "b_init left elements of shape .* unset"),
        ({"no_such_argument": 1}, TypeError, "no_such_argument"),
    ],
)
def test_bad_arguments(
    cls: type[GaussianPolicy], argument: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small(cls, **argument)


@every_class
@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_bad_sizes(cls: type[GaussianPolicy], size: object, error: type[Exception]) -> None:
    argument = {"hidden_sizes": (4, size)} if cls is GaussianMLPPolicy else {"hidden_dim": size}
    with pytest.raises(error, match=r"must be (at least 1|an int)"):
        cls(box_spec(), **argument)


def test_spec_must_be_an_env_spec() -> None:
    with pytest.raises(TypeError, match="EnvSpec, not tuple"):
        GaussianLSTMPolicy((4, 2))


def fill_and_return_nothing(blank: torch.Tensor) -> None:
    blank.fill_(0.3)


@every_recurrent_class
def test_initialisers_fill_or_return(cls: type[GaussianPolicy]) -> None:
    policy = small(
        cls,
        hidden_w_init=constant(0.1),
        recurrent_w_init=lambda weight: torch.full_like(weight, 0.2),
        hidden_b_init=fill_and_return_nothing,
        output_w_init=constant(0.4),
        output_b_init=constant(0.5),
        hidden_state_init=lambda state: torch.arange(float(len(state))),
    )
    terms = policy.core.input_term, policy.core.recurrent_term
    assert (terms[0].weight == 0.1).all()
    assert (terms[1].weight == 0.2).all()
    assert (policy.head.output.weight == 0.4).all()
    assert (policy.head.output.bias == 0.5).all()
    assert policy.core.initial_h.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    if cls is GaussianLSTMPolicy:
        i, f, g, o = terms[0].bias.chunk(4)
        assert (f == 1.0).all()
        assert (torch.cat((i, g, o)) == 0.3).all()
    else:
        assert (torch.cat((terms[0].bias, terms[1].bias)) == 0.3).all()
    policy.param_values = torch.zeros(policy.num_param)
    drawn = policy.clone("drawn").state_dict()
    policy.init_param(None)
    assert all(torch.equal(drawn[name], tensor) for name, tensor in policy.state_dict().items())


def test_shared_network_ignores_init_std_and_learn_std() -> None:
    policy = small(GaussianLSTMPolicy, std_share_network=True, init_std=3.0, learn_std=False)
    assert policy.head.log_std is None
    assert policy.head.output.weight.shape == (4, 6)


# --- formulas ---


@pytest.mark.parametrize("include", [False, True])
def test_lstm_is_torchs_lstm(include: bool) -> None:
    policy, lstm = small(GaussianLSTMPolicy, state_include_action=include), nn.LSTM(6 if include else 4, 6)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(policy.core.input_term.weight)
        lstm.weight_hh_l0.copy_(policy.core.recurrent_term.weight)
        lstm.bias_ih_l0.copy_(policy.core.input_term.bias)
        lstm.bias_hh_l0.zero_()
        x = torch.randn(3, 10, policy.input_dim)
        found = policy.build(x)
        expected, (_, cell) = lstm(x.transpose(0, 1))
    torch.testing.assert_close(found.step_hidden, expected.transpose(0, 1))
    torch.testing.assert_close(found.step_cell[:, -1], cell[0])


def test_gru_is_torchs_gru_with_two_gates_swapped() -> None:
    policy, gru = small(GaussianGRUPolicy, hidden_b_init=nn.init.normal_, state_include_action=False), nn.GRU(4, 6)
    with torch.no_grad():
        for name, term in (("ih", policy.core.input_term), ("hh", policy.core.recurrent_term)):
            for kind, ours in (("weight", term.weight), ("bias", term.bias)):
                update, reset, candidate = ours.chunk(3)
                getattr(gru, f"{kind}_{name}_l0").copy_(torch.cat((reset, update, candidate)))
        x = torch.randn(3, 10, 4)
        found = policy.build(x)
        torch.testing.assert_close(found.step_hidden, gru(x.transpose(0, 1))[0].transpose(0, 1))
    assert found.step_cell is found.init_cell is None


def test_perceptron_is_a_stack_of_layers() -> None:
    policy = small(GaussianMLPPolicy, hidden_nonlinearity=torch.relu, hidden_b_init=nn.init.normal_)
    first, second = policy.core.layers
    x = torch.randn(2, 5, 6)
    expected = policy.head.output(torch.relu(second(torch.relu(x @ first.weight.T + first.bias))))
    found = policy.build(x)
    torch.testing.assert_close(found.step_mean, expected)
    assert (found.step_hidden, found.step_cell, found.init_hidden, found.init_cell) == (None,) * 4
    linear = GaussianMLPPolicy(box_spec(), hidden_sizes=())
    torch.testing.assert_close(linear(torch.ones(4))[0], linear.head.output.weight.sum(1))


def normalise(z: torch.Tensor) -> torch.Tensor:
    return (z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, correction=0, keepdim=True) + 1e-5)


def cell_and_arguments(cls: type[nn.Module]) -> tuple[nn.Module, torch.Tensor, tuple[torch.Tensor, ...]]:
    cell = cls(4, 6, b_init=nn.init.normal_, layer_normalization=True)
    for term in (cell.input_term, cell.recurrent_term):
        nn.init.normal_(term.gain)
    return cell, torch.randn(3, 4), tuple(torch.randn(3, 6) for _ in cell.state_layout)


@torch.no_grad()
def test_layer_normalised_lstm() -> None:
    cell, x, (h, c) = cell_and_arguments(LSTMCell)
    z = normalise(x @ cell.input_term.weight.T) * cell.input_term.gain
    z = z + normalise(h @ cell.recurrent_term.weight.T) * cell.recurrent_term.gain + cell.input_term.bias
    i, f, g, o = z.chunk(4, -1)
    expected_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    features, (new_h, new_c) = cell(x, (h, c))
    assert features is new_h
    torch.testing.assert_close(new_c, expected_c)
    torch.testing.assert_close(new_h, torch.sigmoid(o) * torch.tanh(expected_c))
    # What normalisation is for: the scale of the weights does not matter.
    cell.input_term.weight *= 100.0
    torch.testing.assert_close(cell(x, (h, c))[0], new_h, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_layer_normalised_gru() -> None:
    cell, x, (h,) = cell_and_arguments(GRUCell)
    z_x = normalise(x @ cell.input_term.weight.T) * cell.input_term.gain + cell.input_term.bias
    z_h = normalise(h @ cell.recurrent_term.weight.T) * cell.recurrent_term.gain + cell.recurrent_term.bias
    update, reset = (torch.sigmoid(a + b) for a, b in zip(z_x.chunk(3, -1)[:2], z_h.chunk(3, -1)[:2], strict=True))
    candidate = torch.tanh(z_x[:, 12:] + reset * z_h[:, 12:])
    torch.testing.assert_close(cell(x, (h,))[0], update * h + (1.0 - update) * candidate)


@pytest.mark.parametrize("cls", [LSTMCell, GRUCell])
def test_gains_start_at_one_and_are_trained(cls: type[nn.Module]) -> None:
    cell = cls(4, 6, layer_normalization=True)
    features, _ = cell(torch.randn(3, 4), tuple(torch.randn(3, 6) for _ in cell.state_layout))
    features.sum().backward()
    for term in (cell.input_term, cell.recurrent_term):
        assert (term.gain == 1.0).all()
        assert term.gain.grad.any()


def test_linear_and_other_nonlinearities() -> None:
    plain = small(GaussianLSTMPolicy, hidden_nonlinearity=None, recurrent_nonlinearity=None)
    x = torch.randn(3, 6)
    h, c = torch.randn(3, 6), torch.randn(3, 6)
    i, f, g, o = (plain.core.input_term(x) + plain.core.recurrent_term(h)).chunk(4, -1)
    new_h, (_, new_c) = plain.core(x, (h, c))
    torch.testing.assert_close(new_c, f * c + i * g)
    torch.testing.assert_close(new_h, o * (f * c + i * g))
    module = small(GaussianLSTMPolicy, hidden_nonlinearity=nn.ELU(), output_nonlinearity=nn.Softmax(-1))
    torch.testing.assert_close(module(torch.randn(5, 4))[0].sum(-1), torch.ones(5))


def test_output_nonlinearity_applies_to_both_halves_of_a_shared_layer() -> None:
    policy = small(
        GaussianLSTMPolicy, std_share_network=True, output_nonlinearity=torch.tanh, output_b_init=constant(9)
    )
    mean, log_std, _ = policy(torch.randn(5, 4))
    torch.testing.assert_close(mean, torch.ones(5, 2))
    torch.testing.assert_close(log_std, torch.ones(5, 2))


# --- the three ways to run it agree ---


@every_class
@pytest.mark.parametrize("include", [False, True])
def test_build_agrees_with_stepping(cls: type[GaussianPolicy], include: bool) -> None:
    policy = small(cls, state_include_action=include, hidden_w_init=nn.init.normal_)
    obs, actions = torch.randn(3, 7, 4), torch.randn(3, 7, 2)
    previous = torch.cat((torch.zeros(3, 1, 2), actions[:, :-1]), 1)
    found = policy.build(torch.cat((obs, previous), -1) if include else obs)
    hidden = policy.init_hidden(3)
    for step in range(7):
        mean, log_std, hidden = policy(obs[:, step], hidden)
        torch.testing.assert_close(mean, found.step_mean[:, step])
        torch.testing.assert_close(log_std, found.step_log_std[:, step])
        hidden = policy.with_applied_action(hidden, actions[:, step])


@every_class
def test_get_actions_samples_around_the_mean(cls: type[GaussianPolicy]) -> None:
    policy = small(cls, init_std=0.5)
    policy.reset([True] * 4000)
    actions, infos = policy.get_actions(np.zeros((4000, 4), np.float32))
    noise = (actions - infos["mean"]) / np.exp(infos["log_std"])
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1.0) < 0.05
    np.testing.assert_allclose(np.exp(infos["log_std"]), 0.5, rtol=1e-6)


def test_perceptron_without_memory_needs_no_reset() -> None:
    policy = GaussianMLPPolicy(box_spec())
    assert policy.state_layout == ()
    assert policy.get_action(np.zeros(4))[0].shape == (2,)
    assert policy.get_actions(observations(5, 4))[0].shape == (5, 2)
    mean, log_std, hidden = policy(torch.zeros(3, 4))
    assert (mean.shape, log_std.shape, hidden.shape) == ((3, 2), (3, 2), (3, 0))


def test_other_observation_spaces() -> None:
    space = gymnasium.spaces.Dict(a=gymnasium.spaces.Box(-1.0, 1.0, (2,)), b=gymnasium.spaces.Discrete(3))
    policy = small(GaussianLSTMPolicy, EnvSpec(space, gymnasium.spaces.Box(-1.0, 1.0, (2,))))
    element = {"a": np.array([0.1, 0.2], np.float32), "b": 2}
    means = []
    for given in (element, np.array([0.1, 0.2, 0.0, 0.0, 1.0], np.float32)):
        policy.reset()
        means.append(policy.get_action(given)[1]["mean"])
    assert np.array_equal(*means)


@pytest.mark.parametrize("given", [np.zeros((2, 3)), np.zeros((2, 5)), [[0.0] * 3] * 2, [np.zeros(4), np.zeros(3)]])
def test_observations_that_do_not_fit(given: object) -> None:
    policy = started(small(GaussianLSTMPolicy))
    before = policy._state.clone()
    with pytest.raises(ValueError, match=r"an observation has flat shape \(\d,\); expected \(4,\)"):
        policy.get_actions(given)
    with pytest.raises(ValueError, match="no observation"):
        policy.get_actions([])
    assert torch.equal(policy._state, before)


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ([], ValueError, r"shape \(0,\)"),
        (True, ValueError, r"shape \(\)"),
        ([[True]], ValueError, r"shape \(1, 1\)"),
        ([0, 1], TypeError, "must be bools, not int64"),
    ],
)
def test_bad_reset_flags(flags: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small(GaussianLSTMPolicy).reset(flags)


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 0, 6), (6,)])
def test_build_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[N, T, 6\]"):
        small(GaussianLSTMPolicy).build(torch.zeros(shape))
    with pytest.raises(TypeError, match="must be a torch"):
        small(GaussianLSTMPolicy).build(np.zeros((2, 3, 6)))


@every_class
def test_forward_refuses_other_shapes(cls: type[GaussianPolicy]) -> None:
    policy = small(cls)
    size = policy.hidden_size
    with pytest.raises(ValueError, match=r"obs has shape \(3, 6\); expected \(3, 4\)"):
        policy(torch.zeros(3, 6))
    with pytest.raises(ValueError, match=rf"hidden has shape \(1, {size}\).*expected \(3, {size}\)"):
        policy(torch.zeros(3, 4), torch.zeros(1, size))


def test_with_applied_action() -> None:
    policy = small(GaussianLSTMPolicy)
    hidden, action = torch.randn(3, policy.hidden_size), torch.randn(3, 2, dtype=torch.float64)
    told = policy.with_applied_action(hidden, action)
    assert torch.equal(told[:, :2], action.float())
    assert torch.equal(told[:, 2:], hidden[:, 2:])
    for bad_hidden, bad_action in ((hidden, action[:1]), (hidden, action[0]), (hidden[:, 1:], action)):
        with pytest.raises(ValueError, match="expected"):
            policy.with_applied_action(bad_hidden, bad_action)
    unaware = small(GaussianLSTMPolicy, state_include_action=False)
    hidden = torch.randn(unaware.hidden_size)
    assert unaware.with_applied_action(hidden, torch.zeros(2)) is hidden


# --- the policy interface ---


@every_class
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("share", [False, True])
def test_shapes_and_independent_rows(cls: type[GaussianPolicy], batch: int, share: bool) -> None:
    policy = small(cls, std_share_network=share)
    obs, hidden = torch.randn(batch, 4), torch.randn(batch, policy.hidden_size)
    results = policy(obs, hidden)
    assert [tuple(result.shape) for result in results] == [(batch, 2), (batch, 2), (batch, policy.hidden_size)]
    for row in range(batch):
        for whole, single in zip(results, policy(obs[row], hidden[row]), strict=True):
            torch.testing.assert_close(whole[row], single)


@every_class
def test_other_dtypes(cls: type[GaussianPolicy]) -> None:
    policy = small(cls)
    obs = torch.randn(4)
    for ours, expected in zip(policy(obs.double(), policy.init_hidden().double()), policy(obs), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)
    policy.double()
    assert policy(obs)[0].dtype == torch.float64
    assert started(policy).get_actions(observations(2, 4))[0].dtype == np.float32


def test_contract() -> None:
    spec = EnvSpec(
        gymnasium.spaces.Box(-1.0, 1.0, (2,)),
        gymnasium.spaces.Box(np.float32([-1.0, -2.0]), np.float32([1.0, 2.0])),
        observation_names=("angle", "rate"),
        action_names=("left", "right"),
    )
    policy = small(
        GaussianLSTMPolicy, spec, hidden_state_init=constant(0.3), cell_state_init=constant(-0.2), hidden_dim=3
    )
    contract = policy.contract()
    assert contract.inputs == (spec.observation_spec,)
    mean, log_std = contract.outputs
    assert (mean.name, mean.low, mean.high) == ("mean", (-1.0, -2.0), (1.0, 2.0))
    assert (log_std.name, log_std.low) == ("log_std", ())
    assert mean.element_names == log_std.element_names == ("left", "right")
    assert contract.state == (StateSlot("prev_action", (2,)), StateSlot("h", (1, 3)), StateSlot("c", (1, 3)))
    assert contract.initial_state == pytest.approx((0.0,) * 2 + (0.3,) * 3 + (-0.2,) * 3)
    assert Contract.from_json(contract.to_json()) == contract
    assert small(GaussianGRUPolicy, state_include_action=False).state_layout == (StateSlot("h", (1, 6)),)


def test_outputs_share_no_memory_with_parameters() -> None:
    policy = small(GaussianLSTMPolicy)
    with torch.no_grad():
        policy(torch.zeros(4))[1].fill_(7.0)
        policy.init_hidden().fill_(7.0)
    assert not policy.head.log_std.any()
    assert not policy.init_hidden().any()


# --- gradients ---


@every_recurrent_class
@pytest.mark.parametrize("way", ["build", "forward", "evaluate"])
def test_trainable_initial_states_receive_a_gradient(cls: type[GaussianPolicy], way: str) -> None:
    trainable = {"hidden_state_init_trainable": True}
    if cls is GaussianLSTMPolicy:
        trainable["cell_state_init_trainable"] = True
    policy = small(cls, **trainable)
    obs = torch.randn(5, 4)
    if way == "build":
        policy.build(torch.randn(3, 5, 6)).dist.log_prob(torch.zeros(3, 5, 2)).sum().backward()
    elif way == "forward":
        hidden = None
        for row in obs:
            mean, _, hidden = policy(row, hidden)
        mean.sum().backward()
    else:
        policy.evaluate(Rollout(obs, torch.tensor([3, 2])))[0].sum().backward()
    for state in policy.core.initial_state():
        assert isinstance(state, nn.Parameter)
        assert state.grad is not None
        assert (state.grad != 0.0).all()


@every_recurrent_class
def test_other_initial_states_do_not(cls: type[GaussianPolicy]) -> None:
    policy = small(cls)
    assert not policy.init_hidden().requires_grad
    assert not any(state.requires_grad for state in policy.core.initial_state())


@every_class
@pytest.mark.parametrize("normalised", [False, True])
def test_gradient_agrees_with_finite_differences(cls: type[GaussianPolicy], normalised: bool) -> None:
    policy = small(cls, layer_normalization=normalised, std_share_network=True).double()
    obs = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, policy.hidden_size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy, (obs, hidden))


def test_learnable_std_receives_a_gradient_and_a_fixed_one_does_not() -> None:
    x, actions = torch.randn(2, 3, 6), torch.randn(2, 3, 2)
    policy = small(GaussianLSTMPolicy)
    policy.build(x).dist.log_prob(actions).sum().backward()
    assert (policy.head.log_std.grad != 0.0).all()
    fixed = small(GaussianLSTMPolicy, learn_std=False, init_std=0.5)
    assert not fixed.head.log_std.requires_grad
    assert fixed.head.log_std.tolist() == [pytest.approx(math.log(0.5))] * 2


def test_sampling_leaves_no_graph_behind() -> None:
    policy = started(small(GaussianLSTMPolicy, hidden_state_init_trainable=True))
    assert not policy._state.requires_grad
    copy.deepcopy(policy)


# --- what the page says of the class ---


@every_recurrent_class
def test_size_and_name_stand_in_the_order_of_the_page(cls: type[GaussianPolicy]) -> None:
    policy = cls(box_spec(), 6, "walker")
    assert (policy.core.output_size, policy.name) == (6, "walker")
    with pytest.raises(TypeError, match="name must be a string, not 6"):
        cls(box_spec(), "walker", 6)


@every_class
def test_the_distribution_is_that_of_the_last_actions(cls: type[GaussianPolicy]) -> None:
    policy = small(cls)
    assert policy.distribution is None
    policy.reset([True, True])
    _, infos = policy.get_actions(observations(2, 4))
    assert policy.distribution.mean.tolist() == infos["mean"].tolist()
    assert policy.distribution.log_prob(torch.zeros(2, 2)).shape == (2,)
    built = policy.build(torch.from_numpy(observations(2, 3, 6)), name="again")
    assert policy.distribution is built.dist
    # It hangs on a graph, which must neither keep a policy from being copied nor travel with it.
    policy.distribution.entropy().sum().backward()
    for other in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy)), policy.clone("other")):
        assert other.distribution is None
    assert policy.distribution is built.dist
