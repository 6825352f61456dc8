"""The comparison of two recordings, from arrays to a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ganglion.errors import ArtifactError
from ganglion.wiring.edits import Edit
from ganglion.wiring.paired.judge import judge_of
from ganglion.wiring.paired.naming import edits_of
from ganglion.wiring.paired.pair import Pair, begins_of
from ganglion.wiring.paired.scalar import quiet
from ganglion.wiring.paired.search import search
from ganglion.wiring.paired.undo import check, correction_of
from ganglion.wiring.paired.widths import alignment
from ganglion.wiring.report import CannotTell, WiringReport
from ganglion.wiring.runs import runs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.observations import Observations
    from ganglion.wiring.paired.model import AdapterModel

_FEWEST = 10
_USUAL = 500


def explain(trained: Observations, found: Observations, tolerance: float | None) -> WiringReport:
    """Explains `found` as a change of `trained`.

    Args:
        trained: what the policy saw.
        found: what the adapter gave, of the same moments.
        tolerance: noise that is no difference; None for rounding alone.

    Raises:
        ArtifactError: the recordings are not of the same moments, or of too few.
    """
    _check(trained, found)
    if not found.names and found.size == trained.size:
        found = replace(found, names=trained.names)
    begins, told = begins_of(trained, found)
    action = trained.action if trained.action is not None else found.action
    judge = judge_of(trained.values, found.values, tolerance)
    pair = Pair(trained.values, found.values, begins, judge, action)
    base = alignment(pair)
    model = search(pair, base)
    correction = correction_of(pair, model, trained)
    corrected = correction.apply(found.values, begins)
    edits = edits_of(pair, model, found, trained)
    if not any("extra_frames" in edit.value for edit in edits if edit.kind == "history_layout"):
        edits = (*_widths(base, found, trained), *edits)
    notes = _notes(trained, told, begins, tolerance)
    large = np.abs(trained.values).max(axis=0)
    allowed = np.array([judge.allowed(float(size)) for size in large])
    return WiringReport(
        trained=trained,
        found=found,
        edits=edits,
        cannot_tell=_silent(pair, model, found),
        correction=correction,
        corrected=corrected,
        allowed=allowed,
        tolerance=tolerance,
        notes=(*notes, *check(pair, correction, corrected)),
    )


def _check(trained: Observations, found: Observations) -> None:
    if trained.rows != found.rows:
        raise ArtifactError(
            f"{found.label} has {found.rows:,} rows, {trained.label} {trained.rows:,}: both must hold the same "
            "moments; run the adapter over the raw states that were recorded beside the training's observations"
        )
    if trained.rows < _FEWEST:
        rows = "1 row" if trained.rows == 1 else f"{trained.rows} rows"
        raise ArtifactError(
            f"{trained.label} has {rows}: that tells no change from another; record {_USUAL} or more of a moving robot"
        )


def _notes(trained: Observations, told: bool, begins: NDArray[np.bool_], tolerance: float | None) -> list[str]:
    notes = []
    if not told and int(begins.sum()) > 1:
        notes.append(
            f"nothing says where episodes begin; {int(begins.sum())} beginnings are guessed from jumps: add an array "
            "'reset'"
        )
    if tolerance is None:
        notes.append(
            "equal is what differs by no more than some roundings of float32 at the size of a column (1 in 262,144); "
            "--tolerance says how large the noise of sensors is"
        )
    if trained.rows < _USUAL:
        notes.append(f"{trained.rows} rows are few; {_USUAL} or more of a moving robot tell changes apart")
    return notes


def _silent(pair: Pair, model: AdapterModel, found: Observations) -> tuple[CannotTell, ...]:
    """Elements that never move, where they are as they should be."""
    still = quiet(pair, pair.found)
    elements = tuple(
        j
        for j, fit in enumerate(model.fits)
        if still[j] and fit is not None and fit.plain and fit.source == model.base[j]
    )
    if not elements:
        return ()
    names = tuple(found.names[j] for j in elements) if found.names else ()
    what = "does not move" if len(elements) == 1 else "do not move"
    return (
        CannotTell(
            elements,
            names,
            f"{what} in this recording: another order, sign or scale would not show; record a run in which "
            f"{'it does' if len(elements) == 1 else 'they do'}",
        ),
    )


def _widths(base: NDArray[np.int64], found: Observations, trained: Observations) -> list[Edit]:
    """What is missing in found; what is too many has edits of its own."""
    if found.size == trained.size:
        return []
    missing = sorted(set(range(trained.size)) - set(base.tolist()))
    extra = [j for j in range(found.size) if base[j] < 0]
    moved = tuple(j for j in range(found.size) if base[j] >= 0 and base[j] != j)
    said = f"found has {found.size} elements, trained {trained.size}: "
    parts = []
    if missing:
        parts.append(f"{_span(missing, trained.names)} of trained {'is' if len(missing) == 1 else 'are'} missing")
    if extra:
        parts.append(f"{_span(extra, found.names)} of found {'is' if len(extra) == 1 else 'are'} too many")
    names = tuple(found.names[j] for j in moved) if found.names else ()
    sources = [int(base[j]) for j in moved]
    return [Edit("permutation", moved, names, sources, 0.0, said + ", and ".join(parts))]


def _span(elements: list[int], names: tuple[str, ...]) -> str:
    runs = runs_of(elements)
    said = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:6])
    more = ", ..." if len(runs) > 6 else ""
    shown = f" ({', '.join(names[i] for i in elements[:4])}{', ...' if len(elements) > 4 else ''})" if names else ""
    return f"element{'s' if len(elements) > 1 else ''} {said}{more}{shown}"
