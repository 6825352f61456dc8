"""A machine whose numbers lie in memory the other way round: there is no library for it, and a sentence says so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIG = ("-U__BYTE_ORDER__", "-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__")
OTHER = "export the policy as policy.h or policy.hpp"


def _refused(command: list[object]) -> str:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode != 0, done
    return re.sub(r"\s+", " ", done.stderr).lower()


@pytest.mark.parametrize("compiler", [("gcc", *BIG), ("clang", *BIG), ("s390x-linux-gnu-gcc",)])
@pytest.mark.parametrize("header", ["ganglion.h", "ganglion.hpp"])
def test_the_c_interface(compiler: tuple[str, ...], header: str, tmp_path: Path) -> None:
    language = "c" if header.endswith(".h") else "c++"
    if compiler[0].startswith("s390x") and language == "c++":
        compiler = ("s390x-linux-gnu-g++",)
    source = tmp_path / "robot"
    source.write_text(f"#include <{header}>\nint main(void) {{ return 0; }}\n", encoding="utf-8")
    said = _refused([*compiler, "-fsyntax-only", f"-I{ROOT / 'cpp/include'}", "-x", language, source])
    assert "big-endian" in said and OTHER in said


@pytest.mark.parametrize("compiler", [None, "s390x-linux-gnu-g++"])
def test_the_source(compiler: str | None, tmp_path: Path) -> None:
    """CMake refuses it, and pip shows what CMake says."""
    if compiler is None:  # told behind project(), so that no compiler of such a machine is needed
        told = tmp_path / "told.cmake"
        told.write_text("set(CMAKE_CXX_BYTE_ORDER BIG_ENDIAN)\n", encoding="utf-8")
        options = [f"-DCMAKE_PROJECT_ganglion_INCLUDE={told}"]
    else:
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed (Debian: g++-s390x-linux-gnu)")
        options = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=s390x", f"-DCMAKE_CXX_COMPILER={compiler}"]
    said = _refused(["cmake", "-S", ROOT, "-B", tmp_path / "build", "-G", "Ninja", *options])
    assert "is big-endian" in said and "export the policy as policy.hpp or policy.h" in said
