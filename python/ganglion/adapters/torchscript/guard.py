"""Runs what may bring a process down in a copy of it first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import torch

from ganglion.reading.torchscript.parts import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_S = 120.0


def survive(call: Callable[[], object]) -> None:
    """Calls in a child process, and refuses what ends it by a signal; what it raises or returns is not told.

    Operators of a file that somebody else wrote are run on tensors that have no memory, and not all of them look.

    Raises:
        ExportError: the child was ended by a signal.
    """
    if not hasattr(os, "fork"):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _silence()
            torch.set_num_threads(1)  # threads of the parent are not there, and waiting for them would take for ever
            call()
        os._exit(0)
    ended_by = _wait(child)
    if ended_by is not None:
        raise refusal(
            "not-recordable",
            f"its program cannot be recorded: an operator of torch fails on it with {signal.Signals(ended_by).name}. "
            "Run it with the engine libtorch, or export the policy with ganglion.export",
        )


def _silence() -> None:
    import faulthandler

    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _wait(child: int) -> int | None:
    """The signal that ended it; None where it ended by itself, or was stopped here because it took too long."""
    end = time.monotonic() + _LONGEST_S
    pause = 0.001
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        time.sleep(pause)
        pause = min(0.05, 2 * pause)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
