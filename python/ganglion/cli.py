"""The command `ganglion`: export, compile, inspect, verify, repair, bench, doctor.

Every command prints tables on standard output, or with `--json` exactly one JSON document; progress and errors go to
standard error. The exit status is 0 for a good verdict, 1 for a bad one or an error, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
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

from ganglion._doctor import diagnose
from ganglion.adapters import TRAINERS
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from ganglion.contract import Contract
    from ganglion.reading import Finding

_ENGINES = ("native", "onnxruntime", "libtorch")
_SOURCE_HELP = (
    "where the policy comes from: file.py or file.py:attribute (default: 'policy' or 'load_policy'; run like an "
    "import), module:attribute, a checkpoint written by save_checkpoint, or the snapshot folder of a training run (its "
    "last snapshot). The attribute is a policy, a pair (policy, contract), or a function that returns one of these"
)


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
    arguments = _parser().parse_args(argv)
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
        from ganglion.export.preparation import prepare

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
        from ganglion._trainers import load_checkpoint_of

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
    from ganglion._source import load_source

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
        from ganglion._source import load_source

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
    from ganglion._matrix import matrix

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


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not an integer of at least {least}")
        return value

    return parse


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def _batch_or_any(text: str) -> int | str:
    return "any" if text == "any" else _at_least(1)(text)


def _iteration(text: str) -> str:
    return text if text in ("last", "first") else str(_at_least(0)(text))


def _native_path(text: str) -> str:
    if Path(text).suffix not in (".ganglion", ".hpp"):
        raise argparse.ArgumentTypeError(f"'{text}': a compiled policy ends in .ganglion or .hpp")
    return text


class _State(argparse.Action):
    """Gathers `--state INPUT:OUTPUT` into a dictionary."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, text: Any, *_: Any) -> None:
        source, colon, target = str(text).rpartition(":")
        if not (source and colon and target):
            parser.error(f"--state takes INPUT:OUTPUT, not '{text}'")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), source: target})


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        action=_State,
        metavar="INPUT:OUTPUT",
        help="for a file without a contract: this output is the next value of this state input; can be given again, "
        "and then says it of all. The file <FILE>.yaml beside it can say the same",
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}': names with commas between them are expected")
    return names


def _add_deployment(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--deployment",
        metavar="FILE",
        help="what stands around the network in its controller (IO_descriptors.yaml of Isaac Lab, deploy.yaml of "
        f"Unitree, an .onnx file with metadata of mjlab): {what}",
    )
    parser.add_argument(
        "--annotate-only",
        action="store_true",
        help="with --deployment: names, units, limits and the control period go into the contract, and the function "
        "stays as it is",
    )
    parser.add_argument(
        "--joint-sdk-names",
        type=_names,
        metavar="NAME,NAME,...",
        help="with a deploy.yaml of Unitree: the names of the motors in the order of the robot's SDK, which it lacks",
    )


def _add_trainer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="trainer", choices=TRAINERS, help="SOURCE is a checkpoint of this trainer")
    parser.add_argument("--config", metavar="FILE", help="with --from: the trainer's settings (agent.yaml)")
    parser.add_argument("--vecnormalize", metavar="FILE", help="with --from sb3: statistics of VecNormalize")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="with --from: unpickle files, which can run any code in them"
    )
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="with --from: any other argument of the adapter's load()"
    )


def _add_weights(parser: argparse.ArgumentParser, tolerance: str) -> None:
    parser.add_argument(
        "--weights",
        choices=("float32", "float16", "int8", "int8x16", "int8x8"),
        default="float32",
        help="how the native engine stores the weights (default: %(default)s); int8 takes the fastest scheme that "
        "holds the tolerance, with inputs of products rounded to 8 bits (int8x8), to 16 bits (int8x16) or not at all",
    )
    parser.add_argument(
        tolerance,
        type=_tolerance,
        metavar="X",
        help="largest accepted |difference| that smaller weights make in any output (default: 0.01)",
    )


def _report_path(text: str) -> str:
    if Path(text).suffix not in (".html", ".json"):
        raise argparse.ArgumentTypeError(f"'{text}': a report ends in .html or .json")
    return text


