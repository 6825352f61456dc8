"""From a file, ours or anybody's, to a file of the native engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion._foundation.files import read_file, suffix_of
from ganglion._foundation.targets import HEADERS, check_target
from ganglion.errors import ExportError
from ganglion.reading.leapp import is_bundle

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ganglion._foundation.recordings import RecordingSource
    from ganglion.adapters.deployment import Description
    from ganglion.compiler import Program
    from ganglion.compiler.quantise import RunInputs
    from ganglion.contract import Contract
    from ganglion.reading import Finding


@dataclass(frozen=True)
class CompileReport:
    """What `ganglion.compile` made of a file.

    Attributes:
        path: the file that was written.
        contract: its contract, with digest and golden trajectory.
        scheme: how its weights are stored: `"float32"`, `"float16"`, `"int8"`, `"int8x16"` or `"int8x8"`.
        weights_error: largest |difference| that smaller weights made in any output; None for float32.
        operations: kinds of the program's operations in their order, without `"gather"`, which only moves elements.
        findings: what is suspicious about the file that was compiled.
        bytes_before: size of the file that was compiled.
        bytes_after: size of the file that was written.
    """

    path: Path
    contract: Contract
    scheme: str
    weights_error: float | None
    operations: tuple[str, ...]
    findings: tuple[Finding, ...]
    bytes_before: int
    bytes_after: int


@naming_checkpoints
@bounded(ExportError, what="cannot be compiled")
def compile(  # noqa: A001
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
    weights: str = "float32",
    tolerance: float | None = None,
    recording: RecordingSource | None = None,
    deployment: str | os.PathLike[str] | Description | None = None,
    annotate_only: bool = False,
    joint_order: Sequence[str] | None = None,
    joint_sdk_names: Sequence[str] | None = None,
) -> CompileReport:
    """Compiles an `.onnx` or `.pt` file, ours or anybody's, or a LEAPP bundle, for the native engine.

    The program is run against the file's own golden trajectory or, where it has none, against the file itself. Then the
    native engine of the C++ runtime loads the very bytes and replays that run, before they get the name `out`; a file
    that it refuses is never left behind, and an older file of that name stays as it was.

    Args:
        path: the file.
        out: target; `.ganglion`, or a header: `.hpp` for C++17, `.h` for C99.
        state: for a file without a contract, its state inputs and the outputs that feed them; see `ganglion.load`.
        action: for an `.onnx` file without a contract or a bundle, the output that is the action; see `ganglion.load`.
        observation: for a TorchScript file without a contract, how many elements its observation has; see
            `ganglion.load`.
        trust: run a `.pt` file whose program has what no policy needs; see `ganglion.load`.
        weights: how to store the weights: `"float32"`, `"float16"` or `"int8"`, which takes the fastest scheme that
            holds the tolerance: inputs of products rounded to 8 bits (`"int8x8"`), to 16 bits (`"int8x16"`) or not at
            all; the first two can be asked for by name, but not in a header.
        tolerance: largest accepted |difference| that smaller weights make in any output over the golden trajectory and
            the recording; 0.01 if None. Says nothing about float32.
        recording: a recorded run to measure that with as well: an `EpisodeBatch`, or a path that `verify` takes.
        deployment: what stands around the network in its controller; a path for `adapters.deployment.read`, or what
            that gave. Scales, clips, histories and joint orders become part of the function.
        annotate_only: with `deployment`: names, units, limits and the control period go into the contract, and the
            function stays as it is.
        joint_order: with `deployment`: the joints in the order in which the controller gives and takes them; None for
            that of Unitree's motors, else that of the training.
        joint_sdk_names: with a path for `deployment`: see `adapters.deployment.read`.

    Returns:
        What was written, and what that cost.

    Raises:
        ArtifactError: the file, the description or the recording is missing, damaged, or does not fit.
        ExportError: unknown suffix or missing folder of `out`; the file has something that the native engine does not
            know (says which node and what to do); smaller weights cost more than the tolerance; the program differs
            from the file, or the C++ runtime refuses it.
        EngineUnavailableError: a package is not installed: onnx; torch for a `.pt` file or a header.
        TypeError: `recording` is neither a path nor an `EpisodeBatch`.
        ValueError: an argument is wrong, or arguments do not fit together.
    """
    from ganglion.compiler import compile_onnx
    from ganglion.reading import kept_findings

    target = Path(out)
    if target.suffix not in (".ganglion", *HEADERS):
        raise ExportError(
            f"'{target.name}': unknown suffix '{target.suffix}'; use .ganglion, .hpp (C++ header) or .h (C header)"
        )
    check_target(target)
    model, told, findings = opened(path, state, action, observation, trust=trust)
    if deployment is not None:
        description = _description(deployment, joint_sdk_names)
        model = _deployed(model, told, description, annotate_only=annotate_only, joint_order=joint_order)
        told = {}  # what was made here has our names and its contract already
    elif annotate_only or joint_order or joint_sdk_names:
        raise ValueError("annotate_only, joint_order and joint_sdk_names go with a deployment description")
    program, contract = compile_onnx(
        model,
        **told,
        weights=weights,
        tolerance=tolerance,
        recording=None if recording is None else _run(recording, model, told),
        integer_inputs=target.suffix not in HEADERS,
    )
    contract = dataclasses.replace(contract, provenance={**contract.provenance, **kept_findings(findings)})
    contract = write(target, program, contract)
    error = contract.provenance.get("weights_error")
    return CompileReport(
        path=target,
        contract=contract,
        scheme=program.scheme,
        weights_error=None if error is None else float(error),
        operations=tuple(op.kind for op in program.ops if op.kind != "gather"),
        findings=findings,
        bytes_before=Path(path).stat().st_size,
        bytes_after=target.stat().st_size,
    )


def opened(
    path: str | os.PathLike[str],
    state: Mapping[str, str] | None,
    action: str | None,
    observation: int | Mapping[str, int] | None,
    *,
    trust: bool,
) -> tuple[Any, dict[str, Any], tuple[Finding, ...]]:
    """An ONNX file as it is, or the model that a TorchScript file becomes; what is told of it; what is suspicious."""
    if suffix_of(path) == ".pt":
        from ganglion.adapters import torchscript

        if action is not None:
            raise ValueError("an action can be named in .onnx files: a TorchScript file gives its action alone")
        names = None if state is None else tuple(state)
        policy = torchscript.load(path, state_names=names, observation=observation, trust=trust)
        return torchscript.to_onnx(policy), {}, policy.findings
    if is_bundle(path):
        from ganglion.adapters import leapp

        if state is not None or observation is not None:
            raise ValueError("a LEAPP bundle says itself what its state and its observation are")
        return leapp.to_onnx(path, action, trust=trust), {}, ()
    from ganglion.runtime.policy import explain_file

    file = read_file(path)
    findings = explain_file(file, state=state, action=action).findings
    return file, {"state": state, "action": action}, findings


def _description(
    deployment: str | os.PathLike[str] | Description, joint_sdk_names: Sequence[str] | None
) -> Description:
    from ganglion.adapters.deployment import Description, read

    if not isinstance(deployment, Description):
        return read(deployment, joint_sdk_names=joint_sdk_names)
    if joint_sdk_names:
        raise ValueError("joint_sdk_names go with the path of a deployment description")
    return deployment


def _deployed(
    model: Any,
    told: Mapping[str, Any],
    description: Description,
    *,
    annotate_only: bool,
    joint_order: Sequence[str] | None,
) -> Any:
    from ganglion.adapters.deployment import apply, described
    from ganglion.compiler.model import open_model

    if annotate_only and joint_order:
        raise ValueError("joint_order changes the function, annotate_only leaves it as it is: one of the two")
    opened = open_model(model, **told)
    if annotate_only:
        return described(opened.proto, description, contract=opened.contract)
    return apply(opened.proto, description, contract=opened.contract, robot_joint_names=joint_order)


def _run(recording: RecordingSource, model: Any, told: Mapping[str, Any]) -> RunInputs:
    from ganglion.compiler.model import open_model
    from ganglion.verify.trajectory import load_recording

    size = open_model(model, **told).contract.observation_size
    run = load_recording(recording, observation_size=size, batch=None)
    return run.observation, run.reset


def write(target: Path, program: Program, contract: Contract) -> Contract:
    """Writes a proven program as `.ganglion` or as a header; see `compile`. The contract as written."""
    if target.suffix in HEADERS:
        from ganglion.export import header

        return header.write_program(program, contract, target)
    from ganglion.compiler import file
    from ganglion.runtime.proof import proven

    data, contract = file.to_bytes(program, contract)
    with proven(target, contract) as temporary:
        temporary.write_bytes(data)
    return contract
