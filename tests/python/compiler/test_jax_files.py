"""Recurrent modules of flax, written by jax2onnx: their memory is found, and they run without JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import jax2onnx
import numpy as np
import onnx
import pytest
from flax import linen

import ganglion

if TYPE_CHECKING:
    from pathlib import Path

STEPS, OBS, UNITS, ACTIONS = 60, 6, 8, 3
CELLS: dict[str, tuple[type[linen.Module], int]] = {
    "GRU": (linen.GRUCell, 1),
    "MGU": (linen.MGUCell, 1),
    "LSTM": (linen.OptimizedLSTMCell, 2),
    "Elman": (linen.SimpleCell, 1),
}


class Actor(linen.Module):
    """A cell, then a layer."""

    cell: type[linen.Module]

    @linen.compact
    def __call__(self, obs: jax.Array, *state: jax.Array) -> tuple[jax.Array, ...]:
        """One step."""
        carry, seen = self.cell(UNITS)(state if len(state) > 1 else state[0], obs)
        return (jnp.tanh(linen.Dense(ACTIONS)(seen)), *(carry if len(state) > 1 else (carry,)))


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_of_flax(name: str, tmp_path: Path) -> None:
    cell, states = CELLS[name]
    actor = Actor(cell)
    zeros: Any = [jnp.zeros((1, UNITS))] * states
    variables = actor.init(jax.random.PRNGKey(0), jnp.zeros((1, OBS)), *zeros)
    shapes = [(1, OBS), *[(1, UNITS)] * states]
    model = jax2onnx.to_onnx(lambda obs, *state: actor.apply(variables, obs, *state), shapes)
    onnx.save(model, tmp_path / "actor.onnx")
    ins, outs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    report = ganglion.compile(
        tmp_path / "actor.onnx", tmp_path / "actor.ganglion", state=dict(zip(ins[1:], outs[1:], strict=True))
    )
    assert [slot.size for slot in report.contract.state] == [UNITS] * states
    pilot, state = ganglion.load(report.path), zeros
    for step, observation in enumerate(np.random.default_rng(1).normal(size=(STEPS, OBS)).astype(np.float32)):
        if step == 25:
            pilot.reset()
            state = zeros
        action, *state = actor.apply(variables, observation[None], *state)
        assert np.abs(pilot.step(observation) - np.asarray(action)[0]).max() < 1e-5
