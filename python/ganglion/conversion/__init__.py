"""From files, ours or anybody's, to one file: `compile` for the native engine, `chain` two modules into one policy."""

from __future__ import annotations

from ganglion.conversion.chaining import ChainReport, chain
from ganglion.conversion.compiling import CompileReport, compile  # noqa: A004

__all__ = ["ChainReport", "CompileReport", "chain", "compile"]
