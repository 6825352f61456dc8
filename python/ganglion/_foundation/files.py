"""Reading whole files of unknown honesty, and writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ganglion import _core
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

LARGEST_BYTES = 2 << 30
"""Policies and checkpoints beyond this size are refused: none for a robot is that large."""

LARGEST_RECORDING = 8 << 30
"""Recordings beyond this size are refused, packed or unpacked: they are held in memory."""


class ReadFile(NamedTuple):
    """A file that was read once: whoever checks it and whoever uses it get the same bytes.

    Attributes:
        path: where it was; for messages, and for what lies beside it.
        data: what was in it.
    """

    path: Path
    data: bytes


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, limit: int = LARGEST_BYTES) -> Iterator[BinaryIO]:
    """Opens a file for reading, after a look at what it is: a device or a pipe might give bytes for ever, or none.

    Raises:
        ArtifactError: the file is missing, no regular file, or larger than `limit`.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ArtifactError(f"cannot read '{path}': {error.strerror or error}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise ArtifactError(f"cannot read '{path}': Is a directory; give the path of a file inside it")
        if not stat.S_ISREG(found.st_mode):
            raise ArtifactError(f"'{path}' is a device, a pipe or a socket; give the path of a file")
        if found.st_size > limit:
            raise ArtifactError(f"'{path}' has {found.st_size:,} bytes; files of up to {limit:,} are read")
        yield file


def check_unpacked(
    path: str | os.PathLike[str], archive: zipfile.ZipFile | None, *, limit: int = LARGEST_RECORDING
) -> None:
    """Refuses a ZIP archive, if it is open, whose members would take more memory than a file may.

    Raises:
        ArtifactError: they do.
    """
    size = 0 if archive is None else sum(entry.file_size for entry in archive.infolist())
    if size > limit:
        raise ArtifactError(f"'{path}' unpacks to {size:,} bytes; up to {limit:,} are read")


def read_file(path: str | os.PathLike[str], *, limit: int = LARGEST_BYTES) -> ReadFile:
    """Reads a whole file.

    Raises:
        ArtifactError: see `opened`.
    """
    with opened(path, limit=limit) as file:
        try:
            # One byte more than there is: the file could have grown since. Not `limit`: memory would be asked for it.
            size = os.fstat(file.fileno()).st_size
            data = file.read(size + 1)
        except OSError as error:
            raise ArtifactError(f"cannot read '{path}': {error.strerror or error}") from error
    if len(data) != size:
        raise ArtifactError(f"'{path}' changed while it was read; try again")
    return ReadFile(Path(path), data)


def is_torchscript(path: str | os.PathLike[str]) -> bool:
    """Whether a file is TorchScript: a ZIP archive with a program; what `torch.save` writes has none.

    Raises:
        ArtifactError: see `opened`.
    """
    import zipfile

    with opened(path) as file:
        try:
            names = zipfile.ZipFile(file).namelist()
        except Exception:  # what zipfile meets in a file that is no archive, or a damaged one
            return False
    return any(name.endswith("/constants.pkl") for name in names)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """`".onnx"`, `".pt"` or `".ganglion"`, by the name of a file, else by its first bytes."""
    try:
        with opened(path) as file:
            return _core.suffix_of(file.read(16), str(path))
    except (ArtifactError, OSError, _core.Error):
        return Path(path).suffix


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what is written there takes the place of `path` at the end.

    If the body raises, `path` keeps what it had and nothing is left behind. The temporary name keeps the suffix. What
    is written is on the disk before it has its name; what a process left behind that was killed meanwhile is taken
    away by the next one.
    """
    target = Path(path)
    _remove_strays(target)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}-{_here()}-{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(target)
        with contextlib.suppress(OSError):  # the file is there; not every file system synchronises folders
            _to_disk(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


_OLD_S = 3600.0
"""Whoever writes longer than this on one file is gone, wherever it was."""


@functools.cache
def _here() -> str:
    """Which processes a number means: those of this machine, in this container."""
    place = [socket.gethostname()]
    with contextlib.suppress(OSError):
        place.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\0".join(place).encode()).hexdigest()[:6]


def _remove_strays(target: Path) -> None:
    """Removes temporary files for `target` of processes that are gone."""
    name = re.compile(rf"\.{re.escape(target.stem)}\.(\d+)-([0-9a-f]{{6}})-[0-9a-f]{{12}}{re.escape(target.suffix)}")
    with contextlib.suppress(OSError):
        for stray in target.parent.iterdir():
            found = name.fullmatch(stray.name)
            # Another one may take it away at the same time, or it may be somebody else's.
            with contextlib.suppress(OSError):
                if found and stray.is_file() and not stray.is_symlink():
                    age = time.time() - stray.stat().st_mtime
                    if age > _OLD_S or (found[2] == _here() and not _is_alive(int(found[1]))):
                        stray.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it is another user's, or its number is none
    return True


def _to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
