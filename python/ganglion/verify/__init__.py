"""Proves that the Python policy, the written file and the C++ runtime give the same numbers.

`ganglion.verify.matrix()`, a module of its own, does so for an example of every policy.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import runtime
from ganglion._foundation.boundary import bounded
from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion._foundation.rounding import LEAST
from ganglion.errors import ArtifactError, EngineUnavailableError, GanglionError
from ganglion.verify.bench import Latency, LatencyReport, WeightFloor, bench
from ganglion.verify.contenders import Contender, Hints, as_loaded, of_file, of_reference, reference_of
from ganglion.verify.gru_repair import RepairReport, repair
from ganglion.verify.parity import Comparison, Divergence, Judge, TensorComparison, compare
from ganglion.verify.recorded import recorded_run
from ganglion.verify.report import NotRun, ParityReport
from ganglion.verify.steppers.base import Run, one_thread
from ganglion.verify.steppers.runtime import RuntimeStepper
from ganglion.verify.trajectory import Trajectory, draw_trajectory, load_recording
from ganglion.verify.truth import Guarded, Truth, allowances, truth_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ganglion.contract import Contract
    from ganglion.data import EpisodeBatch
    from ganglion.verify.contenders import Reference

__all__ = [
    "Comparison",
    "Divergence",
    "Latency",
    "LatencyReport",
    "NotRun",
    "ParityReport",
    "RepairReport",
    "Run",
    "TensorComparison",
    "Trajectory",
    "WeightFloor",
    "bench",
    "draw_trajectory",
    "load_recording",
    "repair",
    "verify",
]

_ROWS_WHERE_ANY = 4  # enough rows for a reset that takes some and leaves some


@naming_checkpoints
@bounded(what="cannot be verified")
def verify(
    path: str | os.PathLike[str],
    policy: Any | None = None,
    *,
    steps: int = 2000,
    seed: int = 0,
    tolerance: float | None = None,
    recording: str | os.PathLike[str] | EpisodeBatch | None = None,
    recorded_actions: str | None = None,
    engines: Iterable[str] | None = None,
    batch: int | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
    public_key: str | os.PathLike[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ParityReport:
    """Runs one long trajectory through every implementation of a policy and compares them.

    Args:
        path: the artifact: `.ganglion`, `.onnx` or `.pt`.
        policy: the reference: the Python policy (or skrl model) that it was exported from, or the path of another file
            of it, or of a checkpoint that `save_checkpoint` wrote; several of these in a list, or in a dictionary with
            what to call each, of which the first is the reference. None: the reference is the file itself in its own
            Python engine.
        steps: length of the drawn trajectory; a recording is always run whole.
        seed: of the drawn trajectory.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`. None for 1e-5 or the tolerance of the
            file's golden trajectory; where two runs differ by more, both are judged by a float64 run of the reference:
            neither may be farther from it than 16 times what float32 runs of it are in the steps before.
        recording: a recorded run in place of drawn observations: an `EpisodeBatch`, or the path of a `.npz` file (see
            `load_recording`). Every episode begins with a reset.
        recorded_actions: compare what was recorded, too, with what the reference answers: `"actions"`, or the name of
            an entry of `agent_infos` (`"mean"`, say); and the states where there are `hidden_states`. That makes sense
            for whole episodes of the very policy in the file, without noise; None leaves it out.
        engines: engines of the C++ runtime that must run; None takes every one that opens the file, or what it is
            compiled to in memory (`.onnx` and `.pt` on the native engine); `report.not_run` says which could not, and
            why.
        batch: number of rows, for a file that takes any number (default 4, or that of the recording; where neither they
            nor engines are given, the file also runs with one row, as `ganglion.load` takes it).
        state: for a file without a contract, its state inputs and the outputs that feed them; see `ganglion.load`.
        action: for a file without a contract, the output that is the action; see `ganglion.load`.
        observation: for a TorchScript file without a contract, how many elements its observation has; see
            `ganglion.load`.
        trust: run a `.pt` file whose program has what no policy needs; see `ganglion.load`.
        public_key: refuse a file that is signed with none of the keys in this file; see `ganglion.load`.
        progress: called with (implementation, steps done, steps in all).

    Returns:
        the report; `report.ok` is the verdict.

    Raises:
        ArtifactError: the file, the reference or the recording cannot be used, or the reference has other sizes than
            the contract or is the very file.
        EngineUnavailableError: an engine in `engines` is not usable, or no reference can run.
        TypeError: `recording` is neither a path nor an `EpisodeBatch`, or a reference neither a policy nor a path.
        ValueError: an argument is out of its range, or there are no recorded actions without a recording.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")
    path, hints = Path(path), Hints(state, action, observation, trust)
    reading = runtime.explain(path, **hints.named(), public_key=public_key)
    contract: Contract = reading.contract
    references = [reference_of(given, name, path, contract, trust=trust) for name, given in _named(policy)]
    rows = _rows(contract, batch, path, references)
    if recording is not None:
        trajectory = load_recording(
            recording, observation_size=contract.observation_size, batch=rows, actions=recorded_actions
        )
    elif recorded_actions is not None:
        raise ValueError("recorded_actions go with a recording")
    else:
        trajectory = draw_trajectory(contract, steps=steps, batch=rows or _ROWS_WHERE_ANY, seed=seed)

    contenders = [of_reference(each, contract, batch=trajectory.batch, trust=trust) for each in references]
    asked = None if engines is None else tuple(engines)
    usual = rows is None and recording is None and asked is None
    one_row = as_loaded(path, contract, hints) if usual else None
    try:
        of_this, not_run = of_file(path, contract, hints, engines=asked, batch=trajectory.batch)
    except GanglionError as error:
        if isinstance(one_row, Run):  # the number of rows was ours: what the file says of the usual one says more
            raise ArtifactError(str(one_row.failure)) from error
        raise
    contenders += of_this
    if not contenders or (not references and isinstance(contenders[0].stepper, RuntimeStepper)):
        reasons = "; ".join(f"{left_out.engine}: {left_out.reason}" for left_out in not_run)
        raise EngineUnavailableError(f"{path}: nothing to compare with: give the Python policy, or install: {reasons}")
    if isinstance(one_row, Contender):
        contenders.append(one_row)

    truth = truth_of(references[0] if references else None, path, contract, hints, batch=trajectory.batch)
    guarded = Guarded(truth, trajectory)
    with one_thread():
        reference, *others = _runs(contenders, contract, trajectory, progress, guarded)
        exact = guarded.done(contract)
        if isinstance(one_row, Run):
            others.append(one_row)
        recorded = recorded_run(trajectory, reference, contract)
        if recorded is not None:
            others.append(recorded)
        allowed: Mapping[str, Any] = {}
        demanded = tolerance is not None
        if tolerance is None:
            tolerance = LEAST
            if not all(compare(reference, other, contract, tolerance=LEAST).ok for other in others):
                tolerance = LEAST if contract.golden is None else max(LEAST, contract.golden.tolerance)
                allowed = _allowed(truth, contenders[0], reference, exact, contract, trajectory)
    judged = Judge(tolerance, exact, allowed)
    return ParityReport(
        artifact=str(path),
        contract=contract,
        tolerance=tolerance,
        trajectory=trajectory,
        reference=reference,
        runs=tuple(others),
        comparisons=tuple(compare(reference, other, contract, judge=judged) for other in others),
        not_run=tuple(not_run),
        findings=reading.findings,
        truth=guarded.name,
        demanded=demanded,
        lost=judged.lost(reference, contract),
    )


def _named(policy: Any) -> list[tuple[str, Any]]:
    """What is given as references, each with what to call it."""
    if policy is None:
        return []
    if isinstance(policy, dict):
        return list(policy.items())
    return [("", given) for given in (policy if isinstance(policy, (list, tuple)) else [policy])]


def _rows(contract: Contract, batch: int | None, path: Path, references: Sequence[Reference]) -> int | None:
    """How many rows to run, or None where it does not matter."""
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    for name, made_for in ((str(path), contract.batch), *((each.name, each.batch) for each in references)):
        # A reference for one row runs row after row; the file itself is run as it flies.
        if made_for is None or (made_for == 1 and name != str(path)):
            continue
        if batch not in (None, made_for):
            raise ValueError(f"{name}: exported for batch {made_for}; batch {batch} cannot be asked for")
        batch = made_for
    return batch


def _runs(
    contenders: Sequence[Contender],
    contract: Contract,
    trajectory: Trajectory,
    progress: Callable[[str, int, int], None] | None = None,
    truth: Guarded | None = None,
) -> list[Run]:
    """Runs all of them side by side: observations are there for a block of steps only."""

    def tick(name: str) -> Callable[[int], None] | None:
        return None if progress is None else lambda done: progress(name, done, trajectory.steps)

    running = [contender.start(trajectory, tick(contender.name)) for contender in contenders]
    for block in trajectory.blocks():
        for each in running:
            each.go_on(block)
        if truth is not None:
            truth.go_on(block)
    return [contender.finish(each, contract) for contender, each in zip(contenders, running, strict=True)]


def _allowed(
    truth: Truth, first: Contender, reference: Run, exact: Run | None, contract: Contract, trajectory: Trajectory
) -> Mapping[str, Any]:
    """What rounding can do to the reference along this trajectory."""
    if reference.failure is not None:
        return {}

    def again(contender: Contender, trajectory: Trajectory) -> Run:
        contender.stepper.reset(np.ones(trajectory.batch, np.bool_))
        return _runs([contender], contract, trajectory)[0]

    twin = None if truth.twin is None else functools.partial(again, truth.twin)
    return allowances(
        reference, exact, functools.partial(again, first), twin, trajectory, memory=contract.hidden_size > 0
    )


_make_callable(__name__)
