"""Proves that the Python policy, the written file and the C++ runtime give the same numbers.

`ganglion.verify.matrix()`, a module of its own, does so for an example of every policy.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import runtime
from ganglion._foundation.callable_module import make_callable as _make_callable
from ganglion._foundation.rounding import LEAST, nudged, tolerance_for
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.verify.bench import Latency, LatencyReport, WeightFloor, bench
from ganglion.verify.gru_repair import RepairReport, repair
from ganglion.verify.parity import Comparison, Divergence, TensorComparison, compare
from ganglion.verify.recorded import recorded_run
from ganglion.verify.report import NotRun, ParityReport
from ganglion.verify.steppers import file_steppers
from ganglion.verify.steppers.base import Run, one_thread, run
from ganglion.verify.steppers.policy import policy_stepper
from ganglion.verify.steppers.runtime import RuntimeStepper
from ganglion.verify.trajectory import Trajectory, draw_trajectory, load_recording

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from ganglion.contract import Contract
    from ganglion.data import EpisodeBatch
    from ganglion.verify.steppers.base import Stepper

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
    trust: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> ParityReport:
    """Runs one long trajectory through every implementation of a policy and compares them.

    Args:
        path: the artifact: `.ganglion`, `.onnx` or `.pt`.
        policy: the Python policy (or skrl model) that it was exported from; the reference where given, else the
            reference is the file in its own Python engine.
        steps: length of the drawn trajectory; a recording is always run whole.
        seed: of the drawn trajectory.
        tolerance: largest accepted `|found - expected| / max(1, |expected|)`. None for 1e-5 or, where two runs differ
            by more, what rounding can do to this policy: the tolerance of the file's golden trajectory, or 16 times
            what the reference changes by when each observation moves to the next float32, up to 0.01.
        recording: a recorded run in place of drawn observations: an `EpisodeBatch`, or the path of a `.npz` file (see
            `load_recording`). Every episode begins with a reset.
        recorded_actions: compare what was recorded, too, with what the reference answers: `"actions"`, or the name of
            an entry of `agent_infos` (`"mean"`, say); and the states where there are `hidden_states`. That makes sense
            for whole episodes of the very policy in the file, without noise; None leaves it out.
        engines: engines of the C++ runtime that must run; None takes the one that fits the file, and one
            that is not installed is then listed in `report.not_run`.
        batch: number of rows, for a file that takes any number (default 4, or that of the recording).
        state: for a file without a contract, its state inputs and the outputs that feed them; see `ganglion.load`.
        action: for a file without a contract, the output that is the action; see `ganglion.load`.
        trust: run a `.pt` file whose program has what no policy needs; see `ganglion.load`.
        progress: called with (implementation, steps done, steps in all).

    Returns:
        the report; `report.ok` is the verdict.

    Raises:
        ArtifactError: the file or the recording cannot be used, or the policy has other sizes than the contract.
        EngineUnavailableError: an engine in `engines` is not usable, or no reference can run.
        TypeError: `recording` is neither a path nor an `EpisodeBatch`.
        ValueError: an argument is out of its range, or there are no recorded actions without a recording.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be positive and finite, not {tolerance}")
    reading = runtime.explain(path, state=state, action=action, trust=trust)
    contract: Contract = reading.contract
    if policy is not None:
        from ganglion.policies.skrl.policy import recurrent

        policy = recurrent(policy)
        _check_sizes(policy, contract, path)
    rows = _rows(contract, batch, path)
    if recording is not None:
        trajectory = load_recording(
            recording, observation_size=contract.observation_size, batch=rows, actions=recorded_actions
        )
    elif recorded_actions is not None:
        raise ValueError("recorded_actions go with a recording")
    else:
        trajectory = draw_trajectory(contract, steps=steps, batch=rows or _ROWS_WHERE_ANY, seed=seed)

    steppers, not_run = _steppers(path, policy, contract, engines, trajectory.batch, state, action, trust=trust)
    if not steppers or (policy is None and isinstance(steppers[0], RuntimeStepper)):
        reasons = "; ".join(f"{left_out.engine}: {left_out.reason}" for left_out in not_run)
        raise EngineUnavailableError(f"{path}: nothing to compare with: give the Python policy, or install: {reasons}")

    def execute(stepper: Stepper) -> Run:
        tick = None if progress is None else lambda done: progress(stepper.name, done, trajectory.steps)
        return run(stepper, contract, trajectory, tick)

    with one_thread():
        reference, *others = (execute(stepper) for stepper in steppers)
        recorded = recorded_run(trajectory, reference, contract)
        if recorded is not None:
            others.append(recorded)
        if tolerance is None:
            tolerance = LEAST
            if not all(compare(reference, other, contract, tolerance=LEAST).ok for other in others):
                tolerance = _fitting_tolerance(steppers[0], reference, contract, trajectory)
    return ParityReport(
        artifact=str(path),
        contract=contract,
        tolerance=tolerance,
        trajectory=trajectory,
        reference=reference,
        runs=tuple(others),
        comparisons=tuple(compare(reference, other, contract, tolerance=tolerance) for other in others),
        not_run=tuple(not_run),
        findings=reading.findings,
    )


