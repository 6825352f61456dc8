"""Deployment descriptions on the command line: into the function, or into the contract only."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import deployment_networks as networks
import numpy as np
import onnx
import pytest
from test_deployment_unitree import GO2_NAMES

import ganglion
from ganglion.adapters import deployment
from ganglion.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # exports in processes of their own

GO2 = str(networks.GOLDEN / "unitree_go2.yaml")
OBSERVATIONS, ACTIONS = 45, 12
NAMES = ",".join(GO2_NAMES)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for the description, without a contract."""
    path = tmp_path_factory.mktemp("network") / "policy.onnx"
    onnx.save(networks.network("lstm", {"obs": OBSERVATIONS}, ACTIONS)[0], path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[Any, str]:
    found = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert found == status, captured.err
    return json.loads(captured.out), captured.err


def actions(path: Path) -> np.ndarray:
    pilot = ganglion.load(path)
    given = np.random.default_rng(0).normal(size=(20, pilot.contract.observation_size)).astype(np.float32)
    return np.stack([pilot.step(observation).copy() for observation in given])


def test_names_of_the_robot_reach_the_contract(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "policy.ganglion"
    run(capsys, "compile", network, "--deployment", GO2, "--joint-sdk-names", NAMES, "-o", target)
    # Without another order, joints stand in that of the robot's motors.
    assert ganglion.inspect(target).outputs[0].element_names == tuple(GO2_NAMES)


def test_the_robots_own_order_is_a_permutation(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = list(reversed(GO2_NAMES))
    target = tmp_path / "policy.ganglion"
    options = ("--deployment", GO2, "--joint-sdk-names", NAMES, "--joint-order", ", ".join(order))
    run(capsys, "compile", network, *options, "-o", target)
    contract = ganglion.inspect(target)
    assert list(contract.outputs[0].element_names) == order
    expected = deployment.apply(
        onnx.load(network), deployment.read(GO2, joint_sdk_names=GO2_NAMES), robot_joint_names=order
    )
    onnx.save(expected, tmp_path / "expected.onnx")
    np.testing.assert_allclose(actions(target), actions(tmp_path / "expected.onnx"), rtol=0, atol=1e-5)


def test_annotation_only_leaves_the_function(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--deployment", GO2, "--annotate-only", "--joint-sdk-names", NAMES)
    run(capsys, "compile", network, *options, "-o", tmp_path / "policy.ganglion")
    contract = ganglion.inspect(tmp_path / "policy.ganglion")
    np.testing.assert_allclose(actions(tmp_path / "policy.ganglion"), actions(network), rtol=0, atol=1e-5)
    description = deployment.read(GO2, joint_sdk_names=GO2_NAMES)
    assert contract.period_s == 0.02
    # The function is in the order of the training, and so are the names.
    assert contract.outputs[0].element_names == description.actions[0].joint_names != tuple(GO2_NAMES)
    assert contract.inputs[0].element_names[0] == "base_ang_vel.x"
    assert "deployment.applied" not in contract.provenance


def test_an_exported_policy_is_annotated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "import gymnasium, numpy as np\n"
        "from ganglion.policies import EnvSpec, GRUPolicy\n"
        f"spaces = [gymnasium.spaces.Box(-np.inf, np.inf, (n,)) for n in ({OBSERVATIONS}, {ACTIONS})]\n"
        "policy = GRUPolicy(EnvSpec(*spaces), hidden_size=4, num_recurrent_layers=1)\n"
    )
    options = ("--deployment", GO2, "--annotate-only", "--joint-sdk-names", NAMES)
    run(capsys, "export", source, *options, "-o", tmp_path / "policy.ganglion")
    contract = ganglion.inspect(tmp_path / "policy.ganglion")
    assert set(contract.outputs[0].element_names) == set(GO2_NAMES)
    assert contract.inputs[0].element_names[0] == "base_ang_vel.x" and contract.period_s == 0.02


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["compile", "--annotate-only"], "go with --deployment FILE"),
        (["compile", "--joint-order", "a,b"], "go with --deployment FILE"),
        (["export", "--joint-sdk-names", "a,b"], "go with --deployment FILE"),
        (["export", "--deployment", GO2], "--annotate-only, or compile the file"),
        (["compile", "--deployment", GO2, "--annotate-only", "--joint-order", "a"], "one of the two"),
        (["compile", "--deployment", GO2, "--joint-order", "a,b"], "missing: .*not in the description: .*'a', 'b'"),
        (["compile", "--deployment", GO2, "--joint-sdk-names", "a,b"], "joint_sdk_names|motor"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], said: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "policy.ganglion"
    status = main([options[0], str(network), *options[1:], "-o", str(target)])
    error = capsys.readouterr().err
    assert status in (1, 2) and not target.exists()
    assert re.search(said, error), error


def test_a_list_of_names_has_no_gaps(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compile", str(network), "--deployment", GO2, "--joint-order", "a,,b", "-o", "x.ganglion"])
    assert "names with commas between them" in capsys.readouterr().err
