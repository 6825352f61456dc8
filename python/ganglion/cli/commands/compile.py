"""`ganglion compile`: a file, ours or anybody's, for the native engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.commands.export import check_deployment
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.tables import contract_document, contract_tables, finding_lines, memory_document, memory_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion compile`."""
    from ganglion.conversion import compile as compile_file

    check_deployment(arguments)
    with status(f"compiling {arguments.file}"):
        report = compile_file(
            arguments.file,
            arguments.output,
            state=arguments.state,
            action=arguments.action,
            observation=arguments.observation,
            trust=arguments.trust,
            weights=arguments.weights,
            tolerance=arguments.tolerance,
            recording=arguments.recording,
            deployment=arguments.deployment,
            annotate_only=arguments.annotate_only,
            joint_order=arguments.joint_order,
            joint_sdk_names=arguments.joint_sdk_names,
        )
    document = {
        "ok": True,
        "file": arguments.output,
        "bytes_before": report.bytes_before,
        "bytes": report.bytes_after,
        "memory": memory_document(report.contract),
        "weights": report.scheme,
        "weights_error": report.weights_error,
        "operations": list(report.operations),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "contract": contract_document(report.contract),
    }
    reached = "" if report.weights_error is None else f", worst error {report.weights_error:.1e}"
    sizes = f"{report.bytes_after:,} bytes ({arguments.file}: {report.bytes_before:,})"
    headline = Text(f"{arguments.output}: {sizes}, {report.scheme} weights{reached}", style="bold")
    operations = Text(f"operations: {', '.join(report.operations) or 'none'}")
    lines = (headline, *memory_lines(report.contract), operations, *finding_lines(report.findings))
    return Outcome(document, (*lines, *contract_tables(report.contract)))
