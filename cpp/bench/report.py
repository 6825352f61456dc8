"""What `run.py` found, as Markdown and as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

FLOAT32, FLOAT16, INT8, HEADER = "native float32", "native float16", "native int8", "header"
ORT, TORCH, FROZEN = "ONNX Runtime", "LibTorch", "LibTorch frozen"
CONTENDERS = (FLOAT32, FLOAT16, INT8, HEADER, ORT, TORCH, FROZEN)
COLOURS = {
    FLOAT32: "#1b6ca8",
    FLOAT16: "#4d9bd1",
    INT8: "#8fc7ec",
    HEADER: "#5a9e6f",
    ORT: "#d98324",
    TORCH: "#b04a5a",
    FROZEN: "#d08a95",
}


@dataclass(frozen=True)
class Target:
    """What the design asks of nets of one size, in medians of one run.

    Attributes:
        float32: ONNX Runtime over native float32, at least.
        floor: native float32 over the read of its weights, at most.
        int8: ONNX Runtime over native int8, at least.
        load: a load of native float32 from Python, in milliseconds, at most.
    """

    float32: float
    floor: float
    int8: float
    load: float


TARGETS = {
    "small": Target(7.0, 1.4, 10.0, 20.0),
    "medium": Target(2.4, 1.2, 8.0, 20.0),
    "large": Target(1.0, 1.05, 8.0, 50.0),
}
HEADER_OVER_ENGINE = 1.3
"""A header may take so many times the engine's step. The engine takes the widest vectors, the header AVX2."""
RECORDER_US, RECORDER_FLOATS = 0.2, 100
"""A flight recorder may add so much to a step of so many floats."""
TINY_FLOOR_US = 0.2
"""The two smallest nets may be so far above the floor."""


@dataclass(frozen=True)
class Verdict:
    """One target and what was reached."""

    what: str
    reached: str
    asked: str
    ok: bool


def verdicts(net: dict[str, Any]) -> list[Verdict]:
    """Compares one net with its targets."""
    target = TARGETS[net["group"]]
    p50 = {name: row["p50_us"] for name, row in net["contenders"].items()}
    tail = {name: row["p999_us"] for name, row in net["contenders"].items()}
    floor = net["floors"][FLOAT32]["p50_us"]
    against_ort, against_floor, small = p50[ORT] / p50[FLOAT32], p50[FLOAT32] / floor, p50[ORT] / p50[INT8]
    if net["tiny"]:
        above = p50[FLOAT32] - floor
        of_floor = Verdict(
            "floor", f"{against_floor:.2f}x, {above:.2f} us above", f"+{TINY_FLOOR_US} us", above <= TINY_FLOOR_US
        )
    else:
        of_floor = Verdict("floor", f"{against_floor:.2f}x", f"{target.floor:g}x", against_floor <= target.floor)
    header, load = p50[HEADER] / p50[FLOAT32], net["python"][FLOAT32]["load_ms"]
    batches = [times[ORT] / times[FLOAT32] for times in net["batches"].values()]
    return [
        Verdict("float32", f"{against_ort:.1f}x", f"{target.float32:g}x", against_ort >= target.float32),
        of_floor,
        Verdict("int8", f"{small:.1f}x", f"{target.int8:g}x", small >= target.int8),
        Verdict("tail", f"{tail[FLOAT32]:.1f} / {tail[ORT]:.1f} us", "not above", tail[FLOAT32] <= tail[ORT]),
        Verdict("batches", " and ".join(f"{times:.1f}x" for times in batches), "1x", min(batches) >= 1.0),
        Verdict("header", f"{header:.2f}x", f"{HEADER_OVER_ENGINE:g}x", header <= HEADER_OVER_ENGINE),
        Verdict("load", f"{load:.1f} ms", f"{target.load:g} ms", load <= target.load),
    ]


