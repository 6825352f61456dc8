"""`ganglion chain`: two files, the first of which feeds the second, as one policy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.tables import contract_document, contract_tables, finding_lines, memory_document, memory_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion chain`."""
    from ganglion.conversion import chain

    with status(f"joining {arguments.first} and {arguments.second}"):
        report = chain(
            arguments.first,
            arguments.second,
            arguments.output,
            feed=arguments.feed,
            observation=arguments.observation,
            trust=arguments.trust,
            weights=arguments.weights,
            tolerance=arguments.tolerance,
        )
    document = {
        "ok": True,
        "file": arguments.output,
        "bytes": report.path.stat().st_size,
        "memory": memory_document(report.contract),
        "feed": {name: list(parts) for name, parts in report.feed.items()},
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "contract": contract_document(report.contract),
    }
    headline = Text(f"{arguments.output}: {arguments.first}, then {arguments.second}", style="bold")
    fed = (Text(f"'{name}' is made of: {', '.join(parts)}") for name, parts in report.feed.items())
    lines = (headline, *memory_lines(report.contract), *fed, *finding_lines(report.findings))
    return Outcome(document, (*lines, *contract_tables(report.contract)))
