"""`ganglion-run --loop`: a policy in a real loop on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.spaces import Box

import ganglion
from ganglion.data import EnvSpec
from ganglion.policies import LSTMPolicy
from ganglion.runtime.libtorch_build import package_data

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
RUN = package_data() / "bin" / "ganglion-run"
LSTM = ARTIFACTS / "lstm.ganglion"


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (RUN, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def flight(*arguments: object) -> dict[str, Any]:
    found = run("--loop", 500, "--seconds", 0.5, "--json", *arguments)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def trained_at(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    box = Box(-1.0, 1.0, (3,))
    policy = LSTMPolicy(EnvSpec(box, box), hidden_size=8, num_recurrent_layers=1)
    folder = tmp_path_factory.mktemp("policies")

    def exported(period_s: float) -> Path:
        path = folder / f"{period_s}.ganglion"
        ganglion.export(policy, path, contract=policy.contract(batch=1, period_s=period_s))
        return path

    return exported


def test_every_tick_is_counted_and_every_time_is_there() -> None:
    found = flight(LSTM)
    assert found["ticks"] + found["missed"] == 250 and found["steps"] == found["ticks"]
    assert (found["engine"], found["batch"], found["loop_hz"], found["cadence"]) == ("native", 1, 500, False)
    for times in (found["wake_us"], found["step_us"]):
        assert list(times) == ["p50", "p99", "p999", "p9999", "max"]
        assert sorted(times.values()) == list(times.values())
    assert found["wake_us"]["p50"] > 0.0 and found["step_us"]["p50"] > 0.0
    assert found["refused"] == 0 and found["waits"] > 0.9 * found["ticks"] > 0
    assert found["page_faults"] >= found["page_faults_from_disk"] >= 0 and found["interruptions"] >= 0


@pytest.mark.deep
def test_a_policy_of_a_longer_period_is_stepped_at_its_own(trained_at: Any) -> None:
    found = flight(trained_at(0.02))
    assert found["cadence"] is True
    assert 20 <= found["steps"] <= 26  # every tenth tick, in half a second
    table = run("--loop", 500, "--seconds", 0.1, trained_at(0.02))
    assert "trained at 0.02 s a step: a ganglion::Cadence steps it in this faster loop" in table.stdout
    assert "it is stepped in every tick" in run("--loop", 500, "--seconds", 0.1, trained_at(0.002)).stdout
    slow = run("--loop", 500, "--seconds", 0.1, trained_at(0.0005))
    assert slow.returncode == 0 and "this loop is too slow for it" in slow.stdout


def test_the_table_says_what_was_allowed() -> None:
    cpu = min(os.sched_getaffinity(0))
    table = run("--loop", 1000, "--seconds", 0.2, "--priority", 80, "--cpu", cpu, LSTM).stdout
    assert f"on CPU {cpu} alone" in table
    rows = re.findall(r"^  (?:woken too late by|step) +((?:[\d.]+ *){5})$", table, re.MULTILINE)
    assert len(rows) == 2 and "p99.99" in table
    assert re.search(r"ticks \d+, missed \d+; steps \d+\n  page faults \d+, \d+ of them from disk; context", table)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_what_is_not_allowed_is_said_and_it_goes_on() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are root's alone
        Path(folder).chmod(0o755)
        program, file = (Path(shutil.copy(path, folder)) for path in (RUN, LSTM))
        file.chmod(0o644)
        limits = ("prlimit", "--rtprio=0", "--memlock=65536")
        command = [*limits, program, "--loop", "200", "--seconds", "0.1", "--cpu", "4095", file]
        found = subprocess.run(command, capture_output=True, text=True, check=False, user=65534, group=65534)
    assert found.returncode == 0, found.stderr
    for what in ("CPU 4095", "SCHED_FIFO at priority 50", "memory is not kept in RAM"):
        assert re.search(rf"not allowed: .*{what}.*; .*(raise|name) ", found.stdout), found.stdout
    assert "  allowed: " not in found.stdout and "ticks 20," in found.stdout


def test_a_trajectory_is_flown_from_its_top_again(tmp_path: Path) -> None:
    trajectory = tmp_path / "in.csv"
    trajectory.write_text("reset,a,b,c\n1,0.1,0.2,0.3\n0,0.2,0.3,0.4\n")
    assert flight(LSTM, trajectory)["refused"] == 0
    trajectory.write_text("reset,a,b,c\n0,0.1,0.2,0.3\n0,nan,0.3,0.4\n")
    found = run("--loop", 500, "--seconds", 0.1, LSTM, trajectory)
    assert found.returncode == 1 and "step" in found.stdout
    assert "25 steps were refused, the first one with non_finite_observation" in found.stderr
    for content, says in (("reset,a,b,c\n0,1,2\n", "line 2, has fewer than 4"), ("reset,a,b,c\n", "there is no step")):
        trajectory.write_text(content)
        found = run("--loop", 500, "--seconds", 0.1, LSTM, trajectory)
        assert found.returncode == 1 and says in found.stderr and not found.stdout


def test_an_interrupt_ends_the_loop_and_prints_its_table() -> None:
    command = [str(RUN), "--loop", "200", "--seconds", "3600", "--json", str(LSTM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(0.6)
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=10)
    assert running.returncode == 0, error
    assert 0 < json.loads(out)["ticks"] < 400


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--loop", 0, LSTM), "--loop needs a positive number"),
        (("--loop", "nan", LSTM), "--loop needs a positive number"),
        (("--loop", "inf", LSTM), "--loop needs a positive number"),
        (("--loop", "1e9", LSTM), "at most 1000000"),
        (("--loop", 100, "--seconds", -1, LSTM), "--seconds needs a positive number"),
        (("--loop", 100, "--priority", 100, LSTM), "from 1 to 99"),
        (("--loop", 100, "--digest", LSTM), "without --state and --digest"),
        (("--loop", 100), "a loop needs an artifact"),
        (("--seconds", 3, LSTM, "in.csv", "out.csv"), "--seconds, --priority, --cpu and --json are of --loop"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(arguments: tuple[object, ...], says: str) -> None:
    found = run(*arguments)
    assert found.returncode == 2 and says in found.stderr
