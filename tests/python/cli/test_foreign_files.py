"""Every command takes a file of every dialect as it comes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dialect_files
import numpy as np
import pytest
import torchscript_files
from torchscript_dialects import write

import ganglion
from ganglion.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


def torchscript(name: str) -> Callable[[Path], Path]:
    return lambda folder: write(folder / f"{name}.pt", name)


# Name, and the dialect that it is recognised as.
FILES: dict[tuple[str, str], Callable[[Path], Path]] = {
    ("rsl_rl", "rsl_rl"): lambda folder: dialect_files.rsl_rl(folder, "gru", layers=2).path,
    ("external", "rsl_rl"): lambda folder: dialect_files.rsl_rl(folder, "lstm", external=True).path,
    ("rl_games", "rl_games"): lambda folder: dialect_files.rl_games(folder, "lstm").path,
    ("rllib", "rllib"): lambda folder: dialect_files.rllib_named(folder, "lstm").path,
    ("torchrl", "torchrl"): lambda folder: dialect_files.torchrl(folder, "lstm", dynamo=False).path,
    ("torchrl_gru", "torchrl"): lambda folder: dialect_files.torchrl(folder, "gru", dynamo=False).path,
    ("exploy", "exploy"): lambda folder: dialect_files.exploy(folder, decimation=4).path,
    ("mjlab", "mjlab"): lambda folder: dialect_files.mjlab(folder, "lstm").path,
    **{
        (name, dialect): torchscript(name)
        for name, dialect in (
            ("rsl_rl-gru-1", "rsl_rl"),
            ("rsl_rl-mlp-1", "rsl_rl"),
            ("isaac-gru-1", "rsl_rl"),
            ("legged-lstm-1", "legged_gym"),
            ("pyrado-float64-1", "pyrado"),
        )
    },
}


@pytest.fixture(scope="module", params=FILES, ids=lambda key: key[0])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return FILES[request.param](tmp_path_factory.mktemp(request.param[0])), request.param[1]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs a command with --json, which has to end well."""

    def call(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        status = main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert status == 0, out + err
        document: dict[str, Any] = json.loads(out)
        return document

    return call


def engines(path: Path) -> tuple[str, ...]:
    return ("libtorch",) if path.suffix == ".pt" else ("onnxruntime", "native")


def asked(path: Path) -> list[str]:
    return [argument for engine in engines(path) for argument in ("--engine", engine)]


def test_inspect(written: tuple[Path, str], run: Callable[..., dict[str, Any]]) -> None:
    path, dialect = written
    document = run("inspect", path)
    assert document["dialect"] == dialect and document["notes"]


@pytest.mark.sampled(3)
def test_verify(written: tuple[Path, str], run: Callable[..., dict[str, Any]]) -> None:
    path, _ = written
    document = run("verify", path, "--steps", 60, *asked(path))
    names = [comparison["engine"] for comparison in document["comparisons"]]
    assert names == [f"C++ {engine}" for engine in engines(path)] and not document["not_run"]
    assert document["reference"] == ("torch.jit forward()" if path.suffix == ".pt" else "Python onnxruntime")
    rows = ganglion.explain(path).contract.batch
    assert document["trajectory"]["batch"] == (rows or 4)


@pytest.mark.sampled(3)
def test_bench(written: tuple[Path, str], run: Callable[..., dict[str, Any]]) -> None:
    path, _ = written
    document = run("bench", path, "--steps", 10, "--rounds", 1, *asked(path))
    assert [(row["file"], row["engine"]) for row in document["results"]] == [(str(path), e) for e in engines(path)]


@pytest.mark.sampled(3)
def test_compile_and_load(written: tuple[Path, str], run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path, dialect = written
    target = tmp_path / "policy.ganglion"
    document = run("compile", path, "-o", target)
    assert document["findings"] == []
    pilots = [ganglion.load(path, engine=engine) for engine in engines(path)]  # type: ignore[arg-type]
    assert [pilot.reading.dialect for pilot in pilots] == [dialect] * len(pilots)
    pilots.append(ganglion.load(target))
    generator = np.random.default_rng(0)
    for step in range(40):
        if step == 20:
            for pilot in pilots:
                pilot.reset()
        observation = generator.normal(size=pilots[0].contract.observation_size).astype(np.float32)
        first, *others = (pilot.step(observation) for pilot in pilots)
        for other in others:
            np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-5)


def test_the_reading_of_a_file_stays_with_its_policy_on_every_engine(tmp_path: Path) -> None:
    path = dialect_files.gru_without_linear_before_reset(tmp_path)[1].path
    said = ganglion.explain(path)
    assert [finding.code for finding in said.findings] == ["gru-linear-before-reset"]
    for engine in ("onnxruntime", "native"):
        with pytest.warns(UserWarning, match="gru-linear-before-reset") as caught:
            pilot = ganglion.load(path, engine=engine)  # type: ignore[arg-type]
        assert len(caught) == 1
        for found in (pilot.reading, pilot.clone().reading):
            assert (found.dialect, found.state, found.notes) == (said.dialect, said.state, said.notes)
            assert found.findings == said.findings and found.contract == pilot.contract
    assert pilot.contract.sha256 is not None and pilot.contract.golden is not None
    ours = Path(__file__).parents[2] / "golden" / "artifacts" / "lstm.onnx"
    assert ganglion.load(ours, engine="native").reading.dialect == "ganglion"


def test_compile_tells_what_it_found(
    run: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = dialect_files.gru_without_linear_before_reset(tmp_path)[1].path
    (finding,) = run("compile", faulty, "-o", tmp_path / "x.ganglion")["findings"]
    assert finding["code"] == "gru-linear-before-reset"
    assert main(["compile", str(faulty), "-o", str(tmp_path / "x.ganglion")]) == 0
    assert "[gru-linear-before-reset] the GRU node" in capsys.readouterr().out
    module = torchscript_files.IsaacLabExporter("gru")
    module.normalizer._std[0, 2] = 0.0
    path = torchscript_files.save(module, tmp_path / "zero.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        (finding,) = run("compile", path, "-o", tmp_path / "x.ganglion")["findings"]
    assert finding["code"] == "normaliser-zero-variance"
    assert "normalizer._std has 1 of 5 elements (the first: 2)" in finding["sentence"]


def test_what_the_user_says_of_the_state_is_used(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    from small_onnx import two_states

    path = two_states(tmp_path / "two.onnx")
    crossed = ("--state", "a_state:y", "--state", "b_state:x")
    assert [names["output"] for names in run("inspect", path, *crossed)["state"]] == ["y", "x"]
    document = run("verify", path, "--steps", 20, "--engine", "onnxruntime", "--engine", "native", *crossed)
    assert len(document["comparisons"]) == 2
    assert run("compile", path, "-o", tmp_path / "two.ganglion", *crossed)["ok"]
    results = run("bench", path, "--steps", 5, "--rounds", 1, "--engine", "onnxruntime", "--engine", "native", *crossed)
    assert [row["engine"] for row in results["results"]] == ["onnxruntime", "native"]
    for command in ("inspect", "verify", "bench"):
        assert main([command, str(path)]) == 1
    # What was said reaches every implementation: each of them runs two policies.
    straight = ganglion.verify(path, steps=20, state={"a_state": "x", "b_state": "y"})
    other = ganglion.verify(path, steps=20, state={"a_state": "y", "b_state": "x"})
    assert straight.ok and other.ok
    for one, two in zip((straight.reference, *straight.runs), (other.reference, *other.runs), strict=True):
        assert one.state is not None and two.state is not None
        assert np.abs(one.state - two.state).max() > 0.1


def test_named_buffers_are_used_by_verify(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = torchscript_files.save(torchscript_files.LearnsAlways(), tmp_path / "learns.pt")
    assert run("verify", path, "--steps", 20, "--state", "hidden_state:hidden_state")["comparisons"]
    assert main(["verify", str(path), "--steps", "20"]) == 1
    path = write(tmp_path / "gru.pt", "rsl_rl-gru-1")
    report = ganglion.verify(path, steps=20, state={})
    assert report.ok and report.contract.state == () and report.reference.name == "torch.jit forward()"


def test_several_rows_of_a_module_that_keeps_one(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = run("verify", write(tmp_path / "a.pt", "isaac-lstm-2"), "--steps", 40, "--batch", 3)
    assert document["trajectory"]["batch"] == 3 and document["comparisons"][0]["engine"] == "C++ libtorch"
