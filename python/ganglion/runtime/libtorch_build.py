"""Builds the LibTorch engine against the torch that is installed here, once, into the user's cache folder.

LibTorch promises no binary compatibility between versions, so an engine that was built elsewhere fits no other torch.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
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
    _check_owner(library)
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


def _make_folder(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for this user alone."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganglion"


def _check_owner(library: Path) -> None:
    """Refuses a library that somebody else could have put there, or could exchange: it is run with the user's rights.

    Every folder above it counts, as a path names it and as it is behind links: whoever may rename one may put another
    in its place. In a folder with the sticky bit, such as /tmp, only the owner of an entry may do so.

    Raises:
        EngineUnavailableError: another user may write to the file, to its folder or to one above.
    """
    seen = {library, library.resolve(), *library.absolute().parents, *library.resolve().parents}
    for path in sorted(seen):
        try:
            found = path.lstat()
        except OSError:
            continue  # not there yet: it will be made by us, in a folder that was looked at
        if stat.S_ISLNK(found.st_mode):
            writable = False  # what it points to is looked at as well, and so is the folder it is in
        elif stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
            writable = False
        else:
            writable = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if writable or found.st_uid not in (0, os.geteuid()):
            why = "other users may write to it" if writable else f"it belongs to user {found.st_uid}"
            raise EngineUnavailableError(
                f"the LibTorch engine is not loaded from '{library.parent}': '{path}': {why}, and what lies there runs "
                "with your rights. Set XDG_CACHE_HOME to a folder that only you can write to (chmod go-w), or name a "
                "library that you trust in GANGLION_LIBTORCH"
            )


def _compile(command: list[str], library: Path) -> None:
    try:
        _make_folder(library.parent)
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
