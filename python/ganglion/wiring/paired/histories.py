"""Names what was done to histories: order and layout of frames, steps between them, what fills them behind a reset."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.fit import magnitude_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring.paired.fit import Fit
    from ganglion.wiring.paired.model import AdapterModel
    from ganglion.wiring.paired.naming import Naming
    from ganglion.wiring.paired.pair import Pair

    Doubles = NDArray[np.float64]


_MORE_THAN_NOISE = 2.0
"""Of a few rows the root mean square may be larger than that of all."""


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
        still = [j for j, fit in enumerate(model.fits) if model.base[j] < 0 and fit is not None and fit.lag == 0]
        sources = [fit.source for j in extra if (fit := model.fits[j]) is not None]
        lags = {fit.lag for j in extra if (fit := model.fits[j]) is not None}
        frames = int(chains.frames[sources].max())
        shifted = [j for j, i in enumerate(model.base) if i >= 0 and i != j]
        naming.add("history_layout", sorted([*extra, *still, *shifted]), {"frames": frames, "extra_frames": len(lags)})
        for j in (*extra, *still):
            naming.moved.pop(j, None)


def _stride(naming: Naming) -> None:
    model = naming.model
    if model.stride is None:
        return
    late = strided(naming)
    frames = int(max(model.chains.frames[model.base[j]] for j in late))
    naming.add("history_layout", late, {"frames": frames, "stride": model.stride})


def strided(naming: Naming) -> list[int]:
    """Elements of found that are late because frames are farther apart."""
    model = naming.model
    if model.stride is None:
        return []
    size = len(model.chains.age)
    return [
        j
        for j, fit in enumerate(model.fits)
        if fit is not None
        and fit.lag > 0
        and (fit.lag == model.chains.age[model.base[j]] * (model.stride - 1) or size <= fit.source < 2 * size)
    ]


def _order(naming: Naming) -> None:
    """Frames in another order or layout: whatever leaves the least to be said of the rest."""
    model, chains = naming.model, naming.model.chains
    held = {
        j: naming.moved.get(j, int(fit.source))
        for j, fit in enumerate(model.fits)
        if fit is not None and model.base[j] >= 0 and fit.source < len(chains.age)
    }
    held = {j: i for j, i in held.items() if chains.signal[i] >= 0}
    if not any(j in naming.moved for j in held):
        return
    column = {(int(chains.signal[i]), int(chains.age[i])): i for i in range(len(chains.age)) if chains.signal[i] >= 0}
    turned = {j: column[int(chains.signal[i]), int(chains.frames[i] - 1 - chains.age[i])] for j, i in held.items()}
    plain = {j: int(model.base[j]) for j in held}
    tries: list[tuple[int, dict[int, int], dict[int, int], bool]] = [(_breaks(held, plain), held, plain, False)]
    tries.append((1 + _breaks(turned, plain), turned, plain, True))
    for labels, order in ((held, False), (turned, True)):
        slots = _slots(naming, labels)
        if slots is not None:
            tries.append((1 + order + _breaks(labels, slots), labels, slots, order))
    _, labels, slots, order = min(tries, key=lambda one: one[0])
    if labels is held and slots is plain:
        return
    frames = int(max(chains.frames[i] for i in held.values()))
    span = range(min(held), max(held) + 1)
    still = [j for j in naming.moved if j not in held and j in span]  # what hardly moves has no age, and goes along
    for j in (*held, *still):
        naming.moved.pop(j, None)
    for j in held:
        if labels[j] != slots[j]:
            naming.moved[j] = held[j]
    if slots is not plain:
        before = _arrangement([int(chains.age[plain[j]]) for j in sorted(plain) if chains.signal[plain[j]] >= 0])
        after = _arrangement([int(chains.age[held[j]]) for j in sorted(held)])
        moved = sorted([*(j for j in held if slots[j] != plain[j]), *still])
        naming.add("history_layout", moved, {"frames": frames, "trained": before, "found": after})
    if order:
        moved = sorted(j for j in held if turned[j] != held[j])
        naming.add("history_order", moved, {"frames": frames})


def _breaks(labels: dict[int, int], slots: dict[int, int]) -> int:
    """How often what is moved leaves the order of what should be there."""
    breaks, before = 0, 0
    for j in sorted(labels):
        shift = labels[j] - slots[j]
        breaks += shift not in (0, before)
        before = shift
    return breaks


def _slots(naming: Naming, labels: dict[int, int]) -> dict[int, int] | None:
    """What should stand where, in the other layout: the columns of each age in the order of training."""
    chains = naming.model.chains
    base = {j: int(naming.model.base[j]) for j in labels}
    slots: dict[int, int] = {}
    for age in sorted({int(chains.age[i]) for i in labels.values()}):
        places = sorted(j for j, i in labels.items() if chains.age[i] == age)
        columns = sorted(i for i in labels.values() if chains.age[i] == age)
        slots |= dict(zip(places, columns, strict=True))
    if all(chains.age[slots[j]] == chains.age[base[j]] for j in slots if chains.signal[base[j]] >= 0):
        return None
    before = _arrangement([int(chains.age[i]) for i in sorted(labels.values())])
    after = _arrangement([int(chains.age[labels[j]]) for j in sorted(labels)])
    return slots if before != after else None


def _arrangement(ages: list[int]) -> str:
    """Whether each age stands together once."""
    runs = 1 + sum(one != other for one, other in itertools.pairwise(ages))
    return "frame_major" if runs == len(set(ages)) else "term_major"


def prefill(naming: Naming) -> None:
    """Rows behind a reset that differ where all others agree."""
    pair = naming.pair
    groups: dict[tuple[str, str], dict[int, int]] = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or fit.starts == 0 or fit.lag != 0 or fit.source >= pair.trained.shape[1]:
            continue
        kinds = (filled(pair, naming.model, j, fit, trained=True), filled(pair, naming.model, j, fit, trained=False))
        groups.setdefault(kinds, {})[j] = fit.starts
    groups.pop(("zeros", "zeros"), None)  # both are filled so, and the rest of what was done does not reach there
    if not groups:
        return
    first = max(groups, key=lambda kinds: len(groups[kinds]))
    rows = {j: starts for some in groups.values() for j, starts in some.items()}
    if first[1] != "other":
        rows |= _faint(naming, max(rows.values()))
    value = {"trained": first[0], "found": first[1], "rows": max(rows.values())}
    naming.add("prefill", sorted(rows), value)


def _faint(naming: Naming, rows: int) -> dict[int, int]:
    """Elements of histories that differ behind a reset by little more than the noise, where others do so by much."""
    pair = naming.pair
    if pair.judge.tolerance is None:
        return {}
    early = np.flatnonzero(pair.since < rows)
    found = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or fit.starts or fit.lag or fit.source >= pair.trained.shape[1]:
            continue
        if naming.model.chains.signal[fit.source] < 0:
            continue
        source = pair.trained[early, fit.source]
        off = np.abs(pair.found[early, j] - fit.of(source))
        since = pair.since[early] < int(naming.model.chains.age[fit.source])
        allowed = pair.judge.allowed(magnitude_of(fit, source, pair.found[early, j]), fit.gain)
        if since.any() and float(np.sqrt(np.mean(off[since] ** 2))) > _MORE_THAN_NOISE * allowed:
            found[j] = rows
    return found


def filled(pair: Pair, model: AdapterModel, j: int, fit: Fit, *, trained: bool) -> str:
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
