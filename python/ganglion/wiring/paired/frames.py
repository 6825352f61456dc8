"""What an adapter does to the frames of histories, read from all of their elements at once.

In a history a late element is also what stands a frame away, and an element of another frame is one that is late. So
each element of found is first asked which signal it holds, and how many steps ago that was. The steps of all frames of
a signal lie on a line, whose slope says the order of frames and the steps between them, and whose rest is a delay.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.columns import likely
from ganglion.wiring.paired.model import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.wiring.paired.chains import Chains
    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.pair import Pair

    Whole = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Held = dict[int, list[tuple[int, int]]]

_STRIDES = (1, 2, 3, 4, 5)
_LATEST = 6
_EARLIEST = -2
_SAMPLE = 500
_FEWEST = 8
_FEW_MOVED = 0.1
_SHARE = 0.5
"""Of the signals whose frames are all known, so many have to agree on another order or stride."""


@dataclass(frozen=True, eq=False)
class Frames:
    """How found lays histories out.

    Attributes:
        base: `[m]`: the column of trained that each element of found should hold, when order and layout of frames are
            those of found; -1 for none.
        late: `[m]`: steps that it is late, because frames are farther apart.
        age: `[n]`: of the frame of each column of trained, 0 outside of histories.
        frames: how many a history has; 1 for none.
        stride: steps between them.
        order: elements whose frame is another one.
        layout: elements that another layout moved.
        arrangement: `"term_major"` or `"frame_major"`: how histories lie in trained.
        held: of elements that move and equal nothing: columns of sources (see `model.column`) that they may hold, and
            how late; the likeliest first.
    """

    base: Whole
    late: Whole
    age: Whole
    frames: int
    stride: int
    order: tuple[int, ...]
    layout: tuple[int, ...]
    arrangement: str
    held: Held


def frames_of(pair: Pair, base: Whole, equal: Sequence[Fit | None], waiting: Sequence[int], moving: Flags) -> Frames:
    """Reads order, layout and steps of the frames.

    Args:
        pair: both recordings.
        base: `[m]`: the column of trained that stands in the place of each element of found; -1 for none.
        equal: `[m]`: of elements that equal the column in their place, or None.
        waiting: elements that move and equal nothing.
        moving: `[n]`: columns of trained that move.
    """
    chains = pair.chains
    if not (chains.signal >= 0).any() or not waiting:
        return Frames(base, np.zeros(len(base), np.int64), chains.age, 1, 1, (), (), "", {})
    table = FrameTable(chains)
    held = _held(pair, table, waiting, np.flatnonzero(moving & (chains.age == 0)))
    for j, fit in enumerate(equal):
        if fit is not None and chains.signal[fit.source] >= 0:
            held[j] = [(int(chains.signal[fit.source]), int(chains.age[fit.source]))]
    whole = _whole(held, table)
    slope = _slope(held, whole, table)
    framed = {s: places for s, places in whole.items() if len(table.ages(s)) > 1}
    slot_age = {j: age for s, places in framed.items() for j, age in zip(places, table.ages(s), strict=True)}
    slots = _laid_out(base, table, slot_age)
    turned = np.array([table.mirrored(int(i)) for i in slots]) if slope < 0 else slots
    late = np.where(turned >= 0, table.age[turned] * (abs(slope) - 1), 0)
    return Frames(
        turned,
        late,
        table.age,
        len(table.rising),
        abs(slope),
        tuple(np.flatnonzero(turned != slots).tolist()),
        tuple(np.flatnonzero(slots != base).tolist()),
        table.arrangement,
        _places(held, waiting, whole, turned, slope, table),
    )


class FrameTable:
    """Signals, frames and columns of trained; columns that hardly move have a place in a frame, too.

    Attributes:
        size: columns of trained.
        signal: `[n]`: as `Chains.signal`.
        age: `[n]`: as `Chains.age`, and of what hardly moves where its neighbours tell it.
        arrangement: `"term_major"` or `"frame_major"`.
    """

    def __init__(self, chains: Chains) -> None:
        self.size = len(chains.age)
        self.signal = chains.signal
        self._columns: dict[int, list[int]] = {}
        for i in np.flatnonzero(chains.signal >= 0).tolist():
            self._columns.setdefault(int(chains.signal[i]), []).append(i)
        self._ages = {s: [int(chains.age[i]) for i in columns] for s, columns in self._columns.items()}
        known = [int(age) if s >= 0 else -1 for s, age in zip(chains.signal, chains.age, strict=True)]
        newest_last = next(iter(self._ages.values()))[0] > 0
        frames = max(map(len, self._ages.values()))
        self.rising = list(reversed(range(frames))) if newest_last else list(range(frames))
        self.arrangement = arrangement_of(known)
        self._unit = units_of(known, self.rising, self.arrangement)
        self.age = chains.age.copy()
        self._at: dict[tuple[int, int], int] = {}
        if self._unit is not None:
            for i, (unit, age) in enumerate(self._unit):
                self.age[i] = age
                self._at[unit, age] = i

    def framed(self, column: int) -> bool:
        """Whether a column of trained is in a history."""
        return self._unit is not None or int(self.signal[column]) >= 0

    def ages(self, source: int) -> list[int]:
        """Of a signal's frames, in the order of their columns."""
        return self._ages.get(source % self.size, [0])

    def column(self, source: int, age: int) -> int | None:
        """The column of a source's frame."""
        signal = source % self.size
        if signal not in self._columns:
            return source if age == 0 else None
        if age not in self._ages[signal]:
            return None
        return source - signal + self._columns[signal][self._ages[signal].index(age)]

    def mirrored(self, column: int) -> int:
        """The column that stands there when frames are the other way round."""
        if column < 0:
            return column
        signal = int(self.signal[column])
        if signal >= 0:
            ages = self._ages[signal]
            return self._columns[signal][ages.index(len(ages) - 1 - int(self.age[column]))]
        if self._unit is None:
            return column
        unit, age = self._unit[column]
        return self._at.get((unit, len(self.rising) - 1 - age), column)


