"""Files that an export writes: what can be a target, and what goes wrong, as errors of the export."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ganglion._foundation import files
from ganglion.errors import ExportError

HEADERS = (".hpp", ".h")
"""Suffixes of the headers that a policy can be: C++17 and C99."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_target(path: Path) -> None:
    """Refuses a path that no file can be written to, before any work is done.

    Raises:
        ExportError: the folder of `path` does not exist, or `path` is a directory.
    """
    if not path.parent.is_dir():
        raise ExportError(f"cannot write '{path}': the folder '{path.parent}' does not exist; create it first")
    if path.is_dir():
        raise ExportError(f"cannot write '{path}': it is a directory; give the name of a file")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; it becomes `path` only if the block ends without an exception.

    Raises:
        ExportError: the file system refused to write or to rename.
    """
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write '{path}': {error}") from error
