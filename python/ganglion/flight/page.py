"""A recorded flight as one HTML page: what happened, as text, and everything that was recorded, as curves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.boundary import bounded
from ganglion._foundation.files import replacing
from ganglion._foundation.flights import EVENT_KINDS, REASONS, STATUSES, TICKS
from ganglion._foundation.targets import check_target
from ganglion.flight.recorded import read
from ganglion.flight.summary import FlightSummary, milliseconds, periods_s, summary

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ganglion.contract import TensorSpec
    from ganglion.flight.recorded import Flight, FlownPolicy
    from ganglion.verify.page import Channel, Curves

    _Row = tuple[str | tuple[str, str], ...]

_MOST_EVENTS = 300
_MOST_ROWS = 4
_BINS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.01, 1.05, 1.1, 1.2, 1.5, 2.0, 5.0, np.inf)
"""Edges of the histogram of periods, as parts of the median."""
_STYLE = (
    ".share { display: inline-block; height: .7rem; min-width: 1px; border-radius: .15rem; background: var(--accent); }"
    " td.shares { width: 45%; min-width: 7rem; }"
)


@bounded(what="cannot be shown")
def report(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> FlightSummary:
    """Writes one HTML page about a recorded flight, which needs no other file.

    Traces of every observation, action, output and channel; resets, refused steps, gaps, exchanges; how the steps came
    in time; which elements left the bounds of the contract, and what a guard did.

    Args:
        path: a `.mcap` file of `FlightRecorder`.
        output: the `.html` file.
        progress: called with (what is done, bytes done, bytes in all).

    Returns:
        the facts of the page.

    Raises:
        ArtifactError: see `read`.
        ExportError: the page cannot be written where it shall be.
        ValueError: another suffix than `.html`.
    """
    target = Path(output)
    if target.suffix != ".html":
        raise ValueError(f"{target}: a report of a flight is saved as .html")
    check_target(target)
    flight = read(path, progress=progress)
    facts = summary(flight)
    text = render(flight, facts)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return facts


def render(flight: Flight, facts: FlightSummary) -> str:
    """The page."""
    # The pages of reports are made by `verify`, which a robot that flies has no use for.
    from ganglion.verify.page import document, section, tiles, to_html, verdict_box, viewer

    name = Path(flight.path).name
    notes = facts.notes()
    steps = sum(policy.steps for policy in facts.policies)
    refused = sum(sum(policy.refused.values()) for policy in facts.policies)
    flown = ", ".join(f"policy {one.policy}: {Path(one.file).name} on {one.engine}" for one in facts.policies)
    when = "in simulated time" if facts.began is None else f"on {facts.began}"
    headline = "As it should be" if not notes else f"{len(notes)} things to look at" if notes[1:] else "To be looked at"
    said = "every event is in the recording, no step was refused, nothing left its bounds"
    body = [
        '<p class="eyebrow">ganglion report</p>',
        f"<h1>{to_html(name)}</h1>",
        f'<p class="lead">Recorded {to_html(when)} by ganglion {to_html(facts.version)}; '
        f"{to_html(flown or 'no policy was attached')}. <code>ganglion replay {to_html(name)}</code> has it again.</p>",
        verdict_box(
            headline, said if not notes else notes[0] if len(notes) == 1 else "they stand below", good=not notes
        ),
        tiles(
            [
                ("duration", f"{facts.duration_s:,.2f} s"),
                ("steps", f"{steps:,}"),
                ("refused", f"{refused:,}"),
                ("resets", f"{sum(policy.resets for policy in facts.policies):,}"),
                ("missing events", f"{facts.missing_events:,}"),
                ("out of bounds", f"{len(facts.outside):,} elements"),
            ]
        ),
        *(f'<p class="finding">{to_html(note)}</p>' for note in notes if len(notes) > 1),
    ]
    for policy in flight.policies:
        if len(policy.steps):
            title = f"Traces of policy {policy.number}" if len(flight.policies) > 1 else "Traces"
            body.append(section(title, viewer(_curves(policy)), note=_about(flight, policy)))
    body += [section("What happened", *_events(flight))]
    body += [_timing(policy, len(flight.policies) > 1) for policy in flight.policies if len(policy.steps) > 1]
    body += _ticks(flight)
    body += _bounds(facts)
    body += _guard(flight)
    for topic, values in flight.channels.items():
        if len(values):
            body.append(
                section(f"Channel {topic}", viewer(_channel_curves(topic, values)), note="values of the user's own")
            )
    body += _contracts(flight)
    return document(f"{headline}: {name}", body, style=_STYLE)


def _about(flight: Flight, policy: FlownPolicy) -> str:
    said = f"{Path(policy.file).name}, {len(policy.steps):,} steps"
    if any(gap.sequence > policy.steps["sequence"][0] for gap in flight.gaps):
        said += "; where events are missing, the curves go on with the next step that was recorded"
    return said + "; dashed lines are the bounds of the contract"


def _curves(policy: FlownPolicy) -> Curves:
    from ganglion.verify.page import Curves, Row

    contract = policy.contract
    rows = range(min(policy.batch, _MOST_ROWS))
    outputs = [(spec, policy.output(index)) for index, spec in enumerate(contract.outputs[1:], 1)]
    channels = [one for row in rows for one in _channels("action", contract.outputs[0], policy.action, row)]
    start = 0
    for spec in contract.inputs:
        values = policy.observation[:, :, start : start + spec.size]
        channels += [one for row in rows for one in _channels(spec.name, spec, values, row)]
        start += spec.size
    channels += [
        one for spec, values in outputs for row in rows for one in _channels(spec.name, spec, values, row, minor=True)
    ]
    periods = periods_s(policy)
    measured = float(np.median(periods)) if len(periods) else None
    left_out = f"Of {policy.batch:,} rows, {len(rows)} can be chosen." if len(rows) < policy.batch else ""
    return Curves(
        runs=("flight",),
        rows=[Row(f"row {row}", policy.begins[:, row]) for row in rows],
        channels=channels,
        period_s=measured if measured and measured > 0.0 else contract.period_s,
        left_out=left_out,
    )


def _channels(
    group: str, spec: TensorSpec, values: NDArray[np.float32], row: int, *, minor: bool = False
) -> Iterator[Channel]:
    from ganglion.verify.page import Channel

    for element in range(spec.size):
        yield Channel(
            group=group,
            name=spec.element_names[element] if spec.element_names else f"{spec.name}[{element}]",
            row=row,
            values=[np.ascontiguousarray(values[:, row, element])],
            unit=spec.units[element] if spec.units else "",
            minor=minor,
            low=spec.low[element] if spec.low else None,
            high=spec.high[element] if spec.high else None,
        )


def _channel_curves(topic: str, values: NDArray[Any]) -> Curves:
    from ganglion.verify.page import Channel, Curves, Row

    numbers = values["values"].reshape(len(values), -1)
    periods = np.diff(values["time_ns"].astype(np.float64)) / 1e9
    measured = float(np.median(periods)) if len(periods) else 0.0
    return Curves(
        runs=("flight",),
        rows=[Row("row 0", np.zeros(len(values), np.bool_))],
        channels=[
            Channel(topic, f"{topic}[{i}]", 0, [np.ascontiguousarray(numbers[:, i])]) for i in range(numbers.shape[1])
        ],
        period_s=measured if measured > 0.0 else None,
    )


def _events(flight: Flight) -> list[str]:
    """Everything that is no step of a policy that went well, in order."""
    from ganglion.verify.page import table

    found: list[tuple[int, int, str, str]] = []
    for event in flight.events:
        kind = EVENT_KINDS[event["kind"]]
        if kind != "gap":
            more = f" ({int(event['count']):,})" if event["count"] else ""
            found.append((int(event["sequence"]), int(event["time_ns"]), kind, f"policy {int(event['policy'])}{more}"))
    for gap in flight.gaps:
        found.append((gap.sequence, _time_at(flight, gap.sequence), "gap", f"{gap.missing:,} events are missing"))
    for policy in flight.policies:
        found += _events_of(policy)
    found.sort()
    begin = min((time for _, time, _, _ in found), default=0)
    rows: list[_Row] = [
        (("number", f"{sequence:,}"), ("number", f"{(time - begin) / 1e9:,.6f} s"), _marked(kind), said)
        for sequence, time, kind, said in found[:_MOST_EVENTS]
    ]
    more = f'<p class="note">Of {len(found):,} events, the first {_MOST_EVENTS} are listed.</p>'
    return [table(("event", "time", "", "what"), rows), *([more] if len(found) > _MOST_EVENTS else [])]


def _marked(kind: str) -> tuple[str, str] | str:
    bad = {"gap": "bad", "refused": "bad", "rejected": "warn", "rolled_back": "warn", "took_over": "good"}
    return (bad[kind], kind.replace("_", " ")) if kind in bad else kind.replace("_", " ")


def _time_at(flight: Flight, sequence: int) -> int:
    """Time of the first step from an event on."""
    times = []
    for policy in flight.policies:
        at = int(np.searchsorted(policy.steps["sequence"], sequence))
        if at < len(policy.steps):
            times.append(int(policy.steps["time_ns"][at]))
    return min(times, default=0)


def _events_of(policy: FlownPolicy) -> Iterator[tuple[int, int, str, str]]:
    for event in policy.resets[: _MOST_EVENTS + 1]:
        rows = np.atleast_1d(event["rows"])
        which = "" if rows.all() else f", rows {', '.join(map(str, np.flatnonzero(rows)[:20]))}"
        answer = "" if event["status"] == 0 else f": {STATUSES[event['status']]}"
        yield int(event["sequence"]), int(event["time_ns"]), "reset", f"policy {policy.number}{which}{answer}"
    for kind, events in (("state set", policy.set_states), ("action applied", policy.applied_actions)):
        for event in events[: _MOST_EVENTS + 1]:
            answer = "" if event["status"] == 0 else f": {STATUSES[event['status']]}"
            yield int(event["sequence"]), int(event["time_ns"]), kind, f"policy {policy.number}{answer}"
    # Refused steps behind each other are one line.
    statuses = policy.steps["status"]
    edges = [0, *(np.flatnonzero(np.diff(statuses)) + 1), len(statuses)]
    for first, stop in itertools.pairwise(edges):
        if first < stop and statuses[first] != 0:
            step = policy.steps[first]
            many = f"step {first:,}" if stop - first == 1 else f"steps {first:,} to {stop - 1:,}"
            said = f"policy {policy.number}, {many}: {STATUSES[statuses[first]]}"
            yield int(step["sequence"]), int(step["time_ns"]), "refused", said


def _timing(policy: FlownPolicy, several: bool) -> str:
    from ganglion.verify.page import section, table

    periods = periods_s(policy)
    median = float(np.median(periods))
    trained = policy.contract.period_s
    facts: list[_Row] = [
        ("trained", ("number", milliseconds(trained) or "unknown")),
        ("median", ("number", milliseconds(median))),
        *((f"p{q:g}", ("number", milliseconds(float(np.percentile(periods, q))))) for q in (1, 99, 99.9, 99.99)),
        ("longest", ("number", f"{milliseconds(float(periods.max()))}, before step {int(periods.argmax()) + 1:,}")),
        ("clock set back", ("number", f"{int((periods < 0).sum()):,} times")),
    ]
    title = f"Time from step to step, policy {policy.number}" if several else "Time from step to step"
    return section(title, table(("", ""), facts), _histogram(periods, median))


def _histogram(periods: NDArray[np.float64], median: float) -> str:
    if median <= 0.0:
        return ""
    edges = np.array(_BINS) * median
    counts = np.histogram(np.maximum(periods, 0.0), edges)[0]
    used = slice(int((counts > 0).argmax()), len(counts) - int((counts[::-1] > 0).argmax()))
    lines = []
    for low, high, count in zip(edges[:-1][used], edges[1:][used], counts[used], strict=True):
        span = f"{low * 1e3:,.4g} to {high * 1e3:,.4g} ms" if np.isfinite(high) else f"longer than {low * 1e3:,.4g} ms"
        bar = f'<span class="share" style="width:{100.0 * count / counts.max():.2f}%"></span>' if count else ""
        lines.append(
            f'<tr><td class="number">{span}</td><td class="number">{count:,}</td><td class="shares">{bar}</td></tr>'
        )
    return (
        '<p></p><div class="scroll" tabindex="0"><table><thead><tr><th>period</th><th>steps</th><th></th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _ticks(flight: Flight) -> list[str]:
    from ganglion.verify.page import section, table

    if not len(flight.ticks):
        return []
    rows: list[_Row] = []
    for number, name in enumerate(TICKS):
        own = flight.ticks[flight.ticks["tick"] == number]
        if len(own):
            worst = own[int(np.abs(np.nan_to_num(own["off_s"])).argmax())]
            rows.append((name, ("number", f"{len(own):,}"), ("number", milliseconds(float(worst["off_s"])))))
    return [section("Ticks of the loop", table(("", "ticks", "farthest from its time"), rows))]


def _bounds(facts: FlightSummary) -> list[str]:
    from ganglion.verify.page import section, table

    if not facts.outside:
        return []
    rows: list[_Row] = [
        (
            f"policy {each.policy}",
            each.tensor,
            each.name or str(each.element),
            ("number", "" if each.low is None else f"{each.low:.6g}"),
            ("number", "" if each.high is None else f"{each.high:.6g}"),
            ("number", f"{each.lowest:.6g}"),
            ("number", f"{each.highest:.6g}"),
            ("number", f"{each.steps:,}"),
            ("number", f"{each.first_step:,}"),
        )
        for each in facts.outside
    ]
    headings = ("", "tensor", "element", "low", "high", "lowest", "highest", "steps outside", "first step")
    return [section("Out of bounds", table(headings, rows))]


def _guard(flight: Flight) -> list[str]:
    from ganglion.verify.page import section, table

    rows: list[_Row] = []
    for guard in flight.guards:
        pairs, counts = np.unique(
            np.stack([guard["reason"].astype(np.int64), guard["element"].astype(np.int64)]), axis=1, return_counts=True
        )
        for (reason, element), count in zip(pairs.T, counts, strict=True):
            rows.append((REASONS[reason], str(element), ("number", f"{count:,}")))
    return [section("What the guard did", table(("reason", "first element", "times"), rows))] if rows else []


def _contracts(flight: Flight) -> list[str]:
    from ganglion.verify.describe import contract_facts
    from ganglion.verify.page import section, table

    return [
        section(f"Contract of policy {policy.number}", table(("", ""), contract_facts(policy.contract)))
        for policy in flight.policies
    ]
