"""Tables for a terminal that show what there is to say, all of it, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

_WIDE = 10_000


class FilledTable:
    """A table without the rows and columns that would be empty, and nothing at all where every row is.

    Texts are folded between words, and numbers never. Where the terminal is too narrow for that, each row becomes a
    list of headings and cells: nothing is cut. A text in a cell is never read as markup.

    Args:
        title: stands above it.
        columns: headings; one that begins with `>` is of numbers, on the right.
        rows: a cell for each column; an empty first one means the first one above.
    """

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
        shown = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
        shown = [row for row in shown if any(map(_says, row))]
        kept = [index for index in range(len(columns)) if any(_says(row[index]) for row in shown)]
        self._title = title
        self._columns = [columns[index] for index in kept]
        self._rows = [[row[index] for index in kept] for row in shown]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._rows:
            return
        yield Text(self._title, style="italic")
        table = self._table()
        if Measurement.get(console, options.update_width(_WIDE), table).minimum <= options.max_width:
            yield table
        else:
            first = Text()
            for row in self._rows:
                first = row[0] if _says(row[0]) else first
                yield self._list([first, *row[1:]])

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for heading in self._columns:
            numbers = heading.startswith(">")
            table.add_column(
                Text(heading.removeprefix(">")),
                justify="right" if numbers else "left",
                no_wrap=numbers,
                overflow="fold",
            )
        for row in self._rows:
            table.add_row(*row)
        return table

    def _list(self, row: Sequence[Text]) -> Table:
        grid = Table.grid(padding=(0, 2))
        for heading, cell in zip(self._columns, row, strict=True):
            if _says(cell):
                cell.overflow = "fold"
                grid.add_row(Text(f"  {heading.removeprefix('>')}", style="dim"), cell)
        grid.add_row("")
        return grid


def _says(cell: Text) -> bool:
    return bool(cell.plain.strip(" -"))
