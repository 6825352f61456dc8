"""LEAPP bundles, the export of Isaac Lab: a YAML file that says how several models make one policy.

The format is that of the package `leapp` (config version 1.3): `models` by name with their tensors, and a `pipeline` of
connections within a step (`data_flow`), connections to the next step (`feedback_flow`), and a safetensors file with
what these begin with (`initial_values`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.files import ReadFile, read_file
from ganglion._foundation.safetensors_files import split, tensors_of
from ganglion._foundation.yaml_files import read_yaml
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

Port = tuple[str, str]
"""A tensor of a bundle: the node and its name there."""

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1", "BOOL": "?"}


@dataclass(frozen=True)
class BundleTensor:
    """An input or output of a node.

    Attributes:
        name: in the node's model.
        shape: as it was exported, the batch axis included.
        kind: what it is, such as `"state/joint/position"`; empty where the bundle does not say.
        element_names: names along the last axis; empty where the bundle does not say.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = ""
    element_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class BundleNode:
    """One model of a bundle.

    Attributes:
        name: of the node.
        file: its model, as it was read; its digest is the one that the bundle names.
        backend: `"onnx"`, `"jit"` or `"pt2"`.
        inputs: in the order of the model.
        outputs: in the order of the model.
    """

    name: str
    file: ReadFile
    backend: str
    inputs: tuple[BundleTensor, ...]
    outputs: tuple[BundleTensor, ...]

    @property
    def graph_outputs(self) -> list[str]:
        """Names of the outputs in a graph, where each tensor has its own: `h` beside an input `h` is `h_out`."""
        taken = {tensor.name for tensor in (*self.inputs, *self.outputs)}
        names = []
        for tensor in self.outputs:
            name = tensor.name
            if any(name == given.name for given in self.inputs):
                while name in taken:
                    name += "_out"
                taken.add(name)
            names.append(name)
        return names


@dataclass(frozen=True, eq=False)
class Bundle:
    """What a bundle says.

    Attributes:
        path: its YAML file.
        nodes: in the order in which they run.
        feeds: for an input of a node, the output of an earlier one that it takes in the same step.
        feedback: for an input of a node, the output that it takes in the next step.
        inputs: what the controller gives.
        outputs: what the controller gets.
        initial: what a fed back input is at the first step; zeros where nothing is said.
        period_s: control period in seconds, or None.
        version: of leapp, where the bundle says so.
    """

    path: Path
    nodes: tuple[BundleNode, ...]
    feeds: dict[Port, Port]
    feedback: dict[Port, Port]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    initial: dict[Port, NDArray[Any]]
    period_s: float | None
    version: str


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of one."""
    return Path(path).suffix in (".yaml", ".yml")


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Reads a bundle and the files that it names.

    Args:
        path: its YAML file; models and initial values lie beside it.

    Raises:
        ArtifactError: a file is missing, no bundle, was changed since it was exported, or the bundle names a tensor
            that is not there, leaves an input open, or feeds an input from a node that runs later.
        EngineUnavailableError: PyYAML is not installed.
    """
    path = Path(path)
    document = _part(read_yaml(path), path)
    pipeline = _part(document.get("pipeline"), path, "pipeline")
    models = _part(document.get("models"), path, "models")
    nodes = tuple(_node(path, str(name), _part(model, path, f"models/{name}")) for name, model in models.items())
    ins = {(node.name, tensor.name): tensor for node in nodes for tensor in node.inputs}
    outs = {(node.name, tensor.name): tensor for node in nodes for tensor in node.outputs}
    feeds = _flow(path, pipeline, "data_flow", ins, outs)
    feedback = _flow(path, pipeline, "feedback_flow", ins, outs)
    inputs, outputs = _ports(path, pipeline, "inputs", ins), _ports(path, pipeline, "outputs", outs)
    if not outputs:
        raise ArtifactError(f"'{path}' has no outputs in its pipeline: nothing would reach the robot")
    order = {node.name: place for place, node in enumerate(nodes)}
    for target, source in feeds.items():
        if order[source[0]] >= order[target[0]]:
            raise ArtifactError(f"'{path}': {_said(target)} takes {_said(source)} of the same step, which runs later")
    for port in ins:
        if (port in feeds) + (port in feedback) + (port in inputs) != 1:
            how = "more than one thing" if port in feeds or port in feedback else "nothing"
            raise ArtifactError(f"'{path}': the input {_said(port)} is fed by {how}; export the bundle again")
    return Bundle(
        path=path,
        nodes=nodes,
        feeds=feeds,
        feedback=feedback,
        inputs=inputs,
        outputs=outputs,
        initial=_initial(path, pipeline, {port: ins[port] for port in feedback}),
        period_s=_period(path, pipeline),
        version=str(_part(document.get("system information") or {}, path).get("leapp version", "")),
    )


