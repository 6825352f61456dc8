"""The table of the bench, for a terminal and for docs/wiring_bench.md."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .robots import ROBOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Row = dict[str, Any]
COLUMNS = ("exact", "part", "unexplained", "wrong", "silent")


def summary(results: dict[str, Any]) -> str:
    """A few lines with every goal and what was reached."""
    lines = []
    for side in ("paired", "unpaired"):
        for half in ("development", "held_out"):
            rows = [row for row in results["rows"] if row["side"] == side and row["half"] == half]
            for what in ("single", "pair", "healthy"):
                some = [row for row in rows if row["what"] == what]
                if some:
                    lines.append(f"{side} {half} {what}: {_counts(some)} of {len(some)}")
    lines.append(f"{results['wall_s']:.0f} s with {results['jobs']} processes; speed {results['speed']}")
    return "\n".join(lines)


def _counts(rows: list[Row]) -> str:
    kinds = (*COLUMNS, "raised")
    counted = {kind: sum(row["verdict"] == kind for row in rows) for kind in kinds}
    return ", ".join(
        f"{kind} {number} ({100 * number / len(rows):.1f} %)" for kind, number in counted.items() if number
    )


def share(rows: list[Row], verdict: str = "exact") -> str:
    """A percentage and how many, or a dash."""
    if not rows:
        return "-"
    number = sum(row["verdict"] == verdict for row in rows)
    return f"{100 * number / len(rows):.1f} %"


def _table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def by_fault(rows: list[Row]) -> str:
    """Single faults of one side, development and held out."""
    body = []
    for name in dict.fromkeys(row["label"] for row in rows if row["what"] == "single"):
        own = [row for row in rows if row["label"] == name and row["what"] == "single"]
        dev, held = ([row for row in own if row["half"] == half] for half in ("development", "held_out"))
        restored = [row for row in own if row["restored"] is not None]
        right = f"{100 * sum(row['restored'] for row in restored) / len(restored):.0f} %" if restored else "-"
        rest = [
            str(sum(row["verdict"] in kinds for row in own))
            for kinds in (("part",), ("unexplained",), ("wrong", "raised"), ("silent",))
        ]
        body.append((name, str(len(own)), share(dev), share(held), *rest, right))
    return _table(
        (
            "fault",
            "cases",
            "exact, development",
            "exact, held out",
            "in part",
            "unexplained",
            "wrong",
            "not seen",
            "put right",
        ),
        body,
    )


def totals(rows: list[Row], whats: dict[str, str]) -> str:
    """Exact, in part and so on for each half."""
    body = []
    for what, title in whats.items():
        for half, words in (("development", "development"), ("held_out", "held out")):
            some = [row for row in rows if row["what"] == what and row["half"] == half]
            if some:
                wrong = sum(row["verdict"] in ("wrong", "raised") for row in some)
                body.append(
                    (
                        f"{title}, {words}",
                        str(len(some)),
                        *(share(some, kind) for kind in ("exact", "part", "unexplained")),
                        f"{100 * wrong / len(some):.1f} %",
                        share(some, "silent"),
                    )
                )
    return _table(("", "cases", "exact", "in part", "unexplained", "wrong", "not seen"), body)


def by_robot(rows: list[Row]) -> str:
    """Faulty cases by robot."""
    body = []
    for name, robot in ROBOTS.items():
        some = [row for row in rows if row["robot"] == name and row["what"] != "healthy"]
        if some:
            body.append((robot.task + (" (held out)" if robot.held_out else ""), str(len(some)), share(some)))
    return _table(("robot", "cases", "exact"), body)


def pairs_by_fault(rows: list[Row]) -> str:
    """In which share of its pairs, and with which faults, a fault is not named exactly: the ten worst."""
    pairs = [row for row in rows if row["what"] == "pair"]
    names = dict.fromkeys(name for row in pairs for name in row["faults"])
    ranked: list[tuple[float, str, int]] = []
    for name in names:
        own = [row for row in pairs if name in row["faults"]]
        ranked.append((sum(row["verdict"] == "exact" for row in own) / len(own), name, len(own)))
    return _table(
        ("fault of a pair", "pairs", "exact"),
        ((name, str(count), f"{100 * good:.0f} %") for good, name, count in sorted(ranked)[:10]),
    )


def times(rows: list[Row]) -> str:
    """How long comparisons took."""
    took = np.array([row["time_s"] for row in rows]) if rows else np.zeros(1)
    return f"median {np.median(took):.2f} s, 95 % under {np.quantile(took, 0.95):.1f} s, longest {took.max():.1f} s"


def write_page(results: dict[str, Any], path: Path) -> None:
    """docs/wiring_bench.md, all but its weak spots: words between two marks are kept from the page before."""
    paired = [row for row in results["rows"] if row["side"] == "paired"]
    unpaired = [row for row in results["rows"] if row["side"] == "unpaired"]
    whats = {"single": "one fault", "pair": "two faults", "healthy": "healthy (exact: no alarm)"}
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    words = old.split(BEGIN)[1].split(END)[0] if BEGIN in old else "\n"
    blocks: dict[str, str | Callable[[], str]] = {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": f"{_cpu()}, {sum(row['time_s'] for row in results['rows']) / 60:.0f} minutes of one core inside of "
        "`ganglion.wiring` and the judge",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, "
        + ", ".join(f"{name} {_version(name)}" for name in ("mujoco", "gymnasium", "dm-control", "mjlab")),
        "paired_totals": totals(paired, whats),
        "paired_faults": by_fault(paired),
        "paired_pairs": pairs_by_fault(paired),
        "paired_robots": by_robot(paired),
        "paired_times": times(paired),
        "speed": "{rows:,} rows of {size} elements: {faulty_s:.2f} s with three faults, {healthy_s:.2f} s equal".format(
            **results["speed"]
        ),
        "unpaired_totals": totals(unpaired, whats) if unpaired else "Not run.",
        "unpaired_faults": by_fault(unpaired) if unpaired else "",
        "unpaired_robots": by_robot(unpaired) if unpaired else "",
        "unpaired_times": times(unpaired),
        "words": BEGIN + words + END,
    }
    template = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    for name, text in blocks.items():
        template = template.replace("{{" + name + "}}", str(text))
    path.write_text(template, encoding="utf-8")


BEGIN, END = "<!-- words -->", "<!-- end of words -->"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()
