"""What every package keeps to: its size, the C library that it asks for, and what it exports.

    python packages/rules.py dist

looks at every package in a folder and answers 0 where all of them keep the rules.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_WHEEL_BYTES = 3 << 20
_C_LIBRARY = re.compile(r"lib(c|m|dl|pthread|rt)\.so\.[0-9]+|ld-linux[-\w]*\.so\.[0-9]+")
_MACHINES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}
_BUILT_IN = re.compile(rb"/(?:home|root|work|tmp)/[\w.-]+/")
_LICENCES = ("nlohmann-json", "monocypher", "libcxx")


@dataclass(frozen=True)
class Elf:
    """A library or a program, as binutils read it.

    Attributes:
        architecture: the machine that it is for.
        needed: the libraries that it asks for.
        searched: the folders that it says to look for them in.
        glibc: the newest version of a symbol of glibc that it asks for; (0,) for none.
        exported: the names that it gives to others.
    """

    architecture: str
    needed: tuple[str, ...]
    searched: tuple[str, ...]
    glibc: tuple[int, ...]
    exported: tuple[str, ...]


def read_elf(path: Path) -> Elf:
    """Reads a library or a program of any architecture."""
    command = ["readelf", "--wide", "--file-header", "--dynamic", "--version-info", "--dyn-syms", path]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}
    )
    machine = re.search(r"Machine: +(.*)", said.stdout)
    assert machine is not None
    wanted = said.stdout.partition("Version needs section")[2]
    symbols = re.findall(
        r"^ +\d+: [0-9a-f]+ +\d+ (\w+) +(GLOBAL|WEAK|UNIQUE) +\w+ +(\w+) ([^\s@]+)", said.stdout, re.MULTILINE
    )
    return Elf(
        _MACHINES.get(machine[1], machine[1]),
        tuple(re.findall(r"\(NEEDED\).*\[(.*)\]", said.stdout)),
        tuple(re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", said.stdout)),
        max(((0,), *(_version(one) for one in re.findall(r"Name: GLIBC_([0-9.]+)", wanted)))),
        tuple(name for kind, _, section, name in symbols if section not in ("UND", "ABS") and kind != "SECTION"),
    )


def complaints_of_elf(name: str, elf: Elf, architecture: str) -> list[str]:
    """What is wrong with a library or a program.

    Args:
        name: its path in the package.
        elf: what it is.
        architecture: the one that it has to be for.
    """
    found = []
    if elf.architecture != architecture:
        found.append(f"{name} is for {elf.architecture}, not {architecture or 'for any machine'}")
    found += [
        f"{name} needs {one}, which is not of the C library" for one in elf.needed if not _C_LIBRARY.fullmatch(one)
    ]
    if Path(name).name.startswith("_core.") and f"-{architecture}-" not in name:
        found.append(f"{name} is not found by a Python of {architecture}")
    found += [f"{name} looks for libraries in {one}" for one in elf.searched]
    if elf.glibc > _version(toolchain.GLIBC):
        found.append(f"{name} needs glibc {'.'.join(map(str, elf.glibc))}, newer than {toolchain.GLIBC}")
    strange = [one for one in elf.exported if not _may_export(name, one)]
    if strange:
        found.append(f"{name} exports {', '.join(strange[:5])}{' ...' if len(strange) > 5 else ''}")
    if Path(name).name.startswith("libganglion.so") and not elf.exported:
        found.append(f"{name} exports nothing")
    return found


def packages_in(folder: Path) -> list[Path]:
    """The packages in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz", ".deb"))


def complaints(package: Path) -> list[str]:
    """What is wrong with a package; empty where nothing is."""
    architecture = _architecture(package.name)
    found, names = [], []
    for name, data in _contents(package):
        names.append(name)
        if data[:4] == b"\x7fELF":
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                found += complaints_of_elf(name, read_elf(Path(file.name)), architecture)
            place = _BUILT_IN.search(data)
            if place is not None:
                found.append(f"{name} names a folder of the machine that built it: {place[0].decode()}")
    if package.suffix == ".whl" and package.stat().st_size >= LARGEST_WHEEL_BYTES:
        found.append(f"it has {package.stat().st_size} bytes, the largest may have {LARGEST_WHEEL_BYTES}")
    if not any(name.endswith(".cdx.json") for name in names):
        found.append("it has no bill of materials")
    if architecture:
        found += [f"it has no licence of {one}" for one in _LICENCES if not any(f"{one}.txt" in name for name in names)]
    return [f"{package.name}: {one}" for one in found]


def _may_export(file: str, name: str) -> bool:
    base = Path(file).name
    if base.startswith("_core."):
        return name == "PyInit__core"
    if base.startswith("libganglion.so"):
        return name.startswith("ganglion_")
    # ganglion-bench counts heap allocations by standing in front of malloc.
    return name in ("malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "free")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _architecture(name: str) -> str:
    for linux, debian in toolchain.ARCHITECTURES.items():
        if linux in name or name.endswith(f"_{debian}.deb"):
            return linux
    return ""


def _contents(package: Path) -> Iterator[tuple[str, bytes]]:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    elif package.suffix == ".deb":
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
            yield from ((str(path.relative_to(folder)), path.read_bytes()) for path in files)
    else:
        with tarfile.open(package) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name, file.read()


def main() -> None:
    """The command line."""
    packages = packages_in(Path(sys.argv[1]))
    found = [one for package in packages for one in complaints(package)]
    print("\n".join(found) or f"{len(packages)} packages keep the rules")
    sys.exit(bool(found) or not packages)


if __name__ == "__main__":
    main()
