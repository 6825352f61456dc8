"""A workspace of ROS 2, without ROS: colcon finds ganglion by its package.xml, builds it, and what depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ROBOT = """<?xml version="1.0"?>
<package format="3">
  <name>a_robot</name>
  <version>0.0.0</version>
  <description>Depends on ganglion.</description>
  <maintainer email="robot@example.invalid">robot</maintainer>
  <license>MIT</license>
  <depend>ganglion</depend>
  <export><build_type>cmake</build_type></export>
</package>
"""
CMAKE = """cmake_minimum_required(VERSION 3.24)
project(a_robot LANGUAGES C)
find_package(ganglion REQUIRED)
add_executable(embed 12_minimal_embed.c)
target_link_libraries(embed PRIVATE ganglion::c)
install(TARGETS embed)
"""


def test_a_workspace(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    subprocess.run([tools / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r",
                    ROOT / "packages/requirements-colcon.txt"], check=True)  # fmt: skip
    (tools / "COLCON_IGNORE").touch()  # CMake's modules below it have a CMakeLists.txt
    robot = tmp_path / "src/a_robot"  # named so that it would be built first, were it not for what it depends on
    robot.mkdir(parents=True)
    (robot / "package.xml").write_text(ROBOT, encoding="utf-8")
    (robot / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")
    shutil.copy(ROOT / "export_examples/12_minimal_embed.c", robot)
    (tmp_path / "src/ganglion").symlink_to(ROOT)
    plain = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    plain["PATH"] = f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(["colcon", "build", "--cmake-args", "-DCMAKE_BUILD_TYPE=Release"], cwd=tmp_path, env=plain,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert "2 packages finished" in said.stdout
    listed = subprocess.run(
        ["colcon", "list"], cwd=tmp_path, env=plain, capture_output=True, text=True, check=True
    ).stdout
    assert "ganglion\tsrc/ganglion\t(ros.cmake)" in listed
    policy = ROOT / "tests/golden/artifacts/lstm.ganglion"
    script = f". install/setup.sh; install/a_robot/bin/embed {policy}"
    flown = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=plain, capture_output=True, text=True, check=False)
    assert len(flown.stdout.split()) == 5, flown.stderr
