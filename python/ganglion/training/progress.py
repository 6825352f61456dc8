"""How far training is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_SECONDS_BETWEEN_LINES = 5.0


class TrainingProgress:
    """Shows epoch, mean return, environment steps a second and the time left.

    Args:
        start_epoch: first epoch of this run.
        n_epochs: number of epochs at its end.
        console: where to; None for the standard error stream.
    """

    def __init__(self, start_epoch: int, n_epochs: int, console: Console | None = None) -> None:
        self._start_epoch = start_epoch
        self._n_epochs = n_epochs
        self._console = Console(stderr=True) if console is None else console
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[status]}"),
                console=self._console,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=n_epochs, completed=start_epoch, status="")
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, epoch: int, mean_return: float | None, steps_per_s: float | None) -> None:
        """Shows the state behind an epoch.

        Args:
            epoch: number of the epoch that ended, from 0.
            mean_return: mean of the sums of rewards of the episodes of this epoch; None where there were none.
            steps_per_s: environment steps a second of this epoch; None where there were none.
        """
        now = time.monotonic()
        done = epoch + 1
        left_s = (now - self._start) / max(done - self._start_epoch, 1) * max(self._n_epochs - done, 0)
        parts = [] if mean_return is None else [f"return {mean_return:,.1f}"]
        parts += [] if steps_per_s is None else [f"{steps_per_s:,.0f} steps/s"]
        parts.append(f"{timedelta(seconds=round(left_s))} left")
        status = "  ".join(parts)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, status=status)
        elif done == self._n_epochs or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"epoch {done}/{self._n_epochs}  {status}", highlight=False, soft_wrap=True)
