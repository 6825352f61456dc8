"""Names what was done to histories: order and layout of frames, steps between them, what fills them behind a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.wiring.paired.fit import largest, magnitude_of, shown

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
    _laid_out(naming)


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


def _laid_out(naming: Naming) -> None:
    frames = naming.model.frames
    count = frames.frames
    if frames.order:
        naming.add("history_order", frames.order, {"frames": count})
    if frames.layout:
        layouts = ("frame_major", "term_major")
        other = layouts[1 - layouts.index(frames.arrangement)]
        naming.add("history_layout", frames.layout, {"frames": count, "trained": frames.arrangement, "found": other})
    if frames.stride != 1:
        late = np.flatnonzero(frames.late)  # before anything moves
        naming.add("history_layout", late, {"frames": count, "stride": frames.stride})


def prefill(naming: Naming) -> None:
    """Rows behind a reset that differ where all others agree."""
    pair = naming.pair
    groups: dict[tuple[str, str], dict[int, int]] = {}
    for j, fit in enumerate(naming.model.fits):
        if fit is None or fit.starts == 0 or fit.source >= pair.trained.shape[1]:
            continue
        if fit.lag and not 0 < fit.starts <= fit.lag + pair.age(fit.source):  # a delay begins as it likes
            continue
        if fit.lag and pair.age(fit.source) == 0:
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
    # What is found there is what was filled in, or what a factor and an offset made of it.
    literal = first[1] == "zeros" and all(_is_zero(pair, j, starts) for j, starts in rows.items())
    naming.add("prefill", sorted(rows), value, "" if literal or first[1] == "other" else "sign")


def _is_zero(pair: Pair, j: int, starts: int) -> bool:
    """Whether an element of found is zero in the first row of each episode."""
    first = pair.found[pair.since == 0, j]
    return starts == 0 or bool((np.abs(first) <= pair.judge.worst(float(np.abs(pair.found[:, j]).max()))).all())


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
    chains, own, source = model.chains, pair.found[:, j], pair.trained[:, fit.source]
    before = shown(pair, fit, source, own)[1]
    rows = np.flatnonzero(pair.since < fit.starts)
    raw, other = source[before[rows]], (own[rows] - fit.bias) / fit.gain
    values = raw if trained else other
    allowed = largest(pair.judge, fit, magnitude_of(fit, source, own)) / abs(fit.gain)
    bad = np.abs(raw - other) > allowed
    if not bad.any():
        return "other"
    raw = raw if trained else own[rows]
    if (np.abs(values[bad]) <= allowed).all() or (np.abs(raw[bad]) <= allowed * abs(fit.gain)).all():
        return "zeros"
    head = int(chains.signal[fit.source])
    newest = pair.trained[rows - pair.since[rows], head if head >= 0 else fit.source]
    off = np.abs(values - newest)
    if any(j in cover.elements for cover in model.covers):
        off = np.minimum(off, np.abs(values + newest))
    return "repeat" if (off[bad] <= allowed).all() else "other"
