"""Flies a recorded flight again, from its file alone, and compares every bit."""

from __future__ import annotations

import math
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import _core, runtime
from ganglion._foundation.boundary import bounded
from ganglion._foundation.flights import STATUSES, FlightFile
from ganglion.errors import ArtifactError, GanglionError
from ganglion.flight.recorded import flown
from ganglion.flight.replay_report import FlightDifference, PolicyReplay, ReplayReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion._foundation.flights import Attached, Part
    from ganglion.flight.recorded import FlownPolicy
    from ganglion.runtime import Policy
    from ganglion.runtime.engines import EngineName

    _Given = str | os.PathLike[str]

_TOLERANCE = 1e-5
_NOT_RUN = tuple(STATUSES.index(name) for name in ("bad_size", "engine_failure", "moved_from"))
"""Steps that cannot be had again: what they were given is not in the recording, or was not their fault."""
_MOST_WOUND, _MOST_EPISODES = 1 << 25, 1 << 20
_EVENTS = ("reset", "set_state", "applied_action", "snapshot")
_HOLE = "hole"


@bounded(what="cannot be replayed")
def replay(
    path: str | os.PathLike[str],
    policy: _Given | Sequence[_Given] | None = None,
    *,
    engine: EngineName | None = None,
    from_step: int | None = None,
    tolerance: float | None = None,
    trust: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> ReplayReport:
    """Does everything that a recording holds again, in order, and compares what comes out.

    The policy comes out of the recording. On the native engine, status, action, every output and the digest of the
    state must be the recorded ones bit for bit, on any machine; on others within the tolerance.

    Args:
        path: a `.mcap` file of `FlightRecorder`.
        policy: another file in place of the recorded one: it replaces the policy of the same digest, or the only one;
            of several, one file for each, in their order. What is no copy of what flew is compared within a tolerance.
        engine: what runs it; None for what flew it.
        from_step: begin at the recorded state before this step; None at the beginning.
        tolerance: largest accepted `|replayed - recorded| / max(1, |recorded|)` where not every bit must be the same;
            None for 1e-5, or the tolerance of the file's golden trajectory where that is more.
        trust: run a recorded `.pt` file whose program has what no policy needs; see `ganglion.load`.
        progress: called with (what is done, bytes done, bytes in all).

    Returns:
        the report; `report.ok` is the verdict.

    Raises:
        ArtifactError: the recording is missing, damaged or of a newer format, or `policy` does not fit it.
        EngineUnavailableError: the engine, or the package `mcap`, is not installed.
        ValueError: an argument is out of its range.
    """
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")
    begins = {} if from_step is None else _begins(path, from_step)
    one = (policy,) if isinstance(policy, (str, os.PathLike)) else policy
    given = None if one is None else list(one)
    crew = _Crew(path, given, engine, tolerance, trust)
    file = FlightFile(path)
    holes = missing = set_back = 0
    last_ns = -(2**63)
    if given is not None:
        crew.assign(_numbers(path))
    for part in file.parts():
        holes += len(part.holes)
        missing += sum(hole.missing for hole in part.holes)
        times, last_ns = _times(part, last_ns)
        set_back += times
        for number in {lot.policy for lot in part.lots if lot.policy is not None} | crew.flying.keys():
            pilot = crew.pilot(file, number, begins.get(number, 0))
            pilot.take(part)
        if progress is not None:
            progress("flying it again", *file.done)
    for number in file.attached:
        if number not in crew.flying and (number in file.attachments or file.cut is None):
            crew.pilot(file, number, 0)
    if not file.attached:
        raise ArtifactError(f"'{path}': no policy was attached to this recording, so there is nothing to replay")
    return ReplayReport(
        recording=str(path),
        policies=tuple(pilot.found() for _, pilot in sorted(crew.flying.items())),
        missing_events=missing,
        gaps=holes,
        cut=None if file.cut is None else file.cut.sentence,
        clock_set_back=set_back,
    )


def _times(part: Part, last_ns: int) -> tuple[int, int]:
    """How often the clock was set back, and the last time."""
    if not part.lots:
        return 0, last_ns
    sequences = np.concatenate([lot.values["sequence"] for lot in part.lots])
    times = np.concatenate([lot.values["time_ns"] for lot in part.lots])[np.argsort(sequences)]
    return int(times[0] < last_ns) + int((times[1:] < times[:-1]).sum()), int(times[-1])


def _numbers(path: str | os.PathLike[str]) -> dict[int, str | None]:
    """The policies of a recording and the digests of their contracts."""
    file = FlightFile(path)
    for _ in file.parts():
        pass
    return {
        number: flown(str(path), file, attached).contract.sha256
        for number, attached in sorted(file.attached.items())
        if number in file.attachments
    }


def _begins(path: str | os.PathLike[str], from_step: int) -> dict[int, int]:
    """Of each policy the number of the event to begin at: the last recorded state before a step."""
    if from_step < 0:
        raise ValueError(f"from_step must not be negative, but it is {from_step}")
    steps: dict[int, int] = {}
    begins: dict[int, int] = {}
    for part in FlightFile(path).parts():
        by_policy: dict[int, dict[str, NDArray[Any]]] = {}
        for lot in part.lots:
            if lot.policy is not None:
                by_policy.setdefault(lot.policy, {})[lot.kind] = lot.values["sequence"]
        for number, events in by_policy.items():
            before = steps.get(number, 0)
            own = events.get("step", np.zeros(0, np.uint64))
            snapshots = events.get("snapshot", np.zeros(0, np.uint64))
            early = snapshots[before + np.searchsorted(own, snapshots) <= from_step]
            if len(early):
                begins[number] = int(early[-1])
            steps[number] = before + len(own)
    if steps and all(from_step >= count for count in steps.values()):
        raise ValueError(f"from_step is {from_step}; the flight has {max(steps.values()):,} steps")
    return begins


class _Crew:
    """The policies of a flight, each loaded when it is first needed."""

    def __init__(
        self, path: Any, given: list[_Given] | None, engine: EngineName | None, tolerance: float | None, trust: bool
    ) -> None:
        self._path, self._given, self._engine, self._trust = path, given, engine, trust
        self._tolerance = tolerance
        self._instead: dict[int, _Given] = {}
        self.flying: dict[int, _Pilot] = {}

    def assign(self, numbers: Mapping[int, str | None]) -> None:
        """Decides which policy each of the given files stands for."""
        given = self._given or []
        digests = {str(file): runtime.inspect(file).sha256 for file in given}
        if len(given) == len(numbers):
            self._instead = dict(zip(numbers, given, strict=True))
        elif len(given) == 1:
            digest = digests[str(given[0])]
            self._instead = {number: given[0] for number, own in numbers.items() if own == digest and own is not None}
        if not self._instead:
            raise ArtifactError(
                f"'{self._path}' has {len(numbers)} policies, and {len(given)} files are given in their place, which "
                "are none of them; give one for each, in their order"
            )

    def pilot(self, file: FlightFile, number: int, begin: int) -> _Pilot:
        """The policy of a number."""
        if number not in self.flying:
            attached = file.attached[number]
            about = flown(str(self._path), file, attached)
            self.flying[number] = self._load(about, attached, begin)
        return self.flying[number]

    def _load(self, about: FlownPolicy, attached: Attached, begin: int) -> _Pilot:
        instead = self._instead.get(about.number)
        engine: Any = self._engine or about.engine or "automatic"
        options: dict[str, Any] = {"engine": engine, "batch": about.batch, "sample_seed": about.sample_seed}
        if instead is not None:
            pilot = runtime.load(instead, trust=self._trust, **options)
            same = pilot.contract.sha256 is not None and pilot.contract.sha256 == about.contract.sha256
        else:
            pilot, same = _from_recording(self._path, about, trust=self._trust, **options), True
        exact = same and (pilot.engine, about.engine) == ("native", "native")
        golden = pilot.contract.golden
        least = _TOLERANCE if golden is None else max(_TOLERANCE, golden.tolerance)
        return _Pilot(
            pilot,
            about,
            attached,
            str(instead) if instead is not None else about.file,
            exact=exact,
            another=not same,
            tolerance=least if self._tolerance is None else self._tolerance,
            begin=begin,
        )


def _from_recording(path: Any, about: FlownPolicy, **options: Any) -> Policy:
    with tempfile.TemporaryDirectory(prefix="ganglion-replay-") as folder:
        file = Path(folder) / f"policy{about.number}{about.suffix}"
        file.write_bytes(about.data)
        hints = _hints(path, about, file.with_name(f"{file.name}.yaml"))
        try:
            return runtime.load(file, **options, **hints)
        except GanglionError as error:
            said = str(error).replace(f"'{file}'", f"'{path}': policy {about.number}").replace(str(file), file.name)
            error.args = (said, *error.args[1:])
            raise


def _hints(path: Any, about: FlownPolicy, beside: Path) -> dict[str, Any]:
    """What was said at load of a file without a contract; constants are read out of a file beside it alone."""
    given = about.hints
    state, sizes, constants = (given.get(name) for name in ("state", "observation", "constants"))
    action = given.get("action")
    try:
        constants = {name: float(value) for name, value in (constants or {}).items()}
        if any(re.search(r"[#!\n]|: |^\s|\s$|^$", name) for name in constants):
            raise ValueError("a name that no input has")
        if constants:
            lines = "".join(f"  {name}: {value!r}\n" for name, value in constants.items())
            beside.write_text(f"constants:\n{lines}", encoding="utf-8")
        observation = None if not sizes else {str(name): int(size) for name, size in sizes.items()}
        return {
            "state": None if state is None else {str(source): str(target) for source, target in state},
            "action": None if action is None else str(action),
            "observation": observation if observation is None or list(observation) != [""] else observation[""],
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ArtifactError(f"'{path}': how policy {about.number} was read cannot be understood: {error}") from error


class _Pilot:
    """One policy, flown again."""

    def __init__(
        self,
        policy: Policy,
        about: FlownPolicy,
        attached: Attached,
        file: str,
        *,
        exact: bool,
        another: bool,
        tolerance: float,
        begin: int,
    ) -> None:
        self._policy, self._about, self._attached, self._file = policy, about, attached, file
        self._core = policy._core
        self._exact, self._another, self._tolerance, self._begin = exact, another, tolerance, begin
        self._live = False
        # Noise depends on how far a policy has come, which only steps and resets change.
        self._fresh = policy.clone() if about.sample_seed is not None else None
        self._first: FlightDifference | None = None
        self._counts = dict.fromkeys(
            (
                *("steps", "refused", "not_run", "skipped", "resets", "states_set", "actions_applied", "snapshots"),
                *("restarts", "different_steps"),
            ),
            0,
        )
        self._seen = 0
        self._first_step: int | None = None
        self._largest = 0.0
        self._largest_step: int | None = None
        self._behind_gap = False
        own, other = policy.contract, about.contract
        for what, here, there in (
            ("observations", own.observation_size, other.observation_size),
            ("actions", own.action_size, other.action_size),
        ):
            if here != there:
                raise ArtifactError(
                    f"'{file}' has {what} of {here} elements; policy {about.number} of the flight {there}"
                )
        # What is compared of a step: name, field of the recording, and index of the output.
        self._outputs = [("action" if about.sample_seed is not None else own.outputs[0].name, "action", -1)]
        sizes = {spec.name: spec.size for spec in own.outputs}
        for index, spec in enumerate(other.outputs):
            is_recorded = index > 0 or about.sample_seed is not None
            if is_recorded and spec.size > 0 and sizes.get(spec.name) == spec.size:
                self._outputs.append((spec.name, f"output_{index}", [s.name for s in own.outputs].index(spec.name)))

    def take(self, part: Part) -> None:
        """Does everything that a part of the recording holds for this policy."""
        own = {lot.kind: lot.values for lot in part.lots if lot.policy == self._about.number}
        events: list[tuple[int, str, Any]] = [(hole.sequence, _HOLE, None) for hole in part.holes]
        for kind in _EVENTS:
            if kind in own:
                events += [(int(event["sequence"]), kind, event) for event in own[kind]]
        events.sort(key=lambda event: event[:1])
        steps = own.get("step")
        done = 0
        if steps is None:
            stops = [0] * len(events)
        else:
            stops = np.searchsorted(steps["sequence"], [sequence for sequence, _, _ in events]).tolist()
        for stop, (sequence, kind, event) in zip(stops, events, strict=True):
            if steps is not None and stop > done:
                self._steps(steps[done:stop])
                done = stop
            if sequence >= self._begin:
                self._event(kind, event)
        if steps is not None and done < len(steps):
            self._steps(steps[done:])

    def found(self) -> PolicyReplay:
        """What came out."""
        return PolicyReplay(
            policy=self._about.number,
            file=self._file,
            engine=self._policy.engine,
            recorded_engine=self._about.engine,
            exact=self._exact,
            tolerance=self._tolerance,
            another=self._another,
            first_step=self._first_step,
            largest_difference=self._largest,
            largest_step=self._largest_step,
            first=self._first,
            **self._counts,
        )

    def _event(self, kind: str, event: Any) -> None:
        if kind == _HOLE:
            self._behind_gap = self._behind_gap or self._live
            self._live = False
        elif kind == "snapshot":
            self._snapshot(event)
        elif kind == "reset":
            self._reset(event)
        elif kind == "set_state":
            self._set_state(event)
        else:
            self._apply(event)

    def _snapshot(self, event: Any) -> None:
        if not self._live:
            self._begin_with(event, self._recorded_state(event))
            return
        self._counts["snapshots"] += 1
        if self._attached.hidden and not self._another:
            self._compare("state", event, self._recorded_state(event)[None], self._core.state()[None], self._seen)

    def _recorded_state(self, event: Any) -> NDArray[np.float32]:
        if self._attached.hidden == 0:
            return np.zeros(0, np.float32)
        return np.ascontiguousarray(event["state"], np.float32).reshape(-1)

    def _begin_with(self, event: Any, state: NDArray[np.float32]) -> None:
        """Goes on from a recorded state."""
        if not self._take_state(event, state):
            return
        if self._about.sample_seed is not None and "sample_step" in (event.dtype.names or ()):
            steps, episodes = np.atleast_1d(event["sample_step"]), np.atleast_1d(event["sample_episode"])
            self._wind(event, steps.astype(np.int64), episodes.astype(np.int64))
            self._take_state(event, state)
        self._counts["restarts"] += self._behind_gap
        self._behind_gap = False
        self._live = True

    def _wind(self, event: Any, steps: NDArray[np.int64], episodes: NDArray[np.int64]) -> None:
        """Brings the noise to where it was, by steps and resets that leave no other trace.

        Args:
            event: the snapshot.
            steps: `[rows]`, since the last reset.
            episodes: `[rows]`, how many resets there were behind a step.
        """
        assert self._fresh is not None
        before = steps[episodes == 0]  # of these rows, all that there were
        total = int(before.max() if len(before) else (steps + episodes).max())
        if (before != total).any() or min(steps.min(), episodes.min()) < 0 or (steps + episodes).max() > total:
            raise ArtifactError(f"event {event['sequence']} is a place in the noise that no flight comes to")
        if total > _MOST_WOUND or episodes.max() > _MOST_EPISODES:
            raise ArtifactError(
                f"event {event['sequence']} is {total:,} steps and {episodes.max():,} resets behind the beginning of "
                "the noise, which is too far to go on from; replay the flight from its beginning"
            )
        self._policy = self._fresh.clone()
        self._core = self._policy._core
        at = 0
        # Every row is reset behind the first steps, one each time, and for the last time where its episode begins.
        last = np.where(episodes > 0, total - steps, -1)
        moments = np.unique(np.concatenate([last, np.arange(1, int(episodes.max(initial=0)))]))
        for moment in moments[moments > 0].tolist():
            self._dummies(moment - at)
            at = moment
            self._core.reset_rows(((last == moment) | (moment < episodes)).astype(np.uint8))
        self._dummies(total - at)

    def _dummies(self, steps: int) -> None:
        contract, rows = self._policy.contract, self._about.batch
        while steps > 0:
            some = min(steps, 4096)
            answers, digests = np.zeros(some, np.uint8), np.zeros(some, np.uint64)
            observation = np.zeros((some, rows * contract.observation_size), np.float32)
            actions = np.zeros((some, rows * contract.action_size), np.float32)
            _core.replay_steps(self._core, observation, np.ones(some, np.uint8), [], answers, [actions], digests)
            if answers.any():
                raise ArtifactError(
                    f"'{self._file}' cannot be brought to a recorded place in its noise: it refuses zeros"
                )
            steps -= some

    def _take_state(self, event: Any, state: NDArray[np.float32]) -> bool:
        own, other = self._policy.contract, self._about.contract
        if [(s.name, s.shape) for s in own.state] == [(s.name, s.shape) for s in other.state]:
            if self._core.set_state(state) == _core.Status.ok:
                return True
            raise ArtifactError(f"event {event['sequence']} is a state that is not finite")
        initial = np.tile(np.asarray(other.initial_state, np.float32), self._about.batch)
        if not np.array_equal(initial, state):
            raise ArtifactError(
                f"event {event['sequence']} sets a state of policy {self._about.number}; '{self._file}' has a state of "
                "another layout, and can only begin where that one began"
            )
        self._core.reset()
        return True

    def _reset(self, event: Any) -> None:
        rows = np.ascontiguousarray(np.atleast_1d(event["rows"]), np.uint8)
        if event["status"] != 0:
            return
        if not self._live:
            # Behind a reset of all rows the state is known, and where actions are drawn still not the noise.
            if not rows.all() or self._about.sample_seed is not None:
                return
            self._counts["restarts"] += self._behind_gap
            self._behind_gap, self._live = False, True
        self._core.reset_rows(rows)
        self._counts["resets"] += 1

    def _set_state(self, event: Any) -> None:
        if STATUSES[event["status"]] in ("bad_size", "moved_from"):
            return
        state = self._recorded_state(event)
        if event["status"] == 0 and not self._live:
            self._begin_with(event, state) if self._about.sample_seed is None else None
        elif event["status"] == 0:
            self._take_state(event, state)
        elif self._live and not self._another:
            self._answer(event, "status", self._core.set_state(state))
        self._counts["states_set"] += self._live
        self._digest(event)

    def _apply(self, event: Any) -> None:
        if not self._live or STATUSES[event["status"]] in ("bad_size", "moved_from"):
            return
        action = np.ascontiguousarray(np.atleast_1d(event["action"]), np.float32)
        answer = self._core.set_applied_action(action)
        if not self._another:
            self._answer(event, "status", answer)
        self._counts["actions_applied"] += 1
        self._digest(event)

    def _answer(self, event: Any, what: str, answer: _core.Status) -> None:
        recorded = STATUSES[event["status"]]
        if answer.name != recorded:
            self._note(event, self._seen, what, None, None, recorded, answer.name)

    def _digest(self, event: Any) -> None:
        if self._live and self._exact:
            own = _core.xxh64(self._core.state().tobytes())
            if own != int(event["state_digest"]):
                self._note(event, self._seen, "state", None, None, f"{event['state_digest']:016x}", f"{own:016x}")

    def _steps(self, steps: NDArray[Any]) -> None:
        """Steps behind each other, with nothing in between."""
        first, self._seen = self._seen, self._seen + len(steps)
        if not self._live:
            self._counts["skipped"] += len(steps)
            return
        if self._first_step is None:
            self._first_step = first
        count, rows = len(steps), self._about.batch
        observation = np.ascontiguousarray(steps["observation"], np.float32).reshape(count, -1)
        statuses = np.ascontiguousarray(steps["status"])
        is_run = ~np.isin(statuses, _NOT_RUN)
        outputs = [np.full((count, rows * self._size(index)), np.nan, np.float32) for _, _, index in self._outputs]
        indices = [index for _, _, index in self._outputs[1:]]
        answers, digests = statuses.copy(), np.zeros(count, np.uint64)
        _core.replay_steps(self._core, observation, is_run.view(np.uint8), indices, answers, outputs, digests)
        self._counts["steps"] += count
        self._counts["refused"] += int((statuses != 0).sum())
        self._counts["not_run"] += int((~is_run).sum())
        bad = np.zeros(count, np.bool_)
        wrong = answers != statuses
        bad |= wrong
        if wrong.any():
            at = int(wrong.argmax())
            self._note(
                steps[at], first + at, "status", None, None, STATUSES[statuses[at]], STATUSES[answers[at]], count=False
            )
        for (name, field, index), found in zip(self._outputs, outputs, strict=True):
            expected = np.ascontiguousarray(steps[field], np.float32).reshape(count, -1)
            bad |= self._compare_steps(name, index, steps, expected, found, first)
        if self._exact:
            moved = statuses == STATUSES.index("moved_from")
            differs = (digests != steps["state_digest"]) & ~moved
            bad |= differs
            if differs.any():
                at = int(differs.argmax())
                told = f"{steps['state_digest'][at]:016x}", f"{digests[at]:016x}"
                self._note(steps[at], first + at, "state", None, None, *told, count=False)
        self._counts["different_steps"] += int(bad.sum())

    def _size(self, index: int) -> int:
        contract = self._policy.contract
        return contract.action_size if index < 0 else contract.outputs[index].size

    def _compare_steps(
        self,
        name: str,
        index: int,
        steps: NDArray[Any],
        expected: NDArray[np.float32],
        found: NDArray[np.float32],
        first: int,
    ) -> NDArray[np.bool_]:
        wrong = self._wrong(expected, found, first)
        bad: NDArray[np.bool_] = np.any(wrong, axis=1)
        if bad.any():
            at = int(bad.argmax())
            place = int(wrong[at].argmax())
            size = self._size(index)
            names = self._policy.contract.outputs[max(index, 0)].element_names
            self._note(
                steps[at],
                first + at,
                name,
                place // size,
                place % size,
                float(expected[at, place]),
                float(found[at, place]),
                names[place % size] if names else "",
                count=False,
            )
        return bad

    def _compare(
        self, name: str, event: Any, expected: NDArray[np.float32], found: NDArray[np.float32], step: int
    ) -> None:
        wrong = self._wrong(expected, found, None)[0]
        if wrong.any():
            place, size = int(wrong.argmax()), self._attached.hidden
            names = [f"{slot.name}[{i}]" for slot in self._about.contract.state for i in range(slot.size)]
            values = float(expected[0, place]), float(found[0, place])
            self._note(event, step, name, place // size, place % size, *values, names[place % size])

    def _wrong(self, expected: NDArray[np.float32], found: NDArray[np.float32], first: int | None) -> NDArray[np.bool_]:
        """Which elements differ by more than they may; notes the largest difference of any step."""
        if expected.size == 0:
            return np.zeros(expected.shape, np.bool_)
        same: NDArray[np.bool_] = expected.view(np.uint32) == found.view(np.uint32)
        same |= np.isnan(expected) & np.isnan(found)
        if same.all():
            return ~same
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.where(same, 0.0, np.abs(found.astype(np.float64) - expected.astype(np.float64)))
            apart = np.where(np.isnan(apart), np.inf, apart)
            allowed = self._tolerance * np.maximum(1.0, np.abs(expected.astype(np.float64)))
        by_step = apart.max(axis=1)
        if first is not None and by_step.max() > self._largest:
            self._largest, self._largest_step = float(by_step.max()), first + int(by_step.argmax())
        wrong: NDArray[np.bool_] = ~same if self._exact else apart > np.where(np.isfinite(allowed), allowed, 0.0)
        return wrong

    def _note(
        self,
        event: Any,
        step: int,
        what: str,
        row: int | None,
        element: int | None,
        recorded: float | str,
        replayed: float | str,
        name: str = "",
        *,
        count: bool = True,
    ) -> None:
        """Keeps the first of all differences; `count` for one that is not counted with its step."""
        self._counts["different_steps"] += count
        found = FlightDifference(
            self._about.number,
            what,
            step,
            int(event["sequence"]),
            int(event["time_ns"]),
            row,
            element,
            name,
            recorded,
            replayed,
        )
        if self._first is None or found.sequence < self._first.sequence:
            self._first = found
