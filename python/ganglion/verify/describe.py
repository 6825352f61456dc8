"""A contract as rows of text, for terminal tables and for the HTML page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganglion.contract import Contract, Golden, TensorSpec
    from ganglion.observation_profile import ObservationProfile

ELEMENT_COLUMNS = ("element", "name", "unit", "low", "high")
"""Headings of `element_rows`."""


def contract_facts(contract: Contract) -> list[tuple[str, str]]:
    """Everything about a contract except its tensor elements, as (label, value) pairs."""
    slots = [f"{slot.name} [{', '.join(map(str, slot.shape))}]" for slot in contract.state]
    golden = contract.golden
    facts = [
        ("observation", f"{contract.observation_size} elements"),
        ("action", f"{contract.action_size} elements"),
        ("state", f"{', '.join(slots)}: {contract.hidden_size} elements" if slots else "none"),
        ("initial state", "not zero" if any(contract.initial_state) else "zero"),
        ("period", "unknown" if contract.period_s is None else _period(contract.period_s)),
        ("batch", "any" if contract.batch is None else str(contract.batch)),
        ("dtype", contract.dtype),
        (
            "golden trajectory",
            "none"
            if golden is None
            else f"{golden.steps} steps, {_count(golden.rows, 'row')}, tolerance {golden.tolerance:g}{_beside(golden)}",
        ),
        ("observation profile", _profile(contract.observation_profile)),
        ("SHA-256", contract.sha256 or "none"),
    ]
    return facts + [(f"provenance: {key}", value) for key, value in contract.provenance.items()]


NOTHING_KNOWN = "no names, units or bounds"
"""In place of the rows of `element_rows` where there are none."""


def element_rows(spec: TensorSpec) -> list[tuple[str, ...]]:
    """What is known of the elements of a tensor, with the columns of `ELEMENT_COLUMNS`; empty text where unknown.

    Neighbours without names of which the same is known share a row; there is none where nothing is known of any.
    """
    rows = [
        (
            spec.element_names[index] if spec.element_names else "",
            spec.units[index] if spec.units else "",
            _bound(spec.low[index]) if spec.low else "",
            _bound(spec.high[index]) if spec.high else "",
        )
        for index in range(spec.size)
    ]
    if all(not name and not unit and low in ("", "-∞") and high in ("", "∞") for name, unit, low, high in rows):
        return []
    grouped: list[tuple[str, ...]] = []
    first = 0
    for index in range(1, len(rows) + 1):
        if index < len(rows) and rows[index] == rows[first] and not rows[first][0]:
            continue
        grouped.append((str(first) if first == index - 1 else f"{first} to {index - 1}", *rows[first]))
        first = index
    return grouped


def _profile(profile: ObservationProfile | None) -> str:
    if profile is None:
        return "none"
    parts = [f"{profile.steps:,} steps in {_count(len(profile.segment_means), 'segment')}"]
    if profile.correlation is None:
        parts.append("without correlations")
    parts.append(f"responses to {_count(profile.actions, 'action')}" if profile.actions else "without responses")
    return ", ".join(parts)


def _beside(golden: Golden) -> str:
    if golden.demanded:
        return " as demanded"
    return "" if golden.allowed is None else f", or what rounding does (of one output up to {golden.allowed.max():.2g})"


def _period(period_s: float) -> str:
    return f"{period_s:g} s ({1.0 / period_s:g} Hz)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _bound(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:g}"
