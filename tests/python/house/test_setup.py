"""The scripts behind `make`: what is missing on a machine is said in one sentence, and a killed make goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETUP = ROOT / "setup"
VERSIONS = re.search(r"PYTHONS := (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]


def run(script: str, *arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONS": VERSIONS, "PYTHON": sys.executable, **variables}
    command = [shutil.which("bash"), str(SETUP / script), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def tools(folder: Path, *left_out: str) -> str:
    """A PATH with everything that the scripts call, but for some names."""
    folder.mkdir()
    for name in [
        "bash",
        "df",
        "awk",
        "du",
        "head",
        "sed",
        "cut",
        "tr",
        "tail",
        "grep",
        "c++",
        "g++",
        "clang++",
        "as",
        "ld",
    ]:
        found = shutil.which(name)
        if found and name not in left_out:
            (folder / name).symlink_to(found)
    return str(folder)


def python_that_says(folder: Path, version: str) -> str:
    path = folder / "python-fake"
    path.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_good_machine_passes(tmp_path) -> None:
    result = run("preflight.sh", "1", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Python 3.")


@pytest.mark.parametrize(("version", "how"), [("2.7", "too old"), ("3.10", "too old"), ("3.99", "too new")])
def test_a_python_without_wheels(tmp_path, version: str, how: str) -> None:
    said = refusal(run("preflight.sh", "1", folder=tmp_path, PYTHON=python_that_says(tmp_path, version)))
    assert how in said
    assert VERSIONS.split()[0] in said
    assert "make PYTHON=" in said


def test_no_python(tmp_path) -> None:
    said = refusal(run("preflight.sh", "1", folder=tmp_path, PYTHON="no-such-python"))
    assert "no-such-python" in said


def test_no_venv_module(tmp_path) -> None:
    fake = tmp_path / "python-fake"
    fake.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; *) echo 3.12;; esac\n', encoding="utf-8")
    fake.chmod(0o755)
    assert "python3-venv" in refusal(run("preflight.sh", "1", folder=tmp_path, PYTHON=str(fake)))


def test_no_compiler(tmp_path) -> None:
    path = tools(tmp_path / "bin", "c++", "g++", "clang++")
    said = refusal(run("preflight.sh", "1", folder=tmp_path, PATH=path, CXX=""))
    assert "no C++ compiler" in said
    assert "g++" in said


def test_an_old_compiler(tmp_path) -> None:
    old = tmp_path / "old-g++"
    old.write_text("#!/bin/sh\necho \"error: unrecognized option '-std=c++20'\" >&2\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    said = refusal(run("preflight.sh", "1", folder=tmp_path, CXX=str(old)))
    assert "does not compile C++20" in said
    assert "-std=c++20" in said


def test_no_room(tmp_path) -> None:
    said = refusal(run("preflight.sh", "99999999", folder=tmp_path))
    assert "99999999 MiB" in said
    assert "free" in said.lower()


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError: Failed to establish a new connection", "does not reach its package index"),
        ("ERROR: No matching distribution found for torch==2.13.0", "torch==2.13.0"),
        ("something else", "Its last lines are above"),
    ],
)
def test_a_step_that_fails_is_explained(tmp_path, output: str, advice: str) -> None:
    result = run("step.sh", "build/a.log", "a step", "bash", "-c", f"echo '{output}'; exit 7", folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("a step\n")
    assert output in result.stderr
    assert advice in result.stderr
    assert "goes on from here" in result.stderr


def test_a_step_that_works_hides_what_it_printed(tmp_path) -> None:
    result = run("step.sh", "build/a.log", "a step", "bash", "-c", "echo noise; echo more noise >&2", folder=tmp_path)
    assert result.returncode == 0
    assert "noise" not in result.stdout + result.stderr
    assert (tmp_path / "build/a.log").read_text(encoding="utf-8") == "noise\nmore noise\n"


def fake_venv(folder: Path, status: int = 0) -> Path:
    """A .venv whose python does nothing, with a package that is whole and two that are not."""
    packages = folder / ".venv/lib/python3.11/site-packages"
    for name in ["whole-1.dist-info", "half-1.dist-info", "~ld"]:
        (packages / name).mkdir(parents=True)
    (packages / "whole-1.dist-info/INSTALLER").touch()
    (folder / ".venv/bin").mkdir()
    python = folder / ".venv/bin/python"
    python.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
    python.chmod(0o755)
    (folder / ".venv/.place").write_text(f"{folder.resolve()}\n", encoding="utf-8")
    return packages


def test_half_installed_packages_are_installed_again(tmp_path) -> None:
    packages = fake_venv(tmp_path, status=1)
    assert run("packages.sh", "-r", "any.txt", folder=tmp_path).returncode == 1
    assert (packages / "half-1.dist-info").exists(), "nothing was known to be unfinished yet"
    fake = tmp_path / ".venv/bin/python"
    fake.write_text("#!/bin/sh\n", encoding="utf-8")
    assert run("packages.sh", "-r", "any.txt", folder=tmp_path).returncode == 0
    assert sorted(path.name for path in packages.iterdir()) == ["whole-1.dist-info"]
    assert not (tmp_path / ".venv/.unfinished").exists()


def test_a_moved_folder_starts_anew(tmp_path) -> None:
    fake_venv(tmp_path)
    for name, home in [("dev", "/elsewhere"), ("python", tmp_path), ("rtsan-in-root", "/src")]:
        (tmp_path / "build" / name).mkdir(parents=True)
        (tmp_path / "build" / name / "CMakeCache.txt").write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={home}\n")
    assert run("moved.sh", folder=tmp_path).returncode == 0
    assert (tmp_path / ".venv").exists()
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["python", "rtsan-in-root"]
    (tmp_path / ".venv/.place").write_text("/elsewhere\n", encoding="utf-8")
    result = run("moved.sh", folder=tmp_path)
    assert "/elsewhere" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_no_package_has_two_pins() -> None:
    pins: dict[str, set[str]] = {}
    for file in sorted(ROOT.glob("requirements-*.txt")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith(("#", "-r ")):
                name, _, version = line.partition("==")
                assert version, f"{file.name}: {line} is not pinned"
                pins.setdefault(name.lower(), set()).add(version)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_the_demo_installs_no_more_than_it_needs() -> None:
    lines = (ROOT / "requirements-demo.txt").read_text(encoding="utf-8").splitlines()
    assert "torch==2.13.0" in lines
    assert not [line for line in lines if line.startswith("-r ")]
