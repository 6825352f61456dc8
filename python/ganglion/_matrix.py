"""The parity matrix: every kind of policy, through every file and engine, one row and several with masked resets."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganglion.errors import GanglionError
from ganglion.export import export
from ganglion.policies.catalogue import example, names
from ganglion.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SUFFIXES = (".pt", ".onnx", ".ganglion")
ROWS = (1, 3)


@dataclass(frozen=True)
class Cell:
    """One implementation of one policy against its Python original.

    Attributes:
        policy: kind of policy, a name of the catalogue.
        suffix: kind of file.
        rows: rows of one step.
        implementation: what ran the file, in words.
        error: largest `|found - expected| / max(1, |expected|)` of all outputs and the state; NaN where it did not run.
        problem: None where all is well.
    """

    policy: str
    suffix: str
    rows: int
    implementation: str
    error: float
    problem: str | None


def matrix(
    kinds: Sequence[str] | None = None, *, steps: int = 2000, tick: Callable[[str, int, int], None] | None = None
) -> Iterator[list[Cell]]:
    """Exports and verifies every kind of policy; yields the cells of one kind after the other.

    Args:
        kinds: names of the catalogue; None for all.
        steps: steps of one run.
        tick: called with (what is going on, kinds done, kinds in all).

    Raises:
        ValueError: a kind is not in the catalogue.
    """
    wanted = names() if kinds is None else tuple(kinds)
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        raise ValueError(f"policy '{unknown[0]}' is not one of {', '.join(names())}")
    for done, kind in enumerate(wanted):
        if tick is not None:
            tick("policies", done, len(wanted))
        yield [cell for suffix in SUFFIXES for cell in _cells(kind, suffix, steps)]
    if tick is not None:
        tick("policies", len(wanted), len(wanted))


def _cells(kind: str, suffix: str, steps: int) -> Iterator[Cell]:
    policy = example(kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"policy{suffix}"
        try:
            export(policy, path, batch=None)
        except GanglionError as error:
            yield Cell(kind, suffix, 0, "export", float("nan"), str(error))
            return
        engines = {".pt": ["libtorch"], ".onnx": ["onnxruntime", "native"], ".ganglion": ["native"]}[suffix]
        for rows in ROWS:
            try:
                report = verify(path, policy, steps=steps, batch=rows, engines=engines)
            except GanglionError as error:
                yield Cell(kind, suffix, rows, "verify", float("nan"), str(error))
                continue
            for run, comparison in zip(report.runs, report.comparisons, strict=True):
                errors = [tensor.max_error for tensor in comparison.tensors]
                problem = None if comparison.ok else comparison.failure or str(comparison.first_divergence)
                yield Cell(kind, suffix, rows, run.name, max(errors), problem)
