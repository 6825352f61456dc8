"""A report of the wiring as one HTML page: the edits as text, and every element before and after them as curves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.report import elements_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.verify.page import Curves
    from ganglion.wiring.edits import Edit
    from ganglion.wiring.report import WiringReport

    _Row = tuple[str | tuple[str, str], ...]

_RUNS = ("trained", "found", "found, put right")
_LONGEST_VALUE = 160
_STYLE = (
    "pre { overflow-x: auto; max-height: 22rem; padding: .8rem 1rem; border: 1px solid var(--line);"
    " border-radius: .4rem; background: var(--card); font-size: .8rem; }"
)


def render_page(report: WiringReport) -> str:
    """The page: verdict, the table of edits, traces of every element, and the correction."""
    # The pages of reports are made by `verify`, which a robot that compares has no use for.
    from ganglion.verify.page import document, section, table, tiles, to_html, verdict_box, viewer

    name = Path(report.found.label).name
    headline = "Equal" if report.equal else "Not equal"
    silent = sum(len(one.elements) for one in report.cannot_tell)
    asked = "rounding of float32" if report.tolerance is None else f"{report.tolerance:g}"
    body = [
        '<p class="eyebrow">ganglion wiring</p>',
        f"<h1>{to_html(name)}</h1>",
        f'<p class="lead"><code>{to_html(report.found.label)}</code> compared with '
        f"<code>{to_html(report.trained.label)}</code>, "
        f"{'on the same moments' if _is_paired(report) else 'by statistics: nothing is paired'}</p>",
        verdict_box(headline, report.verdict, good=report.equal),
        tiles(
            [
                ("rows", f"{report.found.rows:,}"),
                ("episodes", f"{int(report.found.reset.sum()):,}"),
                ("elements", _sizes(report)),
                ("edits", f"{len(report.edits):,}"),
                ("cannot tell", f"{silent:,} {'element' if silent == 1 else 'elements'}"),
                ("tolerance", asked),
            ]
        ),
        *(f'<p class="note">{to_html(note)}</p>' for note in report.notes),
        *(f'<p class="finding">{to_html(sentence)}</p>' for sentence in report.correction.lost),
    ]
    if report.edits:
        headings = (
            "edit",
            "what it is, and what to do",
            "elements of found",
            "value",
            "residual" if _is_paired(report) else "confidence",
        )
        body.append(section("Edits", table(headings, _edits(report)), note="in this order they make found of trained"))
    if report.cannot_tell:
        rows: list[_Row] = [
            (("warn", "cannot tell"), one.sentence, elements_text(one.elements, one.names))
            for one in report.cannot_tell
        ]
        body.append(section("Cannot tell", table(("", "why, and what to do", "elements of found"), rows)))
    if report.trained.size:
        note = "found as the adapter gave it, and found with the correction; elements that an edit changes come first"
        body.append(section("Before and after", viewer(curves_of(report)), note=note))
    if not report.equal:
        said = "what a controller can apply to found until the adapter itself is put right"
        body.append(section("Correction", f"<pre>{to_html_lines(report.correction.to_yaml())}</pre>", note=said))
    return document(f"{headline}: {name}", body, style=_STYLE)


def to_html_lines(text: str) -> str:
    """Lines that stay lines; each of them means nothing but its text."""
    from ganglion.verify.page import to_html

    return "\n".join(to_html(line) for line in text.splitlines())


def _is_paired(report: WiringReport) -> bool:
    """Whether training's observations are there, and not their statistics alone."""
    return report.trained.rows > 0


def _judged(edit: Edit) -> str:
    if edit.confidence is not None:
        return f"{edit.confidence:.2f}"
    return f"{edit.residual:.1e}" if math.isfinite(edit.residual) else ""


def _sizes(report: WiringReport) -> str:
    trained, found = report.trained.size, report.found.size
    return f"{found:,}" if trained == found else f"{found:,}, trained {trained:,}"


def _edits(report: WiringReport) -> Iterator[_Row]:
    for edit in report.edits:
        value = json.dumps(edit.value)
        yield (
            ("bad", edit.kind.replace("_", " ")),
            edit.sentence,
            elements_text(edit.elements, edit.names),
            value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]} ...",
            ("number", _judged(edit)),
        )


def curves_of(report: WiringReport) -> Curves:
    """Elements of trained, with those of found in the same places."""
    from ganglion.verify.page import Channel, Curves, Mark, Row

    changed: dict[int, list[str]] = {}
    for edit in report.edits:
        for element in edit.elements:
            kinds = changed.setdefault(element, [])
            if edit.kind not in kinds:
                kinds.append(edit.kind)
    size = report.trained.size
    order = [*sorted(element for element in changed if element < size), *(i for i in range(size) if i not in changed)]
    names = report.trained.names
    channels = [
        Channel(
            group=", ".join(kind.replace("_", " ") for kind in changed[i]) if i in changed else "nothing differs",
            name=f"{i} {names[i]}" if names else str(i),
            row=0,
            values=[
                _single(report.trained.values[:, i]) if _is_paired(report) else None,
                _single(report.found.values[:, i]) if i < report.found.size else None,
                _single(report.corrected[:, i]),
            ],
            tolerance=float(report.allowed[i]) if math.isfinite(report.allowed[i]) else None,
            absolute=True,
        )
        for i in order
    ]
    mark = None
    if _is_paired(report) and order and order[0] in changed and order[0] < report.found.size:
        first = order[0]
        apart = np.abs(report.found.values[:, first] - report.trained.values[:, first])
        step = int(np.argmax(apart > report.allowed[first]))
        mark = Mark(0, step, f"{channels[0].group} of element {first}")
    return Curves(runs=_RUNS, rows=[Row("row", report.found.reset.copy())], channels=channels, period_s=None, mark=mark)


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)
