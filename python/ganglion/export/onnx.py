"""Target `.onnx`: a functional graph, the state as named inputs and outputs, the contract in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.export.files import replacing
from ganglion.export.golden import replay
from ganglion.export.graph import build_model, flatten, tensor_names, unflatten, with_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from ganglion.contract import Contract

METADATA_KEY = "ganglion"
"""Key of the metadata entry that holds the contract."""


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
    import onnxruntime

    stored = [entry.value for entry in onnx.load(path).metadata_props if entry.key == METADATA_KEY]
    if stored != [contract.to_json()]:
        raise ExportError(f"'{path.name}': the contract cannot be read back from the ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the exported file: {error}") from error
    _check_signature(session, contract)

    def step(observation: NDArray[np.float32], hidden: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        return run_step(session, contract, observation, hidden)

    assert contract.golden is not None
    for rows in (contract.batch,) if contract.batch else (1, contract.golden.rows, contract.golden.rows + 1):
        replay(step, contract, f"the ONNX file in onnxruntime with {rows} rows", rows)


def run_step(
    session: Any, contract: Contract, observation: NDArray[np.float32], hidden: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """One step of an exported file in an `onnxruntime.InferenceSession`.

    Args:
        session: the session.
        contract: contract of the file.
        observation: `[rows, observation_size]`.
        hidden: flat hidden vector, `[rows, hidden_size]`.

    Returns:
        The outputs in contract order, each `[rows, size]`, then the new flat hidden vector.
    """
    inputs, outputs = tensor_names(contract)
    edges = np.cumsum([spec.size for spec in contract.inputs])[:-1]
    tensors = list(np.split(observation, edges, axis=1))
    edges = np.cumsum([slot.size for slot in contract.state])
    for slot, part in zip(contract.state, np.split(hidden, edges, axis=1)[:-1], strict=True):
        tensors.append(unflatten(torch.from_numpy(part), slot).numpy())
    result = session.run(outputs, {name: np.ascontiguousarray(t) for name, t in zip(inputs, tensors, strict=True)})
    states = result[len(contract.outputs) :]
    flat = [flatten(torch.from_numpy(state), slot).numpy() for state, slot in zip(states, contract.state, strict=True)]
    return [*result[: len(contract.outputs)], np.concatenate(flat, axis=1) if flat else hidden]


def _check_signature(session: Any, contract: Contract) -> None:
    rows: int | str = contract.batch or "batch"
    expected = [(spec.name, [rows, spec.size]) for spec in contract.inputs]
    expected += [(f"{slot.name}_in", list(with_batch(slot, rows))) for slot in contract.state]
    expected += [(spec.name, [rows, spec.size]) for spec in contract.outputs]
    expected += [(f"{slot.name}_out", list(with_batch(slot, rows))) for slot in contract.state]
    found = [(tensor.name, list(tensor.shape)) for tensor in (*session.get_inputs(), *session.get_outputs())]
    if found != expected:
        raise ExportError(f"the exporter changed names or shapes: expected {expected}, found {found}")
