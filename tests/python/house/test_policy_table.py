"""docs/policy_table.md has the rows of now: of the catalogue, of every trainer, of all public files at hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from policy_table import architectures, exporters, page, public_files, trainers
from policy_table.rows import TARGETS, Row

from ganglion._foundation.trainers import TRAINERS
from ganglion.policies import catalogue

TEXT = (Path(__file__).parents[3] / "docs/policy_table.md").read_text(encoding="utf-8")


def rows(section: str, text: str = TEXT) -> list[list[str]]:
    """Cells of the table of a section."""
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


@pytest.mark.parametrize("section", page.SECTIONS, ids=lambda section: section.SECTION)
def test_every_section_has_the_rows_of_now(section) -> None:
    """`make policy-table` writes it again."""
    assert tuple(row[0] for row in rows(section.SECTION)) == page.titles(section)


def test_what_has_rows_is_everything() -> None:
    assert architectures.names() == catalogue.names()
    assert set(architectures.REFERENCES) <= set(catalogue.names())
    of_trainers = {name.split(" ")[0] for name in trainers.names()}
    assert of_trainers == set(TRAINERS)
    at_hand = public_files.FOLDER
    if at_hand.is_dir():
        files = {path.relative_to(at_hand).as_posix() for path in at_hand.rglob("*") if path.is_file()}
        assert {name for name in files if name.endswith((".onnx", ".pt", ".zip"))} == set(public_files.names())


def test_nothing_measured_is_far_off() -> None:
    errors = [
        float(cell)
        for section in page.SECTIONS
        for row in rows(section.SECTION)
        for cell in row[2:]
        if re.fullmatch(r"\d\.\de[+-]\d\d|inf|nan", cell)
    ]
    # The largest are of a trained LSTM in which rounding grows: see the page.
    assert len(errors) > 300 and max(errors) < 1e-3 and sum(error > 1e-4 for error in errors) <= 5


def test_a_row_that_is_missing_is_seen_and_a_dash_is_what_was_not_measured() -> None:
    row = Row(architectures.SECTION, "GRUPolicy", errors={".ganglion": 0.0, ".onnx": 2.5e-7}, bytes=2048, step_us=1.0)
    text = page.page([row], {"machine": "A CPU.", "steps": "2,000", "rows": "3"})
    assert "{{" not in text
    (cells,) = rows(architectures.SECTION, text)
    assert cells == ["GRUPolicy", "-", "-", "-", "0", "2.5e-07", "-", "-", "2.0", "1.00", "-", "-"]
    assert len(TARGETS) == 4 and rows(exporters.SECTION, text) == []
