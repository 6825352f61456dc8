"""What `make dist` makes keeps its rules, as far as that can be seen without building it (`make dist-test` does)."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
import tomllib

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def scripts() -> None:
    sys.path.insert(0, str(ROOT / "packages"))
    yield
    sys.path.remove(str(ROOT / "packages"))


def script(name: str) -> ModuleType:
    """A script of packages/: they import each other by their file names."""
    return __import__(name)


@pytest.fixture(scope="module")
def machine() -> str:
    if os.uname().machine not in script("toolchain").ARCHITECTURES or not shutil.which("gcc"):
        pytest.skip("needs gcc on x86-64 or aarch64")
    return os.uname().machine


def library(folder: Path, *options: str, text: str = "int ganglion_version(void) { return 1; }") -> Path:
    source, out = folder / "c.c", folder / "libganglion.so.1"
    source.write_text(text, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", source, *options, "-o", out], check=True)
    return out


def said(path: Path, machine: str, name: str = "lib/libganglion.so.1") -> str:
    rules = script("rules")
    return "\n".join(rules.complaints_of_elf(name, rules.read_elf(path), machine))


def test_a_good_library_keeps_the_rules(machine: str, tmp_path: Path) -> None:
    assert said(library(tmp_path), machine) == ""


@pytest.mark.parametrize(
    ("options", "text", "what"),
    [
        ((), "int helper(void) { return 1; }", "exports helper"),
        (("-fvisibility=hidden",), "int ganglion_version(void) { return 1; }", "exports nothing"),
        (("-Wl,--no-as-needed", "-lstdc++"), "int ganglion_version(void) { return 1; }", "needs libstdc++.so.6"),
        (("-Wl,-rpath,/opt/lib",), "int ganglion_version(void) { return 1; }", "looks for libraries in /opt/lib"),
    ],
)
def test_one_that_breaks_them_is_named(
    options: tuple[str, ...], text: str, what: str, machine: str, tmp_path: Path
) -> None:
    assert what in said(library(tmp_path, *options, text=text), machine)


def test_a_library_of_another_machine_is_named(machine: str, tmp_path: Path) -> None:
    other = next(one for one in script("toolchain").ARCHITECTURES if one != machine)
    assert f"is for {machine}, not {other}" in said(library(tmp_path), other)


def test_an_extension_that_python_does_not_find_is_named(machine: str, tmp_path: Path) -> None:
    path = library(tmp_path, text="int PyInit__core(void) { return 1; }")
    assert said(path, machine, f"ganglion/_core.cpython-311-{machine}-linux-gnu.so") == ""
    assert "is not found by a Python" in said(path, machine, "ganglion/_core.cpython-311-s390x-linux-gnu.so")


def test_a_newer_glibc_is_named(machine: str, tmp_path: Path) -> None:
    """The program is one of this machine, whose glibc is newer than that of the packages."""
    text = "#include <math.h>\n#include <stdlib.h>\nint main(int n, char** v) { return (int)pow(n, 0.5) + (v == 0); }"
    (tmp_path / "p.c").write_text(text, encoding="utf-8")
    subprocess.run(["gcc", tmp_path / "p.c", "-lm", "-o", tmp_path / "p"], check=True)
    rules = script("rules")
    elf = rules.read_elf(tmp_path / "p")
    assert elf.glibc >= (2, 29), "__libc_start_main has a version of 2.34"
    assert "newer than 2.28" in said(tmp_path / "p", machine, "bin/p")


def test_what_a_package_lacks_is_named(machine: str, tmp_path: Path) -> None:
    wheel = tmp_path / f"ganglion-0-cp311-cp311-manylinux_2_28_{machine}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library(tmp_path), "ganglion/libganglion.so.1")
        archive.writestr("ganglion/large", os.urandom(3 << 20))
    found = "\n".join(script("rules").complaints(wheel))
    assert "it has no bill of materials" in found
    assert "it has no licence of monocypher" in found
    assert "the largest may have 3145728" in found


def test_a_place_of_the_machine_is_named(machine: str, tmp_path: Path) -> None:
    text = 'const char* ganglion_place = "/home/somebody/ganglion/cpp/x.cpp";'
    archive = tmp_path / f"ganglion-sdk-0-linux-{machine}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(library(tmp_path, text=text), "sdk/lib/libganglion.so.1")
    assert "names a folder of the machine that built it: /home/somebody/" in "\n".join(
        script("rules").complaints(archive)
    )


def test_an_archive_has_the_bytes_of_what_is_in_it(tmp_path: Path) -> None:
    made = []
    for number, names in enumerate((("b", "a"), ("a", "b"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name, encoding="utf-8")
            os.utime(folder / name, (number * 1000, number * 1000))
        (folder / "a").chmod((0o755, 0o700)[number])
        (folder / "link").symlink_to("a")
        archive = script("archive")
        archive.write_tar(tmp_path / f"{number}.tar.gz", archive.files_below(folder, "top"), 86400)
        made.append((tmp_path / f"{number}.tar.gz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "0.tar.gz") as tar:
        assert [(one.name, one.mode, one.mtime) for one in tar] == [
            ("top/a", 0o755, 86400), ("top/b", 0o644, 86400), ("top/link", 0o777, 86400)]  # fmt: skip


def test_everything_of_others_has_a_licence_and_a_version() -> None:
    components = {one.name: one for one in script("notices").COMPONENTS}
    assert {"nlohmann-json", "monocypher", "pybind11", "uPlot", "libcxx", "libcxxabi", "libunwind"} <= set(components)
    for name, part in components.items():
        if name.startswith(("lib", "zig")) and importlib.util.find_spec("ziglang") is None:
            continue  # the compiler is there for make dist alone
        assert re.fullmatch(r"\d+(\.\d+)+\S*", part.version()), name
        assert len(part.text()) > 500 and re.search("licen[cs]e|permission", part.text(), re.IGNORECASE), name


def test_folders_of_others_are_in_the_bill() -> None:
    """A folder of the tree with a licence of its own is somebody's."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    folders = {Path(one).parent.name for one in listed.stdout.split("\n") if Path(one).name.startswith("LICEN")} - {""}
    known = {one.name.lower() for one in script("notices").COMPONENTS}
    assert folders - known == {"iframe_worker"}, "docs/iframe_worker is in no package"


def test_a_bill_names_what_a_package_holds() -> None:
    bill = script("notices").bill("source", "any", "1.2.3", 86400)
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    assert [one["name"] for one in bill["components"]] == ["monocypher", "uPlot"]
    assert bill["components"][0]["purl"].endswith(f"@{bill['components'][0]['version']}")


def test_package_xml_is_of_this_version() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == script("notices").project_version()
    assert package.findtext("export/build_type") == "cmake"
    assert package.findtext("name") == "ganglion"


def test_cibuildwheel_builds_every_python_that_we_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheels = project["tool"]["cibuildwheel"]
    assert wheels["build"] == [f"cp3{minor}-manylinux_*" for minor in range(10, 15)]
    assert project["project"]["requires-python"] == ">=3.10"
    assert set(wheels["archs"]) == set(script("toolchain").ARCHITECTURES)
    for machine in wheels["archs"]:
        assert wheels[f"manylinux-{machine}-image"] == f"manylinux_{script('toolchain').GLIBC.replace('.', '_')}"
