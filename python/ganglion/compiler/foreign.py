"""ONNX models of other exporters in the form of ours: state tensors by their slots' names, nothing else but float32.

What is recognised, and how, is the business of the C++ runtime; see `ganglion.reading`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.errors import ArtifactError, ExportError
from ganglion.reading import Reading, read_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ganglion.contract import Contract


def canonical(
    proto: Any, name: str, state: Mapping[str, str] | None = None, action: str | None = None
) -> tuple[Any, Contract]:
    """Recognises the state of a model without a contract and renames its tensors to `<slot>_in`, `<slot>_out`.

    Inputs that are constants in single steps become initialisers, a counter of steps becomes a slot, and tensors of
    other shapes than `[batch, n]` and `[layers, batch, n]` are reshaped, for one row.

    Args:
        proto: an `onnx.ModelProto` with its weights inside; it is not changed.
        name: stands for its path in messages.
        state: see `ganglion.load`.
        action: see `ganglion.load`.

    Returns:
        The new model, and the contract.

    Raises:
        ExportError: its state cannot be recognised.
    """
    import onnx

    try:
        reading = read_onnx(proto.SerializeToString(), name, state, action)
    except ArtifactError as error:
        raise ExportError(str(error)) from error
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    _rename(graph, _new_names(reading))
    one_row = _store_constants(graph, reading)
    for index, names in enumerate(reading.state):
        if not names.output:
            _add_counter(graph, reading, index)
    _drop_unread_outputs(graph, reading)
    _take_bytes(graph)
    _convert_indices(graph)
    _drop_idle_nodes(graph)
    _reshape_ports(graph, reading, one_row)
    return model, reading.contract


def _new_names(reading: Reading) -> dict[str, str]:
    names = {}
    for state in reading.state:
        if state.output:
            names[state.input] = f"{state.slot}_in"
            names[state.output] = f"{state.slot}_out"
    return {old: new for old, new in names.items() if old != new}


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Renames values everywhere, and moves values aside that have one of the new names already."""
    taken = set(names.values())

    def renamed(name: str) -> str:
        if name in names:
            return names[name]
        return f"{name}__other" if name in taken else name

    def visit(inner: Any) -> None:
        for value in (*inner.input, *inner.output, *inner.initializer, *inner.value_info):
            value.name = renamed(value.name)
        for node in inner.node:
            for values in (node.input, node.output):
                for position, name in enumerate(values):
                    values[position] = renamed(name)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    visit(attribute.g)
                for nested in attribute.graphs:
                    visit(nested)

    if names:
        visit(graph)


def _take_input(graph: Any, name: str) -> Any:
    """Removes an input from the graph and returns it."""
    for position, value in enumerate(graph.input):
        if value.name == name:
            del graph.input[position]
            return value
    raise ExportError(f"the graph has no input '{name}'")


def _one_row(value: Any) -> list[int]:
    """The shape of a port with one row and one time step."""
    return [int(axis.dim_value) if axis.HasField("dim_value") else 1 for axis in value.type.tensor_type.shape.dim]


def _store_constants(graph: Any, reading: Reading) -> bool:
    """Stores the constant inputs; True where one had an element per row, so that the graph now takes one row only."""
    import onnx

    one_row = False
    for name, constant in reading.constants.items():
        value = _take_input(graph, name)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        one_row |= any(not axis.HasField("dim_value") for axis in value.type.tensor_type.shape.dim)
        array = np.full(_one_row(value), constant).astype(dtype)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return one_row


def _add_counter(graph: Any, reading: Reading, index: int) -> None:
    """Makes `<slot>_in`, float32, of an integer input that counts steps, and `<slot>_out` of its value plus one."""
    import onnx

    names = reading.state[index]
    value = _take_input(graph, names.input)
    integer, shape = value.type.tensor_type.elem_type, _one_row(value)
    before, after = f"{names.slot}_in", f"{names.slot}_out"
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones([1, 1], np.float32), f"{names.slot}__one"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), f"{names.slot}__shape"))
    nodes = [
        onnx.helper.make_node("Reshape", [before, f"{names.slot}__shape"], [f"{names.slot}__flat"]),
        onnx.helper.make_node("Cast", [f"{names.slot}__flat"], [names.input], to=integer),
        onnx.helper.make_node("Add", [before, f"{names.slot}__one"], [after]),
    ]
    for position, node in enumerate(nodes):
        graph.node.insert(position, node)
    for values, name in ((graph.input, before), (graph.output, after)):
        values.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1]))


