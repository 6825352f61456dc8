"""The verdict of a verification: as an object, a terminal table, JSON and an HTML page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ganglion._foundation.files import replacing
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
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`.
        trajectory: the observations and resets that all of them ran.
        reference: the run that the others were compared with.
        runs: the others, in the order of `comparisons`.
        comparisons: one per run.
        not_run: engines that were left out, with the reason.
        findings: what is suspicious about the file; see `ganglion.explain`. It changes no verdict.
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

    @property
    def ok(self) -> bool:
        """True where at least one implementation ran against the reference and all that ran agree with it."""
        complete = bool(self.comparisons) and self.reference.failure is None
        return complete and all(comparison.ok for comparison in self.comparisons)

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
        worst = max(tensor.max_error for comparison in self.comparisons for tensor in comparison.tensors)
        equal = (
            f"equal within {self.tolerance:g} to {self.reference.name} over {self.trajectory.steps:,} steps "
            f"(largest error {worst:.2g})"
        )
        if self.independent:
            missing = f"; not run: {', '.join(left_out.engine for left_out in self.not_run)}" if self.not_run else ""
            return equal + missing
        missing = "".join(f"; {left_out.engine} did not run: {left_out.reason}" for left_out in self.not_run)
        return (
            f"nothing was compared: {self.reference.engine} ran on both sides, {equal}{missing}; give the policy or "
            "another file of it"
        )

    def to_json(self) -> str:
        """The report as strict JSON, without the runs; a number that is not finite becomes a string (`"nan"`)."""
        return json.dumps(
            {
                "ok": self.ok,
                "verdict": self.verdict,
                "artifact": self.artifact,
                "digest": self.digest,
                "tolerance": self.tolerance,
                "reference": self.reference.name,
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
            path: `.html` for one self-contained page with plots, `.json` for the text of `to_json`.

        Raises:
            ValueError: another suffix.
            EngineUnavailableError: an HTML page without matplotlib installed.
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
        title = Text(f"{self.artifact} against {self.reference.name}")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        table.add_column("implementation", no_wrap=True)
        table.add_column("tensor")
        table.add_column("max abs", justify="right", no_wrap=True)
        table.add_column("max rel", justify="right", no_wrap=True)
        table.add_column("over time", no_wrap=True)
        table.add_column("first divergence")
        for comparison in self.comparisons:
            for index, tensor in enumerate(comparison.tensors):
                first = tensor.first_divergence
                table.add_row(
                    Text(comparison.engine if index == 0 else ""),
                    Text(tensor.name),
                    f"{tensor.max_absolute_error:.2e}",
                    f"{tensor.max_relative_error:.2e}",
                    _sparkline(tensor.growth(_BARS_WIDE), self.tolerance),
                    Text("none", style="green")
                    if first is None
                    else Text(f"step {first.step}, row {first.row}, element {first.element}", style="bold red"),
                )
            if comparison.failure is not None and not comparison.tensors:
                table.add_row(Text(comparison.engine), "", "", "", "", Text(comparison.failure, style="bold red"))
        for left_out in self.not_run:
            reason = Text(f"not run: {left_out.reason}", style="yellow")
            table.add_row(Text(left_out.engine), "", "", "", "", reason)
        trajectory = self.trajectory
        drawn = (
            f"{trajectory.steps:,} steps, batch {trajectory.batch}, {int(trajectory.reset.sum())} resets, "
            f"{trajectory.source}, tolerance {self.tolerance:g}"
        )
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


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _divergence_to_json(divergence: Divergence | None) -> dict[str, Any] | None:
    if divergence is None:
        return None
    return asdict(divergence) | {"expected": _number(divergence.expected), "found": _number(divergence.found)}


def _tensor_to_json(tensor: TensorComparison) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "max_error": _number(tensor.max_error),
        "max_absolute_error": _number(tensor.max_absolute_error),
        "max_relative_error": _number(tensor.max_relative_error),
        "error_growth": [_number(error) for error in tensor.growth()],
        "first_divergence": _divergence_to_json(tensor.first_divergence),
    }
