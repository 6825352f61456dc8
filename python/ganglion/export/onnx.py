"""Target `.onnx`: a functional graph, the state as named inputs and outputs, the contract in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from ganglion.compiler.signature import METADATA_KEY, contract_ports, ports
from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.export.graph import build_model
from ganglion.runtime.engines import onnxruntime_library
from ganglion.runtime.proof import proven

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
    model = build_model(policy, contract)
    import onnx

    _check_signature(model, contract)
    program = model.SerializeToString(deterministic=True)
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(program).hexdigest())
    # Fields of a serialized protobuf message may be appended: what was hashed stays byte for byte as it was.
    entry = onnx.StringStringEntryProto(key=METADATA_KEY, value=contract.to_json())
    metadata = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    golden = contract.golden
    assert golden is not None
    # More rows than were traced: a graph that computed with their number is found out.
    rows = None if contract.batch else (1, golden.rows + 1)
    with proven(path, contract, engine="onnxruntime", rows=rows) as temporary:
        temporary.write_bytes(program + metadata)
    return contract


def _check_signature(model: Any, contract: Contract) -> None:
    expected = contract_ports(contract, contract.batch)
    found = tuple(ports(model.graph.input)), tuple(ports(model.graph.output))
    if found != expected:
        raise ExportError(f"the exporter changed names or shapes: expected {expected}, found {found}")
