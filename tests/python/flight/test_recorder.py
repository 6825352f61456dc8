"""What the recorder writes is read by others, every number of it, also where the process was killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2.storage_mcap import McapReader as RosbagsReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

import ganglion
from ganglion import _core

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"

Values = dict[str, list[tuple[Any, ...]]]


def plain(message: Any) -> tuple[Any, ...]:
    """Every field, in order; NaN as None, because it is not equal to itself."""
    names = [name for name in getattr(message, "__slots__", None) or vars(message) if not name.startswith("_")]
    values: list[Any] = []
    for name in names:
        value = getattr(message, name)
        if isinstance(value, (bytes, list, tuple, np.ndarray)):
            values.append(tuple(None if item != item else float(item) for item in value))
        else:
            values.append(value)
    return tuple(values)


def by_mcap(path: Path) -> Values:
    found: Values = {}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages(log_time_order=False):
            found.setdefault(channel.topic, []).append(plain(message))
    return found


def by_rosbags(path: Path) -> Values:
    types = get_typestore(Stores.EMPTY)
    found: Values = {}
    reader = RosbagsReader(path)
    reader.open()
    for connection in reader.connections:
        types.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
    for connection, _, data in reader.messages(reader.connections, None, None):
        message = types.deserialize_cdr(data, connection.msgtype)
        found.setdefault(connection.topic, []).append(
            plain(_Fields({name: value for name, value in vars(message).items() if name != "__msgtype__"}))
        )
    reader.close()
    return found


def by_rerun(path: Path) -> Values:
    rerun = pytest.importorskip("rerun.chunk")
    found: Values = {}
    for chunk in rerun.McapReader(path, recover=True).stream().to_chunks():
        batch = chunk.to_record_batch()
        topic = batch.schema.metadata[b"rerun:entity_path"].decode()
        for name in batch.schema.names:
            if name.startswith("ganglion_msgs.") and name.endswith(":message"):
                for (message,) in batch.column(name).to_pylist():
                    found.setdefault(topic, []).append(plain(_Fields(message)))
    # Chunks come by topic and in any order; the recorder's own number tells.
    return {topic: sorted(messages, key=lambda message: message[1]) for topic, messages in found.items()}


class _Fields:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def fly(path: Path, compression: Any = "none", **options: Any) -> tuple[Values, ganglion.Policy]:
    """A flight with all verbs, and what must be in the file."""
    pilot = ganglion.load(ARTIFACTS / "lstm.ganglion")
    random_numbers = np.random.default_rng(0)
    expected: Values = {"/policy0/step": [], "/user/imu": []}
    with ganglion.FlightRecorder.open(path, **options) as recorder:
        pilot.attach(recorder)
        imu = recorder.channel("imu", 3)
        for step in range(700):
            recorder.set_time(step * 1_000_000)
            observation = random_numbers.normal(size=pilot.contract.observation_size).astype(np.float32)
            action = pilot.step(observation)
            digest = _core.xxh64(pilot.state().tobytes())
            expected["/policy0/step"].append(
                (step * 1_000_000, digest, 0, tuple(map(float, observation)), tuple(map(float, action)))
            )
            if step % 50 == 7:
                pilot.reset()
            if step % 50 == 17:
                pilot.set_state(pilot.state() * np.float32(0.5))
            values = random_numbers.normal(size=3).astype(np.float32)
            imu.record(values)
            expected["/user/imu"].append((step * 1_000_000, tuple(map(float, values))))
        recorder.close(compression)
        assert recorder.statistics().dropped == 0
        assert recorder.statistics().error == ""
    return expected, pilot


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4"])
@pytest.mark.parametrize("reader", [by_mcap, by_rosbags, by_rerun])
def test_others_read_every_number(reader: Any, compression: str, tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    try:
        expected, _ = fly(path, compression)
    except ganglion.EngineUnavailableError as error:
        pytest.skip(str(error))
    found = reader(path)
    steps = [(step[0], *step[2:]) for step in found["/policy0/step"]]
    assert steps == expected["/policy0/step"]
    assert [(one[0], one[2]) for one in found["/user/imu"]] == expected["/user/imu"]
    assert len(found["/policy0/reset"]) == len(found["/policy0/set_state"]) == 14
    numbers = sorted(message[1] for messages in found.values() for message in messages)
    assert numbers == list(range(len(numbers)))
    assert found == by_mcap(path)  # every field of every other topic


def test_our_own_reader_and_the_replay(tmp_path: Path) -> None:
    fly(tmp_path / "flight.mcap", snapshot_s=0.1)
    report = ganglion.replay(tmp_path / "flight.mcap")
    assert report.ok, report.verdict


def test_the_digest_is_that_of_xxhash() -> None:
    xxhash = pytest.importorskip("xxhash")
    draw = random.Random(3)
    for size in [*range(100), 1000, 4096, 100_003]:
        data = draw.randbytes(size)
        assert _core.xxh64(data) == xxhash.xxh64_intdigest(data)


ENDLESS = """
import sys, numpy as np, ganglion
pilot = ganglion.load(sys.argv[1])
recorder = ganglion.FlightRecorder.open(sys.argv[2])
pilot.attach(recorder)
print("flies", flush=True)
while True:
    for _ in range(200):
        pilot.step(np.ones(pilot.contract.observation_size, np.float32))
    recorder.flush()
"""


def test_killed_at_any_moment_it_opens(tmp_path: Path) -> None:
    draw = random.Random(5)
    for number in range(6):
        path = tmp_path / f"{number}.mcap"
        command = [sys.executable, "-c", ENDLESS, str(ARTIFACTS / "lstm.ganglion"), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
        found = by_mcap(path)
        assert by_rosbags(path) == found
        assert by_rerun(path) == found
        numbers = sorted(message[1] for messages in found.values() for message in messages)
        assert numbers == list(range(len(numbers)))


def test_a_recorder_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    path.write_text("somebody's")
    with pytest.raises(ganglion.GanglionError, match="exists already"):
        ganglion.FlightRecorder.open(path)
    with pytest.raises(ValueError, match="not one of none, zstd, lz4"):
        ganglion.FlightRecorder.open(path, overwrite=True).close("gzip")  # type: ignore[arg-type]
    with pytest.raises(ganglion.GanglionError, match="removed"), ganglion.FlightRecorder.open(path, overwrite=True):
        path.unlink()
    with ganglion.FlightRecorder.open(path) as recorder, pytest.raises(ValueError, match="records"):
        recorder.channel("a", 2).record([1.0])


def test_ticks_and_guard_are_recorded(tmp_path: Path) -> None:
    pilot = ganglion.load(ARTIFACTS / "lstm.ganglion")
    path = tmp_path / "flight.mcap"
    with ganglion.FlightRecorder.open(path) as recorder:
        monitor = ganglion.TickMonitor(0.001)
        guard = ganglion.ActionGuard(pilot.contract, rate=1.0, longest_tick_s=1.0)
        monitor.attach(recorder)
        guard.attach(recorder)
        guard.engage(np.zeros(pilot.contract.action_size))
        for step in range(5):
            monitor.tick(step * 1_000_000)
            guard.hold(step * 1_000_000)
    found = by_mcap(path)
    assert len(found["/ticks"]) == len(found["/guard"]) == 5
