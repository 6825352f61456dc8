"""From an ONNX graph to a program of the native engine, and from there to a `.ganglion` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import only_ours
from ganglion.compiler import cells, fuse
from ganglion.compiler.finish import finish
from ganglion.compiler.lowering.graph import Lowered
from ganglion.compiler.model import open_model
from ganglion.compiler.program import Program
from ganglion.compiler.prove import prove
from ganglion.compiler.quantise import FASTEST_FIRST, RunInputs, accepted
from ganglion.compiler.rewrite import rewrite
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ganglion.compiler.model import OnnxModel
    from ganglion.contract import Contract

__all__ = ["Program", "compile_onnx", "lower_onnx"]


def compile_onnx(
    source: str | os.PathLike[str] | Any,
    *,
    contract: Contract | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    weights: str = "float32",
    tolerance: float | None = None,
    recording: RunInputs | None = None,
    integer_inputs: bool = True,
) -> tuple[Program, Contract]:
    """Compiles an ONNX model, ours or anybody's, and proves the program before it returns.

    Args:
        source: path of an `.onnx` file, the file as it was read, or an `onnx.ModelProto`. Opset 7 or newer, weights
            inside, float32 inputs and outputs, fixed sizes but for the batch axis, one time step.
        contract: what goes in and comes out; None takes the contract in the model, or recognises one (see
            `ganglion.explain`).
        state: for a model without a contract, see `ganglion.load`.
        action: for a model without a contract, see `ganglion.load`.
        weights: how to store the weights: `"float32"`, `"float16"` or `"int8"`. `"int8"` takes the fastest scheme that
            holds the tolerance: inputs rounded to 8 bits (`"int8x8"`), to 16 bits (`"int8x16"`) or not at all; the
            first two can also be asked for by name.
        tolerance: largest accepted |difference| that smaller weights make in any output over the golden trajectory and
            the recording; 0.01 if None. Says nothing about float32.
        recording: observations `[steps, rows, n]` and resets `[steps, rows]` of a run to measure that with as well.
        integer_inputs: whether `"int8"` may become a scheme with rounded inputs; False for executors that have none.

    Returns:
        The program and its contract. The contract has a golden trajectory (recorded from the graph if the model brought
        none), no digest, and scheme and error of the weights in its provenance.

    Raises:
        ArtifactError: the file is missing or no ONNX model.
        ExportError: the model has something that the native engine does not know (says which node and what to do), the
            program differs from the model, or smaller weights cost more than the tolerance.
        EngineUnavailableError: the package onnx is not installed.
        ValueError: an argument is wrong.
    """
    program, model = lower_onnx(source, contract=contract, state=state, action=action)
    schemes = FASTEST_FIRST.get(weights, (weights,)) if integer_inputs else (weights,)
    with only_ours("the graph cannot be run", ExportError):
        return accepted(program, prove(program, model), schemes, tolerance, recording)


def lower_onnx(
    source: str | os.PathLike[str] | Any,
    *,
    contract: Contract | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
) -> tuple[Program, OnnxModel]:
    """The float32 program of an ONNX model, unproven, and the model; see `compile_onnx` for arguments and errors."""
    with only_ours("the graph cannot be read", ExportError):
        model = open_model(source, contract, state, action)
        lowered = Lowered(model)
        rewrite(lowered, cells.RULES, fuse.RULES)
        try:
            return finish(lowered), model
        except ArtifactError as error:
            raise ExportError(f"the native engine cannot hold this model: {error}") from error
