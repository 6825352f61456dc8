"""Target `.onnx`: a functional graph, the state as named inputs and outputs, the contract in the metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganglion.errors import EngineUnavailableError
from ganglion.export.graph import to_bytes
from ganglion.runtime.engines import onnxruntime_library
from ganglion.runtime.proof import other_rows, proven

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ganglion.contract import Contract


def write(policy: nn.Module, contract: Contract, path: Path) -> Contract:
    """Writes a policy as ONNX, proven by the C++ runtime in ONNX Runtime before it appears.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: target; replaced only when the C++ runtime has loaded the new file and replayed the golden trajectory.

    Returns:
        The contract as written.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the file cannot be written, differs from the Python policy, or the C++ runtime refuses it.
        EngineUnavailableError: onnx, onnxscript or onnxruntime is not installed.
    """
    # Before any work is done: without it, nothing could be proven in the end.
    if onnxruntime_library() is None:
        raise EngineUnavailableError(f"writing '{path.name}' needs onnxruntime, to prove it; install ganglion[onnx]")
    data, contract = to_bytes(policy, contract)
    with proven(path, contract, engine="onnxruntime", rows=other_rows(contract)) as temporary:
        temporary.write_bytes(data)
    return contract
