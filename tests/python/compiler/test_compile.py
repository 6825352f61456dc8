"""`ganglion.compile`: all that the command does, as a call; see also test_compile_command.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import deployment_networks as networks
import numpy as np
import onnx
import pytest

import ganglion
from ganglion.adapters import deployment
from ganglion.compiler import file

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
MOTORS = [f"motor_{index}" for index in range(12)]
GO2 = networks.GOLDEN / "unitree_go2.yaml"


def test_it_says_what_it_did(tmp_path):
    source, target = ARTIFACTS / "rsl_rl_gru.onnx", tmp_path / "policy.ganglion"
    report = ganglion.compile(source, target, weights="int8", tolerance=0.05)
    program, contract = file.read(target)
    assert report.path == target and report.contract == contract and report.scheme == program.scheme
    assert report.scheme in ("int8x8", "int8x16") and 0.0 < report.weights_error < 0.05
    assert report.operations == ("gru", "gru", "affine", "affine") and report.findings == ()
    assert (report.bytes_before, report.bytes_after) == (source.stat().st_size, target.stat().st_size)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.scheme = "float32"


@pytest.mark.parametrize("name", ["lstm.onnx", "lstm.pt"])
def test_both_kinds_of_file(name, tmp_path):
    report = ganglion.compile(ARTIFACTS / name, tmp_path / "policy.ganglion")
    assert report.weights_error is None and report.scheme == "float32"
    pilot, origin = ganglion.load(report.path), ganglion.load(ARTIFACTS / name)
    for observation in np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32):
        np.testing.assert_allclose(pilot.step(observation), origin.step(observation), atol=1e-5)


def test_a_header(tmp_path):
    report = ganglion.compile(ARTIFACTS / "lstm.onnx", tmp_path / "policy.hpp")
    assert report.contract.batch == 1 and "namespace policy" in report.path.read_text(encoding="ascii")


def test_a_description_may_have_been_read_already(tmp_path):
    network = tmp_path / "network.onnx"
    onnx.save(networks.network("lstm", {"obs": 45}, 12)[0], network)
    description = deployment.read(GO2, joint_sdk_names=MOTORS)
    made = ganglion.compile(network, tmp_path / "a.ganglion", deployment=description)
    again = ganglion.compile(network, tmp_path / "b.ganglion", deployment=GO2, joint_sdk_names=MOTORS)
    assert made.contract.sha256 == again.contract.sha256
    assert made.contract.outputs[0].element_names == tuple(MOTORS)
    with pytest.raises(ValueError, match="joint_sdk_names go with the path"):
        ganglion.compile(network, tmp_path / "c.ganglion", deployment=description, joint_sdk_names=MOTORS)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"annotate_only": True}, "go with a deployment description"),
        ({"joint_order": ["a"]}, "go with a deployment description"),
        ({"joint_sdk_names": ["a"]}, "go with a deployment description"),
        ({"deployment": GO2, "annotate_only": True, "joint_order": ["a"]}, "one of the two"),
        ({"weights": "int4"}, "int4"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_arguments_that_do_not_fit(options, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        ganglion.compile(ARTIFACTS / "lstm.onnx", tmp_path / "policy.ganglion", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("policy.onnx", r"unknown suffix '\.onnx'; use \.ganglion, \.hpp \(C\+\+ header\) or \.h"),
        ("nowhere/policy.ganglion", "does not exist"),
    ],
)
def test_bad_targets(name, match, tmp_path):
    with pytest.raises(ganglion.ExportError, match=match):
        ganglion.compile(ARTIFACTS / "lstm.onnx", tmp_path / name)
