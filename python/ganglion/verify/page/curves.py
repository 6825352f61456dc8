"""The curves of a run, as a page carries them: every number that is drawn is one of the run, bit for bit.

A long run with many elements does not fit into a page. What is left out then are whole steps and whole elements, never
digits, and the page says which.
"""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.floating[Any]]

MOST_VALUES = 4_000_000
"""So many numbers of curves are in one page: at most about 20 MB, 5 as a rule."""
_FEWEST_STEPS = 2000
_AROUND = 0.25
"""The share of the steps of a thinned curve that lie around the mark, without a gap."""


@dataclass(frozen=True, eq=False)
class Channel:
    """One element of a tensor in one row, as all implementations gave it.

    Attributes:
        group: the tensor.
        name: the element, for the list to choose from.
        row: index in `Curves.rows`.
        values: `[steps]` of each of `Curves.runs`; None where one does not have it.
        unit: of the values, or empty.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`, or None.
        absolute: the tolerance is that of `|found - expected|`.
        minor: left out before the others.
        low: lower bound, or None.
        high: upper bound, or None.
    """

    group: str
    name: str
    row: int
    values: Sequence[Numbers | None]
    unit: str = ""
    tolerance: float | None = None
    absolute: bool = False
    minor: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Growth:
    """An error of a whole tensor over time.

    Attributes:
        name: of the curve.
        values: `[steps]`.
        run: index in `Curves.runs` of which it has the colour, or None.
    """

    name: str
    values: Numbers
    run: int | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the batch.

    Attributes:
        name: for the list to choose from.
        resets: `[steps]`, bool.
    """

    name: str
    resets: NDArray[np.bool_]


@dataclass(frozen=True)
class Mark:
    """What to look at first: a step of a channel.

    Attributes:
        channel: index in `Curves.channels`.
        step: which step.
        text: what is there.
    """

    channel: int
    step: int
    text: str


@dataclass(frozen=True, eq=False)
class Curves:
    """Everything that a viewer shows.

    Attributes:
        runs: names of the implementations, the reference first.
        rows: rows of the batch.
        channels: what can be chosen, the most important first.
        period_s: seconds of a step, or None where it is unknown.
        growth: by `Channel.group`, errors of the whole tensor.
        tolerance: of `growth`.
        mark: the first divergence, or None.
        uncompared: indices of runs that nobody expects to be equal.
        row_label: what a row is.
        left_out: what the caller left out already, as a sentence.
    """

    runs: Sequence[str]
    rows: Sequence[Row]
    channels: Sequence[Channel]
    period_s: float | None = None
    growth: Mapping[str, Sequence[Growth]] = field(default_factory=dict)
    tolerance: float | None = None
    mark: Mark | None = None
    uncompared: tuple[int, ...] = ()
    row_label: str = "row"
    left_out: str = ""

    @property
    def steps(self) -> int:
        """Length of the run."""
        return len(self.rows[0].resets)

    def packed(self, most_values: int = MOST_VALUES) -> dict[str, Any]:
        """As data of a page.

        Args:
            most_values: how many numbers there may be.
        """
        chosen, said = self._chosen(most_values)
        order = sorted(chosen)
        mark = None
        if self.mark is not None:
            mark = {
                "channel": order.index(self.mark.channel),
                "step": self.mark.step,
                "text": printable(self.mark.text),
            }
        return {
            "runs": [printable(name) for name in self.runs],
            "uncompared": list(self.uncompared),
            "steps": self.steps,
            "period": self.period_s,
            "rowLabel": self.row_label,
            "rows": [
                {"name": printable(row.name), "resets": pack(np.flatnonzero(row.resets).astype(np.uint32))}
                for row in self.rows
            ],
            "channels": [self._pack_channel(self.channels[index], chosen[index]) for index in order],
            "growth": {
                printable(group): self._pack_growth(curves, max(_FEWEST_STEPS, most_values // 100))
                for group, curves in self.growth.items()
            },
            "tolerance": self.tolerance,
            "mark": mark,
            "note": " ".join(filter(None, [self.left_out, *said])),
        }

    def _chosen(self, most_values: int) -> tuple[dict[int, int], list[str]]:
        """By index of the channels that are in the page, how many steps of each; and what is said of the rest."""
        chosen: dict[int, int] = {}
        said: list[str] = []
        for minor in (False, True):
            group = [index for index, channel in enumerate(self.channels) if channel.minor == minor]
            if not group:
                continue
            first_half = not minor and any(channel.minor for channel in self.channels)
            left = most_values // 2 if first_half else most_values - len(self.runs) * sum(chosen.values())
            steps_in_all = left // len(self.runs)
            count = max(1, min(len(group), steps_in_all // min(self.steps, _FEWEST_STEPS)))
            kept = group[:count]
            if self.mark is not None and self.mark.channel in group[count:]:
                kept[-1] = self.mark.channel
            each = max(_FEWEST_STEPS, steps_in_all // len(kept))
            chosen.update(dict.fromkeys(kept, min(self.steps, each)))
            what = "the state" if minor else "the outputs"
            if len(kept) < len(group):
                said.append(f"Of {len(group):,} curves of {what}, {len(kept):,} are in this page.")
            if each < self.steps:
                around = "" if self.mark is None else ", and every step around the first divergence"
                said.append(
                    f"Of {self.steps:,} steps, curves of {what} are drawn through {each:,}: through the lowest, the "
                    f"highest and the one with the largest difference of every {self.steps / each * 3.0:,.0f}{around}; "
                    "errors and tables are of all steps."
                )
        return chosen, said

    def _pack_channel(self, channel: Channel, points: int) -> dict[str, Any]:
        there = [index for index, values in enumerate(channel.values) if values is not None]
        curves = np.stack([values for values in channel.values if values is not None])
        at = None
        if points < self.steps:
            compared = [row for row, run in enumerate(there) if run not in self.uncompared]
            at = _thinned(curves, compared, points, None if self.mark is None else self.mark.step)
            curves = curves[:, at]
        return {
            "group": printable(channel.group),
            "name": printable(channel.name),
            "unit": printable(channel.unit),
            "row": channel.row,
            "tolerance": channel.tolerance,
            "absolute": channel.absolute,
            "bounds": [
                bound if bound is not None and math.isfinite(bound) else None for bound in (channel.low, channel.high)
            ],
            "runs": there,
            "at": None if at is None else pack(at.astype(np.uint32)),
            "values": pack(curves),
        }

    def _pack_growth(self, curves: Sequence[Growth], points: int) -> dict[str, Any]:
        values = np.stack([curve.values for curve in curves])
        at = None
        if points < self.steps:
            at = _thinned(values, [], points, None if self.mark is None else self.mark.step)
            values = values[:, at]
        return {
            "curves": [{"name": printable(curve.name), "run": curve.run} for curve in curves],
            "at": None if at is None else pack(at.astype(np.uint32)),
            "values": pack(values),
        }


def _thinned(curves: Numbers, compared: Sequence[int], points: int, mark: int | None) -> NDArray[np.int64]:
    """About so many steps that show what the curves do: extremes and largest differences of equal parts.

    Args:
        curves: `[curves, steps]`.
        compared: which of them differ from the first by what is to be seen.
        points: how many steps.
        mark: a step around which none is left out.
    """
    steps = curves.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.where(np.isfinite(curves), curves.astype(np.float64), np.inf)
        apart = np.abs(finite[compared] - finite[0]).max(axis=0, initial=0.0) if compared else finite.max(axis=0)
    apart = np.where(np.isnan(apart), np.inf, apart)
    chosen = {0, steps - 1}
    if mark is not None:
        half = int(points * _AROUND / 2.0)
        chosen.update(range(max(0, mark - half), min(steps, mark + half)))
    edges = np.linspace(0, steps, max(1, (points - len(chosen)) // 3) + 1).astype(np.int64)
    for start, stop in itertools.pairwise(edges):
        part = finite[0, start:stop]
        chosen.update((start + part.argmin(), start + part.argmax(), start + apart[start:stop].argmax()))
    return np.array(sorted(chosen), dtype=np.int64)


def pack(values: NDArray[Any]) -> str:
    """The bits of an array, small: `type:base64`, what `packed.js` reads.

    Curves that are nearly the same are the first one and what has to be flipped in its bits; bytes of the same weight
    lie together, because those are alike.
    """
    kind = values.dtype.newbyteorder("<").str[1:]
    bits = np.atleast_2d(np.ascontiguousarray(values)).view(f"u{values.dtype.itemsize}").copy()
    bits[1:] ^= bits[0]
    planes = bits.reshape(-1).astype(bits.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, bits.dtype.itemsize).T
    return f"{kind}:{base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode('ascii')}"
