"""The ways to step a policy, one file for each.

`policy` is the Python policy, `runtime` the C++ runtime; `onnx`, `torchscript` and `program` (NumPy) run a file in its
own Python engine. `base` says what a way is, and runs a trajectory through one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ganglion._foundation.files import suffix_of
from ganglion.errors import ArtifactError
from ganglion.reading.leapp import is_bundle
from ganglion.verify.steppers import leapp, onnx, program, torchscript

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Stepper


def file_steppers(
    path: str | os.PathLike[str],
    contract: Contract,
    *,
    batch: int,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    trust: bool = False,
) -> list[Stepper]:
    """The file in its own Python engine: ONNX Runtime for `.onnx`, `torch.jit` for `.pt`, NumPy for `.ganglion`, and
    ONNX Runtime for each model of a LEAPP bundle.

    With one row, a TorchScript file of ours is run twice: through its functional `step`, and through the stateful
    `forward` and `reset` that a LibTorch program uses. One of others is run as it is, once per row.

    Args:
        path: the artifact.
        contract: its contract; one without a digest was recognised, and is not in the file.
        batch: number of rows.
        state: for a file without a contract, see `ganglion.load`.
        action: for a file without a contract, see `ganglion.load`.
        trust: see `ganglion.load`.

    Raises:
        EngineUnavailableError: the Python package of the engine is not installed.
        ArtifactError: the suffix is unknown, or the engine refuses the file.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix == ".onnx":
        return onnx.steppers(path, contract, batch, state, action)
    if suffix == ".pt":
        return torchscript.steppers(path, contract, batch, trust=trust)
    if suffix == ".ganglion":
        return program.steppers(path, contract, batch)
    if is_bundle(path):
        return leapp.steppers(path, contract, batch, trust=trust)
    raise ArtifactError(f"{path}: cannot verify a '{suffix}' file; .ganglion, .onnx, .pt and LEAPP's .yaml are known")
