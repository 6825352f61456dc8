"""The ONNX graph of a policy in memory, from which the targets `.onnx`, `.ganglion` and `.hpp` are made."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.compiler.signature import METADATA_KEY, contract_ports, ports, tensor_names, with_batch
from ganglion.errors import EngineUnavailableError, ExportError
from ganglion.policies.scripting.capture import capture
from ganglion.policies.scripting.preparation import blame

if TYPE_CHECKING:
    from ganglion.contract import Contract, StateSlot

_OPSET = 18
_IR_VERSION = 8
"""Of the onnx release that brought opset 18. onnxruntime 1.17 reads up to 9; exporters write what is newest today."""

_EXAMPLE_ROWS = 3
"""Rows of the traced batch where the file takes any number; not 0 or 1, which torch.export treats as constants."""


def build_model(policy: nn.Module, contract: Contract) -> Any:
    """Builds the `onnx.ModelProto` of a prepared policy, without the contract in it.

    Raises:
        UnsupportedModuleError: a module cannot be exported.
        ExportError: two tensors have the same name.
        EngineUnavailableError: onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineUnavailableError(
            f"exporting a graph needs onnx and onnxscript ({error}); install ganglion[onnx]"
        ) from error
    _check_names(contract)

    from ganglion.export.cell_nodes import use_onnx_cells

    converted = copy.deepcopy(policy)
    use_onnx_cells(converted)
    rows = contract.batch or _EXAMPLE_ROWS
    observations = tuple(torch.zeros(rows, spec.size) for spec in contract.inputs)
    states = tuple(torch.zeros(with_batch(slot, rows)) for slot in contract.state)
    dynamic = None
    if contract.batch is None:
        axis = torch.export.Dim("batch")
        dynamic = (({0: axis},) * len(observations) + tuple({_batch_axis(slot): axis} for slot in contract.state),)
    inputs, outputs = tensor_names(contract)
    try:
        with contextlib.nullcontext() if dynamic is None else _einsum_of_any_size():
            module = _Graph(converted, contract).eval()
            graph = capture(module, observations + states) if dynamic is None else module
            return to_proto(graph, observations + states, inputs, outputs, dynamic)
    except Exception as error:
        example = (torch.zeros(rows, contract.observation_size), torch.zeros(rows, contract.hidden_size))
        raise blame(policy, example, error) from error


def to_proto(
    graph: Any, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str], dynamic: Any = None
) -> Any:
    """The `onnx.ModelProto` of a captured module.

    Args:
        graph: module, or `torch.export.ExportedProgram`.
        examples: its inputs.
        inputs: their names.
        outputs: names of what it gives.
        dynamic: axes whose sizes stay open, as `torch.onnx.export` takes them; None for none.

    Raises:
        Exception: whatever torch's exporter raises.
    """
    import onnxscript

    from ganglion.export.cell_nodes import translations

    # The exporter reports its progress with print().
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program: Any = torch.onnx.export(
            graph,
            examples,
            input_names=inputs,
            output_names=outputs,
            opset_version=_OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=False,
            custom_translation_table=translations(onnxscript.opset18),
            verbose=False,
        )
    model = program.model_proto
    _clean(model)
    return model


def to_bytes(policy: nn.Module, contract: Contract) -> tuple[bytes, Contract]:
    """The bytes of an `.onnx` file, and the contract in its metadata.

    Raises:
        UnsupportedModuleError, EngineUnavailableError: see `build_model`.
        ExportError: see `build_model`; or the exporter changed names or shapes.
    """
    model = build_model(policy, contract)
    import onnx

    _check_signature(model, contract)
    program = model.SerializeToString(deterministic=True)
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(program).hexdigest())
    # Fields of a serialized protobuf message may be appended: what was hashed stays byte for byte as it was.
    entry = onnx.StringStringEntryProto(key=METADATA_KEY, value=contract.to_json())
    return program + onnx.ModelProto(metadata_props=[entry]).SerializeToString(), contract


def _einsum_of_any_size() -> contextlib.AbstractContextManager[Any]:
    """Contracts from left to right: an order that is chosen by sizes makes the number of rows one of them."""
    library = torch.backends.opt_einsum
    return library.flags(enabled=False) if library.is_available() else contextlib.nullcontext()  # it is optional


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


def _flatten(state: Tensor, slot: StateSlot) -> Tensor:
    """A state tensor as part of the flat hidden vector: `[rows, slot.size]`."""
    return (state.transpose(0, 1) if _batch_axis(slot) == 1 else state).reshape(-1, slot.size)


def _unflatten(part: Tensor, slot: StateSlot) -> Tensor:
    """The inverse of `_flatten`."""
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


def _check_signature(model: Any, contract: Contract) -> None:
    expected = contract_ports(contract, contract.batch)
    found = tuple(ports(model.graph.input)), tuple(ports(model.graph.output))
    if found != expected:
        raise ExportError(f"the exporter changed names or shapes: expected {expected}, found {found}")
