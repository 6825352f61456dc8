"""The header examples compile with nothing but a compiler, and do what the Python policy does."""

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
    assert sorted(file.name for file in tmp_path.iterdir()) == ["policy.h", "policy.hpp"]

    for command, source in (
        (["g++", "-std=c++17", "-fno-exceptions", "-fno-rtti"], "06_header.cpp"),
        (["gcc", "-std=c99", "-pedantic"], "06_header.c"),
    ):
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-I", tmp_path, "-o", tmp_path / "program"]
        subprocess.run([*command, *flags, examples / source], check=True, timeout=60)
        said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True, timeout=60)
        found = said.stdout.split()
        assert found[1::2] == from_python[1::2] == ["N"] * 5
        assert [float(force) for force in found[::2]] == pytest.approx([float(f) for f in from_python[::2]], abs=1e-5)
        assert len(set(found[::2])) == 5
