"""`ganglion replay`: a recorded flight, flown again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import progress

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion replay`."""
    from ganglion.flight import replay

    with progress() as tick:
        report = replay(
            arguments.file,
            arguments.policy,
            engine=arguments.engine,
            from_step=arguments.from_step,
            tolerance=arguments.tolerance,
            trust=arguments.trust,
            progress=tick,
        )
    return Outcome(json.loads(report.to_json()), (report,), report.ok)
