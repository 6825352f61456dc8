"""The profile of recorded observations."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ganglion.errors import ArtifactError
from ganglion.observation_profile import (
    MOST_ACTIONS,
    MOST_ELEMENTS,
    MOST_PAIRED,
    MOST_SEGMENTS,
    MOST_VALUES,
    Discrete,
    ObservationProfile,
    UnitNorm,
)
from ganglion.observation_profile.regression import relations_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_STEPS = 256
"""A recording with fewer says too little to be a profile."""

LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
LAGS = (1, 2, 4, 8, 16)
RESPONSE_LAGS = tuple(range(-3, 7))

_LONG_PIECES = 4
_SEGMENT_STEPS = 128
_CONSTANT = 1e-6
"""An element whose spread is a smaller share of its size is constant: float32 holds no more."""

_FEWEST_STARTS = 2
_UNIT_NORM = 1e-3
_UNIT_SHARE = 0.97
"""Of the steps: behind a reset, frames of a history may hold zeros."""

_UNIT_SIZES = (4, 3, 2)


def measured(
    observations: NDArray[np.float32],
    lengths: NDArray[np.int64],
    actions: NDArray[np.float32] | None = None,
    *,
    relations: bool = True,
    starts: bool = True,
) -> ObservationProfile:
    """Measures recorded observations.

    Args:
        observations: `[N, n]`, finite, episodes behind each other.
        lengths: `[E]`, steps of each episode; they add up to N.
        actions: `[N, m]`, finite, the answer to each observation; None where not known.
        relations: whether to look for them.
        starts: whether `lengths` says where episodes begin.

    Raises:
        ArtifactError: fewer than `FEWEST_STEPS` steps, or more than `MOST_ELEMENTS` elements.
    """
    steps, n = observations.shape
    if steps < FEWEST_STEPS:
        raise ArtifactError(f"{steps} recorded steps are too few for an observation profile: record {FEWEST_STEPS}")
    if n > MOST_ELEMENTS:
        raise ArtifactError(f"observations of {n:,} elements have no profile; up to {MOST_ELEMENTS:,} have one")
    values = observations.astype(np.float64)
    mean, spread = values.mean(0), values.std(0)
    spread[spread <= _CONSTANT * np.maximum(np.abs(mean), 1e-6)] = 0.0
    standard = _divided(values - mean, spread)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    segments = np.arange(steps) * min(MOST_SEGMENTS, max(2, steps // _SEGMENT_STEPS)) // steps
    bounds = np.searchsorted(segments, np.arange(segments[-1] + 2))
    pieces = [slice(begin, end) for begin, end in pairwise(bounds)]
    changes = np.abs(np.diff(values, axis=0))[episode[1:] == episode[:-1]]
    if not len(changes):
        changes = np.zeros((1, n))
    pairs: dict[str, NDArray[np.float32]] = {}
    if n <= MOST_PAIRED:
        whole, deviation = _correlations(standard, standard, pieces)
        np.fill_diagonal(whole, 1.0)
        np.fill_diagonal(deviation, 0.0)
        pairs |= {"correlation": _single(whole), "correlation_deviation": _single(deviation)}
        if actions is not None and 1 <= actions.shape[1] <= MOST_ACTIONS:
            response, deviation = _responses(standard, actions.astype(np.float64), episode, pieces)
            pairs |= {"response": _single(response), "response_deviation": _single(deviation)}
    first = values[np.cumsum(lengths) - lengths]
    profile = ObservationProfile(
        steps=steps,
        levels=LEVELS,
        lags=LAGS,
        response_lags=RESPONSE_LAGS,
        quantiles=_single(np.quantile(values, LEVELS, axis=0)),
        mean=_single(mean),
        spread=_single(spread),
        skewness=_single((standard**3).mean(0)),
        change=_single(np.quantile(changes, LEVELS, axis=0)),
        autocorrelation=_single(np.stack([_lagged(standard, episode, lag) for lag in LAGS])),
        segment_means=_single(np.stack([values[piece].mean(0) for piece in pieces])),
        segment_spreads=_single(np.stack([values[piece].std(0) for piece in pieces])),
        correlation=pairs.get("correlation"),
        correlation_deviation=pairs.get("correlation_deviation"),
        response=pairs.get("response"),
        response_deviation=pairs.get("response_deviation"),
        unit_norm=_unit_norms(values, spread),
        discrete=_discrete(observations, spread),
        starts=_single(np.quantile(first, (0.0, 0.5, 1.0), axis=0))
        if starts and len(first) >= _FEWEST_STARTS
        else None,
    )
    if relations and n <= MOST_PAIRED:
        told = None if actions is None or not profile.actions else actions.astype(np.float64)
        profile = replace(profile, relations=relations_of(values, told, episode, spread, profile.columns))
    # As a file holds it: what is measured and what is read are the same numbers.
    return ObservationProfile.from_document(profile.to_document())


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)


def _divided(values: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(by > 0.0, values / np.where(by > 0.0, by, 1.0), 0.0)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean(0)
    spread = centred.std(0)
    return _divided(centred, np.where(spread > _CONSTANT, spread, 0.0))


def _correlations(
    one: NDArray[np.float64], other: NDArray[np.float64], pieces: list[slice]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlations of all columns with all columns, and how far those of the pieces are from them (RMS)."""
    whole = np.clip(one.T @ other / len(one), -1.0, 1.0)
    # What is slow, such as a heading, differs between long pieces by more than it does between short ones.
    joined = [slice(some[0].start, some[-1].stop) for some in _grouped(pieces, _LONG_PIECES)]
    return whole, np.maximum(_apart(whole, one, other, pieces), _apart(whole, one, other, joined))


