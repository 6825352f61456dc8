"""Pickles read as data: what `pickle` would give, with stand-ins for objects, and nothing run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ganglion._foundation.pickles import PickleError, StandIn, read_pickle, stand_ins
from ganglion.adapters._files import read_torch, refuse_stand_ins, state_of_module
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
FLOATS = np.arange(6.0)
DATA: dict[str, Any] = {
    "none": [None, True, False],
    "numbers": [0, -1, 255, 65536, 2**31, -(2**70), 1.5, float("inf")],
    "text": ["", "é", "x" * 300, b"", b"\x00\xff" * 200],
    "containers": ({"a": [1, (2, {3: 4})]}, (), [], {}, {1, 2}, frozenset([3]), collections.OrderedDict(a=1)),
    "scalars": [np.float32(0.1), np.int64(-5), np.bool_(True), np.float64(2.5)],
    "shared": [[1, 2]] * 3,
}
ARRAYS: dict[str, Any] = {
    "float64": FLOATS,
    "fortran": np.asfortranarray(FLOATS.reshape(2, 3)),
    "strided": FLOATS[::2],
    "swapped": FLOATS.astype(">f4"),
    "half": FLOATS.astype(np.float16),
    "bool": np.array([True, False]),
    "uint8": np.arange(3, dtype=np.uint8),
    "nothing": np.zeros((0, 3)),
    "no axes": np.array(3.5),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", DATA)
def test_data_are_what_pickle_gives(name: str, protocol: int) -> None:
    pickled = pickle.dumps(DATA[name], protocol)
    assert read_pickle(pickled) == pickle.loads(pickled)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_what_pickle_gives(name: str, protocol: int) -> None:
    found = read_pickle(pickle.dumps({"x": ARRAYS[name]}, protocol))["x"]
    np.testing.assert_array_equal(found, ARRAYS[name])
    assert found.dtype == ARRAYS[name].dtype.newbyteorder("=") and found.shape == ARRAYS[name].shape


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_both_modules_of_numpy(core: str) -> None:
    for protocol in (2, 5):
        pickled = pickle.dumps([FLOATS, np.float64(2.0)], protocol)
        for name in (b"numpy._core", b"numpy.core"):
            new = b"numpy." + core.encode()
            pickled = pickled.replace(bytes([len(name)]) + b"\x00\x00\x00" + name, b"")
            if protocol == 2:
                pickled = pickled.replace(b"c" + name + b".", b"c" + new + b".")
        found = read_pickle(pickled)
        np.testing.assert_array_equal(found[0], FLOATS)
        assert found[1] == 2.0


class Thing:
    """A class of somebody else's."""

    def __init__(self) -> None:
        self.mean = FLOATS
        self.inner = {"again": self}


class Slotted:
    """The same with slots."""

    __slots__ = ("low",)

    def __init__(self) -> None:
        self.low = 2


class Settings(dict[str, int]):
    """A dictionary of somebody else's."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_are_stand_ins(protocol: int) -> None:
    found = read_pickle(pickle.dumps({"thing": Thing(), "settings": Settings(a=1), "free": 3}, protocol))
    thing, settings = found["thing"], found["settings"]
    assert isinstance(thing, StandIn) and thing.kind == f"{__name__}.Thing"
    np.testing.assert_array_equal(thing.attributes["mean"], FLOATS)
    assert thing.attributes["inner"]["again"] is thing
    assert settings.items == {"a": 1} and found["free"] == 3
    assert set(stand_ins(found)) == {f"{__name__}.Thing", f"{__name__}.Settings"}
    if protocol >= 2:
        assert read_pickle(pickle.dumps(Slotted(), protocol)).attributes == {"low": 2}


class Call:
    """Calls what it is told when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


ARRAY = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


