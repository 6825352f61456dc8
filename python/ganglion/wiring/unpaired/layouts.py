"""What a permutation is called where it is the order of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

_AGREES = 0.85
"""So large a share of the elements must stand where the order has them: frames are much alike."""

_MOST_FRAMES = 32


def history_of(source: Integers) -> tuple[str, dict[str, Any], Integers] | None:
    """Reads a permutation of the whole observation as another layout, or order, of a history.

    Args:
        source: `[n]`, which element of trained each element of found holds.

    Returns:
        Kind, value of the edit, and the whole permutation; None where it is no such thing.
    """
    size = len(source)
    inverse = np.argsort(source)
    for frames in range(2, min(size // 2, _MOST_FRAMES) + 1):
        if size % frames:
            continue
        width = size // frames
        for permutation, trained, found in (
            (source, "term_major", "frame_major"),
            (inverse, "frame_major", "term_major"),
        ):
            expected = _interleaved(permutation, frames, width)
            if expected is None or np.mean(permutation == expected) < _AGREES:
                continue
            whole = expected if permutation is source else np.argsort(expected)
            if not np.array_equal(whole, np.arange(size)):
                return "history_layout", {"frames": frames, "trained": trained, "found": found}, whole
    return None


def _interleaved(permutation: Integers, frames: int, width: int) -> Integers | None:
    """Frame-major for term-major with the widths of terms that one of the frames shows."""
    for frame in range(frames):
        begin = permutation[frame * width : (frame + 1) * width]
        cuts = np.flatnonzero(np.diff(begin) != 1) + 1
        first = np.concatenate([[0], cuts])
        widths = np.diff([*first, width])
        expected = np.empty(frames * width, np.int64)
        at = 0
        for start, size in zip(first, widths, strict=True):
            block = np.arange(frames * size).reshape(frames, size) + at
            for number in range(frames):
                expected[number * width + start : number * width + start + size] = block[number]
            at += frames * size
        if np.array_equal(expected[frame * width : (frame + 1) * width], begin):
            return expected
    return None
