"""The verdict of a verification: as an object, a terminal table, JSON and an HTML page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from ganglion._foundation.documents import SCHEMA
from ganglion._foundation.files import replacing
from ganglion._foundation.tables import FilledTable
from ganglion.verify.html import render_html

if TYPE_CHECKING:
    import os

    from rich.console import RenderableType

    from ganglion.contract import Contract
    from ganglion.reading import Finding
    from ganglion.verify.parity import Comparison, Divergence, TensorComparison
    from ganglion.verify.steppers.base import Run
    from ganglion.verify.trajectory import Trajectory

_BARS = "▁▂▃▄▅▆▇█"
_BARS_WIDE = 10


@dataclass(frozen=True)
class NotRun:
    """An engine that could open the file but did not run.

    Attributes:
        engine: which engine, in words.
        reason: why not, and what to install.
    """

    engine: str
    reason: str


@dataclass(frozen=True, eq=False)
class ParityReport:
    """Whether the implementations of one policy agree along one trajectory.

    Attributes:
        artifact: path of the file.
        contract: its contract.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`; where nobody demanded it, what float32
            cannot hold may be farther away, see `TensorComparison.by_rounding`.
        trajectory: the observations and resets that all of them ran.
        reference: the run that the others were compared with.
        runs: the others, in the order of `comparisons`.
        comparisons: one per run.
        not_run: engines that were left out, with the reason.
        findings: what is suspicious about the file; see `ganglion.explain`. It changes no verdict.
        truth: what ran in float64, in words, or why nothing did.
        demanded: whether the tolerance is a demand.
        lost: share of steps and rows in which rounding alone makes of every output what it likes; nothing is proven
            there, and nothing at all where that is 1.
    """

    artifact: str
    contract: Contract
    tolerance: float
    trajectory: Trajectory
    reference: Run
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...]
    not_run: tuple[NotRun, ...] = ()
    findings: tuple[Finding, ...] = ()
    truth: str = ""
    demanded: bool = False
    lost: float = 0.0

    @property
    def ok(self) -> bool:
        """True where at least one implementation ran against the reference and all that ran agree with it."""
        complete = bool(self.comparisons) and self.reference.failure is None
        return complete and self.lost < 1.0 and all(comparison.ok for comparison in self.comparisons)

    @property
    def digest(self) -> str | None:
        """SHA-256 over program and weights of the artifact, or None where its contract has none."""
        return self.contract.sha256

    @property
    def first_divergence(self) -> Divergence | None:
        """The earliest divergence of any implementation, or None."""
        found = [c.first_divergence for c in self.comparisons if c.first_divergence is not None]
        return min(found, key=lambda divergence: divergence.step, default=None)

    @property
    def independent(self) -> bool:
        """False where only one engine ran one file, from Python and from C++: its numbers agree by themselves."""
        reference = (self.reference.file, self.reference.engine)
        return not reference[1] or any((run.file, run.engine) != reference for run in self.runs if run.outputs)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.reference.failure is not None:
            return f"no verdict: the reference, {self.reference.name}, stopped: {self.reference.failure}"
        if not self.comparisons:
            return f"no verdict: nothing ran against the reference, {self.reference.name}"
        divergence = self.first_divergence
        if divergence is not None:
            return f"not equal: {divergence}"
        for comparison in self.comparisons:
            if comparison.failure is not None and not comparison.tensors:
                return f"{comparison.engine} does not run: {comparison.failure}"
            if comparison.failure is not None:
                return f"not equal: {comparison.engine}: {comparison.failure}"
        if self.lost >= 1.0:
            return (
                "no verdict: float32 does not hold this policy: in every step rounding alone changes every output by "
                "more than a hundredth of its range; are its weights, and the bounds of its observations, right?"
            )
        tensors = [tensor for comparison in self.comparisons for tensor in comparison.tensors]
        worst = max(tensor.max_error for tensor in tensors)
        within, from_float64 = f"{self.tolerance:g}", ""
        if any(tensor.by_rounding for tensor in tensors):
            within += ", or what rounding does in float32,"
        if any(tensor.by_rounding for tensor in tensors) and all(tensor.from_float64 is not None for tensor in tensors):
            own, its = (
                max(far for far in distances if far is not None)
                for distances in zip(*((t.from_float64, t.reference_from_float64) for t in tensors), strict=True)
            )
            from_float64 = f"; from float64 it is {own:.2g} away, the reference {its:.2g}"
        equal = (
            f"equal within {within} to {self.reference.name} over {self.trajectory.steps:,} steps "
            f"(largest error {worst:.2g}{from_float64})"
        )
        if self.lost > 0.0:
            equal += f"; in {self.lost:.1%} of them float32 holds no output, and nothing is proven"
        if self.independent:
            missing = f"; not run: {', '.join(left_out.engine for left_out in self.not_run)}" if self.not_run else ""
            return equal + missing
        missing = "".join(f"; {left_out.engine} did not run: {left_out.reason}" for left_out in self.not_run)
        return (
            f"nothing was compared: {self.reference.engine} ran on both sides, {equal}{missing}; give the policy or "
            "another file of it"
        )

    @property
    def reference_from_float64(self) -> dict[str, float]:
        """By name of the output, and `"state"`: how far the reference is from the float64 run, as a scaled error."""
        return {
            tensor.name: tensor.reference_from_float64
            for comparison in reversed(self.comparisons)
            for tensor in comparison.tensors
            if tensor.reference_from_float64 is not None
        }

    def to_json(self) -> str:
        """The report as strict JSON, without the runs; a number that is not finite becomes a string (`"nan"`)."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "ok": self.ok,
                "verdict": self.verdict,
                "artifact": self.artifact,
                "digest": self.digest,
                "tolerance": self.tolerance,
                "demanded": self.demanded,
                "reference": self.reference.name,
                "float64": self.truth,
                "lost": self.lost,
                "independent": self.independent,
                "trajectory": {
                    "source": self.trajectory.source,
                    "steps": self.trajectory.steps,
                    "batch": self.trajectory.batch,
                    "resets": int(self.trajectory.reset.sum()),
                },
                "first_divergence": _divergence_to_json(self.first_divergence),
                "comparisons": [
                    {
                        "engine": comparison.engine,
                        "ok": comparison.ok,
                        "failure": comparison.failure,
                        "outputs": [_tensor_to_json(tensor) for tensor in comparison.outputs],
                        "state": None if comparison.state is None else _tensor_to_json(comparison.state),
                    }
                    for comparison in self.comparisons
                ],
                "not_run": [asdict(left_out) for left_out in self.not_run],
                "findings": [asdict(finding) for finding in self.findings],
            },
            allow_nan=False,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report; the suffix picks the form.

        Args:
            path: `.html` for one page with curves to zoom, which needs no other file; `.json` for the text of
                `to_json`.

        Raises:
            ValueError: another suffix.
        """
        target = Path(path)
        if target.suffix == ".html":
            text = render_html(self)
        elif target.suffix == ".json":
            text = self.to_json() + "\n"
        else:
            raise ValueError(f"{target}: a report is saved as .html or .json")
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def __rich__(self) -> RenderableType:
        rows: list[tuple[Text | str, ...]] = []
        for index, (name, distance) in enumerate(self.reference_from_float64.items()):
            rows.append(("reference" if index == 0 else "", name, "", "", f"{distance:.2e}", "", ""))
        for comparison in self.comparisons:
            for index, tensor in enumerate(comparison.tensors):
                first = tensor.first_divergence
                row = (
                    comparison.engine if index == 0 else "",
                    tensor.name,
                    f"{tensor.max_absolute_error:.2e}",
                    f"{tensor.max_relative_error:.2e}",
                    "" if tensor.from_float64 is None else f"{tensor.from_float64:.2e}",
                    _sparkline(tensor.growth(_BARS_WIDE), self.tolerance),
                    Text(_none(tensor), style="green")
                    if first is None
                    else Text(f"step {first.step}, row {first.row}, element {first.element}", style="bold red"),
                )
                rows.append(row)
            if comparison.failure is not None and not comparison.tensors:
                rows.append((comparison.engine, *[""] * 5, Text(comparison.failure, style="bold red")))
        for left_out in self.not_run:
            rows.append((left_out.engine, *[""] * 5, Text(f"not run: {left_out.reason}", style="yellow")))
        columns = ("engine", "tensor", ">max abs", ">max rel", ">to float64", "over time", "first divergence")
        table = FilledTable(f"{self.artifact} against {self.reference.name}", columns, rows)
        trajectory = self.trajectory
        drawn = (
            f"{trajectory.steps:,} steps, batch {trajectory.batch}, {int(trajectory.reset.sum())} resets, "
            f"{trajectory.source}, tolerance {self.tolerance:g}{' as demanded' if self.demanded else ''}"
        )
        if self.truth:
            drawn += f"; float64: {self.truth}"
        findings = [Text(f"[{finding.code}] {finding.sentence}", style="bold yellow") for finding in self.findings]
        good = "bold green" if self.independent else "bold yellow"
        verdict = Text(self.verdict, style=good if self.ok else "bold red")
        return Group(table, Text(drawn, style="dim"), *findings, verdict)


def _sparkline(errors: list[float], tolerance: float) -> str:
    """Errors on a log scale from six decades below the tolerance (empty) to one above it (full)."""
    bars = []
    for error in errors:
        decades = 7.0 if math.isinf(error) else math.log10(max(error, 1e-300) / tolerance) + 6.0
        bars.append(_BARS[max(0, min(len(_BARS) - 1, round(decades)))])
    return "".join(bars)


def _none(tensor: TensorComparison) -> str:
    return f"none; {tensor.by_rounding:,} by rounding" if tensor.by_rounding else "none"


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _divergence_to_json(divergence: Divergence | None) -> dict[str, Any] | None:
    if divergence is None:
        return None
    return asdict(divergence) | {key: _number(getattr(divergence, key)) for key in ("expected", "found", "exact")}


def _tensor_to_json(tensor: TensorComparison) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "max_error": _number(tensor.max_error),
        "max_absolute_error": _number(tensor.max_absolute_error),
        "max_relative_error": _number(tensor.max_relative_error),
        "from_float64": _number(tensor.from_float64),
        "reference_from_float64": _number(tensor.reference_from_float64),
        "by_rounding": tensor.by_rounding,
        "error_growth": [_number(error) for error in tensor.growth()],
        "first_divergence": _divergence_to_json(tensor.first_divergence),
    }
