"""Gaussian policies in every kind of file: equal to the Python policy over 300 steps with resets."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from header_bits import check_together

import ganglion
from ganglion.export import export
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.garage.gaussian import GaussianGRUPolicy, GaussianLSTMPolicy, GaussianMLPPolicy
from ganglion.policies.normalizer import ObservationNormalizer

if TYPE_CHECKING:
    from pathlib import Path

    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies.garage.base import GaussianPolicy

pytestmark = pytest.mark.deep  # exports every policy to every kind of file

STEPS = 300
TOLERANCE = 1e-5


def ramp(blank: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-0.9, 0.7, len(blank))


STATES = {"hidden_state_init": ramp, "hidden_state_init_trainable": True}
CELL = {"cell_state_init": ramp, "cell_state_init_trainable": True}
POLICIES = {
    "lstm": (GaussianLSTMPolicy, {"hidden_dim": 8, **STATES, **CELL}),
    "lstm_other_nonlinearities": (
        GaussianLSTMPolicy,
        {"hidden_dim": 5, "hidden_nonlinearity": torch.relu, "recurrent_nonlinearity": torch.nn.Hardsigmoid()},
    ),
    "gru": (GaussianGRUPolicy, {"hidden_dim": 8, **STATES}),
    "mlp": (GaussianMLPPolicy, {"hidden_sizes": (8, 7)}),
}
VARIANTS = {
    "with_action": {"state_include_action": True},
    "without_action": {"state_include_action": False, "output_nonlinearity": torch.tanh},
    "normalised": {
        "state_include_action": True,
        "layer_normalization": True,
        "std_share_network": True,
        "output_w_init": functools.partial(torch.nn.init.xavier_uniform_, gain=0.2),
    },
}
everything = pytest.mark.parametrize(
    ("kind", "variant"), [(kind, variant) for kind in POLICIES for variant in VARIANTS]
)


def make(spec: EnvSpec, kind: str, variant: str) -> GaussianPolicy:
    cls, kwargs = POLICIES[kind]
    policy = cls(spec, **kwargs, **VARIANTS[variant])
    # Normalised and fed back at full gain, a random net amplifies rounding until float32 and float64 differ by 1e-5 in
    # Python alone. Output weights above and gains here are small enough for a contraction.
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("recurrent_term.gain"):
                parameter *= 0.3
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    return policy


@pytest.mark.sampled(3)
@everything
@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".ganglion"])
def test_three_rows_with_masked_resets(spec: EnvSpec, tmp_path: Path, kind: str, variant: str, suffix: str) -> None:
    policy = make(spec, kind, variant)
    path = tmp_path / f"policy{suffix}"
    contract = export(policy, path, batch=None)
    assert [tensor.name for tensor in contract.outputs] == ["mean", "log_std"]
    assert contract.state == policy.state_layout
    assert contract.initial_state == tuple(policy.init_hidden().tolist())
    report = ganglion.verify(path, policy, steps=STEPS, batch=3, tolerance=TOLERANCE)
    assert report.ok, report.first_divergence
    assert report.trajectory.reset[1:].any(axis=1).sum() > 1
    assert len(report.runs) == (2 if suffix == ".ganglion" else 3)  # native is compiled in memory
    assert not report.not_run


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".ganglion"])
def test_one_row(spec: EnvSpec, tmp_path: Path, kind: str, suffix: str) -> None:
    policy = make(spec, kind, "with_action")
    path = tmp_path / f"policy{suffix}"
    assert export(policy, path).batch == 1
    assert ganglion.verify(path, policy, steps=STEPS, tolerance=TOLERANCE).ok


@pytest.mark.whole
def test_the_headers_give_the_bits_of_the_engine(spec: EnvSpec, tmp_path: Path) -> None:
    kinds = itertools.product(POLICIES, VARIANTS)
    check_together({(kind, variant): make(spec, kind, variant) for kind, variant in kinds}, tmp_path)


def test_standard_cells_are_single_operations_of_the_native_engine(spec: EnvSpec, tmp_path: Path) -> None:
    for kind, operation in (("lstm", "lstm"), ("gru", "gru")):
        export(make(spec, kind, "without_action"), tmp_path / "policy.ganglion")
        program, _ = ganglion.compiler.file.read(tmp_path / "policy.ganglion")
        assert [op.kind for op in program.ops].count(operation) == 1


def test_sampling_beforehand_leaves_no_trace_in_the_file(spec: EnvSpec, tmp_path: Path) -> None:
    policy = make(spec, "lstm", "with_action")
    policy.reset([True, True])
    policy.get_actions(np.ones((2, 4), np.float32))
    contract = export(policy, tmp_path / "policy.ganglion")
    assert contract.initial_state == tuple(policy.init_hidden().tolist())
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=STEPS).ok


def test_inside_a_deployable_policy(spec: EnvSpec, tmp_path: Path) -> None:
    normalizer = ObservationNormalizer([0.1] * 4, [2.0] * 4)
    policy = DeployablePolicy(make(spec, "lstm", "with_action"), normalizer)
    contract = export(policy, tmp_path / "policy.onnx")
    assert [slot.name for slot in contract.state] == ["prev_action", "h", "c"]
    assert ganglion.verify(tmp_path / "policy.onnx", policy, steps=STEPS).ok
