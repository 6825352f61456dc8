"""The programs that come with the package: ganglion-run and ganglion-bench."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ganglion.runtime import engines
from ganglion.runtime.libtorch_build import package_data
from ganglion.verify import bench

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    libraries = [word for info in engines() if info.library for word in (f"--{info.name}", str(info.library))]
    command = [str(package_data() / "bin" / name), *libraries, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["rsl_rl_lstm.onnx", "rsl_rl_gru.onnx", "rsl_rl_lstm.pt"])
def test_run_replays_a_recording(tmp_path: Path, name: str) -> None:
    recorded = np.loadtxt(ARTIFACTS / f"{name.split('.')[0]}.csv", delimiter=",", skiprows=1)
    trajectory, output = tmp_path / "in.csv", tmp_path / "out.csv"
    header = "reset," + ",".join(f"obs_{i}" for i in range(5))
    np.savetxt(trajectory, recorded[:, :6], delimiter=",", header=header, comments="", fmt="%.9g")
    result = tool("ganglion-run", "--state", ARTIFACTS / name, trajectory, output)
    assert result.returncode == 0, result.stderr
    assert output.read_text().startswith("actions_0,actions_1,state_0,")
    found = np.loadtxt(output, delimiter=",", skiprows=1)
    assert np.abs(found[:, :2] - recorded[:, 6:]).max() < 1e-6
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("reset,a,b,c\n0,1,2\n", "line 2, has fewer than 4 numbers"),
        ("reset,a,b,c\n0,1,2,3\n0,1,2,3,4\n", "line 3, has more than 4 numbers"),
        ("reset,a,b,c\n0,1,x,3\n", "line 2, has something that is not a number"),
        ("reset,a,b,c\n0,1,nan,3\n", "non_finite_observation"),
    ],
)
def test_run_refuses_damaged_trajectories(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    result = tool("ganglion-run", ARTIFACTS / "lstm.onnx", tmp_path / "in.csv", tmp_path / "out.csv")
    assert result.returncode == 1
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_bench_measures_interleaved_and_counts_the_heap() -> None:
    result = tool(
        "ganglion-bench", "--json", "--steps", 200, "--rounds", 2, ARTIFACTS / "lstm.onnx", ARTIFACTS / "lstm.pt"
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert [entry["engine"] for entry in document["results"]] == ["onnxruntime", "libtorch"]
    for entry in document["results"]:
        assert entry["steps"] == 400
        assert 0 < entry["p50_us"] <= entry["p99_us"] <= entry["p999_us"] <= entry["max_us"]
        # Both libraries are known to allocate in every step; a hook that sees nothing is a broken hook.
        assert entry["allocations_per_step"] > 1
    table = tool("ganglion-bench", "--steps", 50, "--rounds", 1, ARTIFACTS / "lstm.onnx")
    assert "p99.9 us" in table.stdout and "onnxruntime" in table.stdout


def test_bench_measures_the_read_of_weights_on_one_cpu() -> None:
    cpu = min(os.sched_getaffinity(0))
    sizes = [0, 1 << 15, 1 << 22]
    floors = [word for size in sizes for word in ("--floor", size)]
    arguments = ("--steps", 200, "--rounds", 2, "--pin", cpu, *floors, ARTIFACTS / "lstm.onnx")
    result = tool("ganglion-bench", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert len(document["results"]) == 1
    assert [entry["bytes"] for entry in document["floors"]] == sizes
    assert [entry["steps"] for entry in document["floors"]] == [400] * 3
    nothing, small, large = (entry["p50_us"] for entry in document["floors"])
    # A core reads 4 MiB at a few hundred GB/s at the very most; a read that the compiler dropped would take no time.
    # The clock is off every time: nothing takes nothing.
    assert nothing < 0.02 and nothing < small < large and large > 4.0
    table = tool("ganglion-bench", *arguments)
    assert "32768 bytes read once" in table.stdout


@pytest.mark.deep
def test_bench_measures_cold_steps_loads_and_memory() -> None:
    arguments = ("--steps", 50, "--rounds", 2, "--cold", 5, "--floor", 1 << 16, ARTIFACTS / "lstm.ganglion")
    result = tool("ganglion-bench", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    [row], [floor] = document["results"], document["floors"]
    # From memory, at a few dozen GB/s at the very most, where the caches hold it at several hundred.
    assert floor["cold_p50_us"] > 1.0 and row["cold_p99_us"] >= row["cold_p50_us"] > row["p50_us"] > 0.0
    assert row["load_ms"] > 0.0 and row["resident_bytes"] % os.sysconf("SC_PAGESIZE") == 0
    assert document["scheduling"] == "SCHED_OTHER" and 0.0 < document["clock_us"] < 100.0
    assert "cold p50 us" in tool("ganglion-bench", *arguments).stdout


def test_bench_measures_what_a_recorder_adds() -> None:
    files = [ARTIFACTS / name for name in ("lstm.ganglion", "gru_batch4.ganglion")]
    # Far more steps than the recorder's ring holds: it is waited for, and nothing is dropped.
    report = bench(files, steps=25_000, rounds=2, cold=2, record=True)
    assert [(row.file, row.recorded) for row in report.results] == [
        (str(file), recorded) for recorded in (False, True) for file in files
    ]
    for row in report.results:
        assert row.steps == 50_000 and row.allocations_per_step == 0.0 and row.cold_p50_us is not None
        assert (row.load_ms is None) == row.recorded
    assert ", recorded" in tool("ganglion-bench", "--record", "--steps", 50, "--rounds", 1, *files).stdout


LIBRARY = """
#include <cstddef>
extern "C" {
extern const std::size_t bench_observation_size = 3;
extern const std::size_t bench_action_size = 2;
void bench_reset() {}
int bench_step(const float* observation, float* action) {
  action[0] = observation[0] + observation[2];
  return observation[1] == observation[1] ? 0 : 1;
}
}
"""


def test_bench_measures_a_step_of_ones_own(tmp_path: Path) -> None:
    def built(text: str, name: str) -> Path:
        (tmp_path / "step.cpp").write_text(text)
        subprocess.run(["c++", "-shared", "-fPIC", tmp_path / "step.cpp", "-o", tmp_path / name], check=True)
        return tmp_path / name

    library = built(LIBRARY, "step.so")
    report = bench([ARTIFACTS / "lstm.ganglion"], libraries=[library], steps=50, rounds=2, cold=2)
    assert [(row.file, row.engine, row.batch) for row in report.results[1:]] == [(str(library), "library", 1)]
    assert report.results[1].load_ms is None and report.results[1].cold_p50_us is not None
    without = tool("ganglion-bench", "--library", built(LIBRARY.replace("bench_step", "my_step"), "other.so"))
    assert without.returncode == 1 and "does not export bench_step" in without.stderr
    failing = tool("ganglion-bench", "--library", built(LIBRARY.replace("? 0 : 1", "? 7 : 1"), "failing.so"))
    assert failing.returncode == 1 and "a step answered 7" in failing.stderr
    missing = tool("ganglion-bench", "--library", tmp_path / "missing.so")
    assert missing.returncode == 1 and "cannot be opened" in missing.stderr


def test_bench_refuses_a_cpu_that_is_not_there() -> None:
    result = tool("ganglion-bench", "--pin", 100000, ARTIFACTS / "lstm.onnx")
    assert result.returncode == 1
    assert "CPU 100000" in result.stderr


def test_wrong_command_lines_exit_with_2() -> None:
    assert tool("ganglion-bench").returncode == 2
    assert tool("ganglion-bench", "--steps", "many", "x.onnx").returncode == 2
    assert tool("ganglion-run", "x.onnx").returncode == 2
    assert tool("ganglion-bench", ARTIFACTS / "missing.onnx").returncode == 1
