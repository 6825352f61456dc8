"""The recording of a flight, whole in memory: what `FlightRecorder` wrote, by policy and by kind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.boundary import bounded
from ganglion._foundation.files import LARGEST_RECORDING
from ganglion._foundation.flights import EVENT_KINDS, STATUSES, Attached, FlightFile, Hole
from ganglion.contract import Contract
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ganglion._foundation.mcap import Cut


@dataclass(frozen=True, eq=False)
class FlownPolicy:
    """One policy of a flight, and everything that happened to it.

    Every array has a row for each event and the fields `time_ns` and `sequence`, the number of the event in the flight.

    Attributes:
        number: in the order in which the policies were attached.
        contract: of the policy.
        file: the name that it was loaded by.
        data: the bytes of its file, from the recording.
        suffix: `".ganglion"`, `".onnx"` or `".pt"`: what kind of file that is.
        engine: what ran it.
        isa: the instruction set that the native engine used.
        batch: rows of a step.
        sample_seed: what its actions were drawn with, or None.
        sha256: of its file.
        hints: what was said at load of a file without a contract, or empty.
        steps: also `state_digest`, `status`, `observation`, `action`, `output_1`, ... (each flat, row behind row).
        resets: also `status`, `rows`.
        set_states: also `state_digest`, `status`, `state`.
        applied_actions: also `state_digest`, `status`, `action`.
        snapshots: also `state_digest`, `state`.
    """

    number: int
    contract: Contract = field(repr=False)
    file: str
    data: bytes = field(repr=False)
    suffix: str
    engine: str
    isa: str
    batch: int
    sample_seed: int | None
    sha256: str
    hints: Mapping[str, Any]
    steps: NDArray[Any] = field(repr=False)
    resets: NDArray[Any] = field(repr=False)
    set_states: NDArray[Any] = field(repr=False)
    applied_actions: NDArray[Any] = field(repr=False)
    snapshots: NDArray[Any] = field(repr=False)

    @property
    def observation(self) -> NDArray[np.float32]:
        """`[T, batch, observation_size]`, a view."""
        return self._rows("observation", self.contract.observation_size)

    @property
    def action(self) -> NDArray[np.float32]:
        """`[T, batch, action_size]`, a view; NaN where a step was refused."""
        return self._rows("action", self.contract.action_size)

    def output(self, which: int | str) -> NDArray[np.float32]:
        """`[T, batch, size]` of one output, by index or name, a view; NaN where a step was refused.

        Raises:
            KeyError: there is no such output.
        """
        names = [spec.name for spec in self.contract.outputs]
        index = names.index(which) if which in names else which
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise KeyError(f"output {which!r}: the outputs are {names}")
        # Where actions are drawn, output 0 is what they were drawn around.
        key = f"output_{index}" if index or self.sample_seed is not None else "action"
        return self._rows(key, self.contract.outputs[index].size)

    @property
    def status(self) -> list[str]:
        """`[T]`, what each step answered."""
        return [STATUSES[value] for value in self.steps["status"]]

    @property
    def is_ok(self) -> NDArray[np.bool_]:
        """`[T]`, whether a step gave an action."""
        return np.asarray(self.steps["status"] == 0)

    @cached_property
    def begins(self) -> NDArray[np.bool_]:
        """`[T, batch]`, whether a row was reset between the step before and this one."""
        begins = np.zeros((len(self.steps), self.batch), np.bool_)
        done = self.resets[self.resets["status"] == 0]
        where = np.searchsorted(self.steps["sequence"], done["sequence"])
        inside = where < len(self.steps)
        np.logical_or.at(begins, where[inside], done["rows"][inside].reshape(-1, self.batch) != 0)
        return begins

    def _rows(self, name: str, size: int) -> NDArray[np.float32]:
        shape = (len(self.steps), self.batch, size)
        if name not in (self.steps.dtype.names or ()):
            return np.zeros(shape, np.float32)
        values: NDArray[np.float32] = self.steps[name].reshape(shape)
        return values


@dataclass(frozen=True, eq=False)
class Flight:
    """A recorded flight.

    Attributes:
        path: of the file.
        version: of the ganglion that recorded it.
        clock_offset_ns: what makes a `time_ns` a time of day, in nanoseconds since 1970; 0 where time was simulated.
        policies: in the order in which they were attached.
        events: `time_ns`, `sequence`, `count`, `policy`, `kind` (an index in `EVENT_KINDS`).
        ticks: `time_ns`, `sequence`, `off_s`, `tick` of every `TickMonitor`, or empty.
        guards: `time_ns`, `sequence`, `element`, `reason`, `command` of each `ActionGuard`.
        channels: `time_ns`, `sequence`, `values` of the user's own channels, by name.
        statistics: what the recorder said when it was closed; empty where it was not.
        gaps: where events are missing, because the recorder had no room for them.
        cut: how the file stops where it has no end, or None.
    """

    path: str
    version: str
    clock_offset_ns: int
    policies: tuple[FlownPolicy, ...]
    events: NDArray[Any] = field(repr=False)
    ticks: NDArray[Any] = field(repr=False)
    guards: tuple[NDArray[Any], ...] = field(repr=False)
    channels: Mapping[str, NDArray[Any]] = field(repr=False)
    statistics: Mapping[str, str]
    gaps: tuple[Hole, ...]
    cut: Cut | None

    @property
    def missing_events(self) -> int:
        """How many events the recorder had no room for, as far as the file tells."""
        return sum(gap.missing for gap in self.gaps)

    def policy(self, number: int | None = None) -> FlownPolicy:
        """One of the policies; the only one where `number` is None.

        Raises:
            ArtifactError: there is none of that number, or none, or more than one to choose from.
        """
        numbers = [policy.number for policy in self.policies]
        if number is None and len(numbers) != 1:
            raise ArtifactError(f"'{self.path}' has the policies {numbers}; say the number of one")
        chosen = numbers[0] if number is None else number
        if chosen not in numbers:
            raise ArtifactError(f"'{self.path}' has no policy {chosen}; there are {numbers}")
        return self.policies[numbers.index(chosen)]


@bounded()
def read(path: str | os.PathLike[str], *, progress: Callable[[str, int, int], None] | None = None) -> Flight:
    """Reads the recording of a flight.

    A recording that was cut, at any byte, is read up to its last whole chunk; `cut` then says so.

    Args:
        path: a `.mcap` file of `FlightRecorder`.
        progress: called with (what is done, bytes done, bytes in all).

    Raises:
        ArtifactError: the file is missing, damaged, of a newer format, no recording of ganglion, or too large to be
            held in memory.
        EngineUnavailableError: the package `mcap` is not installed, or one that the chunks are packed with.
    """
    file = FlightFile(path)
    gathered: dict[tuple[int | None, str, str], list[NDArray[Any]]] = {}
    gaps: list[Hole] = []
    held = 0
    for part in file.parts():
        for lot in part.lots:
            held += lot.values.nbytes
            layout = str(lot.values.dtype.descr) if lot.kind == "guard" else ""
            gathered.setdefault((lot.policy, lot.kind, lot.topic + layout), []).append(lot.values)
        if held > LARGEST_RECORDING:
            raise ArtifactError(f"'{path}' holds more than {LARGEST_RECORDING:,} bytes, which are not held in memory")
        gaps += part.holes
        if progress is not None:
            progress("reading", *file.done)
    arrays = {key: _joined(str(path), key[2], lots) for key, lots in gathered.items()}
    about = file.metadata["ganglion.recording"]
    return Flight(
        path=str(path),
        version=about.get("version", ""),
        clock_offset_ns=_whole(path, "clock_offset_ns", about.get("clock_offset_ns", "0")),
        policies=tuple(
            _policy(str(path), file, attached, arrays)
            for number, attached in sorted(file.attached.items())
            # A cut between the name and the file of a policy: nothing happened to it.
            if number in file.attachments or file.cut is None
        ),
        events=_one(arrays, "events", (("count", "<u8"), ("policy", "<u4"), ("kind", "u1"))),
        ticks=_one(arrays, "ticks", (("off_s", "<f8"), ("tick", "u1"))),
        guards=tuple(values for (_, kind, _), values in arrays.items() if kind == "guard"),
        channels={
            topic.removeprefix("/user/"): values for (_, kind, topic), values in arrays.items() if kind == "user"
        },
        statistics=file.metadata.get("ganglion.statistics", {}),
        gaps=tuple(gaps),
        cut=file.cut,
    )


def _joined(path: str, topic: str, lots: list[NDArray[Any]]) -> NDArray[Any]:
    if any(lot.dtype != lots[0].dtype for lot in lots):
        raise ArtifactError(f"'{path}': messages on '{topic}' have more than one layout")
    return np.concatenate(lots)


def _one(arrays: Mapping[Any, NDArray[Any]], kind: str, fields: tuple[tuple[str, str], ...]) -> NDArray[Any]:
    found = [values for (_, known, _), values in arrays.items() if known == kind]
    if not found:
        return np.zeros(0, [("time_ns", "<i8"), ("sequence", "<u8"), *fields])
    values = np.concatenate(found)
    return np.asarray(values[np.argsort(values["sequence"])])


def _whole(path: Any, name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ArtifactError(f"'{path}': {name} is {text!r}, and no whole number") from error


def flown(path: str, file: FlightFile, attached: Attached) -> FlownPolicy:
    """What is known of a policy before anything happened to it.

    Raises:
        ArtifactError: its file is not in the recording, or is not the one that was flown.
    """
    return _policy(path, file, attached, {})


def _policy(path: str, file: FlightFile, attached: Attached, arrays: Mapping[Any, NDArray[Any]]) -> FlownPolicy:
    number, entries = attached.number, attached.entries
    try:
        contract = Contract.from_json(entries["contract"])
        hints = json.loads(entries.get("hints") or "{}")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"'{path}': what is said of policy {number} cannot be read: {error}") from error
    sizes = (contract.observation_size, tuple(spec.size for spec in contract.outputs), contract.hidden_size)
    if sizes != (attached.observation, attached.outputs, attached.hidden) or not isinstance(hints, dict):
        raise ArtifactError(f"'{path}': what is said of policy {number} contradicts itself")
    data = file.attachments.get(number)
    if data is None:
        raise ArtifactError(f"'{path}': the file of policy {number} is not in the recording")
    if hashlib.sha256(data).hexdigest() != entries.get("sha256"):
        raise ArtifactError(f"'{path}': the file of policy {number} in the recording is not the one that was flown")
    events = {}
    for kind in ("step", "reset", "set_state", "applied_action", "snapshot"):
        fields = [
            (name, format_) if count == 1 and name in _PLAIN else (name, format_, (count,))
            for name, format_, count in attached.fields(kind)
        ]
        empty = np.zeros(0, np.dtype(fields))
        events[kind] = arrays.get((number, kind, f"/policy{number}/{kind}"), empty)
    return FlownPolicy(
        number=number,
        contract=contract,
        file=entries.get("file", ""),
        data=data,
        suffix=Path(entries.get("attachment", "")).suffix,
        engine=entries.get("engine", ""),
        isa=entries.get("isa", ""),
        batch=attached.batch,
        sample_seed=attached.sample_seed,
        sha256=entries["sha256"],
        hints=hints,
        steps=events["step"],
        resets=events["reset"],
        set_states=events["set_state"],
        applied_actions=events["applied_action"],
        snapshots=events["snapshot"],
    )


_PLAIN = ("time_ns", "sequence", "state_digest", "status")

__all__ = ["EVENT_KINDS", "Flight", "FlownPolicy", "Hole", "flown", "read"]
