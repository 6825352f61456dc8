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

# Deep: exports and verifies TorchScript of every form.
pytestmark = [
    pytest.mark.deep,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"),
]


def saved(folder, module, how="script", example=STEP):
    path = folder / "policy.pt"
    module = module.eval()
    made = torch.jit.script(module) if how != "trace" else torch.jit.trace(module, example)
    resets = ["reset"] if how == "freeze" and hasattr(module, "reset") else []
    torch.jit.save(torch.jit.freeze(made, resets) if how == "freeze" else made, str(path))
    return path


def found(path, observation=None):
    """What both readers find, and how many elements the state has for both."""
    in_cpp = ganglion.explain(path, observation=observation)
    with torch.no_grad():
        here = read(torch.jit.load(str(path)).eval(), observation=observation and {"": observation})
    assert here.findings == in_cpp.findings
    assert [slot.path for slot in here.state] == [slot.name for slot in in_cpp.contract.state]
    return in_cpp.findings


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


@pytest.mark.parametrize("how", ["script", "freeze", "trace"])
@pytest.mark.parametrize("name", files.WINDOWS)
def test_a_window_with_its_state_fed_back_is_found(tmp_path, name, how):
    make, says = files.WINDOWS[name]
    if name.startswith("cells") and how == "trace":
        pytest.skip("a trace takes cells apart")
    example = (torch.zeros(1, 60), *[torch.zeros(1, 1, 16)] * (name == "argument"))
    path = saved(tmp_path, make(), how, example)
    (finding,) = found(path, observation=60)
    assert finding.code == "window-with-state"
    assert "runs over a sequence of length 10" in finding.sentence
    assert finding.sentence.startswith(says if how != "freeze" else says.partition(" '")[0])
    with pytest.warns(UserWarning, match="window-with-state"):
        ganglion.load(path, observation=60)


def test_a_cell_that_a_trace_has_taken_apart_forgets_too(tmp_path):
    (finding,) = found(saved(tmp_path, files.KeepsGruCell(), "trace"))
    assert finding.code == "state-forgotten"
    assert "'cell.weight_ih'" in finding.sentence


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
