"""Proves a compiled program: it must do what the recorded trajectory says, or what the graph itself does."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.comparison import errors, first_difference
from ganglion._foundation.observations import believed_bounds, draw_observations, golden_size
from ganglion._foundation.rounding import LEAST, allowance, beyond, both, lost, several
from ganglion.compiler.exact import widened
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.session import open_session, run_step
from ganglion.contract import GOLDEN_STEPS, Contract, Golden
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.compiler.model import OnnxModel
    from ganglion.compiler.program import Program

_ROWS = 3
_INVALID = ("InvalidGraph", "InvalidArgument", "InvalidProtobuf")
"""Exceptions of onnxruntime about graphs that are wrong, not only unknown to it."""


def prove(program: Program, model: OnnxModel) -> Contract:
    """Runs a program beside its origin.

    A contract with a golden trajectory is replayed. For one without, the graph itself is run, in onnxruntime or, where
    that is not installed, in the reference evaluator of onnx, over a trajectory with a reset in the middle. What
    float32 holds is measured on the program, in float32 and in float64, and becomes part of the golden trajectory.
    Where the program is farther away than that, the graph itself is run in float64, and both are judged by it.

    Args:
        program: the float32 program.
        model: what it was compiled from.

    Returns:
        The contract, with a golden trajectory in any case.

    Raises:
        ExportError: the program differs; says where, by how much, and how far both are from the float64 run.
    """
    contract = model.contract
    given = contract.golden
    golden = record(model) if given is None else given

    def run(observation: NDArray[np.float32], precision: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
        reset = np.tile(golden.reset, observation.shape[1] // golden.rows)
        return Interpreter(program, precision).run_whole(contract.initial_state, observation, reset)

    def allowed_by(truth: NDArray[np.float64], runs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return allowance(truth, runs, golden.reset, contract.hidden_size)[:, :, : contract.output_size]

    runs = several(run, golden.observation, run(golden.observation), pure=True)
    outputs, allowed, exact = runs[0][:, :, : contract.output_size], golden.allowed, None
    if not golden.demanded:
        truth = run(golden.observation, np.float64)
        allowed = both([golden.allowed, allowed_by(truth, runs)])
        assert allowed is not None
        if lost(truth[:, :, : contract.output_size], allowed).all():
            raise ExportError(
                "float32 does not hold this policy: rounding alone changes every output of the graph at every step of "
                "the golden trajectory by more than a hundredth of its range, so nothing can be proven of the program; "
                "are the weights and the bounds of the observations right?"
            )
    difference = first_difference(outputs, golden.outputs, golden.tolerance, allowed)
    if difference is not None:
        whole = _exact(model, golden)
        exact = None if whole is None else whole[:, :, : contract.output_size]
    if exact is not None and whole is not None and not golden.demanded and given is None:
        # Its own run in float32 is one with other sums: what the compiler folds, the graph adds up each time.
        session = _session(model)
        observed = golden.observation

        def graph(observation: NDArray[np.float32]) -> NDArray[np.float32]:
            return _run(session, model, observation, golden.reset)

        graphs = several(graph, observed, graph(observed))
        wider = both([allowed, allowed_by(whole, graphs)])
        if first_difference(outputs, exact, golden.tolerance, wider) is None:
            allowed, difference = wider, first_difference(outputs, golden.outputs, golden.tolerance, wider)
    if difference is not None:
        at = difference.step, difference.row, difference.element
        raise ExportError(
            f"the compiled program differs from its origin: "
            f"{difference.sentence(contract.output_place(difference.element))}. "
            f"{_blame(outputs[at], golden.outputs[at], None if exact is None else exact[at], given=given is not None)}"
        )
    if not golden.demanded and allowed is not None:
        golden = dataclasses.replace(golden, rounding=beyond(golden.outputs, golden.tolerance, allowed))
    return dataclasses.replace(contract, golden=golden)


def _exact(model: OnnxModel, golden: Golden) -> NDArray[np.float64] | None:
    """The golden run of the graph itself in float64; None where that cannot be had, or is no usable number."""
    from onnx.reference import ReferenceEvaluator

    try:
        session = ReferenceEvaluator(widened(model.proto))
        exact = _run(session, model, golden.observation, golden.reset, np.float64)
    except Exception:  # an operator that onnx evaluates in float32 alone, or not at all
        return None
    return exact if np.isfinite(exact).all() else None


def _blame(found: np.floating[Any], recorded: np.floating[Any], exact: np.floating[Any] | None, *, given: bool) -> str:
    """Whose fault a difference is: of who is farther from the float64 run of the graph."""
    either = (
        "Either the graph mixes the rows of a batch, which a policy must not do, or this is a defect of the compiler"
    )
    if exact is None:
        return f"{either}; please report it (the graph does not run in float64)"
    mine, its = (float(errors(np.asarray(side), np.asarray(exact)).scaled) for side in (found, recorded))
    origin = "the recorded run" if given else "the graph's own float32 run"
    distances = f"In float64 the graph gives {exact:.9g}: the program is {mine:.3g} away from it, {origin} {its:.3g}. "
    if its < mine:
        return f"{distances}{either}; please report it"
    if given:
        return (
            f"{distances}So the graph does not do what was recorded: either the policy mixes the rows of a batch, "
            "which a policy must not do, or what is in the file was changed since; export the policy again"
        )
    return f"{distances}So the program is right, and the engine that ran the graph does not hold it"


def record(model: OnnxModel) -> Golden:
    """Records a graph over a drawn trajectory with a reset in the middle.

    Where it gives numbers that are not finite, as a logarithm does, it is recorded over other observations.

    Args:
        model: the graph.

    Raises:
        ExportError: it cannot be run, or gives no usable numbers.
    """
    steps, rows = golden_size(model.contract.observation_size, GOLDEN_STEPS, model.batch)
    rows = model.batch or rows
    drawn = draw_observations(model.contract, steps, rows, seed=0)
    low, high = believed_bounds(model.contract)
    bounded = np.isfinite(low) | np.isfinite(high)
    between_0_and_1, above_1 = 0.5 + 0.45 * np.tanh(drawn), 1.0 + np.abs(drawn)
    session = _session(model)
    *others, last = (drawn, *(np.where(bounded, drawn, other) for other in (between_0_and_1, above_1)))
    for observations in others:
        with contextlib.suppress(ArtifactError):
            return _recorded(model, session, observations)
    try:
        return _recorded(model, session, last)
    except ArtifactError as error:
        raise ExportError(f"the graph itself gives no usable trajectory: {error}") from error


def _recorded(model: OnnxModel, session: Any, drawn: NDArray[np.float32]) -> Golden:
    steps, rows = drawn.shape[:2]
    reset = np.zeros((steps, rows), np.bool_)
    reset[steps // 2 + np.arange(rows) % (steps // 2), np.arange(rows)] = True
    outputs = _run(session, model, drawn, reset)[:, :, : model.contract.output_size]
    kept = slice(min(rows, _ROWS))
    return Golden(drawn[:, kept], reset[:, kept], outputs[:, kept], LEAST)


def run_graph(model: OnnxModel, observation: NDArray[np.float32], reset: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Runs a graph itself, in onnxruntime or the reference evaluator of onnx.

    Args:
        model: the graph.
        observation: `[steps, rows, n]`.
        reset: `[steps, rows]`, rows whose state starts anew in that step.

    Returns:
        Outputs and state in contract order, `[steps, rows, size]`.

    Raises:
        ExportError: it cannot be run.
    """
    return _run(_session(model), model, observation, reset)


