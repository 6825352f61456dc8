"""Walks an ONNX graph and turns every node into operations of a program; what is constant is computed on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.compiler.builder import Builder, Symbol, Tensor, kind_of, size_of
from ganglion.compiler.lowering import (  # noqa: F401  importing them fills LOWERINGS
    conv,
    einsum,
    elementwise,
    gather,
    layout,
    linear,
    pool,
    recurrent,
    reduce,
    resample,
    scatter,
    spectrum,
)
from ganglion.compiler.lowering.site import LOWERINGS, Site
from ganglion.compiler.rows import Needed
from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganglion.compiler.model import OnnxModel
    from ganglion.compiler.signature import Port

_Scope = dict[str, "Tensor | None"]
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
_DEEPEST = 16


class Lowered:
    """A graph as operations that may still change, with its ends.

    Attributes:
        builder: the operations.
        inputs: a value for each input of the contract.
        state: a pair of values for each state slot: before and after the step.
        outputs: a value for each output of the contract.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.builder = Builder()
        scope: _Scope = {}
        values, others = [], {}
        for port in model.inputs:
            first, *rest = (self.builder.new_value(size_of(model.shape_of_one(port))) for _ in range(model.rows(port)))
            values.append(first)
            others.update(dict.fromkeys(rest, port.name))
            rows = [self.builder.symbol(value, model.shape_of_one(port)).address for value in (first, *rest)]
            scope[port.name] = Symbol(rows[0] if port.batch_axis is None else np.concatenate(rows, port.batch_axis))
        walk = _Walk(self.builder, model.opset)
        walk.graph(model.proto.graph, scope)
        results = [self._result(model, scope[port.name], port) for port in model.outputs]
        if others:
            needed = Needed(self.builder, results)
            if mixed := [name for value, name in others.items() if needed.mask(value).any()]:
                raise ExportError(
                    f"what the graph gives for one row depends on '{mixed[0]}' of another row: it mixes the rows of a "
                    "batch, which a policy must not do"
                )
            self.builder, values, results = needed.rebuilt(values, results)
        count = len(model.contract.inputs)
        self.inputs, states_in = values[:count], values[count:]
        count = len(model.contract.outputs)
        self.outputs, states_out = results[:count], results[count:]
        self.state = list(zip(states_in, states_out, strict=True))
        self._check_sizes(model)

    def _result(self, model: OnnxModel, tensor: Tensor | None, port: Port) -> int:
        if tensor is None or 0 in tensor.shape:
            raise ExportError(f"output '{port.name}' has no elements")
        rows, axis = model.batch or 1, port.batch_axis
        if rows > 1 and axis is not None and axis < len(tensor.shape) and tensor.shape[axis] == rows:
            address = self.builder.addresses(tensor).take([0], axis)
            tensor = self.builder.view(address, kind_of(tensor))
        return self.builder.vector(tensor)

    def _check_sizes(self, model: OnnxModel) -> None:
        contract, sizes = model.contract, self.builder.sizes
        expected = [
            *((spec.name, spec.size, value) for spec, value in zip(contract.inputs, self.inputs, strict=True)),
            *((spec.name, spec.size, value) for spec, value in zip(contract.outputs, self.outputs, strict=True)),
            *((slot.name, slot.size, v) for slot, pair in zip(contract.state, self.state, strict=True) for v in pair),
        ]
        for name, size, value in expected:
            if sizes[value] != size:
                raise ExportError(
                    f"'{name}' has {sizes[value]} elements per row in the graph and {size} in the contract"
                )


