"""LEAPP bundles, the export of Isaac Lab: read, compiled, verified and written, beside the package's own runtime."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from leapp_bundles import NAMES, own_runtime, write_bundle
from torch import Tensor, nn

import ganglion
from ganglion.cli.main import main
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("leapp"))


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(made.parent, tmp_path / "walker") / made.name


def flown(pilot: ganglion.Policy, observations: np.ndarray, resets: frozenset[int] = frozenset()) -> np.ndarray:
    actions = []
    for step, observation in enumerate(observations):
        if step in resets:
            pilot.reset()
        actions.append(pilot.step(observation).copy())
    return np.stack(actions)


def drawn(size: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(STEPS, size)).astype(np.float32)


def test_it_flies_as_its_own_runtime_does(made: Path, tmp_path: Path) -> None:
    """The memory begins with the bundle's initial values, at load and behind a reset."""
    observations, resets = drawn(14), frozenset({25})
    expected = own_runtime(made, observations, "actor/targets", resets)
    assert np.abs(flown(ganglion.load(made), observations, resets) - expected).max() < 1e-6
    report = ganglion.compile(made, tmp_path / "walker.ganglion")
    assert np.abs(flown(ganglion.load(report.path), observations, resets) - expected).max() < 1e-6
    assert ganglion.verify(report.path, made, steps=200).ok


def test_what_it_says_is_in_the_contract(made: Path) -> None:
    contract = ganglion.inspect(made)
    pairs = [(node, name) for node in ("actor", "estimator") for name in ("joint_pos", "joint_vel")]
    assert [spec.name for spec in contract.inputs] == [f"{node}_{name}" for node, name in pairs]  # its YAML is sorted
    assert contract.inputs[2].element_names == tuple(NAMES)
    assert [spec.name for spec in contract.outputs] == ["targets", "gains"]  # the action is what it calls a target
    assert (contract.period_s, contract.batch) == (0.02, 1)
    assert [(slot.name, slot.size) for slot in contract.state] == [("last_action", 4), ("h", 6)]
    assert contract.initial_state == (0.0,) * 4 + (0.25,) * 6
    assert contract.provenance["leapp.kind.targets"] == "target/joint/position"


def test_another_output_can_be_the_action(made: Path) -> None:
    assert ganglion.load(made, action="gains").step(np.zeros(14, np.float32)) == pytest.approx(np.ones(4))
    with pytest.raises(ExportError, match="has no output 'x'; it has gains, targets"):
        ganglion.load(made, action="x")


