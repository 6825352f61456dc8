"""`ganglion inspect`: how a file is understood."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.tables import contract_document, contract_tables, finding_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion inspect`."""
    from ganglion import runtime

    with status(f"reading {arguments.file}"):
        reading = runtime.explain(
            arguments.file,
            state=arguments.state,
            action=arguments.action,
            observation=arguments.observation,
            trust=arguments.trust,
        )
    document = {
        "ok": True,
        "file": arguments.file,
        "dialect": reading.dialect,
        "state": [dataclasses.asdict(names) for names in reading.state],
        "constants": dict(reading.constants),
        "notes": list(reading.notes),
        "signer": reading.signer or None,
        "findings": [dataclasses.asdict(finding) for finding in reading.findings],
        "contract": contract_document(reading.contract),
    }
    origin = "" if reading.dialect == "ganglion" else f", no contract inside; read as a file of {reading.dialect}"
    notes = [Text(f"- {note}") for note in reading.notes]
    if reading.signer:
        notes.append(Text(f"- signed with the Ed25519 key {reading.signer}; verify --key says whether it is yours"))
    findings = finding_lines(reading.findings)
    headline = Text(f"{arguments.file}{origin}", style="bold")
    return Outcome(document, (headline, *notes, *findings, *contract_tables(reading.contract)))
