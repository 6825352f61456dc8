"""The page of a report: what it says, and in a browser that every element is there, before and after."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import Browser, browser

import ganglion.wiring
from ganglion.wiring.page import curves_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NASTY = "</script><img src=x onerror=window.fallen=1>"
STEPS, SIZE = 400, 6


def sides(wrong: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    time = np.arange(STEPS)[:, None] / 9.0
    trained = (np.sin(time * np.linspace(0.7, 1.9, SIZE)) + 0.1 * random.standard_normal((STEPS, SIZE))).astype("f4")
    reset = np.arange(STEPS) % 100 == 0
    names = np.array([f"joint {i}" for i in range(SIZE - 1)] + [NASTY])
    found = np.array(wrong(trained.copy()), np.float32)
    return {
        "trained": {"observation": trained, "reset": reset, "names": names},
        "found": {"observation": found, "reset": reset},
    }


def faulty(values: Any) -> Any:
    values[:, 1] *= -1.0
    values[:, [3, 4]] = values[:, [4, 3]]
    values[:, 5] *= 0.25
    return values


def constant(values: Any) -> Any:
    values[:, 2] = 0.5
    return values


def without_pairs() -> Any:
    """As a report of a log against a profile: training has no rows, an edit is told with a confidence."""
    report = ganglion.wiring(**sides(faulty))
    trained = dataclasses.replace(report.trained, values=report.trained.values[:0], reset=report.trained.reset[:0])
    edits = tuple(dataclasses.replace(edit, confidence=0.75) for edit in report.edits)
    return dataclasses.replace(report, trained=trained, edits=edits, allowed=np.full(SIZE, np.nan))


REPORTS = {
    "faulty": lambda: ganglion.wiring(**sides(faulty)),
    "equal": lambda: ganglion.wiring(**sides(lambda values: values)),
    "unexplained": lambda: ganglion.wiring(**sides(lambda values: np.sqrt(np.abs(values)) + values**3)),
    "constant": lambda: ganglion.wiring(**sides(constant)),
    "without-pairs": without_pairs,
    "missing": lambda: ganglion.wiring(**sides(lambda values: values[:, :4])),
}


def test_the_page_says_what_the_report_says(tmp_path: Path) -> None:
    report = REPORTS["faulty"]()
    report.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<strong>Not equal</strong>" in text
    for edit in report.edits:
        assert f">{edit.kind.replace('_', ' ')}<" in text
        assert edit.sentence.split(";")[0].replace("'", "&#x27;").split("<")[0][:40] in text
    assert re.search(r"<pre># trained = clip", text) and "<h2>Before and after</h2>" in text
    assert NASTY not in text
    REPORTS["equal"]().save(tmp_path / "equal.html")
    equal = (tmp_path / "equal.html").read_text(encoding="utf-8")
    assert "<strong>Equal</strong>" in equal and "<h2>Edits</h2>" not in equal and "<h2>Correction</h2>" not in equal


def test_the_curves_are_those_before_and_after() -> None:
    report = REPORTS["faulty"]()
    curves = curves_of(report)
    changed = {element for edit in report.edits for element in edit.elements}
    assert changed == {1, 3, 4, 5}
    assert [int(channel.name.split()[0]) for channel in curves.channels] == [1, 3, 4, 5, 0, 2]
    for channel in curves.channels:
        trained, found, right = channel.values
        is_changed = int(channel.name.split()[0]) in changed
        assert (channel.group == "nothing differs") == (not is_changed)
        assert bool(np.abs(found - trained).max() > 0.1) == is_changed
        assert np.abs(right - trained).max() <= channel.tolerance
    assert curves.mark is not None and curves.mark.channel == 0 and curves.mark.text.endswith("of element 1")


def test_a_log_without_pairs_has_its_own_curves_alone(tmp_path: Path) -> None:
    report = without_pairs()
    curves = curves_of(report)
    assert curves.mark is None and curves.steps == STEPS
    assert all(channel.values[0] is None and len(channel.values[1]) == STEPS for channel in curves.channels)
    report.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<th>confidence</th>" in text and ">0.75<" in text and "nothing is paired" in text


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.mark.deep
@pytest.mark.parametrize("name", list(REPORTS))
def test_the_page_in_a_browser(chromium: Browser, tmp_path: Path, name: str) -> None:
    report = REPORTS[name]()
    report.save(tmp_path / "report.html")
    chromium.said.clear()
    for width in (1200, 400):
        chromium.look(width, dark=width == 400)
        chromium.open(tmp_path / "report.html")
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width} px"
        options = chromium.run("[...document.querySelector('select[name=element]').options].map((one) => one.text)")
        assert len(options) == SIZE
        for _ in options:
            chromium.run("document.querySelector('button[aria-label=\"The next element\"]').click()")
            chromium.settle()
            plots = chromium.run("document.querySelectorAll('.plots canvas').length")
            assert plots == (1 if name == "without-pairs" else 2)
    assert chromium.run("window.fallen") is None
    assert not chromium.said
    if name == "faulty":
        changed = sorted({element for edit in report.edits for element in edit.elements})
        assert [int(option.split()[0]) for option in options][: len(changed)] == changed
