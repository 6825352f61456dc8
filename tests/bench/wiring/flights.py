"""The unpaired half of the bench: a policy file with the profile of its training, and logs of a run it did not see."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .faults import FAULTS, Fault
from .limits import limited
from .motion import PERIOD_S
from .replay import CannotReplayError, replay
from .robots import ROBOTS
from .scoring import Score, edit_text, frames_wrong, named_wrong
from .unpaired import LAYOUTS, Log, Setting, flown, setting

if TYPE_CHECKING:
    from collections.abc import Iterable

FAULTS_OF_A_SETTING = 6
NEAR, FAR = 0.25, 1.0
"""Without pairs a value is right to this share of an element's spread: of half of the elements, and of each of them."""


def unpaired_tasks(halves: Iterable[str], logs: int) -> list[tuple[str, str, str, int]]:
    """One for each robot, layout and run that is kept from training, of `logs` runs of the four."""
    from .cases import robots_of

    return [
        ("unpaired", half, f"{robot} {which}", log)
        for log in range(logs)
        for which in LAYOUTS
        for half in halves
        for robot in robots_of(half)
    ]


def run_unpaired(task: tuple[str, str, str, int]) -> list[dict[str, Any]]:
    """Rows of the JSON: a healthy log, and logs with one fault each."""
    import ganglion.wiring

    _, half, what, number = task
    robot, which = what.split(" ")
    made = setting(half, robot, which, number)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        policy = _policy(made, Path(folder))
        for fault in (None, *_faults_of(half, robot, which, number)):
            log = flown(made, fault, number)
            if log is None:
                continue
            begin = time.process_time()
            try:
                with limited():
                    report = ganglion.wiring(policy=policy, found=_found(log))
                judged = judge(log, report)
            except Exception as error:
                expected = fault is not None and fault.name == "history one frame too many" and "elements" in str(error)
                judged = Score("exact" if expected else "raised", None, f"{type(error).__name__}: {error}", [])
            rows.append(_row(log, judged, time.process_time() - begin))
    return rows


def judge(log: Log, report: Any) -> Score:
    """The explanation that comes first, against the fault; the others do not count."""
    edits = list(report.edits)
    said = [edit_text(edit) for edit in edits]
    if log.planted is None:
        return Score("exact" if report.equal else "wrong", None, "" if report.equal else "false alarm", said)
    if not edits:
        return Score("silent", None, "no explanation", said)
    kinds, elements = log.planted.fault.kinds, log.planted.elements
    why = named_wrong([((kind,), elements) for kind in kinds[:1]], edits[:1]) or frames_wrong(
        [log.planted.detail], edits[:1]
    )
    why = why or (_values_wrong(log, edits[:1]) if len(kinds) == 1 else "")
    if not why:
        return Score("exact", None, "", said)
    if edits[0].kind == "unexplained":
        return Score("unexplained", None, why, said)
    near = set(edits[0].elements) & set(elements[0][1])
    part = (edits[0].kind in kinds and near) or any(
        not named_wrong([((kinds[0],), elements)], [edit]) for edit in edits[1:]
    )
    return Score("part" if part else "wrong", None, why, said)


def _values_wrong(log: Log, edits: list[Any]) -> str:
    """Statistics give no exact values: what the explanation makes of healthy observations has to be near."""
    try:
        names = log.adapter.names, log.setting.layout.names
        made, claimed = replay(edits, log.healthy, log.observation.astype(np.float64), log.reset, *names)
    except (CannotReplayError, ValueError, KeyError, IndexError, TypeError) as error:
        return f"the edit cannot be done: {error!r}"
    error = np.sqrt(np.mean(np.where(claimed, made - log.observation, 0.0) ** 2, axis=0))
    elements = list(edits[0].elements)
    away = error[elements] / np.maximum(log.observation[:, elements].std(axis=0), 1e-3)
    return (
        "" if np.median(away) <= NEAR and away.max() <= FAR else f"values: {np.median(away):.2f}, {away.max():.2f} away"
    )


def _faults_of(half: str, robot: str, which: str, number: int) -> list[Fault]:
    """Some of those that a layout has a place for, in turn, so that each comes as often as it can."""
    rng = np.random.default_rng([number, half == "held_out", *f"{robot} {which}".encode()])
    made = setting(half, robot, which, number)
    chosen: list[Fault] = []
    for place in rng.permutation(len(FAULTS)):
        if len(chosen) < FAULTS_OF_A_SETTING and flown(made, FAULTS[place], number) is not None:
            chosen.append(FAULTS[place])
    return chosen


def _policy(made: Setting, folder: Path) -> Path:
    """A small policy, exported from a recording of its training, as a user would."""
    import gymnasium
    import torch

    import ganglion
    from ganglion.data import EnvSpec
    from ganglion.policies import GRUPolicy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, actions = made.observation.shape[1], made.action.shape[1]
    recording = folder / "training.npz"
    np.savez(recording, observation=made.observation, action=made.action, reset=made.reset)
    spec = EnvSpec(
        gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32),
        gymnasium.spaces.Box(-np.inf, np.inf, (actions,), np.float32),
        observation_names=tuple(made.layout.names),
    )  # fmt: skip
    path = folder / "policy.ganglion"
    ganglion.export(GRUPolicy(spec, hidden_size=4, num_recurrent_layers=1), path, recording=recording)
    return path


def _found(log: Log) -> dict[str, np.ndarray]:
    return {"observation": log.observation, "action": log.action, "reset": log.reset}


def _row(log: Log, judged: Score, took_s: float) -> dict[str, Any]:
    made, planted = log.setting, log.planted
    truth = None
    if planted is not None and judged.verdict != "exact":
        must, may = planted.elements[0]
        planted_json = {"kinds": planted.fault.kinds, "detail": planted.detail}
        elements = [{"must": sorted(must), "may": sorted(may)}]
        truth = {
            "frames": made.layout.frames,
            "major": made.layout.major,
            "planted": [planted_json | {"elements": elements}],
        }
    return {
        "side": "unpaired", "half": made.half, "what": "single" if planted else "healthy", "seed": made.log,
        "label": planted.fault.name if planted else "healthy", "faults": [planted.fault.name] if planted else [],
        "layout": made.which, "robot": made.robot, "held_out_robot": ROBOTS[made.robot].held_out,
        "size": made.observation.shape[1], "seconds": len(log.reset) * PERIOD_S, "time_s": took_s,
        "verdict": judged.verdict, "restored": None, "why": judged.why, "said": judged.said, "truth": truth,
    }  # fmt: skip
