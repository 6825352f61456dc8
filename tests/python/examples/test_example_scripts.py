"""Every numbered example runs, and the C++ one does what the Python one beside it does."""

from __future__ import annotations

import runpy
import subprocess
import sys

import cartpole
import cartpole_policy
import demo
import numpy as np
import pytest
import torch

import ganglion
from ganglion.policies import load_checkpoint

pytestmark = pytest.mark.deep  # runs every example

ARTIFACTS = demo.ENGINES


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    policy, contract = cartpole_policy.load_policy()
    for name in ARTIFACTS.values():
        ganglion.export(policy, folder / name, contract=contract)
    return folder


@pytest.fixture
def run_python(examples, monkeypatch, capsys):
    """Runs an example as a script and returns what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(examples / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def _run_program(program, *arguments):
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, env=demo.cpp_environment(), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.whole  # `make demo` shows it
def test_demo_reports_what_it_flew(run_python, programs, tmp_path, monkeypatch):
    starts = tmp_path / "starts.csv"
    cartpole.write_starts(starts, np.array([[0.1, 0.1, 0.0, 0.0]]))
    monkeypatch.setattr(cartpole, "STARTS_FILE", starts)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        run_python("demo.py", "--fly-binary", programs / "02_fly_cartpole", "-o", out)
    assert stop.value.code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Every pole stayed up" in page
    assert '"framesPerSecond"' in page
    for needed in ("http://", "<script src", "<link"):
        assert needed not in page
    assert page.count("https://") == 1  # of uPlot's licence line
    assert (out / "cartpole.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob(".*"))
    assert ganglion.replay(out / "flight.mcap").verdict == "the same flight bit for bit: 10,000 steps"
    assert "As it should be" in (out / "flight.html").read_text(encoding="utf-8")


def test_training_runs_and_saves_a_checkpoint(run_python, tmp_path):
    shipped = cartpole_policy.CHECKPOINT_FILE.read_bytes()
    out = run_python("01_train_cartpole.py", "--quick", "-o", tmp_path / "policy.ckpt")
    assert "memory erased" in out
    assert [file.name for file in tmp_path.iterdir()] == ["policy.ckpt"]
    trained = load_checkpoint(tmp_path / "policy.ckpt")
    assert trained.hidden_size == cartpole_policy.load_policy()[0].hidden_size
    assert cartpole_policy.CHECKPOINT_FILE.read_bytes() == shipped


def test_shipped_checkpoint_is_small():
    assert cartpole_policy.CHECKPOINT_FILE.stat().st_size < 300 * 1024


@pytest.mark.parametrize("name", ["03_minimal_embed", "04_batch_masked_reset", "05_plain_libtorch"])
def test_small_example_prints_the_same_in_both_languages(run_python, programs, tmp_path, name):
    artifact = {"04_batch_masked_reset": "robots.ganglion", "05_plain_libtorch": "policy.pt"}.get(
        name, "policy.ganglion"
    )
    if not (programs / name).exists():
        pytest.skip(f"{name} is not built here")
    from_python = run_python(f"{name}.py", tmp_path)
    found = _run_program(programs / name, tmp_path / artifact)
    assert found.returncode == 0, found.stderr
    assert found.stdout == from_python
    assert len(set(from_python.splitlines())) >= 5


def test_c_prints_what_python_does(run_python, programs, tmp_path):
    from_python = run_python("03_minimal_embed.py", tmp_path)
    found = _run_program(programs / "12_minimal_embed", tmp_path / "policy.ganglion")
    assert found.returncode == 0, found.stderr
    assert found.stdout == from_python


def test_every_family_flies_the_same_in_both_languages(run_python, programs, tmp_path):
    from_python = run_python("07_policy_families.py", tmp_path)
    found = _run_program(programs / "07_policy_families", *sorted(tmp_path.glob("*.ganglion")))
    assert found.returncode == 0, found.stderr
    assert found.stdout == from_python
    assert from_python.count("\n") == 5 and from_python.count("drew") == 3


def test_a_recorded_flight_is_had_again(run_python, programs, artifacts, tmp_path):
    here, there = tmp_path / "python.mcap", tmp_path / "cpp.mcap"
    for recording, arguments in ((here, (artifacts / "policy.ganglion",)), (there, ())):
        if not arguments:
            found = _run_program(
                programs / "09_record_and_replay", artifacts / "policy.ganglion", cartpole.MODEL_FILE, recording
            )
            assert found.returncode == 0 and ", 0 dropped" in found.stdout, found.stderr
        with pytest.raises(SystemExit) as stop:
            run_python("09_record_and_replay.py", recording, *arguments)
        assert stop.value.code == 0
        flight = ganglion.flight.read(recording)
        assert flight.cut is None and not flight.gaps and len(flight.policy().steps) == 10_000
        assert ganglion.replay(recording, from_step=5000).ok and recording.with_suffix(".html").exists()


def test_a_policy_engages_from_rest_and_is_exchanged_in_the_air(programs, artifacts, tmp_path):
    policy, contract = cartpole_policy.load_policy()
    candidate, recording = tmp_path / "candidate.ganglion", tmp_path / "flight.mcap"
    ganglion.export(policy, candidate, contract=contract, weights="float16")
    program = programs / "10_engage_and_exchange"
    found = _run_program(program, artifacts / "policy.ganglion", candidate, cartpole.MODEL_FILE, recording)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "took over" in found.stdout and "the force never jumped" in found.stdout
    assert ganglion.replay(recording).ok
    # One that differs stays on the ground, and the pole up.
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3)
    ganglion.export(policy, candidate, contract=contract)
    found = _run_program(program, artifacts / "policy.ganglion", candidate, cartpole.MODEL_FILE, recording)
    assert found.returncode == 1 and "was rejected: it was off by" in found.stdout, found.stdout + found.stderr


def test_masked_reset_example_restarts_the_rows_it_names(run_python, tmp_path):
    lines = run_python("04_batch_masked_reset.py", tmp_path).splitlines()
    started_over = [line.split()[1] for line in lines if "started over" in line]
    assert (len(lines), started_over) == (8, ["1", "4", "7"])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("engine", ARTIFACTS)
def test_flight_from_cpp_is_the_flight_from_python(programs, artifacts, tmp_path, engine):
    starts = tmp_path / "starts.csv"
    cartpole.write_starts(starts, cartpole.perturbed_starts(2, seed=99))
    artifact = artifacts / ARTIFACTS[engine]
    found = _run_program(
        programs / "02_fly_cartpole",
        *(artifact, cartpole.MODEL_FILE, tmp_path / "cpp.csv", "--starts", starts, "--engine", engine),
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{engine}: balanced, worst angle ")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cpp.csv", "starts.csv"]

    pilot = ganglion.load(artifact, engine=engine)
    model = cartpole.load_model()
    here = cartpole.fly(model, lambda seen: float(pilot.step(seen)[0]), pilot.reset, cartpole.read_starts(starts))
    there = cartpole.Trace.load(tmp_path / "cpp.csv")
    np.testing.assert_array_equal(there.flight, here.flight)
    np.testing.assert_array_equal(there.time_s, here.time_s)
    # The same engine and the same simulator: not close, but equal.
    np.testing.assert_array_equal(there.observation, here.observation)
    np.testing.assert_array_equal(there.force, here.force)
    np.testing.assert_array_equal(there.pole_angle, here.pole_angle)
    assert there.balanced


def test_flight_script_answers_zero_only_when_balanced(run_python, artifacts, tmp_path):
    starts = tmp_path / "starts.csv"
    cartpole.write_starts(starts, np.array([[0.1, 0.1, 0.0, 0.0]]))
    for arguments in ((artifacts / "policy.ganglion",), ()):
        with pytest.raises(SystemExit) as stop:
            run_python("02_fly_cartpole.py", tmp_path / "trace.csv", *arguments, "--starts", starts)
        assert stop.value.code == 0
        assert cartpole.Trace.load(tmp_path / "trace.csv").balanced
    cartpole.write_starts(starts, np.array([[0.0, 0.7, 0.0, 1.0]]))
    with pytest.raises(SystemExit) as stop:
        run_python("02_fly_cartpole.py", tmp_path / "trace.csv", artifacts / "policy.ganglion", "--starts", starts)
    assert stop.value.code == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifact": "missing.onnx"}, "missing.onnx"),
        ({"starts": "no numbers\nx,y\n"}, "four numbers a line"),
        ({"starts": ""}, "no starts"),
        ({"model": "<mujoco/>"}, "two joints and one motor"),
        ({"engine": "steam"}, "unknown engine 'steam'"),
    ],
    ids=["missing artifact", "bad starts", "empty starts", "another model", "unknown engine"],
)
def test_flight_program_refuses_bad_input_with_a_sentence(programs, artifacts, tmp_path, change, message):
    starts, model = tmp_path / "starts.csv", tmp_path / "model.xml"
    starts.write_text(change.get("starts", cartpole.STARTS_FILE.read_text()))
    model.write_text(change.get("model", cartpole.MODEL_FILE.read_text()))
    out = tmp_path / "out.csv"
    artifact = artifacts / change.get("artifact", "policy.onnx")
    engine = change.get("engine", "onnxruntime")
    found = _run_program(programs / "02_fly_cartpole", artifact, model, out, "--starts", starts, "--engine", engine)
    assert found.returncode == 2
    assert message in found.stderr
    assert not out.exists()
