"""The float64 run that both sides of a comparison are judged by, and what float32 holds of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation.files import suffix_of
from ganglion._foundation.rounding import NUDGES, allowance, repeats
from ganglion._foundation.sentences import first_line
from ganglion.errors import GanglionError
from ganglion.reading.leapp import is_bundle
from ganglion.verify.contenders import Contender
from ganglion.verify.steppers.base import tensors_of
from ganglion.verify.steppers.policy import policy_stepper
from ganglion.verify.steppers.program import program_stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ganglion.compiler import Program
    from ganglion.contract import Contract
    from ganglion.verify.contenders import Hints, Reference
    from ganglion.verify.steppers.base import Floats, Run, Running
    from ganglion.verify.trajectory import Trajectory


@dataclass(frozen=True)
class Truth:
    """The function of a reference in float64.

    Attributes:
        name: what runs in float64, in words, or why nothing does.
        exact: in float64, or None.
        twin: the same in float32, where that is not the reference itself.
    """

    name: str
    exact: Contender | None = None
    twin: Contender | None = None


def truth_of(reference: Reference | None, path: Path, contract: Contract, hints: Hints, *, batch: int) -> Truth:
    """What runs a reference in float64: the policy itself, or the program that a file holds or is compiled to.

    Args:
        reference: the reference; None for the file itself.
        path: the file that is verified.
        contract: its contract.
        hints: what is said of it.
        batch: number of rows.
    """
    try:
        if reference is not None and reference.policy is not None:
            stepper = policy_stepper(reference.policy, batch=batch, precision=np.float64)
            return Truth("the Python policy", Contender(stepper, contract, stepper.name, precision=np.float64))
        file = path if reference is None or reference.path is None else reference.path
        name, program, own = _program(
            file, hints if file == path else dataclasses.replace(hints, state=None, action=None)
        )
    except GanglionError as error:
        return Truth(f"nothing runs in float64 ({first_line(error)})")
    exact, twin = (
        Contender(program_stepper(program, own, batch, precision), own, name, precision=precision)
        for precision in (np.float64, np.float32)
    )
    return Truth(name, exact, twin)


def _program(path: Path, hints: Hints) -> tuple[str, Program, Contract]:
    from ganglion.compiler import file, lower_onnx

    suffix = suffix_of(path)
    if suffix == ".ganglion":
        return "the program of the file", *file.read(path)
    if suffix == ".pt":
        from ganglion.adapters import torchscript

        names = None if hints.state is None else tuple(hints.state)
        policy = torchscript.load(path, state_names=names, observation=hints.observation, trust=hints.trust)
        program, model = lower_onnx(torchscript.to_onnx(policy))
    elif is_bundle(path):
        from ganglion.adapters import leapp

        program, model = lower_onnx(leapp.to_onnx(path, hints.action, trust=hints.trust))
    else:
        program, model = lower_onnx(path, state=hints.state, action=hints.action)
    return "the program that the file is compiled to", program, model.contract


class Guarded:
    """A run in float64 beside the others, which may fail: a policy whose own code insists on float32, say.

    Args:
        truth: what runs.
        trajectory: along which.
    """

    def __init__(self, truth: Truth, trajectory: Trajectory) -> None:
        self._contender = truth.exact
        self._running: Running | None = None if truth.exact is None else truth.exact.start(trajectory)
        self.name = truth.name

    def go_on(self, observation: Floats) -> None:
        """Runs the next steps."""
        if self._running is None:
            return
        try:
            self._running.go_on(observation)
        except GanglionError as error:
            self.name, self._running = f"nothing runs in float64 ({first_line(error)})", None

    def done(self, contract: Contract) -> Run | None:
        """What was answered, or None."""
        if self._running is None or self._contender is None:
            return None
        run = self._contender.finish(self._running, contract)
        return None if run.failure else run


def allowances(
    reference: Run,
    exact: Run | None,
    own: Callable[[Trajectory], Run],
    twin: Callable[[Trajectory], Run] | None,
    trajectory: Trajectory,
    *,
    memory: bool,
) -> dict[str, Floats]:
    """How far rounding may take each output, and the state, see `rounding.allowance`; empty where nothing can be said.

    A reference that answers otherwise the second time draws random numbers, or has memory that a reset leaves: see
    `rounding.several`.

    Args:
        reference: the reference along the trajectory.
        exact: the float64 run, or None.
        own: runs the reference along another trajectory.
        twin: runs the function of `exact` in float32; None where that is the reference itself.
        trajectory: the one of both runs.
        memory: whether the policy has a state.
    """
    names = list(tensors_of(reference))
    if not repeats(lambda: _side_by_side(own(trajectory), names), _side_by_side(reference, names)):
        return {}
    nudges = [trajectory.nudged(seed) for seed in NUDGES]
    moved = [own(each) for each in nudges]
    found: dict[str, Floats] = {}
    if exact is not None and twin is None:
        _widen(found, exact, [reference, *moved], trajectory, memory)
        return found
    if exact is not None and twin is not None:
        _widen(found, exact, [twin(each) for each in (trajectory, *nudges)], trajectory, memory)
    _widen(found, reference, moved, trajectory, memory)
    return found


def _widen(found: dict[str, Floats], truth: Run, runs: Sequence[Run], trajectory: Trajectory, memory: bool) -> None:
    """Makes wider what is found; a state that is hidden is judged by what it does to the outputs."""
    names = list(tensors_of(truth))
    whole = [_side_by_side(run, names) for run in (truth, *runs) if run.failure is None]
    state = 0 if not memory else whole[0].shape[2] if truth.state is None else truth.state.shape[2]
    allowed = allowance(whole[0], whole[1:], trajectory.reset, state)
    edges = np.cumsum([tensors_of(truth)[name].shape[2] for name in names])[:-1]
    for name, values in zip(names, np.split(allowed, edges, axis=2), strict=True):
        found[name] = np.maximum(found[name], values) if name in found else values


def _side_by_side(run: Run, names: Sequence[str]) -> Floats:
    return np.concatenate([tensors_of(run)[name] for name in names], axis=2)
