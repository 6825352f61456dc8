"""Makes `found` of `trained` by the edits of a report alone: what they claim, done by code that is not ganglion's.

Only what an edit says is used, and which element is of which age, where an edit speaks of history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .motion import body_to_world, world_to_body

if TYPE_CHECKING:
    from collections.abc import Sequence

_ORIENTED = ("world_for_body", "body_for_world")


class CannotReplayError(Exception):
    """An edit that says nothing one could do."""


def replay(
    edits: Sequence[Any],
    trained: np.ndarray,
    found: np.ndarray,
    reset: np.ndarray,
    names: Sequence[str],
    of_trained: Sequence[str],
    current: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Does the edits in their order.

    Args:
        edits: of a report.
        trained: `[N, n]`.
        found: `[N, m]`: which rows of a quaternion are negated is taken from it, and rows that an edit does not claim.
        reset: `[N]`.
        names: of found's elements, with their age behind @-.
        of_trained: of trained's.
        current: a permutation's indices are of the vector as the edits before it made it, not of trained.

    Returns:
        `[N, m]`, and `[N, m]`: which of these values the edits claim.
    """
    made = trained.astype(np.float64)
    since = since_reset(reset)
    claimed = np.ones(found.shape, bool)
    ages = np.array([age_of(name) for name in names])
    source, stride = trained.astype(np.float64), 1
    for number, edit in enumerate(edits):
        e, value = list(edit.elements), edit.value
        if edit.kind == "permutation":
            if any(place < 0 for place in value):
                raise CannotReplayError("an element of nothing")
            made = _sized(made, found.shape[1])
            made[:, e] = (made if current else source)[:, value]
            continue
        if edit.kind == "history_layout" and "extra_frames" in value:
            made = _more_frames(made, since, names, of_trained)
            known = set(of_trained)
            beyond = [place for place, name in enumerate(names) if name not in known]
            claimed[:, beyond] &= since[:, None] >= ages[beyond]
            continue
        if made.shape[1] != found.shape[1]:
            raise CannotReplayError("another size, and no edit that says so before the others")
        if edit.kind == "sign":
            if isinstance(value, dict):
                for four in [
                    [place for place in e if ages[place] == age] for age in sorted({int(ages[place]) for place in e})
                ]:
                    flip = (made[:, four] * _undone(edits[number + 1 :], found, four)).sum(axis=1) < 0
                    made[np.ix_(flip, four)] *= -1
            else:
                made[:, e] *= -1
        elif edit.kind in ("scale", "unit"):
            made[:, e] *= np.array(value["factor"] if isinstance(value, dict) else value)
        elif edit.kind == "offset":
            made[:, e] += np.array(value)
        elif edit.kind == "clip":
            low = np.broadcast_to([-np.inf if v is None else v for v in np.atleast_1d(value["low"])], len(e))
            high = np.broadcast_to([np.inf if v is None else v for v in np.atleast_1d(value["high"])], len(e))
            if value.get("of") == "found" or value.get("missing") is False:
                made[:, e] = np.clip(made[:, e], low, high)
            else:  # What trained lost cannot be made again.
                edge = 1e-3 * (1e-6 + np.abs(found[:, e]).max(axis=0))
                claimed[:, e] &= (found[:, e] > low + edge) & (found[:, e] < high - edge)
        elif edit.kind == "quaternion_order":
            for four in _groups(e, 4):
                order = ["wxyz".index(one) for one in value["found"]] if value["trained"] == "wxyz" else [3, 0, 1, 2]
                made[:, four] = made[:, four][:, order]
        elif edit.kind == "quaternion_conjugate":
            for group in _groups(e, 4) if len(e) % 4 == 0 else _groups(e, 3):
                made[:, group] *= [1, -1, -1, -1][-len(group) :]
        elif edit.kind == "frame":
            if value["kind"] in _ORIENTED and not value.get("quaternion"):
                claimed[:, e] = False  # Which orientation it was nobody can say; its name is judged elsewhere.
            else:
                _turn(made, e, value, names, source, of_trained, stride)
        elif edit.kind == "lag":
            _late(made, source, e, value, since)
            claimed[:, e] &= since[:, None] > ages[e] + 1 + (0 if "position" in value else abs(int(value["steps"])))
        elif edit.kind == "double_normalised":
            made[:, e] = (made[:, e] - np.array(value["mean"])) / np.array(value["std"])
        elif edit.kind == "prefill":
            _prefill(made, found, e, value, since, names, ages)
        elif edit.kind == "history_order":
            _reversed(made, e, of_trained)
        elif edit.kind == "history_layout":
            _relaid(made, e, value, since, names, of_trained)
            if "stride" in value:  # What the frames hold behind a reset is another matter.
                claimed[:, e] &= since[:, None] >= ages[e]
                source, stride = made.copy(), int(value["stride"])  # Edits that follow take their frames from these.
        else:
            raise CannotReplayError(edit.kind)
    if made.shape != found.shape:
        raise CannotReplayError("another size")
    return made, claimed


def agrees(made: np.ndarray, claimed: np.ndarray, wanted: np.ndarray, noise: float = 0.0, share: float = 0.01) -> bool:
    """Whether each element is right to a share of its spread (and noise), in the rows that are claimed."""
    for place in range(wanted.shape[1]):
        if not claimed[:, place].any():
            continue
        rows = claimed[:, place] & np.isfinite(made[:, place])
        if rows.sum() < 0.3 * len(rows):
            return False
        error = np.sqrt(np.mean((made[rows, place] - wanted[rows, place]) ** 2))
        spread = wanted[rows, place].std()
        if error > share * max(spread, 1e-4 * (1 + np.abs(wanted[rows, place]).max())) + 1.2 * noise:
            return False
    return True


