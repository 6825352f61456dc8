"""Histories of an observation: where each element that a network sees comes from.

One rule for `ganglion.policies.ObservationStack`, which computes it in torch, and for `ganglion.adapters.deployment`,
which makes nodes of it around a network. NumPy alone.

All elements lie in one *pool*: the newest frame, term behind term, and behind it what each history keeps, oldest frame
first. Both what the network sees and what a history keeps for the next step are picked from the pool by index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Index: TypeAlias = NDArray[np.int64]
Order = Literal["oldest_first", "newest_first"]
Layout = Literal["term_major", "frame_major"]
Prefill = Literal["repeat_first", "zeros"]

ORDERS: tuple[Order, ...] = ("oldest_first", "newest_first")
LAYOUTS: tuple[Layout, ...] = ("term_major", "frame_major")
PREFILLS: tuple[Prefill, ...] = ("repeat_first", "zeros")


@dataclass(frozen=True)
class FrameWindow:
    """The frames of one term that a network sees.

    Attributes:
        size: number of elements of a frame.
        length: number of frames, the newest included.
        stride: steps between two of them.
    """

    size: int
    length: int = 1
    stride: int = 1

    @property
    def kept(self) -> int:
        """Number of older frames that have to be kept."""
        return (self.length - 1) * self.stride


@dataclass(frozen=True)
class KeptFrames:
    """The older frames of one term.

    Attributes:
        window: number of the term.
        size: number of elements, `kept * size` of the window.
        first_frame: places in the newest frame from which all of it is filled at the first step.
        next: places in the pool from which it is filled for the next step.
    """

    window: int
    size: int
    first_frame: Index
    next: Index


class FrameWindows:
    """The pool of some terms.

    Args:
        windows: the terms, in the order of the frame.
    """

    def __init__(self, windows: Sequence[FrameWindow]) -> None:
        self.windows = tuple(windows)
        starts = np.cumsum([0, *(window.size for window in windows)])
        self.frame_size = int(starts[-1])
        """Number of elements of the newest frame."""
        kept, places, size = [], [], self.frame_size
        for number, (window, start) in enumerate(zip(windows, starts, strict=False)):
            newest = np.arange(start, start + window.size)
            older = np.arange(size, size + window.kept * window.size)
            # [frame, element], oldest first: the newest one lies elsewhere.
            frames = np.concatenate([older, newest]).reshape(window.kept + 1, window.size)
            places.append(frames[::-1])
            if window.kept:
                kept.append(KeptFrames(number, len(older), np.tile(newest, window.kept), frames[1:].reshape(-1)))
                size += len(older)
        self.kept = tuple(kept)
        """The histories, in the order of the terms that have one."""
        self._places = places

    def place(self, window: int, age: int) -> Index:
        """Places in the pool of one frame of a term, `age` steps old."""
        found: Index = self._places[window][age]
        return found


def frames(windows: Sequence[FrameWindow], order: Order, layout: Layout) -> list[tuple[int, int]]:
    """Numbers of terms and ages of their frames, in steps, in the order in which the network sees them.

    Args:
        windows: the terms; of equal length and stride for `"frame_major"`.
        order: which frame of a history comes first.
        layout: `"term_major"`: all frames of a term stand together; `"frame_major"`: all terms of a frame.
    """

    def ages(window: FrameWindow) -> list[int]:
        newest_first = [frame * window.stride for frame in range(window.length)]
        return newest_first if order == "newest_first" else newest_first[::-1]

    if layout == "frame_major":
        return [(number, age) for age in ages(windows[0]) for number in range(len(windows))]
    return [(number, age) for number, window in enumerate(windows) for age in ages(window)]
