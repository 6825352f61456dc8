"""make wiring-bench: plants faults, asks `ganglion.wiring`, and writes docs/wiring_bench.md and a JSON beside it.

Each case is drawn from its seed, so a run gives the same table again; only the time that it took differs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before NumPy: one case, one core.

import numpy as np

from .cases import FOLDER, RUNS, Case, healthy, pair, robots_of, single
from .faults import COMPOUND, FAULTS
from .motion import recorded
from .robots import ROBOTS
from .scoring import Score, score

if TYPE_CHECKING:
    from collections.abc import Iterable

HALVES = ("development", "held_out")
BUILD = Path("build/wiring-bench")
Task = tuple[str, str, str, int]
"""Side (`paired`, `unpaired`), half, what (`single NAME`, `pair`, `healthy`), seed."""


def tasks(halves: Iterable[str], singles: int, pairs: int, healthies: int) -> list[Task]:
    """Paired cases; the counts are those of one half. Any beginning of the list has some of everything."""
    made: list[tuple[float, Task]] = []
    for half in halves:
        for fault in FAULTS:
            made += [(seed / singles, ("paired", half, f"single {fault.name}", seed)) for seed in range(singles)]
        made += [(seed / pairs, ("paired", half, "pair", seed)) for seed in range(pairs)]
        made += [(seed / healthies, ("paired", half, "healthy", seed)) for seed in range(healthies)]
    return [task for _, task in sorted(made, key=lambda one: one[0])]


def made(task: Task) -> Case:
    """The case of a task."""
    _, half, what, seed = task
    if what == "pair":
        return pair(half, seed)
    if what == "healthy":
        return healthy(half, seed)
    name = what.removeprefix("single ")
    return single(half, next(fault for fault in (*FAULTS, *COMPOUND) if fault.name == name), seed)


def run(task: Task) -> list[dict[str, Any]]:
    """Rows of the JSON."""
    import ganglion.wiring

    if task[0] == "unpaired":
        from .flights import run_unpaired

        return [row | {"task": task} for row in run_unpaired(task)]
    case = made(task)
    begin = time.process_time()
    try:
        judged = score(case, ganglion.wiring)
    except Exception as error:
        judged = Score("raised", None, f"{type(error).__name__}: {error}", [])
    row = {
        "task": task,
        "side": task[0],
        "half": task[1],
        "what": task[2].split(" ")[0],
        "seed": task[3],
        "label": case.label,
        "faults": [one.fault.name for one in case.planted],
        "robot": case.layout.robot,
        "held_out_robot": ROBOTS[case.layout.robot].held_out,
        "size": case.trained.shape[1],
        "tolerance": case.tolerance,
        "time_s": time.process_time() - begin,
        "truth": case.truth() if judged.verdict != "exact" else None,
    }
    return [row | asdict(judged)]


def in_parallel(work: list[Task], jobs: int, title: str, log: Path) -> None:
    """Appends rows to `log` as they come, with a bar on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProcessPoolExecutor(jobs) as pool, Progress(*columns) as progress, log.open("a", encoding="utf-8") as lines:
        bar = progress.add_task(title, total=len(work))
        for done in as_completed([pool.submit(run, task) for task in work]):
            progress.advance(bar)
            for row in done.result():
                print(json.dumps(row, default=_plain), file=lines, flush=True)


def record_all(halves: Iterable[str], jobs: int) -> None:
    """Simulates what is not in `FOLDER` yet."""
    work = [(robot, seed) for half in halves for robot in robots_of(half) for seed in RUNS[half]]
    work = [one for one in work if not (FOLDER / f"{one[0]}-{one[1]}-60.npz").exists()]
    if not work:
        return
    from rich.progress import track

    with ProcessPoolExecutor(jobs) as pool:
        for _ in track(pool.map(_record, work), "robots walk", total=len(work)):
            pass


def _record(one: tuple[str, int]) -> None:
    recorded(*one, FOLDER)


def speed(rows: int = 10_000, size: int = 300, runs: int = 3) -> dict[str, Any]:
    """Seconds that one comparison takes on one core: a vector with three faults, medians of some runs."""
    import ganglion.wiring

    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(rows, size)), axis=0) * 0.02
    trained = (np.sin(walk) + rng.normal(scale=0.05, size=walk.shape)).astype(np.float32)
    found = trained.copy()
    found[:, 30:60] = found[:, 30:60][:, rng.permutation(30)]
    found[:, 100:130] *= 0.25
    found[2:, 200:210] = found[:-2, 200:210]
    took = []
    for _ in range(runs):
        begin = time.process_time()
        report = ganglion.wiring(trained=trained, found=found)
        took.append(time.process_time() - begin)
    begin = time.process_time()
    ganglion.wiring(trained=trained, found=trained)
    return {
        "rows": rows, "size": size, "faulty_s": sorted(took)[runs // 2], "healthy_s": time.process_time() - begin,
        "kinds": [edit.kind for edit in report.edits],
    }  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=[*HALVES, "both"], default="both")
    parser.add_argument("--side", choices=["paired", "unpaired", "both"], default="both")
    parser.add_argument("--singles", type=int, default=14, help="of each fault, each half")
    parser.add_argument("--pairs", type=int, default=420, help="each half")
    parser.add_argument("--healthy", type=int, default=250, help="each half")
    parser.add_argument("--logs", type=int, default=4, help="logs of a robot and a layout, up to 4, each half")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, default=BUILD / "results.json")
    parser.add_argument("--resume", action="store_true", help="go on where a run was stopped")
    parser.add_argument("--rows", type=Path, nargs="*", help="no run: the rows of these .jsonl files, of runs before")
    parser.add_argument("--page", type=Path, help="where the results page goes; none is written without it")
    arguments = parser.parse_args()
    halves = HALVES if arguments.half == "both" else (arguments.half,)
    begin, log = time.perf_counter(), arguments.json.with_suffix(".jsonl")
    if arguments.rows is None:
        record_all(halves, arguments.jobs)
        _measure(arguments, halves, log)
    rows = _rows(arguments.rows or [log])
    results = {"rows": rows, "wall_s": time.perf_counter() - begin, "jobs": arguments.jobs, "speed": speed()}
    arguments.json.write_text(json.dumps(results, default=_plain))
    from .page import summary, write_page

    print(summary(results))
    if arguments.page is not None:
        write_page(results, arguments.page)


def _measure(arguments: argparse.Namespace, halves: Iterable[str], log: Path) -> None:
    """All rows into `log`, but for those of tasks that it has already."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if not arguments.resume:
        log.unlink(missing_ok=True)
    done = {tuple(row["task"]) for row in _rows([log])}
    work: dict[str, list[Task]] = {"paired": tasks(halves, arguments.singles, arguments.pairs, arguments.healthy)}
    if arguments.side != "paired":
        from .flights import unpaired_tasks

        work["unpaired"] = unpaired_tasks(halves, arguments.logs)
    for side, some in work.items():
        if arguments.side in (side, "both"):
            in_parallel([task for task in some if task not in done], arguments.jobs, side, log)


def _rows(logs: Iterable[Path]) -> list[dict[str, Any]]:
    """In an order that does not depend on who was ready first."""
    rows = [json.loads(line) for path in logs if path.exists() for line in path.read_text().splitlines()]
    return sorted(
        rows, key=lambda row: (row["side"], row["half"], row["what"], row["seed"], row["label"], row["robot"])
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)


if __name__ == "__main__":
    main()
