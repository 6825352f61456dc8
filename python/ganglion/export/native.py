"""Target `.ganglion`: the program of the native engine, compiled from the same graph that the target `.onnx` writes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ganglion.compiler import compile_onnx, file
from ganglion.compiler.interpreter import Interpreter
from ganglion.errors import ExportError
from ganglion.export.files import replacing
from ganglion.export.golden import replay
from ganglion.export.graph import build_model

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ganglion.contract import Contract


def write(
    policy: nn.Module,
    contract: Contract,
    path: Path,
    *,
    weights: str = "float32",
    weight_tolerance: float | None = None,
) -> Contract:
    """Writes a policy as a `.ganglion` file, after replaying the golden trajectory through what was written.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: target; replaced only when the new file is right.
        weights: how to store the weights: `"float32"`, `"float16"` or `"int8"`.
        weight_tolerance: largest accepted |difference| that smaller weights make in any output; 0.01 if None.

    Returns:
        The contract as written.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the native engine cannot run the policy, the program differs from it, smaller weights cost more
            than the tolerance, or the file cannot be written.
        EngineUnavailableError: onnx or onnxscript is not installed.
    """
    # A program has no batch axis, so it is made from the graph of one row; the executor runs any number of them.
    model = build_model(policy, dataclasses.replace(contract, batch=1))
    program, contract = compile_onnx(model, contract=contract, weights=weights, tolerance=weight_tolerance)
    with replacing(path) as temporary:
        contract = file.write(temporary, program, contract)
        _check(temporary, contract)
    return contract


def _check(path: Path, contract: Contract) -> None:
    program, stored = file.read(path)
    if stored != contract:
        raise ExportError(f"'{path.name}': the contract cannot be read back from the file")
    interpreter = Interpreter(program)

    def step(observation: NDArray[np.float32], hidden: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs, hidden = interpreter.step(observation, hidden)
        return [outputs, hidden]

    assert contract.golden is not None
    replay(step, contract, "the program of the native engine", contract.golden.rows)
