"""Proves a compiled program: it must do what the recorded trajectory says, or what the graph itself does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.interpreter import Interpreter
from ganglion.contract import Contract, Golden
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ganglion.compiler.model import OnnxModel
    from ganglion.compiler.program import Program
    from ganglion.compiler.signature import Port

    Array = NDArray[np.float32]

_STEPS, _ROWS = 64, 3
_TOLERANCE = 1e-5


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
    outputs = Interpreter(program).run(contract.initial_state, golden.observation, golden.reset)
    recorded = golden.outputs.astype(np.float64)
    difference = np.abs(outputs - recorded) / np.maximum(1.0, np.abs(recorded))
    # Not "difference > tolerance": a NaN must count as a difference.
    differs = ~(difference <= golden.tolerance)
    if differs.any():
        step, row, element = (int(index) for index in np.argwhere(differs)[0])
        raise ExportError(
            f"the compiled program differs from its origin: first at step {step}, row {row}, element {element} of the "
            f"outputs: {outputs[step, row, element]:.9g} instead of {recorded[step, row, element]:.9g} (tolerance "
            f"{golden.tolerance:.3g}, largest anywhere {np.max(difference):.3g}). Either the graph mixes the "
            "rows of a batch, which a policy must not do, or this is a defect of the compiler; please report it"
        )
    return contract


def _record(model: OnnxModel) -> Golden:
    contract = model.contract
    rows = model.batch or _ROWS
    generator = np.random.default_rng(0)
    observation = generator.standard_normal((_STEPS, rows, contract.observation_size))
    low = np.concatenate([spec.low or (-np.inf,) * spec.size for spec in contract.inputs])
    high = np.concatenate([spec.high or (np.inf,) * spec.size for spec in contract.inputs])
    drawn = np.clip(observation, low, high).astype(np.float32)
    reset = np.zeros((_STEPS, rows), np.bool_)
    reset[_STEPS // 2 + np.arange(rows) % (_STEPS // 2), np.arange(rows)] = True
    run = _engine(model)
    initial = np.asarray(contract.initial_state, np.float32)
    state, outputs = np.tile(initial, (rows, 1)), []
    for observed, flags in zip(drawn, reset, strict=True):
        current, state = step_graph(run, model, observed, np.where(flags[:, None], initial, state))
        outputs.append(current)
    kept = slice(min(rows, _ROWS))
    try:
        return Golden(drawn[:, kept], reset[:, kept], np.stack(outputs)[:, kept], _TOLERANCE)
    except ArtifactError as error:
        raise ExportError(f"the graph itself gives no usable trajectory: {error}") from error


def step_graph(run: Callable[..., Any], model: OnnxModel, observation: Array, state: Array) -> tuple[Array, Array]:
    """Runs one step of the graph itself.

    Args:
        run: `(output names, feeds) -> arrays`, as `onnxruntime.InferenceSession.run`.
        model: the graph.
        observation: `[rows, observation_size]`, with the rows that the graph takes.
        state: `[rows, hidden_size]`.

    Returns:
        All outputs side by side, `[rows, output_size]`, and the next state, `[rows, hidden_size]`.

    Raises:
        ExportError: `run` raised.
    """
    count = len(model.contract.inputs)
    feeds = _split(observation, model.inputs[:count]) | _split(state, model.inputs[count:])
    names = [port.name for port in model.outputs]
    try:
        results = run(names, feeds)
    except Exception as error:
        raise ExportError(f"the graph itself cannot be run: {error}") from error
    rows = len(observation)
    flat = [_flat(result, port, rows) for result, port in zip(results, model.outputs, strict=True)]
    count = len(model.contract.outputs)
    return np.concatenate(flat[:count], axis=1), np.concatenate(
        [*flat[count:], np.empty((rows, 0), np.float32)], axis=1
    )


def _split(vector: Array, ports: tuple[Port, ...]) -> dict[str, Array]:
    feeds, first = {}, 0
    for port in ports:
        shape = [size for axis, size in enumerate(port.shape) if axis != port.batch_axis]
        size = int(np.prod(shape))
        part = vector[:, first : first + size].reshape(len(vector), *shape)
        first += size
        feeds[port.name] = np.ascontiguousarray(
            part[0] if port.batch_axis is None else np.moveaxis(part, 0, port.batch_axis)
        )
    return feeds


def _flat(result: Array, port: Port, rows: int) -> Array:
    if port.batch_axis is None or result.ndim != len(port.shape):
        return result.reshape(rows, -1)
    return np.moveaxis(result, port.batch_axis, 0).reshape(rows, -1)


def _engine(model: OnnxModel) -> Callable[..., Any]:
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model.proto).run
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the graph: {error}") from error
    return session.run  # type: ignore[no-any-return]
