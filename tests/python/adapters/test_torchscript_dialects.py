"""TorchScript files of other trainers in the LibTorch engine, against torch.jit on the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torchscript_files as files
from torchscript_dialects import REFUSED, frozen_with, observations, run_file, write
from torchscript_files import ACTIONS, OBSERVATIONS, UNITS, save

import ganglion
from ganglion.errors import GanglionError, StepError

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")

RECURRENT = [
    *[f"rsl_rl-{kind}-{layers}" for kind in ("lstm", "gru") for layers in (1, 2, 3)],
    *["isaac-lstm-1", "isaac-gru-2", "legged-lstm-1", "legged-lstm-3", "pyrado-float32-2", "pyrado-float64-1"],
]
WITHOUT_MEMORY = ["rsl_rl-mlp-1", "isaac-mlp-1", "plain-mlp-1"]
DIALECT = {"isaac": "rsl_rl", "legged": "legged_gym", "plain": "mlp"}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [*RECURRENT, *WITHOUT_MEMORY])
def test_a_thousand_steps_with_resets(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{name}.pt", name)
    pilot = ganglion.load(path)
    assert pilot.reading.dialect == DIALECT.get(name.split("-")[0], name.split("-")[0])
    given, resets = observations(), {0, 250, 251, 777}
    expected = run_file(path, given, resets)
    for step, observation in enumerate(given):
        if step in resets:
            pilot.reset()
        np.testing.assert_allclose(pilot.step(observation), expected[step], rtol=1e-5, atol=1e-5, err_msg=f"{step}")


@pytest.mark.parametrize("name", ["rsl_rl-lstm-2", "isaac-gru-2", "legged-lstm-1", "pyrado-float64-1"])
def test_the_state_can_be_taken_out_and_put_back(name: str, tmp_path: Path) -> None:
    pilot = ganglion.load(write(tmp_path / f"{name}.pt", name))
    given = observations(30)
    pilot.reset()
    initial = pilot.state().copy()
    for observation in given[:10]:
        pilot.step(observation)
    middle = pilot.state().copy()
    assert not np.array_equal(initial, middle)
    first = [pilot.step(observation) for observation in given[10:]]
    pilot.reset()
    np.testing.assert_array_equal(pilot.state(), initial)
    pilot.step(given[3])
    pilot.set_state(middle)
    np.testing.assert_array_equal(np.stack([pilot.step(observation) for observation in given[10:]]), np.stack(first))


@pytest.mark.parametrize("name", ["rsl_rl-gru-1", "legged-lstm-1", "pyrado-float32-2"])
def test_a_refused_step_keeps_the_old_bytes(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{name}.pt", name)
    pilot, beside = ganglion.load(path), ganglion.load(path)
    given = observations(20)
    action = np.empty(ACTIONS, np.float32)
    for observation in given[:10]:
        pilot.step(observation, out=action)
        beside.step(observation)
    state, kept = pilot.state().copy(), action.copy()
    for bad in (np.full(OBSERVATIONS, np.nan, np.float32), np.full(OBSERVATIONS, 3e38, np.float32) * 0 + np.inf):
        with pytest.raises(StepError):
            pilot.step(bad, out=action)
        np.testing.assert_array_equal(pilot.state(), state)
        np.testing.assert_array_equal(action, kept)
    for observation in given[10:]:
        np.testing.assert_array_equal(pilot.step(observation), beside.step(observation))


class FailsOnDemand(files.Recurrent):
    """Writes its state, and then looks up a row that is not there if the first element says so."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(2, ACTIONS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        action = self.advance(x)
        return action + self.table[(x[:, 0] > 100.0).long() * 5]


def test_an_error_inside_a_step_that_has_written_its_buffers_leaves_no_trace(tmp_path: Path) -> None:
    path = save(FailsOnDemand(), tmp_path / "fails.pt")
    pilot, beside = ganglion.load(path), ganglion.load(path)
    given = observations(10)
    for step, observation in enumerate(given):
        if step == 5:
            state = pilot.state().copy()
            with pytest.raises(StepError, match="engine_failure"):
                pilot.step(np.float32([200.0, 0.0, 0.0, 0.0, 0.0]))
            np.testing.assert_array_equal(pilot.state(), state)
        np.testing.assert_array_equal(pilot.step(observation), beside.step(observation))


