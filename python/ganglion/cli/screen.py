"""What a command found, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from ganglion.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

    from ganglion.cli.outcome import Outcome


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escapes what a terminal would obey in texts, which hold names out of files; styles are no part of them."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Leaves it to `main`, which answers a closed pipe in the same way for tables and for JSON."""
        raise  # what rich has just caught


def show(outcome: Outcome) -> None:
    """Prints the tables of an outcome."""
    console = _Console()
    for table in outcome.tables:
        # A sentence or a path stays one line, to be copied or searched for.
        console.print(table, soft_wrap=isinstance(table, Text))
