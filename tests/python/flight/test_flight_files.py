"""Recordings of flights are read whole, or cut, or refused in a sentence; never anything else."""

from __future__ import annotations

import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flight_files import HEAD, FlightFile, Flown, event
from mcap.writer import CompressionType
from mutations import flipped

from ganglion import flight
from ganglion._foundation.boundary import DEFECT
from ganglion._foundation.mcap import dtype_of
from ganglion.errors import ArtifactError, EngineUnavailableError, GanglionError

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
LSTM = ARTIFACTS / "lstm.ganglion"


def recording(steps: int = 60, *, chunk_size: int = 1500, **options: Any) -> FlightFile:
    file = FlightFile(chunk_size=chunk_size, **options)
    file.recording()
    flown = Flown(file, LSTM)
    event(file, 0)
    draw = np.random.default_rng(1)
    values = [*((*field, False) for field in HEAD), ("values", "<f4", 2, True)]
    for step in range(steps):
        flown.step(draw.normal(size=3))
        if step % 20 == 19:
            flown.reset()
        if step % 7 == 0:
            file.message("/user/mode", "Values2", values, values=[step, -step])
    return file


@pytest.fixture(scope="module")
def whole() -> bytes:
    return recording().done()


def read(data: bytes, folder: Path) -> flight.Flight:
    path = folder / "flight.mcap"
    path.write_bytes(data)
    return flight.read(path)


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    file = FlightFile()
    file.recording(clock_offset_ns="5", version="7.8")
    flown = Flown(file, ARTIFACTS / "gru_batch4.ganglion")
    observations = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    actions = []
    for step, observation in enumerate(observations):
        flown.step(observation)
        actions.append(flown.pilot.output(0))
        if step == 2:
            flown.reset([0, 1, 1, 0])
    flown.step(np.full((4, 3), np.nan))
    flown.set_state(np.ones((4, 16)))
    event(file, 2, policy=0)
    found = read(file.done(), tmp_path)
    policy = found.policy()
    assert (found.version, found.clock_offset_ns, found.cut, found.gaps) == ("7.8", 5, None, ())
    assert policy.data == (ARTIFACTS / "gru_batch4.ganglion").read_bytes() and policy.contract == flown.pilot.contract
    assert np.array_equal(policy.observation[:5], observations) and np.array_equal(policy.action[:5], np.stack(actions))
    assert policy.output("actions").shape == (6, 4, 2) and np.isnan(policy.action[5]).all()
    assert policy.status == ["ok"] * 5 + ["non_finite_observation"] and not policy.is_ok[5]
    assert np.array_equal(policy.begins[3], [False, True, True, False]) and policy.begins.sum() == 2
    assert np.array_equal(policy.set_states["state"][0], np.ones(64, np.float32))
    assert found.events["kind"].tolist() == [2] and len(policy.snapshots) == 1
    assert np.array_equal(policy.steps["time_ns"], np.array([1, 2, 3, 5, 6, 7]) * 1_000_000)


@pytest.mark.parametrize("compression", CompressionType)
def test_every_compression(compression: CompressionType, tmp_path: Path, whole: bytes) -> None:
    packed, plain = read(recording(compression=compression).done(), tmp_path), read(whole, tmp_path)
    assert np.array_equal(packed.policy().steps, plain.policy().steps)
    assert np.array_equal(packed.channels["mode"], plain.channels["mode"]) and len(plain.channels["mode"]) == 9


def test_a_recording_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path, whole: bytes) -> None:
    steps = read(whole, tmp_path).policy().steps
    counts = set()
    end = whole.rindex(bytes([0x0F, 4, 0, 0, 0, 0, 0, 0, 0]))  # of the data
    for at in [*range(0, len(whole), 211), *range(end - 40, end + 1)]:
        try:
            found = read(whole[:at], tmp_path)
        except ArtifactError as error:
            assert at < whole.index(b"policy0.ganglion", 100) + 30_000, f"cut at {at}: {error}"
            assert DEFECT not in str(error)
            continue
        assert found.cut is not None and found.cut.position + found.cut.missing == at, at
        own = found.policies[0].steps if found.policies else steps[:0]
        assert np.array_equal(own, steps[: len(own)])
        counts.add(len(own))
    assert len(counts) > 4 and max(counts) == len(steps)


