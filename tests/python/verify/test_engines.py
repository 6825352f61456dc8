"""Every engine that opens a file runs it, and what did not run, or was compared with itself alone, is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import ganglion
from ganglion.errors import ArtifactError, GanglionError
from ganglion.verify import verify
from ganglion.verify.html import render_html

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # runs every engine

torch.set_num_threads(1)


def network(gain: float = 1.0) -> torch.nn.Sequential:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(45, 96), torch.nn.ELU(), torch.nn.Linear(96, 6))
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight.mul_(gain)
    return net


def to_onnx(module: torch.nn.Module, path: Path, *inputs: torch.Tensor, **options: Any) -> Path:
    torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17, **options)
    return path


def plain_onnx(path: Path, *, rows: int | None = None, module: torch.nn.Module | None = None) -> Path:
    axes = {} if rows else {"obs": {0: "batch"}, "actions": {0: "batch"}}
    names = {"input_names": ["obs"], "output_names": ["actions"], "dynamic_axes": axes}
    return to_onnx(module or network(), path, torch.zeros(rows or 1, 45), **names)


def plain_torchscript(path: Path, gain: float = 1.0) -> Path:
    torch.jit.trace(network(gain), torch.zeros(1, 45)).save(str(path))
    return path


def ran(report: Any) -> list[str]:
    return [comparison.engine for comparison in report.comparisons]


@pytest.mark.parametrize(
    ("make", "engines"),
    [
        (plain_onnx, ["C++ onnxruntime", "C++ native", "C++ onnxruntime, 1 row"]),
        (plain_torchscript, ["C++ libtorch", "C++ native", "C++ libtorch, 1 row"]),
    ],
)
def test_a_file_of_others_runs_on_every_engine(make: Any, engines: list[str], tmp_path: Path) -> None:
    report = verify(make(tmp_path / f"policy.{'onnx' if make is plain_onnx else 'pt'}"), steps=60)
    assert report.ok and report.independent
    assert ran(report) == engines
    assert report.not_run == ()


class Fancy(torch.nn.Module):
    """The native engine has no `det`."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + torch.det(x[:, :4].reshape(-1, 2, 2)).unsqueeze(1)


def test_an_engine_that_does_not_know_the_graph_is_named_with_the_reason(tmp_path: Path) -> None:
    path = plain_onnx(tmp_path / "policy.onnx", rows=1, module=Fancy())
    report = verify(path, steps=30)
    (left_out,) = report.not_run
    assert left_out.engine == "C++ native" and "Det" in left_out.reason
    assert json.loads(report.to_json())["not_run"] == [{"engine": "C++ native", "reason": left_out.reason}]
    assert "Det" in render_html(report)
    # What is left is one engine from two languages: that is said, too.
    assert report.ok and not report.independent
    assert report.verdict.startswith("nothing was compared: ONNX Runtime ran on both sides")
    assert "C++ native did not run" in report.verdict and "Det" in report.verdict
    with pytest.raises(GanglionError, match="Det"):
        verify(path, steps=30, engines=["native"])
    assert not verify(plain_onnx(tmp_path / "plain.onnx"), steps=30, engines=["onnxruntime"]).independent
    assert verify(path, fancy_torchscript(path), steps=30).independent


def fancy_torchscript(path: Path) -> str:
    """Another file of the same policy."""
    other = path.with_suffix(".pt")
    torch.jit.trace(Fancy(), torch.zeros(1, 45)).save(str(other))
    return str(other)


