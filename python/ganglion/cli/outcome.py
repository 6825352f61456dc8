"""What every command gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Outcome:
    """What a command found: the same for a reader and for a program.

    Attributes:
        document: what `--json` prints.
        tables: what is printed without it.
        ok: the verdict.
    """

    document: dict[str, Any]
    tables: tuple[RenderableType, ...]
    ok: bool = True
