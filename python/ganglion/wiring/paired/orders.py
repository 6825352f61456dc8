"""Orders of joints that are known by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEG = re.compile(r"(?<![a-z])(fl|fr|rl|rr|hl|hr|lf|rf|lh|rh|l|r|left|right)(?![a-z])", re.IGNORECASE)
_UNITREE_LEGS = ("fr", "fl", "rr", "rl")


def known_order(elements: Sequence[int], sources: Sequence[int], names: Sequence[str]) -> str:
    """What the order of `sources` is called, by the names of trained; empty where it has no name.

    Args:
        elements: places in found, rising.
        sources: the element of trained that each holds.
        names: of trained.
    """
    if not names or min(sources, default=-1) < 0:
        return ""
    runs: list[list[str]] = [[]]
    start = 0
    for place, (element, source) in enumerate(zip(elements, sources, strict=True)):
        if place and (element != elements[place - 1] + 1 or _is_whole(sources[start:place], elements[start])):
            runs.append([])
            start = place
        runs[-1].append(names[source])
    for told, key in _KEYS.items():
        if all(_is_sorted(run, key) for run in runs) and any(len(set(map(key, run))) > 1 for run in runs if run[2:]):
            return told
    return ""


def _is_whole(sources: Sequence[int], first: int) -> bool:
    """Whether a term ends here: so far, elements have changed places among themselves alone."""
    return set(sources) == set(range(first, first + len(sources)))


def _is_sorted(names: list[str], key: Callable[[str], object]) -> bool:
    keys = [key(name) for name in names]
    try:
        return keys == sorted(keys)  # type: ignore[type-var]
    except TypeError:
        return False


def _alphabetical(name: str) -> object:
    return name


def _parts(name: str) -> tuple[str, str]:
    """The leg of a joint, and what is left of its name."""
    found = _LEG.search(name.replace("_", " "))
    if found is None:
        return "", name
    return found[1].lower(), name[: found.start()] + name[found.end() :]


def _by_joint(name: str) -> object:
    """All hips, then all thighs, then all calves."""
    rest = _parts(name)[1].lower()
    return next((k for k, part in enumerate(("hip", "thigh", "calf", "knee", "ankle", "foot")) if part in rest), 9)


def _unitree(name: str) -> object:
    leg = _parts(name)[0]
    return _UNITREE_LEGS.index(leg) if leg in _UNITREE_LEGS else 9


def _by_leg(name: str) -> object:
    leg = _parts(name)[0]
    order = ("fl", "fr", "rl", "rr")
    return order.index(leg) if leg in order else 9


_KEYS: dict[str, Callable[[str], object]] = {
    "alphabetical": _alphabetical,
    "breadth-first, as Isaac Lab has joints": _by_joint,
    "FR, FL, RR, RL, as Unitree's SDK has motors": _unitree,
    "depth-first, leg by leg, as MuJoCo has joints": _by_leg,
}
