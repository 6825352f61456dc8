"""`ganglion verify FILE --policy ...`: a file of a policy beside another file of it, and beside its checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ganglion.cli import main

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


def actor() -> torch.nn.Sequential:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ELU(), torch.nn.Linear(16, 2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a training of rsl_rl leaves: the checkpoint, and two files."""
    net = actor()
    torch.jit.trace(net, torch.zeros(1, 8)).save(str(tmp_path / "policy.pt"))
    names = {"input_names": ["obs"], "output_names": ["actions"]}
    torch.onnx.export(net, (torch.zeros(1, 8),), tmp_path / "policy.onnx", dynamo=False, opset_version=17, **names)
    state = {f"actor.{name}": value for name, value in net.state_dict().items()}
    state |= {name.replace("actor.", "critic."): value for name, value in state.items()} | {"std": torch.ones(2)}
    torch.save({"model_state_dict": state, "optimizer_state_dict": {}, "iter": 1500}, tmp_path / "model_1500.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["verify", *arguments, "--steps", "40", "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("folder")
def test_a_file_a_file_and_a_checkpoint_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = ("policy.onnx", "--policy", "policy.pt", "--policy", "model_1500.pt", "--from", "rsl_rl")
    status, document = verified(capsys, *line)
    assert status == 0, document
    assert document["reference"] == "policy.pt, torch.jit forward()"
    engines = [comparison["engine"] for comparison in document["comparisons"]]
    assert engines == ["model_1500.pt", "Python onnxruntime", "C++ onnxruntime", "C++ native"]
    status, document = verified(capsys, "policy.onnx", "--policy", "model_1500.pt", "--from", "rsl_rl")
    assert status == 0 and document["reference"] == "Python policy"
    status, document = verified(capsys, "policy.pt", "--policy", "policy.onnx")
    assert status == 0 and document["reference"] == "policy.onnx, Python onnxruntime"


def test_another_checkpoint_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = torch.load(folder / "model_1500.pt")
    content["model_state_dict"]["actor.0.weight"][3, 2] += 0.1
    torch.save(content, folder / "model_1600.pt")
    line = ("policy.onnx", "--from", "rsl_rl", "--policy", "model_1600.pt", "--policy", "policy.pt")
    status, document = verified(capsys, *line)
    assert status == 1 and document["first_divergence"]["step"] == 0


@pytest.mark.usefixtures("folder")
def test_what_goes_with_a_reference_is_refused_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (("--from", "rsl_rl"), ("--set", "a=1")):
        status, document = verified(capsys, "policy.onnx", *options)
        assert status == 2 and "go with --policy" in document["error"]["message"]
    status, document = verified(capsys, "policy.onnx", "--policy", "policy.onnx")
    assert status == 1 and "nothing was compared" in document["error"]["message"]
