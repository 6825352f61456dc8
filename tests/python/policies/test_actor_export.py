"""Actor policies in every kind of file: equal to the Python policy over 300 steps with resets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from actor_cases import ACTION, DISCRETE, OBSERVATION, SMALL, masked_policy, policy_of, rnn_network, shaken
from header_bits import check_together
from torch import nn

import ganglion
from ganglion.compiler import file
from ganglion.export import export
from ganglion.policies.tf_agents.heads import NormalProjection
from ganglion.policies.tf_agents.networks import ActorDistributionNetwork, ActorRnnNetwork
from ganglion.policies.tf_agents.specs import ArraySpec, BoundedArraySpec
from ganglion.policies.tf_agents.weights import tensor_normalizer
from ganglion.verify import draw_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from ganglion.policies.tf_agents.actor import ActorPolicy

pytestmark = pytest.mark.deep  # exports every policy to every kind of file

STEPS = 300
TOLERANCE = 1e-5

NESTED_OBSERVATION = {"b": BoundedArraySpec((3,), minimum=-1.0, maximum=1.0), "a": (ArraySpec((2, 2)), ArraySpec(()))}
NESTED_ACTION = [ACTION, BoundedArraySpec((), torch.float32, None, -1.0, 1.0)]
SEVERAL = BoundedArraySpec((2,), torch.int64, "several", 0, 2)
UNBOUNDED_MEAN = functools.partial(NormalProjection, squash=False, state_dependent_std=True)
GRU = {"lstm_size": None, "rnn_construction_fn": nn.GRU, "rnn_construction_kwargs": {"hidden_size": 8}}
GAUSSIAN, CATEGORICAL = ["mean", "log_std"], ["actions", "logits"]

POLICIES = {
    "feed-forward": (lambda: policy_of(ActorDistributionNetwork(OBSERVATION, ACTION, (9, 7))), GAUSSIAN),
    "feed-forward, masked": (
        lambda: masked_policy(ActorDistributionNetwork(OBSERVATION, DISCRETE, (9,), torch.tanh)),
        CATEGORICAL,
    ),
    "LSTM": (lambda: policy_of(rnn_network()), GAUSSIAN),
    "LSTM without dense layers": (
        lambda: policy_of(rnn_network(input_fc_layer_params=(), output_fc_layer_params=())),
        GAUSSIAN,
    ),
    "LSTM, normalised, clipped mean": (
        lambda: policy_of(
            rnn_network(continuous_projection_net=UNBOUNDED_MEAN),
            observation_normalizer=tensor_normalizer(np.linspace(-1, 1, 5), np.linspace(0.01, 2, 5)),
        ),
        # Drawn around the mean as it is; what flies is clipped.
        [*GAUSSIAN, "unmapped_mean"],
    ),
    "two LSTM cells": (lambda: policy_of(rnn_network(lstm_size=(8, 8))), GAUSSIAN),
    "two LSTM cells of different sizes": (lambda: policy_of(rnn_network(lstm_size=(8, 6))), GAUSSIAN),
    "GRU": (lambda: policy_of(rnn_network(**GRU)), GAUSSIAN),
    "LSTM, discrete": (lambda: policy_of(rnn_network(DISCRETE)), CATEGORICAL),
    "LSTM, masked": (masked_policy, CATEGORICAL),
    "LSTM, several categories": (lambda: policy_of(rnn_network(SEVERAL)), ["actions", "logits_0", "logits_1"]),
    "deterministic LSTM": (lambda: policy_of(ActorRnnNetwork(OBSERVATION, ACTION, **SMALL)), ["actions"]),
    "nests": (lambda: policy_of(ActorDistributionNetwork(NESTED_OBSERVATION, NESTED_ACTION, (9,))), GAUSSIAN),
}


def make(name: str) -> ActorPolicy:
    return shaken(POLICIES[name][0]())


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".ganglion"])
def test_three_rows_with_masked_resets(tmp_path: Path, name: str, suffix: str) -> None:
    policy, path = make(name), tmp_path / f"policy{suffix}"
    contract = export(policy, path, batch=None)
    assert [tensor.name for tensor in contract.outputs] == POLICIES[name][1]
    assert contract.inputs == policy.input_specs
    assert contract.state == policy.state_layout
    report = ganglion.verify(path, policy, steps=STEPS, batch=3, tolerance=TOLERANCE)
    assert report.ok, report.first_divergence
    assert report.trajectory.reset[1:].any(axis=1).sum() > 1
    assert len(report.runs) == (2 if suffix == ".ganglion" else 3)  # native is compiled in memory
    assert not report.not_run


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["LSTM", "LSTM, masked", "deterministic LSTM"])
@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".ganglion"])
def test_one_row(tmp_path: Path, name: str, suffix: str) -> None:
    policy, path = make(name), tmp_path / f"policy{suffix}"
    assert export(policy, path).batch == 1
    assert ganglion.verify(path, policy, steps=STEPS, tolerance=TOLERANCE).ok


@pytest.mark.whole
def test_the_headers_give_the_bits_of_the_engine(tmp_path: Path) -> None:
    check_together({name: make(name) for name in POLICIES}, tmp_path)


def test_the_mask_is_a_named_input(tmp_path: Path) -> None:
    policy, path = make("LSTM, masked"), tmp_path / "policy.onnx"
    export(policy, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shapes = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    assert shapes == {"obs": [1, 5], "mask": [1, 4], "h_in": [1, 1, 8], "c_in": [1, 1, 8]}
    lowest = np.finfo(np.float32).min
    for allowed in range(4):
        feed = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        feed["mask"][0, allowed] = 1.0
        actions, logits = session.run(["actions", "logits"], feed)
        assert actions == allowed
        assert ((logits[0] == lowest) == (np.arange(4) != allowed)).all()


def test_masks_change_the_action_on_the_robot(tmp_path: Path) -> None:
    policy, path = make("LSTM, masked"), tmp_path / "policy.ganglion"
    contract = export(policy, path)
    trajectory = draw_trajectory(contract, steps=STEPS, batch=1, seed=0)
    free, masked = ganglion.load(path), ganglion.load(path)
    taken, allowed = [], []
    for observation in trajectory.observation[:, 0]:
        mask = np.random.default_rng(len(taken)).permutation(4) < 2
        taken.append((free.step(np.r_[observation[:5], np.ones(4)].astype(np.float32))[0],
                      masked.step(np.r_[observation[:5], mask].astype(np.float32))[0]))  # fmt: skip
        allowed.append(mask)
    actions = np.array(taken, int)
    assert all(mask[action] for mask, action in zip(allowed, actions[:, 1], strict=True))
    assert (actions[:, 0] != actions[:, 1]).any()


def test_sampling_on_the_robot_obeys_the_mask(tmp_path: Path) -> None:
    path = tmp_path / "policy.ganglion"
    export(make("LSTM, masked"), path)
    pilot, taken = ganglion.load(path, sample_seed=3), set()
    mask = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
    for _ in range(200):
        taken.add(int(pilot.step(np.r_[np.zeros(5, np.float32), mask])[0]))
    assert taken == {1, 3}


def test_a_clipped_mean_reaches_its_bounds_and_stays_inside(tmp_path: Path) -> None:
    policy, path = make("LSTM, normalised, clipped mean"), tmp_path / "policy.ganglion"
    with torch.no_grad():
        policy.actor_network.projections[0].means_projection_layer.weight.mul_(10.0)
    contract = export(policy, path)
    low, high = np.float32(ACTION.minimum), np.float32(ACTION.maximum)
    assert (contract.outputs[0].low, contract.outputs[0].high) == (ACTION.minimum, ACTION.maximum)
    pilot = ganglion.load(path)
    observations = draw_trajectory(contract, steps=STEPS, batch=1, seed=0).observation[:, 0]
    actions = np.stack([pilot.step(observation) for observation in observations])
    assert ((actions >= low) & (actions <= high)).all()
    assert (actions == low).any() and (actions == high).any()


def test_cells_are_single_operations_of_the_native_engine(tmp_path: Path) -> None:
    for name, operation, count in (("LSTM", "lstm", 1), ("two LSTM cells", "lstm", 2), ("GRU", "gru", 1)):
        export(make(name), tmp_path / "policy.ganglion")
        program, _ = file.read(tmp_path / "policy.ganglion")
        assert [op.kind for op in program.ops].count(operation) == count


def test_smaller_weights_work_too(tmp_path: Path) -> None:
    contract = export(make("LSTM"), tmp_path / "policy.ganglion", weights="float16", weight_tolerance=0.05)
    assert contract.provenance["weights"].startswith("float16")
