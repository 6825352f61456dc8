"""A LEAPP bundle as its own runtime would run it: each model apart, in ONNX Runtime or torch, wired as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.adapters import leapp
from ganglion.compiler.bundle import wiring_of
from ganglion.compiler.session import named_parts, open_session
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.reading.leapp import read_bundle
from ganglion.verify.steppers.base import FunctionalStepper, initial_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.reading.leapp import BundleNode
    from ganglion.verify.steppers.base import Floats, Stepper


def steppers(path: Path, contract: Contract, batch: int, *, trust: bool = False) -> list[Stepper]:
    """The models of a bundle, one after the other, once for every row.

    Raises:
        EngineUnavailableError: onnxruntime is not installed, or torch, where a model needs it.
        ArtifactError: the bundle cannot be read, or one of its models cannot be run.
    """
    bundle = read_bundle(path)
    names, slots = wiring_of(bundle)
    models = {node.name: _model(path, node, trust=trust) for node in bundle.nodes}
    shapes = {(node.name, tensor.name): tensor.shape for node in bundle.nodes for tensor in node.inputs}

    def of_row(observation: Floats, state: Floats) -> tuple[list[Floats], Floats]:
        given = named_parts(observation, {spec.name: spec.size for spec in contract.inputs})
        kept = named_parts(state, {slot.name: slot.size for slot in contract.state})
        found: dict[tuple[str, str], Any] = {}
        for node in bundle.nodes:
            feeds = {}
            for tensor in node.inputs:
                port = node.name, tensor.name
                if port in bundle.feeds:
                    feeds[tensor.name] = found[bundle.feeds[port]]
                else:
                    values = kept[slots[port]] if port in slots else given[names[port]]
                    feeds[tensor.name] = values.astype(np.float32).reshape(shapes[port])
            for tensor, values in zip(node.outputs, models[node.name](feeds), strict=True):
                found[node.name, tensor.name] = values
        sources = {names[port]: port for port in bundle.outputs}
        fed = {slots[port]: source for port, source in bundle.feedback.items()}
        after = [found[fed[slot.name]].reshape(-1) for slot in contract.state]
        outputs_ = [found[sources[spec.name]].reshape(-1) for spec in contract.outputs]
        return outputs_, np.concatenate(after) if after else state

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        rows = [of_row(*pair) for pair in zip(observation, state, strict=True)]
        outputs = [np.stack(column) for column in zip(*(outputs for outputs, _ in rows), strict=True)]
        return outputs, np.stack([after for _, after in rows])

    engines = dict.fromkeys("ONNX Runtime" if node.backend == "onnx" else "torch" for node in bundle.nodes)
    return [FunctionalStepper("the bundle's models", " and ".join(engines), initial_state(contract, batch), function)]


def _model(path: Path, node: BundleNode, *, trust: bool) -> Callable[[Mapping[str, Floats]], Sequence[Floats]]:
    """What gives a node's outputs for its inputs by name."""
    if node.backend != "onnx":
        return leapp.node_function(node, trust=trust)
    outputs = [tensor.name for tensor in node.outputs]
    try:
        session = open_session(node.file.data)
    except EngineUnavailableError:
        raise
    except Exception as error:  # its exceptions have no common base of their own
        raise ArtifactError(f"{path}: ONNX Runtime refuses the model of '{node.name}': {first_line(error)}") from error

    def run(feeds: Mapping[str, Floats]) -> Sequence[Floats]:
        return session.run(outputs, dict(feeds))  # type: ignore[no-any-return]

    return run
