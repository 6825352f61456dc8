"""Several graphs as one: what every way of joining models needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class NodeList:
    """Nodes that are put around a graph, and the constants that they take.

    Args:
        label: what the names of their tensors begin with.

    Attributes:
        nodes: in the order in which they run; those of a graph are added here, too.
        initializers: the constants.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Adds a node.

        Returns:
            The name of its output: the one given, or a new one.
        """
        from onnx import helper

        output = output or f"{self._label}/{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"make {output}", **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Adds a constant, and returns its name."""
        from onnx import numpy_helper

        name = f"{self._label}/constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name


def prefixed(proto: Any, prefix: str) -> Any:
    """A model whose tensors and nodes all begin with `prefix`, its local functions written out."""
    import onnx.compose
    import onnx.inliner

    return onnx.compose.add_prefix(onnx.inliner.inline_local_functions(proto) if proto.functions else proto, prefix)


def one_opset(protos: Sequence[Any]) -> list[Any]:
    """Models of one operator set: the newest of theirs.

    Raises:
        ExportError: onnx cannot convert an older one.
    """
    import onnx.version_converter

    versions = [next(one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")) for proto in protos]
    found = []
    for proto, version in zip(protos, versions, strict=True):
        try:
            same = version == max(versions)
            found.append(proto if same else onnx.version_converter.convert_version(proto, max(versions)))
            onnx.checker.check_model(found[-1])
        except Exception as error:
            raise ExportError(
                f"a file is of opset {version}, another of {max(versions)}, and onnx cannot convert the older one "
                f"({error}); export all with one opset_version"
            ) from error
    return found


def graph_model(name: str, made: NodeList, inputs: Sequence[Any], outputs: Sequence[Any], parts: Sequence[Any]) -> Any:
    """The model of a graph that was put together.

    Args:
        name: of the graph.
        made: its nodes, those of the parts among them, and what was added.
        inputs: of the graph.
        outputs: of the graph.
        parts: models of one opset: their weights and operator sets are those of the model.

    Raises:
        ExportError: it is no valid model.
    """
    import onnx

    weights = [weight for part in parts for weight in part.graph.initializer]
    graph = onnx.helper.make_graph(made.nodes, name, inputs, outputs, [*weights, *made.initializers])
    opsets = {entry.domain: entry for part in parts for entry in part.opset_import}
    model = onnx.helper.make_model(
        graph,
        opset_imports=list(opsets.values()),
        ir_version=max(part.ir_version for part in parts),
        producer_name="ganglion",
    )
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ExportError(f"the graph cannot be put together: {error}") from error
    return model
