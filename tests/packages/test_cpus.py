"""CPUs that lack what ours has: the library runs on every x86-64, or says what it cannot, and never dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Flight


@pytest.fixture(scope="module")
def sdk(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk")
    with tarfile.open(next(packages.glob("ganglion-sdk-*-linux-x86_64.tar.gz"))) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return next(folder.iterdir())


def emulated(cpu: str, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    qemu = shutil.which("qemu-x86_64") or pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user)")
    words = [str(word) for word in (qemu, "-cpu", cpu, *command)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **variables})


# The least that an x86-64 has; one of 2008 without AVX; one of 2011 with AVX and without FMA; one of 2013 with AVX2.
@pytest.mark.parametrize("cpu", ["qemu64", "Nehalem", "SandyBridge", "Haswell"])
def test_the_same_bits(cpu: str, sdk: Path, flight: Flight, tmp_path: Path) -> None:
    done = emulated(cpu, sdk / "bin/ganglion-run", "--state", flight.folder / "policy.ganglion",
                    flight.folder / "observations.csv", tmp_path / "flown.csv")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "flown.csv").read_bytes() == (flight.folder / "actions.csv").read_bytes()


def test_an_instruction_set_that_the_cpu_lacks_is_refused(sdk: Path, flight: Flight, tmp_path: Path) -> None:
    command = (sdk / "bin/ganglion-run", flight.folder / "policy.ganglion", flight.folder / "observations.csv")
    done = emulated("Nehalem", *command, tmp_path / "flown.csv", GANGLION_ISA="avx2")
    assert done.returncode == 1, done
    assert "avx2" in done.stderr and "GANGLION_ISA" in done.stderr, done.stderr