def arrangement_of(ages: Sequence[int]) -> str:
    """Whether each age stands together once; -1 is none."""
    known = [age for age in ages if age >= 0]
    runs = 1 + sum(one != other for one, other in itertools.pairwise(known))
    return "frame_major" if runs == len(set(known)) else "term_major"


def units_of(ages: Sequence[int], rising: Sequence[int], arrangement: str) -> list[tuple[int, int]] | None:
    """For each element its place in a frame and its age, where ages that are not known (-1) leave one way; else None.

    Args:
        ages: of each element.
        rising: ages of the frames as they follow each other.
        arrangement: `"term_major"` or `"frame_major"`.
    """
    count, frames = len(ages), len(rising)
    known = np.array(ages)

    def block(start: int, width: int) -> bool:
        part = known[start : start + width * frames].reshape(frames, width)
        mask = part >= 0
        right = (part == np.array(rising)[:, None]) | ~mask
        return bool(right.all() and (mask == mask[0]).all())

    units: list[tuple[int, int]] = []
    while len(units) < count:
        start, left = len(units), count - len(units)
        widths = [left // frames] if arrangement == "frame_major" else range(1, left // frames + 1)
        fit = [width for width in widths if width and width * frames <= left and block(start, width)]
        told = [width for width in fit if (known[start : start + width] >= 0).any()]
        if not fit or (arrangement == "frame_major" and left % frames):
            return None
        width = min(told) if told else max(fit)
        units += [(start + k, age) for age in rising for k in range(width)]
    return units


def _held(pair: Pair, table: FrameTable, waiting: Sequence[int], heads: Whole) -> Held:
    """Which signal, or change of one per step, each element may hold, and how many steps ago that was."""
    held: Held = {j: [] for j in waiting}
    longest = len(table.rising) - 1
    delays = sorted({*range(_EARLIEST, longest * _STRIDES[-1] + _LATEST + 1)}, key=abs)
    for changes in (False, True):
        wanted = [j for j in waiting if not held[j]]
        sources = heads + table.size * changes
        values = np.stack([column(pair, pair.trained, int(source)) for source in sources], axis=1)
        for delay in delays:
            if not wanted:
                break
            rows = pair.sample(delay)
            rows = rows[rows - delay > 0]
            rows = rows[:: max(1, len(rows) // _SAMPLE)]
            if len(rows) < _FEWEST:
                continue
            near = likely(values[rows - delay], pair.found[rows][:, wanted], pair.judge)
            for at, k in np.argwhere(near):
                held[wanted[at]].append((int(sources[k]), delay))
    return held


def _whole(held: Held, table: FrameTable) -> dict[int, list[int]]:
    """Sources all of whose frames are held by one element each that can hold nothing else."""
    places: dict[int, list[int]] = {}
    for j in sorted(held):
        if len(held[j]) == 1:
            places.setdefault(held[j][0][0], []).append(j)
    return {s: some for s, some in places.items() if len(some) == len(table.ages(s))}


def _line(delays: Sequence[int], ages: Sequence[int]) -> int:
    """The slope of delays over ages; 0 where they lie on no line."""
    if len(ages) < 2:
        return 0
    slope = (delays[1] - delays[0]) * (ages[1] - ages[0])  # ages differ by one
    return slope if all(d - delays[0] == slope * (a - ages[0]) for d, a in zip(delays, ages, strict=True)) else 0


def _slope(held: Held, whole: dict[int, list[int]], table: FrameTable) -> int:
    """Steps between frames, below 0 where they stand the other way round; what most signals agree on, else 1."""
    slopes = [_line([held[j][0][1] for j in places], table.ages(s)) for s, places in whole.items()]
    votes = Counter(slope for slope in slopes if abs(slope) in _STRIDES)
    if not votes:
        return 1
    slope, count = votes.most_common(1)[0]
    return slope if count > _SHARE * sum(votes.values()) else 1


def _laid_out(base: Whole, table: FrameTable, slot_age: dict[int, int]) -> Whole:
    """What stands in the place of each element when frames are laid out as those of found are."""
    ages = [slot_age.get(j, -1) for j in range(len(base))]
    told = [j for j in slot_age if base[j] >= 0 and table.signal[base[j]] >= 0]
    moved = [j for j in told if table.age[base[j]] != slot_age[j]]
    if len(moved) <= _FEW_MOVED * len(told) or arrangement_of(ages) == table.arrangement:
        return base
    units = units_of(ages, table.rising, arrangement_of(ages))
    if units is not None:
        ages = [age for _, age in units]
    slots = base.copy()
    for age in table.rising:
        places = [j for j, one in enumerate(ages) if one == age and base[j] >= 0]
        columns = [i for i in range(table.size) if table.age[i] == age and table.framed(i)]
        if len(places) == len(columns):
            slots[places] = columns
    return slots if len(set(slots.tolist())) == len(slots) else base


def _places(
    held: Held, waiting: Sequence[int], whole: dict[int, list[int]], base: Whole, slope: int, table: FrameTable
) -> Held:
    """For each element the columns that it may hold and how late, the likeliest first."""
    stride = abs(slope)
    usual = {0}
    sure: dict[int, tuple[int, int]] = {}
    for s, places in whole.items():
        delays, ages = [held[j][0][1] for j in places], table.ages(s)
        if len(ages) > 1 and _line(delays, ages) != slope:
            continue
        for j, delay, age in zip(places, delays, ages if slope > 0 else reversed(ages), strict=True):
            found = table.column(s, age)
            assert found is not None
            sure[j] = found, delay - age
            usual.add(delay - age * stride)
    places_: Held = {}
    for j in waiting:
        here = int(base[j])
        age = int(table.age[here]) if here >= 0 else 0
        options: list[tuple[tuple[int, int, int], tuple[int, int]]] = []
        for s, delay in held[j]:
            beside, there = table.column(s, age), table.column(s, delay) if stride == 1 else None
            lag = delay - age * stride
            if beside is not None and lag in usual:
                options.append(((beside != here, abs(lag), abs(beside - here)), (beside, delay - age)))
            elif there is not None:
                options.append(((2, 0, abs(there - here)), (there, 0)))
            else:
                oldest = max(table.ages(s)) if beside is None else age
                found = table.column(s, oldest)
                assert found is not None
                options.append(((3, abs(lag), abs(found - here)), (found, delay - oldest)))
        places_[j] = [sure[j]] if j in sure else [option for _, option in sorted(options)]
    return places_