def hostile(mark: Path) -> Iterator[bytes]:
    """Pickles that run something."""
    for protocol in PROTOCOLS:
        for call in (
            Call(os.system, f"touch {mark}"),
            Call(eval, f"open({str(mark)!r}, 'w')"),
            Call(exec, f"open({str(mark)!r}, 'w')"),
            Call(open, str(mark), "w"),
            Call(map, Call(os.mkdir, str(mark)), [1]),
        ):
            yield pickle.dumps(call, protocol)
            yield pickle.dumps({"mean": [call]}, protocol)
    command = f"touch {mark}".encode()
    yield b"(S'" + command + b"'\nios\nsystem\n."
    yield b"(cos\nsystem\nS'" + command + b"'\no."
    yield b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x08\x00\x00\x00__call__\x86RX\x02\x00\x00\x00ls\x85R."
    # By way of what data may name: a function behind encode, a state for a dtype and an array.
    yield b"\x80\x02c_codecs\nencode\ncos\nsystem\nX\x02\x00\x00\x00ls\x86R."
    yield b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R(K\x03X\x01\x00\x00\x00|NNNK\x01K\x01K?tb."
    yield ARRAY + b"(K\x01K\x02\x85cos\nsystem\n\x89C\x00tb."


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for pickled in hostile(mark):
        try:
            found = read_pickle(pickled)
        except PickleError:
            continue
        assert found is not None
        assert not mark.exists(), pickled
    assert not mark.exists()


def long(size: int) -> bytes:
    return struct.pack("<Q", size)


BOMBS = {
    "memo": b"\x80\x02}r\xff\xff\xff\xffN.",
    "bytes": b"\x80\x04\x8e" + long(2**62) + b".",
    "bytearray": b"\x80\x05\x96" + long(2**40) + b".",
    "text": b"\x80\x04\x8d" + long(2**50) + b"x.",
    "frame": b"\x80\x04\x95" + long(2**60) + b"N.",
    "number": b"\x80\x02\x8b\xff\xff\xff\x7f\x00.",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
    "hash": b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.",
    "hash of a set": b"\x80\x04\x8f(K\x01" + b"2\x86" * 60 + b"\x90.",
    "shape": (ARRAY + b"(K\x01\x8a\x05\x00\x00\x00\x00\x10\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89C\x00tb."),
    "copies": (
        b"\x80\x02X\x00\x00\x04\x00"
        + b"x" * 0x40000
        + b"q\x00"
        + b"0("
        + b"c_codecs\nencode\nh\x00\x85R" * 3000
        + b"t."
    ),
    "laughs": b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(30)) + b".",
    "marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "nested": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_neither_memory_nor_time(name: str) -> None:
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        stand_ins(read_pickle(BOMBS[name]))
    except PickleError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50_000_000
    assert time.perf_counter() - begin < 10.0


def test_damaged_pickles_are_errors_of_ours() -> None:
    pickled = pickle.dumps({"thing": Thing(), "x": ARRAYS["fortran"], "s": np.float32(1)})
    random = np.random.default_rng(0)
    for size in range(len(pickled)):
        with pytest.raises(PickleError):
            read_pickle(pickled[:size])
    refused = 0
    for _ in range(3000):
        damaged = bytearray(pickled)
        for place in random.integers(len(pickled), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        try:
            list(stand_ins(read_pickle(bytes(damaged))))
        except PickleError:
            refused += 1
    assert refused > 1000


# Files of torch


class Net(torch.nn.Module):
    """A module that was saved as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        self.head = torch.nn.Linear(4, 2)
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("left_out", torch.ones(2), persistent=False)


def test_whole_modules_give_their_weights(tmp_path: Path) -> None:
    net = Net()
    torch.save({"model": net, "note": Thing()}, tmp_path / "net.pt")
    found = read_torch(tmp_path / "net.pt")
    state = state_of_module(found["model"])
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    with pytest.raises(
        ArtifactError, match=r"Net, which is not run\); if you trust whoever wrote it, allow it: --allow"
    ):
        refuse_stand_ins(found, "file")


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_of_a_file_of_torch_is_run(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for call in (
        Call(os.system, f"touch {mark}"),
        Call(eval, f"open({str(mark)!r}, 'w')"),
        Call(getattr, "load", "upper"),
        Call(torch.save, 1, str(mark)),
    ):
        torch.save({"x": call, "y": torch.ones(2)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        try:
            found = read_torch(tmp_path / "x.pt")
        except ArtifactError:
            found = None
        assert found is None or isinstance(found["x"], StandIn)
    assert not mark.exists()


def test_tensors_without_numbers_are_refused() -> None:
    for tensor in (torch.ones(1).expand(2**40), torch.empty(2**40, device="meta"), torch.ones(2, 2).to_sparse()):
        buffer = io.BytesIO()
        torch.save({"policy": {"net.0.weight": tensor}}, buffer)
        with pytest.raises(ArtifactError, match=r"holds a tensor of"):
            read_torch(buffer.getvalue(), name="file")
