"""Names what was done to histories: order and layout of frames, steps between them, what fills them behind a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.wiring.paired.fit import magnitude_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.model import Model
    from ganglion.wiring.paired.naming import Naming
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]


def name(naming: Naming) -> None:
    """Order, layout, steps between frames, and frames too many."""
    _extra(naming)
    _stride(naming)
    _order(naming)


def _extra(naming: Naming) -> None:
    model, chains = naming.model, naming.model.chains
    extra = []
    for j, fit in enumerate(model.fits):
        if model.base[j] < 0 and fit is not None and fit.lag > 0 and fit.source < len(chains.age):
            extra.append(j)
    if extra:
        sources = [fit.source for j in extra if (fit := model.fits[j]) is not None]
        lags = {fit.lag for j in extra if (fit := model.fits[j]) is not None}
        frames = int(chains.frames[sources].max())
        shifted = [j for j, i in enumerate(model.base) if i >= 0 and i != j]
        naming.add("history_layout", sorted([*extra, *shifted]), {"frames": frames, "extra_frames": len(lags)})
        for j in extra:
            naming.moved.pop(j, None)


def _stride(naming: Naming) -> None:
    model = naming.model
    if model.stride is None:
        return
    late = strided(naming)
    frames = int(max(model.chains.frames[fit.source] for j in late if (fit := model.fits[j]) is not None))
    naming.add("history_layout", late, {"frames": frames, "stride": model.stride})


def strided(naming: Naming) -> list[int]:
    """Elements of found that are late because frames are farther apart."""
    model = naming.model
    if model.stride is None:
        return []
    return [
        j
        for j, fit in enumerate(model.fits)
        if fit is not None
        and fit.source < len(model.chains.age)
        and fit.lag > 0
        and fit.lag == model.chains.age[fit.source] * (model.stride - 1)
    ]


def _order(naming: Naming) -> None:
    model, chains = naming.model, naming.model.chains
    own: dict[int, int] = {}  # by element of found: the column of trained in its place, and
    held: dict[int, int] = {}  # the one that is there
    for j, fit in enumerate(model.fits):
        if fit is None or model.base[j] < 0 or fit.source >= len(chains.age):
            continue
        base, source = int(model.base[j]), naming.moved.get(j, int(model.base[j]))
        if chains.signal[base] >= 0 and chains.signal[source] >= 0:
            own[j], held[j] = base, source
    if all(chains.age[own[j]] == chains.age[held[j]] for j in own):
        return
    column = {(int(chains.signal[i]), int(chains.age[i])): i for i in range(len(chains.age)) if chains.signal[i] >= 0}
    turned = [j for j in own if chains.age[held[j]] == chains.frames[own[j]] - 1 - chains.age[own[j]]]
    signals: dict[int, list[int]] = {}
    for j in own:
        signals.setdefault(int(chains.signal[own[j]]), []).append(j)
    kept = {j for j in own if chains.age[held[j]] == chains.age[own[j]]}
    by_signal = [set(some) <= set(turned) or set(some) <= kept for some in signals.values()]
    if all(by_signal):
        elements = [j for some in signals.values() if set(some) <= set(turned) for j in some if own[j] != held[j]]
        frames = int(chains.frames[own[elements[0]]])
        for j in elements:
            naming.moved.pop(j, None)
            there = column.get((int(chains.signal[held[j]]), int(chains.age[own[j]])))
            if there is not None and there != own[j]:
                naming.moved[j] = there
        naming.add("history_order", [j for j in elements if chains.age[held[j]] != chains.age[own[j]]], {"frames": frames})
        return
    _layout(naming, own, held)


def _layout(naming: Naming, own: dict[int, int], held: dict[int, int]) -> None:
    """Frames stand elsewhere: the signals of each age are laid beside one another in the order that they have."""
    chains = naming.model.chains
    frames = int(max(chains.frames[i] for i in own.values()))
    before = _arrangement([int(chains.age[own[j]]) for j in sorted(own)])
    after = _arrangement([int(chains.age[held[j]]) for j in sorted(held)])
    if before == after:
        return
    moved = []
    for age in range(frames):
        slots = sorted(j for j in held if chains.age[held[j]] == age)
        columns = sorted(i for i in own.values() if chains.age[i] == age)
        if len(slots) != len(columns):
            return
        for j, i in zip(slots, columns, strict=True):
            if held[j] != own[j]:
                moved.append(j)
            naming.moved.pop(j, None)
            if held[j] != i:
                naming.moved[j] = held[j]
    value: dict[str, Any] = {"frames": frames, "trained": before, "found": after}
    span = range(min(moved), max(moved) + 1)
    still = [j for j in naming.moved if j in span and j not in held]  # what hardly moves has no age, and goes along
    for j in still:
        naming.moved.pop(j)
    naming.add("history_layout", sorted([*moved, *still]), value)
    if _rising(chains.age, chains.signal, own) != _rising(chains.age, chains.signal, held):
        naming.add("history_order", sorted(moved), {"frames": frames})


def _arrangement(ages: list[int]) -> str:
    """Whether each age stands together once."""
    runs = 1 + sum(one != other for one, other in zip(ages, ages[1:], strict=False))
    return "frame_major" if runs == len(set(ages)) else "term_major"


def _rising(age: NDArray[np.int64], signal: NDArray[np.int64], labels: dict[int, int]) -> bool:
    """Whether newer frames stand first."""
    up = 0
    last: dict[int, int] = {}
    for j in sorted(labels):
        i = labels[j]
        before = last.get(int(signal[i]))
        if before is not None:
            up += 1 if age[i] > before else -1
        last[int(signal[i])] = int(age[i])
    return up > 0


def prefill(naming: Naming) -> None:
    """Rows behind a reset that differ where all others agree."""
    pair = naming.pair
    groups: dict[tuple[str, str], dict[int, int]] = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or fit.starts == 0 or fit.lag != 0 or fit.source >= pair.trained.shape[1]:
            continue
        kinds = (filled(pair, naming.model, j, fit, trained=True), filled(pair, naming.model, j, fit, trained=False))
        groups.setdefault(kinds, {})[j] = fit.starts
    if not groups:
        return
    first = max(groups, key=lambda kinds: len(groups[kinds]))
    rows = {j: starts for some in groups.values() for j, starts in some.items()}
    rows |= _faint(naming, max(rows.values()))
    value = {"trained": first[0], "found": first[1], "rows": max(rows.values())}
    naming.add("prefill", sorted(rows), value)


def _faint(naming: Naming, rows: int) -> dict[int, int]:
    """Elements of histories that differ behind a reset by little more than the noise, where others do so by much."""
    pair = naming.pair
    early = np.flatnonzero(pair.since < rows)
    found = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or fit.starts or fit.lag or fit.source >= pair.trained.shape[1]:
            continue
        if naming.model.chains.signal[fit.source] < 0:
            continue
        source = pair.trained[early, fit.source]
        off = np.abs(pair.found[early, j] - fit.of(source))
        if off.max(initial=0.0) > pair.judge.allowed(magnitude_of(fit, source, pair.found[early, j]), fit.gain):
            found[j] = rows
    return found


def filled(pair: Pair, model: Model, j: int, fit: Fit, *, trained: bool) -> str:
    """What fills an element behind a reset: zeros, the first frame, or something else."""
    chains = model.chains
    rows = np.flatnonzero(pair.since < fit.starts)
    values = pair.trained[rows, fit.source] if trained else (pair.found[rows, j] - fit.bias) / fit.gain
    raw = pair.trained[rows, fit.source] if trained else pair.found[rows, j]
    other = (pair.found[rows, j] - fit.bias) / fit.gain if trained else pair.trained[rows, fit.source]
    allowed = pair.judge.worst(float(np.abs(pair.trained[:, fit.source]).max()), 1.0 / fit.gain)
    bad = np.abs(values - other) > allowed
    if not bad.any():
        return "other"
    if (np.abs(values[bad]) <= allowed).all() or (np.abs(raw[bad]) <= allowed * abs(fit.gain)).all():
        return "zeros"
    head = int(chains.signal[fit.source])
    newest = pair.trained[rows - pair.since[rows], head if head >= 0 else fit.source]
    return "repeat" if (np.abs(values - newest)[bad] <= allowed).all() else "other"
