"""The drawing of the house, docs/DESIGN.md, as data."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8")


def table(first_column: str) -> list[tuple[str, list[str]]]:
    """The rows of the table whose first heading this is: the name in the first column, the names in the second."""
    rows, inside = [], False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if inside and not cells:
            break
        if inside and cells[0].startswith("`"):
            (name,) = re.findall("`([^`]+)`", cells[0])
            rows.append((name, re.findall("`([^`]+)`", cells[1])))
        inside = inside or cells[:1] == [first_column]
    assert rows, f"docs/DESIGN.md has no table '{first_column}'"
    assert len(dict(rows)) == len(rows), f"docs/DESIGN.md, table '{first_column}': a row stands twice"
    return rows


def drawn_paths() -> list[Path]:
    """Every file and folder of the drawing: words that end in `/` or have a suffix, below the folder that is open."""
    paths, open_folders = [], [(-1, ROOT)]
    block = PAGE.split("```")[1]
    for line in block.strip("\n").splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.match(r"((?:\S+ )*\S+)(?:  |$)", line.strip())
        if names is None or indent > 4:
            continue
        while open_folders[-1][0] >= indent:
            open_folders.pop()
        below = open_folders[-1][1]
        found = [below / name for name in names[1].split() if name.endswith("/") or "." in name]
        paths += found
        if found and len(found) == 1:
            open_folders.append((indent, found[0]))
    return paths
