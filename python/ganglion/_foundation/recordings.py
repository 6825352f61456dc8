"""Recorded runs: read, checked, and laid side by side as rows of a batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from ganglion._foundation.arrays import UNREADABLE, check_archive
from ganglion._foundation.files import LARGEST_RECORDING, opened
from ganglion._foundation.flights import is_flight, observed
from ganglion.errors import ArtifactError, EngineUnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.data import EpisodeBatch

    RecordingSource: TypeAlias = str | os.PathLike[str] | EpisodeBatch
    """An `EpisodeBatch`, the file that its `save` wrote, a `.npz` file with `observation` and maybe `reset`, or the
    `.mcap` file of a flight."""

_META = "meta"
"""The member that only files of `EpisodeBatch.save` (and its kin) have."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """Recorded episodes behind each other.

    Attributes:
        observations: `[N, observation_size]`, float32, finite.
        lengths: `[E]` steps of each episode; they add up to N.
        label: what messages call the recording.
        batch: the whole recording, or None for a file with observations only.
    """

    observations: NDArray[np.float32]
    lengths: NDArray[np.int64]
    label: str
    batch: EpisodeBatch | None

    @property
    def starts(self) -> NDArray[np.int64]:
        """`[E]` first step of each episode."""
        return np.cumsum(self.lengths) - self.lengths

    def side_by_side(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Hands the episodes out to rows: each to the row that has the fewest steps so far.

        A row that ends before the others begins with its first episode again, and with more rows than episodes the
        same one is in several; so every recorded step is there at least once.

        Returns:
            `[steps, rows]`: which recorded step it is, and whether an episode begins there. Step 0 is not flagged.
        """
        lines: list[list[NDArray[np.int64]]] = [[] for _ in range(rows)]
        totals = np.zeros(rows, np.int64)
        for number in range(max(rows, len(self.lengths))):
            episode = number % len(self.lengths)
            row = int(totals.argmin())
            lines[row].append(self.starts[episode] + np.arange(self.lengths[episode]))
            totals[row] += self.lengths[episode]
        steps = np.stack([np.resize(np.concatenate(line), totals.max()) for line in lines], axis=1)
        return steps, self.begins(steps)

    def begins(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether an episode begins at these steps `[steps, rows]`; step 0 is not flagged."""
        begins = np.isin(steps, self.starts)
        begins[0] = False
        return begins


class Plain(NamedTuple):
    """Arrays as they lie in a file.

    Attributes:
        observation: `[T, batch, n]`.
        reset: `[T, batch]`.
        action: `[T, batch, m]`, or None.
        why_no_action: what stands against comparing actions that are in the file, or empty.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    action: NDArray[np.float32] | None
    why_no_action: str = ""


class Rows(NamedTuple):
    """What a recording holds, of whatever width.

    Attributes:
        observation: `[N, n]`, float32, finite.
        reset: `[N]`: an episode begins here; true in row 0.
        told: whether the recording says where episodes begin.
        action: `[N, m]`, the answer to the observation of the same row, or None.
        names: one for each element, or empty.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    told: bool
    action: NDArray[np.float32] | None
    names: tuple[str, ...]


def is_path(source: RecordingSource) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a recording is still in its file."""
    return isinstance(source, (str, os.PathLike))


def read_episodes(source: RecordingSource, observation_size: int) -> Episodes:
    """Reads a recording as episodes; rows of a plain one are cut where they are reset.

    Raises:
        ArtifactError: the file is missing or damaged, a field is missing or of the wrong shape or kind, the
            observations have another size, or a value is not finite.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
        TypeError: `source` is neither a path nor an `EpisodeBatch`.
    """
    if not is_path(source):
        return _from_batch(source, "the recording", observation_size)
    fields, _ = _read_fields(Path(source), observation_size)
    if "observation" not in fields:
        return _from_batch(_load_batch(source), str(source), observation_size)
    plain = _checked_plain(source, fields, observation_size, None)
    observation, reset = plain.observation, plain.reset
    ends = np.concatenate([reset[1:], np.ones((1, reset.shape[1]), np.bool_)])
    # Row by row, so that an episode's steps are neighbours.
    stops = np.flatnonzero(ends.T.reshape(-1)) + 1
    flat = np.ascontiguousarray(observation.transpose(1, 0, 2)).reshape(-1, observation_size)
    return Episodes(flat, np.diff(stops, prepend=0), str(source), None)


def read_plain(path: str | os.PathLike[str], observation_size: int, batch: int | None) -> Plain | None:
    """Reads observations, resets and actions as they lie in a file; None for a file of episodes.

    Raises:
        ArtifactError: see `read_episodes`, or the file has another number of rows than `batch`.
    """
    fields, why_no_action = _read_fields(Path(path), observation_size)
    if "observation" not in fields:
        return None
    return _checked_plain(path, fields, observation_size, batch)._replace(why_no_action=why_no_action)


def read_rows(source: RecordingSource) -> Rows:
    """Reads what a recording holds, of whatever width: its rows behind each other, episode by episode.

    Raises:
        ArtifactError: see `read_episodes`.
        EngineUnavailableError: see `read_episodes`.
        TypeError: `source` is neither a path nor an `EpisodeBatch`.
    """
    fields: dict[str, NDArray[Any]] = {}
    if is_path(source):
        fields, _ = _read_fields(Path(source), None)
    if "observation" in fields:
        return rows_of(source, fields)
    episodes = _from_batch(_load_batch(source) if is_path(source) else source, _label(source), None)
    assert episodes.batch is not None
    begins = np.zeros(len(episodes.observations), np.bool_)
    begins[episodes.starts] = True
    action, taken = None, episodes.batch.actions  # of a dictionary space no array of numbers
    if isinstance(taken, np.ndarray) and taken.dtype.kind in "biuf":
        action = _finite(_label(source), "actions", taken.reshape(len(begins), -1))
    return Rows(episodes.observations, begins, True, action, ())


def rows_of(label: Any, fields: dict[str, NDArray[Any]]) -> Rows:
    """The arrays of a plain recording as rows behind each other, episode by episode.

    Args:
        label: what messages call it.
        fields: `observation`, and maybe `reset`, `action` and `names`.

    Raises:
        ArtifactError: a field has the wrong shape or kind, or a value is not finite.
    """
    if "observation" not in fields:
        raise ArtifactError(
            f"{label}: an array named 'observation' is needed; there is: {', '.join(fields) or 'nothing'}"
        )
    plain = _checked_plain(label, fields, None, None)
    steps, rows, size = plain.observation.shape
    begins = plain.reset.copy()
    begins[0] = True

    def behind_each_other(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values.swapaxes(0, 1)).reshape(steps * rows, *values.shape[2:])

    action = plain.action
    if action is not None:
        action = behind_each_other(_finite(label, "action", action))
    names = _names(label, fields.get("names"), size)
    return Rows(behind_each_other(plain.observation), behind_each_other(begins), "reset" in fields, action, names)


def _label(source: RecordingSource) -> str:
    return str(source) if is_path(source) else "the recording"


def _names(path: Any, names: NDArray[Any] | None, size: int) -> tuple[str, ...]:
    if names is None:
        return ()
    if names.dtype.kind != "U" or names.shape != (size,):
        raise ArtifactError(f"{path}: 'names' must be {size} texts, not {names.dtype} {list(names.shape)}")
    return tuple(str(name) for name in names)


def _load_batch(path: str | os.PathLike[str]) -> EpisodeBatch:
    try:
        from ganglion.data import EpisodeBatch
    except ImportError as error:
        raise EngineUnavailableError(
            f"{path}: recorded episodes need '{error.name}': pip install 'ganglion[torch]'"
        ) from error
    return EpisodeBatch.load(path)


def _from_batch(batch: Any, label: str, observation_size: int | None) -> Episodes:
    from ganglion.data import EpisodeBatch

    if not isinstance(batch, EpisodeBatch):
        raise TypeError(f"a recording is a path or an EpisodeBatch, not {type(batch).__name__}")
    flat = batch.flat_observations
    if observation_size not in (None, flat.shape[1]):
        raise ArtifactError(
            f"{label}: 'observations' has {flat.shape[1]} elements a step; the policy takes {observation_size}"
        )
    observations = _finite(label, "observations", flat)
    return Episodes(observations, batch.lengths.astype(np.int64), label, batch)


def _read_fields(path: Path, observation_size: int | None) -> tuple[dict[str, NDArray[Any]], str]:
    """The arrays in a file, and what stands against comparing its actions."""
    if not path.exists():
        raise ArtifactError(f"{path}: no such recording")
    if not path.is_file():
        raise ArtifactError(f"{path}: a recording is a .npz or .mcap file, not a folder")
    if is_flight(path):
        fields, why = observed(path, observation_size)
        if why and observation_size is not None:
            del fields["action"]
        return fields, why
    try:
        with opened(path, limit=LARGEST_RECORDING) as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ArtifactError(f"{path}: a single array; write a recording with np.savez(path, observation=...)")
            check_archive(path, archive.zip)
            names = archive.files
            fields = {name: archive[name] for name in names if name in ("observation", "reset", "action", "names")}
    except (OSError, *UNREADABLE) as error:
        raise ArtifactError(f"{path}: not a readable .npz recording: {error}") from error
    if "observation" not in names and _META not in names:
        found = ", ".join(sorted(names)) or "nothing"
        raise ArtifactError(
            f"{path}: a recording needs an array named 'observation'; the file has: {found}. EpisodeBatch.save writes "
            "recordings of episodes"
        )
    # A member that does not begin like an array comes back as its bytes.
    if not all(isinstance(field, np.ndarray) for field in fields.values()):
        raise ArtifactError(f"{path}: not a readable .npz recording: a member is no array")
    return fields, ""


def _checked_plain(
    path: Any, fields: dict[str, NDArray[Any]], observation_size: int | None, batch: int | None
) -> Plain:
    observation = fields["observation"]
    if observation.dtype.kind not in "fiu":
        raise ArtifactError(f"{path}: 'observation' holds {observation.dtype}, not numbers")
    if observation.ndim not in (2, 3):
        raise ArtifactError(f"{path}: 'observation' must be [T, n] or [T, batch, n], not {list(observation.shape)}")
    if observation_size not in (None, observation.shape[-1]):
        raise ArtifactError(
            f"{path}: 'observation' has {observation.shape[-1]} elements a step; the policy takes {observation_size}"
        )
    if observation.size == 0:
        raise ArtifactError(f"{path}: 'observation' is empty: {list(observation.shape)}")
    observation = _finite(path, "observation", observation)
    if observation.ndim == 2:
        observation = np.repeat(observation[:, None, :], batch or 1, axis=1)
    steps, rows = observation.shape[:2]
    if batch is not None and rows != batch:
        raise ArtifactError(f"{path}: 'observation' has {rows} rows; {batch} are needed")
    reset, action = _resets(path, fields.get("reset"), steps, rows), fields.get("action")
    return Plain(np.ascontiguousarray(observation), reset, None if action is None else _actions(path, action, reset))


def _resets(path: Any, reset: NDArray[Any] | None, steps: int, rows: int) -> NDArray[np.bool_]:
    if reset is None:
        return np.zeros((steps, rows), dtype=np.bool_)
    if reset.dtype.kind not in "biuf" or not np.isin(reset, (0, 1)).all():
        raise ArtifactError(f"{path}: 'reset' must hold booleans, or zeros and ones")
    if reset.shape not in ((steps,), (steps, rows)):
        raise ArtifactError(f"{path}: 'reset' must be [{steps}] or [{steps}, {rows}], not {list(reset.shape)}")
    if reset.ndim == 1:
        reset = np.repeat(reset[:, None], rows, axis=1)
    return np.ascontiguousarray(reset, dtype=np.bool_)


def _actions(path: Any, action: NDArray[Any], reset: NDArray[np.bool_]) -> NDArray[np.float32]:
    steps, rows = reset.shape
    if action.ndim == 2:
        action = np.repeat(action[:, None, :], rows, axis=1)
    if action.dtype.kind not in "fiu" or action.shape[:2] != (steps, rows) or action.ndim != 3:
        raise ArtifactError(
            f"{path}: 'action' must be numbers [{steps}, m] or [{steps}, {rows}, m], not {action.dtype} "
            f"{list(action.shape)}"
        )
    return np.ascontiguousarray(action, dtype=np.float32)


def _finite(label: Any, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.isfinite(narrow).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(narrow))[0]]
        raise ArtifactError(f"{label}: '{name}' is not finite in float32 at index {where}")
    return narrow
