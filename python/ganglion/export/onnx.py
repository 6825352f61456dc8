"""Target `.onnx`: a functional graph, the state as named inputs and outputs, the contract in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from ganglion.compiler.session import open_session, run_step
from ganglion.compiler.signature import METADATA_KEY, tensor_names, with_batch
from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.export.files import replacing
from ganglion.export.golden import replay
from ganglion.export.graph import build_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ganglion.contract import Contract


def write(policy: nn.Module, contract: Contract, path: Path) -> Contract:
    """Writes a policy as ONNX, after replaying the golden trajectory through the written file in onnxruntime.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: target; replaced only when the new file is right.

    Returns:
        The contract as written.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: the file cannot be written, or differs from the Python policy.
        EngineUnavailableError: onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise EngineUnavailableError(
            f"writing '{path.name}' needs onnx, onnxscript and onnxruntime ({error}); install ganglion[onnx]"
        ) from error
    del onnxruntime
    model = build_model(policy, contract)
    program = model.SerializeToString(deterministic=True)
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(program).hexdigest())
    # Fields of a serialized protobuf message may be appended: what was hashed stays byte for byte as it was.
    entry = onnx.StringStringEntryProto(key=METADATA_KEY, value=contract.to_json())
    metadata = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    with replacing(path) as temporary:
        temporary.write_bytes(program + metadata)
        _check(temporary, contract)
    return contract


def _check(path: Path, contract: Contract) -> None:
    import onnx

    stored = [entry.value for entry in onnx.load(path).metadata_props if entry.key == METADATA_KEY]
    if stored != [contract.to_json()]:
        raise ExportError(f"'{path.name}': the contract cannot be read back from the ONNX file")
    try:
        session = open_session(str(path))
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the exported file: {error}") from error
    _check_signature(session, contract)

    def step(observation: NDArray[np.float32], hidden: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        return run_step(session, contract, observation, hidden)

    assert contract.golden is not None
    for rows in (contract.batch,) if contract.batch else (1, contract.golden.rows, contract.golden.rows + 1):
        replay(step, contract, f"the ONNX file in onnxruntime with {rows} rows", rows)


def _check_signature(session: Any, contract: Contract) -> None:
    rows: int | str = contract.batch or "batch"
    states = [list(with_batch(slot, rows)) for slot in contract.state]
    inputs, outputs = tensor_names(contract)
    shapes = [[rows, spec.size] for spec in contract.inputs] + states
    shapes += [[rows, spec.size] for spec in contract.outputs] + states
    expected = list(zip(inputs + outputs, shapes, strict=True))
    found = [(tensor.name, list(tensor.shape)) for tensor in (*session.get_inputs(), *session.get_outputs())]
    if found != expected:
        raise ExportError(f"the exporter changed names or shapes: expected {expected}, found {found}")
