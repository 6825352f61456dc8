"""What others wrote and our packages hold: licence files, and a bill of materials (CycloneDX, JSON).

    python packages/notices.py OUT --architecture x86_64

writes OUT/python (goes into the metadata of a wheel), OUT/cpp (goes into share/doc/ganglion) and OUT/source. Versions
are read off what is compiled, never written down here.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import toolchain

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
_IO = ROOT / "cpp" / "src" / "io"
_UPLOT = ROOT / "python" / "ganglion" / "verify" / "page" / "uplot"


@dataclass(frozen=True)
class Component:
    """Something of others.

    Attributes:
        name: its own name.
        licence: as an SPDX expression.
        purl: where it comes from, as a package URL without the version.
        version: reads the version.
        text: reads the licence.
        packages: the kinds of package that it is in: python, cpp, source.
        of_zig: true where it comes with the compiler of `make dist`.
    """

    name: str
    licence: str
    purl: str
    version: Callable[[], str]
    text: Callable[[], str]
    packages: tuple[str, ...]
    of_zig: bool = False


def _pypi(name: str) -> tuple[Callable[[], str], Callable[[], str]]:
    def text() -> str:
        files = importlib.metadata.files(name) or []
        (found,) = [file for file in files if re.search(r"licenses?/LICEN[CS]E[^/]*$", str(file), re.IGNORECASE)]
        return found.read_text(encoding="utf-8")

    return (lambda: importlib.metadata.version(name)), text


def _found(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{path}: {pattern}"
    return found[1]


def _monocypher_licence() -> str:
    comment = _found(_IO / "monocypher" / "monocypher.c", r"\A((?:^//[^\n]*\n)+)")
    return re.sub(r"^// ?", "", comment, flags=re.MULTILINE)


def _llvm(part: str) -> Component:
    return Component(
        part,
        "Apache-2.0 WITH LLVM-exception",
        "pkg:github/llvm/llvm-project",
        lambda: toolchain.compiler_versions()["llvm"],
        lambda: (toolchain.zig().parent / "lib" / part / "LICENSE.TXT").read_text(encoding="utf-8"),
        ("python", "cpp"),
        of_zig=True,
    )


COMPONENTS = (
    Component("nlohmann-json", "MIT", "pkg:pypi/nlohmann-json", *_pypi("nlohmann-json"), ("python", "cpp")),
    Component(
        "monocypher",
        "BSD-2-Clause OR CC0-1.0",
        "pkg:github/LoupVaillant/Monocypher",
        lambda: _found(_IO / "monocypher" / "monocypher.c", r"Monocypher version (\S+)"),
        _monocypher_licence,
        ("python", "cpp", "source"),
    ),
    Component("pybind11", "BSD-3-Clause", "pkg:pypi/pybind11", *_pypi("pybind11"), ("python",)),
    Component(
        "uPlot",
        "MIT",
        "pkg:npm/uplot",
        lambda: _found(_UPLOT / "uPlot.iife.min.js", r"\(v([0-9.]+)\)"),
        lambda: (_UPLOT / "LICENSE").read_text(encoding="utf-8"),
        ("python", "source"),
    ),
    *(_llvm(part) for part in ("libcxx", "libcxxabi", "libunwind")),
    Component(
        "zig-compiler-rt",
        "MIT",
        "pkg:github/ziglang/zig",
        lambda: toolchain.compiler_versions()["zig"],
        lambda: (toolchain.zig().parent / "LICENSE").read_text(encoding="utf-8"),
        ("python", "cpp"),
        of_zig=True,
    ),
)


def parts_of(kind: str, compiler: str) -> list[Component]:
    """What is in a kind of package that a compiler made."""
    return [one for one in COMPONENTS if kind in one.packages and (compiler == "zig" or not one.of_zig)]


def bill(kind: str, architecture: str, version: str, seconds: int, compiler: str = "zig") -> dict[str, object]:
    """A CycloneDX document for one package."""
    name = f"ganglion-{kind}-{architecture}"
    ours = {"type": "library", "bom-ref": "ganglion", "name": "ganglion", "version": version,
            "licenses": [{"license": {"id": "MIT"}}], "purl": f"pkg:pypi/ganglion@{version}"}  # fmt: skip
    parts = [
        {"type": "library", "bom-ref": one.name, "name": one.name, "version": one.version(),
         "licenses": [{"expression": one.licence}], "purl": f"{one.purl}@{one.version()}"}
        for one in parts_of(kind, compiler)
    ]  # fmt: skip
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name}-{version}-{seconds}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z"),
            "component": ours,
            "properties": [{"name": "architecture", "value": architecture}],
        },
        "components": parts,
        "dependencies": [{"ref": "ganglion", "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def write_notices(out: Path, architecture: str, version: str, seconds: int, compiler: str = "zig") -> None:
    """Writes a folder for each kind of package.

    Args:
        out: where; made where it is not there.
        architecture: goes into the bill.
        version: that of ganglion.
        seconds: the date of the bill, since 1970.
        compiler: zig, or another whose libraries are not linked in.
    """
    for kind in ("python", "cpp", "source"):
        licences = out / kind / "licenses"
        licences.mkdir(parents=True, exist_ok=True)
        for one in parts_of(kind, compiler):
            (licences / f"{one.name}.txt").write_text(one.text(), encoding="utf-8")
        (out / kind / "sboms").mkdir(exist_ok=True)
        text = json.dumps(bill(kind, architecture, version, seconds, compiler), indent=2) + "\n"
        (out / kind / "sboms" / "ganglion.cdx.json").write_text(text, encoding="utf-8")


def project_version() -> str:
    """The one version literal, in CMakeLists.txt."""
    return _found(ROOT / "CMakeLists.txt", r"project\(ganglion VERSION ([0-9.]+)")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--architecture", required=True, choices=toolchain.ARCHITECTURES)
    parser.add_argument("--compiler", default="zig", choices=("zig", "gcc"))
    arguments = parser.parse_args()
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    write_notices(arguments.out, arguments.architecture, project_version(), seconds, arguments.compiler)


if __name__ == "__main__":
    main()
