"""From a model to the way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.correction import Correction, Prefill, Turn
from ganglion.wiring.paired.histories import filled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.observations import Observations
    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.model import AdapterModel
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]

_LIST = 8


def correction_of(pair: Pair, model: AdapterModel, trained: Observations) -> Correction:
    """The way back, and what it cannot bring back."""
    size = pair.trained.shape[1]
    index, lag = np.full(size, -1), np.zeros(size, np.int64)
    scale, offset = np.ones(size), np.zeros(size)
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    best: dict[int, tuple[tuple[bool, int, float], int, Fit]] = {}
    for j, fit in enumerate(model.fits):
        if fit is not None and fit.source < size:
            rank = (fit.cut, abs(fit.lag), fit.residual / abs(fit.gain))
            if fit.source not in best or rank < best[fit.source][0]:
                best[fit.source] = (rank, j, fit)
    cut, late, fills = [], [], []
    for i, (_, j, fit) in best.items():
        index[i], lag[i] = j, fit.lag
        scale[i], offset[i] = 1.0 / fit.gain, -fit.bias / fit.gain
        low[i], high[i] = fit.inner_low, fit.inner_high
        if math.isfinite(fit.low) or math.isfinite(fit.high):
            cut.append(i)
        if fit.lag:
            late.append(i)
        if fit.starts and not fit.lag:
            fills.append((i, j, fit))
    lost = [_lost(cut, trained, "found is cut, and what was beyond is gone")] if cut else []
    if late:
        lost.append(
            _lost(
                late,
                trained,
                "a delay can be undone in a log, and not in a controller: there, the last rows"
                " of an episode are missing",
            )
        )
    turns = []
    for group in reversed(model.turns):
        turn = group.turn
        if not group.exact:
            lost.append(_lost(turn.elements, trained, "how it is turned is not in the observation"))
        elif turn.matrix is not None:
            turns.append(Turn(turn.elements, turn.matrix.T.copy()))
        else:
            turns.append(Turn(turn.elements, None, turn.quaternion, -turn.power))
    for cover in model.covers:
        quads = [fit.source for j in cover.elements if (fit := model.fits[j]) is not None]
        lost.append(_lost(quads, trained, "which sign of the quaternion training has is not in found"))
    missing = [i for i in range(size) if index[i] < 0 and not any(i in g.turn.elements for g in model.turns)]
    if missing:
        lost.append(_lost(missing, trained, "found does not hold it"))
    prefills = _prefills(pair, model, fills)
    return Correction(index, scale, offset, lag, low, high, tuple(turns), tuple(prefills), tuple(lost))


def _prefills(pair: Pair, model: AdapterModel, fills: list[tuple[int, int, Fit]]) -> list[Prefill]:
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for i, j, fit in fills:
        how = filled(pair, model, j, fit, trained=True)
        head = int(model.chains.signal[i])
        if how == "zeros" or (how == "repeat" and head >= 0):
            groups.setdefault(how, []).append((i, head, fit.starts))
    return [
        Prefill(
            tuple(i for i, _, _ in some),
            how,
            () if how == "zeros" else tuple(head for _, head, _ in some),
            tuple(rows for _, _, rows in some),
        )
        for how, some in groups.items()
    ]


def _lost(elements: object, trained: Observations, why: str) -> str:
    numbers = sorted(int(i) for i in elements)  # type: ignore[attr-defined]
    said = [f"'{trained.names[i]}'" if trained.names else str(i) for i in numbers[:_LIST]]
    more = f" and {len(numbers) - _LIST} more" if len(numbers) > _LIST else ""
    return f"{', '.join(said)}{more}: {why}"


def check(pair: Pair, correction: Correction, corrected: Doubles) -> list[str]:
    """Elements that the correction does not put right, in a sentence each of which one is the worst."""
    fine = pair.settled
    off = np.abs(corrected - pair.trained)[fine]
    gain = np.abs(correction.scale)
    magnitude = np.abs(pair.trained).max(axis=0)
    allowed = np.array(
        [
            pair.judge.worst(float(size), float(some)) * (4.0 if correction.turns else 1.0)
            for size, some in zip(magnitude, gain, strict=True)
        ]
    )
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(np.nanmax(np.where(np.isnan(off), 0.0, off), axis=0) > 2.0 * allowed)
    return [f"element {int(i)} of trained: the correction leaves up to {np.nanmax(off[:, i]):.3g}" for i in wrong]
