"""Arrays whose headers lie: refused with a sentence, before memory is taken."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from ganglion._foundation.recordings import read_plain
from ganglion.adapters._arrays import read_arrays
from ganglion.data import EpisodeBatch
from ganglion.errors import ArtifactError, GanglionError


def npy(header: str | bytes, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header if isinstance(header, bytes) else header.encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + body


def header(shape: str, dtype: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}}}\n"


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}, []], dtype=object))
    return file.getvalue()


HOSTILE = {
    "a terabyte": (npy(header("(1000000000000,)"), b"1234"), "announces 4,000,000,000,000 bytes and has 4"),
    "of nothing": (npy(header("(3000000000, 100)", "'|i1'")), "announces"),
    "beyond every integer": (npy(header("(" + "9" * 400 + ",)")), "announces|no readable|not a readable|damaged"),
    "a negative axis": (npy(header("(-1, -4)"), b"x" * 16), "shape|no readable|not a readable|damaged"),
    "true as an axis": (npy(header("(True, 4)"), b"x" * 16), "shape|no readable|not a readable|damaged"),
    "too short": (npy(header("(3, 4)"), b"x" * 40), "announces 48 bytes and has 40"),
    "too long": (npy(header("(3, 4)"), b"x" * 60), "announces 48 bytes and has 60"),
    "objects": (objects(), "Python objects|program"),
    "a record of objects": (npy(header("(2,)", "[('a', 'O')]"), b"x" * 16), "Python objects"),
    "version 3": (npy(header("(1,)"), b"1234", (3, 0)), "version"),
    "version 9": (npy(header("(1,)"), b"1234", (9, 7)), "version"),
    "a program": (npy("__import__('os').system('true')\n"), "damaged|readable"),
    "too deep": (npy("(" * 4000 + ")" * 4000), "damaged|readable"),
    "no dictionary": (npy("[1, 2]\n"), "damaged|readable"),
    "no header": (npy(b""), "damaged|readable"),
    "a long header": (npy(header("(1,)") + " " * 100_000, b"1234", (2, 0)), "damaged|readable"),
    "no array": (b"observation", "no array|readable"),
    "half a magic": (b"\x93NUM", "no array|readable"),
}


@pytest.fixture(params=HOSTILE)
def hostile(request):
    return HOSTILE[request.param]


def archive(path, data: bytes):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("observation.npy", data)
        file.writestr("meta.npy", data)
    return path


def refused(sentence, read):
    tracemalloc.start()
    try:
        with pytest.raises(GanglionError, match=sentence):
            read()
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_recordings(tmp_path, hostile):
    path = archive(tmp_path / "run.npz", hostile[0])
    refused(hostile[1], lambda: read_plain(path, 4, None))


def test_episodes(tmp_path, hostile):
    path = archive(tmp_path / "run.npz", hostile[0])
    refused(f"{hostile[1]}|no recording of ganglion", lambda: EpisodeBatch.load(path))


def test_weights_of_another_library(tmp_path, hostile):
    path = archive(tmp_path / "weights.npz", hostile[0])
    refused(f"{hostile[1]}|pickle", lambda: read_arrays(path, allow_pickle=False))


def test_a_single_array(tmp_path, hostile):
    path = tmp_path / "weights.npy"
    path.write_bytes(hostile[0])
    refused(f"{hostile[1]}|pickle", lambda: read_arrays(path, allow_pickle=False))


def test_what_is_right_is_read(tmp_path):
    for value in (np.zeros((0, 3), np.float32), np.float64(3.0), np.arange(6.0).reshape(2, 3).T, np.array(["ab", "c"])):
        np.savez(tmp_path / "a.npz", value=value)
        np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", allow_pickle=False)["value"], value)
        np.save(tmp_path / "a.npy", value)
        np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy", allow_pickle=False), value)
    with pytest.raises(ArtifactError, match="no such recording"):
        read_plain(tmp_path / "missing.npz", 4, None)
