"""`ganglion wiring`: what an adapter does to observations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ganglion._foundation.targets import check_target
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion wiring`."""
    from ganglion.wiring import wiring

    if len(arguments.files) > 2 or (len(arguments.files) == 1 and arguments.policy is None):
        raise ValueError(
            "wiring takes two files, what the policy saw in training and what the adapter gave, or the log of a robot "
            "with --policy"
        )
    if arguments.output is not None:
        check_target(Path(arguments.output))
    *trained, found = arguments.files
    with status("comparing"):
        report = wiring(next(iter(trained), None), found, policy=arguments.policy, tolerance=arguments.tolerance)
    if arguments.output is not None:
        report.save(arguments.output)
    return Outcome(json.loads(report.to_json()), (report,), report.equal)
