"""Neighbours among elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def runs_of(elements: Iterable[int]) -> list[list[int]]:
    """Rising elements, cut where one does not follow the other."""
    runs: list[list[int]] = []
    for element in elements:
        if runs and runs[-1][-1] == element - 1:
            runs[-1].append(element)
        else:
            runs.append([element])
    return runs
