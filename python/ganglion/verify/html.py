"""A parity report as one self-contained HTML page: no script, no link, every picture inside."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ganglion.errors import EngineUnavailableError, printable
from ganglion.verify.describe import ELEMENT_COLUMNS, NOTHING_KNOWN, contract_facts, element_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ganglion.contract import TensorSpec
    from ganglion.verify.parity import Comparison, TensorComparison
    from ganglion.verify.report import ParityReport

# After Okabe and Ito: told apart with every kind of colour vision. Their vermilion is kept for limits and faults.
_COLOURS = {
    "light": ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
    "dark": ("#56b4e9", "#e69f00", "#26b88f", "#e39cc4", "#9db4ff"),
}
_LIMIT = "#d55e00"
_INK = {"light": "#1d2127", "dark": "#d7dce3"}
_GRID = {"light": "#dfe3e8", "dark": "#343b44"}
_MOST_TRACES = 6
_TRACE_STEPS = 300
_FLOOR = 1e-10  # exact equality has no place on a log axis
_CEILING = 1e3

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2127; --soft: #5d6672; --paper: #ffffff; --card: #f6f7f9;
  --line: #dfe3e8; --good: #0a7a4b; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #d7dce3; --soft: #98a2ae; --paper: #14171b; --card: #1c2026;
  --line: #343b44; --good: #4cc38a; --bad: #ff8a80; --warn: #e6b450; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.65rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
p.note, figcaption { color: var(--soft); font-size: .9rem; margin: .25rem 0 .75rem; }
.verdict { margin: 1.25rem 0; padding: .9rem 1.1rem; border-radius: .5rem; background: var(--card);
  border-left: .3rem solid var(--good); overflow-wrap: anywhere; }
.verdict.bad { border-color: var(--bad); }
.verdict strong { display: block; color: var(--good); font-size: 1.1rem; }
.verdict.bad strong, td.bad { color: var(--bad); }
td.good { color: var(--good); } td.warn { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
figure { margin: 0; } img { width: 100%; height: auto; display: block; }
"""


