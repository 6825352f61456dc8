"""Actions of which some elements are normal and others are categories are drawn on the robot, each for itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from actor_cases import SMALL, time_step
from torch import distributions

import ganglion
from ganglion.contract import TensorSpec, distribution_of, drawn_parts
from ganglion.errors import ExportError
from ganglion.policies import (
    ActionMap,
    ActorDistributionRnnNetwork,
    ActorPolicy,
    ArraySpec,
    BoundedArraySpec,
    DeployablePolicy,
    NormalProjection,
    time_step_spec,
)
from ganglion.sampling import ActionSampler

pytestmark = pytest.mark.deep  # exports every mixture of actions to every engine

OBSERVATION = ArraySpec((5,))
BOX = BoundedArraySpec((2,), torch.float32, "c", [-2.0, -0.1], [3.0, 0.1])
ONE = BoundedArraySpec((), torch.int64, "d", 0, 2)
PAIR = BoundedArraySpec((2,), torch.int32, "e", 0, 3)
NESTS: dict[str, Any] = {
    "normal first": {"c": BOX, "d": ONE},
    "category first, normal on both sides": {"a": ONE, "b": BOX, "d": PAIR, "e": [BOX, ONE]},
    "categories alone": [ONE, PAIR],
    "several categories of one action": PAIR,
}
PARTS = {
    "normal first": [(0, "log_std", 0, 2), (2, "logits_2", 0, 3)],
    "category first, normal on both sides": [
        (0, "logits_0", 0, 3),
        (1, "log_std", 0, 2),
        (3, "logits_3", 0, 4),
        (4, "logits_4", 0, 4),
        (5, "log_std", 2, 2),
        (7, "logits_7", 0, 3),
    ],
    "categories alone": [(0, "logits_0", 0, 3), (1, "logits_1", 0, 4), (2, "logits_2", 0, 4)],
    "several categories of one action": [(0, "logits_0", 0, 4), (1, "logits_1", 0, 4)],
}


def wide(input_size: int, spec: ArraySpec) -> NormalProjection:
    """Means that are not squashed, so that they can lie outside of the bounds, with a standard deviation of 0.7."""
    return NormalProjection(input_size, spec, init_means_output_factor=20.0, squash=False)


def policy_of(actions: Any, **kwargs: Any) -> ActorPolicy:
    torch.manual_seed(0)
    network = ActorDistributionRnnNetwork(OBSERVATION, actions, **SMALL, **kwargs)
    for head in network.projections:
        if hasattr(head, "logits"):
            torch.nn.init.normal_(head.logits.weight, std=2.0)
    return ActorPolicy(time_step_spec(OBSERVATION), actions, network, emit_log_probability=True)


def outputs_of(pilot: ganglion.Policy) -> dict[str, np.ndarray]:
    return {spec.name: pilot.output(spec.name).reshape(pilot.batch, -1) for spec in pilot.contract.outputs}


@pytest.fixture(scope="module", params=NESTS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    policy = policy_of(NESTS[request.param], continuous_projection_net=wide)
    folder = tmp_path_factory.mktemp("mixed")
    contracts = [ganglion.export(policy, folder / f"x.{suffix}", batch=None) for suffix in ("ganglion", "onnx", "pt")]
    return request.param, policy, folder, contracts


@pytest.mark.sampled(1)
def test_what_the_contract_says(written: Any) -> None:
    name, policy, _, contracts = written
    for contract in contracts:
        assert contract.distribution == "mixed"
        found = [(part.element, part.output, part.offset, part.count) for part in drawn_parts(contract.outputs)]
        assert found == PARTS[name]
        assert contract.action_map == policy.action_stages


@pytest.mark.sampled(2)
@pytest.mark.parametrize("suffix", ["ganglion", "onnx", "pt"])
def test_every_engine_draws_what_python_draws(written: Any, suffix: str) -> None:
    _, _, folder, _ = written
    pilot = ganglion.load(folder / f"x.{suffix}", batch=3, sample_seed=5)
    sampler = ActionSampler(pilot.contract, 5, batch=3)
    with pytest.raises(ValueError, match="outputs by name where the action is mixed"):
        sampler.draw(np.zeros((3, 1), np.float32), np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32))
    random = np.random.default_rng(1)
    for step in range(8):
        if step == 4:
            rows = np.array([False, True, False])
            pilot.reset(rows)
            sampler.reset(rows)
        action = pilot.step(random.normal(size=(3, 5)).astype(np.float32))
        outputs = outputs_of(pilot)
        expected = sampler.draw(outputs["actions"], outputs, outputs.get("unmapped_mean"))
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_array_equal(outputs["log_prob"][:, 0], sampler.log_prob)


def test_they_are_drawn_as_tf_agents_draws_them(written: Any) -> None:
    """Frequencies, means and spreads of many draws are those of `distribution()`, clipped as `action()` clips."""
    name, policy, folder, _ = written
    rows = 6000
    pilot = ganglion.load(folder / "x.ganglion", batch=rows, sample_seed=2)
    observation = np.random.default_rng(3).normal(size=5).astype(np.float32)
    action = pilot.step(np.tile(observation, (rows, 1)))
    log_prob = pilot.output("log_prob").reshape(-1)
    step = policy.distribution(time_step(torch.from_numpy(observation)[None]))
    torch.manual_seed(1)
    leaves = step.action if name == "several categories of one action" else None
    nest = [leaves] if leaves is not None else _leaves(step.action)
    at, expected = 0, np.zeros(rows)
    own = ActionSampler(pilot.contract, 2, batch=rows)
    outputs = outputs_of(pilot)
    own.draw(outputs["actions"], outputs, outputs.get("unmapped_mean"))
    for leaf in nest:
        base = leaf.base_dist if isinstance(leaf, distributions.Independent) else leaf
        size = int(np.prod(base.batch_shape[1:])) if len(base.batch_shape) > 1 else 1
        drawn = own.own_action[:, at : at + size]
        shaped = torch.from_numpy(drawn).reshape(rows, *base.batch_shape[1:])
        expected += base.log_prob(shaped).reshape(rows, -1).sum(1).detach().numpy()
        for element in range(size):
            column = drawn[:, element]
            if isinstance(base, distributions.Normal):
                mean, std = (value.reshape(-1)[element].item() for value in (base.mean, base.stddev))
                assert abs(column.mean() - mean) < 5 * std / np.sqrt(rows)
                assert abs(column.std() / std - 1.0) < 0.05
            else:
                probabilities = base.probs.reshape(size, -1)[element].detach().numpy()
                counts = np.bincount(column.astype(int), minlength=len(probabilities)) / rows
                np.testing.assert_allclose(counts, probabilities, atol=0.03)
        at += size
    assert at == action.shape[1]
    np.testing.assert_allclose(log_prob, expected, atol=1e-3)
    low, high = np.array(policy.action_stages[0].low), np.array(policy.action_stages[0].high)
    np.testing.assert_allclose(action, np.clip(own.own_action, low, high), atol=1e-6)
    # Clipped after drawing, and categories are independent of each other.
    if "normal" in name:
        assert (own.own_action > high + 0.1).any()


def _leaves(nest: Any) -> list[Any]:
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in _leaves(nest[key])]
    return [leaf for one in nest for leaf in _leaves(one)] if isinstance(nest, list) else [nest]


def test_without_a_seed_the_mode_flies(written: Any) -> None:
    _, policy, folder, _ = written
    observation = np.ones(5, np.float32)
    found = ganglion.load(folder / "x.ganglion", batch=1).step(observation)
    np.testing.assert_allclose(found, policy(torch.from_numpy(observation))[0].detach().numpy(), atol=1e-5)


def test_behind_an_action_map_normal_elements_are_drawn_before_it(tmp_path: Any) -> None:
    inner = policy_of({"c": BoundedArraySpec((2,), torch.float32, "c", -1.0, 1.0), "d": ONE})
    policy = DeployablePolicy(inner, action_map=ActionMap([10.0, 10.0, 1.0]))
    contract = ganglion.export(policy, tmp_path / "x.ganglion", batch=2000)
    assert [spec.name for spec in contract.outputs][-1] == "unmapped_mean"
    pilot = ganglion.load(tmp_path / "x.ganglion", sample_seed=1)
    action = pilot.step(np.ones((2000, 5), np.float32))
    std = np.exp(outputs_of(pilot)["log_std"][0])
    assert set(np.unique(action[:, 2])) <= {0.0, 1.0, 2.0}
    assert np.abs(action).max() <= 10.0
    inside = np.abs(action[:, :2]) < 10.0
    np.testing.assert_allclose([action[inside[:, i], i].std() for i in range(2)], 10.0 * std, rtol=0.12)


def test_outputs_that_do_not_say_how_are_not_drawn_from() -> None:
    def kind(*names: tuple[str, int]) -> Any:
        return distribution_of([TensorSpec(name, size) for name, size in names])

    assert kind(("actions", 2), ("logits_0", 3), ("logits_1", 2)) == "mixed"
    assert kind(("actions", 3), ("log_std", 2), ("logits_1", 3)) == "mixed"
    assert kind(("actions", 3), ("log_std", 1), ("logits_1", 3)) is None
    assert kind(("actions", 2), ("logits_1", 3)) is None
    assert kind(("actions", 2), ("log_std", 2)) is None
    assert kind(("command", 2), ("logits_0", 3), ("logits_1", 2)) is None


def test_a_contract_that_names_them_otherwise_is_refused(tmp_path: Any) -> None:
    policy = policy_of([ONE, ONE])
    contract = policy.contract()
    first, one, other, last = contract.outputs
    swapped = (first, dataclasses.replace(one, name=other.name), dataclasses.replace(other, name=one.name), last)
    with pytest.raises(ExportError, match="actions are drawn by the names of outputs"):
        ganglion.export(policy, tmp_path / "x.ganglion", contract=dataclasses.replace(contract, outputs=swapped))
