"""The trajectories that a verification runs: drawn from the observation bounds, or recorded on a robot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.files import replacing
from ganglion._foundation.observations import believed_bounds, within_bounds
from ganglion._foundation.recordings import is_path, read_episodes, read_plain
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ganglion._foundation.recordings import Episodes, RecordingSource
    from ganglion.contract import Contract

_CORRELATION = 0.9  # of one step with the next: smooth over about ten steps
_JUMP_PROBABILITY = 0.02
_BOUND_PROBABILITY = 0.01
_RESET_PROBABILITY = 1.0 / 150.0
_ROWS_OF_EPISODES = 4  # enough rows for a reset that takes some and leaves some


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Observations and resets of one long run.

    Attributes:
        observation: `[steps, batch, observation_size]`, float32, finite.
        reset: `[steps, batch]`, bool; true where the row is reset before that step. Step 0 starts from the
            initial state whether flagged or not.
        source: where it comes from, in words.
        actions: `[steps, batch, action_size]` what was recorded as the action, or None.
        states: `[steps, batch, hidden_size]` the hidden states that were fed when it was recorded, or None.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    source: str
    actions: NDArray[np.float32] | None = None
    states: NDArray[np.float32] | None = None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return int(self.reset.shape[0])

    @property
    def batch(self) -> int:
        """Number of rows."""
        return int(self.reset.shape[1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the trajectory as a recording that `load_recording` reads back without loss.

        Args:
            path: a `.npz` file; replaced when it exists.
        """
        target = Path(path)
        if target.suffix != ".npz":
            raise ValueError(f"{target}: a recording is a .npz file")
        with replacing(target) as temporary:
            np.savez_compressed(temporary, observation=self.observation, reset=self.reset)


def draw_trajectory(contract: Contract, *, steps: int, batch: int, seed: int) -> Trajectory:
    """Draws a trajectory that covers the observation bounds and resets rows at random steps.

    Every element is a smooth random walk (a first-order autoregressive process) with jumps. A bounded element
    is spread evenly over its interval and visits both bounds exactly; an unbounded one changes its scale at
    every jump, between 0.1 and 3, so that a cell is seen both in its linear range and saturated.

    Args:
        contract: gives the observation size and the bounds.
        steps: number of steps.
        batch: number of rows. With two or more, at least one step resets some rows and keeps the others.
        seed: the same seed gives the same trajectory.

    Returns:
        the trajectory, `observation [steps, batch, contract.observation_size]`.
    """
    random = np.random.default_rng(seed)
    low, high = believed_bounds(contract)
    shape = (batch, contract.observation_size)
    walk = np.empty((steps, *shape))
    jumps = random.random(walk.shape) < _JUMP_PROBABILITY
    fresh = random.standard_normal(walk.shape)
    new_scale = 10.0 ** random.uniform(-1.0, np.log10(3.0), walk.shape)
    scale = np.empty_like(walk)
    noise_gain = np.sqrt(1.0 - _CORRELATION**2)
    walk[0], scale[0] = fresh[0], new_scale[0]
    for step in range(1, steps):
        smooth = _CORRELATION * walk[step - 1] + noise_gain * fresh[step]
        walk[step] = np.where(jumps[step], fresh[step], smooth)
        scale[step] = np.where(jumps[step], new_scale[step], scale[step - 1])
    # Standard normal to evenly spread: the tanh form of the normal distribution function.
    even = 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (walk + 0.044715 * walk**3)))
    observation = within_bounds(low, high, even, scale * walk)
    touch = random.random(walk.shape)
    observation = np.where(np.isfinite(low) & (touch < _BOUND_PROBABILITY), low, observation)
    observation = np.where(np.isfinite(high) & (touch > 1.0 - _BOUND_PROBABILITY), high, observation)
    return Trajectory(
        observation=np.ascontiguousarray(observation, dtype=np.float32),
        reset=_draw_resets(random, steps, batch),
        source=f"drawn over the observation bounds, seed {seed}",
    )


