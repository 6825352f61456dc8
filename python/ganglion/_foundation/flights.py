"""Recordings of flights, part by part: what `ganglion::FlightRecorder` wrote, checked, in order.

What is read here is told by sizes alone, so that whoever wants no more than the observations needs no contract;
`ganglion.flight` reads the rest.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ganglion import _core
from ganglion._foundation.files import LARGEST_RECORDING, opened
from ganglion._foundation.mcap import LARGEST_FILE, MAGIC, Attachment, McapFile, Messages, Metadata
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion._foundation.mcap import Cut

FORMAT = "1"
"""The format of recordings that this version reads."""

EVENT_KINDS: tuple[str, ...] = tuple(_core.event_kind_names())
"""What an event can be, by its number."""

_POLICY = re.compile(r"ganglion\.policy\.(\d{1,6})")
_TOPIC = re.compile(r"/policy(\d{1,6})/(step|reset|set_state|applied_action|snapshot)")
_SHARED_TOPIC = re.compile(r"/(?:(events)|(ticks|guard)\d*|(user)/.+)")
"""A second monitor or guard has a number behind the name."""
STATUSES = tuple(_core.Status.__members__)
"""What a loop verb answers, by its number."""
TICKS: tuple[str, ...] = tuple(_core.tick_names())
"""How a tick came, by its number."""
REASONS: tuple[str, ...] = tuple(_core.guard_reason_names())
"""What a guard did, by its number."""
_KNOWN = {"status": STATUSES, "kind": EVENT_KINDS, "tick": TICKS, "reason": REASONS}
_MOST_ELEMENTS = 1 << 26

_HEAD = (("time_ns", "<i8", 1), ("sequence", "<u8", 1))
_DIGEST, _STATUS = ("state_digest", "<u8", 1), ("status", "u1", 1)


class Attached(NamedTuple):
    """A policy that was attached to a recorder, as the file tells.

    Attributes:
        number: of the policy.
        entries: `contract`, `file`, `attachment`, `engine`, ...
        batch: rows of a step.
        observation: elements of one row.
        outputs: elements of every output in one row; the first is the action.
        hidden: elements of the state of one row.
        initial: `[hidden]`, what a reset gives.
        sample_seed: what its actions are drawn with, or None.
    """

    number: int
    entries: dict[str, str]
    batch: int
    observation: int
    outputs: tuple[int, ...]
    hidden: int
    initial: NDArray[np.float32]
    sample_seed: int | None

    def fields(self, kind: str) -> list[tuple[str, str, int]]:
        """Name, kind and number of the elements of a message; none of size 0."""
        rows = self.batch
        state = ("state", "<f4", rows * self.hidden)
        if kind == "step":
            first = 1 if self.sample_seed is None else 0
            more = [(f"output_{i}", "<f4", rows * self.outputs[i]) for i in range(first, len(self.outputs))]
            observation = ("observation", "<f4", rows * self.observation)
            fields = [_DIGEST, _STATUS, observation, ("action", "<f4", rows * self.outputs[0]), *more]
        elif kind == "reset":
            fields = [_STATUS, ("rows", "u1", rows)]
        elif kind == "set_state":
            fields = [_DIGEST, _STATUS, state]
        elif kind == "applied_action":
            fields = [_DIGEST, _STATUS, ("action", "<f4", rows * self.outputs[0])]
        else:
            drawn = [] if self.sample_seed is None else [("sample_step", "<u8", rows), ("sample_episode", "<u4", rows)]
            fields = [_DIGEST, *drawn, state]
        return [field for field in (*_HEAD, *fields) if field[2] > 0]


class Lot(NamedTuple):
    """Messages of one topic in one chunk.

    Attributes:
        topic: of which.
        policy: of which policy, or None.
        kind: `step`, `reset`, `set_state`, `applied_action`, `snapshot`, `events`, `ticks`, `guard`, or `user`.
        values: `[n]`, with the fields of the message.
    """

    topic: str
    policy: int | None
    kind: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Hole:
    """Events that the recorder had no room for.

    Attributes:
        sequence: number of the first event behind the hole.
        missing: how many are missing.
    """

    sequence: int
    missing: int


class Part(NamedTuple):
    """What one chunk holds.

    Attributes:
        lots: by topic.
        holes: before or between the messages of this chunk.
    """

    lots: tuple[Lot, ...]
    holes: tuple[Hole, ...]


class FlightFile:
    """One pass over the recording of a flight.

    Attributes:
        attached: the policies by number, as far as the file was read.
        attachments: the files of the policies by number.
        metadata: `ganglion.recording` and, of a recording that was closed, `ganglion.statistics`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file = McapFile(path)
        self.attached: dict[int, Attached] = {}
        self.attachments: dict[int, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self._last = -1
        self._checked: dict[tuple[str, np.dtype[Any]], bool] = {}

    @property
    def cut(self) -> Cut | None:
        """How the file stops where it has no end; known when `parts` is through."""
        return self._file.cut

    @property
    def done(self) -> tuple[int, int]:
        """Bytes that were read, and bytes in all."""
        return self._file.read, self._file.size

    def parts(self) -> Iterator[Part]:
        """The chunks in order.

        Raises:
            ArtifactError: the file is none of ours, or is damaged and not only cut.
        """
        for part in self._file.parts(_is_ours):
            if isinstance(part, Metadata):
                self._metadata(part)
            elif isinstance(part, Attachment):
                self._attachment(part)
            else:
                yield self._chunk(part)
        if "ganglion.recording" not in self.metadata:
            raise self._error("this MCAP file is no recording of ganglion: it has no metadata 'ganglion.recording'")

    def _error(self, what: str) -> ArtifactError:
        return ArtifactError(f"'{self._path}': {what}")

    def _metadata(self, metadata: Metadata) -> None:
        name, entries = metadata
        if not name.startswith("ganglion."):
            return
        policy = _POLICY.fullmatch(name)
        if name in self.metadata or (policy is not None and int(policy[1]) in self.attached):
            raise self._error(f"metadata '{name}' is there twice")
        if policy is not None:
            self.attached[int(policy[1])] = self._policy(int(policy[1]), entries)
            return
        if name == "ganglion.recording" and entries.get("format") != FORMAT:
            raise self._error(
                f"format {entries.get('format')!r} of recordings; this version reads {FORMAT}. Update ganglion"
            )
        self.metadata[name] = entries

    def _policy(self, number: int, entries: dict[str, str]) -> Attached:
        try:
            contract = json.loads(entries["contract"])
            batch = int(entries["batch"])
            seed = int(entries["sample_seed"]) if entries.get("sample_seed") else None
            observation = sum(int(spec["size"]) for spec in contract["inputs"])
            outputs = tuple(int(spec["size"]) for spec in contract["outputs"])
            hidden = sum(math.prod(int(size) for size in slot["shape"]) for slot in contract["state"])
            initial = np.asarray(contract["initial_state"], np.float32)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
            raise self._error(f"what is said of policy {number} cannot be read: {type(error).__name__}") from error
        sizes = (observation, hidden, *outputs)
        is_good = batch > 0 and bool(outputs) and min(sizes) >= 0 and batch * sum(sizes) <= _MOST_ELEMENTS
        if not is_good or initial.shape != (hidden,):
            raise self._error(f"policy {number} has sizes that no policy has")
        if seed is not None and not 0 <= seed < 2**64:
            raise self._error(f"policy {number} has the seed {seed}, which has no 64 bits")
        return Attached(number, entries, batch, observation, outputs, hidden, initial, seed)

    def _attachment(self, attachment: Attachment) -> None:
        named = [
            number for number, known in self.attached.items() if known.entries.get("attachment") == attachment.name
        ]
        if not named:
            found = re.match(r"policy(\d{1,6})(?=\.|$)", attachment.name)
            named = [int(found[1])] if found else []
        for number in named:
            if number in self.attachments:
                raise self._error(f"attachment '{attachment.name}' is there twice")
            self.attachments[number] = attachment.data

    def _chunk(self, messages: list[Messages]) -> Part:
        lots = tuple(self._lot(one) for one in messages)
        if not lots:
            return Part((), ())
        sequences = np.concatenate([lot.values["sequence"] for lot in lots])
        sequences = sequences[np.argsort(np.concatenate([one.places for one in messages]))]
        if (sequences > np.uint64(2**63 - 1)).any():
            raise self._error("an event has a number that no recording comes to")
        order = np.concatenate([np.array([self._last], np.int64), sequences.astype(np.int64)])
        steps = np.diff(order)
        if (steps <= 0).any():
            where = int(np.argmax(steps <= 0))
            raise self._error(f"event {order[where + 1]} stands behind event {order[where]}: they are out of order")
        self._last = int(order[-1])
        behind = np.flatnonzero(steps > 1)
        holes = tuple(Hole(int(order[i + 1]), int(steps[i] - 1)) for i in behind)
        return Part(lots, holes)

    def _lot(self, messages: Messages) -> Lot:
        channel, values, _ = messages
        found = _TOPIC.fullmatch(channel.topic)
        policy = None if found is None else int(found[1])
        if found is not None:
            kind = found[2]
        else:
            shared = _SHARED_TOPIC.fullmatch(channel.topic)
            assert shared is not None
            kind = next(filter(None, shared.groups()))
        if policy is not None and policy not in self.attached:
            raise self._error(f"messages of policy {policy}, which was never attached")
        assert channel.dtype is not None
        key = (channel.topic, channel.dtype)
        if key not in self._checked:
            self._checked[key] = True
            self._check_fields(channel.topic, kind, policy, channel.dtype)
        self._check_values(channel.topic, kind, values)
        return Lot(channel.topic, policy, kind, values)

    def _check_fields(self, topic: str, kind: str, policy: int | None, dtype: np.dtype[Any]) -> None:
        found = [
            (name, dtype[name].base, dtype[name].itemsize // dtype[name].base.itemsize) for name in dtype.names or ()
        ]
        if policy is not None:
            wanted = self.attached[policy].fields(kind)
        elif kind == "events":
            wanted = [*_HEAD, ("count", "<u8", 1), ("policy", "<u4", 1), ("kind", "u1", 1)]
        elif kind == "ticks":
            wanted = [*_HEAD, ("off_s", "<f8", 1), ("tick", "u1", 1)]
        else:
            size = found[-1][2] if found else 0
            last = ("command" if kind == "guard" else "values", "<f4", size)
            wanted = [*_HEAD, *([("element", "<u4", 1), ("reason", "u1", 1)] if kind == "guard" else []), last]
        if found != [(name, np.dtype(format_), count) for name, format_, count in wanted]:
            said = ", ".join(f"{name} {kind}[{count}]" for name, kind, count in found)
            told = ", ".join(f"{name} {np.dtype(format_)}[{count}]" for name, format_, count in wanted)
            raise self._error(f"messages on '{topic}' have the fields {said}; {told} are expected")

    def _check_values(self, topic: str, kind: str, values: NDArray[Any]) -> None:
        for field, known in _KNOWN.items():
            if field in (values.dtype.names or ()) and (values[field] >= len(known)).any():
                raise self._error(
                    f"a {kind} on '{topic}' has the {field} {values[field].max()}; this version knows 0 to "
                    f"{len(known) - 1}. Update ganglion"
                )


def is_flight(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a recording of a flight, by its first bytes; by its name where it cannot be read."""
    try:
        with opened(path, limit=LARGEST_FILE) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (ArtifactError, OSError):
        return str(path).endswith(".mcap")


def observed(path: str | os.PathLike[str], observation_size: int | None) -> tuple[dict[str, NDArray[Any]], str]:
    """What a policy of a flight saw and gave, without the steps that were refused.

    Args:
        path: the recording.
        observation_size: of the policy: of several in the flight the first one that takes so many elements; None for
            the first one of any size.

    Returns:
        `observation [T, batch, n]`, or `[T, n]` of one row; `reset [T, batch]`, also where something is missing; and
        `action`. And why not every action follows from the observations since a reset, or nothing.

    Raises:
        ArtifactError: the file is damaged, or nobody in it took so many elements or a single step.
    """
    file = FlightFile(path)
    kept: dict[int, list[tuple[NDArray[Any], ...]]] = {}
    begins: dict[int, NDArray[np.bool_]] = {}
    why: dict[int, str] = {}
    held = 0
    for part in file.parts():
        for number, attached in file.attached.items():
            if observation_size not in (None, attached.observation) or attached.observation == 0:
                continue
            own = {lot.kind: lot.values for lot in part.lots if lot.policy == number}
            resets = own.get("reset")
            at = np.array([hole.sequence for hole in part.holes], np.uint64)
            rows = np.ones((len(at), attached.batch), np.bool_)
            if len(at) and number in kept:
                why.setdefault(number, "events are missing in it")
            if resets is not None:
                resets = resets[resets["status"] == 0]
                at = np.concatenate([at, resets["sequence"]])
                rows = np.concatenate([rows, resets["rows"].reshape(-1, attached.batch) != 0])
            for kind, said in (("set_state", "the state was set"), ("applied_action", "an applied action was told")):
                if kind in own:
                    why.setdefault(number, f"{said} in the middle of it")
            if "snapshot" in own and number not in kept and not _is_initial(attached, own["snapshot"][0]):
                why.setdefault(number, "it begins in a state that is not the initial one")
            if attached.sample_seed is not None:
                why.setdefault(number, "its actions were drawn")
            pending = begins.get(number, np.zeros(attached.batch, np.bool_))
            steps = own.get("step")
            steps = None if steps is None else steps[steps["status"] == 0]
            if steps is None or not len(steps):
                begins[number] = pending | rows.any(axis=0)
                continue
            flags = np.zeros((len(steps) + 1, attached.batch), np.bool_)
            flags[0] = pending
            np.logical_or.at(flags, np.searchsorted(steps["sequence"], at), rows)
            begins[number] = flags[-1]
            shape = (len(steps), attached.batch, -1)
            parts = (steps["observation"].reshape(shape).copy(), flags[:-1], steps["action"].reshape(shape).copy())
            held += sum(values.nbytes for values in parts)
            if held > LARGEST_RECORDING:
                raise ArtifactError(f"{path}: more than {LARGEST_RECORDING:,} bytes of observations; record less")
            kept.setdefault(number, []).append(parts)
    if not kept:
        sizes = ", ".join(str(one.observation) for one in file.attached.values()) or "no policy"
        raise ArtifactError(
            f"{path}: no step of a policy that takes {observation_size or 'any'} elements; those of this flight take "
            f"{sizes}"
        )
    number = min(kept)
    observation, reset, action = (np.concatenate(parts) for parts in zip(*kept[number], strict=True))
    if observation.shape[1] == 1:
        observation, reset, action = observation[:, 0], reset[:, 0], action[:, 0]
    return {"observation": observation, "reset": reset, "action": action}, why.get(number, "")


def _is_initial(attached: Attached, snapshot: Any) -> bool:
    if attached.hidden == 0:
        return True
    return np.array_equal(np.tile(attached.initial, attached.batch), np.asarray(snapshot["state"]).reshape(-1))


def _is_ours(topic: str) -> bool:
    return _TOPIC.fullmatch(topic) is not None or _SHARED_TOPIC.fullmatch(topic) is not None