def _steppers(
    path: str | os.PathLike[str],
    policy: Any | None,
    contract: Contract,
    engines: Iterable[str] | None,
    batch: int,
    state: Mapping[str, str] | None,
    action: str | None,
    *,
    trust: bool,
) -> tuple[list[Stepper], list[NotRun]]:
    """Everything that can run the file, the reference first, and what cannot."""
    steppers: list[Stepper] = [] if policy is None else [policy_stepper(policy, batch=batch)]
    not_run: list[NotRun] = []
    try:
        steppers += file_steppers(path, contract, batch=batch, state=state, action=action, trust=trust)
    except EngineUnavailableError as error:
        not_run.append(NotRun("the file in Python", str(error)))
    able = runtime.engines_for(path)
    asked = set(able[:1] if engines is None else engines)
    if not asked <= set(able):
        raise ValueError(f"engine '{min(asked - set(able))}' does not open {path}; {', '.join(able)} does")
    for engine in able:
        if engine not in asked:
            continue
        try:
            steppers.append(RuntimeStepper(path, engine=engine, batch=batch, state=state, action=action, trust=trust))
        except EngineUnavailableError as error:
            if engines is not None:
                raise
            not_run.append(NotRun(f"C++ {engine}", str(error)))
    return steppers, not_run


def _rows(contract: Contract, batch: int | None, path: str | os.PathLike[str]) -> int | None:
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if contract.batch is not None and batch not in (None, contract.batch):
        raise ValueError(f"{path}: exported for batch {contract.batch}; batch {batch} cannot be asked for")
    return contract.batch if batch is None else batch


def _fitting_tolerance(stepper: Stepper, reference: Run, contract: Contract, trajectory: Trajectory) -> float:
    """What rounding can do to the reference along this trajectory, or did along the golden one."""
    stepper.reset(np.ones(trajectory.batch, np.bool_))
    moved = run(stepper, contract, dataclasses.replace(trajectory, observation=nudged(trajectory.observation)))
    comparison = compare(reference, moved, contract, tolerance=LEAST)
    if reference.failure is not None or comparison.failure is not None:
        return LEAST
    recorded = LEAST if contract.golden is None else contract.golden.tolerance
    return max(recorded, tolerance_for(max(tensor.max_error for tensor in comparison.tensors)))


def _check_sizes(policy: Any, contract: Contract, path: str | os.PathLike[str]) -> None:
    for label, of_policy, of_file in (
        ("observation", sum(spec.size for spec in policy.input_specs), contract.observation_size),
        ("action", policy.output_specs[0].size, contract.action_size),
        ("output", sum(spec.size for spec in policy.output_specs), contract.output_size),
        ("hidden state", policy.hidden_size, contract.hidden_size),
    ):
        if of_policy != of_file:
            raise ArtifactError(
                f"{path}: not a file of this policy: {label} has {of_policy} elements in the policy and {of_file} in "
                "the file"
            )


_make_callable(__name__)
