"""A compiler for Linux with glibc 2.28 or newer, on any machine: PyPI's ziglang, which has the headers and the symbol
lists of every glibc, and a C++ library that is linked statically.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GLIBC = "2.28"
"""The oldest C library that the packages run with: that of Debian 10, RHEL 8 and Ubuntu 18.10."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of machines as Linux and PyPI say them, with Debian's."""
_PROGRAMS = {"cc": "cc", "c++": "c++", "ar": "ar", "ranlib": "ranlib"}


@dataclass(frozen=True)
class Toolchain:
    """What CMake and the linker are given to build for one architecture.

    Attributes:
        architecture: as Linux says it.
        file: the toolchain file of CMake.
        archives: the C++ library and what it needs below it, as static libraries.
        changed: true where an earlier configuration was made with another toolchain file.
    """

    architecture: str
    file: Path
    archives: tuple[Path, ...]
    changed: bool

    @property
    def native(self) -> bool:
        """True where this machine runs what it makes."""
        return platform.machine() == self.architecture


def zig() -> Path:
    """The compiler; its libraries lie beside it."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        sys.exit("packages: ziglang is not installed: make dist installs it (packages/requirements.txt)")
    return Path(found.origin).parent / "zig"


def make_toolchain(architecture: str, folder: Path, renamed: dict[Path, str]) -> Toolchain:
    """Writes the programs and the toolchain file.

    Args:
        architecture: a key of `ARCHITECTURES`.
        folder: where to write.
        renamed: folders by the name that they have in what is compiled, so that it names no place of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = f"{architecture}-linux-gnu.{GLIBC}"
    for name, command in _PROGRAMS.items():
        # The C++ library is built anew for each level that is asked for; -O2 also where CMake only tries the compiler.
        options = f"-target {target} -O2 " if name in ("cc", "c++") else ""
        _write_program(folder / name, f'exec "{zig()}" {command} {options}"$@"')
    prefixes = " ".join(f"-ffile-prefix-map={path}={name}" for path, name in renamed.items())
    file = folder / "toolchain.cmake"
    lines = [f'set(CMAKE_{language}_COMPILER "{folder / name}")' for language, name in (("C", "cc"), ("CXX", "c++"))]
    lines += [f'set(CMAKE_{name.upper()} "{folder / name}" CACHE FILEPATH "")' for name in ("ar", "ranlib")]
    lines += [f'set(CMAKE_{language}_FLAGS_INIT "{prefixes}")' for language in ("C", "CXX")]
    # -Os here is the C++ library's: nothing of it is in a control loop.
    linked = {"EXE": "-s -Os -pie", "SHARED": "-s -Os", "MODULE": "-s -Os"}
    lines += [f'set(CMAKE_{kind}_LINKER_FLAGS_INIT "{flags}")' for kind, flags in linked.items()]
    # pybind11 would ask for link-time optimisation, and zig builds the C++ library anew for that, too.
    lines += ['set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF CACHE BOOL "")']
    # zig keeps frame pointers, and a table that only its own linker reads, where it is not told to leave them out.
    lines += ["set(CMAKE_POSITION_INDEPENDENT_CODE ON)", "add_compile_options(-fomit-frame-pointer -fno-addrsig)"]
    if platform.machine() != architecture:
        lines = ["set(CMAKE_SYSTEM_NAME Linux)", f"set(CMAKE_SYSTEM_PROCESSOR {architecture})", *lines]
    changed = _write_changed(file, "\n".join(lines) + "\n")
    return Toolchain(architecture, file, _archives(folder), changed)


def compiler_versions() -> dict[str, str]:
    """Versions of ziglang and of the LLVM in it."""
    said = subprocess.run([zig(), "cc", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"clang version (\S+)", said)
    assert found is not None, said
    own = subprocess.run([zig(), "version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"zig": own, "llvm": found[1]}


def _archives(folder: Path) -> tuple[Path, ...]:
    """What zig links statically into a C++ library: it builds them when they are first asked for, and says so."""
    source = folder / "empty.cpp"
    source.write_text("int empty() { return 0; }\n", encoding="utf-8")
    command = [folder / "c++", "-v", "-Os", "-fPIC", "-shared", source, "-o", folder / "empty.so"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    linked = [line for line in done.stderr.splitlines() if line.startswith("ld.lld ")]
    assert done.returncode == 0 and linked, done.stderr
    found = re.findall(r"\S+/lib(?:c\+\+|c\+\+abi|unwind|compiler_rt)\.a", linked[-1])
    assert len(found) == 4, linked
    # Zig names what lies below the current folder from there on.
    return tuple(Path(one).resolve() for one in found)


def _write_program(path: Path, line: str) -> None:
    _write_changed(path, f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _write_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True
