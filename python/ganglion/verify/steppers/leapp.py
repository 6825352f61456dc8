"""A LEAPP bundle as its own runtime would run it: each model apart, in ONNX Runtime, wired as the bundle says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.compiler.bundle import wiring_of
from ganglion.compiler.session import named_parts, open_session
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.reading.leapp import read_bundle
from ganglion.verify.steppers.base import FunctionalStepper, initial_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Floats, Stepper

ENGINE = "ONNX Runtime"


def steppers(path: Path, contract: Contract, batch: int) -> list[Stepper]:
    """The models of a bundle, one after the other, once for every row.

    Raises:
        EngineUnavailableError: onnxruntime is not installed.
        ArtifactError: the bundle cannot be read, or ONNX Runtime refuses one of its models.
    """
    bundle = read_bundle(path)
    names, slots = wiring_of(bundle)
    sessions = {node.name: _session(path, node.name, node.file.data) for node in bundle.nodes}
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
            outputs = [tensor.name for tensor in node.outputs]
            for name, values in zip(outputs, sessions[node.name].run(outputs, feeds), strict=True):
                found[node.name, name] = values
        sources = {names[port]: port for port in bundle.outputs}
        fed = {slots[port]: source for port, source in bundle.feedback.items()}
        after = [found[fed[slot.name]].reshape(-1) for slot in contract.state]
        outputs_ = [found[sources[spec.name]].reshape(-1) for spec in contract.outputs]
        return outputs_, np.concatenate(after) if after else state

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        rows = [of_row(*pair) for pair in zip(observation, state, strict=True)]
        outputs = [np.stack(column) for column in zip(*(outputs for outputs, _ in rows), strict=True)]
        return outputs, np.stack([after for _, after in rows])

    return [FunctionalStepper("the bundle's models", ENGINE, initial_state(contract, batch), function)]


def _session(path: Path, node: str, model: bytes) -> Any:
    try:
        return open_session(model)
    except EngineUnavailableError:
        raise
    except Exception as error:  # its exceptions have no common base of their own
        raise ArtifactError(f"{path}: ONNX Runtime refuses the model of '{node}': {first_line(error)}") from error
