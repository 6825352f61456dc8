"""Latency of a step in the C++ runtime, measured by the `ganglion-bench` program."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion import runtime
from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import naming_checkpoints
from ganglion._foundation.files import suffix_of
from ganglion.errors import EngineUnavailableError, GanglionError
from ganglion.reading import observation_sizes
from ganglion.runtime.libtorch_build import package_data

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Latency:
    """Latency of one file on one engine. What the clock takes is off every time.

    Attributes:
        file: the artifact, or a library of one's own.
        engine: engine of the C++ runtime; `"library"` for a library.
        batch: rows of a step.
        steps: timed steps in all.
        rounds: rounds that they were done in; the files take turns.
        p50_us: median time of a step, in microseconds.
        p99_us: 99 % of the steps took at most this long, in microseconds.
        p999_us: 99.9 % of the steps took at most this long, in microseconds.
        max_us: the slowest step, in microseconds.
        allocations_per_step: heap allocations per step, or None where they were not counted.
        cold_p50_us: median time of a step that finds nothing in the caches, in microseconds; None where not measured.
        cold_p99_us: 99 % of those steps took at most this long, in microseconds; None where not measured.
        load_ms: median time of a load in C++, in milliseconds; None for a library, and where recorded.
        resident_bytes: memory that a further load keeps, in bytes; None for a library, and where recorded.
        recorded: whether a flight recorder was attached.
    """

    file: str
    engine: str
    batch: int
    steps: int
    rounds: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    allocations_per_step: float | None
    cold_p50_us: float | None = None
    cold_p99_us: float | None = None
    load_ms: float | None = None
    resident_bytes: int | None = None
    recorded: bool = False


@dataclass(frozen=True)
class WeightFloor:
    """Time to read so many bytes once, with the widest loads of the processor: no step that needs them is faster.

    Attributes:
        bytes: bytes read.
        steps: timed reads in all.
        rounds: rounds that they were done in, between those of the files.
        p50_us: median time, in microseconds.
        p99_us: 99 % of the reads took at most this long, in microseconds.
        p999_us: 99.9 % of the reads took at most this long, in microseconds.
        max_us: the slowest read, in microseconds.
        cold_p50_us: median time of a read from memory, in microseconds; None where not measured.
        cold_p99_us: 99 % of those reads took at most this long, in microseconds; None where not measured.
    """

    bytes: int
    steps: int
    rounds: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    cold_p50_us: float | None = None
    cold_p99_us: float | None = None


@dataclass(frozen=True)
class LatencyReport:
    """What one run of `ganglion-bench` measured.

    Attributes:
        version: version of the program.
        cpu: name of the processor.
        scheduling: `"SCHED_FIFO"`, which no ordinary program interrupts, or `"SCHED_OTHER"`.
        clock_us: what the clock takes, in microseconds; it is off every time.
        results: one entry per file and engine, then the recorded ones in the same order, then one per library.
        floors: one entry per number of bytes asked for.
    """

    version: str
    cpu: str
    scheduling: str
    clock_us: float
    results: tuple[Latency, ...]
    floors: tuple[WeightFloor, ...] = ()


@naming_checkpoints
@bounded(what="the latency cannot be measured")
def bench(
    files: Sequence[str | os.PathLike[str]],
    *,
    engines: Sequence[str] = (),
    steps: int | None = None,
    rounds: int | None = None,
    cold: int | None = None,
    record: bool = False,
    batch: int | None = None,
    floors: Sequence[int] = (),
    libraries: Sequence[str | os.PathLike[str]] = (),
    pin: int | None = None,
    fifo: bool = False,
    state: Mapping[str, str] | None = None,
    action: str | None = None,
    observation: int | Mapping[str, int] | None = None,
    trust: bool = False,
) -> LatencyReport:
    """Measures the latency of every file in one run, file by file and engine by engine in interleaved rounds.

    Args:
        files: artifacts.
        engines: engines that every file is measured on; empty takes for each file the engine that fits it. The native
            engine measures an `.onnx` file as compiled by `ganglion compile`.
        steps: timed steps per round; None leaves it to the program.
        rounds: rounds; None leaves it to the program.
        cold: steps per round with everything put out of the caches before each: so a control loop finds them. None for
            none.
        record: step every file a second time in every round, with a flight recorder attached: what recording adds. The
            recording goes to the folder for temporary files.
        batch: rows of files that take any number; None for what the contract says, else 1.
        floors: numbers of bytes; how long it takes to read so many is measured in the same rounds.
        libraries: shared libraries with a step of one's own, to compare with; `ganglion-bench` without arguments says
            what they export.
        pin: number of the CPU to run on; None leaves it to the system.
        fifo: ask for SCHED_FIFO, where the system allows it; `LatencyReport.scheduling` says whether it did.
        state: for files without a contract, their state inputs and the outputs that feed them; see `ganglion.load`.
        action: for files without a contract, the output that is the action; see `ganglion.load`.
        observation: for TorchScript files without a contract, how many elements their observation has; see
            `ganglion.load`.
        trust: run `.pt` files whose program has what no policy needs; see `ganglion.load`.

    Raises:
        EngineUnavailableError: the program is not part of this installation, or an engine is not usable.
        ExportError: the native engine cannot run the graph of an `.onnx` file.
        GanglionError: the program failed; the message is its own.
    """
    # Looking at LibTorch may build its engine, which takes a while; only a file that needs it is worth that.
    needs_libtorch = any(suffix_of(file) == ".pt" for file in files)
    known = {info.name: info for info in runtime.engines(build=needs_libtorch)}
    for engine in engines:
        if engine not in known:
            raise ValueError(f"no engine '{engine}'; known: {', '.join(known)}")
        if not known[engine].usable:
            raise EngineUnavailableError(f"engine '{engine}' is not usable: {known[engine].reason}")
    program = package_data() / "bin" / "ganglion-bench"
    if not program.is_file():
        raise EngineUnavailableError("ganglion-bench is not part of this installation; install ganglion with pip")
    command = [str(program), "--json"]
    options = [("--steps", steps), ("--rounds", rounds), ("--cold", cold), ("--batch", batch), ("--pin", pin)]
    options += [("--floor", size) for size in floors]
    for option, value in options:
        command += [] if value is None else [option, str(value)]
    command += [argument for library in libraries for argument in ("--library", str(library))]
    command += [*["--fifo"] * fifo, *["--record"] * record]
    for pair in (state or {}).items():
        command += ["--state-pair", ":".join(pair)]
    command += [] if action is None else ["--action", action]
    for name, size in observation_sizes(observation).items():
        command += ["--observation", f"{name}:{size}" if name else str(size)]
    command += ["--trust"] if trust else []
    # The program knows nothing of Python: it is told where the wheels keep their libraries.
    for name, info in known.items():
        if info.usable and info.library is not None:
            command += [f"--{name}", str(info.library)]
    with tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(files, engines, Path(folder), state, action)
        if contenders is None:
            paths = [str(file) for file in files]
            command += [argument for engine in engines for argument in ("--engine", engine)]
        else:
            paths = [str(path) for path, _ in contenders]
        # A path that begins with a dash is no option.
        paths = [f"./{path}" if path.startswith("-") else path for path in paths]
        result = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = result.stderr.strip().removeprefix("ganglion-bench: ")
        raise GanglionError(f"the latency cannot be measured: {said or f'exit status {result.returncode}'}")
    report = _parse(result.stdout)
    if contenders is None:
        return report
    names = [str(file) for _, file in contenders] * (1 + record)
    of_files, of_libraries = report.results[: len(names)], report.results[len(names) :]
    named = (replace(row, file=name) for row, name in zip(of_files, names, strict=True))
    return replace(report, results=(*named, *of_libraries))


def _contenders(
    files: Sequence[str | os.PathLike[str]],
    engines: Sequence[str],
    folder: Path,
    state: Mapping[str, str] | None,
    action: str | None,
) -> list[tuple[Path, str | os.PathLike[str]]] | None:
    """What to open for every file and engine, beside the file, where the native engine is to run an `.onnx` file.

    The program itself does not compile. None where it can be asked as we were, also for what it is to refuse.
    """
    if "native" not in engines or all(suffix_of(file) != ".onnx" for file in files):
        return None
    contenders: list[tuple[Path, str | os.PathLike[str]]] = []
    for file in files:
        for engine in engines:
            path = Path(file)
            if suffix_of(path) == ".onnx" and engine == "native":
                path = _compiled(path, folder / f"{len(contenders)}.ganglion", state, action)
            elif engine not in runtime.engines_for(path):
                return None
            contenders.append((path, file))
    return contenders


def _compiled(path: Path, target: Path, state: Mapping[str, str] | None, action: str | None) -> Path:
    from ganglion.compiler import compile_onnx
    from ganglion.compiler import file as ganglion_file

    target.write_bytes(ganglion_file.plain_bytes(*compile_onnx(path, state=state, action=action))[0])
    return target


def _parse(text: str) -> LatencyReport:
    try:
        document: dict[str, Any] = json.loads(text)
        results = tuple(Latency(**_members(Latency, entry)) for entry in document["results"])
        floors = tuple(WeightFloor(**_members(WeightFloor, entry)) for entry in document["floors"])
        version, cpu, scheduling = (str(document[name]) for name in ("version", "cpu", "scheduling"))
        return LatencyReport(version, cpu, scheduling, float(document["clock_us"]), results, floors)
    except (ValueError, KeyError, TypeError) as error:
        raise GanglionError(f"ganglion-bench gave an answer that is not understood: {error}") from error


def _members(kind: type[Latency | WeightFloor], entry: dict[str, Any]) -> dict[str, Any]:
    return {field.name: entry[field.name] for field in fields(kind) if field.default is MISSING or field.name in entry}
