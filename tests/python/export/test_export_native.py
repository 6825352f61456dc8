"""`.ganglion` files of every policy that the repo has: equal to the Python policy, and complete."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from export_policies import (
    ACTIONS,
    OBSERVATIONS,
    SPEC,
    EncoderGruPolicy,
    LastActionPolicy,
    MemorylessPolicy,
    ModulePolicy,
    run_policy,
    trajectory,
)
from torch import nn

import ganglion
from ganglion.compiler import file
from ganglion.compiler.interpreter import Interpreter
from ganglion.errors import ExportError
from ganglion.export import export
from ganglion.policies import (
    ActionMap,
    DeployablePolicy,
    GRUPolicy,
    LSTMPolicy,
    ObservationNormalizer,
    RNNPolicy,
)

pytestmark = pytest.mark.deep  # exports many policies

STEPS = 2000


def deployable():
    normalizer = ObservationNormalizer(np.linspace(-1, 1, OBSERVATIONS), np.linspace(0.1, 2, OBSERVATIONS), clip=5.0)
    action_map = ActionMap([2.0, 0.5], [0.1, -0.1], low=[-1.0, -0.4], high=[1.0, 0.4])
    return DeployablePolicy(LSTMPolicy(SPEC, 8, 1), normalizer, action_map)


POLICIES = {
    "rnn": lambda: RNNPolicy(SPEC, 8, 2),
    "rnn_relu": lambda: RNNPolicy(SPEC, 8, 3, hidden_nonlin="relu"),
    "gru": lambda: GRUPolicy(SPEC, 8, 2),
    "lstm": lambda: LSTMPolicy(SPEC, 8, 2),
    "lstm_256": lambda: LSTMPolicy(SPEC, 256, 1),
    "deployable": deployable,
    "encoder_gru": EncoderGruPolicy,
    "memoryless": MemorylessPolicy,
    "last_action": LastActionPolicy,
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def run_program(path, observations, resets):
    program, contract = file.read(path)
    return Interpreter(program).run(contract.initial_state, observations[:, None], resets[:, None])[:, 0]


def run_engine(path, observations, resets):
    pilot, actions = ganglion.load(path), []
    assert pilot.realtime_safe
    for observation, reset in zip(observations, resets, strict=True):
        if reset:
            pilot.reset()
        actions.append(pilot.step(observation))
    return np.stack(actions)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", POLICIES)
def test_parity_over_a_long_run(name, tmp_path):
    policy = POLICIES[name]().eval()
    path = tmp_path / "policy.ganglion"
    contract = export(policy, path)
    observations, resets = trajectory(STEPS)
    expected = run_policy(policy, observations, resets)
    for run in (run_program, run_engine):
        np.testing.assert_allclose(run(path, observations, resets)[:, :ACTIONS], expected, rtol=0, atol=1e-5)
    assert list(tmp_path.iterdir()) == [path]
    program, stored = file.read(path)
    assert stored == contract and stored.sha256 == file.digest(program)
    assert stored.state == tuple(policy.state_layout)
    assert stored.golden is not None and stored.golden.steps == 64


@pytest.mark.parametrize("batch", [1, 4, None])
def test_the_batch_is_a_matter_of_the_contract(batch, tmp_path):
    policy = GRUPolicy(SPEC, 8, 1)
    contract = export(policy, tmp_path / "policy.ganglion", batch=batch)
    program, stored = file.read(tmp_path / "policy.ganglion")
    assert contract.batch == stored.batch == batch
    assert stored.golden is not None and stored.golden.rows == (1 if batch == 1 else 3)
    assert program.values[program.inputs[0]].size == OBSERVATIONS
    assert [op.kind for op in program.ops] == ["gru", "affine"]


def test_a_deployable_policy_is_a_few_operations(tmp_path):
    export(deployable(), tmp_path / "policy.ganglion")
    program, _ = file.read(tmp_path / "policy.ganglion")
    kinds = [op.kind for op in program.ops]
    assert kinds.count("lstm") == 1 and kinds.count("affine") == 1 and len(kinds) <= 9


def test_smaller_weights(tmp_path):
    policy = LSTMPolicy(SPEC, 32, 1)
    sizes = {}
    for weights in ("float32", "float16", "int8"):
        path = tmp_path / f"{weights}.ganglion"
        contract = export(policy, path, weights=weights, weight_tolerance=None if weights == "float32" else 0.05)
        assert contract.provenance["weights"].startswith(weights)
        program, _ = file.read(path)
        sizes[weights] = sum(tensor.nbytes for tensor in program.tensors.values())
    assert sizes["float16"] < 0.55 * sizes["float32"] and sizes["int8"] < 0.33 * sizes["float32"]
    with pytest.raises(ExportError, match="int8 weights change an output by up to"):
        export(policy, tmp_path / "none.ganglion", weights="int8", weight_tolerance=1e-6)
    assert not (tmp_path / "none.ganglion").exists()
    for name in ("policy.onnx", "policy.pt"):
        with pytest.raises(ValueError, match="choice of weights"):
            export(policy, tmp_path / name, weights="int8")


def test_what_the_engine_cannot_run_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "policy.ganglion"
    path.write_bytes(b"old")

    class Volume(nn.Module):
        def forward(self, x):
            return x * torch.linalg.det(x[:, :, None] * x[:, None, :])[:, None]

    with pytest.raises(ExportError, match="Det"):
        export(ModulePolicy(Volume()), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_given_contract_is_kept(tmp_path):
    policy = GRUPolicy(SPEC, 8, 1)
    given = dataclasses.replace(
        policy.contract(), period_s=0.02, provenance={"trainer": "me"}, initial_state=(0.25,) * 8, batch=2
    )
    contract = ganglion.export(policy, tmp_path / "policy.ganglion", contract=given)
    assert contract.period_s == 0.02 and contract.provenance["trainer"] == "me"
    assert contract.initial_state == (0.25,) * 8 and contract.batch == 2


def test_a_policy_that_mixes_rows_is_refused(tmp_path):
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(dim=0, keepdim=True) if x.dim() > 1 else x - x

    with pytest.raises(ExportError, match="mixes the rows"):
        export(ModulePolicy(Centred()), tmp_path / "policy.ganglion", batch=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_golden_run_is_exact_on_the_native_engine(batch, tmp_path):
    path = tmp_path / "policy.ganglion"
    export(GRUPolicy(SPEC, 8, 1), path, batch=batch)
    golden = ganglion.inspect(path).golden
    assert len(golden.bits) == golden.rows
    for rows in {batch, *((2, golden.rows + 1) if batch is None else ())} - {None}:
        test = ganglion.load(path, batch=rows).self_test()
        assert "bit for bit" in test.message
        assert test.bits == list(golden.bits[: min(rows, golden.rows)])


def test_other_bits_than_recorded_are_refused(tmp_path):
    path = tmp_path / "policy.ganglion"
    export(GRUPolicy(SPEC, 8, 1), path)
    program, contract = file.read(path)
    other = tuple("0" * 64 for _ in contract.golden.bits)
    contract = dataclasses.replace(contract, golden=dataclasses.replace(contract.golden, bits=other))
    path.write_bytes(file.plain_bytes(program, contract)[0])
    with pytest.raises(ganglion.ParityError, match="missed the recorded bits in row 0"):
        ganglion.load(path)
    # Whoever writes the file again has them of this engine.
    path.write_bytes(file.to_bytes(program, contract)[0])
    assert ganglion.load(path).self_test().ok


def test_other_engines_keep_the_tolerance(tmp_path):
    path = tmp_path / "policy.onnx"
    export(GRUPolicy(SPEC, 8, 1), path)
    assert ganglion.inspect(path).golden.bits == ()
    assert ganglion.load(path).self_test().bits == []