def _grouped(pieces: list[slice], count: int) -> list[list[slice]]:
    bounds = [len(pieces) * i // count for i in range(count + 1)]
    return [pieces[begin:end] for begin, end in pairwise(bounds) if end > begin]


def _apart(
    whole: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64], pieces: list[slice]
) -> NDArray[np.float64]:
    squares = np.zeros_like(whole)
    for piece in pieces:
        found = _standard(one[piece]).T @ _standard(other[piece]) / max(1, piece.stop - piece.start)
        squares += (np.clip(found, -1.0, 1.0) - whole) ** 2
    return np.sqrt(squares / len(pieces))


def _responses(
    standard: NDArray[np.float64], actions: NDArray[np.float64], episode: NDArray[np.int64], pieces: list[slice]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = []
    told = _standard(actions)
    for lag in RESPONSE_LAGS:
        now = np.arange(max(0, lag), len(standard) + min(0, lag))
        now = now[episode[now] == episode[now - lag]]
        cuts = np.searchsorted(now, [*(piece.start for piece in pieces), pieces[-1].stop])
        parts = [slice(begin, end) for begin, end in pairwise(cuts) if end - begin > 1]
        if not parts:
            shape = standard.shape[1], told.shape[1]
            found.append((np.zeros(shape), np.ones(shape)))
        else:
            found.append(_correlations(_standard(standard[now]), _standard(told[now - lag]), parts))
    return np.stack([whole for whole, _ in found]), np.stack([deviation for _, deviation in found])


def _lagged(standard: NDArray[np.float64], episode: NDArray[np.int64], lag: int) -> NDArray[np.float64]:
    same = episode[lag:] == episode[:-lag]
    now, before = standard[lag:][same], standard[:-lag][same]
    return np.asarray(np.clip((now * before).sum(0) / max(1, len(now)), -1.0, 1.0), np.float64)


def _unit_norms(values: NDArray[np.float64], spread: NDArray[np.float64]) -> tuple[UnitNorm, ...]:
    """Neighbours whose squares add up to 1, from the left, the longest groups first."""
    squares = values**2
    groups: list[UnitNorm] = []
    first = 0
    while first < values.shape[1] - 1:
        for size in _UNIT_SIZES:
            piece = slice(first, first + size)
            if first + size > values.shape[1] or not np.any(spread[piece] > 0.0):
                continue
            if np.mean(np.abs(squares[:, piece].sum(1) - 1.0) < _UNIT_NORM) >= _UNIT_SHARE and _is_whole(
                squares[:, piece]
            ):
                groups.append(UnitNorm(first, size))
                first += size
                break
        else:
            first += 1
    return tuple(groups)


def _is_whole(squares: NDArray[np.float64]) -> bool:
    """Whether every element is needed: a group with a constant 0 at an end is a shorter one."""
    return bool(squares[:, 0].max() > _UNIT_NORM and squares[:, -1].max() > _UNIT_NORM)


def _discrete(observations: NDArray[np.float32], spread: NDArray[np.float64]) -> tuple[Discrete, ...]:
    found = []
    for element in range(observations.shape[1]):
        # Few elements are discrete: a look at some steps says so of most.
        if len(np.unique(observations[:64, element])) > MOST_VALUES and spread[element] > 0.0:
            continue
        values = np.unique(observations[:, element])
        if len(values) <= MOST_VALUES:
            found.append(Discrete(element, tuple(float(value) for value in values)))
    return tuple(found)
