"""Target `.onnx`: a functional graph, the state as named inputs and outputs, the contract in the metadata."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.export.files import replacing
from ganglion.export.golden import replay
from ganglion.export.preparation import blame
from ganglion.export.simplify import capture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ganglion.contract import Contract, StateSlot

_Rows = TypeVar("_Rows", bound="int | str")

METADATA_KEY = "ganglion"
"""Key of the metadata entry that holds the contract."""

_OPSET = 18
_IR_VERSION = 8
"""Of the onnx release that brought opset 18. onnxruntime 1.17 reads up to 9; exporters write what is newest today."""

_EXAMPLE_ROWS = 3
"""Rows of the traced batch where the file takes any number; not 0 or 1, which torch.export treats as constants."""


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
    _check_names(contract)
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


def build_model(policy: nn.Module, contract: Contract) -> Any:
    """Builds the `onnx.ModelProto` of a prepared policy, without the contract in it.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
    """
    import onnxscript

    from ganglion.export.onnx_cells import translations, use_onnx_cells

    converted = copy.deepcopy(policy)
    use_onnx_cells(converted)
    rows = contract.batch or _EXAMPLE_ROWS
    observations = tuple(torch.zeros(rows, spec.size) for spec in contract.inputs)
    states = tuple(torch.zeros(_with_batch(slot, rows)) for slot in contract.state)
    dynamic = None
    if contract.batch is None:
        axis = torch.export.Dim("batch")
        dynamic = (({0: axis},) * len(observations) + tuple({_batch_axis(slot): axis} for slot in contract.state),)
    inputs, outputs = tensor_names(contract)
    try:
        # The exporter reports its progress with print().
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            graph: nn.Module = _Graph(converted, contract).eval()
            if dynamic is None:
                graph = capture(graph, observations + states)
            program: Any = torch.onnx.export(
                graph,
                observations + states,
                input_names=inputs,
                output_names=outputs,
                opset_version=_OPSET,
                dynamo=True,
                dynamic_shapes=dynamic,
                external_data=False,
                custom_translation_table=translations(onnxscript.opset18),
                verbose=False,
            )
    except Exception as error:
        example = (torch.zeros(rows, contract.observation_size), torch.zeros(rows, contract.hidden_size))
        raise blame(policy, example, error) from error
    model = program.model_proto
    _clean(model)
    return model


def tensor_names(contract: Contract) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs of the graph, in order."""
    inputs = [spec.name for spec in contract.inputs] + [f"{slot.name}_in" for slot in contract.state]
    outputs = [spec.name for spec in contract.outputs] + [f"{slot.name}_out" for slot in contract.state]
    return inputs, outputs


class _Graph(nn.Module):
    """The policy with its hidden vector split into the tensors of the state slots."""

    def __init__(self, policy: nn.Module, contract: Contract) -> None:
        super().__init__()
        self.policy = policy
        self._slots = contract.state
        self._num_inputs = len(contract.inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        observations, states = tensors[: self._num_inputs], tensors[self._num_inputs :]
        obs = observations[0] if len(observations) == 1 else torch.cat(observations, dim=1)
        flat = [_flatten(state, slot) for state, slot in zip(states, self._slots, strict=True)]
        hidden = torch.cat(flat, dim=1) if flat else obs.new_zeros((obs.shape[0], 0))
        *outputs, new_hidden = self.policy(obs, hidden)
        parts = new_hidden.split([slot.size for slot in self._slots], dim=1) if flat else ()
        return (*outputs, *(_unflatten(part, slot) for part, slot in zip(parts, self._slots, strict=True)))


def _batch_axis(slot: StateSlot) -> int:
    return 1 if len(slot.shape) == 2 else 0


def _with_batch(slot: StateSlot, rows: _Rows) -> tuple[int | _Rows, ...]:
    axis = _batch_axis(slot)
    return (*slot.shape[:axis], rows, *slot.shape[axis:])


def _flatten(state: Tensor, slot: StateSlot) -> Tensor:
    return (state.transpose(0, 1) if _batch_axis(slot) == 1 else state).reshape(-1, slot.size)


def _unflatten(part: Tensor, slot: StateSlot) -> Tensor:
    shaped = part.reshape(-1, *slot.shape)
    return shaped.transpose(0, 1) if _batch_axis(slot) == 1 else shaped


def _clean(model: Any) -> None:
    # Exporters note where in the user's source each node comes from; a deployed file keeps no paths of that machine.
    model.ir_version = _IR_VERSION
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


def _check_names(contract: Contract) -> None:
    inputs, outputs = tensor_names(contract)
    names = inputs + outputs
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ExportError(f"ONNX needs a different name for every tensor; {repeated} appear more than once")


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
        tensors.append(_unflatten(torch.from_numpy(part), slot).numpy())
    result = session.run(outputs, {name: np.ascontiguousarray(t) for name, t in zip(inputs, tensors, strict=True)})
    states = result[len(contract.outputs) :]
    flat = [_flatten(torch.from_numpy(state), slot).numpy() for state, slot in zip(states, contract.state, strict=True)]
    return [*result[: len(contract.outputs)], np.concatenate(flat, axis=1) if flat else hidden]


def _check_signature(session: Any, contract: Contract) -> None:
    rows: int | str = contract.batch or "batch"
    expected = [(spec.name, [rows, spec.size]) for spec in contract.inputs]
    expected += [(f"{slot.name}_in", list(_with_batch(slot, rows))) for slot in contract.state]
    expected += [(spec.name, [rows, spec.size]) for spec in contract.outputs]
    expected += [(f"{slot.name}_out", list(_with_batch(slot, rows))) for slot in contract.state]
    found = [(tensor.name, list(tensor.shape)) for tensor in (*session.get_inputs(), *session.get_outputs())]
    if found != expected:
        raise ExportError(f"the exporter changed names or shapes: expected {expected}, found {found}")