class _Walk:
    def __init__(self, builder: Builder, opset: int, depth: int = 0) -> None:
        self._builder, self._opset, self._depth = builder, opset, depth
        if depth > _DEEPEST:
            raise ExportError(f"the graph is nested more than {_DEEPEST} levels deep")

    def graph(self, graph: Any, scope: _Scope) -> None:
        """Lowers all nodes of a graph; `scope` has the tensors by name, before and after."""
        if graph.sparse_initializer:
            raise ExportError(f"sparse weights ('{graph.sparse_initializer[0].values.name}') are not supported")
        for initializer in graph.initializer:
            array = scope[initializer.name] = weight_of(initializer)
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise ExportError(f"the weight '{initializer.name}' has a NaN; the policy cannot have worked")
        self.nodes(graph.node, scope, {})

    def nodes(self, nodes: Sequence[Any], scope: _Scope, arguments: Mapping[str, Any]) -> None:
        """Lowers nodes; `arguments` are the attributes of the function whose body they are."""
        for node in nodes:
            name = node.name or next(iter(node.output), "")
            if node.domain not in ("", "ai.onnx"):
                raise ExportError(
                    f"node '{name}' ({node.op_type}): operators of the domain '{node.domain}' are not supported; "
                    "export with standard ONNX operators"
                )
            try:
                inputs = [scope[source] if source else None for source in node.input]
                results = self._node(node, name, inputs, scope, arguments)
            except Exception as error:  # what a damaged graph makes of the rules of its operators
                if isinstance(error, ExportError) and str(error).startswith("node '"):
                    raise
                why = error if isinstance(error, ExportError) else f"it cannot be understood: {error!r}"
                raise ExportError(f"node '{name}' ({node.op_type}): {why}") from error
            scope.update(zip(node.output, results, strict=False))

    def _node(
        self, node: Any, name: str, inputs: list[Tensor | None], scope: _Scope, arguments: Mapping[str, Any]
    ) -> Sequence[Tensor | None]:
        if node.op_type in _RANDOM:
            raise ExportError(f"node '{name}' ({node.op_type}): a policy that draws random numbers cannot be compiled")
        node = _with_arguments(node, arguments)
        if node.op_type == "If":
            return self._branch(node, inputs[0], scope)
        if node.op_type in ("Shape", "Size"):
            return [self._shape(node, inputs[0])]
        if not any(isinstance(tensor, Symbol) for tensor in inputs):
            return self._folded(node, inputs)
        if node.op_type not in LOWERINGS:
            return self._expanded(node, name, inputs)
        attributes = {attribute.name: _python(attribute) for attribute in node.attribute}
        site = Site(self._builder, node.op_type, name, inputs, attributes, list(node.output), self._opset)
        result = LOWERINGS[node.op_type](site)
        return result if isinstance(result, tuple) else (result,)

    def _folded(self, node: Any, inputs: list[Tensor | None]) -> list[Tensor | None]:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ExportError(f"loops and scans ({node.op_type}) are not supported; write the step out without them")
        feeds = {key: tensor for key, tensor in zip(node.input, inputs, strict=True) if key}
        wanted = [key for key in node.output if key]
        # A model, because of a bare node the evaluator takes the newest version of the operator.
        takes, gives = (
            [helper.make_value_info(key, helper.make_tensor_type_proto(1, None)) for key in keys]
            for keys in (feeds, wanted)
        )
        graph = helper.make_graph([node], "constant", takes, gives)
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)]))
        try:
            with np.errstate(all="ignore"):
                results = dict(zip(wanted, evaluator.run(wanted, feeds), strict=True))
        except Exception as error:
            raise ExportError(f"its constant result cannot be computed: {error}") from error
        return [np.asarray(results[key]) if key else None for key in node.output]

    def _shape(self, node: Any, tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        if node.op_type == "Size":
            return np.array(size_of(tensor.shape), np.int64)
        limits = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(tensor.shape[limits.get("start", 0) : limits.get("end", len(tensor.shape))], np.int64)

    def _branch(self, node: Any, condition: Tensor | None, scope: _Scope) -> list[Tensor | None]:
        branches = {attribute.name: attribute.g for attribute in node.attribute}

        def results(branch: Any) -> list[Tensor | None]:
            inner = dict(scope)
            _Walk(self._builder, self._opset, self._depth + 1).graph(branch, inner)
            return [inner[output.name] for output in branch.output]

        if not isinstance(condition, Symbol):
            return results(branches["then_branch" if np.ravel(condition)[0] else "else_branch"])  # type: ignore[arg-type]
        pairs = zip(results(branches["then_branch"]), results(branches["else_branch"]), strict=True)
        # Both are computed, and one is taken: a branch has no effects.
        chosen: list[Tensor | None] = []
        for a, b in pairs:
            if a is None or b is None or a.shape != b.shape:
                raise ExportError("the branches give results of different shapes")
            one = Symbol(condition.address.ravel()[:1], condition.kind)
            site = Site(self._builder, "Where", node.name, (one, a, b), {}, list(node.output), self._opset)
            chosen.append(LOWERINGS["Where"](site))  # type: ignore[arg-type]
        return chosen

    def _expanded(self, node: Any, name: str, inputs: list[Tensor | None]) -> list[Tensor | None]:
        """An operator that the standard defines as a function of others."""
        found = _function(node, self._opset, inputs)
        if found is None:
            raise ExportError(
                f"node '{name}' ({node.op_type}): the native engine does not know this operator; replace it in the "
                "policy, or run the .onnx file with the engine 'onnxruntime'"
            )
        body, defaults = found
        scope: _Scope = dict.fromkeys(body.input)
        scope.update(zip(body.input, inputs, strict=False))
        given = defaults | {attribute.name: attribute for attribute in node.attribute}
        opset = next((entry.version for entry in body.opset_import if entry.domain == ""), self._opset)
        _Walk(self._builder, opset, self._depth + 1).nodes(body.node, scope, given)
        # Optional results that nobody asked for may be missing in the body that the standard gives.
        for wanted, output in zip(node.output, body.output, strict=False):
            if wanted and scope.get(output) is None:
                raise ExportError(f"node '{name}' ({node.op_type}): the result '{output}' is not supported")
        return [scope.get(output) for output in body.output]


def _function(node: Any, opset: int, inputs: Sequence[Tensor | None]) -> tuple[Any, dict[str, Any]] | None:
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    defaults = {
        key: attribute.default_value for key, attribute in schema.attributes.items() if attribute.default_value.name
    }
    if schema.has_function:
        return schema.function_body, defaults
    if not schema.has_context_dependent_function:
        return None
    types = []
    for tensor in inputs:
        kind = onnx.TensorProto.FLOAT
        if isinstance(tensor, np.ndarray):
            kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
        shape: Sequence[int] = () if tensor is None else tensor.shape
        types.append(onnx.helper.make_tensor_type_proto(kind, shape).SerializeToString())
    text = schema.get_context_dependent_function(node.SerializeToString(), types)
    return onnx.FunctionProto.FromString(text), defaults


def _with_arguments(node: Any, arguments: Mapping[str, Any]) -> Any:
    """The node with the attributes that refer to those of the function put in."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    import onnx

    result = onnx.NodeProto()
    result.CopyFrom(node)
    del result.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            result.attribute.append(attribute)
        elif attribute.ref_attr_name in arguments:
            given = result.attribute.add()
            given.CopyFrom(arguments[attribute.ref_attr_name])
            given.name = attribute.name
    return result


def weight_of(tensor: Any) -> Any:
    """The array of an `onnx.TensorProto`.

    Raises:
        ExportError: it is damaged.
    """
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise ExportError(
            f"the weight '{tensor.name}' of shape {list(tensor.dims)} cannot be read: {first_line(error)}"
        ) from error


def _python(attribute: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")  # no name that a lowering knows
    if isinstance(value, onnx.TensorProto):
        return weight_of(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode(errors="replace") for text in value]
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value
