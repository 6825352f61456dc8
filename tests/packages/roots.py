"""Debian roots to install packages in: made once, in build/dist-test, and run in namespaces of their own.

A root of this machine's architecture is a whole one. One of another is unpacked, no script of a package is run in it,
and its programs run by QEMU's user-mode emulation, of which the kernel is told in a user namespace (Linux 6.7 on):
nothing of the machine changes, and nothing stays mounted however a command ends.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# An ELF file of 64 bits, little-endian, of AArch64; F: the kernel opens the emulator now, from outside of the root.
_AARCH64 = (
    r":aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:F"
)


@dataclass(frozen=True)
class Root:
    """A Debian root.

    Attributes:
        folder: where it is.
        machine: x86_64 or aarch64.
    """

    folder: Path
    machine: str

    def run(self, script: str, shared: Path) -> str:
        """Runs a shell script inside, in /shared, which is the folder `shared`, and answers what it printed."""
        steps = ["cd $0", "mount -t proc proc proc", "mount --rbind /dev dev", "mount --bind $1 shared"]
        options = ["unshare", "--mount", "--pid", "--fork"]
        if self.machine != platform.machine():
            steps = ["mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc", _told(), *steps]
            options.append("--map-root-user")
        (self.folder / "shared").mkdir(exist_ok=True)
        steps.append('exec chroot . /bin/sh -euc "cd /shared; $2"')
        command = [*options, "sh", "-euc", "; ".join(steps), str(self.folder), str(shared), script]
        plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
        assert done.returncode == 0, f"{self.folder.name}: {script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def debian(work: Path, release: str, architecture: str, *packages: str) -> Root:
    """A root of a release, made where it is not there; skips where it cannot be made."""
    root = Root(work / f"{release}-{architecture}", MACHINES[architecture])
    if (root.folder / ".whole").exists():
        return root
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("a Debian root takes root's rights and debootstrap")
    shutil.rmtree(root.folder, ignore_errors=True)
    root.folder.parent.mkdir(parents=True, exist_ok=True)
    foreign = ["--foreign"] if root.machine != platform.machine() else []
    command = ["unshare", "--mount", "debootstrap", f"--arch={architecture}", "--variant=minbase", *foreign,
               f"--include={','.join(packages)}", release, str(root.folder), _mirror()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    archives = sorted((root.folder / "var/cache/apt/archives").glob("*.deb"))
    for archive in archives:
        if foreign:
            subprocess.run(["dpkg-deb", "--extract", archive, root.folder], check=True)
        archive.unlink()
    (root.folder / ".whole").touch()
    return root


def _mirror() -> str:
    """The mirror that this machine's own apt uses."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if not found:
        pytest.skip("this machine's apt knows no mirror")
    return found[0].rstrip("/")


def _told() -> str:
    """Tells the kernel who runs programs of AArch64."""
    return f"printf %s '{_AARCH64 % emulator()}' > /proc/sys/fs/binfmt_misc/register"


def emulator() -> Path:
    """qemu-aarch64 without libraries, so that it runs inside of any root."""
    found = shutil.which("qemu-aarch64-static")
    if found is None:
        pytest.skip("qemu-aarch64-static is not installed (Debian: qemu-user-static)")
    return Path(found)
