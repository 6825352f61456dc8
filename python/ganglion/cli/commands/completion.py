"""`ganglion completion`: the script for a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.completion import script
from ganglion.cli.outcome import Outcome

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion completion`."""
    text = script(arguments.shell)
    return Outcome({"ok": True, "shell": arguments.shell, "script": text}, (Text(text.rstrip("\n")),))
