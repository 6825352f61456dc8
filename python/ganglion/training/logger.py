"""What a run reports: one row of scalars per epoch as CSV and for TensorBoard, and lines of text."""

from __future__ import annotations

import contextlib
import csv
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion._foundation.files import replacing
from ganglion.training.errors import TrainingError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

TEXT_FILE = "debug.log"
TABLE_FILE = "progress.csv"


class ExperimentLogger:
    """Collects scalars and writes them as one row; writes lines of text at once.

    Args:
        directory: folder of `progress.csv`, `debug.log` and TensorBoard's event files; None to write nothing. Files
            that are there already are continued.
        x_axis: name of the scalar that is TensorBoard's step, where a row has it.
        tensorboard: also write event files. They begin with the first row.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        x_axis: str = "TotalEnvSteps",
        tensorboard: bool = True,
    ) -> None:
        self._directory = None if directory is None else Path(directory)
        self._x_axis = x_axis
        self._tensorboard = tensorboard
        self._writer: Any = None
        self._row: dict[str, float] = {}
        self._prefixes: list[str] = []
        self._columns: list[str] = []
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / TEXT_FILE).touch()
            table = self._directory / TABLE_FILE
            table.touch()
            with table.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), [])

    @property
    def row(self) -> dict[str, float]:
        """A copy of the scalars that the next `dump` writes."""
        return dict(self._row)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What stands before a line of text now, outermost first."""
        return tuple(self._prefixes)

    def record(self, name: str, value: Any) -> None:
        """Sets a scalar of the next row.

        Raises:
            TypeError: `value` is no number and cannot be made one.
        """
        try:
            self._row[name] = float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"log: '{name}' must be one number, not {value!r}") from error

    def log(self, text: str) -> None:
        """Writes a line with the time of day and the prefixes into `debug.log`.

        Raises:
            TrainingError: the file cannot be written.
        """
        if self._directory is None:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        path = self._directory / TEXT_FILE
        with _writing(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} | {''.join(self._prefixes)}{text}\n")

    @contextlib.contextmanager
    def prefix(self, text: str) -> Iterator[None]:
        """Puts `text` before every line of text that the body logs."""
        self._prefixes.append(text)
        try:
            yield
        finally:
            self._prefixes.pop()

    def dump(self, step: int) -> None:
        """Writes the row and begins a new one.

        Args:
            step: TensorBoard's step, where the row does not have the x axis.

        Raises:
            TrainingError: a file cannot be written.
        """
        row, self._row = self._row, {}
        if self._directory is None or not row:
            return
        path = self._directory / TABLE_FILE
        with _writing(path):
            new = [name for name in row if name not in self._columns]
            if new:
                self._columns += new
                _widen(path, self._columns)
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)
        self._write_events(self._directory, row, int(row.get(self._x_axis, step)))

    def close(self) -> None:
        """Closes TensorBoard's file; logging goes on in a new one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_events(self, directory: Path, row: dict[str, float], step: int) -> None:
        if not self._tensorboard:
            return
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                warnings.warn(
                    "no TensorBoard files are written, as tensorboard is not installed: pip install 'ganglion[train]'",
                    stacklevel=3,
                )
                self._tensorboard = False
                return
            self._writer = SummaryWriter(str(directory))
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"cannot write '{path}': {error.strerror or error}") from error


def _widen(path: Path, columns: list[str]) -> None:
    """Rewrites a table with more columns; its rows stay, empty there."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
