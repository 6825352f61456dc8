"""What the recorder writes is read by others, every number of it, also where the process was killed."""

from __future__ import annotations

import itertools
import os
import random
import shutil
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


@pytest.mark.deep
@pytest.mark.sampled(1)
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_it_opens(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    command = [sys.executable, "-c", ENDLESS, str(ARTIFACTS / "lstm.ganglion"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
    found = by_mcap(path)
    assert by_rosbags(path) == found
    assert by_rerun(path) == found
    numbers = sorted(message[1] for messages in found.values() for message in messages)
    assert numbers == list(range(len(numbers)))


SHIM = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int calls;
static ssize_t counted(int file, const void *from, size_t size, off_t at) {
  int number = ++calls, last = atoi(getenv("KILLED_IN"));
  int is_half = getenv("KILLED_HALF")[0] == '1';
  if (number == last && is_half && size > 64) size /= 2;
  ssize_t done = syscall(SYS_pwrite64, file, from, size, at);
  if (number == last) kill(getpid(), SIGKILL);
  return done;
}
ssize_t pwrite(int file, const void *from, size_t size, off_t at) { return counted(file, from, size, at); }
ssize_t pwrite64(int file, const void *from, size_t size, off_t at) { return counted(file, from, size, at); }
"""
"""Kills the process behind its n-th write, or in the middle of it; the smallest writes are one for the kernel."""

FLUSHES = """
import os, sys, numpy as np, ganglion
pilot = ganglion.load(sys.argv[1])
recorder = ganglion.FlightRecorder.open(sys.argv[2])
pilot.attach(recorder)
for flush in range(5):
    for _ in range(20):
        pilot.step(np.ones(pilot.contract.observation_size, np.float32))
    recorder.flush()
if "large" in sys.argv:
    large = recorder.channel("large", 600_000)  # more than what is spare: the file must grow
    for _ in range(3):
        large.record(np.ones(600_000, np.float32))
        recorder.flush()
if "close" in sys.argv:
    recorder.close()
os._exit(0)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no cc")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c"], check=True)
    return folder / "shim.so"


@pytest.mark.deep
@pytest.mark.sampled(1)
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("more", [(), ("large", "close")])
def test_killed_behind_every_write_it_opens(more: tuple[str, ...], half: int, shim: Path, tmp_path: Path) -> None:
    steps = 0
    for number in itertools.count(11):  # before, nothing happened
        path = tmp_path / f"{number}.mcap"
        command = [sys.executable, "-c", FLUSHES, str(ARTIFACTS / "lstm.ganglion"), str(path), *more]
        told = {"LD_PRELOAD": str(shim), "KILLED_IN": str(number), "KILLED_HALF": str(half)}
        if subprocess.run(command, env=os.environ | told, check=False).returncode != -signal.SIGKILL:
            break  # there are no more writes
        found = by_mcap(path)
        assert by_rerun(path) == found
        # Where the file grows or is closed, there are two ends between two writes, which rosbags cannot read.
        assert more or by_rosbags(path) == found
        ours = ganglion.flight.read(path)
        own = sum(len(policy.steps) for policy in ours.policies)
        assert own == len(found.get("/policy0/step", [])) and ours.missing_events == 0
        assert own >= steps  # what is in the file stays there
        steps = own
    assert steps == 100 and number > 20


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


def test_several_monitors_and_guards_are_no_gap(tmp_path: Path) -> None:
    pilot = ganglion.load(ARTIFACTS / "lstm.ganglion")
    path = tmp_path / "flight.mcap"
    with ganglion.FlightRecorder.open(path) as recorder:
        pilot.attach(recorder)
        monitors = [ganglion.TickMonitor(0.001) for _ in range(3)]
        guards = [ganglion.ActionGuard(pilot.contract, rate=1.0, longest_tick_s=1.0) for _ in range(3)]
        for watcher in (*monitors, *guards):
            watcher.attach(recorder)
        for guard in guards:
            guard.engage(np.zeros(pilot.contract.action_size))
        for step in range(50):
            for monitor in monitors:
                monitor.tick(step * 1_000_000)
            action = pilot.step(np.ones(pilot.contract.observation_size))
            for guard in guards:
                guard.apply(action, step * 1_000_000)
    flight = ganglion.flight.read(path)
    assert flight.missing_events == 0
    assert len(flight.ticks) == 150 and (np.diff(flight.ticks["sequence"].astype(np.int64)) > 0).all()
    assert [len(guard) for guard in flight.guards] == [50, 50, 50]
    report = ganglion.replay(path)
    assert report.ok and report.steps == 50, report.verdict


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
