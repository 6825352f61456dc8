"""The page of the table, from its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import architectures, exporters, public_files, trainers
from .rows import TARGETS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Cells = tuple[str, ...]

SECTIONS = (architectures, trainers, exporters, public_files)
_TEXT = frozenset({"policy", "trainer, policy", "file", "what", "runs", "reference"})


def titles(section: Any) -> tuple[str, ...]:
    """What the rows of a section are called, in their order."""
    title: Callable[[str], str] = getattr(section, "title", str)
    return tuple(map(title, section.names()))


def page(rows: Iterable[Row], facts: dict[str, str]) -> str:
    """The page.

    Args:
        rows: all of them.
        facts: what else the page says, by name: `machine`, `steps`, `rows`.
    """
    by_section: dict[str, list[Row]] = {section.SECTION: [] for section in SECTIONS}
    for row in rows:
        by_section[row.section].append(row)
    text = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    tables = {name: _TABLES[name](some) for name, some in by_section.items()}
    for name, value in (facts | tables | {"counts": _counted(by_section[public_files.SECTION])}).items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _architectures(rows: list[Row]) -> str:
    head = ("policy", *_OF_REFERENCE, *TARGETS, *_TIMES, "ratio")
    return _table(head, [(row.name, *_reference(row), *_errors(row), *_times(row), _ratio(row)) for row in rows])


def _trainers(rows: list[Row]) -> str:
    head = ("trainer, policy", *_OF_REFERENCE, *TARGETS, *_TIMES)
    return _table(head, [(row.name, *_reference(row), *_errors(row), *_times(row)) for row in rows])


def _exporters(rows: list[Row]) -> str:
    head = ("file", *_OF_REFERENCE[:2], *TARGETS, *_TIMES)
    return _table(head, [(row.name, *_reference(row)[:2], *_errors(row), *_times(row)) for row in rows])


def _public(rows: list[Row]) -> str:
    head = ("file", "what", "runs", *_OF_REFERENCE, *TARGETS, "its engine, us", *_TIMES, "ratio")
    return _table(
        head,
        [
            (row.name, row.what, row.runs, *_reference(row), *_errors(row), _us(row.own_us), *_times(row), _ratio(row))
            for row in rows
        ],
    )


_OF_REFERENCE = ("reference", "steps, resets", "from its reference")
_TIMES = ("KiB", "step, us", "floor, us")
_TABLES: dict[str, Callable[[list[Row]], str]] = {
    architectures.SECTION: _architectures,
    trainers.SECTION: _trainers,
    exporters.SECTION: _exporters,
    public_files.SECTION: _public,
}


def _counted(rows: list[Row]) -> str:
    here = [row for row in rows if row.runs != "not at hand"]
    as_it_is = sum(row.runs.startswith("as it is") for row in here)
    by_line = sum(row.runs.startswith("`ganglion") for row in here)
    origins = {row.name.split(" ")[0] for row in here}
    return (
        f"{len(here)} files of {len(origins)} repositories; none of them is part of the project. {as_it_is} run as "
        f"they are, {by_line} by one line."
    )


def _reference(row: Row) -> Cells:
    steps = "-" if row.steps is None else f"{row.steps[0]}, {row.steps[1]}"
    return row.reference or "-", steps, _error(row.from_reference)


def _errors(row: Row) -> Cells:
    return tuple(_error(row.errors.get(target)) for target in TARGETS)


def _error(value: float | None) -> str:
    return "-" if value is None else "0" if value == 0.0 else f"{value:.1e}"


def _times(row: Row) -> Cells:
    return f"{row.bytes / 1024:.1f}" if row.bytes else "-", _us(row.step_us), _us(row.floor_us)


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10.0 else f"{value:.1f}"


def _ratio(row: Row) -> str:
    return "-" if row.step_us is None or not row.floor_us else f"{row.step_us / row.floor_us:.2f}"


def _table(head: Cells, body: list[Cells]) -> str:
    rule = "|".join("---" if name in _TEXT else "---:" for name in head)
    return "\n".join(["| " + " | ".join(head) + " |", f"|{rule}|", *("| " + " | ".join(row) + " |" for row in body)])
