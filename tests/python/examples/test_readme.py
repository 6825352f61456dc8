"""README's loops in both languages, the first policy of docs (but for its epochs), and the table of policies."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import cartpole_policy
import numpy as np
import pytest
from pages import ROOT, blocks, run

import ganglion
from ganglion.policies import catalogue

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # runs what README says

README = ROOT / "README.md"
DOCS = ROOT / "docs"
BLOCKS = {block.language: block.text for block in blocks(README)}


def test_readme_fits_a_screen() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 80


def test_its_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^make (\w+)", BLOCKS[""], re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_its_python_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, contract = cartpole_policy.load_policy()
    names = {"policy": policy, "observation": np.zeros(contract.observation_size, np.float32)}
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS["python"], README, "exec"), names)
    assert names["action"].shape == (contract.action_size,)


def test_its_cpp_loop(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: Debian package g++")
    include, loop = BLOCKS["cpp"].split("\n", 1)
    around = "void hold();\nvoid fly(bool running, std::span<float> observation, std::span<float> action)"
    program = f"{include}\n{around} {{{loop}}}\n"
    (tmp_path / "loop.cpp").write_text(program, encoding="utf-8")
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", ROOT / "cpp/include"]
    subprocess.run([*command, tmp_path / "loop.cpp"], check=True)


def test_the_table_of_policies_has_every_class() -> None:
    page = (DOCS / "policies.md").read_text(encoding="utf-8")
    for name in catalogue.names():
        assert f"`{name.split()[0]}`" in page, f"docs/policies.md has no {name.split()[0]}"


def test_first_policy(tmp_path: Path) -> None:
    run(DOCS / "first_policy.md", tmp_path, replaced={"n_epochs=20": "n_epochs=1"})
    assert [slot.name for slot in ganglion.inspect(tmp_path / "pendulum.ganglion").state] == ["h", "c"]
    assert (tmp_path / "out/pendulum/progress.csv").is_file()
    assert (tmp_path / "report.html").is_file()
