"""The command `ganglion`.

Every command prints tables on standard output, or with `--json` exactly one JSON document (docs/json.md); progress and
errors go to standard error, and an error ends with the next command to type. The exit status is 0 for a good verdict, 1
for a bad one or an error, 2 for a wrong command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING

from ganglion._foundation.boundary import raised_on_purpose
from ganglion._foundation.documents import SCHEMA
from ganglion.cli.advice import next_after, next_command, next_usage
from ganglion.cli.command_parser import UsageError
from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import FRONT_PAGE, command_line
from ganglion.errors import GanglionError, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

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
    typed = list(sys.argv[1:] if argv is None else argv)
    parser = command_line(COMMANDS)
    if "_ARGCOMPLETE" in os.environ:
        from ganglion.cli.completion import complete

        complete(parser)
    if not typed:
        print(FRONT_PAGE, end="")
        return 0
    try:
        arguments = parser.parse(typed)
    except UsageError as error:
        print(error.parser.format_usage(), end="", file=sys.stderr)
        _say("UsageError", str(error), next_usage(error, typed), as_json="--json" in typed)
        raise SystemExit(2) from None
    command: Callable[[argparse.Namespace], Outcome] = arguments.command
    try:
        # A script that yields a policy, or a library below us, may print; standard output belongs to the result.
        with contextlib.redirect_stdout(sys.stderr), _warnings_as_sentences():
            outcome = command(arguments)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if arguments.traceback:
            raise
        return _fail(error, arguments, typed)
    advice = None if outcome.ok else printable(next_after(outcome, arguments, typed))
    try:
        _print(outcome, arguments.json, advice)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if advice is not None:
        print(f"next: {advice}", file=sys.stderr)
    return 0 if outcome.ok else 1


@contextlib.contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """A warning says what it says, without the line of ours that it came through."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: (
        f"ganglion: warning: {printable(' '.join(str(message).split()))}\n"
    )
    try:
        yield
    finally:
        warnings.formatwarning = before


def _print(outcome: Outcome, as_json: bool, advice: str | None) -> None:
    if as_json:
        more = {} if advice is None else {"next": advice}
        print(json.dumps({"schema": SCHEMA} | outcome.document | more, allow_nan=False))
        return
    from ganglion.cli.screen import show

    show(outcome)


def _fail(error: Exception, arguments: argparse.Namespace, typed: Sequence[str]) -> int:
    expected = isinstance(error, (GanglionError, OSError)) or (
        isinstance(error, ValueError) and raised_on_purpose(error)
    )
    said = " ".join(str(error).split())
    if not expected:
        said = f"{type(error).__name__}: {said}; this is a defect of ganglion: report it with what --traceback shows"
    _say(type(error).__name__, said, next_command(error, said, arguments, typed, expected), arguments.json)
    # The functions behind the commands raise a bare ValueError for arguments that do not fit together.
    return 2 if expected and isinstance(error, ValueError) else 1


def _say(kind: str, message: str, advice: str, as_json: bool) -> None:
    message, advice = printable(message), printable(advice)
    print(f"ganglion: error: {message}", file=sys.stderr)
    if not message.endswith(advice):
        print(f"next: {advice}", file=sys.stderr)
    if as_json:
        error = {"type": kind, "message": message, "next": advice}
        print(json.dumps({"schema": SCHEMA, "ok": False, "error": error}))
