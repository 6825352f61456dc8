"""Two builds, at two places, have the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_build(packages: Path, tmp_path: Path) -> None:
    tree = tmp_path / "elsewhere"
    tree.mkdir()
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=tree, input=packed, check=True)
    subprocess.run(["chmod", "-R", "g+w", tree], check=True)  # another user's umask
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    # Nothing is taken over from the first: a folder of its own for what zig keeps, too.
    subprocess.run(
        [sys.executable, tree / "packages/dist.py", "--out", tmp_path / "dist", "--work", tmp_path / "work"],
        check=True, env={**os.environ, "SOURCE_DATE_EPOCH": said.stdout.strip(), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    made = sorted(path for path in (tmp_path / "dist").iterdir() if path.suffix in (".whl", ".gz", ".deb"))
    assert len(made) == 7
    assert [one.name for one in made if one.read_bytes() != (packages / one.name).read_bytes()] == []
