"""The whole path on one page: export the trained policy, prove the files equal, fly them from Python and from C++.

At the end a flight is recorded (`flight.mcap`), flown again from that file alone, and shown (`flight.html`).

    python export_examples/demo.py --fly-binary build/.../02_fly_cartpole -o out/demo

writes the artifacts, one CSV per flight, `cartpole.png` and `report.html` to the folder, prints a table, and answers 0
only where every pole stayed up and every file is equal to the PyTorch policy.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cartpole
import cartpole_policy
import numpy as np
import torch
from demo_flights import FLIGHT_HEADINGS, TOLERANCE_RAD, Flight, until_fall
from demo_page import render_page
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import ganglion
import ganglion.runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cartpole import Trace
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ganglion import ParityReport, ReplayReport
    from ganglion.policies import RecurrentPolicy
    from ganglion.runtime.engines import EngineName

ENGINES: dict[EngineName, str] = {"native": "policy.ganglion", "onnxruntime": "policy.onnx", "libtorch": "policy.pt"}
"""Each engine with the file that it runs."""
_COLORS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#000000")
_WIDTHS = (8.0, 6.6, 5.4, 4.2, 3.0, 1.8, 0.8)
_STAGES = 4 * len(ENGINES) + 4


class Demo:
    """Does the work, stage by stage, and shows where it is."""

    def __init__(self, fly_binary: Path, folder: Path, progress: Progress) -> None:
        self._fly_binary = fly_binary
        self._folder = folder
        self._progress = progress
        self._task = progress.add_task("starting", total=_STAGES)
        self._model = cartpole.load_model()
        self._starts = cartpole.read_starts(cartpole.STARTS_FILE)

    def stage(self, what: str) -> None:
        """Shows what is going on from now on."""
        if self._progress.tasks[self._task].description != "starting":
            self._progress.advance(self._task)
        self._progress.update(self._task, description=what)

    def export(self, policy: RecurrentPolicy) -> None:
        """Writes one file per engine."""
        for name in ENGINES.values():
            self.stage(f"exporting {name}")
            ganglion.export(policy, self._folder / name, contract=cartpole_policy.cartpole_contract(policy))

    def verify(self, policy: RecurrentPolicy) -> list[ParityReport]:
        """Runs every file against the policy, on every engine that takes it."""
        reports = []
        for name in ENGINES.values():
            self.stage(f"verifying {name}")
            reports.append(ganglion.verify(self._folder / name, policy))
            reports[-1].save(self._folder / f"verify_{Path(name).suffix[1:]}.html")
        return reports

    def fly(self, policy: RecurrentPolicy) -> tuple[list[Flight], Trace]:
        """Flies everything from the same starts.

        Returns:
            The flights, that of the PyTorch policy first, and the trace of the policy without its memory.
        """
        reference = self._fly_torch(policy, "pytorch", erase_memory=False)
        flights = [Flight("pytorch", "Python", reference, np.zeros(len(reference.pole_angle)))]
        for language, fly in (("Python", self._fly_from_python), ("C++", self._fly_from_cpp)):
            for engine, name in ENGINES.items():
                self.stage(f"flying {name} with {engine} from {language}")
                trace = fly(engine, self._folder / name)
                difference = np.abs(trace.pole_angle - reference.pole_angle)
                flights.append(Flight(engine, language, trace, difference))
        return flights, self._fly_torch(policy, "pytorch_memory_erased", erase_memory=True)

    def record(self) -> ReplayReport:
        """Flies once more with everything recorded, then the recording."""
        self.stage("recording a flight, and flying it again from its file")
        pilot = ganglion.load(self._folder / ENGINES["native"], engine="native")
        recording = self._folder / "flight.mcap"
        with ganglion.FlightRecorder.open(recording, overwrite=True) as recorder:
            pilot.attach(recorder)
            recorder.set_time(0)
            steps = itertools.count()

            def step(seen: NDArray[np.float32]) -> float:
                number = next(steps)
                recorder.set_time(round(number * cartpole_policy.CONTROL_PERIOD_S * 1e9))
                if number % 100 == 0:
                    recorder.flush()  # a simulation can be faster than the disk
                return float(pilot.step(seen)[0])

            cartpole.fly(self._model, step, pilot.reset, self._starts)
        ganglion.flight.report(recording, recording.with_suffix(".html"))
        return ganglion.replay(recording)

    def _fly_torch(self, policy: RecurrentPolicy, name: str, *, erase_memory: bool) -> Trace:
        self.stage(f"flying the PyTorch policy{', memory erased before each step' if erase_memory else ''}")
        controller = cartpole_policy.TorchController(policy, rows=1, erase_memory=erase_memory)

        def step(seen: NDArray[np.float32]) -> float:
            if erase_memory and cartpole.has_fallen(seen[0], seen[1]):
                return 0.0  # nobody looks at what it does behind its fall
            return float(controller(seen[None])[0])

        return self._fly(step, controller.reset, f"python_{name}")

    def _fly_from_python(self, engine: EngineName, artifact: Path) -> Trace:
        pilot = ganglion.load(artifact, engine=engine)
        return self._fly(lambda seen: float(pilot.step(seen)[0]), pilot.reset, f"python_{engine}")

    def _fly(self, step: Callable[[NDArray[np.float32]], float], reset: Callable[[], None], name: str) -> Trace:
        trace = cartpole.fly(self._model, step, reset, self._starts)
        trace.save(self._folder / f"{name}.csv")
        return trace

    def _fly_from_cpp(self, engine: EngineName, artifact: Path) -> Trace:
        out = self._folder / f"cpp_{engine}.csv"
        out.unlink(missing_ok=True)  # never read an old flight for a new one
        command = [str(self._fly_binary), str(artifact), str(cartpole.MODEL_FILE), str(out)]
        options = ["--starts", str(cartpole.STARTS_FILE), "--engine", engine]
        found = subprocess.run([*command, *options], env=cpp_environment(), capture_output=True, text=True, check=False)
        if not out.exists():
            raise SystemExit(f"{self._fly_binary} with {engine} wrote no flight:\n{found.stdout}{found.stderr}")
        return cartpole.Trace.load(out)


def cpp_environment() -> dict[str, str]:
    """The environment, with the engine libraries that the Python package found handed to the C++ program."""
    libraries = {engine.name: str(engine.library) for engine in ganglion.runtime.engines() if engine.library}
    variables = {"GANGLION_ONNXRUNTIME": "onnxruntime", "GANGLION_LIBTORCH": "libtorch"}
    found = {variable: libraries[name] for variable, name in variables.items() if name in libraries}
    return {**found, **os.environ}


def _draw_angles(axes: Axes, flights: list[Flight], erased: Trace, index: int) -> None:
    rows = erased.flight == index
    axes.plot(
        erased.time_s[rows],
        np.degrees(until_fall(erased)[rows]),
        color="#c0392b",
        linewidth=1.0,
        label="PyTorch, memory erased before each step",
    )
    # The lines lie on top of each other; each is thinner than the one below, so that all of them can be seen.
    for flight, color, width in zip(flights, _COLORS, _WIDTHS, strict=True):
        angle = np.degrees(flight.trace.pole_angle[rows])
        axes.plot(flight.trace.time_s[rows], angle, color=color, linewidth=width, label=flight.label)
    axes.axvline(cartpole.FLIGHT_S / 2.0, color="0.5", linewidth=0.8, linestyle=":")
    axes.set_ylim(-25.0, 25.0)
    axes.set_xlim(0.0, cartpole.FLIGHT_S)
    axes.set_ylabel("pole angle (deg)")


def _draw_differences(axes: Axes, flights: list[Flight], index: int) -> None:
    for flight, color, width in list(zip(flights, _COLORS, _WIDTHS, strict=True))[1:]:
        rows = flight.trace.flight == index
        difference = np.where(flight.difference[rows] > 0.0, flight.difference[rows], np.nan)  # no zero on a log axis
        axes.plot(flight.trace.time_s[rows], difference, color=color, linewidth=0.6 * width)
    axes.axhline(TOLERANCE_RAD, color="0.3", linewidth=0.9, linestyle="--")
    axes.annotate("tolerance", (0.2, TOLERANCE_RAD), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.3")
    axes.set_ylim(1e-12, 1e-4)
    axes.set_yscale("log")
    axes.set_xlim(0.0, cartpole.FLIGHT_S)
    axes.set_ylabel("difference to PyTorch (rad)")
    axes.set_xlabel("time (s)")


def draw_overlay(flights: list[Flight], erased: Trace) -> Figure:
    """The first flight: pole angles of everything on top of each other, and how far they are apart."""
    figure = Figure(figsize=(10.0, 6.2), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 2), sharex=True)
    _draw_angles(above, flights, erased, index=0)
    middle = cartpole.FLIGHT_S / 2.0
    above.text(middle - 0.2, -22.0, "reset of cart and policy", ha="right", fontsize=9, color="0.35")
    above.set_title("One policy, seven ways to run it: the pole at 500 Hz", loc="left")
    _draw_differences(below, flights, index=0)
    figure.legend(*above.get_legend_handles_labels(), ncols=3, fontsize=9, loc="outside lower center", frameon=False)
    return figure


def _write(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".part.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Runs the demo."""
    parser = argparse.ArgumentParser(description="Export, verify and fly the cart-pole policy.")
    parser.add_argument("--fly-binary", type=Path, required=True, help="the built 02_fly_cartpole")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"), help="folder for everything written")
    arguments = parser.parse_args()
    if not arguments.fly_binary.is_file():
        parser.error(f"{arguments.fly_binary}: no such program; build export_examples first (make demo does)")
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    console = Console()

    policy, _ = cartpole_policy.load_policy()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        demo = Demo(arguments.fly_binary.resolve(), arguments.output.resolve(), progress)
        demo.export(policy)
        reports = demo.verify(policy)
        flights, erased = demo.fly(policy)
        replayed = demo.record()
        demo.stage("drawing the report")
        page = arguments.output / "report.html"
        _write(page, lambda path: path.write_text(render_page(flights, erased, reports), encoding="utf-8"))
        picture = draw_overlay(flights, erased)
        _write(arguments.output / "cartpole.png", lambda path: picture.savefig(path, format="png", dpi=110))

    for report in reports:
        console.print(report)
    table = Table(
        box=SIMPLE_HEAD, title=f"{len(cartpole.read_starts(cartpole.STARTS_FILE))} starts, {cartpole.FLIGHT_S:g} s each"
    )
    for heading in FLIGHT_HEADINGS:
        table.add_column(heading, justify="left" if heading in FLIGHT_HEADINGS[:3] else "right")
    for flight in flights:
        table.add_row(*flight.cells(), style=None if flight.ok else "bold red")
    console.print(table)
    console.print(f"the same policy, memory erased before each step: {'balanced' if erased.balanced else 'falls'}")
    console.print(replayed)
    console.print(f"report: {page}; the recorded flight: {page.with_name('flight.html')}")
    good = replayed.ok and all(flight.ok for flight in flights) and all(report.ok for report in reports)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
