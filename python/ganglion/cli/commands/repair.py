"""`ganglion repair`: what an exporter lost in the GRUs of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.source import source_of

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion repair`."""
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
    return Outcome(json.loads(report.to_json()), (Text(report.verdict),), report.ok)
