"""The trajectories that a verification runs: drawn from the observation bounds, or recorded on a robot."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ganglion._foundation.files import replacing
from ganglion._foundation.observations import believed_bounds, within_bounds
from ganglion._foundation.recordings import is_path, read_episodes, read_plain
from ganglion._foundation.rounding import Nudge
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion._foundation.recordings import Episodes, RecordingSource
    from ganglion.contract import Contract

_CORRELATION = 0.9  # of one step with the next: smooth over about ten steps
_JUMP_PROBABILITY = 0.02
_BOUND_PROBABILITY = 0.01
_RESET_PROBABILITY = 1.0 / 150.0
_ROWS_OF_EPISODES = 4  # enough rows for a reset that takes some and leaves some


_BLOCK_ELEMENTS = 1 << 19
"""Observations are drawn so many elements at a time: whole runs of images do not fit into memory."""


class _Observations(Protocol):
    """The observations of a run, `[steps, batch, observation_size]`, float32."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Some steps at a time, `[some, batch, observation_size]`, in order of time."""


class Trajectory:
    """Observations and resets of one long run.

    Args:
        observation: `[steps, batch, observation_size]`, float32, finite; or what gives them block by block.
        reset: see the attribute.
        source: see the attribute.
        actions: see the attribute.
        states: see the attribute.

    Attributes:
        reset: `[steps, batch]`, bool; true where the row is reset before that step. Step 0 starts from the
            initial state whether flagged or not.
        source: where it comes from, in words.
        actions: `[steps, batch, action_size]` what was recorded as the action, or None.
        states: `[steps, batch, hidden_size]` the hidden states that were fed when it was recorded, or None.
    """

    def __init__(
        self,
        observation: NDArray[np.float32] | _Observations,
        reset: NDArray[np.bool_],
        source: str,
        actions: NDArray[np.float32] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> None:
        self._observations = _Recorded(observation) if isinstance(observation, np.ndarray) else observation
        self.reset = reset
        self.source = source
        self.actions = actions
        self.states = states

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The observations, some steps at a time: `[some, batch, observation_size]`, float32, in order of time."""
        return self._observations.blocks()

    @property
    def observation(self) -> NDArray[np.float32]:
        """All observations, `[steps, batch, observation_size]`; drawn ones are drawn anew, into memory."""
        return np.concatenate(list(self.blocks()))

    def nudged(self, seed: int = 0) -> Trajectory:
        """The same run with every observation moved to a float32 next to it; see `rounding.nudged`."""
        return Trajectory(_Nudged(self._observations, seed), self.reset, self.source)

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
    drawn = _Drawn(contract, steps, batch, seed)
    return Trajectory(
        drawn, _draw_resets(drawn.afterwards(), steps, batch), f"drawn over the observation bounds, seed {seed}"
    )


class _Recorded:
    """Observations that are in memory."""

    def __init__(self, observation: NDArray[np.float32]) -> None:
        self._observation = observation

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        yield self._observation


class _Nudged:
    """Observations of others, each moved to a float32 next to it."""

    def __init__(self, observations: _Observations, seed: int) -> None:
        self._observations = observations
        self._seed = seed

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        nudge = Nudge(self._seed)
        return map(nudge, self._observations.blocks())


class _Drawn:
    """Observations as `draw_trajectory` says, drawn anew whenever they are wanted.

    Whole arrays, one behind the other, would take their numbers from one generator: jumps, steps of the walk, scales,
    touched bounds. Each has a generator of its own here that begins where those numbers begin, so that the blocks are
    together what was drawn at once.
    """

    def __init__(self, contract: Contract, steps: int, batch: int, seed: int) -> None:
        self._steps, self._shape = steps, (batch, contract.observation_size)
        self._low, self._high = believed_bounds(contract)
        elements = steps * batch * contract.observation_size
        self._jumps = np.random.default_rng(seed)
        self._fresh = _behind(self._jumps, elements)
        self._scales = copy.deepcopy(self._fresh)
        for some in self._sizes():
            self._scales.standard_normal((some, *self._shape))  # how much of the stream they take is known by drawing
        self._touches = _behind(self._scales, elements)
        self._afterwards = _behind(self._touches, elements)

    def afterwards(self) -> np.random.Generator:
        """A generator that goes on where the observations end."""
        return copy.deepcopy(self._afterwards)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        generators = (self._jumps, self._fresh, self._scales, self._touches)
        jumps_of, fresh_of, scales_of, touches_of = map(copy.deepcopy, generators)
        noise_gain = np.sqrt(1.0 - _CORRELATION**2)
        before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        for some in self._sizes():
            shape = (some, *self._shape)
            jumps = jumps_of.random(shape) < _JUMP_PROBABILITY
            fresh = fresh_of.standard_normal(shape)
            new_scale = 10.0 ** scales_of.uniform(-1.0, np.log10(3.0), shape)
            walk, scale = np.empty(shape), np.empty(shape)
            for step in range(some):
                if before is None:
                    walk[step], scale[step] = fresh[step], new_scale[step]
                else:
                    smooth = _CORRELATION * before[0] + noise_gain * fresh[step]
                    walk[step] = np.where(jumps[step], fresh[step], smooth)
                    scale[step] = np.where(jumps[step], new_scale[step], before[1])
                before = walk[step], scale[step]
            # Standard normal to evenly spread: the tanh form of the normal distribution function.
            even = 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (walk + 0.044715 * walk**3)))
            observation = within_bounds(self._low, self._high, even, scale * walk)
            touch = touches_of.random(shape)
            observation = np.where(np.isfinite(self._low) & (touch < _BOUND_PROBABILITY), self._low, observation)
            observation = np.where(
                np.isfinite(self._high) & (touch > 1.0 - _BOUND_PROBABILITY), self._high, observation
            )
            yield np.ascontiguousarray(observation, dtype=np.float32)

    def _sizes(self) -> Iterator[int]:
        """Steps of each block."""
        block = max(1, _BLOCK_ELEMENTS // max(1, self._shape[0] * self._shape[1]))
        for first in range(0, self._steps, block):
            yield min(block, self._steps - first)


def _behind(generator: np.random.Generator, doubles: int) -> np.random.Generator:
    """A generator that goes on where this one is after so many uniform numbers."""
    later = copy.deepcopy(generator)
    assert isinstance(later.bit_generator, np.random.PCG64)
    later.bit_generator.advance(doubles)
    return later


def load_recording(
    recording: RecordingSource, *, observation_size: int, batch: int | None, actions: str | None = None
) -> Trajectory:
    """Takes a recorded run.

    Args:
        recording: an `EpisodeBatch` or the file that its `save` wrote; or any `.npz` with `observation` `[T, n]` or
            `[T, batch, n]` and, optionally, `reset` `[T]` or `[T, batch]` (bool, or 0 and 1). `[T, n]` is given to
            every row; without `reset` nothing is ever reset. Episodes are handed out to the rows, one behind the
            other, and every one begins with a reset; a row that ends before the others begins with its first again.
            Or the `.mcap` file of a flight: what its first policy of that observation size saw, with its resets.
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
            if actions is not None and plain.why_no_action:
                raise ArtifactError(
                    f"{recording}: {plain.why_no_action}, so its actions do not follow from its observations alone; "
                    "ganglion replay has the flight again as it was"
                )
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
