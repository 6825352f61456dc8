"""Behaviour of the recurrent policies beyond recorded numbers."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import gymnasium
import pytest
import torch

from ganglion.contract import Contract, StateSlot
from ganglion.policies import (
    EnvSpec,
    GRUPolicy,
    LSTMPolicy,
    RNNPolicy,
    RNNPolicyBase,
    TrainablePolicy,
    default_pack_hidden,
    default_unpack_hidden,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "pyrado"
BEHAVIOUR = {case["case"]: case for case in json.loads((GOLDEN / "behaviour_cases.json").read_text())}
CLASSES = [RNNPolicy, GRUPolicy, LSTMPolicy]
every_class = pytest.mark.parametrize("cls", CLASSES)


# --- construction ---


def test_spec_must_be_an_env_spec() -> None:
    with pytest.raises(TypeError, match="EnvSpec, not tuple"):
        GRUPolicy((4, 2), 8, 1)


@pytest.mark.parametrize("value", [1, 0, None, "cpu"])
def test_use_cuda_must_be_exactly_bool(spec: EnvSpec, value: object) -> None:
    with pytest.raises(TypeError, match="use_cuda must be a bool"):
        GRUPolicy(spec, 8, 1, use_cuda=value)


def test_use_cuda_without_cuda_warns_and_stays_on_the_cpu(spec: EnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="stays on the CPU"):
        policy = GRUPolicy(spec, 8, 1, use_cuda=True)
    assert policy.device == BEHAVIOUR["ctor.use_cuda_true_on_cpu"]["result"] == "cpu"


def test_base_class_cannot_be_instantiated(spec: EnvSpec) -> None:
    with pytest.raises(TypeError, match="LSTMPolicy"):
        RNNPolicyBase(spec, 8, 1)


def test_unknown_hidden_nonlinearity(spec: EnvSpec) -> None:
    with pytest.raises(ValueError, match="Select from 'tanh' or 'relu'"):
        RNNPolicy(spec, 8, 1, hidden_nonlin="sigmoid")


def test_output_nonlinearity_must_be_callable(spec: EnvSpec) -> None:
    with pytest.raises(TypeError, match="output_nonlin"):
        GRUPolicy(spec, 8, 1, output_nonlin="tanh")


def test_projections_are_refused(spec: EnvSpec) -> None:
    with pytest.raises(ValueError, match="proj_size"):
        LSTMPolicy(spec, 8, 1, proj_size=3)


def test_further_arguments_reach_the_torch_module(spec: EnvSpec) -> None:
    assert GRUPolicy(spec, 8, 1, dtype=torch.float64).rnn_layers.weight_ih_l0.dtype == torch.float64
    with pytest.raises(TypeError):
        GRUPolicy(spec, 8, 1, no_such_argument=1)


@every_class
def test_output_nonlinearity_applies_to_the_whole_output(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1, output_nonlin=torch.nn.Softmax(dim=-1))
    action, _ = policy(torch.randn(5, 4))
    torch.testing.assert_close(action.sum(-1), torch.ones(5))


@every_class
def test_policies_can_be_pickled(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2, output_nonlin=torch.tanh)
    copy = pickle.loads(pickle.dumps(policy))
    obs = torch.randn(4)
    assert torch.equal(copy(obs)[0], policy(obs)[0])
    assert copy.env_spec == spec


# --- shapes ---


def test_init_hidden_shapes(spec: EnvSpec) -> None:
    rnn, lstm = RNNPolicy(spec, 8, 1), LSTMPolicy(spec, 8, 1)
    shapes = [rnn.init_hidden(), rnn.init_hidden(3), lstm.init_hidden(), lstm.init_hidden(3)]
    assert [list(hidden.shape) for hidden in shapes] == BEHAVIOUR["init_hidden.rnn"]["result"]
    assert list(rnn.init_hidden(0).shape) == BEHAVIOUR["init_hidden.batch_size_0"]["result"]
    assert not any(hidden.any() for hidden in shapes)


@every_class
def test_init_hidden_is_a_copy(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1)
    policy.init_hidden().fill_(5.0)
    policy.init_hidden(2).fill_(5.0)
    assert not policy.init_hidden().any()
    assert not policy.init_hidden(2).any()


@every_class
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("layers", [1, 3])
def test_shapes_follow_the_observation(spec: EnvSpec, cls: type[RNNPolicyBase], batch: int, layers: int) -> None:
    policy = cls(spec, 8, layers)
    action, hidden = policy(torch.randn(batch, 4), policy.init_hidden(batch))
    assert action.shape == (batch, 2)
    assert hidden.shape == (batch, policy.hidden_size)
    action, hidden = policy(torch.randn(4), policy.init_hidden())
    assert action.shape == (2,)
    assert hidden.shape == (policy.hidden_size,)


@every_class
def test_rows_of_a_batch_are_independent(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2)
    obs, hidden = torch.randn(5, 4), torch.randn(5, policy.hidden_size)
    actions, states = policy(obs, hidden)
    for row in range(5):
        action, state = policy(obs[row], hidden[row])
        torch.testing.assert_close(actions[row], action)
        torch.testing.assert_close(states[row], state)


@every_class
def test_no_hidden_state_equals_the_initial_one(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2)
    obs = torch.randn(3, 4)
    for left, right in zip(policy(obs), policy(obs, policy.init_hidden(3)), strict=True):
        assert torch.equal(left, right)


@every_class
def test_wrong_observation_shapes(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1)
    for shape in [(1, 2, 4), ()]:
        with pytest.raises(ValueError, match="1 or 2 axes"):
            policy(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"obs has shape \(3, 5\); expected \(3, 4\)"):
        policy(torch.zeros(3, 5))
    with pytest.raises(TypeError, match="obs must be a"):
        policy([0.0, 0.0, 0.0, 0.0])


@every_class
@pytest.mark.parametrize(
    ("obs_shape", "batch_axes"),
    [((4,), None), ((3, 4), ()), ((4,), (1,)), ((3, 4), (2,)), ((4,), (1, 1)), ((3, 4), (1, 3)), ((3, 4), None)],
    ids=["size", "1d-for-batch", "2d-for-1d", "batch-mismatch", "3d-unbatched", "3d-batched", "size-batched"],
)
def test_wrong_hidden_shapes_name_both(
    spec: EnvSpec, cls: type[RNNPolicyBase], obs_shape: tuple[int, ...], batch_axes: tuple[int, ...] | None
) -> None:
    policy = cls(spec, 8, 1)
    size = policy.hidden_size
    shape = (*obs_shape[:-1], size + 1) if batch_axes is None else (*batch_axes, size)
    with pytest.raises(ValueError) as caught:
        policy(torch.zeros(obs_shape), torch.zeros(shape))
    assert str(tuple(shape)) in str(caught.value)
    assert str((*obs_shape[:-1], size)) in str(caught.value)


def test_hidden_must_be_a_tensor(spec: EnvSpec) -> None:
    with pytest.raises(TypeError, match="hidden must be a"):
        GRUPolicy(spec, 8, 1)(torch.zeros(4), [0.0] * 8)


@every_class
def test_other_dtypes_are_cast_to_that_of_the_parameters(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 1)
    obs, hidden = torch.randn(4), torch.randn(policy.hidden_size)
    expected = policy(obs, hidden)
    for left, right in zip(policy(obs.double(), hidden.double()), expected, strict=True):
        assert left.dtype == torch.float32
        assert torch.equal(left, right)
    policy.double()
    assert policy.init_hidden().dtype == torch.float64
    assert policy(obs, hidden)[0].dtype == torch.float64


# --- packing ---


def test_default_packing() -> None:
    hidden = torch.arange(24.0).reshape(2, 3, 4)
    packed = default_pack_hidden(hidden, 2, 4, 3)
    assert packed.tolist() == BEHAVIOUR["pack_hidden.default_batched"]["result"]["packed"]
    assert torch.equal(default_unpack_hidden(packed, 2, 4, 3), hidden)
    assert torch.equal(default_pack_hidden(hidden[:, 1:2], 2, 4), packed[1])
    assert torch.equal(default_unpack_hidden(packed[1], 2, 4), hidden[:, 1:2])


def test_lstm_packs_all_hidden_states_before_all_cell_states(spec: EnvSpec) -> None:
    policy = LSTMPolicy(spec, 4, 2)
    h = torch.arange(24.0).reshape(2, 3, 4)
    packed = policy._pack_hidden((h, h + 100.0), 3)
    assert packed.tolist() == BEHAVIOUR["pack_hidden.lstm_batched"]["result"]["packed"]
    unpacked = policy._unpack_hidden(packed, 3)
    assert torch.equal(unpacked[0], h)
    assert torch.equal(unpacked[1], h + 100.0)
    assert policy.state_layout == (StateSlot("h", (2, 4)), StateSlot("c", (2, 4)))


@pytest.mark.parametrize(("shape", "batch"), [((7,), None), ((1, 8), None), ((8,), 1), ((2, 8), 3), ((1, 3, 8), 3)])
def test_unpacking_refuses_other_shapes(shape: tuple[int, ...], batch: int | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        default_unpack_hidden(torch.zeros(shape), 2, 4, batch)


# --- parameters ---


def test_init_param_takes_values(spec: EnvSpec) -> None:
    policy = RNNPolicy(spec, 4, 1)
    policy.init_param(torch.arange(float(policy.num_param)))
    first, last, order = BEHAVIOUR["init_param.values"]["result"]
    params = dict(policy.named_parameters())
    assert list(params) == order
    assert params[order[0]].flatten()[0] == first
    assert params[order[-1]].flatten()[-1] == last == policy.num_param - 1


def test_param_values_are_a_copy_and_refuse_other_shapes(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 4, 1)
    before = policy.param_values
    policy.param_values.zero_()
    assert torch.equal(policy.param_values, before)
    with pytest.raises(ValueError, match=rf"\({policy.num_param},\), not \(3,\)"):
        policy.param_values = torch.zeros(3)
    with pytest.raises(ValueError, match="expected a vector"):
        policy.init_param(before.unsqueeze(0))
    with pytest.raises(TypeError, match="not list"):
        policy.param_values = before.tolist()
    assert torch.equal(policy.param_values, before)


def test_param_grad(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 4, 1)
    assert torch.equal(policy.param_grad, torch.zeros(policy.num_param))
    policy(torch.randn(4))[0].sum().backward()
    assert policy.param_grad[-2:].tolist() == [1.0, 1.0]
    policy.param_grad = torch.arange(float(policy.num_param))
    assert policy.output_layer.bias.grad is not None
    assert policy.output_layer.bias.grad.tolist() == [policy.num_param - 2, policy.num_param - 1]
    policy.zero_grad()
    assert not policy.param_grad.any()


@every_class
def test_default_initialisation_is_bounded_by_the_fan(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 16, 2)
    before = policy.param_values
    policy.init_param(None)
    assert not torch.equal(policy.param_values, before)
    bound = 1.0 / math.sqrt(16)
    for param in policy.parameters():
        assert 0.5 * bound < param.abs().max() <= bound or param.numel() < 16


def test_chrono_initialisation(spec: EnvSpec) -> None:
    policy = LSTMPolicy(spec, 64, 2, init_param_kwargs={"t_max": 50})
    for layer in range(2):
        weight_ih = getattr(policy.rnn_layers, f"weight_ih_l{layer}")
        torch.testing.assert_close(weight_ih.T @ weight_ih, torch.eye(weight_ih.shape[1]), atol=1e-5, rtol=0.0)
        weight_hh = getattr(policy.rnn_layers, f"weight_hh_l{layer}")
        assert torch.equal(weight_hh, torch.eye(64).repeat(4, 1))
        for label in ("bias_ih", "bias_hh"):
            i, f, g, o = getattr(policy.rnn_layers, f"{label}_l{layer}").chunk(4)
            assert torch.equal(i, -f)
            assert not g.any()
            assert not o.any()
            assert f.min() >= 0.0
            assert math.log(25.0) < f.max() <= math.log(49.0)
    with pytest.raises(ValueError, match="at least 2"):
        policy.init_param(None, t_max=1.5)
    with pytest.raises(TypeError):
        policy.init_param(None, tmax=50)


@pytest.mark.parametrize("cls", [RNNPolicy, GRUPolicy])
def test_t_max_is_for_lstm_only(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    torch.manual_seed(3)
    plain = cls(spec, 8, 1)
    torch.manual_seed(3)
    assert torch.equal(cls(spec, 8, 1, init_param_kwargs={"t_max": 20}).param_values, plain.param_values)


# --- gradients, modes, contract ---


@every_class
def test_gradient_flows_through_the_hidden_state(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2)
    hidden = torch.randn(policy.hidden_size, requires_grad=True)
    state = hidden
    for obs in torch.randn(4, 4):
        action, state = policy(obs, state)
    action.sum().backward()
    assert hidden.grad is not None
    assert (hidden.grad != 0.0).all()


@every_class
def test_gradient_agrees_with_finite_differences(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 3, 2).double()
    obs = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, policy.hidden_size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy, (obs, hidden))


def test_dropout_obeys_the_mode_and_forward_leaves_it(spec: EnvSpec) -> None:
    policy = GRUPolicy(spec, 32, 2, dropout=0.5)
    obs = torch.randn(4)
    assert policy.training
    assert not torch.equal(policy(obs)[0], policy(obs)[0])
    assert policy.training
    policy.eval()
    assert torch.equal(policy(obs)[0], policy(obs)[0])
    assert not policy.training


def test_policies_keep_no_state(spec: EnvSpec) -> None:
    policy = LSTMPolicy(spec, 8, 1)
    obs = torch.randn(4)
    first = policy(obs)[0]
    policy(torch.randn(4))
    assert policy.reset() is BEHAVIOUR["reset.default"]["result"] is None
    assert torch.equal(policy(obs)[0], first)


def test_policies_without_memory_have_no_hidden_state(spec: EnvSpec) -> None:
    policy = TrainablePolicy(spec)
    assert not policy.is_recurrent
    with pytest.raises(AttributeError, match="not recurrent"):
        policy.init_hidden()


@every_class
def test_contract_comes_from_the_spaces(cls: type[RNNPolicyBase]) -> None:
    observation = gymnasium.spaces.Box(torch.tensor([-1.0, -2.0, -3.0]).numpy(), torch.tensor([1.0, 2.0, 3.0]).numpy())
    policy = cls(EnvSpec(observation, gymnasium.spaces.Box(-0.5, 0.25, (2,))), 5, 2)
    contract = policy.contract(batch=None, period_s=0.02, provenance={"trainer": "test"})
    assert contract.inputs[0].name == "obs"
    assert contract.inputs[0].low == (-1.0, -2.0, -3.0)
    assert contract.inputs[0].high == (1.0, 2.0, 3.0)
    assert contract.outputs[0].name == "actions"
    assert contract.outputs[0].low == (-0.5, -0.5)
    assert contract.outputs[0].high == (0.25, 0.25)
    assert contract.state == policy.state_layout
    assert contract.initial_state == (0.0,) * policy.hidden_size
    assert (contract.batch, contract.period_s, contract.provenance) == (None, 0.02, {"trainer": "test"})
    assert contract.sha256 is None
    assert contract.golden is None
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_class
def test_cuda(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2, use_cuda=True, dropout=0.5)
    assert policy.device.startswith("cuda")
    assert policy.init_hidden().is_cuda
    out = policy.evaluate({"observations": torch.randn(5, 4), "lengths": [3, 2]})
    assert isinstance(out, torch.Tensor)
    out.sum().backward()
    assert policy.param_grad.any()


@every_class
def test_script_keeps_its_own_state(spec: EnvSpec, cls: type[RNNPolicyBase]) -> None:
    policy = cls(spec, 8, 2)
    script = policy.script()
    assert policy.training
    observations = torch.randn(6, 4)
    hidden, actions = None, []
    for obs in observations:
        action, hidden = policy(obs, hidden)
        actions.append(action)
    for _ in range(2):
        for obs, expected in zip(observations, actions, strict=True):
            torch.testing.assert_close(script(obs), expected, atol=1e-6, rtol=1e-5)
        script.reset()
    recorded = BEHAVIOUR["script_float64_default.lstm"]["result"]
    assert (script.input_size, script.output_size) == (recorded["input_size"], recorded["output_size"])
    assert {"hidden"} <= {name for name, _ in script.named_buffers()}
