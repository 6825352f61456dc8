"""An `.onnx` file in ONNX Runtime, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.compiler.session import open_session, run_step
from ganglion.compiler.signature import contract_ports
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.verify.steppers.base import FunctionalStepper, file_of, initial_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Floats, Stepper

ENGINE = "ONNX Runtime"


def steppers(
    path: Path, contract: Contract, batch: int, state: Mapping[str, str] | None, action: str | None
) -> list[Stepper]:
    """The graph; of a file without a contract, the form with our names for its state.

    Raises:
        EngineUnavailableError: onnxruntime is not installed.
        ArtifactError: it refuses the file.
        ExportError: the graph of a file without a contract is nothing that the compiler takes.
    """
    file = file_of(path, contract)
    model = file.data
    ports, parts = contract_ports(contract), 1
    if contract.sha256 is None:
        from ganglion.compiler.model import open_model

        opened = open_model(file, state=state, action=action)
        model = opened.proto.SerializeToString()
        ports = opened.inputs, opened.outputs
        parts = batch if opened.batch == 1 else 1  # a graph for one row steps row after row
    session = _session(path, model)

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        pairs = zip(np.split(observation, parts), np.split(state, parts), strict=True)
        results = [run_step(session, contract, *pair, ports) for pair in pairs]
        *outputs, hidden = (np.concatenate(column) for column in zip(*results, strict=True))
        return outputs, hidden

    return [FunctionalStepper("Python onnxruntime", ENGINE, initial_state(contract, batch), function)]


def _session(path: Path, model: bytes) -> Any:
    try:
        return open_session(model)
    except EngineUnavailableError:
        raise
    except Exception as error:  # its exceptions have no common base of their own
        raise ArtifactError(f"{path}: ONNX Runtime refuses the file: {first_line(error)}") from error
