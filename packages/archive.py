"""Archives whose bytes depend on what is in them, and on nothing else."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path


def write_tar(path: Path, members: dict[str, Path | bytes], seconds: int) -> None:
    """Writes a .tar.gz: members in the order of their names, owned by root, all of one date.

    Args:
        path: the archive; written beside it first, then renamed.
        members: by name, a file (links stay links) or its bytes.
        seconds: the date, since 1970.
    """
    unfinished = path.with_name(f".{path.name}")
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=seconds) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, content in sorted(members.items()):
            _add(tar, name, content, seconds)
    unfinished.rename(path)


def settle_zip(path: Path) -> None:
    """Takes out of a zip archive which rights its files had here, but for whether they run."""
    unfinished = path.with_name(f".{path.name}")
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for member in given.infolist():
            runs = member.external_attr >> 16 & 0o100
            member.external_attr = (stat.S_IFREG | (0o755 if runs else 0o644)) << 16
            out.writestr(member, given.read(member), compresslevel=9)
    unfinished.rename(path)


def files_below(folder: Path, name: str) -> dict[str, Path | bytes]:
    """Every file and link below a folder, by its name in an archive whose top folder is `name`."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {f"{name}/{path.relative_to(folder)}": path for path in found}


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes, seconds: int) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = seconds
    if isinstance(content, Path) and content.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(content.readlink()), 0o777
        tar.addfile(member)
        return
    runs = isinstance(content, Path) and content.stat().st_mode & 0o100
    data = content.read_bytes() if isinstance(content, Path) else content
    member.mode, member.size = (0o755 if runs else 0o644), len(data)
    tar.addfile(member, io.BytesIO(data))
