"""The controller of docs/ros2_control.md: compiled as it stands there, and led through its life."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from c_library import ROOT, library
from pages import blocks

import ganglion

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "tests" / "consumer" / "ros2_control"
ARTIFACT = ROOT / "tests" / "golden" / "artifacts" / "lstm.ganglion"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controller")
    (controller,) = [one for one in blocks(ROOT / "docs" / "ros2_control.md") if one.title == "policy_controller.cpp"]
    (folder / "policy_controller.cpp").write_text(controller.text, encoding="utf-8")
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", FOLDER / "stand_ins", "-I", ROOT / "cpp/include",
         folder / "policy_controller.cpp", FOLDER / "manager.cpp", "-o", folder / "manager",
         "-L", library().parent, "-lganglion"],
        check=True,
    )  # fmt: skip
    return folder / "manager"


def run(manager: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(library().parent)}
    command = [str(one) for one in (manager, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_it_flies_and_forgets_between_two_flights(manager: Path) -> None:
    policy = ganglion.load(ARTIFACT)
    observation = np.full(policy.contract.observation_size, 0.1, np.float32)
    actions = [float(policy.step(observation)[0]) for _ in range(5)]
    done = run(manager, ARTIFACT, policy.contract.observation_size, policy.contract.action_size)
    assert done.returncode == 0, done.stderr
    assert [float(np.float32(line)) for line in done.stdout.split()] == actions * 2


@pytest.mark.parametrize(
    ("artifact", "observations", "says"),
    [("nowhere.ganglion", 3, "nowhere.ganglion"), (ARTIFACT, 4, "the policy takes 3 observations and gives 2 actions")],
)
def test_it_does_not_configure_with_what_is_wrong(
    manager: Path, artifact: object, observations: int, says: str
) -> None:
    done = run(manager, artifact, observations, 2)
    assert done.returncode == 4
    assert says in done.stderr
