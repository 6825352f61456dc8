"""What an adapter does to observations: as an object, a terminal table, JSON, a page, and as its correction."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion._foundation.documents import SCHEMA
from ganglion._foundation.files import replacing
from ganglion.wiring.runs import runs_of

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from ganglion.wiring.correction import Correction
    from ganglion.wiring.edits import Edit
    from ganglion.wiring.observations import Observations

_SUFFIXES = (".html", ".json", ".yaml")
_SHOWN = 12


@dataclass(frozen=True)
class CannotTell:
    """Elements about which the two recordings say nothing, or not enough.

    Attributes:
        elements: indices in `found`.
        names: of these elements, or empty.
        sentence: why, and what to do about it.
    """

    elements: tuple[int, ...]
    names: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, eq=False)
class WiringReport:
    """How observations of an adapter differ from those of the training, on the same moments.

    Attributes:
        trained: what the policy saw in training.
        found: what the adapter gave.
        edits: the changes that make `found` of `trained`, in this order; none where nothing differs.
        cannot_tell: where a fault would not have shown.
        correction: the way back.
        corrected: `[N, n]`, `correction` applied to `found`; NaN where found does not hold it.
        allowed: `[n]`, the |difference| of each element of trained that is none.
        tolerance: what was asked for, or None: rounding of float32 alone.
        notes: what else is to be said, a sentence each.
    """

    trained: Observations
    found: Observations
    edits: tuple[Edit, ...]
    cannot_tell: tuple[CannotTell, ...]
    correction: Correction
    corrected: NDArray[np.float64]
    allowed: NDArray[np.float64]
    tolerance: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def equal(self) -> bool:
        """True only where nothing differs."""
        return not self.edits

    @property
    def explained(self) -> bool:
        """Whether the edits make all of `found`."""
        return all(edit.kind != "unexplained" for edit in self.edits)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        silent = sum(len(one.elements) for one in self.cannot_tell)
        rest = f"; of {silent} {'element' if silent == 1 else 'elements'} it cannot be told" if silent else ""
        if self.equal and not self.trained.rows:
            return f"nothing speaks against it: {self.found.rows:,} rows of {self.found.size} elements{rest}"
        if self.equal:
            return f"equal: {self.found.rows:,} rows of {self.found.size} elements{rest}"
        kinds = list(dict.fromkeys(edit.kind for edit in self.edits if edit.kind != "unexplained"))
        said = ", ".join(kind.replace("_", " ") for kind in kinds)
        lost = [j for edit in self.edits if edit.kind == "unexplained" for j in edit.elements]
        unexplained = f"{len(lost)} {'element' if len(lost) == 1 else 'elements'} that no edit explains" if lost else ""
        return f"not equal: {' and '.join(filter(None, (said, unexplained)))}{rest}"

    def to_json(self) -> str:
        """The report as strict JSON, without the observations."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "ok": self.equal,
                "verdict": self.verdict,
                "equal": self.equal,
                "explained": self.explained,
                "trained": _side(self.trained),
                "found": _side(self.found),
                "tolerance": self.tolerance,
                "edits": [edit.to_json() for edit in self.edits],
                "cannot_tell": [
                    {"elements": list(one.elements), "names": list(one.names), "sentence": one.sentence}
                    for one in self.cannot_tell
                ],
                "notes": list(self.notes),
                "correction": self.correction.to_json(),
            },
            allow_nan=False,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report; the suffix picks the form.

        Args:
            path: `.html` for one page with traces before and after, which needs no other file; `.json` for the text of
                `to_json`; `.yaml` for the correction alone.

        Raises:
            ValueError: another suffix.
        """
        target = Path(path)
        if target.suffix == ".html":
            from ganglion.wiring.page import render_page

            text = render_page(self)
        elif target.suffix == ".json":
            text = self.to_json() + "\n"
        elif target.suffix == ".yaml":
            text = self.correction.to_yaml()
        else:
            raise ValueError(f"{target}: a report is saved as {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from ganglion._foundation.tables import FilledTable

        rows = [
            (
                Text(edit.kind.replace("_", " "), style="bold red" if edit.kind == "unexplained" else "bold"),
                elements_text(edit.elements, edit.names),
                edit.sentence,
                f"{edit.residual:.1e}" if math.isfinite(edit.residual) else "",
            )
            for edit in self.edits
        ]
        rows += [
            (Text("cannot tell", style="yellow"), elements_text(one.elements, one.names), one.sentence, "")
            for one in self.cannot_tell
        ]
        table = FilledTable(
            f"{self.found.label} against {self.trained.label}", ("edit", "elements", "what", ">residual"), rows
        )
        asked = "rounding of float32" if self.tolerance is None else f"{self.tolerance:g}"
        drawn = f"{self.found.rows:,} rows of {self.found.size} elements, tolerance: {asked}"
        more = [Text(note, style="dim") for note in (drawn, *self.notes)]
        lost = [Text(sentence, style="yellow") for sentence in self.correction.lost]
        return Group(table, *more, *lost, Text(self.verdict, style="bold green" if self.equal else "bold red"))


def _side(side: Observations) -> dict[str, Any]:
    return {
        "label": side.label,
        "rows": side.rows,
        "size": side.size,
        "names": list(side.names),
        "resets": int(side.reset.sum()),
    }


def elements_text(elements: tuple[int, ...], names: tuple[str, ...]) -> str:
    """`3, 7-9 (FL_hip, ...)`."""
    said = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs_of(elements)]
    shown = ", ".join(said[:_SHOWN]) + (", ..." if len(said) > _SHOWN else "")
    return shown if not names else f"{shown} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