def load_recording(
    recording: RecordingSource, *, observation_size: int, batch: int | None, actions: str | None = None
) -> Trajectory:
    """Takes a recorded run.

    Args:
        recording: an `EpisodeBatch` or the file that its `save` wrote; or any `.npz` with `observation` `[T, n]` or
            `[T, batch, n]` and, optionally, `reset` `[T]` or `[T, batch]` (bool, or 0 and 1). `[T, n]` is given to
            every row; without `reset` nothing is ever reset. Episodes are handed out to the rows, one behind the
            other, and every one begins with a reset; a row that ends before the others begins with its first again.
        observation_size: the `n` that the policy takes.
        batch: the number of rows wanted, or None to take the recording's, of episodes up to 4.
        actions: also take what was recorded as the action: `"actions"`, or the name of an entry of `agent_infos`
            (`"mean"`, say); and the hidden states where `agent_infos` has `hidden_states`. Without episodes, the
            array `action` `[T, m]` or `[T, batch, m]` is `"actions"`.

    Raises:
        ArtifactError: the file is missing or damaged, a field is missing or of the wrong shape or kind, or a
            value is not finite.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
        TypeError: `recording` is neither a path nor an `EpisodeBatch`.
    """
    if is_path(recording):
        plain = read_plain(recording, observation_size, batch)
        if plain is not None:
            if actions is not None and (plain.action is None or actions != "actions"):
                raise ArtifactError(
                    f"{recording}: no recorded '{actions}' to compare with; an array 'action' is taken as 'actions', "
                    "and EpisodeBatch.save records more"
                )
            recorded = None if actions is None else plain.action
            return Trajectory(plain.observation, plain.reset, f"recording {Path(recording).name}", recorded)
    episodes = read_episodes(recording, observation_size)
    steps, reset = episodes.side_by_side(batch or min(_ROWS_OF_EPISODES, len(episodes.lengths)))
    kept, states = (None, None) if actions is None else _recorded(episodes, actions)
    name = Path(recording).name if is_path(recording) else "in memory"
    return Trajectory(
        observation=episodes.observations[steps],
        reset=reset,
        source=f"{len(episodes.lengths)} episodes of recording {name}",
        actions=None if kept is None else kept[steps],
        states=None if states is None else states[steps],
    )


def _recorded(episodes: Episodes, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Recorded actions `[N, action_size]`, and hidden states `[N, hidden_size]` where there are any."""
    batch = episodes.batch
    if batch is None:
        raise ArtifactError(f"{episodes.label}: holds observations only; EpisodeBatch.save records actions too")
    values = batch.actions if name == "actions" else batch.agent_infos.get(name)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        known = ", ".join(
            ("actions", *(key for key, info in batch.agent_infos.items() if isinstance(info, np.ndarray)))
        )
        raise ArtifactError(f"{episodes.label}: no recorded '{name}' to compare with; there are {known}")
    states = batch.agent_infos.get("hidden_states")
    rows = len(batch.rewards)
    return (
        values.reshape(rows, -1).astype(np.float32),
        states.reshape(rows, -1).astype(np.float32) if isinstance(states, np.ndarray) else None,
    )


def _draw_resets(random: np.random.Generator, steps: int, batch: int) -> NDArray[np.bool_]:
    reset = random.random((steps, batch)) < _RESET_PROBABILITY
    if steps >= 2:
        reset[random.integers(1, steps)] = True
    if batch >= 2 and steps >= 3 and not (reset[1:].any(axis=1) & ~reset[1:].all(axis=1)).any():
        whole = reset[1:].all(axis=1)
        step = 1 + random.choice(np.flatnonzero(~whole)) if not whole.all() else 1
        reset[step] = np.arange(batch) == random.integers(batch)
    reset[0] = False
    return reset