def _part(value: Any, path: Path, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        what = f"'{name}' is no map in it" if name else "it is no map of models and a pipeline"
        raise ArtifactError(f"'{path}' is no LEAPP bundle: {what}")
    return value


def _node(path: Path, name: str, model: dict[str, Any]) -> BundleNode:
    parameters = _part(model.get("parameters"), path, f"models/{name}/parameters")
    said = parameters.get("model_path")
    if not isinstance(said, str) or Path(said).is_absolute() or ".." in Path(said).parts:
        raise ArtifactError(f"'{path}': the model of '{name}' is no file beside it: {said!r}")
    file = read_file(path.parent / said)
    digest = parameters.get("sha256sum")
    if digest is not None and hashlib.sha256(file.data).hexdigest() != digest:
        raise ArtifactError(f"'{file.path}' was changed since '{path.name}' was written; export the bundle again")
    tensors = (tuple(_tensor(path, name, one) for one in model.get(key) or ()) for key in ("inputs", "outputs"))
    return BundleNode(name, file, str(parameters.get("backend", "onnx")), *tensors)


def _tensor(path: Path, node: str, said: Any) -> BundleTensor:
    try:
        shape = json.loads(said["shape"]) if isinstance(said["shape"], str) else said["shape"]
        names = (said.get("element_names") or [()])[-1]
        names = () if names is None or isinstance(names, str) else tuple(map(str, names))
        shape = tuple(int(size) for size in shape)
        if names and shape and len(names) != shape[-1]:
            names = ()
        return BundleTensor(str(said["name"]), shape, str(said.get("kind") or ""), names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"'{path}': a tensor of '{node}' has no name and shape: {said!r}") from error


def _flow(
    path: Path, pipeline: dict[str, Any], key: str, ins: dict[Port, BundleTensor], outs: dict[Port, BundleTensor]
) -> dict[Port, Port]:
    flow: dict[Port, Port] = {}
    for source, targets in _part(pipeline.get(key) or {}, path, f"pipeline/{key}").items():
        giver = _port(path, source, outs, "output")
        for target in targets if isinstance(targets, list) else [targets]:
            taker = _port(path, target, ins, "input")
            if taker in flow:
                raise ArtifactError(f"'{path}': {_said(taker)} takes two outputs; export the bundle again")
            if ins[taker].shape != outs[giver].shape:
                raise ArtifactError(
                    f"'{path}': {_said(giver)} {list(outs[giver].shape)} does not fit {_said(taker)} "
                    f"{list(ins[taker].shape)}"
                )
            flow[taker] = giver
    return flow


def _port(path: Path, said: Any, known: dict[Port, BundleTensor], what: str) -> Port:
    node, slash, name = str(said).partition("/")
    if not slash or (node, name) not in known:
        there = ", ".join(map(_said, known))
        raise ArtifactError(f"'{path}': there is no {what} '{said}'; there are {there or 'none'}")
    return node, name


def _ports(path: Path, pipeline: dict[str, Any], key: str, known: dict[Port, BundleTensor]) -> tuple[Port, ...]:
    named = _part(pipeline.get(key) or {}, path, f"pipeline/{key}")
    return tuple(
        _port(path, f"{node}/{name}", known, key[:-1]) for node, names in named.items() for name in names or ()
    )


def _said(port: Port) -> str:
    return f"'{port[0]}/{port[1]}'"


def _period(path: Path, pipeline: dict[str, Any]) -> float | None:
    frequency = (pipeline.get("configs") or {}).get("frequency")
    if frequency is None:
        return None
    if not isinstance(frequency, (int, float)) or not frequency > 0:
        raise ArtifactError(f"'{path}': the frequency is {frequency!r}; steps per second are positive")
    return 1.0 / float(frequency)


def _initial(path: Path, pipeline: dict[str, Any], fed: dict[Port, BundleTensor]) -> dict[Port, NDArray[Any]]:
    said = pipeline.get("initial_values")
    if not said:
        return {}
    if not isinstance(said, str) or Path(said).is_absolute() or ".." in Path(said).parts:
        raise ArtifactError(f"'{path}': the initial values are no file beside it: {said!r}")
    found = {}
    try:
        header, section = split(read_file(path.parent / said).data)
        header.pop("__metadata__", None)
        values_of = tensors_of(header, section, {name: np.dtype(code) for name, code in _DTYPES.items()})
    except ArtifactError as error:
        raise ArtifactError(f"the initial values of '{path}', '{said}': {error}") from error
    for name, values in values_of.items():
        port = _port(path, name, fed, "input that is fed back")
        if values.shape != fed[port].shape:
            raise ArtifactError(
                f"'{said}': '{name}' begins with {list(values.shape)}, and the input has {list(fed[port].shape)}"
            )
        found[port] = values
    return found
