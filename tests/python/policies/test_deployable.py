"""Normaliser, action map, and the policy around them."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

import ganglion
from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies import (
    ActionMap,
    DeployablePolicy,
    EnvSpec,
    GRUPolicy,
    LSTMPolicy,
    ObservationNormalizer,
    RecurrentPolicy,
    RNNPolicy,
    RNNPolicyBase,
)

PACKAGE = Path(ganglion.__file__).parent

# --- observation normaliser ---


def test_normaliser_formula() -> None:
    normalizer = ObservationNormalizer([1.0, -2.0], [4.0, 0.0], epsilon=0.25, clip=3.0)
    normalized = normalizer(torch.tensor([[1.0, -2.0], [3.0, -1.0], [1e6, -1e6]]))
    expected = [[0.0, 0.0], [2.0 / math.sqrt(4.25), 2.0], [3.0, -3.0]]
    torch.testing.assert_close(normalized, torch.tensor(expected))
    assert torch.equal(normalizer(torch.tensor([3.0, -1.0])), normalized[1])


def test_normaliser_without_clip_and_with_nan() -> None:
    normalizer = ObservationNormalizer([0.0, 0.0], [1.0, 1.0], epsilon=0.0)
    assert normalizer(torch.tensor([1e30, 2.0])).tolist() == [pytest.approx(1e30), 2.0]
    # NaN must stay visible to the checks of the runtime, clip or no clip.
    assert ObservationNormalizer([0.0], [1.0], clip=1.0)(torch.tensor([torch.nan])).isnan()


def test_running_statistics_equal_those_of_all_samples() -> None:
    samples = torch.randn(1000, 3, dtype=torch.float64) * torch.tensor([0.1, 5.0, 1.0]) + torch.tensor(
        [50.0, 0.0, -3.0]
    )
    normalizer = ObservationNormalizer.empty(3)
    assert torch.equal(normalizer(torch.ones(3)), torch.ones(3))
    for batch in (samples[:1], samples[1:1], samples[1:400], samples[400:].reshape(2, 300, 3)):
        normalizer.update(batch)
    assert int(normalizer.count) == 1000
    torch.testing.assert_close(normalizer.mean, samples.mean(0).float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(normalizer.variance, samples.var(0, correction=0).float(), rtol=1e-4, atol=0.0)
    normalized = normalizer(samples)
    assert normalized.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(normalized.std(0, correction=0), torch.ones(3), rtol=1e-3, atol=0.0)


def test_given_statistics_weigh_as_many_samples_as_they_stand_for() -> None:
    normalizer = ObservationNormalizer([2.0], [1.0], count=3)
    normalizer.update(torch.tensor([[6.0]]))
    assert normalizer.mean.item() == pytest.approx(3.0)
    assert normalizer.variance.item() == pytest.approx(3.0 / 4.0 + 16.0 * 3.0 / 16.0)
    replaced = ObservationNormalizer([2.0], [1.0])
    replaced.update(torch.tensor([[6.0], [8.0]]))
    assert (replaced.mean.item(), replaced.variance.item()) == (7.0, 1.0)


def test_normaliser_refuses_to_be_spoilt() -> None:
    normalizer = ObservationNormalizer.empty(2)
    normalizer.update(torch.randn(5, 2))
    before = copy.deepcopy(normalizer.state_dict())
    with pytest.raises(ValueError, match="not finite"):
        normalizer.update(torch.tensor([[0.0, torch.nan]]))
    with pytest.raises(ValueError, match=r"\[..., 2\]"):
        normalizer.update(torch.zeros(5, 3))
    assert all(torch.equal(value, before[key]) for key, value in normalizer.state_dict().items())


def test_normaliser_state_is_saved_but_not_trained() -> None:
    normalizer = ObservationNormalizer.empty(2, clip=5.0)
    normalizer.update(torch.randn(20, 2))
    other = ObservationNormalizer.empty(2, clip=5.0)
    other.load_state_dict(normalizer.state_dict(), strict=True)
    obs = torch.randn(4, 2)
    assert torch.equal(other(obs), normalizer(obs))
    assert int(other.count) == 20
    assert list(normalizer.parameters()) == []
    assert "clip=5.0" in repr(normalizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [1.0, 1.0]), "mean has 1 elements but variance has 2"),
        (([0.0, math.nan], [1.0, 1.0]), "must be finite"),
        (([0.0], [-1.0]), "negative"),
        (([0.0], [0.0], 0.0), "must be positive"),
        (([0.0], [1.0], -1.0), "epsilon"),
        (([0.0], [1.0], 1e-8, 0.0), "clip"),
        (([0.0], [1.0], 1e-8, math.nan), "clip"),
        (([0.0], [1.0], 1e-8, None, -1), "count"),
        (([[0.0]], [[1.0]]), "must be a vector"),
        (([], []), "must be a vector"),
    ],
)
def test_bad_normalisers(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObservationNormalizer(*arguments)


# --- action map ---


def test_action_map_formula() -> None:
    values = torch.tensor([[0.0, 0.5], [10.0, -10.0]])
    plain = ActionMap([2.0, 3.0], [1.0, -1.0])
    torch.testing.assert_close(plain(values), values * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, -1.0]))
    squashed = ActionMap([2.0, 3.0], [1.0, -1.0], squash=True)
    torch.testing.assert_close(squashed(values), values.tanh() * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, -1.0]))
    clipped = ActionMap([2.0, 3.0], [1.0, -1.0], low=[-math.inf, -4.0], high=[5.0, math.inf])
    torch.testing.assert_close(clipped(values), torch.tensor([[1.0, 0.5], [5.0, -4.0]]))
    assert ActionMap([1.0], low=[0.0])(torch.tensor([-3.0])).tolist() == [0.0]
    assert ActionMap([1.0], high=[0.0])(torch.tensor([3.0])).tolist() == [0.0]
    assert clipped(torch.tensor([torch.nan, 0.0])).isnan().tolist() == [True, False]


@pytest.mark.parametrize("squash", [True, False])
def test_action_map_from_space(squash: bool) -> None:
    space = gymnasium.spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([3.0, 2.5], np.float32))
    action_map = ActionMap.from_space(space, squash=squash)
    torch.testing.assert_close(action_map(torch.zeros(2)), torch.tensor([1.0, 2.25]))
    far = action_map(torch.tensor([[50.0, -50.0], [-50.0, 50.0]]))
    torch.testing.assert_close(far, torch.tensor([[3.0, 2.0], [-1.0, 2.5]]))
    inside = torch.tensor([0.3, -0.7])
    expected = (inside.tanh() if squash else inside) * torch.tensor([2.0, 0.25]) + torch.tensor([1.0, 2.25])
    torch.testing.assert_close(action_map(inside), expected)
    for row in action_map(torch.randn(200, 2) * 3.0):
        assert space.contains(row.numpy())


def test_action_map_from_a_space_of_integers() -> None:
    action_map = ActionMap.from_space(gymnasium.spaces.Box(-100, 120, (1,), np.int8))
    assert action_map(torch.tensor([-50.0])).tolist() == [-100.0]
    assert action_map(torch.tensor([50.0])).tolist() == [120.0]


def test_action_map_needs_bounds() -> None:
    with pytest.raises(TypeError, match="only a Box"):
        ActionMap.from_space(gymnasium.spaces.Discrete(2))
    with pytest.raises(ValueError, match=r"elements \[1\]"):
        ActionMap.from_space(gymnasium.spaces.Box(np.array([0.0, -math.inf]), np.array([1.0, 1.0]), dtype=np.float64))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scale": [1.0, 1.0], "offset": [0.0]}, "offset has 1"),
        ({"scale": [1.0], "low": [0.0, 0.0]}, "low has 2"),
        ({"scale": [math.inf]}, "must be finite"),
        ({"scale": [math.nan]}, "must be finite"),
        ({"scale": [1.0], "high": [math.nan]}, "high holds NaN"),
        ({"scale": [1.0], "low": [1.0], "high": [0.0]}, "above the upper bound"),
        ({"scale": []}, "must be a vector"),
    ],
)
def test_bad_action_maps(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionMap(**kwargs)


@pytest.mark.parametrize("part", [ObservationNormalizer.empty(2), ActionMap([1.0, 1.0])])
def test_parts_refuse_other_sizes_and_types(part: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\); expected \[..., 2\]"):
        part(torch.zeros(4, 3))
    with pytest.raises(TypeError, match="not ndarray"):
        part(np.zeros(2))


def test_parts_copy_what_they_are_given() -> None:
    values = torch.ones(2)
    normalizer, action_map = ObservationNormalizer(values, values), ActionMap(values, values)
    values.fill_(9.0)
    assert normalizer.mean.tolist() == normalizer.variance.tolist() == [1.0, 1.0]
    assert action_map.scale.tolist() == action_map.offset.tolist() == [1.0, 1.0]


# --- the policy around them ---


@pytest.fixture
def parts() -> tuple[ObservationNormalizer, ActionMap]:
    normalizer = ObservationNormalizer(torch.randn(4), torch.rand(4) + 0.1, clip=2.0)
    return normalizer, ActionMap([1.5, 0.5], [0.1, -0.1], low=[-1.0, -0.4], high=[1.2, 0.2], squash=True)


@pytest.fixture(params=[RNNPolicy, GRUPolicy, LSTMPolicy])
def inner(request: pytest.FixtureRequest, spec: EnvSpec) -> RNNPolicyBase:
    return request.param(spec, 8, 2)


class TwoOutputs(RecurrentPolicy):
    """Returns its observation's first two elements, and their sum; counts its steps."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__(spec)
        self.weight = torch.nn.Parameter(torch.ones(2))

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        return (StateSlot("steps", (1,)),)

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        return (*super().output_specs, TensorSpec("value", 1))

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        return super().init_hidden(batch_size) + 7.0

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        state = self.init_hidden(None if obs.ndim == 1 else len(obs)) if hidden is None else hidden
        action = self.weight * obs[..., :2]
        return action, action.sum(-1, keepdim=True), state + 1.0