def render_html(report: ParityReport) -> str:
    """Draws the page: verdict, error table, error and state error over time, action traces, contract.

    Raises:
        EngineUnavailableError: matplotlib is not installed.
    """
    contract = report.contract
    title = f"ganglion parity: {report.artifact}"
    trajectory = report.trajectory
    body = [
        f"<h1>{escape(report.artifact)}</h1>",
        f'<p class="note">compared with {escape(report.reference.name)} over {trajectory.steps:,} steps, '
        f"batch {trajectory.batch}, {int(trajectory.reset.sum())} resets ({escape(trajectory.source)}); "
        f"float64: {escape(report.truth or 'not run')}</p>",
        f'<div class="verdict{"" if report.ok else " bad"}"><strong>{_headline(report)}</strong>'
        f"{escape(report.verdict)}</div>",
        *(f'<p class="note">[{escape(f.code)}] {escape(f.sentence)}</p>' for f in report.findings),
        "<h2>Errors</h2>",
        _error_table(report),
        _errors_figure(report, "Error over time", "largest error of all outputs", lambda c: c.outputs),
        _errors_figure(report, "State error over time", "largest error of the hidden state", _state_of),
        _traces_figure(report),
        "<h2>Contract</h2>",
        _table(("", ""), ((escape(label), escape(value)) for label, value in contract_facts(contract))),
        *(_tensor_section("Input", spec) for spec in contract.inputs),
        *(_tensor_section("Output", spec) for spec in contract.outputs),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _headline(report: ParityReport) -> str:
    if report.ok:
        return "Equal" if report.independent else "Nothing was compared"
    judged = bool(report.comparisons) and report.reference.failure is None
    return "Not equal" if judged else "No verdict"


def _error_table(report: ParityReport) -> str:
    headings = ("implementation", "tensor", "max absolute", "max relative", "to float64", "first divergence", "")
    rows: list[tuple[str | tuple[str, str], ...]] = [
        ("reference", escape(name), "", "", f"{distance:.3e}", "", "")
        for name, distance in report.reference_from_float64.items()
    ]
    for comparison in report.comparisons:
        for tensor in comparison.tensors:
            first = tensor.first_divergence
            where = f"none; {tensor.by_rounding:,} elements by rounding" if tensor.by_rounding else "none"
            if first is not None:
                name = f" ({first.element_name})" if first.element_name else ""
                where = (
                    f"step {first.step}, row {first.row}, element {first.element}{name}: "
                    f"expected {first.expected:.9g}, found {first.found:.9g}"
                )
            rows.append(
                (
                    escape(comparison.engine),
                    escape(tensor.name),
                    f"{tensor.max_absolute_error:.3e}",
                    f"{tensor.max_relative_error:.3e}",
                    "" if tensor.from_float64 is None else f"{tensor.from_float64:.3e}",
                    escape(where),
                    ("good", "equal") if first is None else ("bad", "differs"),
                )
            )
        if comparison.failure is not None:
            rows.append((escape(comparison.engine), "", "", "", "", escape(comparison.failure), ("bad", "stopped")))
    for left_out in report.not_run:
        rows.append((escape(left_out.engine), "", "", "", "", escape(left_out.reason), ("warn", "not run")))
    return _table(headings, rows)


def _tensor_section(kind: str, spec: TensorSpec) -> str:
    rows = [tuple(escape(text) for text in row) for row in element_rows(spec)]
    known = _table(ELEMENT_COLUMNS, rows) if rows else f'<p class="note">{spec.size} elements, {NOTHING_KNOWN}</p>'
    return f"<h2>{kind} {escape(spec.name)}</h2>" + known


def _table(headings: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
    """A table of cells that are HTML already; a cell may be `(class, HTML)`."""
    head = "".join(f"<th>{heading}</th>" for heading in headings) if any(headings) else ""
    lines = [f"<thead><tr>{head}</tr></thead>" if head else "", "<tbody>"]
    for row in rows:
        cells = (
            f"<td>{cell}</td>" if isinstance(cell, str) else f'<td class="{cell[0]}">{cell[1]}</td>' for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</tbody></table></div>'


def _state_of(comparison: Comparison) -> tuple[TensorComparison, ...]:
    return () if comparison.state is None else (comparison.state,)


def _errors_figure(
    report: ParityReport,
    heading: str,
    caption: str,
    tensors_of: Callable[[Comparison], tuple[TensorComparison, ...]],
) -> str:
    chosen = [(c.engine, tensors_of(c)) for c in report.comparisons if tensors_of(c)]
    if not chosen:
        return ""

    def draw(figure: Figure, mode: str) -> None:
        axes = figure.subplots()
        for index, (engine, tensors) in enumerate(chosen):
            errors = np.max([tensor.error_per_step for tensor in tensors], axis=0)
            drawn = np.clip(errors, _FLOOR, _CEILING)
            colour = _COLOURS[mode][index % len(_COLOURS[mode])]
            axes.plot(_time(report, 0, len(errors)), drawn, label=engine, color=colour, linewidth=1.1, alpha=0.85)
        axes.axhline(report.tolerance, color=_LIMIT, linestyle="--", linewidth=1.2, label="tolerance")
        axes.set_yscale("log")
        axes.set_ylim(_FLOOR / 2.0, max(axes.get_ylim()[1], 10.0 * report.tolerance))
        axes.set_ylabel("error")
        _finish(axes, report, mode)

    note = f"{caption} at each step, |found - expected| / max(1, |expected|); values below {_FLOOR:g} are drawn there"
    return _figure(heading, note, (9.2, 3.2), draw)


def _traces_figure(report: ParityReport) -> str:
    action = report.contract.outputs[0]
    first = report.first_divergence
    row = 0 if first is None else first.row
    middle = _TRACE_STEPS // 2 if first is None else first.step
    start = max(0, min(middle - _TRACE_STEPS // 2, report.trajectory.steps - _TRACE_STEPS))
    stop = min(report.trajectory.steps, start + _TRACE_STEPS)
    shown = list(range(min(action.size, _MOST_TRACES)))
    if first is not None and first.output == action.name and first.element not in shown:
        shown[-1] = first.element
    runs = [run for run in report.runs if action.name in run.outputs and run.outputs[action.name].shape[1] > row]
    resets = [step for step in range(start, stop) if report.trajectory.reset[step, row]]

    def draw(figure: Figure, mode: str) -> None:
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
        time = _time(report, start, stop)
        for axes, element in zip(grid[:, 0], shown, strict=True):
            reference = report.reference.outputs[action.name][start:stop, row, element]
            axes.plot(time, reference, color=_INK[mode], linewidth=3.0, alpha=0.3, label=report.reference.name)
            for index, run in enumerate(runs):
                trace = run.outputs[action.name][start:stop, row, element]
                # Shifted dashes: where curves lie on each other, every one of them stays visible.
                dashes = (4 * index, (4, 4 * max(1, len(runs) - 1)))
                colour = _COLOURS[mode][index % len(_COLOURS[mode])]
                axes.plot(time, trace, label=run.name, color=colour, linewidth=1.4, linestyle=dashes)
            for step in resets:
                axes.axvline(time[step - start], color=_INK[mode], linewidth=0.8, linestyle=":")
            if first is not None:
                axes.axvline(time[first.step - start], color=_LIMIT, linewidth=1.2)
            name = action.element_names[element] if action.element_names else f"{action.name}[{element}]"
            unit = f" ({action.units[element]})" if action.units and action.units[element] else ""
            axes.set_ylabel(f"{name}{unit}")
            _finish(axes, report, mode, legend=element == shown[0], label=element == shown[-1])

    left_out = f"; {action.size - len(shown)} more elements not drawn" if action.size > len(shown) else ""
    note = f"steps {start} to {stop - 1} of row {row}; dotted lines are resets{left_out}"
    if first is not None:
        note += "; the solid upright line is the first divergence"
    return _figure("Action traces", note, (9.2, 0.9 + 1.5 * len(shown)), draw)


def _time(report: ParityReport, start: int, stop: int) -> NDArray[np.float64]:
    return np.arange(start, stop, dtype=np.float64) * (report.contract.period_s or 1.0)


def _finish(axes: Axes, report: ParityReport, mode: str, *, legend: bool = True, label: bool = True) -> None:
    if label:
        axes.set_xlabel("step" if report.contract.period_s is None else "time (s)")
    if legend:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, labelcolor=_INK[mode])
    axes.grid(color=_GRID[mode], linewidth=0.6)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_GRID[mode])
    axes.tick_params(colors=_INK[mode], which="both", length=0)
    axes.xaxis.label.set_color(_INK[mode])
    axes.yaxis.label.set_color(_INK[mode])
    drawn_legend = axes.get_legend()
    # A name from a contract is text, whatever dollar signs it holds; of characters that it cannot draw, matplotlib
    # warns with the characters themselves.
    for text in (axes.yaxis.label, *(drawn_legend.get_texts() if drawn_legend is not None else ())):
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))


def _figure(heading: str, note: str, size: tuple[float, float], draw: Callable[[Figure, str], None]) -> str:
    """Draws a picture twice, for light and for dark paper; the browser shows the one that fits."""
    light, dark = (_png(size, draw, mode) for mode in ("light", "dark"))
    return (
        f"<h2>{escape(heading)}</h2>\n<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(heading)}" src="{light}"></picture><figcaption>{escape(note)}</figcaption></figure>'
    )


def _png(size: tuple[float, float], draw: Callable[[Figure, str], None], mode: str) -> str:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineUnavailableError("an HTML report needs matplotlib: pip install 'ganglion[report]'") from error
    # A bare Figure draws with Agg and touches no global state of pyplot.
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    draw(figure, mode)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
