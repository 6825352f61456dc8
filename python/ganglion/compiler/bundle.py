"""The models of a LEAPP bundle as one graph: what the bundle connects is connected, what it feeds back is state."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.joining import NodeList, graph_model, one_opset, prefixed
from ganglion.compiler.model import load_proto, open_model
from ganglion.compiler.signature import store_contract
from ganglion.errors import ArtifactError, ExportError
from ganglion.reading.leapp import read_bundle

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ganglion.contract import Contract
    from ganglion.reading.leapp import Bundle, BundleNode, BundleTensor, Port

_ACTION = "target/"
"""How the kind of an output begins that is an action."""


def bundle_model(
    path: str | os.PathLike[str], action: str | None = None, node_model: Callable[[BundleNode], Any] | None = None
) -> Any:
    """Builds one `onnx.ModelProto` of a bundle, with a contract in its metadata.

    Inputs and outputs are those of the bundle's pipeline, under their own names, with the node's before it where two
    nodes use one. What is fed back becomes state with the bundle's initial values.

    Args:
        path: its YAML file.
        action: the output that is the action; None for the first one that the bundle calls a target, else the first.
        node_model: makes an `onnx.ModelProto` of a node that is none, with the node's names; None refuses those.

    Raises:
        ArtifactError: see `read_bundle`; an ONNX file is damaged.
        ExportError: a node is no ONNX model and cannot become one, has tensors that no policy can have, or `action` is
            no output.
        EngineUnavailableError: PyYAML or onnx is not installed.
    """
    bundle = read_bundle(path)
    names, slots = wiring_of(bundle)
    joined = _joined(bundle, names, slots, node_model or _refused)
    outputs = [names[port] for port in bundle.outputs]
    if action is not None and action not in outputs:
        raise ExportError(f"'{bundle.path}' has no output '{action}'; it has {', '.join(outputs)}")
    tensors = {(node.name, tensor.name): tensor for node in bundle.nodes for tensor in (*node.inputs, *node.outputs)}
    targets = [names[port] for port in bundle.outputs if tensors[port].kind.startswith(_ACTION)]
    state = {f"{slot}_in": f"{slot}_out" for slot in slots.values()}
    opened = open_model(joined, state=state, action=action or (targets or outputs)[0])
    said = {names[port]: tensor for port, tensor in tensors.items() if port in names}
    contract = _contract(opened.contract, bundle, slots, said)
    model = opened.proto
    store_contract(model, contract)
    return model


def wiring_of(bundle: Bundle) -> tuple[dict[Port, str], dict[Port, str]]:
    """What the tensors of a bundle are called in one graph.

    Returns:
        The names of the pipeline's inputs, its outputs and the inputs that are fed back, and of the latter the slots.
    """
    names = _names(bundle)
    return names, _slots(bundle, names)


def _names(bundle: Bundle) -> dict[Port, str]:
    """What the pipeline's inputs, outputs and fed back inputs are called in one graph."""
    ports = (*bundle.inputs, *bundle.outputs, *bundle.feedback)
    plain = [name for _, name in ports]
    return {port: port[1] if plain.count(port[1]) == 1 else f"{port[0]}_{port[1]}" for port in ports}


def _slots(bundle: Bundle, names: dict[Port, str]) -> dict[Port, str]:
    """The state slot of every input that is fed back."""
    slots = {port: names[port].removesuffix("_in") for port in bundle.feedback}
    taken = {names[port] for port in (*bundle.inputs, *bundle.outputs)}
    return {port: f"{slot}_state" if slot in taken else slot for port, slot in slots.items()}


def _refused(node: BundleNode) -> Any:
    raise ExportError(
        f"the node '{node.name}' of the bundle is of the backend '{node.backend}', which runs in PyTorch; compile the "
        'bundle first (ganglion compile BUNDLE.yaml POLICY.ganglion), or export it with export_with="onnx", the '
        "default of Isaac Lab"
    )


