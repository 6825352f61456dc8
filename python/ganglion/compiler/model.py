"""Opens ONNX models: everything inside, functions written out, one row where the batch was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion._foundation.files import ReadFile, read_file
from ganglion._foundation.sentences import first_line
from ganglion.compiler.foreign import canonical
from ganglion.compiler.signature import Port, ports, stored_contract, tensor_names
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError
from ganglion.reading import judge

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ganglion.contract import Contract

OLDEST_OPSET = 7
"""From here on operators broadcast as NumPy does."""


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model that has passed the checks which need no look at single nodes.

    Attributes:
        proto: the `onnx.ModelProto`, its local functions inlined.
        opset: version of the ONNX operator set.
        contract: its contract.
        inputs: inputs of the graph in contract order: observations, then states.
        outputs: outputs of the graph in contract order: outputs, then states.
        batch: rows that the graph is written for; None for any number.
    """

    proto: Any
    opset: int
    contract: Contract
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batch: int | None

    def shape_of_one(self, port: Port) -> tuple[int, ...]:
        """Shape of an input with a single row."""
        return tuple(1 if axis == port.batch_axis else size for axis, size in enumerate(port.shape))

    def rows(self, port: Port) -> int:
        """Rows of an input in the graph; one where it takes any number."""
        return 1 if port.batch_axis is None else port.shape[port.batch_axis] or self.batch or 1


def open_model(
    source: str | os.PathLike[str] | Any,
    contract: Contract | None = None,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
) -> OnnxModel:
    """Opens a model.

    Args:
        source: path of an `.onnx` file, the file as it was read, or an `onnx.ModelProto`.
        contract: to use instead of the one in the model.
        state: for a model without a contract, see `ganglion.load`.
        action: for a model without a contract, see `ganglion.load`.

    Raises:
        ArtifactError: the file is missing or no ONNX model.
        ExportError: the model has something that the native engine cannot have; says what to do.
        EngineUnavailableError: the package onnx is not installed.
    """
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise EngineUnavailableError(f"compiling needs the package onnx ({error}); install ganglion[onnx]") from error
    file = None
    if isinstance(source, onnx.ModelProto):
        proto = _with_computed_outputs(source)
    else:
        file = source if isinstance(source, ReadFile) else read_file(source)
        proto = _with_computed_outputs(load_proto(file))
    _refuse_external_data(proto)
    try:
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
    except Exception as error:
        raise ExportError(f"this is no valid ONNX model: {first_line(error)}") from error
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise ExportError(f"opset {opset} is too old; export with opset {OLDEST_OPSET} or newer")
    if contract is None and (contract := stored_contract(proto)) is not None and file is not None:
        judge(file)
    if contract is None:
        proto, contract = canonical(proto, "the model" if file is None else str(file.path), state, action)
    elif action not in (None, contract.outputs[0].name):
        raise ExportError(
            f"the contract in the model says that '{contract.outputs[0].name}' is the action, not '{action}'"
        )
    initializers = {initializer.name for initializer in proto.graph.initializer}
    found_inputs = {port.name: port for port in ports(v for v in proto.graph.input if v.name not in initializers)}
    found_outputs = {port.name: port for port in ports(proto.graph.output)}
    names, output_names = tensor_names(contract)
    inputs = tuple(_port(found_inputs, name, "input") for name in names)
    if unknown := sorted(set(found_inputs) - set(names)):
        raise ExportError(f"the contract does not name the input '{unknown[0]}' of the graph")
    outputs = tuple(_port(found_outputs, name, "output") for name in output_names)
    for port in inputs:
        if any(size == 0 and axis != port.batch_axis for axis, size in enumerate(port.shape)):
            raise ExportError(
                f"input '{port.name}' has the shape {list(port.shape)}; only the batch axis may be dynamic"
            )
    return OnnxModel(proto, opset, contract, inputs, outputs, _rows(inputs, contract))


def _rows(inputs: Sequence[Port], contract: Contract) -> int | None:
    """Rows that the graph is written for: any number only where every input says so."""
    if inputs[0].batch_axis is None:
        return 1
    fixed = {port.name: port.shape[port.batch_axis] for port in inputs if port.batch_axis is not None}
    fixed = {name: rows for name, rows in fixed.items() if rows}
    if len(set(fixed.values())) > 1:
        said = ", ".join(f"'{name}' {rows}" for name, rows in fixed.items())
        raise ExportError(f"the inputs have different numbers of rows: {said}; export all of them with one batch")
    return next(iter(fixed.values()), contract.batch)


def load_proto(file: ReadFile) -> Any:
    """Takes a file as an `onnx.ModelProto`, with the weights that lie beside it inside.

    Raises:
        ArtifactError: it is no ONNX model, or its weights cannot be read.
        EngineUnavailableError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailableError(
            f"ONNX files are read by the package onnx: pip install 'ganglion[onnx]' ({error})"
        ) from error
    path, data = file
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:
        raise ArtifactError(f"'{path}' is no ONNX model: {first_line(error)}") from error
    if not proto.HasField("graph"):
        raise ArtifactError(f"'{path}' is no ONNX model: it has no graph")
    try:
        # Weights in files beside the model; onnx refuses names that lead out of the folder.
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:
        raise ArtifactError(
            f"'{path}' keeps weights in another file, which cannot be read: {first_line(error)}; put the file beside "
            "the model, or everything into one file: onnx.save_model(onnx.load(path), path) [weights-missing]"
        ) from error
    return proto


def _with_computed_outputs(proto: Any) -> Any:
    """The model with a node for every output, as the standard wants it.

    ML-Agents has weights for outputs, and some that nothing gives any more: the exporter dropped them with their nodes.
    """
    import onnx

    weights = {weight.name for weight in proto.graph.initializer}
    known = [value.name for value in proto.graph.output if value.name in weights]
    given = {name for node in proto.graph.node for name in node.output} | {value.name for value in proto.graph.input}
    empty = [value.name for value in proto.graph.output if value.name not in given | weights]
    if not known and (not empty or len(empty) == len(proto.graph.output)):
        return proto
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    for weight in model.graph.initializer:
        if weight.name in known:
            weight.name += "__value"
    for name in known:
        model.graph.node.insert(0, onnx.helper.make_node("Identity", [f"{name}__value"], [name]))
    for values, dropped in ((model.graph.input, known), (model.graph.output, empty)):
        for value in [value for value in values if value.name in dropped]:
            values.remove(value)
    return model


def _refuse_external_data(proto: Any) -> None:
    import onnx

    for tensor in _tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            raise ExportError(
                f"the weight '{tensor.name}' lies in '{where}', outside of the model; put everything into one file: "
                "torch.onnx.export(..., external_data=False), or onnx.save_model(onnx.load(path), path)"
            )


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors that a graph holds, in initializers and in nodes, those of inner graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _port(found: dict[str, Port], name: str, what: str) -> Port:
    if name not in found:
        raise ExportError(f"the graph has no {what} '{name}', which the contract names; it has {sorted(found)}")
    return found[name]
