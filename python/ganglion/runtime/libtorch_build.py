"""Builds the LibTorch engine against the torch that is installed here, once, into the user's cache folder.

LibTorch promises no binary compatibility between versions, so an engine that was built elsewhere fits no other torch.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from ganglion import _core
from ganglion.errors import EngineUnavailableError

_COMPILERS = ("c++", "g++", "clang++")


def package_data() -> Path:
    """Returns the folder where the build put what belongs to the package: tools and the engine's source."""
    # An editable install keeps the Python files elsewhere, so the extension's own place is the one to trust.
    return Path(_core.__file__).parent


def build_libtorch_engine(torch: Path, *, build: bool = True) -> Path:
    """Returns the engine library for the torch package in folder `torch`, building it if it is not there.

    Raises:
        EngineUnavailableError: there is no C++20 compiler, the compiler failed, or `build` is false and it is missing.
    """
    source = package_data() / "libtorch_engine"
    command = _command(torch, source)
    library = _cache_folder() / f"libganglion_libtorch-{_fingerprint(command, source)}.so"
    if library.exists():
        return library
    if not build:
        raise EngineUnavailableError("the LibTorch engine is not built yet; the first load of a .pt file builds it")
    if shutil.which(command[0]) is None:
        raise EngineUnavailableError(
            f"the LibTorch engine must be built once against the installed torch, but there is no C++ compiler "
            f"(looked for $CXX, {', '.join(_COMPILERS)}); install one that knows C++20"
        )
    print(f"ganglion: building the LibTorch engine for torch {metadata.version('torch')} (once)", file=sys.stderr)
    _compile(command, library)
    return library


def _command(torch: Path, source: Path) -> list[str]:
    chosen = shlex.split(os.environ.get("CXX", ""))
    compiler = chosen or [next((name for name in _COMPILERS if shutil.which(name)), _COMPILERS[0])]
    config = torch / "share" / "cmake" / "Torch" / "TorchConfig.cmake"
    # Torch builds before 2.7 may use the old ABI of std::string and say so in their package config.
    old_abi = config.exists() and "_GLIBCXX_USE_CXX11_ABI=0" in config.read_text(encoding="utf-8")
    libraries = torch / "lib"
    return [
        *compiler,
        *["-std=c++20", "-O2", "-DNDEBUG", "-fPIC", "-shared", "-fvisibility=hidden"],
        *(["-D_GLIBCXX_USE_CXX11_ABI=0"] if old_abi else []),
        *["-I", str(source)],
        *["-isystem", str(torch / "include"), "-isystem", str(torch / "include/torch/csrc/api/include")],
        str(source / "engines" / "libtorch" / "libtorch.cpp"),
        *["-L", str(libraries), f"-Wl,-rpath,{libraries}", "-ltorch", "-ltorch_cpu", "-lc10"],
    ]


def _fingerprint(command: list[str], source: Path) -> str:
    digest = hashlib.sha256("\0".join([*command, metadata.version("torch")]).encode())
    for file in sorted(source.rglob("*.[ch]pp")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganglion"


def _compile(command: list[str], library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            built = Path(folder) / library.name
            result = subprocess.run([*command, "-o", str(built)], capture_output=True, text=True, check=False)
            if result.returncode != 0:
                tail = "\n".join(result.stderr.splitlines()[-20:])
                raise EngineUnavailableError(f"the LibTorch engine could not be built; the compiler said:\n{tail}")
            # Renamed in one piece: two processes that build at once both end with a whole library.
            built.replace(library)
    except OSError as error:
        raise EngineUnavailableError(f"the LibTorch engine could not be built: {error}") from error