def test_verify_runs_its_models_apart(made: Path) -> None:
    report = ganglion.verify(made, steps=100)
    assert report.ok
    assert report.reference.name == "the bundle's models"


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a map of something else": (lambda d: d.pop("pipeline"), "no LEAPP bundle: 'pipeline' is no map"),
    "an open input": (lambda d: d["pipeline"]["inputs"].pop("actor"), "the input 'actor/joint_pos' is fed by nothing"),
    "fed twice": (
        lambda d: d["pipeline"]["inputs"]["actor"].append("estimate"),
        "'actor/estimate' is fed by more than one thing",
    ),
    "unknown output": (
        lambda d: d["pipeline"]["outputs"].update(actor=["torque"]),
        "there is no output 'actor/torque'; there are 'estimator/velocity'",
    ),
    "no outputs": (lambda d: d["pipeline"].pop("outputs"), "no outputs in its pipeline"),
    "other sizes": (
        lambda d: d["models"]["actor"]["inputs"][0].update(shape=[1, 2]),
        r"does not fit 'actor/estimate' \[1, 2\]",
    ),
    "another place": (
        lambda d: d["models"]["actor"]["parameters"].update(model_path="../actor.onnx"),
        "the model of 'actor' is no file beside it",
    ),
    "another order": (
        lambda d: d.update(models={name: d["models"][name] for name in ("actor", "estimator")}),
        "takes 'estimator/velocity' of the same step, which runs later",
    ),
    "no period": (lambda d: d["pipeline"]["configs"].update(frequency=0), "steps per second are positive"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_bundle_says_what_is_wrong(bundle: Path, fault: str) -> None:
    change, says = FAULTS[fault]
    changed(bundle, lambda document: change(document) and None)
    with pytest.raises(ArtifactError, match=says):
        ganglion.inspect(bundle)


def test_files_that_changed_are_refused(bundle: Path) -> None:
    model = bundle.with_name("actor.onnx")
    model.write_bytes(model.read_bytes() + b"\x12\x00")
    with pytest.raises(ArtifactError, match=r"actor\.onnx' was changed since 'walker\.yaml' was written"):
        ganglion.load(bundle)


@pytest.mark.parametrize("cut", [4, 100, 10_000])
def test_initial_values_that_are_cut_are_refused(bundle: Path, cut: int) -> None:
    values = bundle.with_name("walker_initial_values.safetensors")
    values.write_bytes(values.read_bytes()[:-cut])
    with pytest.raises(ArtifactError, match="the initial values of"):
        ganglion.inspect(bundle)


def test_other_engines_and_hints_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a LEAPP bundle runs on the native engine"):
        ganglion.load(made, engine="onnxruntime")
    with pytest.raises(ValueError, match="says itself what its state"):
        ganglion.compile(made, tmp_path / "x.ganglion", state={"a": "b"})


@pytest.mark.sampled(1)
@pytest.mark.parametrize("backend", ["jit", "pt2"])
def test_nodes_that_are_torch_programs_are_compiled(tmp_path: Path, backend: str) -> None:
    """And their own runtime, and torch beside our program, do the same."""
    path = write_bundle(tmp_path, backend=backend)
    observations, resets = drawn(14), frozenset({25})
    expected = own_runtime(path, observations, "actor/targets", resets)
    trust = backend == "pt2"
    report = ganglion.compile(path, tmp_path / "walker.ganglion", trust=trust)
    assert np.abs(flown(ganglion.load(report.path), observations, resets) - expected).max() < 1e-6
    assert report.contract.initial_state == (0.0,) * 4 + (0.25,) * 6
    verdict = ganglion.verify(report.path, path, steps=100, trust=trust)
    assert verdict.ok and "the bundle's models" in verdict.reference.name and verdict.reference.engine == "torch"
    with pytest.raises(ExportError, match=r"the node 'estimator' .* runs in PyTorch; compile the bundle first"):
        ganglion.load(path)


def test_a_program_of_torch_export_is_loaded_where_it_is_trusted(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, backend="pt2")
    with pytest.raises(ArtifactError, match=r"estimator\.pt2' .* loading it may run code"):
        ganglion.compile(path, tmp_path / "walker.ganglion")
    damaged = path.with_name("actor.pt2")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    changed(path, lambda document: document["models"]["actor"]["parameters"].pop("sha256sum"))
    with pytest.raises(ArtifactError, match=r"actor\.pt2' is no program of torch\.export"):
        ganglion.compile(path, tmp_path / "walker.ganglion", trust=True)


class Forgetful(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("seen", torch.zeros(1, 10))
        self.layer = nn.Linear(10, 4)

    def forward(self, estimate: Tensor, joint_pos: Tensor, joint_vel: Tensor, last_action: Tensor) -> list[Tensor]:
        x = torch.cat((estimate, joint_pos, joint_vel), 1) + 0.0 * last_action.sum()
        if self.kind == "memory":
            self.seen.copy_(x)
        if self.kind == "chance":
            x = x + torch.rand_like(x)
        if self.kind == "choice" and bool(x.sum() > 0.0):
            x = 2.0 * x
        action = self.layer(x)
        if self.kind == "one output":
            return [action]
        return [torch.ones(1, 4), action, action]


NODES = {
    "memory": "the node 'actor' keeps state in seen, of which its bundle says nothing",
    "chance": "random",
    "choice": "it may decide by the values of its tensors",
    "one output": "gives 1 tensors, and its bundle names 3",
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", NODES)
def test_nodes_that_are_no_function_are_refused(tmp_path: Path, kind: str) -> None:
    path = write_bundle(tmp_path, backend="jit")
    node = path.with_name("actor.pt")
    torch.jit.script(Forgetful(kind).eval()).save(node)
    changed(path, lambda document: document["models"]["actor"]["parameters"].pop("sha256sum"))
    with pytest.raises((ArtifactError, ExportError), match=NODES[kind]):
        ganglion.compile(path, tmp_path / "walker.ganglion")
    assert not (tmp_path / "walker.ganglion").exists()


class Walker(nn.Module):
    """Two layers of memory that do not begin with zeros."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layers, self.head = nn.GRU(6, 8, 2), nn.Linear(8, 3)

    def forward(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        seen, after = self.layers(obs[None], hidden)
        return self.head(seen[0]), after


def test_what_we_write_runs_in_its_own_runtime(tmp_path: Path) -> None:
    """And here, the same."""
    policy = ganglion.wrap(Walker().eval(), observation=6, state={"h": torch.full((2, 8), 0.3)})
    contract = ganglion.export(policy, tmp_path / "walker.yaml", contract=policy.contract(period_s=0.02))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "walker.onnx",
        "walker.yaml",
        "walker_initial_values.safetensors",
    ]
    observations, resets = drawn(6), frozenset({30})
    expected = own_runtime(tmp_path / "walker.yaml", observations, f"walker/{contract.outputs[0].name}", resets)
    for path in (tmp_path / "walker.yaml", tmp_path / "walker.onnx"):
        assert np.abs(flown(ganglion.load(path), observations, resets) - expected).max() < 1e-6
    assert ganglion.inspect(tmp_path / "walker.yaml").period_s == 0.02


def test_a_bundle_has_a_number_of_rows(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="export with batch=1"):
        ganglion.export(nn.Linear(4, 2), tmp_path / "a.yaml", observation_size=4, batch=None)
    assert not list(tmp_path.iterdir())


def test_on_the_command_line(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(made)]) == 0
    assert "read as a file of leapp" in capsys.readouterr().out
    assert main(["compile", str(made), "-o", str(tmp_path / "walker.ganglion")]) == 0
    assert main(["verify", str(tmp_path / "walker.ganglion"), "--policy", str(made), "--steps", "50"]) == 0
    assert "the bundle's models" in capsys.readouterr().out
