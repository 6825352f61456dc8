"""Recurrent actors of flax, and the ONNX files that jax2onnx makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import jax2onnx
import numpy as np
import onnx
from flax import linen

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OBS, UNITS, ACTIONS = 6, 8, 3
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


class Made:
    """An actor with drawn weights.

    Args:
        name: one of `CELLS`.
    """

    def __init__(self, name: str) -> None:
        cell, states = CELLS[name]
        actor = Actor(cell)
        self.zeros: Any = [jnp.zeros((1, UNITS))] * states
        variables = actor.init(jax.random.PRNGKey(0), jnp.zeros((1, OBS)), *self.zeros)
        self._step = lambda obs, *state: actor.apply(variables, obs, *state)

    def write(self, path: Path) -> dict[str, str]:
        """Writes the file; returns which output feeds which input."""
        shapes = [(1, OBS), *[(1, UNITS)] * len(self.zeros)]
        model = jax2onnx.to_onnx(self._step, shapes)
        onnx.save(model, path)
        ins, outs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
        return dict(zip(ins[1:], outs[1:], strict=True))

    def run(self, observations: NDArray[np.float32], resets: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What flax makes of observations `[steps, n]`."""
        state, actions, step = self.zeros, [], jax.jit(self._step)
        for observation, reset in zip(observations, resets, strict=True):
            action, *state = step(observation[None], *(self.zeros if reset else state))
            actions.append(np.asarray(action)[0])
        return np.stack(actions)