def _joined(
    bundle: Bundle, names: dict[Port, str], slots: dict[Port, str], node_model: Callable[[BundleNode], Any]
) -> Any:
    protos = []
    for node in bundle.nodes:
        protos.append(load_proto(node.file) if node.backend == "onnx" else node_model(node))
        _check(node, protos[-1])
    inner = [prefixed(proto, f"{node.name}/") for node, proto in zip(bundle.nodes, one_opset(protos), strict=True)]
    values = {value.name: value for proto in inner for value in (*proto.graph.input, *proto.graph.output)}
    gives = {
        (node.name, tensor.name): f"{node.name}/{name}"
        for node in bundle.nodes
        for tensor, name in zip(node.outputs, node.graph_outputs, strict=True)
    }
    made = NodeList("bundle")
    inputs: list[Any] = []
    outputs: list[Any] = []

    def wire(source: str, target: str) -> None:
        made.node("Identity", [source], target)

    def port(name: str, like: str, into: list[Any]) -> None:
        value = type(values[like])()
        value.CopyFrom(values[like])
        value.name = name
        into.append(value)

    for given in bundle.inputs:
        port(names[given], _tensor(given), inputs)
    for fed in bundle.feedback:
        port(f"{slots[fed]}_in", _tensor(fed), inputs)
    for node, proto in zip(bundle.nodes, inner, strict=True):
        for tensor in node.inputs:
            taker = node.name, tensor.name
            if taker in bundle.feeds:
                wire(gives[bundle.feeds[taker]], _tensor(taker))
            else:
                wire(f"{slots[taker]}_in" if taker in slots else names[taker], _tensor(taker))
        made.nodes += proto.graph.node
    for given in bundle.outputs:
        wire(gives[given], names[given])
        port(names[given], gives[given], outputs)
    for fed, source in bundle.feedback.items():
        wire(gives[source], f"{slots[fed]}_out")
        port(f"{slots[fed]}_out", gives[source], outputs)
    return graph_model("bundle", made, inputs, outputs, inner)


def _tensor(port: Port) -> str:
    return f"{port[0]}/{port[1]}"


def _check(node: BundleNode, proto: Any) -> None:
    """The bundle names the tensors of its models; one that it does not name would stay open."""
    initial = {weight.name for weight in proto.graph.initializer}
    inputs, outputs = [tensor.name for tensor in node.inputs], node.graph_outputs
    for what, values, told in (("input", proto.graph.input, inputs), ("output", proto.graph.output, outputs)):
        found = [value.name for value in values if value.name not in initial]
        if sorted(found) != sorted(told):
            raise ArtifactError(
                f"'{node.file.path.name}' has the {what}s {found}, and its bundle says {told}; export the bundle again"
            )


def _contract(contract: Contract, bundle: Bundle, slots: dict[Port, str], said: dict[str, BundleTensor]) -> Contract:
    """With what the bundle says of its tensors, and what its state begins with."""

    def named(spec: Any) -> Any:
        tensor = said.get(spec.name)
        if tensor is None or len(tensor.element_names) != spec.size:
            return spec
        return dataclasses.replace(spec, element_names=tensor.element_names)

    begins = {slot: bundle.initial.get(port) for port, slot in slots.items()}
    state: list[float] = []
    for slot in contract.state:
        values = begins.get(slot.name)
        if values is not None and values.size != slot.size:
            raise ExportError(
                f"'{bundle.path}': '{slot.name}' begins with {values.size} values, and one robot has {slot.size}; "
                "export the bundle with one environment"
            )
        state += (np.zeros(slot.size) if values is None else values.reshape(-1).astype(np.float32)).tolist()
    kinds = {f"leapp.kind.{name}": tensor.kind for name, tensor in said.items() if tensor.kind}
    version = {"leapp": bundle.version} if bundle.version else {}
    return dataclasses.replace(
        contract,
        inputs=tuple(map(named, contract.inputs)),
        outputs=tuple(map(named, contract.outputs)),
        initial_state=tuple(state),
        period_s=bundle.period_s,
        provenance={**contract.provenance, **version, **kinds},
    )