def _run(
    session: Any,
    model: OnnxModel,
    observation: NDArray[np.float32],
    reset: NDArray[np.bool_],
    precision: type[np.floating[Any]] = np.float32,
) -> NDArray[Any]:
    """Outputs and state `[steps, rows, size]` of the graph; one for another number of rows takes several runs."""
    contract, rows = model.contract, observation.shape[1]
    taken = model.batch or rows
    if taken != rows:
        parts = [np.arange(first, first + taken) % rows for first in range(0, rows, taken)]
        done = [_run(session, model, observation[:, part], reset[:, part], precision) for part in parts]
        return np.concatenate(done, axis=1)[:, :rows]
    initial = np.asarray(contract.initial_state, np.float32).astype(precision)
    state, outputs = np.tile(initial, (rows, 1)), []
    for observed, flags in zip(observation.astype(precision), reset, strict=True):
        state = np.where(flags[:, None], initial, state)
        try:
            *current, state = run_step(session, contract, observed, state, (model.inputs, model.outputs))
        except Exception as error:  # whatever an operator or an engine raises
            raise ExportError(f"the graph itself cannot be run: {error}") from error
        outputs.append(np.concatenate((*current, state), axis=1))
    return np.stack(outputs)


def _session(model: OnnxModel) -> Any:
    from onnx.reference import ReferenceEvaluator

    try:
        return open_session(model.proto.SerializeToString())
    except EngineUnavailableError:
        return ReferenceEvaluator(model.proto)
    except Exception as error:
        if type(error).__name__ in _INVALID:
            raise ExportError(f"onnxruntime refuses the graph: {error}") from error
        # A newer operator set than this onnxruntime knows, or an operator that it has no kernel for.
        try:
            return ReferenceEvaluator(model.proto)
        except Exception:
            raise ExportError(f"onnxruntime refuses the graph: {error}") from error
