"""The command `ganglion`: export, compile, inspect, verify, repair, bench, doctor.

Every command prints tables on standard output, or with `--json` exactly one JSON document; progress and errors go to
standard error. The exit status is 0 for a good verdict, 1 for a bad one or an error, 2 for a wrong command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from ganglion._foundation.boundary import raised_on_purpose
from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import command_line
from ganglion.errors import GanglionError, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType

    from ganglion.cli.outcome import Outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program name; None takes those of the process.

    Returns:
        The exit status: 0 for a good verdict, 1 for a bad one or an error.

    Raises:
        SystemExit: with status 2 for a wrong command line, 0 after `--help` and `--version`.
    """
    arguments = command_line(COMMANDS).parse_args(argv)
    command: Callable[[argparse.Namespace], Outcome] = arguments.command
    try:
        # A script that yields a policy, or a library below us, may print; standard output belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            outcome = command(arguments)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if arguments.traceback:
            raise
        return _fail(error, arguments.json)
    try:
        _print(outcome, arguments.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if outcome.ok else 1


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escapes what a terminal would obey in texts, which hold names out of files; styles are no part of them."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Leaves it to `main`, which answers a closed pipe in the same way for tables and for JSON."""
        raise  # what rich has just caught


def _print(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps(outcome.document, allow_nan=False))
        return
    console = _Console()
    for table in outcome.tables:
        # A sentence or a path stays one line, to be copied or searched for.
        console.print(table, soft_wrap=isinstance(table, Text))


def _fail(error: Exception, as_json: bool) -> int:
    expected = isinstance(error, (GanglionError, OSError)) or (
        isinstance(error, ValueError) and raised_on_purpose(error)
    )
    said = " ".join(str(error).split())
    if not expected:
        said = f"{type(error).__name__}: {said}; this is a defect of ganglion: report it with what --traceback shows"
    message = printable(said)
    print(f"ganglion: error: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": False, "error": {"type": type(error).__name__, "message": message}}))
    # The functions behind the commands raise a bare ValueError for arguments that do not fit together.
    return 2 if expected and isinstance(error, ValueError) else 1
