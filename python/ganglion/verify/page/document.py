"""The HTML around a report: everything inside one file, and nothing of a stranger's name but its text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ganglion.verify.page.curves import Curves

    Cell = str | tuple[str, str]

_HERE = Path(__file__).parent
_STYLES = ("uplot/uPlot.min.css", "page.css")
_SCRIPTS = ("uplot/uPlot.iife.min.js", "theme.js", "packed.js", "plots.js", "viewer.js")
_LONG_WORD = 24  # breaks anywhere, a shorter one nowhere
_WIDE = 60  # text so long gets a broad column, and not a high row
_LONE = re.compile("[\ud800-\udfff]")


def to_html(text: object) -> str:
    """Text for a page: names come out of files that anybody wrote, and no character of them means anything."""
    return escape(_LONE.sub("\ufffd", printable(str(text))))


def document(title: str, body: Iterable[str], *, style: str = "", scripts: Sequence[str] = ()) -> str:
    """The whole page. A browser runs no script in it but ours, whatever the body holds, and fetches nothing.

    Args:
        title: of the window.
        body: parts of HTML.
        style: more style.
        scripts: more scripts, that run after those of the curves.
    """
    sources = [*((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS), *scripts]
    hashes = " ".join(f"'sha256-{_digest(source)}'" for source in sources)
    parts = {
        "title": to_html(title),
        "hashes": hashes,
        "style": "\n".join([*((_HERE / name).read_text(encoding="utf-8") for name in _STYLES), style]),
        "body": "\n".join(body),
        "scripts": "\n".join([_licence(), *(f"<script>{source}</script>" for source in sources)]),
    }
    skeleton = (_HERE / "document.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], skeleton)


def section(heading: str, *parts: str, note: str = "") -> str:
    """A heading with what is below it."""
    said = f'<p class="note">{to_html(note)}</p>' if note else ""
    return "\n".join([f"<section><h2>{to_html(heading)}</h2>{said}", *parts, "</section>"])


def verdict_box(headline: str, sentence: str, *, good: bool) -> str:
    """The verdict, before everything else."""
    return f'<div class="verdict{"" if good else " bad"}"><strong>{to_html(headline)}</strong>{to_html(sentence)}</div>'


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """A few numbers side by side, as (what, number)."""
    cells = "".join(f"<div><dt>{to_html(what)}</dt><dd>{to_html(number)}</dd></div>" for what, number in facts)
    return f'<dl class="tiles">{cells}</dl>'


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that scrolls in a box of its own; a cell is text or `(class, text)`: `number`, `good`, `bad`, `warn`."""
    head = "".join(f"<th>{to_html(heading)}</th>" for heading in headings) if any(headings) else ""
    lines = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table>{f"<thead><tr>{head}</tr></thead>" if head else ""}\n'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        kinds = (
            *(("long",) if any(len(word) > _LONG_WORD for word in cell.split()) else ()),
            *(("wide",) if len(cell) > _WIDE else ()),
        )
        return f'<td class="{" ".join(kinds)}">{to_html(cell)}</td>' if kinds else f"<td>{to_html(cell)}</td>"
    kind, text = cell
    if kind == "number" or not text:
        return f'<td class="number">{to_html(text)}</td>'
    return f'<td><span class="mark {kind}">{to_html(text)}</span></td>'


def viewer(curves: Curves) -> str:
    """Plots of a whole run, to be zoomed; their data are in the page."""
    return (
        f'<div class="viewer">{data_block(curves.packed())}'
        "<noscript><p>The curves need JavaScript; the tables say all of the verdict without it.</p></noscript></div>"
    )


def data_block(data: Mapping[str, Any]) -> str:
    """Data for a script of the page, as JSON that holds nothing which HTML would obey."""
    text = json.dumps(data, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json">{text}</script>'


def _licence() -> str:
    return f"<!-- uPlot: {(_HERE / 'uplot' / 'LICENSE').read_text(encoding='utf-8').strip()} -->"


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
