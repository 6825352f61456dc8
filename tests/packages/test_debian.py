"""Bare Debian roots: three commands unpack the SDK or install the wheel, build the C example and fly the demo's policy,
with the bits of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import WORK, Flight
from roots import Root, debian

if TYPE_CHECKING:
    from pathlib import Path

BARE = {
    "old": ("bullseye", "amd64", "gcc", "libc6-dev"),  # glibc 2.31; Debian 10, of 2.28, is on no mirror any more
    "new": ("trixie", "amd64", "gcc", "libc6-dev"),
    "arm64": ("bookworm", "arm64", "gcc", "libc6-dev", "python3", "python3-venv"),
}
SDK = """
tar -xzf ganglion-sdk-*-linux-*.tar.gz --strip-components=1 --one-top-level=sdk
gcc sdk/share/doc/ganglion/examples/12_minimal_embed.c -Isdk/include -Lsdk/lib -lganglion -Wl,-rpath,sdk/lib -o embed
sdk/bin/ganglion-run --state policy.ganglion observations.csv flown.csv
"""
WHEEL = """
python3 -m venv robot
robot/bin/pip install --quiet --no-index --find-links . ganglion
robot/bin/python fly.py
"""
FLY = """
import numpy, ganglion
pilot = ganglion.load("policy.ganglion")
assert pilot.self_test().ok
rows = numpy.loadtxt("observations.csv", delimiter=",", skiprows=1, dtype=numpy.float32)
forces = []
for reset, *seen in rows:
    if reset:
        pilot.reset()
    forces.append(pilot.step(numpy.array(seen, numpy.float32)))
numpy.concatenate(forces).tofile("forces.bin")
print(ganglion.__version__)
"""


def prepared(root: Root, packages: Path, flight: Flight, folder: Path) -> Path:
    """A folder with the SDK of a root's machine and the flight."""
    for name in ("policy.ganglion", "observations.csv"):
        shutil.copy(flight.folder / name, folder)
    (sdk,) = packages.glob(f"ganglion-sdk-*-linux-{root.machine}.tar.gz")
    shutil.copy(sdk, folder)
    return folder


@pytest.mark.parametrize("which", BARE)
def test_the_sdk(which: str, packages: Path, flight: Flight, tmp_path: Path) -> None:
    root = debian(WORK, *BARE[which])
    shared = prepared(root, packages, flight, tmp_path)
    root.run(SDK, shared)
    assert (shared / "flown.csv").read_bytes() == (flight.folder / "actions.csv").read_bytes()
    assert len(root.run("./embed policy.ganglion", shared).split()) == 5
    # All of it inside of one program, which needs no library of ours.
    root.run("gcc embed.c -Isdk/include sdk/lib/libganglion.a -lpthread -ldl -lm -o whole".replace(
        "embed.c", "sdk/share/doc/ganglion/examples/12_minimal_embed.c"), shared)  # fmt: skip
    said = root.run("./embed policy.ganglion; rm -r sdk; ./whole policy.ganglion", shared).split()
    assert said[:5] == said[5:]


@pytest.mark.parametrize("which", ["old", "new"])
def test_the_deb(which: str, packages: Path, flight: Flight, tmp_path: Path) -> None:
    root = debian(WORK, *BARE[which])
    shared = prepared(root, packages, flight, tmp_path)
    shutil.copy(next(packages.glob("ganglion_*_amd64.deb")), shared / "ganglion.deb")
    said = root.run(
        """dpkg -i ganglion.deb > dpkg.log
        gcc -std=c11 /usr/share/doc/ganglion/examples/12_minimal_embed.c -lganglion -o embed; ldconfig
        ./embed policy.ganglion
        ganglion-run --state policy.ganglion observations.csv flown.csv
        dpkg -r ganglion >> dpkg.log; ls /usr/lib/libganglion* /usr/include/ganglion* 2> /dev/null || echo gone""",
        shared,
    )
    assert said.split()[-1] == "gone" and len(said.split()) == 6
    assert (shared / "flown.csv").read_bytes() == (flight.folder / "actions.csv").read_bytes()


def test_the_wheel_on_arm64(packages: Path, flight: Flight, tmp_path: Path) -> None:
    root = debian(WORK, *BARE["arm64"])
    shared = prepared(root, packages, flight, tmp_path)
    (wheel,) = packages.glob("ganglion-*_aarch64.whl")
    shutil.copy(wheel, shared)
    systems = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
    needed = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
              "--python-version=3.11", *systems, f"--dest={shared}", "numpy", "rich"]  # fmt: skip
    subprocess.run(needed, check=True)
    (shared / "fly.py").write_text(FLY, encoding="utf-8")
    assert root.run(WHEEL, shared).split()
    assert np.array_equal(np.fromfile(shared / "forces.bin", np.float32), flight.forces)
