"""The loops in C++ on the page docs/flight.md are valid as they stand there, one behind the other."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from pages import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

SURROUNDINGS = """
#include <cstdint>
#include <string>
#include <vector>

extern bool running, has_action;
extern std::vector<float> recent, position, observation, action, target, command, volts_and_amperes;
std::int64_t now_ns();
void stop();
void send(const std::vector<float>&);
void log(const std::string&);

void controller() {
%s
}
"""


def test_the_loops_compile(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no c++")
    loops = [block.text for block in blocks(ROOT / "docs" / "flight.md") if block.language == "cpp"]
    assert len(loops) == 2
    lines = "\n".join(loops).splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    body = [line for line in lines if not line.startswith("#include")]
    source = tmp_path / "loop.cpp"
    source.write_text("\n".join(includes) + SURROUNDINGS % "\n".join(body), encoding="utf-8")
    command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    found = subprocess.run(
        [*command, f"-I{ROOT / 'cpp' / 'include'}", source], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
