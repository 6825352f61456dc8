"""What other libraries raise becomes ours: whoever calls a public function has to know one family of errors.

This is the net below the checks of the readers, which say better what is wrong. What a `raise` of ours gives passes as
it is: a `ValueError` for an argument means the caller's own line.
"""

from __future__ import annotations

import contextlib
import functools
import opcode
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ganglion._foundation.sentences import first_line
from ganglion.errors import ArtifactError, GanglionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_RAISE = opcode.opmap["RAISE_VARARGS"]
_PASS = (GanglionError, Warning, OSError)
"""Ours; warnings that the user wants as errors; what the file system says, which names the path itself."""

DEFECT = "if other programs read it, this is a defect of ganglion: report it with the file"


@contextlib.contextmanager
def only_ours(what: str, kind: type[GanglionError] = ArtifactError, remedy: str = DEFECT) -> Iterator[None]:
    """Turns exceptions of other libraries, and those of a mistake of ours, into one of ours, with their cause.

    Args:
        what: begins the sentence: the file, and what cannot be done with it.
        kind: which of our exceptions.
        remedy: ends the sentence.
    """
    try:
        yield
    except _PASS:
        raise
    except MemoryError as error:
        raise kind(f"{what}: there is not enough memory for it") from error
    except RecursionError as error:
        raise kind(f"{what}: it is nested too deeply") from error
    except Exception as error:
        if raised_on_purpose(error):
            raise
        raise kind(f"{what}: {type(error).__name__}: {first_line(error)}; {remedy}") from error


def bounded(
    kind: type[GanglionError] = ArtifactError, *, what: str = "cannot be read", at: int = 0, remedy: str = DEFECT
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """`only_ours` around a whole function.

    Args:
        kind: see `only_ours`.
        what: what cannot be done with the file.
        at: which argument is the file.
        remedy: see `only_ours`.
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(function)
        def guarded(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
            given = (*arguments, *options.values(), "")[: at + 1][-1]
            name = f"'{given}' " if isinstance(given, (str, os.PathLike)) and given else ""
            with only_ours(f"{name}{what}", kind, remedy):
                return function(*arguments, **options)

        return guarded

    return decorate


def raised_on_purpose(error: BaseException) -> bool:
    """Whether a `raise` in our own code gave an exception, and not a library below it or a mistake in it."""
    trace = error.__traceback__
    if trace is None or isinstance(error, AssertionError):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__", ""))
    if name == __name__:  # the call itself: arguments that the function behind the boundary does not take
        return True
    return name.split(".")[0] == "ganglion" and trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
