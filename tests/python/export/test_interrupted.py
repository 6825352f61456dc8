"""An export that is killed leaves the old file, and what it had written is taken away by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganglion._foundation import files
from ganglion._foundation.files import replacing

KILLED = """
import os, sys
from ganglion._foundation.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def kill_while_writing(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert done.returncode == -9


def write(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("new")


def test_what_a_killed_export_left_behind_goes_with_the_next_one(tmp_path):
    target = tmp_path / "a[1].ganglion"
    target.write_text("old")
    kill_while_writing(target)
    kill_while_writing(target)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # the second one has taken away what the first had left
    write(target)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a[1].ganglion", "new")]


def test_nothing_else_is_taken_away(tmp_path):
    target = tmp_path / "a.ganglion"
    here = files._here()
    alive = f".a.{os.getpid()}-{here}-{'0' * 12}.ganglion"
    dead = f"4194305-{here}-{'0' * 12}"  # beyond the largest number of a process
    others = [
        alive,
        f".a.4194305-{'f' * 6 if here != 'f' * 6 else 'e' * 6}-{'0' * 12}.ganglion",  # of another machine
        f".b.{dead}.ganglion",
        f".a.{dead}.onnx",
        f".a.{dead}.ganglion.bak",
        f"a.{dead}.ganglion",
        ".a.ganglion",
    ]
    for name in others:
        (tmp_path / name).write_text("kept")
    link = tmp_path / f".a.4194305-{here}-{'2' * 12}.ganglion"
    link.symlink_to(tmp_path / alive)
    folder = tmp_path / f".a.4194305-{here}-{'1' * 12}.ganglion"
    folder.mkdir()
    (tmp_path / f".a.{dead}.ganglion").write_text("stray")
    write(target)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {*others, folder.name, link.name, "a.ganglion"}
    # A process elsewhere that has written for more than an hour is gone.
    os.utime(tmp_path / others[1], (time.time() - 3700,) * 2)
    write(target)
    assert {file.name for file in tmp_path.iterdir()} == left - {others[1]}


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    target = tmp_path / "a.ganglion"
    seen: list[tuple[bool, bool]] = []
    synchronise = os.fsync

    def fsync(descriptor: int) -> None:
        is_folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        seen.append((is_folder, target.exists()))
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(target)
    assert seen == [(False, False), (True, True)]


def test_a_file_that_does_not_get_to_the_disk_is_no_file(tmp_path, monkeypatch):
    target = tmp_path / "a.ganglion"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(target)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.ganglion", "old")]
