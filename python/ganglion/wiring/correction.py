"""The way back from `found` to `trained`: arrays that a controller can hold, as data, as YAML and as NumPy code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Turn:
    """Elements of `trained` that are made of each other by a matrix, or by the base's orientation.

    Attributes:
        elements: of trained; three of a vector, or four of a quaternion.
        matrix: `[k, k]`, the same for every row; None where the orientation says it.
        quaternion: where the orientation stands in trained, as w, x, y, z; empty for a fixed matrix.
        power: how often it is turned from body to world; below 0 from world to body.
    """

    elements: tuple[int, ...]
    matrix: Doubles | None = None
    quaternion: tuple[int, ...] = ()
    power: int = 1

    def apply(self, values: Doubles) -> None:
        """Turns these elements of `values` `[N, n]` in place."""
        part = values[:, self.elements]
        if self.matrix is not None:
            values[:, self.elements] = part @ self.matrix.T
            return
        matrix = rotation_matrices(values[:, self.quaternion])
        if self.power < 0:
            matrix = matrix.swapaxes(1, 2)
        for _ in range(abs(self.power)):
            part = np.einsum("nij,nj->ni", matrix, part)
        values[:, self.elements] = part


@dataclass(frozen=True)
class Prefill:
    """What elements of `trained` hold in the rows behind a reset.

    Attributes:
        elements: of trained.
        filled: `"zeros"`; `"repeat"`: what `newest` held in the row of the reset.
        newest: element of trained that holds the newest frame of each of `elements`; empty for zeros.
        rows: how many rows behind a reset each of `elements` is filled.
    """

    elements: tuple[int, ...]
    filled: str
    newest: tuple[int, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Correction:
    """Makes `trained` of `found`, in the order of these attributes.

    Attributes:
        index: `[n]`: the element of found that each element of trained is made of; -1 where there is none.
        scale: `[n]`, and
        offset: `[n]`: trained = scale * found[index] + offset.
        lag: `[n]`: found is so many steps late, so row t is made of row t + lag. A log can be put right so; a
            controller has to be changed where the delay comes from.
        low: `[n]`, and
        high: `[n]`: then clipped; infinite where not.
        turns: then turned, in this order.
        prefills: then the rows behind a reset.
        lost: what cannot be undone, a sentence each.
    """

    index: NDArray[np.int64]
    scale: Doubles
    offset: Doubles
    lag: NDArray[np.int64]
    low: Doubles
    high: Doubles
    turns: tuple[Turn, ...] = ()
    prefills: tuple[Prefill, ...] = ()
    lost: tuple[str, ...] = field(default=())

    def apply(self, found: Any, reset: Any = None) -> Doubles:
        """Puts observations right.

        Args:
            found: `[N, m]`, what the adapter gave.
            reset: `[N]`: an episode begins in this row; None where the first row is the only one.

        Returns:
            `[N, n]`, float64, like trained; NaN where found does not hold it.
        """
        values = np.asarray(found, np.float64)
        begins = np.zeros(len(values), np.bool_) if reset is None else np.array(reset, np.bool_)
        begins[:1] = True
        made = np.full((len(values), len(self.index)), np.nan)
        there = np.flatnonzero(self.index >= 0)
        made[:, there] = self.scale[there] * values[:, self.index[there]] + self.offset[there]
        for steps in np.unique(self.lag[self.lag != 0]):
            late = np.flatnonzero(self.lag == steps)
            made[:, late] = _earlier(made[:, late], begins, int(steps))
        np.clip(made, self.low, self.high, out=made)
        for turn in self.turns:
            turn.apply(made)
        for prefill in self.prefills:
            _fill(made, begins, prefill)
        return made

    def to_json(self) -> dict[str, Any]:
        """The correction as plain data; the keys are the attributes, and infinities are null."""
        return {
            "index": self.index.tolist(),
            "scale": self.scale.tolist(),
            "offset": self.offset.tolist(),
            "lag": self.lag.tolist(),
            "low": [value if np.isfinite(value) else None for value in self.low.tolist()],
            "high": [value if np.isfinite(value) else None for value in self.high.tolist()],
            "turns": [
                {
                    "elements": list(turn.elements),
                    "matrix": None if turn.matrix is None else turn.matrix.tolist(),
                    "quaternion": list(turn.quaternion),
                    "power": turn.power,
                }
                for turn in self.turns
            ],
            "prefills": [
                {
                    "elements": list(one.elements),
                    "filled": one.filled,
                    "newest": list(one.newest),
                    "rows": list(one.rows),
                }
                for one in self.prefills
            ],
            "lost": list(self.lost),
        }

    def to_yaml(self) -> str:
        """The correction as YAML: arrays for the deployment file of a controller, with what to do with them."""
        lines = [
            "# trained = clip(scale * found[index] + offset, low, high), then the turns in order.",
            "# index -1: found does not hold it. lag: found comes so many steps late; change the adapter itself there.",
            "# quaternion: where w, x, y, z stand in trained; power 1 turns from body to world, -1 back.",
        ]
        for name, value in self.to_json().items():
            if isinstance(value, list) and value and isinstance(value[0], (dict, str)):
                lines.append(f"{name}:")
                lines += [f"  - {json.dumps(one)}" for one in value]
            else:
                lines.append(f"{name}: {json.dumps(value)}")
        return "\n".join(lines) + "\n"


def rotation_matrices(quaternion: Doubles) -> Doubles:
    """Rotation matrices `[N, 3, 3]`, body to world, of quaternions `[N, 4]` in the order w, x, y, z."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True).clip(1e-12)).T
    matrices: Doubles = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=1,
    )
    return matrices


def rows_since_reset(begins: NDArray[np.bool_]) -> NDArray[np.int64]:
    """`[N]`: how many rows ago an episode began; 0 in its first row."""
    rows = np.arange(len(begins))
    return rows - np.maximum.accumulate(np.where(begins, rows, 0))


def _earlier(values: Doubles, begins: NDArray[np.bool_], steps: int) -> Doubles:
    """Row t + steps in row t, NaN where that is another episode."""
    rows = np.arange(len(values))
    episode = np.cumsum(begins)
    to = np.clip(rows + steps, 0, len(values) - 1)
    same = (rows + steps == to) & (episode[to] == episode)
    return np.where(same[:, None], values[to], np.nan)


def _fill(values: Doubles, begins: NDArray[np.bool_], prefill: Prefill) -> None:
    since = rows_since_reset(begins)
    starts = np.arange(len(since)) - since
    before = values.copy()
    for place, element in enumerate(prefill.elements):
        early = np.flatnonzero(since < prefill.rows[place])
        filled = 0.0 if prefill.filled == "zeros" else before[starts[early], prefill.newest[place]]
        values[early, element] = filled
