"""A parity report as one HTML page: the verdict and its tables as text, the runs as curves to be zoomed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganglion.verify.describe import ELEMENT_COLUMNS, NOTHING_KNOWN, contract_facts, element_rows
from ganglion.verify.page import (
    Channel,
    Curves,
    Growth,
    Mark,
    Row,
    document,
    section,
    table,
    tiles,
    to_html,
    verdict_box,
    viewer,
)
from ganglion.verify.steppers.base import tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ganglion.contract import TensorSpec
    from ganglion.verify.parity import Divergence, TensorComparison
    from ganglion.verify.report import ParityReport
    from ganglion.verify.steppers.base import Run

_MOST_ROWS = 4


def render_html(report: ParityReport) -> str:
    """The page: verdict, error table, traces with their differences and errors over the whole run, contract."""
    contract, trajectory = report.contract, report.trajectory
    name = Path(report.artifact).name
    worst = max((t.max_error for c in report.comparisons for t in c.tensors), default=None)
    facts = [
        ("implementations", f"{len(report.comparisons)}"),
        ("steps", f"{trajectory.steps:,}"),
        ("rows", f"{trajectory.batch:,}"),
        ("resets", f"{int(trajectory.reset.sum()):,}"),
        ("largest error", "none" if worst is None else f"{worst:.2e}"),
        ("tolerance", f"{report.tolerance:g}{' as demanded' if report.demanded else ''}"),
    ]
    body = [
        '<p class="eyebrow">ganglion verify</p>',
        f"<h1>{to_html(name)}</h1>",
        f'<p class="lead"><code>{to_html(report.artifact)}</code> compared with {to_html(report.reference.name)} '
        f"({to_html(trajectory.source)}); float64: {to_html(report.truth or 'not run')}</p>",
        verdict_box(_headline(report), report.verdict, good=report.ok),
        tiles(facts),
        *(f'<p class="finding"><b>{to_html(f.code)}</b> {to_html(f.sentence)}</p>' for f in report.findings),
        section("Errors", _error_table(report)),
        section("Action traces", viewer(_curves(report))),
        section("Contract", table(("", ""), contract_facts(contract))),
        *(_tensor_section("Input", spec) for spec in contract.inputs),
        *(_tensor_section("Output", spec) for spec in contract.outputs),
    ]
    return document(f"{_headline(report)}: {name}", body)


def _headline(report: ParityReport) -> str:
    if report.ok:
        return "Equal" if report.independent else "Nothing was compared"
    judged = bool(report.comparisons) and report.reference.failure is None
    return "Not equal" if judged else "No verdict"


def _error_table(report: ParityReport) -> str:
    headings = ("", "implementation", "tensor", "max absolute", "max relative", "to float64", "first divergence")
    rows: list[tuple[str | tuple[str, str], ...]] = [
        ("", "reference", name, "", "", ("number", f"{distance:.3e}"), "")
        for name, distance in report.reference_from_float64.items()
    ]
    for comparison in report.comparisons:
        for tensor in comparison.tensors:
            first = tensor.first_divergence
            rows.append(
                (
                    ("good", "equal") if first is None else ("bad", "differs"),
                    comparison.engine,
                    tensor.name,
                    ("number", f"{tensor.max_absolute_error:.3e}"),
                    ("number", f"{tensor.max_relative_error:.3e}"),
                    ("number", "" if tensor.from_float64 is None else f"{tensor.from_float64:.3e}"),
                    _where(tensor, first),
                )
            )
        if comparison.failure is not None:
            rows.append((("bad", "stopped"), comparison.engine, "", "", "", "", comparison.failure))
    rows += [(("warn", "not run"), left.engine, "", "", "", "", left.reason) for left in report.not_run]
    return table(headings, rows)


def _where(tensor: TensorComparison, first: Divergence | None) -> str:
    if first is None:
        return f"none; {tensor.by_rounding:,} elements by rounding" if tensor.by_rounding else "none"
    return _place(first)


def _place(first: Divergence) -> str:
    name = f" ({first.element_name})" if first.element_name else ""
    return (
        f"step {first.step}, row {first.row}, element {first.element}{name}: "
        f"expected {first.expected:.9g}, found {first.found:.9g}"
    )


def _tensor_section(kind: str, spec: TensorSpec) -> str:
    rows = element_rows(spec)
    heading = f"{kind} {spec.name}"
    if not rows:
        return section(heading, note=f"{spec.size} elements, {NOTHING_KNOWN}")
    return section(heading, table(ELEMENT_COLUMNS, rows))


def _curves(report: ParityReport) -> Curves:
    first = report.first_divergence
    batch = report.trajectory.batch
    rows = sorted(range(batch), key=lambda row: (first is None or row != first.row, row))[:_MOST_ROWS]
    rows.sort()
    channels: list[Channel] = []
    mark = None
    for place, row in enumerate(rows):
        for group, element, channel in _channels(report, row, place):
            if first is not None and (group, element, row) == (first.output, first.element, first.row):
                mark = Mark(len(channels), first.step, f"{first.engine}, {_place(first)}")
            channels.append(channel)
    return Curves(
        runs=(report.reference.name, *(run.name for run in report.runs)),
        rows=[Row(f"row {row}", report.trajectory.reset[:, row]) for row in rows],
        channels=channels,
        period_s=report.contract.period_s,
        growth=_growth(report),
        tolerance=report.tolerance,
        mark=mark,
        left_out=f"Of {batch:,} rows, {len(rows)} can be chosen." if len(rows) < batch else "",
    )


def _channels(report: ParityReport, row: int, place: int) -> Iterator[tuple[str, int, Channel]]:
    """Every element of every tensor that the reference gave, in a row: its tensor, its number, and the curves."""
    contract = report.contract
    runs = (report.reference, *report.runs)
    state = [f"{slot.name}[{index}]" for slot in contract.state for index in range(slot.size)]
    outputs = [(spec.name, spec.size, spec.element_names, spec.units) for spec in contract.outputs]
    for group, size, names, units in (*outputs, ("state", len(state), state, ())):
        if group not in tensors_of(report.reference):
            continue
        for element in range(size):
            yield (
                group,
                element,
                Channel(
                    group=group,
                    name=names[element] if names else f"{group}[{element}]",
                    row=place,
                    values=[_trace(run, group, row, element) for run in runs],
                    unit=units[element] if units else "",
                    tolerance=report.tolerance,
                    minor=group == "state",
                ),
            )


def _trace(run: Run, group: str, row: int, element: int) -> NDArray[np.float32] | None:
    tensor = tensors_of(run).get(group)
    return None if tensor is None or tensor.shape[1] <= row else tensor[:, row, element]


def _growth(report: ParityReport) -> dict[str, list[Growth]]:
    found: dict[str, list[Growth]] = {}
    for index, comparison in enumerate(report.comparisons):
        for tensor in comparison.tensors:
            curves = found.setdefault(tensor.name, [])
            curves.append(Growth(comparison.engine, tensor.error_per_step, index + 1))
    for name, curves in found.items():
        same = [tensor for c in report.comparisons for tensor in c.tensors if tensor.name == name]
        distances = [t.from_float64_per_step for t in same if t.from_float64_per_step is not None]
        references = [t.reference_from_float64_per_step for t in same if t.reference_from_float64_per_step is not None]
        if distances and references:
            curves[:0] = [
                Growth("reference to float64", np.max(references, axis=0)),
                Growth("others to float64, the largest", np.max(distances, axis=0)),
            ]
    return found