class _Version(argparse.Action):
    """Prints the version; unlike argparse's own action, looks for it only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import ganglion

        print(f"ganglion {ganglion.__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print exactly one JSON document on standard output")
    common.add_argument("--traceback", action="store_true", help="on an error, show where in the code it was raised")
    parser = argparse.ArgumentParser(
        prog="ganglion",
        description="Takes a recurrent policy trained in Python to a C++ control loop, and proves that both agree.",
        epilog="exit status: 0 good verdict, 1 bad verdict or error, 2 wrong command line",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], _Outcome], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(command=command)
        return added

    export = add("export", _export, "write a policy to one file, checked against the policy before it appears")
    export.add_argument("source", metavar="SOURCE", help=f"{_SOURCE_HELP}; with --from, a checkpoint of that trainer")
    export.add_argument(
        "--itr",
        type=_iteration,
        metavar="N|last|first",
        help="SOURCE is a folder of snapshots: the one to take (default: last)",
    )
    _add_trainer(export)
    export.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the file; .ganglion, .hpp, .onnx or .pt picks the form"
    )
    export.add_argument("--batch", type=_batch_or_any, metavar="N|any", help="rows of one step (default: 1)")
    export.add_argument(
        "--golden-steps",
        type=_at_least(1),
        default=64,
        metavar="N",
        help="steps of the run that is recorded in the file and replayed at every load (default: %(default)s)",
    )
    export.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="take the observations of that run from recorded episodes (see verify), around the beginning of one",
    )
    export.add_argument(
        "--tolerance",
        type=_tolerance,
        default=1e-5,
        metavar="X",
        help="largest accepted |file - policy| / max(1, |policy|) (default: %(default)g)",
    )

    _add_deployment(export, "with --annotate-only")
    export.set_defaults(joint_order=None)
    _add_weights(export, "--weight-tolerance")

    compile_ = add("compile", _compile, "compile an .onnx or .pt file, ours or anybody's, for the native engine")
    compile_.add_argument("file", metavar="FILE", help="an .onnx or .pt file")
    _add_state(compile_)
    _add_deployment(compile_, "scales, clips, histories and joint orders become part of the function")
    compile_.add_argument(
        "--joint-order",
        type=_names,
        metavar="NAME,NAME,...",
        help="with --deployment: the joints in the order in which the controller gives and takes them (default: that "
        "of Unitree's motors, else that of the training)",
    )
    compile_.add_argument(
        "-o", "--output", type=_native_path, metavar="FILE", required=True, help="the file; .ganglion or .hpp"
    )
    _add_weights(compile_, "--tolerance")
    compile_.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="a recorded run ('observation', 'reset'; see verify) to measure smaller weights with, beside the golden "
        "trajectory",
    )

    inspect = add("inspect", _inspect, "show the contract of a file: inputs, outputs, state, period, digest")
    inspect.add_argument("file", metavar="FILE")
    _add_state(inspect)

    verify = add("verify", _verify, "run one long trajectory through every implementation and compare them")
    verify.add_argument("file", metavar="FILE", nargs="?", help="an exported .ganglion, .onnx or .pt file")
    _add_state(verify)
    verify.add_argument(
        "--matrix",
        metavar="POLICY",
        nargs="*",
        help="in place of a file: export an example of every kind of policy (or of those named) to every kind of file, "
        "and run each on every engine, along drawn observations and recorded episodes, with one row and with three of "
        "which some are reset",
    )
    verify.add_argument(
        "--policy", metavar="SOURCE", help=f"the reference (default: the file in Python); {_SOURCE_HELP}"
    )
    trajectory = verify.add_mutually_exclusive_group()
    trajectory.add_argument("--steps", type=_at_least(1), metavar="N", help="length of the trajectory (default: 2000)")
    trajectory.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="in place of a drawn trajectory, episodes that EpisodeBatch.save wrote, each beginning with a reset; "
        "or arrays 'observation' [T, n] or [T, batch, n] and, if there were resets, 'reset' [T] or [T, batch]",
    )
    verify.add_argument(
        "--recorded-actions",
        nargs="?",
        const="actions",
        metavar="NAME",
        help="also compare the actions of recorded episodes (or this entry of agent_infos, 'mean' say) with those of "
        "the reference: for episodes of this very policy, without noise",
    )
    verify.add_argument(
        "--seed", type=_at_least(0), default=0, metavar="S", help="of the drawn trajectory (default: 0)"
    )
    verify.add_argument(
        "--tolerance",
        type=_tolerance,
        default=1e-5,
        metavar="X",
        help="largest accepted |found - expected| / max(1, |expected|) (default: %(default)g)",
    )
    verify.add_argument(
        "--engine",
        action="append",
        choices=_ENGINES,
        help="engine of the C++ runtime that must run; can be given "
        "again (default: every one that opens the file and is installed)",
    )
    verify.add_argument("--batch", type=_at_least(1), metavar="N", help="rows, for a file that takes any number")
    verify.add_argument(
        "--report", type=_report_path, metavar="OUT", help="also write a report: .html (plots) or .json"
    )

    repair = add("repair", _repair, "set linear_before_reset in the GRUs of an .onnx file if a reference wants it")
    repair.add_argument("file", metavar="FILE", help="an .onnx file of another exporter")
    repair.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="written only if it is right and FILE is not; else exit 1"
    )
    reference = repair.add_mutually_exclusive_group(required=True)
    reference.add_argument(
        "--recording",
        metavar="RUN.npz",
        help="recorded episodes of the policy without noise (EpisodeBatch.save), or arrays 'observation', 'action' "
        "and, if there were resets, 'reset', [T, ...] or [T, batch, ...]",
    )
    reference.add_argument(
        "--policy",
        dest="source",
        metavar="SOURCE",
        help=f"the policy; {_SOURCE_HELP}; with --from, a checkpoint of that trainer",
    )
    _add_trainer(repair)
    repair.set_defaults(itr=None)
    repair.add_argument(
        "--recorded-actions",
        metavar="NAME",
        default="actions",
        help="entry of the episodes' agent_infos to compare with, 'mean' say (default: %(default)s)",
    )
    repair.add_argument(
        "--tolerance",
        type=_tolerance,
        default=1e-5,
        metavar="X",
        help="largest accepted |found - expected| / max(1, |expected|) of an action (default: %(default)g)",
    )
    _add_state(repair)

    bench = add("bench", _bench, "measure the latency of a step in the C++ runtime, engines interleaved")
    bench.add_argument("files", nargs="+", metavar="FILE")
    _add_state(bench)
    bench.add_argument(
        "--engine", action="append", choices=_ENGINES, help="only this engine; can be given again (default: all)"
    )
    bench.add_argument("--steps", type=_at_least(1), metavar="N", help="timed steps per round")
    bench.add_argument("--rounds", type=_at_least(1), metavar="R", help="rounds; in each, every engine has its turn")

    add("doctor", _doctor, "show which engines are usable, library files, CPU features and versions")
    return parser
