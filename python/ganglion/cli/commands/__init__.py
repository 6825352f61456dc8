"""One file for each command: `run` takes the parsed command line and gives an `Outcome`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ganglion.cli.outcome import Outcome


def _command(name: str) -> Callable[[argparse.Namespace], Outcome]:
    def run(arguments: argparse.Namespace) -> Outcome:
        # Only now: help and completion answer at once.
        outcome: Outcome = importlib.import_module(f"{__name__}.{name}").run(arguments)
        return outcome

    return run


COMMANDS = {
    name: _command(name)
    for name in (
        *(
            "export",
            "compile",
            "chain",
            "inspect",
            "verify",
            "profile",
            "sign",
            "repair",
            "bench",
            "replay",
            "report",
            "wiring",
        ),
        *("doctor", "completion"),
    )
}

__all__ = ["COMMANDS"]
