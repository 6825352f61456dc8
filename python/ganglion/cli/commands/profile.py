"""`ganglion profile`: what observations looked like in training, into the contract of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion profile`."""
    from ganglion.wiring import profile

    output = arguments.file if arguments.output is None else arguments.output
    with status(f"measuring {arguments.recording}"):
        found = profile(arguments.file, arguments.recording, output)
    document = {
        "ok": True,
        "file": output,
        "steps": found.steps,
        "size": found.size,
        "segments": len(found.segment_means),
        "actions": found.actions,
    }
    responses = (
        f"responses to {found.actions} actions" if found.actions else "no responses: the recording has no action"
    )
    said = Text(f"{output} has the profile of {found.steps:,} steps of {found.size} elements, {responses}")
    return Outcome(document, (said, Text(f"next: ganglion wiring --policy {output} FLIGHT.mcap")))
