"""Which neighbours in an observation belong together: the terms that it was put together from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

_AGE = re.compile(r"(?:@-?\d+|[_.\- ]?t[-_]?\d+|\[?\(?t?-\d+\)?\]?)$")
_PLACE = re.compile(r"(?:[_.\- ]?(?:\d+|[xyzw])|\[\d+\])$")
_SPLIT = re.compile(r"[:/.\[]")
_WORDS = re.compile(r"[_.\- ]+")


_VECTOR = 3
"""Terms of so few elements may be vectors, which have nothing to do with each other."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What an observation was put together from.

    Attributes:
        terms: the elements of each term, of all frames, the frames one after the other.
        frames: of the history; 1 where there is none that the names tell.
        frame_major: all terms of a frame stand together, and not all frames of a term.
    """

    terms: tuple[Integers, ...]
    frames: int = 1
    frame_major: bool = False

    @property
    def named(self) -> bool:
        """Whether names told more than that there is an observation."""
        return len(self.terms) > 1

    def beside(self, elements: Integers) -> Integers:
        """The same places in all terms that are as large: what else of a joint is observed."""
        found = [elements]
        for term in self.terms:
            places = np.flatnonzero(np.isin(term, elements))
            if len(places) and len(term) > _VECTOR * self.frames:
                found += [other[places] for other in self.terms if len(other) == len(term)]
        return np.unique(np.concatenate(found))

    def frame(self, number: int) -> list[Integers]:
        """The terms of one frame."""
        return [term.reshape(self.frames, -1)[number] for term in self.terms]


def terms(names: Sequence[str], size: int) -> Terms:
    """The terms of an observation, as far as its names tell.

    Neighbours belong together whose names are the same but for a number or an axis at the end (`gyro_x`, `gyro_y`), or
    up to a `:`, `/`, `.` or `[`; else those that begin, or end, with the same word (`FL_hip_pos`, `FR_hip_pos`). Names
    that differ in their age alone (`gyro_x@-1`, `gyro_x_t-1`) are frames of a history.

    Args:
        names: one for each element, or none: then there is one term.
        size: number of elements.
    """
    if not names:
        return Terms((np.arange(size),))
    bare = [_AGE.sub("", name) for name in names]
    frames = _frames(bare)
    if frames == 1:
        return Terms(tuple(_runs(names)))
    width = size // frames
    if bare[:width] * frames == bare:
        first = _runs(bare[:width])
        return Terms(tuple(np.concatenate([term + width * k for k in range(frames)]) for term in first), frames, True)
    runs, at = [], 0
    while at < size:
        # A term lasts until all of its names have come so often as there are frames.
        end = at
        while any(bare[at:end].count(name) < frames for name in set(bare[at:end])) or end == at:
            end += 1
        runs += [np.arange(at, end)]
        at = end
    return Terms(tuple(runs), frames)


def _frames(bare: Sequence[str]) -> int:
    counts = {bare.count(name) for name in set(bare)}
    return counts.pop() if len(counts) == 1 else 1


def _runs(names: Sequence[str]) -> list[Integers]:
    cuts = [0]
    for index, (before, name) in enumerate(pairwise(names), 1):
        if not _together(names[cuts[-1]], before, name):
            cuts.append(index)
    return [np.arange(begin, end) for begin, end in pairwise([*cuts, len(names)])]


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
