"""Observations of a run, as the search wants them: rows behind each other, with what is known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ganglion._foundation.flights import FlightFile, is_flight
from ganglion._foundation.recordings import is_path, read_rows, rows_of
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion._foundation.recordings import RecordingSource

    ObservationSource: TypeAlias = RecordingSource | NDArray[Any] | Mapping[str, Any]
    """A recording; or its arrays: `observation [steps, n]`, and where known `action`, `reset` and `names`."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What one side saw.

    Attributes:
        values: `[N, n]`, float64, finite; every number is one of float32.
        reset: `[N]`: an episode begins in this row; true in row 0.
        told: whether the recording says where episodes begin.
        action: `[N, m]`, float64, the answer to the observation of the same row, or None.
        names: one for each element, or empty.
        label: what messages call it.
    """

    values: NDArray[np.float64]
    reset: NDArray[np.bool_]
    told: bool
    action: NDArray[np.float64] | None
    names: tuple[str, ...]
    label: str

    @property
    def rows(self) -> int:
        """How many observations there are."""
        return int(self.values.shape[0])

    @property
    def size(self) -> int:
        """Elements of one observation."""
        return int(self.values.shape[1])


def read_observations(source: ObservationSource, label: str, names: Sequence[str] = ()) -> Observations:
    """Reads one side of a comparison.

    Args:
        source: a `.npz` or `.mcap` file, an `EpisodeBatch`, an array `[steps, n]` or `[steps, batch, n]`, or a mapping
            with the arrays of a `.npz` file.
        label: what messages call it; a path is called by its name.
        names: names of the elements where the source has none, if they are as many.

    Raises:
        ArtifactError: the file is missing or damaged, a field is missing or of the wrong shape or kind, or a value is
            not finite.
        EngineUnavailableError: gymnasium is not installed, which episodes need.
        TypeError: `source` is none of these.
    """
    if isinstance(source, np.ndarray):
        source = {"observation": source}
    own: Sequence[str] = ()
    if isinstance(source, Mapping):
        rows = rows_of(label, {name: np.asarray(array) for name, array in source.items() if array is not None})
    else:
        rows = read_rows(source)
        if is_path(source):
            label = str(source)
            own = _names_in_flight(label) if is_flight(source) else ()
    told = next((tuple(some) for some in (rows.names, own, names) if len(some) == rows.observation.shape[1]), ())
    _check_names(label, told)
    action = None if rows.action is None else rows.action.astype(np.float64)
    return Observations(rows.observation.astype(np.float64), rows.reset, rows.told, action, told, label)


def _check_names(label: str, names: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise ArtifactError(
                f"{label}: elements {seen[name]} and {index} are both called '{name}'; names must differ, or leave "
                "them out"
            )
        seen[name] = index


def _names_in_flight(path: str) -> tuple[str, ...]:
    """Element names in the contract of the first policy of a flight, or nothing."""
    file = FlightFile(path)
    for _ in file.parts():
        if file.attached:
            break
    for _, attached in sorted(file.attached.items()):
        try:
            inputs = json.loads(attached.entries.get("contract", ""))["inputs"]
            return tuple(str(name) for spec in inputs for name in spec.get("element_names") or ())
        except (ValueError, LookupError, TypeError, AttributeError):
            return ()
    return ()