def test_deployable_is_the_composition(inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    normalizer, action_map = parts
    deployable = DeployablePolicy(inner, normalizer, action_map)
    for shape in [(4,), (3, 4), (0, 4)]:
        obs = torch.randn(shape)
        hidden = torch.randn(*shape[:-1], inner.hidden_size)
        action, new_hidden = inner(normalizer(obs), hidden)
        left, right = deployable(obs, hidden)
        assert torch.equal(left, action_map(action))
        assert torch.equal(right, new_hidden)
        assert left.shape == (*shape[:-1], 2)
    assert deployable.state_layout == inner.state_layout
    assert deployable.hidden_size == inner.hidden_size
    assert deployable.contract().to_json() == inner.contract().to_json()


def test_parts_are_optional(inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    normalizer, action_map = parts
    obs = torch.randn(3, 4)
    assert torch.equal(DeployablePolicy(inner)(obs)[0], inner(obs)[0])
    assert torch.equal(DeployablePolicy(inner, normalizer)(obs)[0], inner(normalizer(obs))[0])
    assert torch.equal(DeployablePolicy(inner, action_map=action_map)(obs)[0], action_map(inner(obs)[0]))


def test_other_outputs_and_the_initial_state_pass_through(
    spec: EnvSpec, parts: tuple[ObservationNormalizer, ActionMap]
) -> None:
    inner = TwoOutputs(spec)
    deployable = DeployablePolicy(inner, *parts)
    obs = torch.randn(5, 4)
    action, value, hidden = deployable(obs)
    normalized = parts[0](obs)[:, :2]
    assert torch.equal(action, parts[1](normalized))
    assert torch.equal(value, normalized.sum(-1, keepdim=True))
    assert hidden.tolist() == [[8.0]] * 5
    assert deployable.output_specs == inner.output_specs
    assert deployable.contract().initial_state == (7.0,)
    outputs = deployable.evaluate({"observations": obs, "lengths": [2, 3]})
    assert torch.equal(outputs[0], action)
    assert torch.equal(outputs[1], value)


def test_evaluate_equals_stepping_with_gradients(
    inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]
) -> None:
    deployable = DeployablePolicy(inner, *parts)
    observations = torch.randn(9, 4)
    actions = []
    for chunk in torch.split(observations, [4, 5]):
        hidden = deployable.init_hidden()
        for obs in chunk:
            action, hidden = deployable(obs, hidden)
            actions.append(action)
    out = deployable.evaluate({"observations": observations, "lengths": [4, 5]})
    torch.testing.assert_close(out, torch.stack(actions))
    out.sum().backward()
    assert deployable.param_grad.any()
    assert deployable.num_param == inner.num_param


def test_wrapping_again_works(inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    normalizer, action_map = parts
    obs = torch.randn(3, 4)
    twice = DeployablePolicy(DeployablePolicy(inner, normalizer), action_map=action_map)
    assert torch.equal(twice(obs)[0], DeployablePolicy(inner, normalizer, action_map)(obs)[0])


def test_parameters_are_those_of_the_policy_inside(
    inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]
) -> None:
    deployable = DeployablePolicy(inner, *parts)
    mean = parts[0].mean.clone()
    deployable.init_param(torch.zeros(inner.num_param))
    assert not inner.param_values.any()
    deployable.init_param(t_max=10)
    assert inner.param_values.any()
    assert torch.equal(parts[0].mean, mean)


def test_state_dict_round_trip(spec: EnvSpec, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    deployable = DeployablePolicy(GRUPolicy(spec, 8, 1), *parts)
    bounds = {"low": [0.0, 0.0], "high": [0.0, 0.0]}
    other = DeployablePolicy(
        GRUPolicy(spec, 8, 1), ObservationNormalizer.empty(4, clip=2.0), ActionMap([1.0, 1.0], squash=True, **bounds)
    )
    other.load_state_dict(deployable.state_dict(), strict=True)
    obs = torch.randn(3, 4)
    assert torch.equal(other(obs)[0], deployable(obs)[0])


def test_float64_policies(inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    assert DeployablePolicy(inner, *parts)(torch.randn(4).double())[0].dtype == torch.float32
    assert DeployablePolicy(inner.double(), *parts)(torch.randn(4))[0].dtype == torch.float64


def test_parts_must_fit(spec: EnvSpec, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    inner = GRUPolicy(spec, 8, 1)
    normalizer, action_map = parts
    with pytest.raises(TypeError, match="RecurrentPolicy, not Linear"):
        DeployablePolicy(torch.nn.Linear(4, 2))
    with pytest.raises(TypeError, match="observation_normalizer must be of class ObservationNormalizer"):
        DeployablePolicy(inner, action_map)
    with pytest.raises(TypeError, match="action_map must be of class ActionMap"):
        DeployablePolicy(inner, None, normalizer)
    with pytest.raises(ValueError, match="observation_normalizer has 3 elements but the policy has 4"):
        DeployablePolicy(inner, ObservationNormalizer.empty(3))
    with pytest.raises(ValueError, match="action_map has 3 elements but the policy has 2"):
        DeployablePolicy(inner, action_map=ActionMap([1.0, 1.0, 1.0]))


def test_wrong_shapes_are_refused_as_inside(inner: RNNPolicyBase) -> None:
    deployable = DeployablePolicy(inner, ObservationNormalizer.empty(4))
    with pytest.raises(ValueError, match="1 or 2 axes"):
        deployable(torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="hidden has shape"):
        deployable(torch.zeros(3, 4), torch.zeros(inner.hidden_size))


# --- graphs ---


def test_tracing_generalises_over_the_batch(
    inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]
) -> None:
    deployable = DeployablePolicy(inner, *parts).eval()
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        traced = torch.jit.trace(deployable, (torch.randn(3, 4), torch.randn(3, inner.hidden_size)))
    # torch's own recurrent modules compare sizes; our code must not add to that.
    assert not [str(w.message) for w in caught if Path(w.filename).is_relative_to(PACKAGE)]
    for batch in (1, 3, 5):
        obs, hidden = torch.randn(batch, 4), torch.randn(batch, inner.hidden_size)
        for left, right in zip(traced(obs, hidden), deployable(obs, hidden), strict=True):
            torch.testing.assert_close(left, right)


def test_export_with_any_batch(inner: RNNPolicyBase, parts: tuple[ObservationNormalizer, ActionMap]) -> None:
    deployable = DeployablePolicy(inner, *parts).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(
        deployable,
        (torch.randn(3, 4), torch.randn(3, inner.hidden_size)),
        dynamic_shapes={"obs": {0: batch}, "hidden": {0: batch}},
    )
    obs, hidden = torch.randn(7, 4), torch.randn(7, inner.hidden_size)
    for left, right in zip(program.module()(obs, hidden), deployable(obs, hidden), strict=True):
        torch.testing.assert_close(left, right)
