"""An answer that does not come in time is none."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

LIMIT_S = 20.0
"""Seconds of the processor that one comparison may take."""


class TooSlowError(Exception):
    """A comparison took longer than `LIMIT_S`."""


@contextmanager
def limited() -> Iterator[None]:
    """Raises TooSlowError inside of the block when its time is up."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooSlowError(f"no answer after {LIMIT_S:g} s of one core")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