def test_half_a_chunk_over_the_old_end_is_a_cut(tmp_path: Path, whole: bytes) -> None:
    """The recorder writes the next chunk over the end of the file, which may stay there behind some of it."""
    ending = bytes([0x0F, 4, *[0] * 11]) + bytes([0x02, 20, *[0] * 27]) + b"\x89MCAP0\r\n"
    data = whole[: whole.rindex(bytes([0x0F, 4, 0, 0, 0, 0, 0, 0, 0]))] + ending
    assert read(data, tmp_path).cut is None
    half = data[: -len(ending)] + struct.pack("<BQ", 6, 5000) + ending[9:]
    found = read(half, tmp_path)
    assert found.cut is not None and len(found.policy().steps) == 60
    assert "50 bytes behind byte" in found.cut.sentence


def chunk(data: bytes, size: int | None = None, crc: int | None = None, compression: bytes = b"") -> bytes:
    crc = zlib.crc32(data) if crc is None else crc
    head = struct.pack("<QQQI", 0, 0, len(data) if size is None else size, crc)
    body = head + struct.pack("<I", len(compression)) + compression + struct.pack("<Q", len(data)) + data
    return struct.pack("<BQ", 6, len(body)) + body


def with_record(record: bytes, whole: bytes) -> bytes:
    at = whole.rindex(bytes([0x0F, 4, 0, 0, 0, 0, 0, 0, 0]))
    return whole[:at] + record + whole[at:]


def hostile(name: str, whole: bytes) -> bytes:
    if name in ("status", "tick", "order", "nobody", "fields", "counter"):
        file = recording(5)
        if name == "status":
            fields = [*((*field, False) for field in HEAD), ("status", "u1", 1, False), ("rows", "u1", 1, True)]
            file.message("/policy0/reset", "Reset", fields, status=77, rows=1)
        elif name == "tick":
            fields = [*((*field, False) for field in HEAD), ("off_s", "<f8", 1, False), ("tick", "u1", 1, False)]
            file.message("/ticks", "Tick", fields, tick=99)
        elif name == "order":
            file.message("/user/mode", "x", [], sequence=3)
        elif name == "counter":
            file.message("/user/mode", "x", [], sequence=2**64 - 1)
        elif name == "nobody":
            file.message("/policy3/reset", "Reset", [*((*field, False) for field in HEAD), ("rows", "u1", 1, True)])
        else:
            fields = [*((*field, False) for field in HEAD), ("state", "<f4", 31, True)]
            file.message("/policy0/set_state", "State", fields)
        return file.done()
    if name in ("format", "twice", "sizes", "batch", "seed", "another file", "no contract", "two of one"):
        file = FlightFile()
        file.recording(**({"format": "2"} if name == "format" else {}))
        if name == "twice":
            file.recording()
        pilot = flight_pilot()
        changes = {
            "sizes": {"batch": "100000000"},
            "batch": {"batch": "x"},
            "seed": {"sample_seed": "-1"},
            "another file": {"sha256": "0" * 64},
            "no contract": {"contract": "[" * 100_000},
        }.get(name, {})
        file.policy(0, LSTM, pilot, **changes)
        if name == "two of one":
            file.policy(0, LSTM, pilot)
        return file.done()
    return {
        "nothing": lambda: b"",
        "something else": lambda: b"\x89PNG" + whole,
        "first bytes": lambda: whole[:5],
        "no recording": lambda: FlightFile().done(),
        "crc": lambda: with_record(chunk(b"\x05" + bytes(40), crc=1), whole),
        "attachment": lambda: whole.replace(b'"ganglion":', b'"ganglioN":', 2),
        "no header": lambda: whole[:8] + chunk(b"") + whole[8:],
        "outside": lambda: with_record(struct.pack("<BQ", 5, 22) + bytes(22), whole),
        "huge record": lambda: with_record(struct.pack("<BQ", 6, 2**63), whole),
        "huge in a chunk": lambda: with_record(chunk(struct.pack("<BQ", 5, 2**62)), whole),
        "short message": lambda: with_record(chunk(struct.pack("<BQ", 5, 3) + bytes(3)), whole),
        "half a head": lambda: with_record(chunk(b"\x05\x01"), whole),
        "no channel": lambda: with_record(chunk(struct.pack("<BQH", 5, 22, 999) + bytes(20)), whole),
        "huge chunk": lambda: with_record(chunk(b"", size=2**40), whole),
        "claims more": lambda: with_record(chunk(b"\x80" + bytes(10), size=30), whole),
        "bomb": lambda: with_record(chunk(bomb(), size=100, crc=0, compression=b"zstd"), whole),
        "lz4 bomb": lambda: with_record(chunk(bomb("lz4"), size=100, crc=0, compression=b"lz4"), whole),
        "packed nonsense": lambda: with_record(chunk(bytes(50), size=100, crc=0, compression=b"zstd"), whole),
        "lz4 nonsense": lambda: with_record(chunk(bytes(50), size=100, crc=0, compression=b"lz4"), whole),
        "unknown packing": lambda: with_record(chunk(b"", compression=b"brotli"), whole),
        "more behind": lambda: whole + whole,
        "no kind": lambda: with_record(bytes(9), whole),
    }[name]()


