"""What was launched: the commit, the script, and an archive of the working tree of its repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

from ganglion._foundation.files import replacing

LARGEST_FILE = 8 << 20
"""Files of this size, in bytes, and larger ones are left out of the archive."""
ARCHIVE_FILE = "launch_archive.tar.xz"


def launcher() -> Path | None:
    """Returns the script that this process was started with; None in an interactive session."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if name is None else Path(name).resolve()


def git_root(path: Path) -> Path | None:
    """Returns the working tree that a file is in; None where there is none, or no git."""
    out = _git(path.parent, "rev-parse", "--show-toplevel")
    return Path(out.decode().rstrip("\n")) if out else None


def describe_launch() -> dict[str, str]:
    """Returns `launcher`, the script relative to its repository, and `githash`, where those are known.

    The hash ends in `-dirty` when tracked files were changed or there are files that git neither tracks nor ignores.
    """
    script = launcher()
    if script is None:
        return {}
    root = git_root(script)
    if root is None:
        return {"launcher": str(script)}
    result = {"launcher": script.relative_to(root.resolve()).as_posix()}
    # A repository without a commit has no hash.
    if commit := _git(root, "rev-parse", "--verify", "HEAD"):
        dirty = "-dirty" if _git(root, "status", "--short") else ""
        result = {"githash": commit.decode().strip() + dirty, **result}
    return result


def archive_launch_repo(folder: Path, exclude: Path) -> None:
    """Writes `launch_archive.tar.xz`: the tracked files, and those that git neither tracks nor ignores.

    Nothing is written where the script that this process was started with is in no git repository.

    Args:
        folder: where the archive goes.
        exclude: a folder to leave out, with all that is in it: earlier experiments.
    """
    script = launcher()
    root = None if script is None else git_root(script)
    listing = None if root is None else _git(root, "ls-files", "--others", "--exclude-standard", "--cached", "-z")
    if root is None or listing is None:
        return
    total = 0
    names = []
    for name in sorted({part.decode(errors="surrogateescape") for part in listing.split(b"\0") if part}):
        path = root / name
        # A deleted file stays in git's index, and a submodule is listed as a folder.
        if not path.is_file() or path.resolve().is_relative_to(exclude.resolve()):
            continue
        size = path.stat().st_size
        total += size
        if size < LARGEST_FILE:
            names.append(name)
    if total >= LARGEST_FILE:
        warnings.warn(
            f"the files of the launching repository '{root}' have {total:,} bytes, so archiving them may take long; "
            "archive_launch_repo=False leaves that out",
            stacklevel=3,
        )
    with replacing(folder / ARCHIVE_FILE) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for name in names:
            archive.add(root / name, arcname=name, recursive=False)


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(("git", *arguments), cwd=folder, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
