"""What was checked is what runs: a file that is replaced while it is loaded never gives a mixture of two."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
import pytest
import torch

import ganglion
from ganglion.policies import EnvSpec, LSTMPolicy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # exports to every engine

SWAP = """
import os, sys, time
first, second, target = sys.argv[1:4]
contents = [open(name, "rb").read() for name in (first, second)]
end = time.time() + 3.0
while time.time() < end:
    for content in contents:
        with open(target + ".new", "wb") as file:
            file.write(content)
        os.replace(target + ".new", target)
"""
OBSERVATION = np.full(2, 0.4, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies of one shape, in every kind of file."""
    made = tmp_path_factory.mktemp("twins")
    box = gym.spaces.Box(-1.0, 1.0, (2,))
    for name, seed in (("a", 0), ("b", 1)):
        torch.manual_seed(seed)
        policy = LSTMPolicy(EnvSpec(box, box), hidden_size=4, num_recurrent_layers=1)
        for suffix in (".ganglion", ".onnx", ".pt"):
            ganglion.export(policy, made / f"{name}{suffix}")
    return made


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("suffix", "engine"), [(".ganglion", "native"), (".onnx", "onnxruntime"), (".onnx", "native"), (".pt", "libtorch")]
)
def test_an_engine_gets_the_bytes_that_were_checked(folder: Path, tmp_path: Path, suffix: str, engine: str) -> None:
    def outcome(path: Path) -> tuple[float, ...]:
        # Without the self-test, which would notice a mixture of a contract and another program, most times.
        pilot = ganglion.load(path, engine=engine, self_test=False, warmup_steps=0)
        return pilot.contract.golden.outputs[0, 0, 0], *pilot.step(OBSERVATION)

    whole = {outcome(folder / f"{name}{suffix}") for name in ("a", "b")}
    target = tmp_path / f"policy{suffix}"
    target.write_bytes((folder / f"a{suffix}").read_bytes())
    arguments = [folder / f"a{suffix}", folder / f"b{suffix}", target]
    with subprocess.Popen([sys.executable, "-c", SWAP, *map(str, arguments)]) as swapping:
        time.sleep(0.2)
        found = set()
        while swapping.poll() is None:
            found.add(outcome(target))
    assert found <= whole