def since_reset(reset: np.ndarray) -> np.ndarray:
    """`[N]`: how many rows ago an episode began."""
    rows = np.arange(len(reset))
    return rows - np.maximum.accumulate(np.where(reset, rows, 0))


def age_of(name: str) -> int:
    """Of an element's frame, in steps."""
    return int(name.split("@-")[1]) if "@-" in name else 0


def _vector(name: str) -> tuple[str, int]:
    return name.split("/")[0], age_of(name)


def _groups(elements: list[int], size: int) -> list[list[int]]:
    if len(elements) % size:
        raise CannotReplayError(f"{len(elements)} elements in groups of {size}")
    return [elements[at : at + size] for at in range(0, len(elements), size)]


def _sized(made: np.ndarray, size: int) -> np.ndarray:
    fresh = np.zeros((len(made), size))
    fresh[:, : min(size, made.shape[1])] = made[:, :size]
    return fresh


def _undone(edits: Sequence[Any], found: np.ndarray, elements: list[int]) -> np.ndarray:
    """Elements of found before a normaliser."""
    made = found[:, elements].astype(np.float64)
    for edit in edits:
        if edit.kind == "double_normalised":
            for k, place in enumerate(elements):
                if place in edit.elements:
                    at = list(edit.elements).index(place)
                    made[:, k] = made[:, k] * edit.value["std"][at] + edit.value["mean"][at]
    return made


def _turn(
    made: np.ndarray,
    e: list[int],
    value: Any,
    names: Sequence[str],
    source: np.ndarray,
    of_trained: Sequence[str],
    stride: int,
) -> None:
    if value["kind"] == "negated_gravity":
        made[:, e] *= -1
        return
    if len(e) % 3:  # A half turn changes two of a vector's elements.
        touched = {_vector(names[place]) for place in e}
        e = [place for place, name in enumerate(names) if _vector(name) in touched]
    for three in _groups(e, 3):
        if value["kind"] == "fixed":
            made[:, three] = made[:, three] @ np.array(value["matrix"]).T
            continue
        four = list(value["quaternion"])[:4]
        age = age_of(names[three[0]]) // stride
        aged = [of_trained[one].partition("@")[0] + (f"@-{age}" if age else "") for one in four]
        quaternion = source[:, [list(of_trained).index(one) for one in aged]]
        size = np.linalg.norm(quaternion, axis=1, keepdims=True)
        quaternion = np.where(size > 0, quaternion / np.maximum(size, 1e-9), [1.0, 0, 0, 0])
        turn = body_to_world if value["kind"] == "world_for_body" else world_to_body
        made[:, three] = turn(quaternion, made[:, three])


def _late(made: np.ndarray, source: np.ndarray, e: list[int], value: Any, since: np.ndarray) -> None:
    if "position" in value:
        position = source[:, list(value["position"])]
        made[:, e] = (position - np.roll(position, 1, axis=0)) * np.array(value["factor"])
        return
    steps = int(value["steps"])
    rows = np.clip(np.arange(len(made)) - np.minimum(steps, since), 0, len(made) - 1)
    made[:, e] = made[rows][:, e]


def _newest(names: Sequence[str]) -> list[int]:
    """For each element that of its newest frame."""
    first = {}
    for place, name in sorted(enumerate(names), key=lambda one: age_of(one[1])):
        first.setdefault(name.partition("@")[0], place)
    return [first[name.partition("@")[0]] for name in names]


def _prefill(
    made: np.ndarray,
    found: np.ndarray,
    e: list[int],
    value: Any,
    since: np.ndarray,
    names: Sequence[str],
    ages: np.ndarray,
) -> None:
    newest = _newest(names)
    start = np.arange(len(since)) - since
    before = made.copy()
    for place in e:
        early = np.flatnonzero(since < ages[place])
        if value["found"] == "zeros":
            made[early, place] = 0.0
        elif value["found"] == "repeat":
            made[early, place] = before[start[early], newest[place]]
        else:
            made[early, place] = found[early, place]


def _reversed(made: np.ndarray, e: list[int], of_trained: Sequence[str]) -> None:
    """Frames of each term the other way round, where trained's frames stand."""
    ages = sorted({age_of(name) for name in of_trained})
    turned = dict(zip(ages, reversed(ages), strict=True))
    places = {name: place for place, name in enumerate(of_trained)}
    before = made.copy()
    for place in e:
        name, _, tail = of_trained[place].partition("@-")
        age = turned[int(tail) if tail else 0]
        made[:, place] = before[:, places[name + (f"@-{age}" if age else "")]]


def _relaid(
    made: np.ndarray, e: list[int], value: Any, since: np.ndarray, names: Sequence[str], of_trained: Sequence[str]
) -> None:
    if "stride" in value:
        newest = _newest(of_trained)
        before = made.copy()
        for place in e:
            age = age_of(of_trained[place]) * int(value["stride"])
            made[:, place] = before[np.arange(len(since)) - np.minimum(age, since), newest[place]]
        return
    frames, size = int(value["frames"]), made.shape[1]
    if sorted(names) != sorted(of_trained) or size % frames:
        raise CannotReplayError("other elements")
    places = {name: place for place, name in enumerate(of_trained)}
    made[:] = made[:, [places[name] for name in names]]


def _more_frames(made: np.ndarray, since: np.ndarray, names: Sequence[str], of_trained: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(of_trained)}
    newest = _newest(names)
    columns = []
    for place, name in enumerate(names):
        if name in places:
            columns.append(made[:, places[name]])
        else:
            rows = np.arange(len(since)) - np.minimum(age_of(name), since)
            columns.append(made[rows, places[names[newest[place]]]])
    return np.stack(columns, axis=1)
