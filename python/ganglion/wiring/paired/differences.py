"""Names velocities that are made of changes of positions: whose they are, and what else was done to them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.assignment import assign
from ganglion.wiring.paired.known import near

if TYPE_CHECKING:
    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.naming import Naming
    from ganglion.wiring.paired.pair import Pair

_ALIKE = 0.5
"""Correlation of a velocity and the change of its position; with less, nothing says that trained's are velocities."""
_SAME = 0.1
"""Share by which a measured velocity may be larger than the change of its position for no other reason than noise."""
_EQUAL, _NOISY = 2e-3, 0.02
"""Share by which a factor may miss a known one: of rounding, and of noise, which changes of positions have twice."""


def name(naming: Naming) -> None:
    """Velocities of other joints, with another factor or sign than a change per time has."""
    pair, model = naming.pair, naming.model
    size = pair.trained.shape[1]
    made: dict[int, Fit] = {
        j: fit
        for j, fit in enumerate(model.fits)
        if fit is not None and size <= fit.source < 2 * size and model.base[j] >= 0
    }
    if not made:
        return
    used = {fit.source for fit in model.fits if fit is not None}
    unused = {i for i in range(size) if i not in used and np.ptp(pair.trained[:, i]) > 0.0}
    partners = _partners(pair, unused, {fit.source - size for fit in made.values()})
    for j, fit in made.items():
        own = partners.get(_newest(pair, fit.source - size))
        here = int(model.base[j])
        if own is not None and own[0] != _newest(pair, here):
            naming.moved[j] = _frame(pair, own[0], pair.age(here))
    factor = _factor(pair, made, {p: slope for p, (_, slope) in partners.items()})
    groups: dict[float, dict[int, int]] = {}
    for j, fit in made.items():
        own_factor = fit.gain if factor is None else factor
        key = next((one for one in groups if math.isclose(one, own_factor, rel_tol=_EQUAL)), own_factor)
        groups.setdefault(key, {})[j] = fit.source - size
        naming.done(j, _told(fit.gain / key, _EQUAL if pair.judge.tolerance is None else _NOISY), fit.bias)
    for key, places in groups.items():
        value = {"of": "finite_difference", "position": list(places.values()), "factor": key}
        naming.add("lag", places, value)


def _newest(pair: Pair, column: int) -> int:
    """The column of the newest frame of the same signal."""
    signal = int(pair.chains.signal[column])
    return signal if signal >= 0 else column


def _frame(pair: Pair, newest: int, age: int) -> int:
    chains = pair.chains
    there = np.flatnonzero((chains.signal == newest) & (chains.age == age))
    return int(there[0]) if len(there) else newest


def _partners(pair: Pair, velocities: set[int], positions: set[int]) -> dict[int, tuple[int, float]]:
    """For each position trained's velocity of it, and how many times its change per step that is; or nothing."""
    v = sorted({_newest(pair, i) for i in velocities})
    p = sorted({_newest(pair, i) for i in positions})
    rows = pair.rows(1)
    if len(v) < len(p) or len(rows) < 8:
        return {}
    # A change per step is the mean velocity of the step.
    speed = 0.5 * (pair.trained[rows][:, v] + pair.trained[rows - 1][:, v])
    change = pair.trained[rows][:, p] - pair.trained[rows - 1][:, p]
    speed, change = speed - speed.mean(axis=0), change - change.mean(axis=0)
    sizes = np.sqrt((speed**2).mean(axis=0)), np.sqrt((change**2).mean(axis=0))
    alike = (change.T @ speed) / len(rows) / np.maximum(sizes[1][:, None] * sizes[0], 1e-300)
    chosen = assign(1.0 - np.abs(alike))
    told = alike[np.arange(len(p)), chosen]
    if float(np.median(np.abs(told))) < _ALIKE:
        return {}
    return {
        one: (v[k], float(math.copysign(sizes[0][k] / max(sizes[1][at], 1e-300), told[at])))
        for at, (one, k) in enumerate(zip(p, chosen, strict=True))
    }


def _factor(pair: Pair, made: dict[int, Fit], slopes: dict[int, float]) -> float | None:
    """What a change per step is multiplied with to be what trained holds; None where nothing tells it from the rest."""
    size = pair.trained.shape[1]
    gains = Counter(float(f"{abs(fit.gain):.3g}") for fit in made.values())
    usual, count = gains.most_common(1)[0]
    same = [abs(fit.gain) for fit in made.values() if math.isclose(abs(fit.gain), usual, rel_tol=0.01)]
    shared = float(np.median(same)) if 2 * count > len(made) else None
    if not slopes:
        return shared
    own = float(np.median([abs(slopes[_newest(pair, fit.source - size)]) for fit in made.values()]))
    if shared is None:
        return float(f"{own:.2g}")
    ratio = shared / own
    if abs(math.log(ratio)) < _SAME:
        return shared
    known = [one for one in near(ratio) if one != 1.0]
    return shared / known[0] if known else float(f"{own:.2g}")


def _told(factor: float, share: float) -> float:
    """A factor, by its name where it is a known one."""
    return next((one for one in near(factor, share)), factor)
