"""`ganglion report`: a recorded flight as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import progress

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion report`."""
    from ganglion.flight import report

    with progress() as tick:
        summary = report(arguments.file, arguments.output, progress=tick)
    size = Path(arguments.output).stat().st_size
    document = {"ok": True, "file": arguments.output, "bytes": size} | summary.to_dict()
    return Outcome(document, (Text(f"{arguments.output}: {size:,} bytes", style="bold"), summary))