def markdown(document: dict[str, Any]) -> str:
    """Returns the text of RESULTS.md."""
    machine, nets = document["machine"], document["nets"]
    clock = sorted(net["clock_us"] for net in nets)[len(nets) // 2]
    stolen = "" if machine["stolen"] is None else f", {machine['stolen']:.1%} of the time stolen by the hypervisor"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        "# Latency of a step",
        "Written by `make bench`; do not edit. Machine: "
        f"{machine['cpu']}{' (a virtual machine)' if machine['virtual'] else ''}, {machine['cores']} cores, "
        f"{', '.join(machine['caches'])}; {', '.join(machine['features'])}; {machine['kernel']}, {machine['libc']}; "
        f"{versions}; {machine['date']}. Load average at the start {machine['load_average']:.1f}{stolen}.",
        "Every net is drawn from a seed, has 12 actions and runs at batch 1 on one thread, pinned to one CPU "
        f"({', '.join(sorted({net['scheduling'] for net in nets}))}). Files are written at the product's defaults. The "
        "contenders of a net take turns in one process, "
        f"{document['rounds']} rounds; each step is timed on its own, and what the clock itself takes, "
        f"{clock * 1000:.0f} ns, is off every time. *Floor*: the float32 weights of the net, read once from end to end "
        "with the widest loads of the CPU, in the same rounds. *Header*: `policy.hpp` at -O2 with -mavx2 -mfma. "
        "*LibTorch frozen*: the functional step after `torch.jit.freeze`. *: weights that the product refuses at its "
        "default tolerance, see below. Only times within a row were measured together.",
        "## Median of a step, microseconds",
        _medians(nets, "p50_us"),
        "## The same, cold",
        "Before every step, twice as much as the largest cache holds is read: a loop that runs once in a millisecond "
        "finds its weights, its code and its state in memory when other programs ran in between.",
        _medians(nets, "cold_p50_us"),
        "## In batches, microseconds a row",
        _table(
            ["net", "batch", *next(iter(nets[0]["batches"].values()))],
            [
                [net["title"], str(batch), *(_marked(net, name, time) for name, time in times.items())]
                for net in nets
                for batch, times in net["batches"].items()
            ],
        ),
        "## Against the targets",
        "Ratios of medians; what is asked for stands in brackets. p99.9: of native float32 and of ONNX Runtime. "
        f"Batches: ONNX Runtime over native float32 at {' and '.join(map(str, nets[0]['batches']))} rows. "
        "Load: native float32 from Python.",
        _table(
            [
                "net",
                "float32 faster than ONNX Runtime",
                "float32 over floor",
                "int8 faster than ONNX Runtime",
                "p99.9",
                "batches",
                "header over float32",
                "load",
            ],
            [[net["title"], *(_verdict(verdict) for verdict in verdicts(net))] for net in nets],
        ),
        "## Load and memory",
        "A load reads and checks the file, packs the weights, and replays the golden run. Milliseconds, medians of "
        "five; what stays in memory, by a second load in one process. *Python*: `ganglion.load`, and "
        "`step(observation, out=action)` in microseconds.",
        _table(
            ["net", "contender", "weights stored", "load", "in memory", "load, Python", "step, Python"],
            [
                [net["title"], name, _size(net["weight_bytes"][name]) if name in net["weight_bytes"] else "-"]
                + [f"{row['load_ms']:.1f}", _size(row["resident_bytes"])]
                + (
                    [f"{net['python'][name]['load_ms']:.1f}", _time(net["python"][name]["step_us"])]
                    if name in net["python"]
                    else ["-", "-"]
                )
                for net in nets
                for name, row in net["contenders"].items()
                if row["load_ms"] is not None
            ],
        ),
        "## With a flight recorder attached, microseconds",
        "The same file twice in the same rounds, native float32; the recorder's thread is not kept to the CPU of the "
        "steps, and is waited for between rounds. *Floats*: of the observation and the outputs, which are recorded "
        f"with every step. Asked for is {RECORDER_US:g} us at most for {RECORDER_FLOATS} floats.",
        _table(
            ["net", "floats", "p50", "recorded", "added", "p99.9", "recorded", "allocations"],
            [[net["title"], *_recorded(**net["recorded"])] for net in nets],
        ),
        "## Percentiles, microseconds, and heap allocations of a step",
        _table(
            ["net", "contender", "p50", "p99", "p99.9", "max", "allocations", "steps"],
            [
                [net["title"], name]
                + [_time(row[key]) for key in ("p50_us", "p99_us", "p999_us", "max_us")]
                + [f"{row['allocations_per_step']:g}", f"{row['steps']:,}"]
                for net in nets
                for name, row in net["contenders"].items()
            ],
        ),
        "## Smaller weights",
        "Weights lie in memory as they are stored, on every instruction set. *Error*: largest |difference| of an "
        "action from the float32 weights over the golden trajectory; actions are of order 1. Asked for is the default "
        "of `ganglion export`, 0.01; where it is missed, the export refuses, and the file was written with a wider "
        "tolerance to be timed all the same. *Floor*: the same net's smaller weights read once.",
        _table(
            ["net", "contender", "scheme", "weights", "error", "at the default", "median", "floor"],
            [
                [
                    net["title"],
                    name,
                    net["stored"][name]["weights"],
                    _size(net["weight_bytes"][name]),
                    net["stored"][name]["weights_error"],
                    "**refused**" if name in net["refused"] else "written",
                    _time(net["contenders"][name]["p50_us"]),
                    _time(net["floors"][name]["p50_us"]),
                ]
                for net in nets
                for name in (FLOAT16, INT8)
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _recorded(floats: int, plain: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    added = recorded["p50_us"] - plain["p50_us"]
    return [
        str(floats),
        *map(_time, (plain["p50_us"], recorded["p50_us"])),
        f"{'**missed** ' if added > RECORDER_US and floats <= RECORDER_FLOATS else ''}{added:+.2f}",
        *map(_time, (plain["p999_us"], recorded["p999_us"])),
        f"{recorded['allocations_per_step']:g}",
    ]


def plot(document: dict[str, Any], path: Path) -> None:
    """Draws medians as bars, the 99.9th percentile as a whisker and the floor as a line, one panel per net."""
    nets = document["nets"]
    columns = 2 if len(nets) > 1 else 1
    rows = math.ceil(len(nets) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.0 * columns, 2.1 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(nets) :]:
        axis.axis("off")
    for axis, net in zip(axes.flat, nets, strict=False):
        names = list(net["contenders"])
        p50 = [net["contenders"][name]["p50_us"] for name in names]
        tail = [net["contenders"][name]["p999_us"] - median for name, median in zip(names, p50, strict=True)]
        axis.barh(names, p50, color=[COLOURS[name] for name in names], height=0.7)
        axis.errorbar(
            p50, names, xerr=([0.0] * len(names), tail), fmt="none", ecolor="#555555", elinewidth=1, capsize=2
        )
        axis.axvline(net["floors"][FLOAT32]["p50_us"], color="black", linewidth=1, linestyle=":")
        axis.set_xscale("log")
        axis.invert_yaxis()
        axis.set_title(f"{net['title']} ({_size(net['weight_bytes'][FLOAT32])})", fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        f"microseconds a step, batch 1, {document['machine']['cpu']}: bar = median, whisker = p99.9, "
        "dotted = float32 weights read once",
        fontsize=9,
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _medians(nets: list[dict[str, Any]], key: str) -> str:
    """A row of medians for each net, contender by contender."""
    return _table(
        ["net", "weights", *CONTENDERS, "floor"],
        [
            [net["title"], _size(net["weight_bytes"][FLOAT32])]
            + [_marked(net, name, net["contenders"][name][key]) for name in CONTENDERS]
            + [_time(net["floors"][FLOAT32][key])]
            for net in nets
        ],
    )


def _marked(net: dict[str, Any], name: str, microseconds: float) -> str:
    return _time(microseconds) + ("*" if name in net["refused"] else "")


def _table(headings: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _verdict(verdict: Verdict) -> str:
    return f"{'' if verdict.ok else '**missed** '}{verdict.reached} ({verdict.asked})"


def _time(microseconds: float) -> str:
    digits = 2 if microseconds < 10 else 1 if microseconds < 100 else 0
    return f"{microseconds:.{digits}f}"


def _size(size: int) -> str:
    return f"{size / 1024:.1f} KiB" if size < 1 << 17 else f"{size / (1 << 20):.2f} MiB"
