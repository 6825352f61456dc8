"""Recordings as nobody's recorder writes them: every message said by the test, by PyPI's writer of MCAP.

The fields are those of docs/flight.md; what is written here may contradict itself, which is what it is for.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from mcap.writer import CompressionType, Writer

import ganglion
from ganglion import _core
from ganglion._foundation.mcap import dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KINDS = {"<i8": "int64", "<u8": "uint64", "<u4": "uint32", "u1": "uint8", "<f4": "float32", "<f8": "float64"}
HEAD = (("time_ns", "<i8", 1), ("sequence", "<u8", 1))


def schema_of(fields: Any) -> str:
    return "\n".join(f"{KINDS[kind]}{f'[{count}]' if many else ''} {name}" for name, kind, count, many in fields)


class FlightFile:
    """Writes one recording; `sequence` and `time_ns` go on by themselves."""

    def __init__(self, *, chunk_size: int = 4096, compression: CompressionType = CompressionType.NONE) -> None:
        self.buffer = io.BytesIO()
        self.writer = Writer(self.buffer, chunk_size=chunk_size, compression=compression)
        self.writer.start("ros2", "ganglion test")
        self.sequence = 0
        self.time_ns = 0
        self._channels: dict[str, tuple[int, np.dtype[Any]]] = {}

    def recording(self, **changes: str) -> None:
        self.writer.add_metadata(
            "ganglion.recording", {"format": "1", "version": "0", "clock_offset_ns": "0"} | changes
        )

    def policy(self, number: int, path: Path, pilot: ganglion.Policy, seed: int | None = None, **changes: str) -> None:
        data, name = path.read_bytes(), f"policy{number}{path.suffix}"
        self.writer.add_metadata(
            f"ganglion.policy.{number}",
            {
                "contract": pilot.contract.to_json(),
                "file": str(path.name),
                "attachment": name,
                "engine": pilot.engine,
                "isa": "x",
                "batch": str(pilot.batch),
                "sample_seed": "" if seed is None else str(seed),
                "sha256": hashlib.sha256(data).hexdigest(),
                "hints": "",
            }
            | changes,
        )
        self.writer.add_attachment(0, 0, name, "application/octet-stream", changes.get("data", data))  # type: ignore[arg-type]

    def message(self, topic: str, schema_name: str, fields: list[tuple[str, str, int, bool]], /, **values: Any) -> None:
        """One message; `sequence` and `time_ns` may be given."""
        if topic not in self._channels:
            text = schema_of(fields)
            dtype = dtype_of(text)
            assert dtype is not None
            schema = self.writer.register_schema(f"ganglion_msgs/msg/{schema_name}", "ros2msg", text.encode())
            self._channels[topic] = self.writer.register_channel(topic, "cdr", schema), dtype
        channel, dtype = self._channels[topic]
        body = np.zeros((), dtype)
        given = {"sequence": self.sequence, "time_ns": self.time_ns} | values
        for name, value in given.items():
            body[name] = np.asarray(value).reshape(dtype[name].shape)
        self.writer.add_message(channel, self.time_ns, bytes((0, 1, 0, 0)) + body.tobytes(), self.time_ns)
        self.sequence = int(given["sequence"]) + 1
        self.time_ns = int(given["time_ns"]) + 1_000_000

    def done(self) -> bytes:
        self.writer.finish()
        return self.buffer.getvalue()


def policy_fields(pilot: ganglion.Policy, kind: str, seed: int | None = None) -> list[tuple[str, str, int, bool]]:
    contract, rows = pilot.contract, pilot.batch
    digest, status = ("state_digest", "<u8", 1, False), ("status", "u1", 1, False)
    state = ("state", "<f4", rows * contract.hidden_size, True)
    action = ("action", "<f4", rows * contract.action_size, True)
    outputs = [(f"output_{i}", "<f4", rows * spec.size, True) for i, spec in enumerate(contract.outputs)]
    fields = {
        "step": [
            digest,
            status,
            ("observation", "<f4", rows * contract.observation_size, True),
            action,
            *outputs[1 if seed is None else 0 :],
        ],
        "reset": [status, ("rows", "u1", rows, True)],
        "set_state": [digest, status, state],
        "applied_action": [digest, status, action],
        "snapshot": [digest]
        + ([] if seed is None else [("sample_step", "<u8", rows, True), ("sample_episode", "<u4", rows, True)])
        + [state],
    }[kind]
    return [field for field in (*((*field, False) for field in HEAD), *fields) if field[2] > 0]


class Flown:
    """A pilot whose verbs are recorded, as the recorder does it."""

    def __init__(self, file: FlightFile, path: Path, number: int = 0, seed: int | None = None, **options: Any) -> None:
        self.file, self.number, self.seed = file, number, seed
        self.pilot = ganglion.load(path, sample_seed=seed, **options)
        file.policy(number, path, self.pilot, seed)
        self.snapshot()

    def _message(self, kind: str, **values: Any) -> None:
        name = "".join(part.capitalize() for part in kind.split("_"))
        fields = policy_fields(self.pilot, kind, self.seed)
        given = {key: value for key, value in values.items() if key in {field[0] for field in fields}}
        self.file.message(f"/policy{self.number}/{kind}", f"Policy{self.number}{name}", fields, **given)

    @property
    def state(self) -> Mapping[str, Any]:
        state = self.pilot._core.state()
        return {"state_digest": _core.xxh64(state.tobytes()), "state": state}

    def snapshot(self, **more: Any) -> None:
        self._message("snapshot", **{**self.state, **more})

    def step(self, observation: Any, replaced: Mapping[str, Any] | None = None) -> None:
        observation = np.asarray(observation, np.float32)
        action = np.full(self.pilot.batch * self.pilot.contract.action_size, np.nan, np.float32)
        status = self.pilot._core.step(np.ascontiguousarray(observation), action)
        outputs = {}
        for index, spec in enumerate(self.pilot.contract.outputs):
            nothing = np.full(self.pilot.batch * spec.size, np.nan, np.float32)
            outputs[f"output_{index}"] = self.pilot._core.output(index) if int(status) == 0 else nothing
        values = {"status": int(status), "observation": observation, "action": action, **outputs, **self.state}
        self._message("step", **{**values, **(replaced or {})})

    def reset(self, rows: Any = None) -> None:
        rows = np.ones(self.pilot.batch, np.uint8) if rows is None else np.asarray(rows, np.uint8)
        self.pilot._core.reset_rows(rows)
        self._message("reset", status=0, rows=rows)

    def set_state(self, state: Any) -> None:
        status = self.pilot._core.set_state(np.ascontiguousarray(state, np.float32))
        self._message("set_state", **{**self.state, "status": int(status), "state": state})

    def applied(self, action: Any) -> None:
        status = self.pilot._core.set_applied_action(np.ascontiguousarray(action, np.float32))
        self._message("applied_action", **self.state, status=int(status), action=action)


def event(file: FlightFile, kind: int, policy: int = 0, count: int = 0) -> None:
    fields = [*((*field, False) for field in HEAD), ("count", "<u8", 1, False), ("policy", "<u4", 1, False)]
    file.message("/events", "Event", [*fields, ("kind", "u1", 1, False)], count=count, policy=policy, kind=kind)
