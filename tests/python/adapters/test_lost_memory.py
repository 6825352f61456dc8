"""Recurrent nodes that forget between steps, or move by more than one observation: found in every command."""

from __future__ import annotations

import json
import warnings

import memory_files as files
import numpy as np
import pytest
import torch
from memory_files import OBSERVATIONS, STATE, STEP, UNITS, to_onnx
from torch import nn

import ganglion
from ganglion.cli import main

WINDOW = (torch.zeros(1, 10, OBSERVATIONS),)
FORGETFUL = {
    "no state": (lambda: files.NoState(), STEP, ["obs"], ["actions"], "remembers nothing between steps"),
    "gru": (lambda: files.NoState(nn.GRU), STEP, ["obs"], ["actions"], "GRU node '/rnn/GRU' starts from a constant"),
    "rnn": (lambda: files.NoState(nn.RNN), STEP, ["obs"], ["actions"], "RNN node '/rnn/RNN' starts from a constant"),
    "buffers": (lambda: files.InBuffers(), STEP, ["obs"], ["actions"], "(h_in -> h_out, c_in -> c_out)"),
    "h alone": (
        lambda: files.OnlyHidden(),
        STEP + STATE,
        ["obs", "h_in"],
        ["actions", "h_out"],
        "given its hidden state, but its cell state starts from a constant",
    ),
    "c alone": (
        lambda: files.OnlyCell(),
        STEP + STATE,
        ["obs", "c_in"],
        ["actions", "c_out"],
        "given its cell state, but its hidden state starts from a constant",
    ),
    "window": (lambda: files.WindowAlone(), WINDOW, ["obs"], ["actions"], "reads a window of 10 observations"),
}


def written(folder, name):
    make, example, inputs, outputs, says = FORGETFUL[name]
    return to_onnx(folder / "policy.onnx", make(), example, inputs, outputs), says


@pytest.mark.parametrize("name", FORGETFUL)
def test_what_forgets_is_found(tmp_path, name):
    path, says = written(tmp_path, name)
    (finding,) = ganglion.explain(path).findings
    assert finding.code == "state-forgotten"
    assert says in finding.sentence
    with pytest.warns(UserWarning, match="state-forgotten"):
        pilot = ganglion.load(path)
    assert [found.code for found in pilot.reading.findings] == ["state-forgotten"]


class FromZeros(nn.Module):
    """A cell that is written out, from zeros."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = kind(OBSERVATIONS, UNITS), nn.Linear(UNITS, 3)

    def forward(self, x):
        after = self.cell(x)
        return self.head(after if isinstance(after, torch.Tensor) else after[0])


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    "make", [lambda: FromZeros(nn.LSTMCell), lambda: FromZeros(nn.RNNCell), lambda: files.NoState(nn.RNN)]
)
def test_a_cell_that_is_written_out_forgets_too(tmp_path, make, dynamo):
    keys = {"dynamo": True, "opset_version": 18} if dynamo else {}
    path = to_onnx(tmp_path / "cell.onnx", make(), STEP, ["obs"], ["actions"], **keys)
    assert [finding.code for finding in ganglion.explain(path).findings] == ["state-forgotten"]


def test_every_command_says_so_and_so_does_what_was_made_of_the_file(tmp_path, capsys):
    path, _ = written(tmp_path, "h alone")
    made = tmp_path / "policy.ganglion"
    commands = [
        ["inspect", str(path)],
        ["compile", str(path), "-o", str(made)],
        ["verify", str(path), "--steps", "20"],
        ["bench", str(path), "--steps", "20"],
        ["inspect", str(made)],
        ["verify", str(made), "--steps", "20"],
    ]
    for command in commands:
        main([*command, "--json"])
        text = capsys.readouterr().out
        assert "state-forgotten" in text, command
        assert "cell state starts from a constant" in json.dumps(json.loads(text)), command
        main(command)
        assert "[state-forgotten]" in capsys.readouterr().out, command
    with pytest.warns(UserWarning, match="cell state starts from a constant"):
        assert ganglion.load(made).reading.findings == ganglion.explain(path).findings


def test_two_findings_of_one_code_are_both_kept(tmp_path):
    class Two(files.NoState):
        def __init__(self):
            super().__init__()
            self.second = nn.GRU(UNITS, UNITS)

        def forward(self, x):
            return self.head(self.second(self.rnn(x.unsqueeze(0))[0])[0].squeeze(0))

    path = to_onnx(tmp_path / "two.onnx", Two(), STEP, ["obs"], ["actions"])
    report = ganglion.compile(path, tmp_path / "two.ganglion")
    assert len(report.findings) == 2
    assert set(ganglion.explain(tmp_path / "two.ganglion").findings) == set(report.findings)
    # A header says it among its notes.
    ganglion.compile(path, tmp_path / "two.hpp")
    assert (tmp_path / "two.hpp").read_text().count("finding:state-forgotten") == 2


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_memory_that_is_fed_is_no_finding(tmp_path, dynamo):
    names = ["obs", "h_in", "c_in"], ["actions", "h_out", "c_out"]
    path = to_onnx(
        tmp_path / "both.onnx", files.Both(), (*STEP, *(part.clone() for part in STATE * 2)), *names, dynamo=dynamo
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ganglion.load(path).reading.findings == ()


def test_a_window_with_its_state_fed_back_is_found(tmp_path):
    names = ["obs", "h_in"], ["actions", "h_out"]
    path = to_onnx(tmp_path / "window.onnx", files.Window(), WINDOW + STATE, *names)
    (finding,) = ganglion.explain(path).findings
    assert finding.code == "window-with-state"
    assert "runs over a sequence of length 10" in finding.sentence
    single = (torch.zeros(1, 1, OBSERVATIONS),)
    path = to_onnx(tmp_path / "single.onnx", files.Window(), single + STATE, *names)
    assert ganglion.explain(path).findings == ()


@pytest.mark.parametrize("used", [False, True])
def test_a_state_that_only_goes_through_is_a_note(tmp_path, used):
    axes = {"dynamic_axes": {name: {0: "batch"} for name in ("obs", "state_ins", "output", "state_outs")}}
    example = (torch.zeros(1, 8), torch.zeros(1))
    names = ["obs", "state_ins"], ["output", "state_outs"]
    path = to_onnx(tmp_path / "godot.onnx", files.Passes(used), example, *names, **axes)
    reading = ganglion.explain(path)
    assert [finding.code for finding in reading.findings] == (["state-constant"] if used else [])
    assert any("used for nothing" in note for note in reading.notes) != used
    if not used:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ganglion.load(path).step(np.zeros(8, np.float32))
