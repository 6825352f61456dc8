"""`make bench`: how long a step takes, native against ONNX Runtime, LibTorch and a single read of the weights.

Builds the nets of `nets.py` at the product's defaults, measures each one in one process with all contenders in
interleaved rounds on one CPU, hot, cold and in batches, and writes `latency.json`, `latency.png` and `RESULTS.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import nets
import numpy as np
import report
import torch

import ganglion
from ganglion.runtime import cpu_features
from ganglion.verify import Latency, WeightFloor, bench

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROUNDS = 50
COLD = 4
"""Steps a round that find nothing in the caches."""
BATCHES = (8, 64)
LOADS = 5


def main() -> None:
    """Builds, measures, writes."""
    arguments = _arguments()
    torch.set_num_threads(1)
    arguments.nets.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    chosen = [net for net in nets.NETS if arguments.only is None or net.key in arguments.only]
    cpu = max(os.sched_getaffinity(0))
    document: dict[str, Any] = {"machine": _machine(cpu), "rounds": arguments.rounds, "nets": []}
    busy = _cpu_ticks(cpu)
    for net in chosen:
        begin = time.monotonic()
        refused = _built(net, arguments.nets, arguments.keep)
        built = time.monotonic()
        document["nets"].append(_measured(net, arguments.nets, arguments.rounds, cpu) | {"refused": refused})
        print(
            f"{net.title}: files in {built - begin:.0f} s, measured in {time.monotonic() - built:.0f} s",
            file=sys.stderr,
        )
    # Nothing is done about noise from other programs but to say how much there was.
    document["machine"]["stolen"] = _stolen(busy, _cpu_ticks(cpu))
    (arguments.out / "latency.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    report.plot(document, arguments.out / "latency.png")
    text = report.markdown(document)
    arguments.results.write_text(text, encoding="utf-8")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=Path, default=ROOT / "build" / "bench", help="folder of the nets' files")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "bench", help="folder of latency.json and latency.png"
    )
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md", help="the summary")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in each round every contender has its turn")
    parser.add_argument("--only", action="append", choices=[net.key for net in nets.NETS], help="only this net")
    parser.add_argument("--keep", action="store_true", help="measure the files that are there")
    return parser.parse_args()


def _built(net: nets.Net, folder: Path, keep: bool) -> dict[str, str]:
    """Writes the files of a net; returns which smaller weights the product refuses at its default, by contender."""
    said = folder / f"{net.key}.refused.json"
    if not (keep and said.is_file() and all(path.is_file() for path in nets.files(net, folder).values())):
        said.unlink(missing_ok=True)
        said.write_text(json.dumps(nets.build(net, folder)), encoding="utf-8")
    refused: dict[str, str] = json.loads(said.read_text(encoding="utf-8"))
    return refused


def _measured(net: nets.Net, folder: Path, rounds: int, cpu: int) -> dict[str, Any]:
    paths = nets.files(net, folder)
    library = paths.pop(nets.HEADER)
    sizes = {name: _weight_bytes(paths[name]) for name in nets.NATIVE}
    options: dict[str, Any] = {"rounds": rounds, "pin": cpu, "fifo": True, "observation": {"obs": net.observations}}
    found = bench(
        list(paths.values()),
        libraries=[library],
        steps=net.steps,
        cold=COLD,
        floors=list(sizes.values()),
        **options,
    )
    contenders = dict(zip([*paths, nets.HEADER], map(_times, found.results), strict=True))
    return {
        "key": net.key,
        "title": net.title,
        "group": net.group,
        "tiny": net.tiny,
        "weight_bytes": sizes,
        "scheduling": found.scheduling,
        "clock_us": found.clock_us,
        "contenders": contenders,
        "floors": dict(zip(sizes, map(_times, found.floors), strict=True)),
        "recorded": _recorded(paths[report.FLOAT32], net.steps, options),
        "batches": {batch: _in_batches(net, folder, batch, options) for batch in BATCHES},
        "stored": {name: _stored(paths[name]) for name in nets.NATIVE},
        "python": {name: _in_python(paths[name], net.steps) for name in nets.NATIVE},
    }


def _recorded(path: Path, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    """A step with a flight recorder attached and one without, in the same rounds."""
    plain, recorded = map(_times, bench([path], steps=steps, record=True, **options).results)
    contract = ganglion.inspect(path)
    floats = contract.observation_size + sum(output.size for output in contract.outputs)
    return {"floats": floats, "plain": plain, "recorded": recorded}


def _in_batches(net: nets.Net, folder: Path, batch: int, options: dict[str, Any]) -> dict[str, float]:
    """Median time of a row in a batch, in microseconds, by contender."""
    paths = nets.files_of_rows(net, folder)
    steps, rounds = max(10, net.steps // batch), max(5, options["rounds"] // 5)
    found = bench(list(paths.values()), batch=batch, steps=steps, **options | {"rounds": rounds})
    return {name: row.p50_us / batch for name, row in zip(paths, found.results, strict=True)}


def _stored(path: Path) -> dict[str, str]:
    """How weights lie in the file and in memory, which is the same, and the error that this makes."""
    provenance = ganglion.inspect(path).provenance
    return {key: provenance[key] for key in ("weights", "weights_error") if key in provenance}


def _in_python(path: Path, steps: int) -> dict[str, float]:
    """Median time of a load, in milliseconds, and of a step into an array that is there, in microseconds."""
    loads, times = [], []
    for _ in range(LOADS):
        begin = time.perf_counter_ns()
        pilot = ganglion.load(path)
        loads.append((time.perf_counter_ns() - begin) / 1e6)
    observation = np.zeros(pilot.contract.observation_size, np.float32)
    action = np.zeros(pilot.contract.action_size, np.float32)
    for _ in range(steps):
        begin = time.perf_counter_ns()
        pilot.step(observation, out=action)
        times.append((time.perf_counter_ns() - begin) / 1e3)
    return {"load_ms": statistics.median(loads), "step_us": statistics.median(times)}


def _times(row: Latency | WeightFloor) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(row).items() if key not in ("file", "rounds")}


def _weight_bytes(path: Path) -> int:
    """Bytes of all tensors of a `.ganglion` file: what follows its header (FORMAT.md)."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return path.stat().st_size - 8 - header


