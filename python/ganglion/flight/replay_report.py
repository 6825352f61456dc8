"""What a replay found: as an object, a table and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ganglion._foundation.documents import SCHEMA
from ganglion._foundation.tables import FilledTable

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class FlightDifference:
    """Where a replay first differs from its recording.

    Attributes:
        policy: number of the policy.
        what: `"status"`, the name of an output, `"action"` where it was drawn, or `"state"`.
        step: of this policy, from 0, as many as are in the recording; where the state differs after a reset, the step
            that would come next.
        sequence: number of the event in the flight.
        time_ns: of the event.
        row: of the batch, from 0; None where that is not known.
        element: from 0; None where that is not known, because the recording holds a digest of the state and no more.
        element_name: in the contract; empty where unknown.
        recorded: value in the recording, or the status in words.
        replayed: value in the replay, or the status in words.
    """

    policy: int
    what: str
    step: int
    sequence: int
    time_ns: int
    row: int | None
    element: int | None
    element_name: str
    recorded: float | str
    replayed: float | str

    @property
    def size(self) -> float | None:
        """`|replayed - recorded|`, or None where these are no numbers."""
        if isinstance(self.recorded, str) or isinstance(self.replayed, str):
            return None
        return abs(self.replayed - self.recorded)

    def __str__(self) -> str:
        where = f"step {self.step:,} of policy {self.policy} (event {self.sequence:,}, {self.time_ns / 1e9:.6f} s)"
        if self.element is None:
            return f"{where}: {self.what}: recorded {self.recorded}, replayed {self.replayed}"
        name = f" ({self.element_name})" if self.element_name else ""
        size = "" if self.size is None else f", {self.size:.3g} apart"
        return (
            f"{where}: {self.what}, row {self.row}, element {self.element}{name}: recorded {_said(self.recorded)}, "
            f"replayed {_said(self.replayed)}{size}"
        )


@dataclass(frozen=True)
class PolicyReplay:
    """What the replay of one policy found.

    Attributes:
        policy: its number in the flight.
        file: the name that it flew by, or the file that took its place.
        engine: what ran it here.
        recorded_engine: what flew it.
        exact: whether every bit is compared, and the digest of the state.
        tolerance: largest accepted `|replayed - recorded| / max(1, |recorded|)` where not.
        another: whether another policy than the one that flew was asked for.
        steps: compared.
        refused: of these, how many gave no action, in the flight as here.
        not_run: of these, how many the loop handed over with wrong sizes, or an engine of its own failed.
        skipped: steps before the one to begin at, or behind a gap before a state was recorded: nothing is known there.
        resets: done.
        states_set: done.
        actions_applied: done.
        snapshots: states that were compared, beside the digests.
        restarts: how often it went on with a recorded state behind a gap.
        first_step: the first step that was compared, or None.
        largest_difference: of any element of any output, absolute.
        largest_step: where that is.
        different_steps: how many differ.
        first: the first difference, or None.
    """

    policy: int
    file: str
    engine: str
    recorded_engine: str
    exact: bool
    tolerance: float
    another: bool
    steps: int
    refused: int
    not_run: int
    skipped: int
    resets: int
    states_set: int
    actions_applied: int
    snapshots: int
    restarts: int
    first_step: int | None
    largest_difference: float
    largest_step: int | None
    different_steps: int
    first: FlightDifference | None

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return self.first is None


@dataclass(frozen=True)
class ReplayReport:
    """Whether a flight can be had again.

    Attributes:
        recording: path of the file.
        policies: what was found of each.
        missing_events: how many the recorder had no room for.
        gaps: in how many places.
        cut: how the file stops where it has no end, or None.
        clock_set_back: how often the time of an event is earlier than that of the one before.
    """

    recording: str
    policies: tuple[PolicyReplay, ...]
    missing_events: int
    gaps: int
    cut: str | None
    clock_set_back: int

    @property
    def ok(self) -> bool:
        """Whether at least one step was compared, and nothing differs."""
        return self.steps > 0 and all(policy.ok for policy in self.policies)

    @property
    def steps(self) -> int:
        """How many were compared."""
        return sum(policy.steps for policy in self.policies)

    @property
    def first(self) -> FlightDifference | None:
        """The first difference in the flight, or None."""
        found = [policy.first for policy in self.policies if policy.first is not None]
        return min(found, key=lambda difference: difference.sequence, default=None)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.steps == 0:
            return f"nothing was compared: {self._why_nothing()}"
        first = self.first
        notes = self._notes()
        if first is not None:
            bad = [policy for policy in self.policies if policy.first is not None]
            many = sum(policy.different_steps for policy in bad)
            worst = max(bad, key=lambda policy: policy.largest_difference)
            where = "" if worst.largest_step is None else f" (step {worst.largest_step:,} of policy {worst.policy})"
            largest = f"; {many:,} of {self.steps:,} steps differ, by {worst.largest_difference:.3g} at most{where}"
            return f"not the same flight: {first}{largest}{notes}"
        exact = all(policy.exact for policy in self.policies if policy.steps)
        worst_of = max(policy.largest_difference for policy in self.policies)
        tolerance = max(policy.tolerance for policy in self.policies)
        how = "bit for bit" if exact else f"within {tolerance:g} (largest difference {worst_of:.2g})"
        return f"the same flight {how}: {self.steps:,} steps{notes}"

    def _why_nothing(self) -> str:
        skipped = sum(policy.skipped for policy in self.policies)
        if skipped:
            return f"of {skipped:,} recorded steps none stands behind a state that is known"
        return f"there is no step in the recording{self._notes()}"

    def _notes(self) -> str:
        notes = []
        refused = sum(policy.refused for policy in self.policies)
        if refused:
            notes.append(f"{refused:,} of them were refused, here as there")
        if self.missing_events:
            restarts = sum(policy.restarts for policy in self.policies)
            notes.append(
                f"{self.missing_events:,} events are missing in {self.gaps:,} gaps, behind which it went on "
                f"{restarts:,} times with a recorded state"
            )
        skipped = sum(policy.skipped for policy in self.policies)
        if skipped:
            notes.append(f"{skipped:,} steps were left out")
        if self.clock_set_back:
            notes.append(f"the clock of the recording was set back {self.clock_set_back:,} times")
        if self.cut is not None:
            notes.append(self.cut)
        return "".join(f"; {note}" for note in notes)

    def to_json(self) -> str:
        """The report as strict JSON; a number that is not finite becomes a string (`"nan"`)."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "ok": self.ok,
                "verdict": self.verdict,
                "recording": self.recording,
                "steps": self.steps,
                "missing_events": self.missing_events,
                "gaps": self.gaps,
                "cut": self.cut,
                "clock_set_back": self.clock_set_back,
                "first_difference": _difference(self.first),
                "policies": [
                    asdict(policy)
                    | {
                        "ok": policy.ok,
                        "first": _difference(policy.first),
                        "largest_difference": _number(policy.largest_difference),
                    }
                    for policy in self.policies
                ],
            },
            allow_nan=False,
        )

    def __rich__(self) -> RenderableType:
        columns = (
            "policy",
            "file",
            "engine",
            ">steps",
            ">refused",
            ">left out",
            ">resets",
            ">states",
            "first difference",
        )
        rows = [
            (
                str(policy.policy),
                Path(policy.file).name,
                policy.engine,
                f"{policy.steps:,}",
                f"{policy.refused:,}" if policy.refused else "",
                f"{policy.skipped:,}" if policy.skipped else "",
                f"{policy.resets:,}",
                f"{policy.snapshots:,}",
                Text("none", style="green")
                if policy.first is None
                else Text(f"step {policy.first.step:,}, {policy.first.what}", style="bold red"),
            )
            for policy in self.policies
        ]
        table = FilledTable(f"{self.recording}, flown again", columns, rows)
        return Group(table, Text(self.verdict, style="bold green" if self.ok else "bold red"))


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.9g}"


def _number(value: float | str | None) -> float | str | None:
    return value if value is None or isinstance(value, str) or math.isfinite(value) else str(value)


def _difference(found: FlightDifference | None) -> dict[str, object] | None:
    if found is None:
        return None
    numbers = {key: _number(getattr(found, key)) for key in ("recorded", "replayed")}
    return asdict(found) | numbers | {"size": _number(found.size)}