@pytest.mark.parametrize("name", ["rsl_rl-lstm-2", "rsl_rl-gru-3", "isaac-lstm-1", "legged-lstm-1", "rsl_rl-mlp-1"])
def test_several_rows_are_several_policies(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{name}.pt", name)
    rows = 3
    pilot, alone = ganglion.load(path, batch=rows), [ganglion.load(path) for _ in range(rows)]
    given = [observations(60, seed) for seed in range(rows)]
    for step in range(60):
        if step == 30:
            pilot.reset([False, True, False])
            alone[1].reset()
        actions = pilot.step(np.stack([sequence[step] for sequence in given]))
        for row in range(rows):
            np.testing.assert_allclose(actions[row], alone[row].step(given[row][step]), rtol=1e-5, atol=1e-5)
    if pilot.contract.state:
        np.testing.assert_allclose(pilot.state(), np.stack([policy.state() for policy in alone]), rtol=1e-5, atol=1e-5)


def test_a_program_for_one_row_is_not_run_with_several(tmp_path: Path) -> None:
    path = save(files.OneRow(), tmp_path / "one_row.pt")
    assert ganglion.load(path).contract.batch == 1
    with pytest.raises((GanglionError, ValueError), match="batch of 2"):
        ganglion.load(path, batch=2)


def test_what_was_recognised_is_said(tmp_path: Path) -> None:
    reading = ganglion.load(write(tmp_path / "a.pt", "rsl_rl-lstm-1")).reading
    assert any(
        note
        == f"buffer hidden_state [1, 1, {UNITS}] is changed by forward(x) and restored by reset(): LSTM hidden state, "
        f"1 layer, {UNITS} units; initial value zeros, as reset() sets it"
        for note in reading.notes
    )
    assert any("cell_state" in note and "LSTM cell state" in note for note in reading.notes)
    assert [(slot.name, slot.shape) for slot in reading.contract.state] == [
        ("hidden_state", (1, UNITS)),
        ("cell_state", (1, UNITS)),
    ]
    reading = ganglion.load(write(tmp_path / "b.pt", "isaac-gru-2")).reading
    assert any("GRU hidden state, 2 layers" in note and "no method that resets it" in note for note in reading.notes)
    reading = ganglion.load(write(tmp_path / "c.pt", "pyrado-float64-1")).reading
    assert any("Double" in note and "7 digits" in note for note in reading.notes)
    assert any("initial value not zeros, as reset() sets it" in note for note in reading.notes)
    np.testing.assert_allclose(reading.contract.initial_state, 0.1)


def test_a_module_that_keeps_its_observation(tmp_path: Path) -> None:
    """Its buffer is then the caller's memory, and its reset the tensor with the initial value: neither is written."""
    path = save(files.KeepsObservation(), tmp_path / "last.pt")
    pilot = ganglion.load(path)
    assert [slot.name for slot in pilot.contract.state] == ["last"]
    given = observations(20)
    expected = run_file(path, given, {0, 10})
    for step, observation in enumerate(given):
        if step in (0, 10):
            pilot.reset()
        np.testing.assert_allclose(pilot.step(observation.copy()), expected[step], rtol=1e-6, atol=1e-6)


def test_an_observation_longer_than_any_matrix(tmp_path: Path) -> None:
    assert ganglion.load(save(files.Split(), tmp_path / "split.pt")).contract.observation_size == 9


def test_a_normaliser_left_in_training_mode_does_not_learn(tmp_path: Path) -> None:
    module = files.IsaacLabExporter("gru").train()
    pilot = ganglion.load(save(module, tmp_path / "train.pt"))
    assert [slot.name for slot in pilot.contract.state] == ["hidden_state"]


def test_named_buffers_are_the_state_and_nothing_else(tmp_path: Path) -> None:
    path = save(files.LearnsAlways(), tmp_path / "learns.pt")
    pilot = ganglion.load(path, state={"hidden_state": "hidden_state"})
    assert [slot.name for slot in pilot.contract.state] == ["hidden_state"]
    assert any("running_mean" in note and "held" in note for note in pilot.reading.notes)
    observation = observations(1)[0]
    first = pilot.step(observation)
    for _ in range(5):
        pilot.step(observation)
    pilot.reset()
    np.testing.assert_array_equal(pilot.step(observation), first)


def test_a_module_that_is_said_to_have_no_state_remembers_nothing(tmp_path: Path) -> None:
    pilot = ganglion.load(write(tmp_path / "a.pt", "legged-lstm-1"), state={})
    assert pilot.contract.state == ()
    observation = observations(1)[0]
    first = pilot.step(observation)
    for _ in range(3):
        np.testing.assert_array_equal(pilot.step(observation), first)
    assert sum("held" in note for note in pilot.reading.notes) == 2


SAID = {
    "state-not-restored": "cell_state",
    "state-not-floating": "steps",
    "normaliser-updates": "running_mean",
    "forward-arguments": "x, command",
    "observation-size-ambiguous": "7 or 4",
    "normaliser-not-finite": "normalizer._std of a normaliser has 1 of 5 elements",
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("code", REFUSED)
def test_a_file_that_cannot_be_taken_is_refused(code: str, tmp_path: Path) -> None:
    path = save(REFUSED[code](), tmp_path / "bad.pt")
    with pytest.raises(GanglionError) as caught:
        ganglion.load(path)
    assert f"[{code}]" in str(caught.value) and SAID.get(code, "") in str(caught.value)


def test_state_outside_of_the_buffers_is_found(tmp_path: Path) -> None:
    with pytest.raises(GanglionError, match=r"\[step-not-repeatable\]"):
        ganglion.load(save(files.HiddenCounter(), tmp_path / "counter.pt"))


def test_an_unknown_buffer_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", "legged-lstm-1")
    with pytest.raises(GanglionError, match=r"no buffer 'h'.*hidden_state, cell_state \[state-buffer-unknown\]"):
        ganglion.load(path, state={"h": "h"})


def test_zero_variance_is_reported(tmp_path: Path) -> None:
    reading = ganglion.load(save(frozen_with("_std", 0.0)(), tmp_path / "zero.pt")).reading
    (finding,) = reading.findings
    assert finding.code == "normaliser-zero-variance"
    assert "1 of 5 elements (the first: 2)" in finding.sentence
