"""A quadruped whose adapter has three faults: the example, and README's session and the guide word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ROOT, blocks, run

import ganglion.wiring

pytestmark = pytest.mark.deep  # runs the example, README's session and the guide

PROGRAM = ROOT / "build/dev/export_examples/11_wiring"
NUMBER = re.compile(r"-?\d[\d.e+-]*")


@pytest.fixture(autouse=True)
def _built() -> None:
    if not PROGRAM.is_file():
        pytest.skip("the C++ examples are not built: make setup")


def shell(command: str, folder: Path) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found.returncode, found.stdout


def words(text: str) -> str:
    """Without what depends on the width of a column, or on a rounding."""
    return " ".join(NUMBER.sub("#", text).split())


def test_three_faults_are_named_and_put_right_from_the_report_alone(tmp_path: Path) -> None:
    example = f'python "{ROOT}/export_examples/11_wiring.py"'
    assert shell(f"{example} run.npz", tmp_path)[0] == 0
    assert shell(f'"{PROGRAM}" run.npz cpp.npz', tmp_path)[0] == 0
    status, said = shell(f"{example} run.npz python.npz", tmp_path)  # its adapter in Python
    assert status == 0 and "with the correction: equal: 1,000 rows of 27 elements" in said
    assert shell(f"{example} run.npz cpp.npz", tmp_path)[0] == 0
    sides = {}
    for name in ("run", "cpp", "python"):
        with np.load(tmp_path / f"{name}.npz") as file:
            sides[name] = {key: file[key] for key in ("observation", "reset", "names")}
    np.testing.assert_array_equal(sides["cpp"]["observation"], sides["python"]["observation"])
    np.testing.assert_array_equal(sides["cpp"]["names"], sides["run"]["names"])

    report = ganglion.wiring(trained=tmp_path / "run.npz", found=tmp_path / "cpp.npz")
    edits: dict[str, Any] = {edit.kind: edit for edit in report.edits}
    assert edits.keys() == {"frame", "permutation", "unit"} and not report.cannot_tell
    assert edits["frame"].elements == (16, 17, 18) and edits["frame"].value["kind"] == "world_for_body"
    assert edits["permutation"].elements == (*range(5, 13), *range(19, 27))
    assert edits["unit"].elements == tuple(range(19, 27)) and edits["unit"].value["to"] == "deg"
    assert (tmp_path / "cpp.html").is_file()

    assert shell(f'"{PROGRAM}" run.npz cpp.npz --repaired', tmp_path)[0] == 0
    assert ganglion.wiring(trained=tmp_path / "run.npz", found=tmp_path / "cpp.npz").equal


def test_the_session_of_readme(tmp_path: Path) -> None:
    (session,) = [block.text for block in blocks(ROOT / "README.md") if block.language == "text"]
    said = ""
    for line in session.splitlines():
        if line.startswith("$ "):
            command = re.sub(r"(?<= )(export_examples|build/dev)/", rf"{ROOT}/\1/", f" {line[2:]}")
            said = shell(command, tmp_path)[1]
        elif line.strip() != "...":
            assert words(line) in words(said), line
    assert "equal" in said and "not equal" not in said


def test_the_guide_of_the_wiring(tmp_path: Path) -> None:
    guide = ROOT / "docs/wiring.md"
    said = words(run(guide, tmp_path))
    shown = [line for block in blocks(guide) if block.language == "text" for line in block.text.splitlines()]
    assert len(shown) > 10
    for line in shown:
        assert words(line) in said, line


def test_the_guide_has_every_kind_of_edit() -> None:
    text = (ROOT / "docs/wiring.md").read_text(encoding="utf-8")
    for kind in ganglion.wiring.KINDS:
        assert f"`{kind}`" in text, f"docs/wiring.md has no {kind}"
