"""The files of rsl_rl's own exporters, as they come, by every engine beside rsl_rl's own Python."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import rsl_rl_files as files
import torch

import ganglion
from ganglion.verify.steppers import file_steppers

torch.set_num_threads(1)

SLOTS = {"mlp": 0, "lstm": 2, "gru": 1}
"""Tensors of recurrent state by kind of model."""
STEPS = 400


@pytest.fixture(scope="module", params=files.MODELS)
def exported(request, tmp_path_factory):
    """Kind of the model, the folder with its files, and what rsl_rl did with one row; all with a normaliser."""
    folder = tmp_path_factory.mktemp(request.param)
    runner = files.train(files.configuration(files.MODELS[request.param]))
    files.export_real(runner, folder)
    return request.param, folder, files.record_runner(runner, steps=STEPS)


def check(recording, step, reset):
    """Runs along a recording: `step` maps `[n]` to the action, `reset` restores the initial state."""
    for index, observation in enumerate(recording.observation[:, 0]):
        if recording.reset[index, 0]:
            reset()
        error = np.abs(np.asarray(step(observation)).reshape(-1) - recording.action[index, 0]).max()
        assert error < 1e-5, f"step {index}: {error}"


@pytest.mark.sampled(3)
def test_the_recording_shows_resets_and_states(exported):
    """A policy that never resets, or always, would be found by the other tests of this file."""
    name, folder, recording = exported
    if name == "mlp":
        return
    for reset_rows in (np.zeros_like(recording.reset), np.ones_like(recording.reset)):
        module = torch.jit.load(folder / "policy.pt")
        module.reset()
        found = []
        with torch.inference_mode():
            for observation, reset in zip(recording.observation, reset_rows, strict=True):
                if reset[0]:
                    module.reset()
                found.append(module(torch.from_numpy(observation)).numpy().copy())
        assert np.abs(np.stack(found) - recording.action).max() > 1e-3


def test_the_files_are_those_of_the_real_exporters(exported):
    name, folder, _ = exported
    model = onnx.load(folder / "policy.onnx", load_external_data=False)
    names = {"mlp": [], "lstm": ["h", "c"], "gru": ["h"]}[name.split("_")[0]]
    assert [value.name for value in model.graph.input] == ["obs", *(f"{slot}_in" for slot in names)]
    assert [value.name for value in model.graph.output] == ["actions", *(f"{slot}_out" for slot in names)]
    assert (folder / "policy.onnx.data").is_file()  # torch puts the weights beside the file


@pytest.mark.parametrize(
    ("artifact", "engine"), [("policy.onnx", "onnxruntime"), ("policy.onnx", "native"), ("policy.pt", "libtorch")]
)
def test_engines_of_the_runtime(exported, artifact, engine):
    name, folder, recording = exported
    pilot = ganglion.load(folder / artifact, engine=engine)
    contract = pilot.contract
    assert (contract.observation_size, contract.outputs[0].size) == (files.OBSERVATIONS, files.ACTIONS)
    assert len(contract.state) == SLOTS[name.split("_")[0]]
    check(recording, pilot.step, pilot.reset)
    if contract.state:
        # State is read, set and restored like that of every other policy.
        state, observation = pilot.state().copy(), recording.observation[7, 0]
        first = pilot.step(observation).copy()
        assert not np.array_equal(pilot.state(), state)
        pilot.set_state(state)
        assert np.array_equal(pilot.step(observation), first)
        pilot.reset()
        assert not np.any(pilot.state())


@pytest.mark.parametrize("artifact", ["policy.onnx", "policy.pt"])
def test_python_engines(exported, artifact):
    _, folder, recording = exported
    contract = ganglion.inspect(folder / artifact)
    steppers = file_steppers(folder / artifact, contract, batch=1)
    assert steppers
    for stepper in steppers:
        check(
            recording,
            lambda observation, stepper=stepper: stepper.step(observation[None])[0][0],
            lambda stepper=stepper: stepper.reset(np.array([True])),
        )


def test_compiled_for_the_native_engine(exported, tmp_path):
    name, folder, recording = exported
    ganglion.compile(folder / "policy.onnx", tmp_path / "policy.ganglion")
    pilot = ganglion.load(tmp_path / "policy.ganglion")
    assert len(pilot.contract.state) == SLOTS[name.split("_")[0]]
    check(recording, pilot.step, pilot.reset)


def test_errors_leave_action_and_state(exported):
    _, folder, recording = exported
    for artifact in ("policy.onnx", "policy.pt"):
        pilot = ganglion.load(folder / artifact)
        pilot.step(recording.observation[0, 0])
        state = pilot.state().copy()
        with pytest.raises(ganglion.StepError, match="non_finite_observation"):
            pilot.step(np.full(files.OBSERVATIONS, np.nan, np.float32))
        assert np.array_equal(pilot.state(), state)
