"""From a log and a contract to a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ganglion.errors import ArtifactError
from ganglion.observation_profile.statistics import FEWEST_STEPS
from ganglion.wiring.edits import Edit
from ganglion.wiring.observations import Observations
from ganglion.wiring.paired.sentences import sentence
from ganglion.wiring.report import WiringReport
from ganglion.wiring.unpaired.distance import Explanation
from ganglion.wiring.unpaired.logs import Log
from ganglion.wiring.unpaired.search import Ranked, is_decisive, ranked
from ganglion.wiring.unpaired.silent import silent, unexplained
from ganglion.wiring.unpaired.terms import terms
from ganglion.wiring.unpaired.undoing import Undoing, undone_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.observation_profile import ObservationProfile

_MOST_EDITS = 3
_TEMPERATURE = 3.0
_NONE = 4.0
"""What "none of them" would be worth beside the gains of the explanations."""

_NEAR = 3.0
"""An explanation that is no farther behind the best is as likely."""


def compare(profile: ObservationProfile, found: Observations, label: str, names: Sequence[str] = ()) -> WiringReport:
    """Explains how a log differs from what observations looked like in training.

    Args:
        profile: of the training.
        found: the log, of one or more episodes.
        label: what messages call the policy.
        names: of the policy's observation elements, or none.

    Raises:
        ArtifactError: the log has another size, or too few rows for statistics.
    """
    _check(profile, found, label, names)
    action = found.action if found.action is not None and found.action.shape[1] == profile.actions else None
    told = found.names or tuple(names)
    log = Log(found.values, action, found.reset, found.told)
    distance = log.against(profile)
    groups = terms(told, profile.size)
    trained = Observations(
        np.empty((0, profile.size)), np.empty(0, np.bool_), False, None, tuple(names), f"the profile of {label}"
    )
    edits: list[Edit] = []
    undoing = Undoing.nothing(profile.size)
    stays = np.zeros(profile.size, np.bool_)
    notes = [] if distance.has_response else [_no_response(profile, found)]
    for _ in range(_MOST_EDITS):
        # What cannot be undone stays in the log, and would be found again.
        order = [one for one in _distinct(ranked(distance, log, groups)) if not stays[one.candidate.elements].any()]
        if not order or not is_decisive(order[0]):
            break
        best = order[0]
        edit = _edit(best, _confidence(order), found, trained, told)
        others = [one for one in order[1:] if one.gain > best.gain - _NEAR and _touch(one, best)]
        notes += [_or_else(edit, one, found, trained, told) for one in others[:2]]
        edits.append(edit)
        undoing = undoing.then(best.candidate)
        if best.candidate.lost and best.candidate.values is None:
            stays[best.candidate.elements] = True
            continue
        log = log.holding(undone_values(best.candidate, log))
        distance = log.against(profile)
    nothing = Explanation.nothing(profile.size)
    far = distance.of(nothing, np.arange(profile.size))
    edits += unexplained(distance, np.where(stays, 0.0, far), told)
    correction = undoing.correction()
    return WiringReport(
        trained=trained,
        found=found,
        edits=tuple(edits),
        cannot_tell=silent(distance, nothing, told),
        correction=correction,
        corrected=correction.apply(found.values, found.reset),
        allowed=np.full(profile.size, math.nan),
        notes=tuple(notes),
    )


def _check(profile: ObservationProfile, found: Observations, label: str, names: Sequence[str]) -> None:
    if found.size != profile.size:
        missing = [name for name in names if name not in found.names] if found.names else []
        which = f": missing is {', '.join(missing[:6])}" if missing else ""
        raise ArtifactError(f"{found.label} has {found.size} elements, the profile of {label} {profile.size}{which}")
    if found.rows < FEWEST_STEPS:
        rows = "1 row" if found.rows == 1 else f"{found.rows} rows"
        raise ArtifactError(
            f"{found.label} has {rows}, and only statistics speak here: record {FEWEST_STEPS} or more, better a minute "
            "in which every joint moves"
        )


def _no_response(profile: ObservationProfile, found: Observations) -> str:
    who = "the profile" if profile.response is None else found.label
    return f"{who} has no actions, so nothing tells how observations answer to them: a delay cannot be seen"


def _distinct(order: list[Ranked]) -> list[Ranked]:
    """Without what is another word for a better one."""
    kept: list[Ranked] = []
    seen = set()
    for one in order:
        made = one.candidate.explanation
        key: tuple[object, ...] = (made.source.tobytes(), np.round(made.factor, 9).tobytes(), made.lag.tobytes())
        key = (*key, np.round(made.offset, 6).tobytes(), None if one.candidate.is_linear else id(one))
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _touch(one: Ranked, other: Ranked) -> bool:
    return bool(np.isin(one.candidate.elements, other.candidate.elements).any())


def _confidence(order: list[Ranked]) -> float:
    """The share of the best among all that speak about the same elements, and none of them."""
    best = order[0]
    gains = np.array([_NONE, *(one.gain for one in order if _touch(one, best) and not _nested(one, best))])
    weights = np.exp((gains - gains.max()) / _TEMPERATURE)
    return float(round(np.exp((best.gain - gains.max()) / _TEMPERATURE) / weights.sum(), 3))


def _nested(one: Ranked, best: Ranked) -> bool:
    """Whether it is the same thing said of a part of the elements, or of some more."""
    same = one is not best and one.candidate.kind == best.candidate.kind
    inside = np.isin(one.candidate.elements, best.candidate.elements).all()
    around = np.isin(best.candidate.elements, one.candidate.elements).all()
    return bool(same and (inside or around))


def _edit(one: Ranked, confidence: float, found: Observations, trained: Observations, told: Sequence[str]) -> Edit:
    candidate = one.candidate
    order = np.argsort(candidate.elements, kind="stable")
    elements = tuple(int(element) for element in candidate.elements[order])
    value = candidate.value
    if isinstance(value, list) and len(value) == len(elements):
        value = [value[place] for place in order]
    return Edit(
        kind=candidate.kind,
        elements=elements,
        names=tuple(told[element] for element in elements) if told else (),
        value=value,
        residual=round(one.left / len(elements), 3),
        sentence=sentence(candidate.kind, elements, value, found, trained),
        confidence=confidence,
    )


def _or_else(edit: Edit, one: Ranked, found: Observations, trained: Observations, told: Sequence[str]) -> str:
    other = _edit(one, 0.0, found, trained, told)
    kind = other.kind.replace("_", " ")
    return f"instead of {edit.kind.replace('_', ' ')}, as likely: {kind} of {_listed(other)}: {other.sentence}"


def _listed(edit: Edit) -> str:
    shown = edit.names or tuple(str(element) for element in edit.elements)
    return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")
