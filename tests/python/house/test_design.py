"""docs/DESIGN.md is true for the tree: what it draws is there, and what is there is drawn."""

from __future__ import annotations

import pytest
from design import ROOT, drawn_paths, table


@pytest.mark.parametrize("path", drawn_paths(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_drawn_is_there(path) -> None:
    assert path.exists(), f"docs/DESIGN.md draws {path.relative_to(ROOT)}, which is not there"


@pytest.mark.parametrize("folder", ["python/ganglion", "cpp/src", "cpp", "tests", "python/ganglion/policies"])
def test_every_folder_is_drawn(folder: str) -> None:
    drawn = {path.relative_to(ROOT).parts for path in drawn_paths()}
    below = (ROOT / folder).relative_to(ROOT).parts
    for path in sorted((ROOT / folder).iterdir()):
        if path.is_dir() and not path.name.startswith((".", "__pycache__")):
            found = any(parts[: len(below) + 1] == (*below, path.name) for parts in drawn)
            assert found, f"{folder}/{path.name} is not in the drawing of docs/DESIGN.md, section 2"


def test_every_python_room_has_a_row() -> None:
    rooms = {
        path.stem
        for path in (ROOT / "python" / "ganglion").iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and path.name != "__init__.py")
    }
    assert rooms == {room for room, _ in table("Python room")}


def test_every_import_that_goes_backwards_is_needed() -> None:
    for file, rooms in table("importing file"):
        text = (ROOT / "python" / "ganglion" / file).read_text(encoding="utf-8")
        for room in rooms:
            assert f"from ganglion.{room}" in text or f"import {room}" in text, (
                f"{file} does not import {room}: a row too many"
            )
