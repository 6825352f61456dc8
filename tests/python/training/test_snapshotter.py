"""Snapshots: plain data, whole or not at all, and no code in them is run."""

from __future__ import annotations

import collections
import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganglion.errors import ArtifactError
from ganglion.training import SnapshotNotFoundError, Snapshotter, TrainingError, find_snapshot, load_snapshot

pytestmark = pytest.mark.deep  # trains

HERE = Path(__file__).parent


def test_what_goes_in_comes_out(tmp_path) -> None:
    values = {
        "tensor": torch.arange(6.0)[2:4],
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "array": np.arange(6, dtype=np.uint32).reshape(2, 3)[:, ::-1],
        "empty": np.zeros((0, 3)),
        "scalar": np.float32(0.1),
        "flag": np.bool_(True),
        "numbers": [1, 2.5, float("inf"), True, None, "text", b"bytes"],
        "nested": {1: ({"a": [torch.zeros(1)]},), "ordered": collections.OrderedDict(b=1)},
        "big": 2**80,
    }
    Snapshotter(tmp_path).save_itr_params(0, values)
    found = load_snapshot(tmp_path)
    assert found.keys() == values.keys()
    for name in ("array", "empty", "scalar", "flag"):
        assert type(found[name]) is type(values[name])
        assert found[name].dtype == values[name].dtype
        assert np.array_equal(found[name], values[name])
    assert torch.equal(found["tensor"], values["tensor"])
    assert found["tensor"].untyped_storage().nbytes() == 8  # the part, not the whole that it is a view of
    assert found["bfloat16"].dtype == torch.bfloat16
    assert found["numbers"] == values["numbers"]
    assert found["nested"] == {1: ({"a": [torch.zeros(1)]},), "ordered": {"b": 1}}
    assert found["big"] == values["big"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), r"params\['x'\]\['deep'\]\[1\] is of class builtins.object"),
        ({1, 2}, "is of class builtins.set"),
        (np.array([object()]), "is an array of object"),
        ({("a",): 1}, "has the key"),
        ({"$ndarray": 1}, "which snapshots use themselves"),
        (lambda: 0, "is of class builtins.function"),
    ],
)
def test_what_cannot_go_in(value, message, tmp_path) -> None:
    snapshotter = Snapshotter(tmp_path)
    snapshotter.save_itr_params(0, {"good": 1})
    with pytest.raises(TypeError, match=message):
        snapshotter.save_itr_params(1, {"x": {"deep": [0, value]}})
    assert load_snapshot(tmp_path) == {"good": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["params.pt"]


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_hostile_file_runs_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"ganglion_snapshot": 1, "content": Evil()}, tmp_path / "params.pt")
    with pytest.raises(ArtifactError, match="no readable snapshot"):
        load_snapshot(tmp_path)
    (tmp_path / "params.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ArtifactError, match="no readable snapshot"):
        load_snapshot(tmp_path)
    assert not Path("touched").exists()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"ganglion_snapshot": 2, "content": {}}, "format 2 is newer than 1"),
        ({"ganglion_snapshot": "1", "content": {}}, "no snapshot of ganglion"),
        ({"ganglion_checkpoint": 1}, "no snapshot of ganglion"),
        ([1], "no snapshot of ganglion"),
        ({"ganglion_snapshot": 1, "content": [1]}, "damaged snapshot"),
    ],
)
def test_other_files(document, message, tmp_path) -> None:
    torch.save(document, tmp_path / "params.pt")
    with pytest.raises(ArtifactError, match=message):
        load_snapshot(tmp_path)


def test_truncated_file(tmp_path) -> None:
    Snapshotter(tmp_path).save_itr_params(0, {"a": torch.zeros(100)})
    data = (tmp_path / "params.pt").read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "params.pt").write_bytes(data[:size])
        with pytest.raises(ArtifactError, match="no readable snapshot"):
            load_snapshot(tmp_path)


