"""make policy-table: holds policies against other people's code, times their steps, and writes docs/policy_table.md."""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import platform
import re
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before NumPy and torch: steps are small.

from . import measure, page
from .rows import Row, version

BUILD = Path("build/policy-table")

logging.getLogger("jax2onnx").setLevel(logging.CRITICAL)  # it logs which of its own examples it cannot import


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/policy_table.md"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; times are measured by one alone")
    parser.add_argument("--only", help="a pattern: the rows whose name it is found in; nothing is written")
    parser.add_argument("--go-on", action="store_true", help="keep the rows that the last run measured; times are new")
    given = parser.parse_args()
    begin = time.monotonic()
    rows = _measured(given.jobs, given.only, anew=not given.go_on)
    load = os.getloadavg()[0]
    for section in page.SECTIONS:
        measure.time_steps(row for row in rows if row.section == section.SECTION)
    facts = {"machine": _machine(load), "steps": f"{measure.STEPS:,}", "rows": str(measure.ROWS)}
    text = page.page(rows, facts)
    if given.only:
        print(text)
    else:
        given.page.write_text(text, encoding="utf-8")
    print(f"{len(rows)} rows in {time.monotonic() - begin:.0f} s")


def _measured(jobs: int, only: str | None, *, anew: bool) -> list[Row]:
    tasks = [
        (number, name)
        for number, section in enumerate(page.SECTIONS)
        for name in section.names()
        if only is None or re.search(only, name)
    ]
    if anew:
        for task in tasks:
            shutil.rmtree(_folder(*task), ignore_errors=True)
    with ProcessPoolExecutor(jobs) as pool:
        rows = []
        for row in pool.map(_row, tasks):
            print(f"{row.section}: {row.name}", flush=True)
            rows.append(row)
    return rows


def _folder(number: int, name: str) -> Path:
    return (BUILD / str(number) / re.sub(r"\W+", "_", name)).absolute()


def _row(task: tuple[int, str]) -> Row:
    number, name = task
    folder = _folder(number, name)
    kept = folder / "row.pickle"
    if kept.is_file():
        found: Row = pickle.loads(kept.read_bytes())
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    row = page.SECTIONS[number].measured(name, folder)
    kept.write_bytes(pickle.dumps(row))
    return row


def _machine(load: float) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    packages = ", ".join(version(name) for name in ("ganglion", "torch", "onnxruntime", "numpy"))
    return (
        f"{time.strftime('%Y-%m-%d')}; {model or platform.machine()}, {os.cpu_count()} cores, load average "
        f"{load:.1f} when the times were measured; {packages}."
    )


if __name__ == "__main__":
    main()
