"""Both recordings as the search walks over them: columns, episodes, and rows that nothing at a reset can touch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.correction import rows_since_reset
from ganglion.wiring.paired.chains import chains_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.observations import Observations
    from ganglion.wiring.paired.chains import Chains
    from ganglion.wiring.paired.judge import NoiseJudge

    Doubles = NDArray[np.float64]

_SETTLED = (64, 32, 16, 8, 4, 2, 1)
_SAMPLE = 1500
_FEWEST = 32
_JUMP = 3.0
_FEW = 3


@dataclass(frozen=True, eq=False)
class Pair:
    """Two recordings of the same moments.

    Attributes:
        trained: `[N, n]`.
        found: `[N, m]`.
        begins: `[N]`: an episode begins here.
        judge: what counts as equal.
        action: `[N, k]`, or None.
    """

    trained: Doubles
    found: Doubles
    begins: NDArray[np.bool_]
    judge: NoiseJudge
    action: Doubles | None
    _rows: dict[int, NDArray[np.int64]] = field(default_factory=dict, init=False)

    @cached_property
    def trained_cut(self) -> NDArray[np.bool_]:
        """`[N, n]`: values of trained at a limit that their column meets again and again."""
        return _cut(self.trained, self.judge)

    @cached_property
    def found_cut(self) -> NDArray[np.bool_]:
        """`[N, m]`: the same of found."""
        return _cut(self.found, self.judge)

    @cached_property
    def chains(self) -> Chains:
        """Histories in trained."""
        return chains_of(self)

    def age(self, source: int) -> int:
        """Of the frame that a column of the sources is (see `model.column`); 0 outside of histories."""
        return int(self.chains.age[source % self.trained.shape[1]]) if source < 2 * self.trained.shape[1] else 0

    @cached_property
    def since(self) -> NDArray[np.int64]:
        """`[N]`: rows since the episode began."""
        return rows_since_reset(self.begins)

    @cached_property
    def left(self) -> NDArray[np.int64]:
        """`[N]`: rows until the episode ends."""
        return rows_since_reset(np.append(self.begins[1:], True)[::-1])[::-1]

    @cached_property
    def start_rows(self) -> int:
        """Rows behind a reset that are looked at for themselves: what fills a history is there."""
        for rows in _SETTLED:
            kept = int((self.since >= rows).sum())
            if kept >= max(_FEWEST, len(self.since) // 2):
                return rows
        return 0

    @cached_property
    def settled(self) -> NDArray[np.bool_]:
        """`[N]`: rows far enough behind a reset."""
        return self.since >= self.start_rows

    def valid(self, lag: int) -> NDArray[np.bool_]:
        """`[N]`: settled rows whose row `lag` steps before is in the same episode."""
        return self.settled & ((self.since >= lag) if lag >= 0 else (self.left >= -lag))

    def rows(self, lag: int) -> NDArray[np.int64]:
        """The numbers of these rows."""
        if lag not in self._rows:
            self._rows[lag] = np.flatnonzero(self.valid(lag))
        return self._rows[lag]

    def sample(self, lag: int) -> NDArray[np.int64]:
        """Some of these rows, the same ones each time, with no period."""
        rows = self.rows(lag)
        if len(rows) > _SAMPLE:
            rows = np.sort(np.random.default_rng(0).choice(rows, _SAMPLE, replace=False))
        return rows


def _cut(values: Doubles, judge: NoiseJudge) -> NDArray[np.bool_]:
    cut = np.zeros(values.shape, np.bool_)
    for number, column in enumerate(values.T):
        for end in (float(column.min()), float(column.max())):
            at = np.abs(column - end) <= 2.0 * judge.allowed(abs(end))
            if _FEW <= int(at.sum()) < len(column) // 2:
                cut[:, number] |= at
    return cut


def begins_of(trained: Observations, found: Observations) -> tuple[NDArray[np.bool_], bool]:
    """Where episodes begin, and whether that is told: by either side, else by jumps of most elements at once."""
    if trained.told or found.told:
        begins = np.zeros(trained.rows, np.bool_)
        for side in (trained, found):
            if side.told:
                begins |= side.reset
        return begins, True
    begins = trained.reset.copy()
    steps = np.abs(np.diff(trained.values, axis=0))
    usual = np.quantile(steps, 0.9, axis=0) if len(steps) else np.zeros(trained.size)
    moving = usual > 0.0
    if moving.any():
        begins[1:] |= np.median(steps[:, moving] / usual[moving], axis=1) > _JUMP
    return begins, False
