"""Recurrent modules of flax, written by jax2onnx: their memory is found, and they run without JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flax_files
import numpy as np
import pytest

import ganglion

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 60


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", flax_files.CELLS)
def test_a_cell_of_flax(name: str, tmp_path: Path) -> None:
    made = flax_files.Made(name)
    state = made.write(tmp_path / "actor.onnx")
    report = ganglion.compile(tmp_path / "actor.onnx", tmp_path / "actor.ganglion", state=state)
    assert [slot.size for slot in report.contract.state] == [flax_files.UNITS] * flax_files.CELLS[name][1]
    pilot = ganglion.load(report.path)
    observations = np.random.default_rng(1).normal(size=(STEPS, flax_files.OBS)).astype(np.float32)
    resets = np.arange(STEPS) == 25
    for observation, reset, expected in zip(observations, resets, made.run(observations, resets), strict=True):
        if reset:
            pilot.reset()
        assert np.abs(pilot.step(observation) - expected).max() < 1e-5