def _machine(cpu: int) -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    virtual = any(line.startswith("flags") and " hypervisor " in f"{line} " for line in info.splitlines())
    versions = {name: importlib.metadata.version(name) for name in ("ganglion", "onnxruntime", "torch")}
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "virtual": virtual,
        "cores": os.cpu_count(),
        "pinned_to": cpu,
        "features": cpu_features(),
        "caches": _caches(cpu),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "versions": versions,
        "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
    }


def _caches(cpu: int) -> list[str]:
    """Levels, kinds and sizes of the caches that a CPU can use, as the kernel names them."""
    caches = []
    for folder in sorted(Path(f"/sys/devices/system/cpu/cpu{cpu}/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        caches.append(f"L{level} {'' if kind == 'Unified' else kind.lower() + ' '}{size}")
    return caches


def _cpu_ticks(cpu: int) -> list[int]:
    """Ticks of a CPU by what it did, in the order of /proc/stat; empty where there is no such file."""
    path = Path("/proc/stat")
    lines = path.read_text().splitlines() if path.is_file() else []
    return [int(ticks) for line in lines if line.startswith(f"cpu{cpu} ") for ticks in line.split()[1:9]]


def _stolen(before: list[int], after: list[int]) -> float | None:
    """Share of the time in which the hypervisor ran something else on this CPU."""
    spent = [end - begin for begin, end in zip(before, after, strict=True)]
    return spent[7] / sum(spent) if sum(spent) > 0 else None


if __name__ == "__main__":
    main()
