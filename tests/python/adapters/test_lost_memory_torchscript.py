"""The memory of TorchScript files, and actions that never change: both readers say the same."""

from __future__ import annotations

import warnings

import forgetful_torchscript as files
import pytest
import torch
from forgetful_torchscript import FORGETS, REMEMBERS
from memory_files import STEP

import ganglion
from ganglion.adapters.torchscript import load
from ganglion.cli import main
from ganglion.reading.torchscript import read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


def saved(folder, module, how="script"):
    path = folder / "policy.pt"
    module = module.eval()
    made = torch.jit.script(module) if how != "trace" else torch.jit.trace(module, STEP)
    torch.jit.save(torch.jit.freeze(made) if how == "freeze" else made, str(path))
    return path


def found(path):
    """What both readers find."""
    in_cpp = ganglion.explain(path).findings
    with torch.no_grad():
        assert read(torch.jit.load(str(path)).eval()).findings == in_cpp
    return in_cpp


@pytest.mark.parametrize("name", FORGETS)
def test_what_forgets_is_found(tmp_path, name):
    make, says = FORGETS[name]
    (finding,) = found(saved(tmp_path, make()))
    assert finding.code == "state-forgotten"
    assert says in finding.sentence
    with pytest.warns(UserWarning, match="state-forgotten"):
        ganglion.load(tmp_path / "policy.pt")


@pytest.mark.parametrize("name", REMEMBERS)
def test_what_remembers_is_no_finding(tmp_path, name):
    path = saved(tmp_path, REMEMBERS[name]())
    assert found(path) == ()
    assert ganglion.explain(path).contract.hidden_size > 0


@pytest.mark.parametrize("name", ["lstm", "optional", "h alone"])
def test_a_frozen_program_forgets_too(tmp_path, name):
    (finding,) = found(saved(tmp_path, FORGETS[name][0](), "freeze"))
    assert finding.code == "state-forgotten"


def test_every_command_says_so_and_so_does_what_was_made_of_the_file(tmp_path, capsys):
    path, made = saved(tmp_path, FORGETS["h alone"][0]()), tmp_path / "made.ganglion"
    commands = [
        ["inspect", str(path)],
        ["compile", str(path), "-o", str(made)],
        ["verify", str(path), "--steps", "20"],
        ["inspect", str(made)],
    ]
    for command in commands:
        main(command)
        assert "[state-forgotten]" in capsys.readouterr().out, command
    path = saved(tmp_path, FORGETS["lstm"][0]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = load(path)
    for target in ("again.onnx", "again.ganglion"):
        ganglion.export(policy, tmp_path / target)
        assert ganglion.explain(tmp_path / target).findings == policy.findings


def test_an_action_that_never_changes_is_found(tmp_path):
    (finding,) = found(saved(tmp_path, files.Constant()))
    assert finding.code == "action-constant"
    assert "7 different observations" in finding.sentence
    assert found(saved(tmp_path, files.Constant(clipped=True))) == ()
