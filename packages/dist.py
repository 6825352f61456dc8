"""Builds every package: a wheel, an SDK and a .deb for each architecture, and the sdist.

    python packages/dist.py --out dist --work build/dist

The bytes depend on the tree and on the pinned tools alone (SOURCE_DATE_EPOCH is the date of the last commit, where it
is not given). What is compiled stays in --work, so that a second call builds what has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import archive
import notices
import rules
import toolchain

ROOT = Path(__file__).resolve().parents[1]


class Build:
    """One call of `make dist`."""

    def __init__(self, out: Path, work: Path, seconds: int) -> None:
        self._out = out
        self._work = work
        self._seconds = seconds
        self._version = notices.project_version()
        self._stub: Path | None = None
        out.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        zig = {name: str(work / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
        # Zig keeps what it compiled by itself.
        os.environ.update({"SOURCE_DATE_EPOCH": str(seconds), "TZ": "UTC", "LC_ALL": "C", "CCACHE_DISABLE": "1", **zig})

    def sdist(self) -> None:
        """Packs the source, with its bill of materials."""
        self._say("sdist")
        folder = self._emptied(self._work / "sdist")
        self._python("sdist", "-c", f"from scikit_build_core.build import build_sdist; build_sdist({str(folder)!r})")
        (packed,) = folder.glob("*.tar.gz")
        shutil.unpack_archive(packed, folder)
        top = packed.name.removesuffix(".tar.gz")
        notices.write_notices(folder / "notices", "any", self._version, self._seconds)
        members = archive.files_below(folder / top, top) | archive.files_below(
            folder / "notices/source", f"{top}/notices"
        )
        archive.write_tar(self._out / packed.name, members, self._seconds)

    def binaries(self, architecture: str) -> None:
        """Builds the wheel, the SDK and the .deb of one architecture."""
        work = self._work / architecture
        work.mkdir(parents=True, exist_ok=True)
        headers = {Path(importlib.util.find_spec(name).origin).parents[1] for name in ("pybind11", "nlohmann_json")}
        places = {
            ROOT: ".",
            work: "build",
            Path(sysconfig.get_path("include")): "python",
            **dict.fromkeys(headers, "headers"),
        }
        tools = toolchain.make_toolchain(architecture, work / "tools", places)
        if tools.changed:
            shutil.rmtree(work / "cmake", ignore_errors=True)
        notices.write_notices(work / "notices", architecture, self._version, self._seconds)
        self._say(f"{architecture}: wheel")
        self._wheel(tools, work)
        self._say(f"{architecture}: C interface and tools")
        self._run(
            f"{architecture}-c", "cmake", "--build", work / "cmake", "--target", "ganglion_c", "ganglion_standalone"
        )
        self._sdk(architecture, work)
        self._deb(architecture, work)

    def finish(self) -> None:
        """Holds every package to the rules, and lists them."""
        packages = rules.packages_in(self._out)
        found = [one for package in packages for one in rules.complaints(package)]
        if found:
            sys.exit("\n".join(found))
        sums = {package.name: hashlib.sha256(package.read_bytes()).hexdigest() for package in packages}
        (self._out / "SHA256SUMS").write_text(
            "".join(f"{one}  {name}\n" for name, one in sums.items()), encoding="utf-8"
        )
        for package in packages:
            print(f"{package.stat().st_size:>10,} bytes  {package.name}")

    def _wheel(self, tools: toolchain.Toolchain, work: Path) -> None:
        raw = self._emptied(work / "wheel")
        defines = {
            "CMAKE_TOOLCHAIN_FILE": tools.file,
            "CMAKE_INSTALL_LIBDIR": "lib",
            "CMAKE_UNITY_BUILD": "OFF",  # as the packages were measured and tried on old machines
            "GANGLION_NOTICES": work / "notices",
            "GANGLION_STANDALONE": "ON",
            "GANGLION_STANDALONE_ARCHIVES": ";".join(map(str, tools.archives)),
            "GANGLION_PYTHON_STUBS": "ON" if tools.native else "OFF",
        }
        environment = {"_PYTHON_HOST_PLATFORM": f"linux-{tools.architecture}"}
        if not tools.native:
            tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
            suffix = f".{tag}-{tools.architecture}-linux-gnu.so"
            environment["SETUPTOOLS_EXT_SUFFIX"] = suffix
            defines |= {"PYTHON_MODULE_EXTENSION": suffix, "PYTHON_MODULE_DEBUG_POSTFIX": ""}
            if self._stub is not None:
                defines["GANGLION_PYTHON_STUB_FILE"] = self._stub
        options = [f"--config-settings=cmake.define.{name}={value}" for name, value in defines.items()]
        self._python(
            f"{tools.architecture}-wheel", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-v", "-w", raw,
            f"--config-settings=build-dir={work / 'cmake'}", *options, ROOT, environment=environment,
        )  # fmt: skip
        if tools.native:
            self._stub = work / "cmake" / "cpp" / "bindings" / "_core.pyi"
        (wheel,) = raw.glob("*.whl")
        platform_tag = f"manylinux_{toolchain.GLIBC.replace('.', '_')}_{tools.architecture}"
        # auditwheel looks at wheels of any machine, but takes the names of this one's platforms alone.
        audit = f"import platform; platform.machine = lambda: {tools.architecture!r}; from auditwheel.main import main"
        self._python(
            f"{tools.architecture}-auditwheel", "-c", f"{audit}; raise SystemExit(main())", "repair",
            "--plat", platform_tag, "--only-plat", "--zip-compression-level", "9", "-w", self._out, wheel,
        )  # fmt: skip
        archive.settle_zip(next(self._out.glob(f"*_{tools.architecture}.whl")))

    def _sdk(self, architecture: str, work: Path) -> None:
        name = f"ganglion-sdk-{self._version}-linux-{architecture}"
        prefix = self._emptied(work / "sdk") / name
        self._run(f"{architecture}-sdk", "cmake", "--install", work / "cmake", "--prefix", prefix, "--component", "cpp")
        archive.write_tar(self._out / f"{name}.tar.gz", archive.files_below(prefix, name), self._seconds)

    def _deb(self, architecture: str, work: Path) -> None:
        folder = self._emptied(work / "deb")
        self._run(
            f"{architecture}-deb", "cpack", "-G", "DEB", "--config", work / "cmake" / "CPackConfig.cmake", "-B", folder
        )
        (package,) = folder.glob("*.deb")
        shutil.copy(package, self._out)

    def _python(self, log: str, *command: object, environment: dict[str, str] | None = None) -> None:
        self._run(log, sys.executable, *command, environment=environment)

    def _run(self, log: str, *command: object, environment: dict[str, str] | None = None) -> None:
        """Runs a command; what it says is in a log, and its end on the screen where it fails."""
        environment = {**os.environ, **(environment or {})}
        path = self._work / f"{log}.log"
        with path.open("wb") as file:
            done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, stdout=file,
                                  stderr=subprocess.STDOUT, check=False)  # fmt: skip
        if done.returncode:
            end = path.read_text(encoding="utf-8", errors="replace").splitlines()[-30:]
            sys.exit("\n".join([*end, f"dist: this failed; all that it said is in {path}"]))

    @staticmethod
    def _emptied(folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @staticmethod
    def _say(what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


def date_of_tree() -> int:
    """SOURCE_DATE_EPOCH, or the date of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit("dist: this is no git checkout: set SOURCE_DATE_EPOCH to the date that the packages shall carry")
    return int(said.stdout)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "dist")
    parser.add_argument("--architecture", action="append", choices=toolchain.ARCHITECTURES)
    arguments = parser.parse_args()
    build = Build(arguments.out.resolve(), arguments.work.resolve(), date_of_tree())
    build.sdist()
    # The one of this machine first: it writes the type stubs.
    asked = arguments.architecture or list(toolchain.ARCHITECTURES)
    for architecture in sorted(asked, key=lambda one: one != os.uname().machine):
        build.binaries(architecture)
    build.finish()


if __name__ == "__main__":
    main()