class TracedFor(torch.nn.Module):
    """A step that was traced with a number of rows, behind axes that are called dynamic."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.lstm = torch.nn.LSTM(6, 4, batch_first=True)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, obs: Any, h: Any, c: Any) -> Any:
        y, (h, c) = self.lstm(obs.reshape(self.rows, -1, 6), (h.unsqueeze(0), c.unsqueeze(0)))
        return self.head(y.reshape(-1, 4)), h.squeeze(0), c.squeeze(0)


@pytest.mark.parametrize("rows", [3, 4])
def test_a_graph_for_so_many_rows_is_not_called_good_for_others(rows: int, tmp_path: Path) -> None:
    inputs = (torch.zeros(rows, 6), torch.zeros(rows, 4), torch.zeros(rows, 4))
    names = ["obs", "h_in", "c_in"]
    path = to_onnx(
        TracedFor(rows),
        tmp_path / "p.onnx",
        *inputs,
        input_names=names,
        output_names=["actions", "h_out", "c_out"],
        dynamic_axes={name: {0: "batch"} for name in names},
    )
    with pytest.raises(GanglionError, match=f"with {rows} rows only"):
        ganglion.load(path)
    said = f"{rows} rows only: load(..., batch={rows})"
    try:
        report = verify(path, steps=40)
    except GanglionError as error:
        assert rows != 4 and said in str(error)
    else:
        assert rows == 4 and not report.ok
        assert said in report.verdict and said in render_html(report)
    assert verify(path, steps=40, batch=rows).ok


@pytest.mark.sampled(3)
@pytest.mark.parametrize("gain", [1.0, 6.0])
@pytest.mark.parametrize("rows", [1, 2, 4, 7])
def test_rows_do_not_make_libtorch_unequal_to_libtorch(gain: float, rows: int, tmp_path: Path) -> None:
    report = verify(plain_torchscript(tmp_path / "policy.pt", gain), steps=200, batch=rows)
    assert report.ok, report.verdict


# references -----------------------------------------------------------------------------------------------------


def test_a_file_is_compared_with_other_files_of_the_policy(tmp_path: Path) -> None:
    path, other = plain_onnx(tmp_path / "policy.onnx"), plain_torchscript(tmp_path / "policy.pt")
    ganglion.compile(path, tmp_path / "policy.ganglion")
    for given in (other, str(other), tmp_path / "policy.ganglion"):
        report = verify(path, given, steps=50)
        assert report.ok and report.independent
        assert report.reference.name.startswith(f"{given}, ") and report.reference.name in report.verdict
        assert ran(report)[0] == "Python onnxruntime"
    report = verify(path, {"traced": other, "compiled": tmp_path / "policy.ganglion"}, steps=50)
    assert report.ok and report.reference.name == "traced, torch.jit forward()"
    assert ran(report)[0] == "compiled, Python program"
    assert verify(other, path, steps=50, batch=1).ok


def test_another_policy_is_found_whichever_file_it_is_in(tmp_path: Path) -> None:
    path = plain_onnx(tmp_path / "policy.onnx")
    report = verify(path, plain_torchscript(tmp_path / "other.pt", gain=1.01), steps=20)
    assert not report.ok and report.first_divergence is not None and report.first_divergence.step == 0
    report = verify(path, [plain_torchscript(tmp_path / "policy.pt"), tmp_path / "other.pt"], steps=20)
    assert not report.ok and [comparison.ok for comparison in report.comparisons][:2] == [False, True]
    assert str(tmp_path / "other.pt") in report.verdict


def test_a_reference_for_one_row_steps_row_after_row_and_one_for_more_says_how_many(tmp_path: Path) -> None:
    path = plain_onnx(tmp_path / "policy.onnx")
    assert verify(path, plain_onnx(tmp_path / "one.onnx", rows=1), steps=20).trajectory.batch == 4
    three = plain_onnx(tmp_path / "three.onnx", rows=3)
    assert verify(path, three, steps=20).trajectory.batch == 3
    with pytest.raises(ValueError, match="exported for batch 3"):
        verify(path, three, steps=20, batch=2)


def test_the_file_itself_is_no_reference(tmp_path: Path) -> None:
    path, copy = plain_onnx(tmp_path / "policy.onnx"), tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    for given in (path, copy):
        with pytest.raises(ArtifactError, match=r"nothing was compared: .* byte for byte"):
            verify(path, given, steps=20)


def test_a_reference_of_another_size_is_refused(tmp_path: Path) -> None:
    path = plain_onnx(tmp_path / "policy.onnx")
    names = {"input_names": ["obs"], "output_names": ["actions"]}
    other = to_onnx(torch.nn.Linear(7, 6), tmp_path / "other.onnx", torch.zeros(1, 7), **names)
    with pytest.raises(ArtifactError, match="observation has 7 elements there and 45 in the file"):
        verify(path, other)


def test_a_module_of_torch_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not Sequential"):
        verify(plain_onnx(tmp_path / "policy.onnx"), network())


def test_a_state_that_is_laid_out_otherwise_is_not_compared(tmp_path: Path) -> None:
    cell = torch.nn.GRUCell(5, 4)

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.register = cell, True

        def forward(self, obs: Any, h: Any) -> Any:
            after = self.cell(obs, h)
            return after[:, :2] * 2.0, after

    class Keeps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell
            self.register_buffer("memory", torch.zeros(1, 4))

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            self.memory[:] = self.cell(obs, self.memory)
            return self.memory[:, :2] * 2.0

        @torch.jit.export
        def reset(self) -> None:
            self.memory[:] = 0.0

    names = {"input_names": ["obs", "h_in"], "output_names": ["actions", "h_out"]}
    path = to_onnx(Step(), tmp_path / "p.onnx", torch.zeros(1, 5), torch.zeros(1, 4), **names)
    torch.jit.script(Keeps()).save(str(tmp_path / "p.pt"))
    report = verify(path, tmp_path / "p.pt", steps=80)
    assert report.ok, report.verdict
    assert all(comparison.state is None for comparison in report.comparisons)
    assert [tensor.name for tensor in report.comparisons[0].tensors] == ["actions"]


# observations block by block ------------------------------------------------------------------------------------


def test_a_run_in_blocks_is_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain_onnx(tmp_path / "policy.onnx")
    whole = verify(path, steps=90)
    monkeypatch.setattr("ganglion.verify.trajectory._BLOCK_ELEMENTS", 45 * 4 * 7)
    blocks = list(whole.trajectory.blocks())
    assert [len(block) for block in blocks] == [7] * 12 + [6]
    again = verify(path, steps=90)
    assert np.array_equal(whole.trajectory.observation, again.trajectory.observation)
    assert np.array_equal(whole.trajectory.reset, again.trajectory.reset)
    for left, right in zip((whole.reference, *whole.runs), (again.reference, *again.runs), strict=True):
        assert np.array_equal(left.outputs["actions"], right.outputs["actions"])
    assert whole.tolerance == again.tolerance
    nudged = [np.concatenate(list(run.nudged().blocks())) for run in (whole.trajectory, again.trajectory)]
    assert np.array_equal(*nudged) and not np.array_equal(nudged[0], whole.trajectory.observation)
