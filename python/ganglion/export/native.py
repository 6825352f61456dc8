"""Target `.ganglion`: the program of the native engine, compiled from the same graph that the target `.onnx` writes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ganglion.compiler import compile_onnx, file
from ganglion.export.graph import build_model
from ganglion.runtime.proof import proven

if TYPE_CHECKING:
    from pathlib import Path

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
    """Writes a policy as a `.ganglion` file, proven by the C++ runtime before it appears.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: target; replaced only when the C++ runtime has loaded the new file and replayed the golden trajectory.
        weights: how to store the weights: `"float32"`, `"float16"` or `"int8"`.
        weight_tolerance: largest accepted |difference| that smaller weights make in any output; 0.01 if None.

    Returns:
        The contract as written.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the native engine cannot run the policy, the program differs from it, smaller weights cost more
            than the tolerance, the C++ runtime refuses the file, or it cannot be written.
        EngineUnavailableError: onnx or onnxscript is not installed.
    """
    # A program has no batch axis, so it is made from the graph of one row; the executor runs any number of them.
    model = build_model(policy, dataclasses.replace(contract, batch=1))
    program, contract = compile_onnx(model, contract=contract, weights=weights, tolerance=weight_tolerance)
    data, contract = file.to_bytes(program, contract)
    with proven(path, contract) as temporary:
        temporary.write_bytes(data)
    return contract
