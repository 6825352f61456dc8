"""Actor networks, their specs, and actor policies as flat functions of one step."""

from __future__ import annotations

import functools
import math
import pickle
from typing import Any

import pytest
import torch
from actor_cases import (
    ACTION,
    DISCRETE,
    OBSERVATION,
    SMALL,
    Memory,
    masked_policy,
    observed,
    policy_of,
    recurrent,
    rnn_network,
    shaken,
    time_step,
)
from torch import nn

from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.tf_agents.heads import Deterministic, NormalProjection
from ganglion.policies.tf_agents.networks import (
    ActorDistributionNetwork,
    ActorDistributionRnnNetwork,
    ActorNetwork,
    ActorRnnNetwork,
)
from ganglion.policies.tf_agents.recurrence import RecurrentLayers
from ganglion.policies.tf_agents.specs import (
    ActorStepType,
    ActorTimeStep,
    ArraySpec,
    BoundedArraySpec,
    PolicyInfo,
    PolicyStep,
    contract_spec,
    pack,
    space_of,
    time_step_spec,
    unpack,
)
from ganglion.policies.tf_agents.weights import tensor_normalizer

# --- networks ---


def test_initial_parameters() -> None:
    torch.manual_seed(0)
    network = ActorDistributionRnnNetwork(OBSERVATION, ACTION, lstm_size=(40,))
    dense = network.encoder.layers[1].weight
    assert dense.shape == (100, 200)
    assert abs(dense.std() - math.sqrt(2.0 / 200)) < 0.004 and dense.abs().max() <= 2.3 * math.sqrt(2.0 / 200)
    mean = network.projections[0].means_projection_layer.weight
    assert abs(mean.std() - math.sqrt(0.1 / 100)) < 0.004
    i, f, g, o = network.recurrent.layers[0].bias_ih_l0.chunk(4)
    assert (f == 1.0).all() and not any(gate.any() for gate in (i, g, o, network.recurrent.layers[0].bias_hh_l0))
    assert not network.recurrent.layers[0].bias_hh_l0.requires_grad
    recurrent_kernel = network.recurrent.layers[0].weight_hh_l0
    torch.testing.assert_close(recurrent_kernel.T @ recurrent_kernel, torch.eye(40), atol=1e-5, rtol=0.0)
    action, _ = network(observed())
    torch.testing.assert_close(action.stddev, torch.full((3, 2), 0.35))
    alone = NormalProjection(4, ACTION)(torch.zeros(3, 4))
    torch.testing.assert_close(alone.stddev, torch.full((3, 2), math.log(2.0)))
    assert torch.equal(alone.mean, torch.tensor([[0.5, 0.0]]).repeat(3, 1))


def test_init_param_draws_everything_again() -> None:
    policy = shaken(recurrent())
    before = policy.param_values
    policy.init_param()
    assert (policy.param_values != before).float().mean() > 0.7
    lstm = policy.actor_network.recurrent.layers[0]
    assert (lstm.bias_ih_l0[8:16] == 1.0).all() and not lstm.bias_hh_l0.any()


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_actions_of_any_shape(shape: tuple[int, ...]) -> None:
    spec = BoundedArraySpec(shape, torch.float32, None, -1.0, 2.0)
    categories = BoundedArraySpec(shape, torch.int64, None, 0, 4)
    for network in (rnn_network(spec), rnn_network(categories), ActorRnnNetwork(OBSERVATION, spec, **SMALL)):
        policy = policy_of(network, emit_log_probability=True)
        for axes in ((), (3,), (3, 2)):
            found = policy.action(time_step(torch.randn(*axes, 5)))
            assert found.action.shape == (*axes, *shape)
            assert found.info.log_probability.shape == axes
        *outputs, hidden = policy(observed())
        assert [tuple(output.shape) for output in outputs] == [(3, spec.size) for spec in policy.output_specs]
        assert hidden.shape == (3, 16)


def test_outputs_of_nests() -> None:
    several = BoundedArraySpec((2,), torch.int64, None, 0, 3)
    nests = {
        ("mean", "log_std"): {"b": ACTION, "a": ACTION},
        ("actions", "logits_0", "logits_1", "logits_2"): (several, DISCRETE),
        ("actions", "log_std", "logits_0"): [DISCRETE, ACTION],
    }
    for names, spec in nests.items():
        policy = policy_of(rnn_network(spec))
        assert tuple(output.name for output in policy.output_specs) == names
    *outputs, _ = policy_of(rnn_network((several, DISCRETE)))(observed())
    modes = torch.stack([logits.argmax(-1) for logits in outputs[1:]], -1)
    assert torch.equal(outputs[0], modes.float())


# --- the flat function ---


