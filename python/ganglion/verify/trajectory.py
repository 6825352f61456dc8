"""The trajectories that a verification runs: drawn from the observation bounds, or recorded on a robot."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._files import replacing
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ganglion.contract import Contract

# A bound of a million or more (gymnasium writes 3.4e38 for "no limit") says nothing about the values to expect.
_WIDEST_BOUND = 1e6
_CORRELATION = 0.9  # of one step with the next: smooth over about ten steps
_JUMP_PROBABILITY = 0.02
_BOUND_PROBABILITY = 0.01
_RESET_PROBABILITY = 1.0 / 150.0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Observations and resets of one long run.

    Attributes:
        observation: `[steps, batch, observation_size]`, float32, finite.
        reset: `[steps, batch]`, bool; true where the row is reset before that step. Step 0 starts from the
            initial state whether flagged or not.
        source: where it comes from, in words.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    source: str

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
    low, high = _bounds(contract)
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
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    # Standard normal to evenly spread: the tanh form of the normal distribution function.
    even = 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (walk + 0.044715 * walk**3)))
    wide = scale * walk
    finite_low, finite_high = np.where(has_low, low, 0.0), np.where(has_high, high, 0.0)
    observation = np.where(has_low & has_high, finite_low + even * (finite_high - finite_low), wide)
    observation = np.where(has_low & ~has_high, finite_low + np.abs(wide), observation)
    observation = np.where(~has_low & has_high, finite_high - np.abs(wide), observation)
    touch = random.random(walk.shape)
    observation = np.where(has_low & (touch < _BOUND_PROBABILITY), finite_low, observation)
    observation = np.where(has_high & (touch > 1.0 - _BOUND_PROBABILITY), finite_high, observation)
    return Trajectory(
        observation=np.ascontiguousarray(observation, dtype=np.float32),
        reset=_draw_resets(random, steps, batch),
        source=f"drawn over the observation bounds, seed {seed}",
    )


def load_recording(path: str | os.PathLike[str], *, observation_size: int, batch: int | None) -> Trajectory:
    """Reads a recorded run.

    Args:
        path: `.npz` with `observation` `[T, n]` or `[T, batch, n]` and, optionally, `reset` `[T]` or `[T, batch]`
            (bool, or 0 and 1). `[T, n]` is given to every row; without `reset` nothing is ever reset.
        observation_size: the `n` that the policy takes.
        batch: the number of rows wanted, or None to take the recording's.

    Raises:
        ArtifactError: the file is missing or damaged, a field is missing or of the wrong shape or kind, or a
            value is not finite.
    """
    fields = _read_fields(Path(path))
    observation = fields["observation"]
    if observation.dtype.kind not in "fiu":
        raise ArtifactError(f"{path}: 'observation' holds {observation.dtype}, not numbers")
    if observation.ndim not in (2, 3):
        raise ArtifactError(f"{path}: 'observation' must be [T, n] or [T, batch, n], not {list(observation.shape)}")
    if observation.shape[-1] != observation_size:
        raise ArtifactError(
            f"{path}: 'observation' has {observation.shape[-1]} elements a step; the policy takes {observation_size}"
        )
    if observation.size == 0:
        raise ArtifactError(f"{path}: 'observation' is empty: {list(observation.shape)}")
    with np.errstate(over="ignore"):
        observation = observation.astype(np.float32)
    if not np.isfinite(observation).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(observation))[0])
        raise ArtifactError(f"{path}: 'observation' is not finite in float32 at index {list(where)}")
    if observation.ndim == 2:
        observation = np.repeat(observation[:, None, :], batch or 1, axis=1)
    steps, rows = observation.shape[:2]
    if batch is not None and rows != batch:
        raise ArtifactError(f"{path}: 'observation' has {rows} rows; {batch} are needed")
    return Trajectory(
        observation=np.ascontiguousarray(observation),
        reset=_recorded_resets(path, fields.get("reset"), steps, rows),
        source=f"recording {Path(path).name}",
    )


def _bounds(contract: Contract) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = [value for spec in contract.inputs for value in (spec.low or (-np.inf,) * spec.size)]
    high = [value for spec in contract.inputs for value in (spec.high or (np.inf,) * spec.size)]
    low_array, high_array = np.asarray(low), np.asarray(high)
    low_array = np.where(np.abs(low_array) >= _WIDEST_BOUND, -np.inf, low_array)
    high_array = np.where(np.abs(high_array) >= _WIDEST_BOUND, np.inf, high_array)
    return low_array, high_array


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


def _read_fields(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise ArtifactError(f"{path}: no such recording")
    if not path.is_file():
        raise ArtifactError(f"{path}: a recording is a .npz file, not a folder")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ArtifactError(f"{path}: a single array; write a recording with np.savez(path, observation=...)")
        with archive:
            names = archive.files
            fields = {name: archive[name] for name in names if name in ("observation", "reset")}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path}: not a readable .npz recording: {error}") from error
    if "observation" not in names:
        found = ", ".join(sorted(names)) or "nothing"
        raise ArtifactError(f"{path}: a recording needs an array named 'observation'; the file has: {found}")
    # A member that does not begin like an array comes back as its bytes.
    if not all(isinstance(field, np.ndarray) for field in fields.values()):
        raise ArtifactError(f"{path}: not a readable .npz recording: a member is no array")
    return fields


def _recorded_resets(
    path: str | os.PathLike[str], reset: NDArray[Any] | None, steps: int, rows: int
) -> NDArray[np.bool_]:
    if reset is None:
        return np.zeros((steps, rows), dtype=np.bool_)
    if reset.dtype.kind not in "biuf" or not np.isin(reset, (0, 1)).all():
        raise ArtifactError(f"{path}: 'reset' must hold booleans, or zeros and ones")
    if reset.shape not in ((steps,), (steps, rows)):
        raise ArtifactError(f"{path}: 'reset' must be [{steps}] or [{steps}, {rows}], not {list(reset.shape)}")
    if reset.ndim == 1:
        reset = np.repeat(reset[:, None], rows, axis=1)
    return np.ascontiguousarray(reset, dtype=np.bool_)
