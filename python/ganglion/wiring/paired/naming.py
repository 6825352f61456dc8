"""From a model to edits: what a person calls it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.wiring.edits import Edit
from ganglion.wiring.paired import differences, histories, sentences, vectors
from ganglion.wiring.paired.closest import closest
from ganglion.wiring.paired.known import unit_of
from ganglion.wiring.runs import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ganglion.wiring.observations import Observations
    from ganglion.wiring.paired.model import AdapterModel
    from ganglion.wiring.paired.pair import Pair

_ORDER = (
    "history_order",
    "history_layout",
    "permutation",
    "quaternion_order",
    "quaternion_conjugate",
    "frame",
    "lag",
    "sign",
    "scale",
    "unit",
    "double_normalised",
    "offset",
    "clip",
    "prefill",
)
"""The order in which edits are made."""
_OWN_SHARE = 0.5
_FEWEST_OWN = 3
_FEWEST_MET = 3
_NEAR = 3.0
"""Noises between limits that are one."""
_SAME_MATRIX = 0.01


@dataclass
class Naming:
    """What is still to be named, by element of found.

    Attributes:
        pair: both recordings.
        model: what makes found.
        names: of trained.
        moved: which element of trained stands there.
        negative: whose sign is changed.
        factors: the size of the gain, where it is not 1.
        offsets: what is added, where that is not 0.
        edits: place in the order, kind, elements and value of what has been named.
    """

    pair: Pair
    model: AdapterModel
    names: tuple[str, ...]
    moved: dict[int, int] = field(default_factory=dict)
    negative: set[int] = field(default_factory=set)
    factors: dict[int, float] = field(default_factory=dict)
    offsets: dict[int, float] = field(default_factory=dict)
    edits: list[tuple[float, str, tuple[int, ...], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = self.pair.trained.shape[1]
        for j, fit in enumerate(self.model.fits):
            if fit is None:
                continue
            if fit.source < size and fit.source != self.model.base[j]:
                self.moved[j] = fit.source
            if fit.source < size:  # else a factor is 1 / dt, or what a previous action is multiplied with
                self.done(j, fit.gain, fit.bias)
        for group in self.model.turns:
            if not group.exact:
                for j in group.elements:
                    self.done(j, group.gain, 0.0)

    def done(self, element: int, gain: float, bias: float) -> None:
        """Leaves a factor with its sign, and an offset, to be named."""
        if gain < 0.0:
            self.negative.add(element)
        if abs(gain) != 1.0:
            self.factors[element] = abs(gain)
        if bias != 0.0:
            self.offsets[element] = bias

    def add(self, kind: str, elements: Any, value: Any, before: str = "") -> None:
        """Names an edit; it is made where its kind is, or before all of another kind."""
        place = _ORDER.index(before) - 0.5 if before else _ORDER.index(kind)
        self.edits.append((place, kind, tuple(int(j) for j in elements), value))


def edits_of(pair: Pair, model: AdapterModel, found: Observations, trained: Observations) -> tuple[Edit, ...]:
    """The edits of a model, in the order in which they are made."""
    naming = Naming(pair, model, trained.names)
    _turns(naming)
    vectors.gravity(naming, down=True)
    vectors.quaternions(naming)
    vectors.gravity(naming)
    vectors.mounted(naming)
    histories.name(naming)
    differences.name(naming)
    if naming.moved:
        naming.add("permutation", naming.moved, list(naming.moved.values()))
    if naming.negative:
        naming.add("sign", sorted(naming.negative), -1)
    _normaliser(naming)
    _factors(naming)
    _offsets(naming)
    _clips(naming)
    _lags(naming)
    histories.prefill(naming)
    residuals = model.residuals(pair)
    edits = []
    for _, kind, elements, value in sorted(naming.edits, key=lambda one: one[0]):
        names = tuple(found.names[j] for j in elements) if found.names else ()
        left = [float(residuals[j]) for j in elements if not math.isnan(residuals[j])]
        said = sentences.sentence(kind, elements, value, found, trained)
        edits.append(Edit(kind, elements, names, value, max(left, default=0.0), said))
    return (*edits, *_unexplained(pair, model, found, trained))


def _turns(naming: Naming) -> None:
    """A mounting turns several vectors the same way."""
    fixed: list[tuple[Any, list[int]]] = []
    for group in naming.model.turns:
        elements = list(group.elements)
        if group.value["kind"] != "fixed":
            alike = next((some for value, some in fixed if value == group.value), None)
        else:
            alike = next(
                (
                    some
                    for value, some in fixed
                    if value["kind"] == "fixed"
                    and np.shape(value["matrix"]) == np.shape(group.value["matrix"])
                    and np.abs(np.subtract(value["matrix"], group.value["matrix"])).max() <= _SAME_MATRIX
                ),
                None,
            )
        if alike is None:
            fixed.append((group.value, elements))
        else:
            alike += elements
    for value, elements in fixed:
        naming.add("frame", sorted(elements), value)


def _normaliser(naming: Naming) -> None:
    """Elements that all have a factor and an offset of their own."""
    own = {
        j: round(factor, 6) for j, factor in naming.factors.items() if unit_of(factor) is None and j in naming.offsets
    }
    moving = [j for j, fit in enumerate(naming.model.fits) if fit is not None and np.ptp(naming.pair.found[:, j]) > 0.0]
    signals = naming.pair.chains.signal
    sources = [fit.source for j in own if (fit := naming.model.fits[j]) is not None]
    single = {int(signals[i]) if i < len(signals) and signals[i] >= 0 else i for i in sources}
    few = len(own) < _FEWEST_OWN or len(set(own.values())) < _OWN_SHARE * len(single)  # frames may share theirs
    if few or len(own) < _OWN_SHARE * len(moving):
        return
    elements = sorted({*naming.factors, *naming.offsets})
    gains = [naming.factors.pop(j, 1.0) for j in elements]
    biases = [naming.offsets.pop(j, 0.0) for j in elements]
    signs = [-1.0 if j in naming.negative else 1.0 for j in elements]
    value = {
        "mean": [-bias / gain for bias, gain, _ in zip(biases, gains, signs, strict=True)],
        "std": [1.0 / gain for gain in gains],
    }
    naming.add("double_normalised", elements, value)


def _factors(naming: Naming) -> None:
    groups: dict[float, list[int]] = {}
    for j, factor in naming.factors.items():
        key = next((known for known in groups if math.isclose(known, factor, rel_tol=1e-9)), factor)
        groups.setdefault(key, []).append(j)
    alone = sorted(j for some in groups.values() if len(some) == 1 for j in some)
    runs = [run for run in runs_of(alone) if len(run) > 1]
    inside = {j for run in runs for j in run}
    for factor, elements in groups.items():
        elements = [j for j in elements if j not in inside]
        unit = unit_of(factor)
        if elements and unit is not None:
            naming.add("unit", elements, {"from": unit.trained, "to": unit.found, "factor": factor})
        elif elements:
            naming.add("scale", elements, factor)
    for run in runs:
        naming.add("scale", run, [naming.factors[j] for j in run])


def _offsets(naming: Naming) -> None:
    if naming.offsets:
        values = list(naming.offsets.values())
        naming.add("offset", naming.offsets, values[0] if len(set(values)) == 1 else values)


def _clips(naming: Naming) -> None:
    """Limits of the same size are one clip; those that training has itself are none."""
    near = _NEAR * naming.pair.judge.noise()
    cuts: dict[tuple[float, bool], dict[int, tuple[float, float]]] = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or not fit.cut:
            continue
        missing = math.isfinite(fit.inner_low) or math.isfinite(fit.inner_high)
        low, high = (fit.inner_low, fit.inner_high) if missing else (fit.low, fit.high)
        sizes = [abs(limit) for limit in (low, high) if math.isfinite(limit)]
        changed = fit.gain != 1.0 or fit.bias != 0.0
        if missing and changed and float(np.abs(naming.pair.found[:, j]).max()) <= max(sizes) * (1.0 + 1e-6):
            continue  # found is cut as trained is, and what was done before the cut lets it cut less
        alike = [one for one, of in cuts if of == missing and math.isclose(one, max(sizes), rel_tol=1e-3, abs_tol=near)]
        cuts.setdefault((alike[0] if alike else max(sizes), missing), {})[j] = (low, high)
    for (size, missing), limits in cuts.items():
        fits = [fit for j in limits if (fit := naming.model.fits[j]) is not None]
        changed = all(fit.gain != 1.0 or fit.bias != 0.0 for fit in fits)
        if not missing and changed and is_limit(naming.pair, {fit.source for fit in fits}, size):
            continue  # found is cut where trained is
        lows, highs = zip(*limits.values(), strict=True)
        value = {"low": _usual(lows), "high": _usual(highs), "of": "trained" if missing else "found"}
        naming.add("clip", limits, value)


def is_limit(pair: Pair, sources: set[int], size: float) -> bool:
    """Whether one of these columns of trained is cut at a limit of this size."""
    for column in pair.trained[:, sorted(i for i in sources if i < pair.trained.shape[1])].T:
        for end in (float(column.min()), float(column.max())):
            met = int((np.abs(column - end) <= pair.judge.rounding(abs(end))).sum())
            if math.isclose(abs(end), size, rel_tol=1e-3) and _FEWEST_MET <= met < len(column):
                return True
    return False


def _usual(limits: Iterable[float]) -> float | None:
    """The one in the middle of those that are met."""
    met = sorted(limit for limit in limits if math.isfinite(limit))
    return met[len(met) // 2] if met else None


def _lags(naming: Naming) -> None:
    pair, model = naming.pair, naming.model
    size = pair.trained.shape[1]
    late: dict[tuple[int, str], list[int]] = {}
    previous = previous_actions(pair)
    for group in model.turns:
        steps = group.lag - int(model.frames.late[group.elements[0]])
        if not group.exact and steps:
            late.setdefault((steps, "observation"), []).extend(group.elements)
    for j, fit in enumerate(model.fits):
        if fit is None or model.base[j] < 0:
            continue
        if size <= fit.source < 2 * size:
            continue  # see `differences`
        if fit.source >= 2 * size:
            late.setdefault((fit.lag - 1, "action"), []).append(j)
        elif fit.lag != model.late(fit):
            newest = int(model.chains.signal[fit.source])
            of = "previous_action" if {fit.source, newest} & previous else "observation"
            late.setdefault((fit.lag - model.late(fit), of), []).append(j)
    for (steps, of), elements in late.items():
        value: dict[str, Any] = {"steps": steps, "of": of}
        if of == "action":
            fits = [model.fits[j] for j in elements]
            value = {
                "steps": steps,
                "of": "previous_action",
                "action": [fit.source - 2 * size for fit in fits if fit is not None],
                "factor": [fit.gain for fit in fits if fit is not None],
            }
        naming.add("lag", elements, value)


def previous_actions(pair: Pair) -> set[int]:
    """Elements of trained that hold what an action of the row before was, times a factor."""
    if pair.action is None:
        return set()
    rows = pair.sample(1)
    if len(rows) < 8:
        return set()
    before = pair.action[rows - 1]
    found = set()
    for i in range(pair.trained.shape[1]):
        own = pair.trained[rows, i]
        spread = float(own.std())
        if spread <= 0.0:
            continue
        square = np.maximum(((before - before.mean(axis=0)) ** 2).sum(axis=0), 1e-300)
        product = (before - before.mean(axis=0)).T @ (own - own.mean())
        left = np.sqrt(np.maximum(((own - own.mean()) ** 2).sum() - product**2 / square, 0.0) / len(rows))
        if float(left.min(initial=np.inf)) <= 1e-4 * spread:
            found.add(i)
    return found


def _unexplained(pair: Pair, model: AdapterModel, found: Observations, trained: Observations) -> list[Edit]:
    known = {j for group in model.turns for j in group.elements if not group.exact}
    edits = []
    for j, fit in enumerate(model.fits):
        if fit is None and j not in known:
            value, residual = closest(pair, j)
            names = (found.names[j],) if found.names else ()
            said = sentences.sentence("unexplained", (j,), value, found, trained)
            edits.append(Edit("unexplained", (j,), names, value, residual, said))
    return edits
