"""The example that trains, exports and flies, in a shortened form."""

from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
import torch

import ganglion
from ganglion.training import load_policy

pytestmark = pytest.mark.deep  # trains


def test_train_export_fly(examples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["08_train_export_fly.py", "--epochs", "2", "--out", str(tmp_path)])
    runpy.run_path(str(examples / "08_train_export_fly.py"), run_name="__main__")
    words = capsys.readouterr().out.split()
    steps = int(words[words.index("steps") - 1])
    assert 3 <= steps <= 1000
    pilot, policy = ganglion.load(tmp_path / "policy.ganglion"), load_policy(tmp_path)
    observation = np.array([0.02, -0.03], np.float32)
    expected, _ = policy(torch.from_numpy(observation))
    assert pilot.step(observation) == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_the_example_is_short(examples):
    assert len((examples / "08_train_export_fly.py").read_text(encoding="utf-8").splitlines()) < 60
