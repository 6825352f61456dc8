"""The table of docs/coming_from.md: each command line word for word, on a trainer's files, beside its own actions."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from same_actions import TOLERANCE
from trainer_runs import PREPARED, STEPS

import ganglion
from ganglion.adapters import TRAINERS
from ganglion.cli import main

PAGE = (Path(__file__).parents[3] / "docs/coming_from.md").read_text(encoding="utf-8")
ROWS = re.search(r"^\| coming from \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
LINES = [line for row in ROWS[1].splitlines() for line in re.findall(r"`(ganglion [^`]*)`", row)] if ROWS else []


def trainer_of(line: str) -> str:
    words = shlex.split(line)
    return words[words.index("--from") + 1]


def test_every_trainer_has_one_line_and_every_line_a_test() -> None:
    assert ROWS is not None and len(LINES) == len(ROWS[1].splitlines())  # one command a row
    assert sorted(map(trainer_of, LINES)) == sorted(PREPARED) == sorted(TRAINERS)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("line", LINES, ids=trainer_of)
def test_the_line_exports_what_the_library_does(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    told = PREPARED[trainer_of(line)](tmp_path)
    run = told.run
    assert len(run.observation) == STEPS and run.reset.sum() >= 3
    assert np.ptp(run.action, axis=0).min() > 1e-3  # a policy that looks at its observation
    monkeypatch.chdir(tmp_path)
    status = main(shlex.split(line)[1:])
    assert status == 0, capsys.readouterr().err
    pilot = ganglion.load(tmp_path / "policy.onnx")
    for step, (observation, reset) in enumerate(zip(run.observation, run.reset, strict=True)):
        if reset:
            pilot.reset()
        found = np.array(pilot.step(observation)).reshape(-1)
        np.testing.assert_allclose(found, run.action[step], rtol=0, atol=TOLERANCE, err_msg=f"step {step}")
        if told.applied is not None:
            pilot.set_applied_action(told.applied[step])