@pytest.mark.parametrize("lstm_size", [(8,), (4, 4), (4, 3)])
def test_flat_state_and_nested_state_are_the_same(lstm_size: tuple[int, ...]) -> None:
    policy = shaken(policy_of(rnn_network(lstm_size=lstm_size)))
    hidden = torch.randn(3, policy.hidden_size)
    state = policy._unpack_hidden(hidden)
    assert torch.equal(policy._pack_hidden(state, hidden), hidden)
    obs = observed()
    mean, _, new_hidden = policy(obs, hidden)
    step = policy.distribution(time_step(obs), state)
    torch.testing.assert_close(mean, step.action.mean.clamp(torch.tensor(ACTION.minimum), torch.tensor(ACTION.maximum)))
    torch.testing.assert_close(new_hidden, policy._pack_hidden(step.state, hidden))


@pytest.mark.parametrize("clip", [True, False])
def test_a_mean_outside_the_bounds_is_clipped(clip: bool) -> None:
    network = rnn_network(continuous_projection_net=functools.partial(NormalProjection, squash=False))
    policy = policy_of(network, clip=clip)
    with torch.no_grad():
        network.projections[0].means_projection_layer.bias.fill_(99.0)
    mean, *_ = policy(observed())
    assert (mean == torch.tensor(ACTION.maximum)).all() if clip else (mean > 90.0).all()


def test_state_layouts() -> None:
    def layout(network: ActorNetwork) -> list[tuple[str, tuple[int, ...]]]:
        return [(slot.name, slot.shape) for slot in policy_of(network).state_layout]

    gru = {"lstm_size": None, "rnn_construction_fn": nn.GRU, "rnn_construction_kwargs": {"hidden_size": 4}}
    assert layout(rnn_network()) == [("h", (1, 8)), ("c", (1, 8))]
    assert layout(rnn_network(lstm_size=(4, 4, 4))) == [("h", (3, 4)), ("c", (3, 4))]
    assert layout(rnn_network(lstm_size=(4, 3))) == [("h_0", (1, 4)), ("h_1", (1, 3)), ("c_0", (1, 4)), ("c_1", (1, 3))]
    assert layout(rnn_network(**gru)) == [("h", (1, 4))]
    assert layout(Memory()) == [("state_0", (2,))]
    assert layout(ActorDistributionNetwork(OBSERVATION, ACTION)) == []


def test_stacked_slots_hold_the_layers_in_order() -> None:
    policy = policy_of(rnn_network(lstm_size=(4, 4)))
    (h_0, c_0), (h_1, c_1) = policy._unpack_hidden(torch.arange(16.0).unsqueeze(0))
    assert [int(leaf[0, 0]) for leaf in (h_0, h_1, c_0, c_1)] == [0, 4, 8, 12]


def test_flat_shapes_are_checked() -> None:
    policy = masked_policy()
    with pytest.raises(ValueError, match=r"obs has shape \(3, 5\); expected \(3, 9\)"):
        policy(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"hidden has shape \(3, 8\).*expected \(3, 16\)"):
        policy(torch.zeros(3, 9), torch.zeros(3, 8))
    single, batched = policy(torch.zeros(9)), policy(torch.zeros(1, 9))
    for one, row in zip(single, batched, strict=True):
        torch.testing.assert_close(one, row[0])


def test_gradient_agrees_with_finite_differences() -> None:
    policy = shaken(policy_of(rnn_network(lstm_size=(3, 2)), clip=False)).double()
    hidden = torch.randn(2, policy.hidden_size, dtype=torch.float64, requires_grad=True)
    obs = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy, (obs, hidden))


def test_evaluate_is_a_run_of_the_flat_function() -> None:
    policy, observations = shaken(recurrent()), torch.randn(9, 5)
    mean, _ = policy.evaluate({"observations": observations, "lengths": [5, 4]})
    step = time_step(observations.unsqueeze(0), torch.tensor([[0, 1, 1, 1, 1, 0, 1, 1, 1]]))
    expected = policy.distribution(step).action.mean[0]
    bounds = torch.tensor(ACTION.minimum), torch.tensor(ACTION.maximum)
    torch.testing.assert_close(mean, expected.clamp(*bounds), atol=1e-6, rtol=1e-5)


def test_policies_can_be_pickled() -> None:
    policy, step = recurrent(observation_normalizer=tensor_normalizer([0.0] * 5, [1.0] * 5)), time_step(observed())
    again = pickle.loads(pickle.dumps(policy))
    assert torch.equal(again.distribution(step).action.mean, policy.distribution(step).action.mean)
    assert again.action_spec == policy.action_spec


