"""Which neighbours in an observation belong together: the terms that it was put together from."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PLACE = re.compile(r"(?:[_.\- ]?(?:\d+|[xyzw])|\[\d+\])$")
_SPLIT = re.compile(r"[:/.\[]")
_WORDS = re.compile(r"[_.\- ]+")


def terms(names: Sequence[str], size: int) -> tuple[NDArray[np.int64], ...]:
    """The terms of an observation, as far as its names tell.

    Neighbours belong together whose names are the same but for a number or an axis at the end (`gyro_x`, `gyro_y`), or
    up to a `:`, `/`, `.` or `[`; else those that begin, or end, with the same word (`FL_hip_pos`, `FR_hip_pos`).

    Args:
        names: one for each element, or none: then there is one term.
        size: number of elements.
    """
    if not names:
        return (np.arange(size),)
    cuts = [0]
    for index, (before, name) in enumerate(pairwise(names), 1):
        if not _together(names[cuts[-1]], before, name):
            cuts.append(index)
    return tuple(np.arange(begin, end) for begin, end in pairwise([*cuts, size]))


def _together(first: str, before: str, name: str) -> bool:
    if _SPLIT.search(name) and _SPLIT.search(before):
        return _SPLIT.split(name)[0] == _SPLIT.split(before)[0]
    stem, stem_before = _PLACE.sub("", name), _PLACE.sub("", before)
    if stem == stem_before:
        return True
    if stem != name or stem_before != before:
        return False
    words, words_first = _WORDS.split(name), _WORDS.split(first)
    return words[-1] == words_first[-1] or words[:2] == words_first[:2]
