"""Proves a compiled program: it must do what the recorded trajectory says, or what the graph itself does."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.comparison import first_difference
from ganglion._foundation.observations import believed_bounds, draw_observations, golden_size
from ganglion._foundation.rounding import LEAST, nudged, rounding, tolerance_for
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
    that is not installed, in the reference evaluator of onnx, over a trajectory with a reset in the middle.

    Args:
        program: the float32 program.
        model: what it was compiled from.

    Returns:
        The contract, with a golden trajectory in any case.

    Raises:
        ExportError: the program differs; says where and by how much.
    """
    contract = model.contract
    if contract.golden is None:
        contract = dataclasses.replace(contract, golden=_record(model))
    golden = contract.golden
    assert golden is not None
    reset = golden.reset

    def run(observation: NDArray[np.float32], precision: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
        return Interpreter(program, precision).run(contract.initial_state, observation, reset)

    outputs = run(golden.observation)
    if golden.tolerance == LEAST:  # nobody demanded another
        truth = run(golden.observation, np.float64)
        rounded = rounding(truth, outputs, run(nudged(golden.observation)))
        golden = dataclasses.replace(golden, tolerance=tolerance_for(rounded))
        contract = dataclasses.replace(contract, golden=golden)
    difference = first_difference(outputs, golden.outputs, golden.tolerance)
    if difference is not None:
        raise ExportError(
            f"the compiled program differs from its origin: "
            f"{difference.sentence(contract.output_place(difference.element))}. Either the graph mixes the rows of a "
            "batch, which a policy must not do, or this is a defect of the compiler; please report it"
        )
    return contract


def _record(model: OnnxModel) -> Golden:
    """Records the graph; where it gives numbers that are not finite, as a logarithm does, over other observations."""
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
    contract, (steps, rows) = model.contract, drawn.shape[:2]
    reset = np.zeros((steps, rows), np.bool_)
    reset[steps // 2 + np.arange(rows) % (steps // 2), np.arange(rows)] = True
    initial = np.asarray(contract.initial_state, np.float32)
    state, outputs = np.tile(initial, (rows, 1)), []
    for observed, flags in zip(drawn, reset, strict=True):
        state = np.where(flags[:, None], initial, state)
        try:
            *current, state = run_step(session, contract, observed, state, (model.inputs, model.outputs))
        except Exception as error:  # whatever an operator or an engine raises
            raise ExportError(f"the graph itself cannot be run: {error}") from error
        outputs.append(np.concatenate(current, axis=1))
    kept = slice(min(rows, _ROWS))
    return Golden(drawn[:, kept], reset[:, kept], np.stack(outputs)[:, kept], LEAST)


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
