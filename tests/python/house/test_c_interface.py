"""libganglion.so: it exports what ganglion.h declares and nothing else, and it does not change."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from c_library import HEADER, ROOT, calls, library, numbers

from ganglion import _core

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = ROOT / "tests" / "golden" / "c_interface"
MAP = ROOT / "cpp" / "shared" / "libganglion.map"


def symbols(*options: str) -> list[str]:
    done = subprocess.run(["nm", "-D", *options, library()], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in done.stdout.splitlines()]


def abi(folder: Path) -> Path:
    """Makes the ABI file of what ganglion.h declares, from a library of empty functions: libganglion.so is compiled
    from the same declarations, and abidw reads the debug information of this one in no time."""
    source, library_of_it, out = folder / "c.c", folder / "libganglion.so.1", folder / "libganglion.abi"
    text = HEADER.read_text(encoding="utf-8")
    empty, found = re.subn(r"^(GANGLION_API[^;]*?) GANGLION_NOEXCEPT;", r"\1 { return 0; }", text, flags=re.MULTILINE)
    assert found == len(calls())
    source.write_text(empty, encoding="utf-8")
    options = [
        "-std=c11",
        "-g",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libganglion.so.1",
        f"-ffile-prefix-map={folder}=.",
        f"-Wl,--version-script={MAP}",
    ]
    subprocess.run(["gcc", *options, source, "-o", library_of_it], check=True)
    plain = ["--no-show-locs", "--no-corpus-path", "--no-comp-dir-path"]
    subprocess.run(["abidw", *plain, "--out-file", out, library_of_it], check=True)
    return out


def test_it_exports_what_the_header_declares_and_nothing_else() -> None:
    exported = [name for name in symbols("--defined-only") if name != "GANGLION_1"]  # a version is a symbol, too
    recorded = (GOLDEN / "symbols.txt").read_text(encoding="utf-8").split()
    assert sorted(exported) == recorded, "a symbol came or went: nothing may go, and what comes is added to symbols.txt"
    assert {name.partition("@")[0] for name in exported} == set(calls())
    listed = re.findall(r"^    (ganglion_\w+);$", MAP.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == set(calls())


def test_it_needs_the_c_library_alone() -> None:
    done = subprocess.run(["readelf", "-d", library().resolve()], capture_output=True, text=True, check=True)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout)
    assert needed and all(re.match(r"lib(c|m|dl|pthread)\.so|ld-linux", name) for name in needed), needed
    assert re.search(r"\(SONAME\).*\[libganglion\.so\.1\]", done.stdout)
    taken = symbols("--undefined-only")
    assert not [name for name in taken if re.match(r"(_Z|atexit|on_exit|__cxa_thread_atexit)", name)], "C++, or atexit"


def test_its_own_calls_reach_itself() -> None:
    """No call inside goes by a name: another copy of the library in the process, an older one say, could take it."""
    done = subprocess.run(["readelf", "-rW", library().resolve()], capture_output=True, text=True, check=True)
    assert "malloc" in done.stdout
    assert not [line for line in done.stdout.splitlines() if "ganglion_" in line]


def test_its_abi_is_the_recorded_one(tmp_path: Path) -> None:
    if not shutil.which("abidiff") or platform.machine() != "x86_64":
        pytest.skip("abidiff is not installed, or this is not the machine of the recorded ABI (Debian: abigail-tools)")
    found, recorded = abi(tmp_path), GOLDEN / "libganglion.abi"
    if os.environ.get("GANGLION_RENEW_ABI"):  # after an addition, and a look at what abidiff says
        shutil.copy(found, recorded)
    done = subprocess.run(["abidiff", recorded, found], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the C interface changed:\n{done.stdout}"


def test_its_statuses_are_those_of_python() -> None:
    statuses = {name.removeprefix("GANGLION_STATUS_").lower(): n for name, n in numbers().items() if "_STATUS_" in name}
    statuses["ok"] = numbers()["GANGLION_OK"]
    assert statuses == {name: int(status) for name, status in _core.Status.__members__.items()}


def test_a_number_stays() -> None:
    recorded = dict(line.split() for line in (GOLDEN / "numbers.txt").read_text(encoding="utf-8").splitlines())
    found = {name: str(number) for name, number in numbers().items()}
    assert recorded == found, "no number may change or go; what comes is added to numbers.txt"


def test_every_loop_call_is_watched_and_every_call_is_tested() -> None:
    watched = (ROOT / "tests/realtime/c_interface_realtime_test.cpp").read_text(encoding="utf-8")
    tested = watched + (ROOT / "tests/cpp/c_interface_test.cpp").read_text(encoding="utf-8")
    loop = watched.partition("int fly(")[2].partition("\n}\n")[0]
    assert [name for name, in_loop in calls().items() if in_loop and f"{name}(" not in loop] == []
    assert [name for name in calls() if f"{name}(" not in tested] == []
    assert len(calls()) > 80
