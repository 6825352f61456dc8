"""The command `ganglion`."""

from __future__ import annotations

from ganglion.cli.main import main

__all__ = ["main"]
