"""`ganglion compile`: a file, ours or anybody's, for the native engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ganglion.cli.commands.export import check_deployment
from ganglion.cli.outcome import Outcome
from ganglion.cli.progress import status
from ganglion.cli.tables import contract_document, contract_tables, finding_lines

if TYPE_CHECKING:
    import argparse

    from ganglion.reading import Finding


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion compile`."""
    from ganglion.compiler import compile_onnx, file

    check_deployment(arguments)
    recording = None
    with status(f"reading {arguments.file}"):
        model, findings = _model_to_compile(arguments)
    # A model that was made here has our names and its contract already.
    state = arguments.state if isinstance(model, str) else None
    if arguments.recording is not None:
        from ganglion.compiler.model import open_model
        from ganglion.verify.trajectory import load_recording

        size = open_model(model, state=state).contract.observation_size
        run = load_recording(arguments.recording, observation_size=size, batch=None)
        recording = run.observation, run.reset
    output = Path(arguments.output)
    with status(f"compiling {arguments.file}"):
        program, contract = compile_onnx(
            model,
            state=state,
            weights=arguments.weights,
            tolerance=arguments.tolerance,
            recording=recording,
            integer_inputs=output.suffix != ".hpp",
        )
        if output.suffix == ".hpp":
            from ganglion.export import header

            contract = header.write_program(program, contract, output)
        else:
            contract = file.write(output, program, contract)
    before, after = Path(arguments.file).stat().st_size, output.stat().st_size
    error = contract.provenance.get("weights_error")
    reached = f"{program.scheme} weights" + ("" if error is None else f", worst error {error}")
    operations = [op.kind for op in program.ops if op.kind != "gather"]
    document = {
        "ok": True,
        "file": arguments.output,
        "bytes_before": before,
        "bytes": after,
        "weights": program.scheme,
        "weights_error": None if error is None else float(error),
        "operations": operations,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "contract": contract_document(contract),
    }
    headline = f"{arguments.output}: {after:,} bytes ({arguments.file}: {before:,}), {reached}"
    operations_line = Text(f"operations: {', '.join(operations) or 'none'}")
    lines = (Text(headline, style="bold"), operations_line, *finding_lines(findings))
    return Outcome(document, (*lines, *contract_tables(contract)))


def _model_to_compile(arguments: argparse.Namespace) -> tuple[Any, tuple[Finding, ...]]:
    """The path of an ONNX file, or the model that a TorchScript file or a deployment description makes of it.

    And what is suspicious about the file.
    """
    model: Any = arguments.file
    if Path(model).suffix == ".pt":
        from ganglion.adapters import torchscript

        policy = torchscript.load(model, state_names=None if arguments.state is None else tuple(arguments.state))
        model, findings = torchscript.to_onnx(policy), policy.findings
    else:
        from ganglion import runtime

        findings = runtime.explain(model, state=arguments.state).findings
    if arguments.deployment is not None:
        from ganglion.adapters import deployment
        from ganglion.compiler.model import open_model

        description = deployment.read(arguments.deployment, joint_sdk_names=arguments.joint_sdk_names)
        opened = open_model(model, state=arguments.state)
        if arguments.annotate_only:
            model = deployment.described(opened.proto, description, contract=opened.contract)
        else:
            joints = arguments.joint_order
            model = deployment.apply(opened.proto, description, contract=opened.contract, robot_joint_names=joints)
    return model, findings
