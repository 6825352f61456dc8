"""A file with three rows, some of them reset now and then, beside the Python policy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, seed, settings

import ganglion

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from ganglion.policies import RecurrentPolicy

SUFFIXES = ("ganglion", "onnx", "pt")


def check_files(policy: RecurrentPolicy, seed: int, steps: int = 60) -> None:
    """Exports a policy to every file that has engines, and steps each on all of them."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            path = Path(folder, f"policy.{suffix}")
            ganglion.export(policy, path, batch=3)
            report = ganglion.verify(path, policy, steps=steps, seed=seed)
            assert report.ok, report.first_divergence


def simplest_and_drawn(strategy: SearchStrategy[Any], number: int) -> list[Any]:
    """The simplest value of a strategy, and one that `number` draws."""
    values: list[Any] = []

    @settings(max_examples=2, deadline=None, database=None)
    @seed(number)
    @given(strategy)
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values
