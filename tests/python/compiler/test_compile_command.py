"""`ganglion compile` and the options of `ganglion export` that belong to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ganglion.cli import main
from ganglion.compiler import file

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


@pytest.fixture
def run(capsys):
    def call(*arguments):
        capsys.readouterr()
        status = main(["compile", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, json.loads(out) if "--json" in arguments else out, err

    return call


def test_it_writes_the_file_and_says_what_it_did(run, tmp_path):
    target = tmp_path / "policy.ganglion"
    status, out, _ = run(ARTIFACTS / "lstm.onnx", "-o", target)
    assert status == 0 and list(tmp_path.iterdir()) == [target]
    assert "float32 weights" in out and "lstm, lstm, affine" in out and "h [2, 8]" in out
    program, contract = file.read(target)
    assert program.scheme == "float32" and contract.sha256 == file.digest(program)


def test_json(run, tmp_path):
    target = tmp_path / "policy.ganglion"
    status, document, _ = run(
        ARTIFACTS / "rsl_rl_gru.onnx", "-o", target, "--weights", "int8", "--tolerance", "0.05", "--json"
    )
    assert status == 0 and document["ok"] is True
    assert document["bytes"] == target.stat().st_size
    assert document["bytes_before"] == (ARTIFACTS / "rsl_rl_gru.onnx").stat().st_size
    assert document["weights"] in ("int8x8", "int8x16") and 0 < document["weights_error"] < 0.05
    assert document["operations"] == ["gru", "gru", "affine", "affine"]
    assert document["contract"]["provenance"]["weights_error"] == f"{document['weights_error']:.1e}"


def test_a_missed_tolerance_says_what_was_reached_and_leaves_nothing(run, tmp_path):
    target = tmp_path / "policy.ganglion"
    status, _, err = run(ARTIFACTS / "lstm.onnx", "-o", target, "--weights", "int8", "--tolerance", "1e-6")
    assert status == 1 and not list(tmp_path.iterdir())
    assert "int8 weights change an output by up to" in err


def test_a_recording_is_measured_too(run, tmp_path):
    recording = tmp_path / "run.npz"
    observation = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32) * 20
    np.savez(recording, observation=observation, reset=np.arange(300) == 100)
    arguments = (ARTIFACTS / "lstm.onnx", "-o", tmp_path / "policy.ganglion", "--weights", "float16", "--json")
    _, without, _ = run(*arguments)
    status, document, _ = run(*arguments, "--recording", recording)
    assert status == 0 and document["weights_error"] >= without["weights_error"]
    np.savez(recording, observation=observation[:, :2])
    status, _, err = run(*arguments, "--recording", recording)
    assert status == 1 and "the policy takes 3" in err


def test_a_header_comes_from_the_same_program(run, tmp_path):
    target = tmp_path / "policy.hpp"
    status, _, _ = run(ARTIFACTS / "lstm.onnx", "-o", target)
    assert status == 0 and "namespace policy" in target.read_text(encoding="ascii")
    options = (ARTIFACTS / "lstm.onnx", "-o", tmp_path / "policy.h", "--weights", "int8")
    status, document, _ = run(*options, "--json")
    assert status == 0 and "policy_step(" in (tmp_path / "policy.h").read_text(encoding="ascii")
    assert 0 < document["memory"]["flash_bytes"] < document["bytes"]
    status, shown, _ = run(*options)
    memory = document["memory"]
    assert f"flash: {memory['flash_bytes']:,} bytes and the code" in shown
    assert f"RAM: {memory['ram_bytes']:,} bytes for a robot" in shown


def test_refusals(run, tmp_path):
    status, document, err = run(ARTIFACTS / "faulty.onnx", "-o", tmp_path / "x.ganglion", "--json")
    assert status == 1 and "torch.clamp(index, 0, 3)" in err and document["error"]["type"] == "ExportError"
    status, _, err = run(tmp_path / "nobody.onnx", "-o", tmp_path / "x.ganglion")
    assert status == 1 and "No such file" in err
    for arguments in (
        ["compile", "x.onnx", "-o", "x.onnx"],
        ["compile", "x.onnx"],
        ["compile", "x.onnx", "-o", "x.ganglion", "--weights", "int4"],
        ["compile", "x.onnx", "-o", "x.ganglion", "--tolerance", "0"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