def _drop_unread_outputs(graph: Any, reading: Reading) -> None:
    kept = {spec.name for spec in reading.contract.outputs} | {f"{names.slot}_out" for names in reading.state}
    outputs = [value for value in graph.output if value.name in kept]
    del graph.output[:]
    graph.output.extend(outputs)


def _take_bytes(graph: Any) -> None:
    """Makes float32 of an input of bytes, as an image: fractions are cut off, and what is no byte becomes one."""
    import onnx

    limits = "bytes__low", "bytes__high"
    taken = [value for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8]
    if taken:
        for name, limit in zip(limits, (0.0, 255.0), strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(limit, np.float32), name))
    for value in reversed(taken):
        inner, clipped = f"{value.name}__bytes", f"{value.name}__clipped"
        _rename_in_nodes(graph, value.name, inner)
        graph.node.insert(0, onnx.helper.make_node("Cast", [clipped], [inner], to=onnx.TensorProto.UINT8))
        graph.node.insert(0, onnx.helper.make_node("Clip", [value.name, *limits], [clipped]))
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _convert_indices(graph: Any) -> None:
    """Makes float32 of an output of integers: the index of an action."""
    import onnx

    for value in graph.output:
        kind = value.type.tensor_type
        if kind.elem_type == onnx.TensorProto.FLOAT:
            continue
        inner = f"{value.name}__index"
        _rename_in_nodes(graph, value.name, inner)
        graph.node.append(onnx.helper.make_node("Cast", [inner], [value.name], to=onnx.TensorProto.FLOAT))
        kind.elem_type = onnx.TensorProto.FLOAT


def _drop_idle_nodes(graph: Any) -> None:
    """Removes what no output needs any more, such as the draw of an action that is not read."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_taken(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _taken(node: Any) -> Iterator[str]:
    """What a node takes, with what its inner graphs take from outside."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from (value.name for value in inner.output)
            for nested in inner.node:
                yield from _taken(nested)


def _reshape_ports(graph: Any, reading: Reading, one_row: bool) -> None:
    """Gives every port whose shape is not ours one of `[1, n]`, and fixes all of them to one row then, or if asked."""
    slots = {f"{slot.name}_in": slot for slot in reading.contract.state}
    slots |= {f"{slot.name}_out": slot for slot in reading.contract.state}
    ports = [(value, graph.input) for value in graph.input] + [(value, graph.output) for value in graph.output]
    foreign = [(value, values) for value, values in ports if not _is_ours(value, slots.get(value.name))]
    if not (foreign or one_row):
        return
    if foreign and (reading.contract.batch or 1) != 1:
        raise ExportError(
            f"tensor '{foreign[0][0].name}' of the shape {_one_row(foreign[0][0])} is compiled for one row only; "
            "export the policy with a batch of 1"
        )
    for value, _ in ports:
        for axis in value.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    for value, values in foreign:
        _reshape_port(graph, value, is_input=values is graph.input)


def _is_ours(value: Any, slot: Any) -> bool:
    shape = _one_row(value)
    if slot is None:
        return len(shape) in (1, 2)
    # [layers, batch, hidden], or [batch, n]; a state [layers, hidden] of a graph without a batch axis is neither.
    return len(shape) == 3 if len(slot.shape) == 2 else len(shape) == 2 and shape[1] == slot.size


def _reshape_port(graph: Any, value: Any, *, is_input: bool) -> None:
    import onnx

    name, shape = value.name, _one_row(value)
    inner = f"{name}__{'x'.join(map(str, shape))}"
    _rename_in_nodes(graph, name, inner)
    target = shape if is_input else [1, math.prod(shape)]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(target, np.int64), f"{inner}__shape"))
    source, result = (name, inner) if is_input else (inner, name)
    node = onnx.helper.make_node("Reshape", [source, f"{inner}__shape"], [result])
    graph.node.insert(0 if is_input else len(graph.node), node)
    value.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, math.prod(shape)]))


def _rename_in_nodes(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for position, name in enumerate(values):
                if name == old:
                    values[position] = new
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename_in_nodes(inner, old, new)
