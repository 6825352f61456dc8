"""Each package in an empty environment of this machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rules
from conftest import ROOT, Flight
from test_debian import FLY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages of this machine are x86-64's")
EXAMPLE = ROOT / "export_examples" / "12_minimal_embed.c"


def run(*command: object, folder: Path | None = None, **variables: str) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=folder,
                          env={**os.environ, **variables})  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdk(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk")
    with tarfile.open(next(packages.glob("ganglion-sdk-*-linux-x86_64.tar.gz"))) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return next(folder.iterdir())


def test_every_package_keeps_the_rules(packages: Path) -> None:
    found = rules.packages_in(packages)
    assert len(found) == 7, "a wheel, an SDK and a .deb for each of two machines, and the sdist"
    assert [one for package in found for one in rules.complaints(package)] == []


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_auditwheel_is_content(architecture: str, packages: Path) -> None:
    (wheel,) = packages.glob(f"ganglion-*_{architecture}.whl")
    said = run(sys.executable, "-m", "auditwheel", "show", wheel)
    fits = re.search(rf'"manylinux_2_(\d+)_{architecture}"', said)
    assert fits is not None and int(fits[1]) <= 28, said


@pytest.mark.parametrize("library", [["-lganglion"], ["-l:libganglion.a", "-lpthread", "-ldl", "-lm"]])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_by_hand(compiler: str, library: list[str], sdk: Path, flight: Flight, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    run(compiler, "-std=c11", EXAMPLE, "-I", sdk / "include", "-L", sdk / "lib", *library, "-o", tmp_path / "embed")
    said = run(tmp_path / "embed", flight.folder / "policy.ganglion", LD_LIBRARY_PATH=str(sdk / "lib"))
    assert len(said.split()) == 5


def test_by_pkg_config(sdk: Path, flight: Flight, tmp_path: Path) -> None:
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    said = []
    for options in (["--libs"], ["--static", "--libs"]):
        flags = run("pkg-config", "--cflags", *options, "ganglion", PKG_CONFIG_PATH=str(sdk / "lib/pkgconfig")).split()
        run("gcc", EXAMPLE, *flags, "-o", tmp_path / "embed")
        said.append(run(tmp_path / "embed", flight.folder / "policy.ganglion", LD_LIBRARY_PATH=str(sdk / "lib")))
    assert said[0] == said[1]


@pytest.mark.parametrize("target", ["ganglion::c", "ganglion::c_static"])
def test_by_cmake(target: str, sdk: Path, flight: Flight, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.24)\nproject(robot LANGUAGES C)\nfind_package(ganglion REQUIRED)\n"
        f"add_executable(embed {EXAMPLE})\ntarget_link_libraries(embed PRIVATE {target})\n",
        encoding="utf-8",
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={sdk}")
    run("cmake", "--build", tmp_path / "build")
    assert len(run(tmp_path / "build/embed", flight.folder / "policy.ganglion").split()) == 5


def test_everything_that_is_true_of_the_c_interface(sdk: Path) -> None:
    """The tests of this checkout's library, with the one of the SDK: a thousand dlopen, fork, exit, Rust, C++17."""
    tests = [ROOT / "tests/python/house" / name for name in ("test_c_interface.py", "test_c_consumers.py")]
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, folder=ROOT,
        GANGLION_C_LIBRARY=str(sdk / "lib/libganglion.so"))  # fmt: skip


def fly_installed(package: Path, flight: Flight, folder: Path) -> None:
    """Installs a package into an empty environment below a folder, and flies there."""
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package)
    for name in ("policy.ganglion", "observations.csv"):
        shutil.copy(flight.folder / name, folder)
    run(python, "-c", FLY, folder=folder)
    assert np.array_equal(np.fromfile(folder / "forces.bin", np.float32), flight.forces)


def test_the_wheel(packages: Path, flight: Flight, tmp_path: Path) -> None:
    (wheel,) = packages.glob("ganglion-*_x86_64.whl")
    fly_installed(wheel, flight, tmp_path)
    assert '"sha256"' in run(tmp_path / "venv/bin/ganglion", "inspect", "policy.ganglion", "--json", folder=tmp_path)
    (metadata,) = (tmp_path / "venv").glob("lib/python3*/site-packages/ganglion-*.dist-info")
    bill = json.loads((metadata / "sboms/ganglion.cdx.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in bill["components"]} == {path.stem for path in (metadata / "licenses").glob("*.txt")}
    package = metadata.parent / "ganglion"
    assert "def step(" in (package / "_core.pyi").read_text(encoding="utf-8")
    run(tmp_path / "venv/bin/ganglion", "bench", "policy.ganglion", "--json", folder=tmp_path)


def test_the_sdist(packages: Path, flight: Flight, tmp_path: Path) -> None:
    """pip builds and installs it with this machine's compiler."""
    (sdist,) = packages.glob("ganglion-[0-9]*.tar.gz")
    fly_installed(sdist, flight, tmp_path)
