"""`ganglion verify`: every implementation of a policy along one trajectory, or every policy of the house."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ganglion._foundation.tables import FilledTable
from ganglion._foundation.targets import check_target
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import progress, status

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion verify`."""
    if (arguments.file is None) == (arguments.matrix is None):
        raise ValueError("verify takes a FILE or --matrix, one of the two")
    if arguments.matrix is not None:
        return _verify_matrix(arguments)
    from ganglion.cli.source import references_of
    from ganglion.verify import verify

    if arguments.report is not None:
        check_target(Path(arguments.report))  # before the long run, and not behind it
    with status("loading the policy"):
        references = references_of(arguments)
    with progress() as tick:
        report = verify(
            arguments.file,
            _policy(references),
            seed=arguments.seed,
            tolerance=arguments.tolerance,
            recording=arguments.recording,
            recorded_actions=arguments.recorded_actions,
            engines=arguments.engine,
            batch=arguments.batch,
            state=arguments.state,
            action=arguments.action,
            observation=arguments.observation,
            trust=arguments.trust,
            public_key=arguments.key,
            progress=tick,
            **({} if arguments.steps is None else {"steps": arguments.steps}),
        )
    if arguments.report is not None:
        report.save(arguments.report)
    return Outcome(json.loads(report.to_json()), (report,), report.ok)


def _policy(references: dict[str, Any]) -> Any:
    """One policy needs no name in a report about it."""
    if len(references) == 1:
        (only,) = references.values()
        return only
    return references or None


def _verify_matrix(arguments: argparse.Namespace) -> Outcome:
    from ganglion.verify.matrix import matrix

    given = [
        f"--{'from' if name == 'trainer' else name.replace('_', '-')}"
        for name in (
            "key",
            "policy",
            "trainer",
            "recording",
            "recorded_actions",
            "state",
            "action",
            "engine",
            "batch",
            "report",
        )
        if getattr(arguments, name) is not None
    ]
    if given:
        raise ValueError(f"verify --matrix makes its own policies, files and runs; it does not take {', '.join(given)}")
    cells: list[Any] = []
    with progress() as tick:
        for some in matrix(arguments.matrix or None, steps=arguments.steps or 2000, tick=tick):
            cells += some
    title = (
        "every policy, file and engine against Python, drawn and recorded, over one row and three with masked resets; "
        ".onnx for any number of rows and for three alone"
    )
    rows = []
    for policy, suffix in dict.fromkeys((cell.policy, cell.suffix) for cell in cells):
        here = [cell for cell in cells if (cell.policy, cell.suffix) == (policy, suffix)]
        bad = any(cell.problem for cell in here)
        ran = dict.fromkeys(cell.implementation for cell in here)
        worst = Text(f"{max(cell.error for cell in here):.1e}", style="bold red" if bad else "green")
        rows.append((policy, suffix, worst, ", ".join(ran)))
    table = FilledTable(title, ("policy", "file", ">largest error", "ran on"), rows)
    problems = [cell for cell in cells if cell.problem is not None]
    lines = [
        Text(f"{cell.policy}, {cell.suffix}, {cell.implementation}: {cell.problem}", style="bold red")
        for cell in problems
    ]
    document = {
        "ok": not problems,
        "cells": [
            dataclasses.asdict(cell) | {"error": cell.error if math.isfinite(cell.error) else None} for cell in cells
        ],
    }
    return Outcome(document, (table, *lines), not problems)
