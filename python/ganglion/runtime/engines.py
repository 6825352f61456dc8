"""Which engines this machine can run, and where their libraries are. Imports neither torch nor onnxruntime.

Which engines there are, and which files they open, is a table of the C++ runtime (`ganglion/options.hpp`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal, cast

from ganglion import _core
from ganglion._foundation.files import suffix_of
from ganglion.errors import EngineUnavailableError
from ganglion.runtime.libtorch_build import build_libtorch_engine

EngineName = Literal["automatic", "native", "onnxruntime", "libtorch"]
"""The names of the table, for type checkers."""

InstructionSet = Literal["automatic", "baseline", "neon", "neon_dotprod", "avx2", "avx_vnni", "avx512", "avx512_vnni"]
"""The instruction sets of the native engine (`ganglion/isa.hpp`), for type checkers."""

_COMPILED: dict[str, EngineName] = {".onnx": "native", ".yaml": "native", ".yml": "native"}
"""Files that Python compiles for an engine which cannot open them."""

_CPU_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "asimddp")


@dataclass(frozen=True)
class EngineInfo:
    """One engine and whether it can run here.

    Attributes:
        name: `"native"`, `"onnxruntime"`, ...
        usable: true when `ganglion.load` can use it.
        version: version of the third-party package, or None.
        library: the shared library that is opened, or None where there is none to open (yet).
        reason: what is missing and what to do, or how the library was found.
    """

    name: str
    usable: bool
    version: str | None
    library: Path | None
    reason: str


def engines(*, build: bool = True) -> list[EngineInfo]:
    """Looks at every engine. With `build`, the LibTorch engine is built where torch is there and the engine is not."""
    found = {"onnxruntime": _onnxruntime, "libtorch": lambda: _libtorch(build), "native": _native}
    return [found[name]() for name in engine_names()]


def engine_names() -> tuple[EngineName, ...]:
    """Every engine of the runtime."""
    return tuple(cast("EngineName", row.name) for row in _core.engines())


def engines_for(path: str | os.PathLike[str]) -> tuple[EngineName, ...]:
    """The engines that `ganglion.load` can run a file on, the automatic one first."""
    suffix = suffix_of(path)
    compiled = (_COMPILED[suffix],) if suffix in _COMPILED else ()
    return tuple(cast("EngineName", row.name) for row in _core.engines() if row.suffix == suffix) + compiled


def cpu_features() -> list[str]:
    """Returns the vector extensions of this CPU that matter to engines, in the kernel's spelling."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            found = set(value.split())
            return [feature for feature in _CPU_FEATURES if feature in found]
    return []


def onnxruntime_library() -> Path | None:
    """Returns the library that `GANGLION_ONNXRUNTIME` names, else that of the onnxruntime wheel, or None."""
    if named := os.environ.get("GANGLION_ONNXRUNTIME"):
        return Path(named)
    package = _package_folder("onnxruntime")
    if package is None:
        return None
    found = sorted((package / "capi").glob("libonnxruntime.so*"))
    return found[0] if found else None


def libtorch_library_for(path: Path) -> Path | None:
    """Returns the LibTorch engine if `path` needs one: the one that `GANGLION_LIBTORCH` names, else one built once.

    None where `path` needs none, or torch is not installed.

    Raises:
        EngineUnavailableError: torch is installed but the engine cannot be built.
    """
    if suffix_of(path) != ".pt":
        return None
    if named := os.environ.get("GANGLION_LIBTORCH"):
        return Path(named)
    torch = _package_folder("torch")
    return None if torch is None else build_libtorch_engine(torch)


def _native() -> EngineInfo:
    try:
        reason, usable = f"built in, kernels for {_core.native_instruction_set()}", True
    except _core.Error as error:  # what GANGLION_ISA asks for
        reason, usable = error.args[1], False
    return EngineInfo("native", usable, _core.__version__, None, reason)


def _onnxruntime() -> EngineInfo:
    library = onnxruntime_library()
    if library is None:
        return EngineInfo("onnxruntime", False, None, None, "not installed; pip install 'ganglion[onnx]'")
    if os.environ.get("GANGLION_ONNXRUNTIME"):
        return EngineInfo("onnxruntime", library.exists(), None, library, "named by GANGLION_ONNXRUNTIME")
    return EngineInfo("onnxruntime", True, metadata.version("onnxruntime"), library, "from the onnxruntime wheel")


def _libtorch(build: bool) -> EngineInfo:
    if named := os.environ.get("GANGLION_LIBTORCH"):
        return EngineInfo("libtorch", Path(named).exists(), None, Path(named), "named by GANGLION_LIBTORCH")
    torch = _package_folder("torch")
    if torch is None:
        return EngineInfo("libtorch", False, None, None, "torch is not installed; pip install 'ganglion[torch]'")
    version = metadata.version("torch")
    try:
        library = build_libtorch_engine(torch, build=build)
    except EngineUnavailableError as error:
        return EngineInfo("libtorch", False, version, None, str(error))
    return EngineInfo("libtorch", True, version, library, f"built against torch {version}")


def _package_folder(name: str) -> Path | None:
    spec = util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
