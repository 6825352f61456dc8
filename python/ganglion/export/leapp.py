"""Target `.yaml`: a LEAPP bundle of one node, for Isaac's deployment stack; the model and its initial state lie beside.

The format is that of the package `leapp` 0.7 (config version 1.3), see `ganglion.reading.leapp`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.safetensors_files import join
from ganglion._foundation.targets import replacing
from ganglion.compiler.signature import contract_ports
from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.export.graph import to_bytes
from ganglion.runtime.engines import onnxruntime_library
from ganglion.runtime.proof import proven

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ganglion.contract import Contract, TensorSpec

_CONFIG_VERSION = "1.3"


def write(policy: nn.Module, contract: Contract, path: Path) -> Contract:
    """Writes a bundle: `walker.yaml`, `walker.onnx` and, with memory, `walker_initial_values.safetensors`.

    The model is proven as an `.onnx` file is, and appears first; the YAML file, which names its digest, last.

    Args:
        policy: a prepared recurrent policy (eval mode, CPU, float32).
        contract: its contract with the golden trajectory; `sha256` is filled in here.
        path: the YAML file.

    Returns:
        The contract as written, in the metadata of the model.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: a file cannot be written, differs from the Python policy, or the C++ runtime refuses it; the
            contract is for any number of rows, or has a name that a bundle cannot.
        EngineUnavailableError: PyYAML, onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise EngineUnavailableError("writing YAML needs PyYAML: pip install 'ganglion[adapters]'") from error
    if onnxruntime_library() is None:
        raise EngineUnavailableError(f"writing '{path.name}' needs onnxruntime, to prove it; install ganglion[onnx]")
    if contract.batch is None:
        raise ExportError(f"'{path.name}': a LEAPP bundle is for a number of rows; export with batch=1")
    inputs, outputs = contract_ports(contract, contract.batch)
    if odd := [port.name for port in (*inputs, *outputs) if "/" in port.name] + [path.stem] * ("/" in path.stem):
        raise ExportError(f"'{odd[0]}': names of a LEAPP bundle have no '/'; rename the tensor in the policy")
    data, contract = to_bytes(policy, contract)
    model, values = path.with_suffix(".onnx"), path.with_name(f"{path.stem}_initial_values.safetensors")
    with proven(model, contract, engine="onnxruntime") as temporary:
        temporary.write_bytes(data)
    if contract.state:
        with replacing(values) as temporary:
            temporary.write_bytes(_initial_values(contract, path.stem))
    document = _document(contract, path.stem, model.name, data, values.name)
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(document, sort_keys=False, default_flow_style=None), encoding="utf-8")
    return contract


def _document(contract: Contract, node: str, model: str, data: bytes, values: str) -> dict[str, Any]:
    inputs, outputs = contract_ports(contract, contract.batch)
    specs = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
    pipeline: dict[str, Any] = {
        "data_flow": {},
        "feedback_flow": {f"{node}/{slot.name}_out": [f"{node}/{slot.name}_in"] for slot in contract.state},
        "inputs": {node: [spec.name for spec in contract.inputs]},
        "outputs": {node: [spec.name for spec in contract.outputs]},
    }
    if contract.period_s is not None:
        pipeline["configs"] = {"frequency": 1.0 / contract.period_s}
    if contract.state:
        pipeline["initial_values"] = values
    described = {
        "inputs": [_tensor(port.name, port.shape, specs.get(port.name)) for port in inputs],
        "outputs": [_tensor(port.name, port.shape, specs.get(port.name)) for port in outputs],
        "parameters": {
            "model_path": model,
            "md5sum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "sha256sum": hashlib.sha256(data).hexdigest(),
            "backend": "onnx",
        },
    }
    system = {"leapp config version": _CONFIG_VERSION, "producer": "ganglion"}
    return {"models": {node: described}, "pipeline": pipeline, "system information": system}


def _tensor(name: str, shape: tuple[int, ...], spec: TensorSpec | None) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "dtype": "float32", "shape": list(shape), "type": "tensor"}
    if spec is not None and spec.element_names:
        told["element_names"] = [list(spec.element_names)]
    return told


def _initial_values(contract: Contract, node: str) -> bytes:
    ports = contract_ports(contract, contract.batch)[0][len(contract.inputs) :]
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    begin = first = 0
    for slot, port in zip(contract.state, ports, strict=True):
        row = np.asarray(contract.initial_state[first : first + slot.size], "<f4").reshape(slot.shape)
        first += slot.size
        rows = np.broadcast_to(np.expand_dims(row, port.batch_axis or 0), port.shape)
        parts.append(np.ascontiguousarray(rows).tobytes())
        end = begin + len(parts[-1])
        header[f"{node}/{port.name}"] = {"dtype": "F32", "shape": list(port.shape), "data_offsets": [begin, end]}
        begin = end
    return join(header, *parts)
