"""What a report is worth: named exactly, in part, called unexplained, wrong, or not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .limits import limited
from .replay import CannotReplayError, age_of, agrees, replay, since_reset

if TYPE_CHECKING:
    from .cases import Case

VERDICTS = ("exact", "part", "unexplained", "wrong", "silent")
SAME = {
    "sign": {"scale", "frame", "quaternion_conjugate"},
    "scale": {"sign", "unit"},
    "unit": {"scale"},
    "frame": {"sign", "permutation"},
    "permutation": {"quaternion_order"},
}
"""Other names for a fault that are the same change of numbers, where the edits make `found`: a factor of -1 is a sign,
a half turn is two signs. Names that only happen to fit (a history read as a permutation) are not among them."""


@dataclass(frozen=True)
class Score:
    """Of one case.

    Attributes:
        verdict: one of `VERDICTS`; of a healthy adapter `"exact"` or `"wrong"`.
        restored: whether the report's correction makes trained of found; None where found has lost it.
        why: what is not exact about it.
        said: the report's edits, short.
    """

    verdict: str
    restored: bool | None
    why: str
    said: list[dict[str, Any]]


def score(case: Case, compare: Callable[..., Any]) -> Score:
    """Asks the public call about a case and judges its answer."""
    trained: dict[str, Any] = {"observation": case.trained, "action": case.action, "reset": case.reset}
    if case.named:
        trained["names"] = np.array(case.layout.names)
    found = {"observation": case.found, "action": case.action, "reset": case.reset}
    with limited():
        report = compare(trained=trained, found=found, tolerance=case.tolerance)
    return judge(case, report)


def judge(case: Case, report: Any) -> Score:
    """Judges a report of `ganglion.wiring` about a case."""
    edits = list(report.edits)
    said = [edit_text(one) for one in edits]
    if case.planted:  # Zeros stay zeros behind a reset, whatever was added elsewhere; who says so names no fault.
        edits = [
            one
            for one in edits
            if not (one.kind == "prefill" and one.value["trained"] == one.value["found"] == "zeros")
        ]
    if not case.planted:
        return Score("exact" if report.equal else "wrong", None, "" if report.equal else "false alarm", said)
    restored = _restores(case, report)
    if report.equal or not edits:
        return Score("silent", restored, "said to be equal", said)
    why = (
        _cover_wrong(case, edits)
        or named_wrong([(one.fault.kinds, one.elements) for one in case.planted], edits)
        or frames_wrong([one.detail for one in case.planted], edits)
        or _replayed_wrong(case, edits)
    )
    if not why:
        return Score("exact", restored, "", said)
    if all(one.kind == "unexplained" for one in edits):
        return Score("unexplained", restored, why, said)
    part = restored or any(_in_part(one.fault.kinds, one.elements, edits) for one in case.planted)
    return Score("part" if part else "wrong", restored, why, said)


Elements = Sequence[tuple[frozenset[int], frozenset[int]]]


def named_wrong(planted: Sequence[tuple[tuple[str, ...], Elements]], edits: Sequence[Any]) -> str:
    """Why kinds and elements are not those of the faults; empty where they are."""
    reported = {edit.kind for edit in edits}
    if "unexplained" in reported:
        return "elements are called unexplained"
    groups: list[tuple[set[str], set[int], set[int], set[int], set[int]]] = []
    allowed: set[str] = set()
    for kinds, elements in planted:
        names = {kind for kind in kinds if kind in reported}
        for kind in kinds:
            if kind not in reported:
                others = SAME.get(kind, set()) & reported
                if not others:
                    return f"nothing is called {kind}"
                names |= others
        if kinds == ("frame",):  # A signed permutation of axes may be said as both.
            names |= SAME["frame"] & reported
        groups.append((names, set(elements[0][0]), set(elements[0][1]), set(elements[-1][0]), set(elements[-1][1])))
        allowed |= names
    if reported - allowed:
        return f"{', '.join(sorted(reported - allowed))} was not planted"
    if len(groups) == 2 and groups[0][0] & groups[1][0]:
        one, other = groups
        groups = [tuple(a | b for a, b in zip(one, other, strict=True))]  # type: ignore[list-item]
    for names, must, may, must_before, may_before in groups:
        told = {place for edit in edits if edit.kind in names for place in edit.elements}
        if not (must <= told <= may or must_before <= told <= may_before):
            off = sorted(must - told)[:6], sorted(told - may)[:6]
            return f"{'/'.join(sorted(names))}: elements not told: {off[0]}, told but not so: {off[1]}"
    return ""


def frames_wrong(details: Sequence[dict[str, Any]], edits: Sequence[Any]) -> str:
    """Why a frame is not the one that was planted; what cannot be replayed hangs on this."""
    wanted = {detail["frame"] for detail in details if "frame" in detail} - {"negated_gravity"}
    told = {edit.value["kind"] for edit in edits if edit.kind == "frame"} & {"world_for_body", "body_for_world"}
    return "" if wanted == told else f"frames: {sorted(told)} for {sorted(wanted)}"


def _cover_wrong(case: Case, edits: Sequence[Any]) -> str:
    """Only a quaternion has a double cover."""
    quaternion = any(one.fault.group == "quaternion" for one in case.planted)
    told = any(edit.kind == "sign" and isinstance(edit.value, dict) for edit in edits)
    return "a double cover of what is no quaternion" if told and not quaternion else ""


def _in_part(kinds: tuple[str, ...], elements: Elements, edits: Sequence[Any]) -> bool:
    told = {place for edit in edits for place in edit.elements if edit.kind in kinds}
    return any(
        len(told & must) >= 0.5 * len(must) and len(told & may) >= 0.5 * len(told) for must, may in elements if told
    )


def _replayed_wrong(case: Case, edits: Sequence[Any]) -> str:
    """Why the edits do not make found; a permutation may be one of trained, or of what the edits before it made."""
    why = _replayed_one_way(case, edits, False)
    return why and _replayed_one_way(case, edits, True) and why


def _replayed_one_way(case: Case, edits: Sequence[Any], current: bool) -> str:
    try:
        made, claimed = replay(
            edits,
            case.trained,
            case.found.astype(np.float64),
            case.reset,
            case.adapter.names,
            case.layout.names,
            current,
        )
    except (CannotReplayError, ValueError, KeyError, IndexError, TypeError) as error:
        return f"the edits cannot be done: {error!r}"
    if case.adapter.prefill != "repeat" and not any(one.fault.kinds == ("prefill",) for one in case.planted):
        claimed &= since_reset(case.reset)[:, None] >= np.array([age_of(name) for name in case.adapter.names])
    gain = max([1.0, *(abs(v) for edit in edits if edit.kind in ("scale", "unit") for v in _factors(edit.value))])
    if agrees(made, claimed, case.found, (case.tolerance or 0.0) * min(gain, 10.0)):
        return ""
    error = np.sqrt(np.mean(np.where(claimed, made - case.found, 0) ** 2, axis=0)) / (case.found.std(axis=0) + 1e-4)
    return f"values are not right: element {int(error.argmax())} is off by {error.max():.3g} of its spread"


def _factors(value: Any) -> list[float]:
    return np.ravel(value["factor"] if isinstance(value, dict) else value).astype(float).tolist()


def _restores(case: Case, report: Any) -> bool | None:
    if report.correction.lost:
        return None
    made = np.asarray(report.correction.apply(case.found, case.reset))
    if made.shape != case.trained.shape:
        return False
    gain = np.maximum(1.0, case.trained.std(axis=0) / np.maximum(case.found.std(), 1e-9)).max()
    return agrees(
        made, np.ones(made.shape, bool), case.trained.astype(np.float64), (case.tolerance or 0.0) * min(gain, 100.0)
    )


def edit_text(edit: Any) -> dict[str, Any]:
    """An edit for the JSON, without its long lists."""
    return {"kind": edit.kind, "elements": list(edit.elements), "value": _short(edit.value), "residual": edit.residual}


def _short(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return [*value[:8], f"... {len(value)}"]
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return value
