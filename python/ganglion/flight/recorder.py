"""A flight as a file, written while it happens."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ganglion import _core
from ganglion._foundation.core_errors import core_errors

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class RecorderStatistics:
    """What a recording holds so far.

    Attributes:
        events: that happened, recorded or not.
        dropped: those of them that are not in the file: the ring was full, or the disk.
        bytes: in the file.
        error: one sentence where the file cannot be written any more; else empty.
    """

    events: int
    dropped: int
    bytes: int
    error: str


class RecorderChannel:
    """Values of one's own in a recording; made by `FlightRecorder.channel`."""

    def __init__(self, core: _core.RecorderChannel, name: str, size: int) -> None:
        self._core = core
        self._name = name
        self._shape = (size,)

    def record(self, values: ArrayLike) -> None:
        """Records values, `[size]`, as float32.

        Raises:
            ValueError: wrong shape.
        """
        array = np.ascontiguousarray(values, np.float32)
        if array.shape != self._shape or not self._core.record(array):
            raise ValueError(f"the channel '{self._name}' records {self._shape} numbers, not {array.shape}")


class FlightRecorder:
    """Records a flight into an MCAP file: what is attached to it, in the order in which it happened.

    Made by `FlightRecorder.open`; a context manager that closes it. The file holds the policies, too, so it can be
    flown again from it alone. A thread of its own writes; whatever becomes of the file, the loop goes on: what finds no
    room is dropped and counted. All that is attached is used by one thread at a time.

        with ganglion.FlightRecorder.open("flight.mcap") as recorder:
            pilot.attach(recorder)
            ...
    """

    def __init__(self, core: _core.FlightRecorder) -> None:
        self._core = core

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        seconds: float = 2.0,
        snapshot_s: float = 10.0,
        overwrite: bool = False,
    ) -> FlightRecorder:
        """Begins a recording.

        Args:
            path: the file, "flight.mcap" say.
            seconds: so much of a flight waits in memory where the disk is slow; what is more is dropped.
            snapshot_s: seconds between two copies of a policy's state; a replay can begin at each.
            overwrite: replace a file that is there already; else it is refused.

        Raises:
            GanglionError: the file is there already or cannot be written, or a number is not positive.
        """
        with core_errors():
            core = _core.FlightRecorder.open(Path(path), seconds=seconds, snapshot_s=snapshot_s, overwrite=overwrite)
        return cls(core)

    def channel(self, name: str, size: int) -> RecorderChannel:
        """Values of one's own, `size` float32 each time, as `/user/<name>`.

        Args:
            name: letters, digits and _, with / between parts.
            size: how many numbers, 1 or more.

        Raises:
            GanglionError: no such name or size, or the name is taken.
        """
        with core_errors():
            return RecorderChannel(self._core.channel(name, size), name, size)

    def set_time(self, now_ns: int) -> None:
        """The time of what follows, where it is simulated: no clock is read any more."""
        self._core.set_time(now_ns)

    def flush(self) -> None:
        """Waits until everything so far is in the file.

        A simulation that runs faster than the disk calls it now and then, so that nothing is dropped.
        """
        self._core.flush()

    def statistics(self) -> RecorderStatistics:
        """What the recording holds so far."""
        found = self._core.statistics()
        return RecorderStatistics(**{field.name: getattr(found, field.name) for field in fields(RecorderStatistics)})

    def close(self, compression: Literal["none", "zstd", "lz4"] = "none") -> None:
        """Ends the recording; a second call does nothing.

        Args:
            compression: of the finished file, with the libzstd or liblz4 of this machine.

        Raises:
            GanglionError: something is not in the file, or the file was removed or replaced meanwhile.
            EngineUnavailableError: the library for the compression is not installed; the file is whole, not compressed.
        """
        if compression not in _core.Compression.__members__:
            raise ValueError(f"compression '{compression}' is not one of {', '.join(_core.Compression.__members__)}")
        with core_errors():
            self._core.close(_core.Compression.__members__[compression])

    def __enter__(self) -> FlightRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