def test_finding(tmp_path) -> None:
    with pytest.raises(SnapshotNotFoundError, match="is no folder"):
        find_snapshot(tmp_path / "nowhere")
    with pytest.raises(SnapshotNotFoundError, match=r"neither params.pt nor itr_N.pt"):
        find_snapshot(tmp_path)
    for name in ("itr_3.pt", "itr_x.pt", "itr_03.pt", ".itr_9.abc.pt", "itr_7.pkl"):
        (tmp_path / name).touch()
    assert find_snapshot(tmp_path).name == "itr_3.pt"
    with pytest.raises(SnapshotNotFoundError, match="iteration 7; there are iterations 3"):
        find_snapshot(tmp_path, 7)
    for itr in (-1, "-1", True, 1.0, "newest", None):
        with pytest.raises(ValueError, match="an integer from 0, 'last' or 'first'"):
            find_snapshot(tmp_path, itr)


@pytest.mark.parametrize("gap", [0, -1])
def test_gaps(gap, tmp_path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Snapshotter(tmp_path, "gap", gap)
    with pytest.raises(TypeError, match="must be an int"):
        Snapshotter(tmp_path, "gap", 1.5)


def test_full_disk(tmp_path, monkeypatch) -> None:
    snapshotter = Snapshotter(tmp_path)
    snapshotter.save_itr_params(0, {"itr": 0})

    def full(_number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"params.pt': No space left on device; the older one is as it was"):
        snapshotter.save_itr_params(1, {"itr": 1})
    assert load_snapshot(tmp_path) == {"itr": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["params.pt"]


LIMITED = """
import resource, sys, torch
from ganglion.training import Snapshotter, TrainingError
snapshotter = Snapshotter(sys.argv[1])
snapshotter.save_itr_params(0, {"itr": 0, "data": torch.zeros(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    snapshotter.save_itr_params(1, {"itr": 1, "data": torch.rand(1_000_000)})
except TrainingError as error:
    print(error)
"""


def test_file_that_does_not_fit(tmp_path) -> None:
    """The system itself stops the write in the middle."""
    done = subprocess.run((sys.executable, "-c", LIMITED, tmp_path), check=True, capture_output=True, text=True)
    assert "File too large; the older one is as it was" in done.stdout
    assert load_snapshot(tmp_path)["itr"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["params.pt"]


KILLED = """
import io, os, pathlib, signal, sys, torch
from ganglion.training import Snapshotter
snapshotter = Snapshotter(sys.argv[1], "gap_and_last", 1)
snapshotter.save_itr_params(0, {"itr": 0})

class Half:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *rest): return self.file.__exit__(*rest)
    def __getattr__(self, name): return getattr(self.file, name)
    def write(self, data):
        if %(whole)d == 0:
            self.file.write(bytes(data)[: len(data) // 2])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self.file.write(data)

plain = pathlib.Path.open
pathlib.Path.open = lambda path, mode="r", *rest, **others: (
    Half(plain(path, mode, *rest, **others)) if "w" in mode else plain(path, mode, *rest, **others)
)
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
snapshotter.save_itr_params(1, {"itr": 1})
"""


@pytest.mark.parametrize("whole", [False, True])
def test_killed_in_the_middle(whole, tmp_path) -> None:
    done = subprocess.run((sys.executable, "-c", KILLED % {"whole": whole}, tmp_path), check=False)
    assert done.returncode == -signal.SIGKILL
    assert load_snapshot(tmp_path) == {"itr": 0}
    assert load_snapshot(tmp_path, 0) == {"itr": 0}
    # What was begun lies beside, under a name that nobody looks for; the next one takes its place all the same.
    assert len(list(tmp_path.iterdir())) == 3
    Snapshotter(tmp_path).save_itr_params(1, {"itr": 1})
    assert load_snapshot(tmp_path) == {"itr": 1}
