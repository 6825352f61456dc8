"""The command `ganglion`: export, compile, inspect, verify, repair, bench, doctor.

Every command prints tables on standard output, or with `--json` exactly one JSON document; progress and errors go to
standard error. The exit status is 0 for a good verdict, 1 for a bad one or an error, 2 for a wrong command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ganglion.cli.doctor import diagnose
from ganglion.cli.parser import command_line
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from ganglion.contract import Contract
    from ganglion.reading import Finding


@dataclass(frozen=True)
class _Outcome:
    """What a command found: the same for a reader and for a program."""

    document: dict[str, Any]
    tables: tuple[RenderableType, ...]
    ok: bool = True


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program name; None takes those of the process.

    Returns:
        The exit status: 0 for a good verdict, 1 for a bad one or an error.

    Raises:
        SystemExit: with status 2 for a wrong command line, 0 after `--help` and `--version`.
    """
    arguments = command_line(_COMMANDS).parse_args(argv)
    command: Callable[[argparse.Namespace], _Outcome] = arguments.command
    try:
        # A script that yields a policy, or a library below us, may print; standard output belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            outcome = command(arguments)
    except (GanglionError, OSError, ValueError) as error:
        if arguments.traceback:
            raise
        return _fail(error, arguments.json)
    except KeyboardInterrupt:
        return 130
    try:
        _print(outcome, arguments.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if outcome.ok else 1


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to `main`, which answers a closed pipe in the same way for tables and for JSON."""
        raise  # what rich has just caught


def _print(outcome: _Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps(outcome.document, allow_nan=False))
        return
    console = _Console()
    for table in outcome.tables:
        # A sentence or a path stays one line, to be copied or searched for.
        console.print(table, soft_wrap=isinstance(table, Text))


def _fail(error: Exception, as_json: bool) -> int:
    message = " ".join(str(error).split())
    print(f"ganglion: error: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": False, "error": {"type": type(error).__name__, "message": message}}))
    # The functions behind the commands raise a bare ValueError for arguments that do not fit together.
    return 2 if isinstance(error, ValueError) else 1


def _export(arguments: argparse.Namespace) -> _Outcome:
    from ganglion.export import export

    _check_deployment(arguments)
    if arguments.deployment is not None and not arguments.annotate_only:
        raise ValueError("export leaves the function as it is: --deployment FILE --annotate-only, or compile the file")
    with _status("loading the policy"):
        policy, contract = _policy_to_export(arguments)
    if contract is not None and arguments.batch is not None:
        contract = dataclasses.replace(contract, batch=_batch(arguments))
    if arguments.deployment is not None:
        from ganglion.adapters import deployment
        from ganglion.policies.scripting.preparation import prepare

        description = deployment.read(arguments.deployment, joint_sdk_names=arguments.joint_sdk_names)
        prepared: Any = prepare(policy)
        own = prepared.contract(batch=1 if arguments.batch is None else _batch(arguments))
        contract = deployment.annotate(own if contract is None else contract, description)
    with _status(f"exporting {arguments.output}"):
        written = export(
            policy,
            arguments.output,
            contract=contract,
            batch=1 if arguments.batch is None else _batch(arguments),
            golden_steps=arguments.golden_steps,
            recording=arguments.recording,
            tolerance=arguments.tolerance,
            weights=arguments.weights,
            weight_tolerance=arguments.weight_tolerance,
        )
    size = Path(arguments.output).stat().st_size
    document = {"ok": True, "file": arguments.output, "bytes": size, "contract": _contract_document(written)}
    return _Outcome(document, (Text(f"{arguments.output}: {size:,} bytes", style="bold"), *_contract_tables(written)))


def _policy_to_export(arguments: argparse.Namespace) -> tuple[Any, Contract | None]:
    if arguments.trainer is not None:
        if arguments.itr is not None:
            raise ValueError("--itr goes with a folder of snapshots, not with --from")
        from ganglion.cli.trainers import load_checkpoint_of

        policy = load_checkpoint_of(
            arguments.trainer,
            arguments.source,
            arguments.set or (),
            config=arguments.config,
            vecnormalize=arguments.vecnormalize,
            allow_pickle=arguments.allow_pickle,
        )
        return policy, None
    if arguments.config or arguments.vecnormalize or arguments.allow_pickle or arguments.set:
        raise ValueError("--config, --vecnormalize, --allow-pickle and --set go with --from TRAINER")
    from ganglion.cli.source import load_source

    source = load_source(arguments.source, arguments.itr)
    return source.policy, source.contract


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


def _check_deployment(arguments: argparse.Namespace) -> None:
    if arguments.deployment is None and (arguments.annotate_only or arguments.joint_sdk_names or arguments.joint_order):
        raise ValueError("--annotate-only, --joint-order and --joint-sdk-names go with --deployment FILE")
    if arguments.annotate_only and arguments.joint_order:
        raise ValueError("--joint-order changes the function, --annotate-only leaves it as it is: one of the two")


def _compile(arguments: argparse.Namespace) -> _Outcome:
    from ganglion.compiler import compile_onnx, file

    _check_deployment(arguments)
    recording = None
    with _status(f"reading {arguments.file}"):
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
    with _status(f"compiling {arguments.file}"):
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
        "contract": _contract_document(contract),
    }
    headline = f"{arguments.output}: {after:,} bytes ({arguments.file}: {before:,}), {reached}"
    operations_line = Text(f"operations: {', '.join(operations) or 'none'}")
    lines = (Text(headline, style="bold"), operations_line, *_finding_lines(findings))
    return _Outcome(document, (*lines, *_contract_tables(contract)))


def _inspect(arguments: argparse.Namespace) -> _Outcome:
    from ganglion import runtime

    reading = runtime.explain(arguments.file, state=arguments.state)
    document = {
        "ok": True,
        "file": arguments.file,
        "dialect": reading.dialect,
        "state": [dataclasses.asdict(names) for names in reading.state],
        "constants": dict(reading.constants),
        "notes": list(reading.notes),
        "findings": [dataclasses.asdict(finding) for finding in reading.findings],
        "contract": _contract_document(reading.contract),
    }
    origin = "" if reading.dialect == "ganglion" else f", no contract inside; read as a file of {reading.dialect}"
    notes = [Text(f"- {note}") for note in reading.notes]
    findings = _finding_lines(reading.findings)
    headline = Text(f"{arguments.file}{origin}", style="bold")
    return _Outcome(document, (headline, *notes, *findings, *_contract_tables(reading.contract)))


def _finding_lines(findings: Sequence[Finding]) -> list[Text]:
    return [Text(f"[{finding.code}] {finding.sentence}", style="bold yellow") for finding in findings]


def _verify(arguments: argparse.Namespace) -> _Outcome:
    if (arguments.file is None) == (arguments.matrix is None):
        raise ValueError("verify takes a FILE or --matrix, one of the two")
    if arguments.matrix is not None:
        return _verify_matrix(arguments)
    from ganglion.verify import verify

    policy = None
    if arguments.policy is not None:
        from ganglion.cli.source import load_source

        with _status("loading the policy"):
            policy = load_source(arguments.policy).policy
    with _progress() as progress:
        report = verify(
            arguments.file,
            policy,
            seed=arguments.seed,
            tolerance=arguments.tolerance,
            recording=arguments.recording,
            recorded_actions=arguments.recorded_actions,
            engines=arguments.engine,
            batch=arguments.batch,
            state=arguments.state,
            progress=progress,
            **({} if arguments.steps is None else {"steps": arguments.steps}),
        )
    if arguments.report is not None:
        report.save(arguments.report)
    return _Outcome(json.loads(report.to_json()), (report,), report.ok)


def _verify_matrix(arguments: argparse.Namespace) -> _Outcome:
    from ganglion.cli.matrix import matrix

    given = [
        f"--{name.replace('_', '-')}"
        for name in ("policy", "recording", "recorded_actions", "state", "engine", "batch", "report")
        if getattr(arguments, name) is not None
    ]
    if given:
        raise ValueError(f"verify --matrix makes its own policies, files and runs; it does not take {', '.join(given)}")
    cells: list[Any] = []
    with _progress() as progress:
        for some in matrix(arguments.matrix or None, steps=arguments.steps or 2000, tick=progress):
            cells += some
    title = Text(
        "every policy, file and engine against Python, drawn and recorded, over one row and three with masked resets"
    )
    table = Table("policy", "file", title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("largest error", justify="right")
    table.add_column("ran on")
    for policy, suffix in dict.fromkeys((cell.policy, cell.suffix) for cell in cells):
        here = [cell for cell in cells if (cell.policy, cell.suffix) == (policy, suffix)]
        bad = any(cell.problem for cell in here)
        ran = dict.fromkeys(cell.implementation for cell in here)
        table.add_row(
            Text(policy, no_wrap=True),
            Text(suffix),
            Text(f"{max(cell.error for cell in here):.1e}", style="bold red" if bad else "green"),
            Text(", ".join(ran)),
        )
    problems = [cell for cell in cells if cell.problem is not None]
    lines = [
        Text(f"{cell.policy}, {cell.suffix}, {cell.implementation}: {cell.problem}", style="bold red")
        for cell in problems
    ]
    document = {
        "ok": not problems,
        "cells": [
            dataclasses.asdict(cell) | {"error": cell.error if math.isfinite(cell.error) else None} for cell in cells
        ],
    }
    return _Outcome(document, (table, *lines), not problems)


def _repair(arguments: argparse.Namespace) -> _Outcome:
    from ganglion.verify import repair

    policy = None
    if arguments.source is not None:
        with _status("loading the policy"):
            policy = _policy_to_export(arguments)[0]
    with _status("comparing"):
        report = repair(
            arguments.file,
            arguments.output,
            recording=arguments.recording,
            policy=policy,
            recorded_actions=arguments.recorded_actions,
            tolerance=arguments.tolerance,
            state=arguments.state,
        )
    return _Outcome(json.loads(report.to_json()), (Text(report.verdict),), report.ok)


def _bench(arguments: argparse.Namespace) -> _Outcome:
    from ganglion.verify import bench

    with _status("measuring"):
        report = bench(
            arguments.files,
            engines=arguments.engine or (),
            steps=arguments.steps,
            rounds=arguments.rounds,
            state=arguments.state,
        )
    table = Table(
        "file", "engine", title=Text(f"one step, microseconds, on {report.cpu}"), title_justify="left", box=SIMPLE_HEAD
    )
    for heading in ("p50", "p99", "p99.9", "max", "allocations"):
        table.add_column(heading, justify="right")
    for row in report.results:
        times = (f"{value:.2f}" for value in (row.p50_us, row.p99_us, row.p999_us, row.max_us))
        allocations = "-" if row.allocations_per_step is None else f"{row.allocations_per_step:g}"
        table.add_row(Text(row.file), Text(row.engine), *times, allocations)
    return _Outcome({"ok": True} | dataclasses.asdict(report), (table,))


def _doctor(arguments: argparse.Namespace) -> _Outcome:
    del arguments
    with _status("looking at the engines"):
        diagnosis = diagnose()
    engines = Table("engine", "", "version", "note", title="Engines", title_justify="left", box=SIMPLE_HEAD)
    for engine in diagnosis.engines:
        state = Text("usable", style="green") if engine.usable else Text("not usable", style="yellow")
        engines.add_row(Text(engine.name), state, Text(engine.version or "-"), Text(engine.reason))
    versions = Table("package", "version", title="Versions", title_justify="left", box=SIMPLE_HEAD)
    for package, version in diagnosis.versions.items():
        versions.add_row(Text(package), Text(version or "not installed", style="" if version else "dim"))
    notes = [Text(f"{engine.name}: {engine.library}") for engine in diagnosis.engines if engine.library is not None]
    notes.append(Text(f"{diagnosis.platform}; CPU features: {', '.join(diagnosis.cpu_features) or 'none found'}"))
    if diagnosis.problem is not None:
        notes.append(Text(diagnosis.problem, style="bold red"))
    elif not diagnosis.ok:
        notes.append(Text("no engine is usable: pip install 'ganglion[onnx]' or 'ganglion[torch]'", style="bold red"))
    document = {"ok": diagnosis.ok} | dataclasses.asdict(diagnosis)
    for engine in document["engines"]:
        engine["library"] = None if engine["library"] is None else str(engine["library"])
    return _Outcome(document, (engines, versions, *notes), diagnosis.ok)


def _contract_document(contract: Contract) -> dict[str, Any]:
    """The contract as in the file, with the size of the golden trajectory in place of its numbers."""
    document: dict[str, Any] = json.loads(dataclasses.replace(contract, golden=None).to_json())
    golden = contract.golden
    if golden is not None:
        document["golden"] = {"steps": golden.steps, "rows": golden.rows, "tolerance": golden.tolerance}
    return document


def _contract_tables(contract: Contract) -> tuple[Table, ...]:
    from ganglion.verify.describe import ELEMENT_COLUMNS, contract_facts, element_rows

    facts = Table.grid(padding=(0, 2))
    for label, value in contract_facts(contract):
        facts.add_row(Text(label, style="dim"), Text(value, overflow="fold"))
    tables = [facts]
    for kind, specs in (("Input", contract.inputs), ("Output", contract.outputs)):
        for spec in specs:
            table = Table(
                *ELEMENT_COLUMNS, title=Text(f"{kind} {spec.name} [{spec.size}]"), title_justify="left", box=SIMPLE_HEAD
            )
            for row in element_rows(spec):
                table.add_row(*map(Text, row))
            tables.append(table)
    return tuple(tables)


@contextlib.contextmanager
def _status(what: str) -> Iterator[None]:
    console = Console(stderr=True)
    with console.status(Text(what)) if console.is_terminal else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tick(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tick


def _batch(arguments: argparse.Namespace) -> int | None:
    return None if arguments.batch == "any" else int(arguments.batch)


_COMMANDS = {
    "export": _export,
    "compile": _compile,
    "inspect": _inspect,
    "verify": _verify,
    "repair": _repair,
    "bench": _bench,
    "doctor": _doctor,
}