def flight_pilot() -> Any:
    import ganglion

    return ganglion.load(LSTM)


def bomb(kind: str = "zstd") -> bytes:
    if kind == "lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(bytes(1 << 24)))
    import zstandard

    return bytes(zstandard.compress(bytes(1 << 24)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "no MCAP file"),
        ("something else", "no MCAP file"),
        ("first bytes", "cut in its first bytes"),
        ("no recording", "no recording of ganglion"),
        ("format", "Update ganglion"),
        ("twice", "is there twice"),
        ("two of one", "is there twice"),
        ("sizes", "sizes that no policy has"),
        ("batch", "cannot be read"),
        ("no contract", "cannot be read"),
        ("seed", "64 bits"),
        ("another file", "not the one that was flown"),
        ("attachment", "checksum"),
        ("status", "the status 77"),
        ("tick", "the tick 99"),
        ("order", "out of order"),
        ("counter", "no recording comes to"),
        ("nobody", "never attached"),
        ("fields", "are expected"),
        ("crc", "checksum"),
        ("no header", "begins with its header"),
        ("outside", "outside of chunks"),
        ("huge record", "are left"),
        ("huge in a chunk", "has 0 left"),
        ("short message", "a message of 3 bytes"),
        ("half a head", "in the middle of a record"),
        ("no channel", "was not there before it"),
        ("huge chunk", "are read"),
        ("claims more", "says that it has 30 bytes"),
        ("bomb", "and has more"),
        ("lz4 bomb", "and has more"),
        ("packed nonsense", "cannot be unpacked"),
        ("lz4 nonsense", "cannot be unpacked"),
        ("unknown packing", "brotli"),
        ("more behind", "damaged"),
        ("no kind", "kind 0"),
    ],
)
def test_what_is_no_recording_is_refused(name: str, said: str, tmp_path: Path, whole: bytes) -> None:
    with pytest.raises(ArtifactError, match=said) as found:
        read(hostile(name, whole), tmp_path)
    assert DEFECT not in str(found.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.mcap", Path("/dev/zero")):
        with pytest.raises(ArtifactError):
            flight.read(path)


def test_without_the_package(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcap.records", None)
    with pytest.raises(EngineUnavailableError, match=r"ganglion\[flight\]"):
        read(whole, tmp_path)


def damaged(data: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    return data[: draw.randrange(len(data))] if draw.random() < 0.3 else flipped(data, seed)


def check_damaged(seeds: range, folder: Path) -> None:
    for compression in CompressionType:
        data = recording(40, compression=compression).done()
        # The policy itself is most of the file, and has a checksum; damage is wanted beside it.
        start = data.index(LSTM.read_bytes()) + LSTM.stat().st_size
        for seed in seeds:
            path = folder / "damaged.mcap"
            path.write_bytes(damaged(data, seed) if seed % 4 == 0 else data[:start] + damaged(data[start:], seed))
            for reader in (flight.read, flight.replay):
                try:
                    reader(path)
                except GanglionError as error:
                    assert DEFECT not in str(error), (compression, seed)


def test_damage_is_refused_in_a_sentence(tmp_path: Path) -> None:
    check_damaged(range(60), tmp_path)


@pytest.mark.deep
@pytest.mark.sampled(1)
@pytest.mark.parametrize("first", range(1000, 3000, 200))
def test_much_damage_is_refused_in_a_sentence(first: int, tmp_path: Path) -> None:
    check_damaged(range(first, first + 200), tmp_path)


def test_a_foreign_channel_is_left_alone(tmp_path: Path) -> None:
    file = recording(10)
    schema = file.writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
    channel = file.writer.register_channel("/chatter", "cdr", schema)
    for size in (3, 70):
        file.writer.add_message(channel, 0, bytes(size), 0)
    assert len(read(file.done(), tmp_path).policy().steps) == 10


def test_layouts() -> None:
    layout = dtype_of("# a comment\nuint8 OK=0\nuint8 a  # one\nfloat64[2] b\nint16 c\nuint32 d")
    assert layout is not None and layout.itemsize == 32
    assert [layout.fields[name][1] for name in "abcd"] == [0, 8, 24, 28]  # type: ignore[index]
    for text in ("", "string a", "float32[] a", "float32[<=3] a", "float32[0] a", "float32 a\nfloat32 a", "A/B c"):
        assert dtype_of(text) is None, text
