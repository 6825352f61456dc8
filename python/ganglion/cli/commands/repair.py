"""`ganglion repair`: what an exporter lost in the GRUs of a file."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.source import source_of
from ganglion.cli.tables import finding_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion repair`."""
    from ganglion import runtime
    from ganglion.verify import repair

    policy = None
    if arguments.source is not None:
        with status("loading the policy"):
            policy = source_of(arguments).policy
    with status("comparing"):
        report = repair(
            arguments.file,
            arguments.output,
            recording=arguments.recording,
            policy=policy,
            recorded_actions=arguments.recorded_actions,
            tolerance=arguments.tolerance,
            state=arguments.state,
            action=arguments.action,
        )
    # What this command is for its verdict says.
    findings = [
        finding
        for finding in runtime.explain(arguments.file, state=arguments.state, action=arguments.action).findings
        if finding.code != "gru-linear-before-reset"
    ]
    document = json.loads(report.to_json()) | {"findings": [dataclasses.asdict(finding) for finding in findings]}
    return Outcome(document, (*finding_lines(findings), Text(report.verdict)), report.ok)
