"""Who wrote a header."""

from __future__ import annotations

import importlib.metadata


def made_by() -> str:
    """Name and version of this package, as the first line of a header says it."""
    try:
        return f"ganglion {importlib.metadata.version('ganglion')}"
    except importlib.metadata.PackageNotFoundError:  # raised in a source tree
        return "ganglion"
