"""What a recorded flight says of itself: facts for a table, for JSON and for the page."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from ganglion._foundation.flights import EVENT_KINDS, REASONS, STATUSES, TICKS
from ganglion._foundation.tables import FilledTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from rich.console import RenderableType

    from ganglion.contract import TensorSpec
    from ganglion.flight.recorded import Flight, FlownPolicy

_TRAINED = 0.05
"""A policy whose median period is farther from the trained one, as a part of it, is flown at another one."""


@dataclass(frozen=True)
class Outside:
    """An element that left the bounds of the contract.

    Attributes:
        policy: number of the policy.
        tensor: name of the input or output.
        element: from 0, in the tensor.
        name: of the element, or empty.
        low: lower bound, or None.
        high: upper bound, or None.
        lowest: smallest value.
        highest: largest value.
        steps: how often it was outside, all rows together.
        first_step: where it first was.
    """

    policy: int
    tensor: str
    element: int
    name: str
    low: float | None
    high: float | None
    lowest: float
    highest: float
    steps: int
    first_step: int


@dataclass(frozen=True)
class PolicyFacts:
    """What one policy did.

    Attributes:
        policy: its number.
        file: the name that it was loaded by.
        engine: what ran it.
        batch: rows of a step.
        steps: how many were recorded.
        refused: of these, how many answered what, but for `ok`.
        resets: how often rows were reset.
        states_set: how often the state was set.
        actions_applied: how often it was told what was executed.
        snapshots: how many states were recorded.
        trained_period_s: of the contract, or None.
        period_s: median time from step to step, or None.
        longest_period_s: longest time from step to step, or None.
    """

    policy: int
    file: str
    engine: str
    batch: int
    steps: int
    refused: dict[str, int]
    resets: int
    states_set: int
    actions_applied: int
    snapshots: int
    trained_period_s: float | None
    period_s: float | None
    longest_period_s: float | None


@dataclass(frozen=True)
class FlightSummary:
    """What a recorded flight says of itself.

    Attributes:
        recording: path of the file.
        version: of the ganglion that recorded it.
        began: time of the first event as ISO 8601 in UTC, or None where time was simulated.
        duration_s: from the first to the last event.
        policies: what each did.
        missing_events: how many the recorder had no room for.
        gaps: in how many places.
        cut: how the file stops where it has no end, or None.
        closed: whether the recorder was closed.
        ticks: how many ticks of a `TickMonitor` came how.
        guard: how often an `ActionGuard` did what.
        exchanges: what a `PolicySwitch` did, and how often.
        outside: elements that left their bounds.
    """

    recording: str
    version: str
    began: str | None
    duration_s: float
    policies: tuple[PolicyFacts, ...]
    missing_events: int
    gaps: int
    cut: str | None
    closed: bool
    ticks: dict[str, int]
    guard: dict[str, int]
    exchanges: dict[str, int]
    outside: tuple[Outside, ...]

    def notes(self) -> list[str]:
        """What is to be looked at, a sentence each; nothing where the flight was as it should be."""
        found = []
        if self.cut is not None:
            found.append(self.cut)
        elif not self.closed:
            found.append("the recorder was not closed: events that were not written yet are not in the file")
        if self.missing_events:
            found.append(f"{self.missing_events:,} events are missing in {self.gaps:,} gaps: the ring was full")
        for policy in self.policies:
            refused = ", ".join(f"{count:,} times {status}" for status, count in policy.refused.items())
            if refused:
                found.append(f"policy {policy.policy} refused steps: {refused}")
            trained, period = policy.trained_period_s, policy.period_s
            if trained and period and abs(period - trained) > _TRAINED * trained:
                found.append(
                    f"policy {policy.policy} was trained at {trained:.4g} s a step and was stepped every {period:.4g} "
                    "s: what it remembers runs at another speed"
                )
        late = sum(self.ticks.get(name, 0) for name in ("late", "missed"))
        if late:
            found.append(f"{late:,} of {sum(self.ticks.values()):,} ticks came late, or one before them never")
        if self.guard.get("expired"):
            found.append(f"the guard had no action for too long, {self.guard['expired']:,} times")
        if self.outside:
            names = ", ".join(dict.fromkeys(each.name or f"{each.tensor}[{each.element}]" for each in self.outside[:5]))
            more = f" and {len(self.outside) - 5} more" if len(self.outside) > 5 else ""
            found.append(f"elements left the bounds of the contract: {names}{more}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self) | {"notes": self.notes()}

    def __rich__(self) -> RenderableType:
        columns = ("policy", "file", "engine", ">steps", ">refused", ">resets", ">period", ">longest")
        rows = [
            (
                str(policy.policy),
                Path(policy.file).name,
                policy.engine,
                f"{policy.steps:,}",
                f"{sum(policy.refused.values()):,}" if policy.refused else "",
                f"{policy.resets:,}",
                milliseconds(policy.period_s),
                milliseconds(policy.longest_period_s),
            )
            for policy in self.policies
        ]
        when = "simulated time" if self.began is None else self.began
        head = Text(f"{self.duration_s:,.3f} s, {when}", style="dim")
        notes = [Text(note, style="bold yellow") for note in self.notes()]
        return Group(FilledTable(self.recording, columns, rows), head, *notes)


def milliseconds(seconds: float | None) -> str:
    """A time as text."""
    return "" if seconds is None else f"{seconds * 1e3:,.3f} ms"


def summary(flight: Flight) -> FlightSummary:
    """What a flight says of itself."""
    first, last = _span(flight)
    return FlightSummary(
        recording=flight.path,
        version=flight.version,
        began=_time_of_day(first + flight.clock_offset_ns) if flight.clock_offset_ns else None,
        duration_s=(last - first) / 1e9,
        policies=tuple(_facts(policy) for policy in flight.policies),
        missing_events=flight.missing_events,
        gaps=len(flight.gaps),
        cut=None if flight.cut is None else flight.cut.sentence,
        closed=bool(flight.statistics),
        ticks=_counted(flight.ticks["tick"], TICKS),
        guard=_counted(np.concatenate([np.zeros(0, np.uint8), *(guard["reason"] for guard in flight.guards)]), REASONS),
        exchanges={
            kind: count
            for kind, count in _counted(flight.events["kind"], EVENT_KINDS).items()
            if kind in ("took_over", "rejected", "rolled_back")
        },
        outside=tuple(one for policy in flight.policies for one in _outside(policy)),
    )


def periods_s(policy: FlownPolicy) -> NDArray[np.float64]:
    """Seconds from each step to the next one."""
    return np.diff(policy.steps["time_ns"].astype(np.float64)) / 1e9


def _span(flight: Flight) -> tuple[int, int]:
    times = [
        values["time_ns"][[0, -1]]
        for values in (
            *(array for policy in flight.policies for array in (policy.steps, policy.resets, policy.snapshots)),
            flight.events,
            flight.ticks,
            *flight.channels.values(),
        )
        if len(values)
    ]
    return (0, 0) if not times else (int(min(pair[0] for pair in times)), int(max(pair[1] for pair in times)))


def _time_of_day(nanoseconds: int) -> str | None:
    try:
        return datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None


def _counted(values: NDArray[Any], names: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(values, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _facts(policy: FlownPolicy) -> PolicyFacts:
    periods = periods_s(policy)
    refused = _counted(policy.steps["status"], STATUSES)
    refused.pop("ok", None)
    return PolicyFacts(
        policy=policy.number,
        file=policy.file,
        engine=policy.engine,
        batch=policy.batch,
        steps=len(policy.steps),
        refused=refused,
        resets=int((policy.resets["status"] == 0).sum()),
        states_set=len(policy.set_states),
        actions_applied=len(policy.applied_actions),
        snapshots=len(policy.snapshots),
        trained_period_s=policy.contract.period_s,
        period_s=float(np.median(periods)) if len(periods) else None,
        longest_period_s=float(periods.max()) if len(periods) else None,
    )


def _outside(policy: FlownPolicy) -> Iterator[Outside]:
    contract, start = policy.contract, 0
    for spec in contract.inputs:
        yield from _outside_of(policy, spec, policy.observation[:, :, start : start + spec.size])
        start += spec.size
    yield from _outside_of(policy, contract.outputs[0], policy.action)


def _outside_of(policy: FlownPolicy, spec: TensorSpec, values: NDArray[np.float32]) -> Iterator[Outside]:
    for element in range(spec.size):
        low = np.float32(spec.low[element]) if spec.low else np.float32(-np.inf)
        high = np.float32(spec.high[element]) if spec.high else np.float32(np.inf)
        own = values[:, :, element]
        with np.errstate(invalid="ignore"):
            beyond = (own < low) | (own > high)
        if beyond.any():
            seen = own[np.isfinite(own)]
            yield Outside(
                policy=policy.number,
                tensor=spec.name,
                element=element,
                name=spec.element_names[element] if spec.element_names else "",
                low=float(low) if np.isfinite(low) else None,
                high=float(high) if np.isfinite(high) else None,
                lowest=float(seen.min()) if len(seen) else float("-3.4e38"),
                highest=float(seen.max()) if len(seen) else float("3.4e38"),
                steps=int(beyond.sum()),
                first_step=int(beyond.any(axis=1).argmax()),
            )