def test_step_types() -> None:
    assert [int(kind) for kind in ActorStepType] == [0, 1, 2]
    spec = time_step_spec(OBSERVATION, ArraySpec((2,), torch.float32, "two rewards"))
    assert spec.observation is OBSERVATION and spec.reward.shape == (2,)
    assert PolicyStep(1).state == () == PolicyStep(1).info and PolicyInfo().log_probability == ()
    assert BoundedArraySpec((2,), minimum=0, maximum=1) != BoundedArraySpec((2,), minimum=0, maximum=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda() -> None:
    network = rnn_network().to("cuda")
    policy = policy_of(network, observation_normalizer=ObservationNormalizer([0.0] * 5, [1.0] * 5))
    step = ActorTimeStep(*(leaf.to("cuda") for leaf in time_step(observed())))
    found = policy.action(step, seed=3)
    assert found.action.is_cuda and all(leaf.is_cuda for leaf in found.state)
    assert policy(step.observation)[0].is_cuda


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rnn_network(lstm_size=None), "either lstm_size or rnn_construction_fn"),
        (lambda: rnn_network(rnn_construction_fn=nn.GRU), "either lstm_size or rnn_construction_fn"),
        (lambda: RecurrentLayers([nn.LSTM(5, 8, 2, batch_first=True)]), "must be a single one"),
        (lambda: RecurrentLayers([nn.LSTM(5, 8)]), "must be a single one"),
        (lambda: rnn_network(ArraySpec((2,))), "needs finite ones"),
        (lambda: rnn_network(ArraySpec((2,), torch.int32)), "finite bounds"),
        (lambda: rnn_network(BoundedArraySpec((2,), torch.int32, None, 0, [1, 2])), "same number of categories"),
        (lambda: ActorRnnNetwork(OBSERVATION, ArraySpec((2,)), **SMALL), "needs finite ones"),
        (lambda: ActorRnnNetwork(OBSERVATION, DISCRETE, **SMALL), "floating type"),
        (lambda: NormalProjection(3, DISCRETE), "floating type"),
        (lambda: rnn_network(lstm_size=(0,)), "greater than zero"),
        (lambda: rnn_network(input_fc_layer_params=(0,)), "at least 1"),
        (lambda: ArraySpec((0,)), "positive integers"),
        (lambda: BoundedArraySpec((2,), minimum=[0, 0, 0]), r"shape \(3,\); it must broadcast to \(2,\)"),
        (lambda: BoundedArraySpec((2,), minimum=1, maximum=0), "lies above"),
        (lambda: BoundedArraySpec((), maximum=math.nan), "lies above"),
        (lambda: BoundedArraySpec((), torch.int32, None, 0, 1.5), "must be whole"),
        (lambda: BoundedArraySpec((), torch.int32, None, 0), "must be whole"),
    ],
)
def test_networks_and_specs_refuse(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_packing_follows_the_sorted_keys() -> None:
    spec = {"b": ArraySpec((2, 2)), "a": (ArraySpec(()), ArraySpec((3,), torch.int32))}
    nest = {
        "b": torch.arange(8.0).reshape(2, 2, 2),
        "a": (torch.tensor([8.0, 9.0]), torch.ones(2, 3, dtype=torch.int32)),
    }
    packed = pack(nest, spec, torch.empty(0))
    assert packed[1].tolist() == [9.0, 1.0, 1.0, 1.0, 4.0, 5.0, 6.0, 7.0]
    again = unpack(packed, spec)
    assert torch.equal(again["b"], nest["b"]) and torch.equal(again["a"][1], nest["a"][1])
    assert again["a"][1].dtype == torch.int32
    # gymnasium flattens in the same order.
    assert [box.shape for box in space_of(spec)["a"]] == [(), (3,)] and list(space_of(spec)) == ["a", "b"]


def test_bounds_reach_the_contract() -> None:
    spec = {"a": BoundedArraySpec((2,), minimum=[-1.0, -2.0], maximum=1.0), "b": ArraySpec(())}
    described = contract_spec("obs", spec)
    assert (described.low, described.high) == ((-1.0, -2.0, -math.inf), (1.0, 1.0, math.inf))
    policy = policy_of(ActorDistributionNetwork(spec, ACTION, (4,)))
    assert policy.input_specs == (described,)
    assert (policy.output_specs[0].low, policy.output_specs[0].high) == (ACTION.minimum, ACTION.maximum)
    unclipped = policy_of(ActorDistributionNetwork(spec, ACTION, (4,)), clip=False)
    assert unclipped.output_specs[0].low == ()
    assert (policy.env_spec.observation_size, policy.env_spec.action_size) == (3, 2)


def test_deterministic_distributions() -> None:
    loc = torch.randn(3, 2, requires_grad=True)
    distribution = Deterministic(loc, 1)
    assert (distribution.batch_shape, distribution.event_shape) == ((3,), (2,))
    assert torch.equal(distribution.sample(), loc) and distribution.rsample((4,)).shape == (4, 3, 2)
    assert not distribution.stddev.any()
    other = torch.cat((loc[:1], loc[1:] + 1.0))
    assert distribution.log_prob(other).tolist() == [0.0, -math.inf, -math.inf]
    assert Deterministic(loc).log_prob(loc).shape == (3, 2)
