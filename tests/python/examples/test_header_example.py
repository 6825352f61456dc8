"""The header example compiles with nothing but a compiler, and does what the Python policy does."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.deep  # compiles and runs an example


def test_header_example(examples, monkeypatch, capsys, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: Debian package g++")
    monkeypatch.setattr(sys, "argv", ["06_header.py", str(tmp_path)])
    runpy.run_path(str(examples / "06_header.py"), run_name="__main__")
    from_python = capsys.readouterr().out.split()
    assert [file.name for file in tmp_path.iterdir()] == ["policy.hpp"]

    command = ["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"]
    subprocess.run(
        [*command, "-I", tmp_path, examples / "06_header.cpp", "-o", tmp_path / "program"], check=True, timeout=60
    )
    from_cpp = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True, timeout=60)
    found = from_cpp.stdout.split()
    assert found[1::2] == from_python[1::2] == ["N"] * 5
    assert [float(force) for force in found[::2]] == pytest.approx([float(f) for f in from_python[::2]], abs=1e-5)
    assert len(set(found[::2])) == 5
