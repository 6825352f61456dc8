"""A TorchScript file on the native engine, which opens none: compiled in memory, as `ganglion compile` does it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ganglion.runtime.policy import load_compiled
from ganglion.verify.steppers.base import RowsStepper
from ganglion.verify.steppers.runtime import PilotStepper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Stepper

ENGINE = "native"


def torchscript_stepper(
    path: Path,
    *,
    batch: int,
    state: Mapping[str, str] | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
) -> tuple[Stepper, Contract]:
    """Compiles a TorchScript file; a program for one row steps row after row.

    Args:
        path: the file.
        batch: number of rows.
        state: for a file without a contract, see `ganglion.load`.
        observation: for a file without a contract, see `ganglion.load`.
        trust: see `ganglion.load`.

    Returns:
        What steps it, and its contract.

    Raises:
        ArtifactError, ExportError, EngineUnavailableError: as `ganglion.compile`.
    """
    from ganglion.adapters import torchscript
    from ganglion.compiler import compile_onnx
    from ganglion.compiler.file import plain_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is suspicious about the file its reading says
        names = None if state is None else tuple(state)
        policy = torchscript.load(path, state_names=names, observation=observation, trust=trust)
        data, contract = plain_bytes(*compile_onnx(torchscript.to_onnx(policy)))
    if contract.batch in (None, batch):
        return PilotStepper(load_compiled(data, path, batch=batch), ENGINE), contract
    rows = [PilotStepper(load_compiled(data, path), ENGINE) for _ in range(batch)]
    return RowsStepper(rows), contract
