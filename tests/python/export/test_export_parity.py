"""Both formats equal the Python policy over long runs, in the engines that plain users have."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from export_policies import (
    ACTIONS,
    FORMATS,
    OBSERVATIONS,
    SPEC,
    EncoderGruPolicy,
    LastActionPolicy,
    MemorylessPolicy,
    ModulePolicy,
    run_file,
    run_policy,
    stored_contract,
    trajectory,
)
from torch import nn

from ganglion.export import export
from ganglion.policies import ActionMap, DeployablePolicy, GRUPolicy, LSTMPolicy, ObservationNormalizer, RNNPolicy

pytestmark = pytest.mark.deep  # exports every policy

KINDS = {
    "rnn_tanh": lambda layers: RNNPolicy(SPEC, 8, layers, hidden_nonlin="tanh"),
    "rnn_relu": lambda layers: RNNPolicy(SPEC, 8, layers, hidden_nonlin="relu"),
    "gru": lambda layers: GRUPolicy(SPEC, 8, layers),
    "lstm": lambda layers: LSTMPolicy(SPEC, 8, layers, output_nonlin=torch.tanh),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_parity_over_a_long_run_with_resets(tmp_path, kind, layers, suffix):
    torch.manual_seed(layers)
    policy = KINDS[kind](layers).eval()
    path = tmp_path / f"policy{suffix}"
    contract = export(policy, path)
    observations, resets = trajectory(2000)
    expected = run_policy(policy, observations, resets)
    assert np.abs(run_file(path, contract, observations, resets) - expected).max() < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # no file beside the artifact
    assert stored_contract(path) == contract
    if suffix == ".onnx":
        operators = [node.op_type for node in onnx.load(path).graph.node]
        assert operators.count(kind.split("_")[0].upper()) == layers


@pytest.mark.sampled(5)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "make",
    [
        EncoderGruPolicy,
        MemorylessPolicy,
        LastActionPolicy,
        lambda: ModulePolicy(nn.Sequential(nn.Linear(ACTIONS, 6), nn.LayerNorm(6), nn.SiLU(), nn.Linear(6, ACTIONS))),
        lambda: DeployablePolicy(
            LSTMPolicy(SPEC, 6, 2, dropout=0.5),
            ObservationNormalizer(np.linspace(-1, 1, OBSERVATIONS), np.linspace(0.5, 2, OBSERVATIONS)),
            ActionMap(scale=np.array([2.0, 3.0]), offset=np.array([0.5, 0.0]), squash=True),
        ),
    ],
)
def test_any_policy_that_keeps_to_the_interface(tmp_path, make, suffix):
    torch.manual_seed(0)
    policy = make().train()
    path = tmp_path / f"policy{suffix}"
    contract = export(policy, path)
    assert policy.training
    observations, resets = trajectory(300)
    expected = run_policy(policy.eval(), observations, resets)
    assert np.abs(run_file(path, contract, observations, resets) - expected).max() < 1e-5
