"""A contract in a screenful: what is known of elements, and not a blank row for each of which nothing is."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from ganglion.cli.tables import contract_tables
from ganglion.contract import Contract, TensorSpec
from ganglion.verify.describe import NOTHING_KNOWN, element_rows

INFINITE = {"low": (-math.inf,) * 480, "high": (math.inf,) * 480}


def shown(spec: TensorSpec) -> list[str]:
    console = Console(file=io.StringIO(), width=160)
    console.print(*contract_tables(Contract((spec,), (TensorSpec("actions", 29),))), sep="\n")
    text: Any = console.file
    return text.getvalue().splitlines()


@pytest.mark.parametrize("bounds", [{}, INFINITE])
def test_a_humanoid_without_names_is_a_screenful(bounds: dict[str, Any]) -> None:
    lines = shown(TensorSpec("obs", 480, **bounds))
    assert len(lines) < 24
    assert f"Input obs [480]: {NOTHING_KNOWN}" in lines and f"Output actions [29]: {NOTHING_KNOWN}" in lines


def test_neighbours_of_which_the_same_is_known_share_a_row() -> None:
    bounded = TensorSpec("obs", 480, low=(-1.0,) * 479 + (0.0,), high=(1.0,) * 480)
    assert element_rows(bounded) == [("0 to 478", "", "", "-1", "1"), ("479", "", "", "0", "1")]
    assert len(shown(bounded)) < 30
    units = TensorSpec("obs", 3, units=("rad", "rad", "m"))
    assert element_rows(units) == [("0 to 1", "", "rad", "", ""), ("2", "", "m", "", "")]


def test_names_have_a_row_each() -> None:
    named = TensorSpec("obs", 3, element_names=("a", "b", "c"), low=(-math.inf, -1.0, -1.0), high=(math.inf, 1.0, 1.0))
    rows = element_rows(named)
    assert [row[:2] for row in rows] == [("0", "a"), ("1", "b"), ("2", "c")]
    assert rows[0][3:] == ("-∞", "∞")
