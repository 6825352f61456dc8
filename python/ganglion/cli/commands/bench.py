"""`ganglion bench`: the latency of a step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ganglion._foundation.tables import FilledTable
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.tables import finding_lines

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion bench`."""
    from ganglion.runtime import explain
    from ganglion.verify import bench

    with status("measuring"):
        report = bench(
            arguments.files,
            engines=arguments.engine or (),
            steps=arguments.steps,
            rounds=arguments.rounds,
            cold=arguments.cold,
            record=arguments.record,
            state=arguments.state,
            action=arguments.action,
            observation=arguments.observation,
            trust=arguments.trust,
        )
        names = ("state", "action", "observation", "trust")
        hints = {name: getattr(arguments, name) for name in names}
        readings = {file: explain(file, **hints) for file in arguments.files}
    asked = arguments.cold is not None
    rows = [
        (
            row.file,
            row.engine + ", recorded" * row.recorded,
            *map(_shown, (row.p50_us, row.p99_us, row.p999_us, row.max_us)),
            *map(_shown, (row.cold_p50_us, row.cold_p99_us, row.load_ms) if asked else (None, None, None)),
            "" if row.allocations_per_step is None else f"{row.allocations_per_step:g}",
        )
        for row in report.results
    ]
    # Columns that are empty are left out.
    columns = ("file", "engine", ">p50", ">p99", ">p99.9", ">max", ">cold p50", ">cold p99", ">load ms", ">allocations")
    table = FilledTable(f"one step, microseconds, on {report.cpu}", columns, rows)
    document: dict[str, Any] = {"ok": True} | dataclasses.asdict(report)
    suspicious = {file: reading.findings for file, reading in readings.items() if reading.findings}
    if suspicious:
        document["findings"] = {file: list(map(dataclasses.asdict, found)) for file, found in suspicious.items()}
    lines = [line for file, found in suspicious.items() for line in finding_lines(found, file)]
    return Outcome(document, (table, *lines))


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
