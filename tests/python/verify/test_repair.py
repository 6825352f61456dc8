"""Files of a GRU whose exporter lost an attribute, against rsl_rl's own Python: repaired only where that is shown."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import onnx
import pytest
import rsl_rl_files as rsl_rl

import ganglion
from ganglion.adapters import rsl_rl as adapter
from ganglion.cli import main
from ganglion.data import EnvSpec, EpisodeBatch, StepType
from ganglion.errors import ArtifactError, GanglionError, ParityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STEPS, ATTRIBUTE = 300, "linear_before_reset"


def edit(source: Path, target: Path, values: dict[int, int | None]) -> Path:
    """Copies a file with this value of the attribute in these GRU nodes; None drops it."""
    model = onnx.load(source)
    nodes = [node for node in model.graph.node if node.op_type == "GRU"]
    for index, value in values.items():
        kept = [attribute for attribute in nodes[index].attribute if attribute.name != ATTRIBUTE]
        del nodes[index].attribute[:]
        nodes[index].attribute.extend(kept)
        if value is not None:
            nodes[index].attribute.append(onnx.helper.make_attribute(ATTRIBUTE, value))
    onnx.save(model, target)
    return target


class Case:
    """A two-layer GRU that rsl_rl trained: its file, the same without the attribute, and what rsl_rl does."""

    def __init__(self, folder: Path) -> None:
        runner = rsl_rl.train(rsl_rl.configuration(rsl_rl.MODELS["gru_2"]))
        rsl_rl.fill_statistics(runner.alg.actor)
        self.checkpoint = folder / "model.pt"
        rsl_rl.save(runner, self.checkpoint)
        rsl_rl.export_real(runner, folder)
        self.good = folder / "policy.onnx"
        self.dropped = edit(self.good, folder / "dropped.onnx", {0: None, 1: None})
        self.recording = rsl_rl.record_runner(runner, steps=STEPS)

    @property
    def actions(self) -> NDArray[np.float32]:
        """`[T, m]`."""
        return np.asarray(self.recording.action)[:, 0]

    def plain(self, path: Path, **changes: Any) -> Path:
        """Writes arrays, one row."""
        fields = {
            "observation": np.asarray(self.recording.observation)[:, 0],
            "reset": np.asarray(self.recording.reset)[:, 0],
            "action": self.actions,
        }
        np.savez(path, **{name: value for name, value in {**fields, **changes}.items() if value is not None})
        return path

    def episodes(self, actions: NDArray[np.float32], **infos: NDArray[np.float32]) -> EpisodeBatch:
        """The same as episodes."""
        observations = np.asarray(self.recording.observation)[:, 0]
        starts = np.asarray(self.recording.reset)[:, 0].copy()
        starts[0] = True
        lengths = np.diff([*np.flatnonzero(starts), STEPS])
        types = np.where(starts, StepType.FIRST, StepType.MID).astype(np.uint8)
        box = gymnasium.spaces.Box
        spec = EnvSpec(
            box(-np.inf, np.inf, (observations.shape[1],)), box(-np.inf, np.inf, (actions.shape[1],)), int(max(lengths))
        )
        last = np.zeros((len(lengths), observations.shape[1]), np.float32)
        rewards = np.zeros(STEPS)
        return EpisodeBatch(spec, {}, observations, last, actions, rewards, {}, infos, types, lengths)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("rsl_rl"))


def assert_right(path: Path, case: Case) -> None:
    """Both engines do what rsl_rl does, and nothing is found any more."""
    for engine in ("onnxruntime", "native"):
        pilot = ganglion.load(path, engine=engine)  # type: ignore[arg-type]
        assert pilot.reading.findings == () and pilot.reading.dialect == "rsl_rl"
        for step in range(STEPS):
            if case.recording.reset[step, 0]:
                pilot.reset()
            found = pilot.step(np.asarray(case.recording.observation[step, 0]))
            np.testing.assert_allclose(found, case.actions[step], rtol=1e-5, atol=1e-5, err_msg=f"{engine} {step}")


def saved(batch: EpisodeBatch, path: Path) -> Path:
    batch.save(path)
    return path


REFERENCES: dict[str, Callable[[Case, Path], dict[str, Any]]] = {
    "plain": lambda case, folder: {"recording": case.plain(folder / "run.npz")},
    "episodes": lambda case, folder: {"recording": saved(case.episodes(case.actions), folder / "run.npz")},
    "mean": lambda case, _: {
        "recording": case.episodes(case.actions + 0.3, mean=case.actions),
        "recorded_actions": "mean",
    },
    "policy": lambda case, _: {
        "policy": adapter.load(case.checkpoint, activation="elu", observation_groups=rsl_rl.GROUPS)
    },
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_it_is_repaired(kind: str, case: Case, tmp_path: Path) -> None:
    out = tmp_path / "repaired.onnx"
    report = ganglion.repair(case.dropped, out, **REFERENCES[kind](case, tmp_path))
    assert report.ok and report.output == str(out) and len(report.nodes) == 2
    assert report.original_error > 1e-3 and report.repaired_error is not None and report.repaired_error < 1e-5
    assert_right(out, case)
    # The attribute and a note are all that changed.
    repaired, good = onnx.load(out), onnx.load(case.good)
    assert [entry.key for entry in repaired.metadata_props] == ["ganglion_repair"]
    del repaired.metadata_props[:]
    assert list(repaired.graph.initializer) == list(good.graph.initializer)
    for model in (repaired, good):
        for node in model.graph.node:
            node.attribute.sort(key=lambda attribute: attribute.name)
    assert list(repaired.graph.node) == list(good.graph.node)


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_file_that_agrees_is_left_alone(kind: str, case: Case, tmp_path: Path) -> None:
    """A GRU of another library is there too, without the attribute, as it should be."""
    model = onnx.load(case.good)
    model.graph.node.append(onnx.helper.make_node("GRU", ["gx", "gw", "gr"], ["gy", ""], name="idle", hidden_size=1))
    for name, shape in {"gx": (1, 1, 1), "gw": (1, 3, 1), "gr": (1, 3, 1)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    path = tmp_path / "fine.onnx"
    onnx.save(model, path)
    report = ganglion.repair(path, tmp_path / "out.onnx", **REFERENCES[kind](case, tmp_path))
    assert not report.ok and report.output is None and report.repaired_error is None
    assert report.original_error < 1e-5 and "nothing is wrong" in report.verdict
    assert not (tmp_path / "out.onnx").exists()


def test_neither_form_agrees(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("what was there")
    recording = case.plain(tmp_path / "run.npz", action=case.actions + np.float32(0.01))
    with pytest.raises(ParityError, match=r"differs from recording run\.npz.* in either form") as caught:
        ganglion.repair(case.dropped, out, recording=recording)
    report = caught.value.report
    assert not report.ok and report.repaired_error == pytest.approx(0.01, abs=1e-5) and report.original_error > 1e-3
    assert f"{report.original_error:.3g}" in str(caught.value) and f"{report.repaired_error:.3g}" in str(caught.value)
    assert out.read_text() == "what was there" and sorted(tmp_path.iterdir()) == [out, recording]
    assert ganglion.repair(case.dropped, out, recording=recording, tolerance=0.011).ok


def test_only_some_nodes_fit(case: Case, tmp_path: Path) -> None:
    """A policy whose second GRU has it and whose first has not, in a file that lost it."""
    mixed = edit(case.good, tmp_path / "mixed.onnx", {0: 0})
    with pytest.warns(UserWarning, match="gru-linear-before-reset"):
        pilot = ganglion.load(mixed)
    actions = []
    for observation, reset in zip(case.recording.observation[:, 0], case.recording.reset[:, 0], strict=True):
        if reset:
            pilot.reset()
        actions.append(pilot.step(np.asarray(observation)))
    recording = case.plain(tmp_path / "run.npz", action=np.stack(actions))
    report = ganglion.repair(case.dropped, tmp_path / "out.onnx", recording=recording)
    names = [node.name for node in onnx.load(case.good).graph.node if node.op_type == "GRU"]
    assert report.ok and report.nodes == (names[1],)
    (finding,) = ganglion.explain(tmp_path / "out.onnx").findings
    assert finding.code == "gru-linear-before-reset" and names[0] in finding.sentence


def test_in_place_with_weights_beside_and_a_said_state(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    model = onnx.load(case.dropped)
    onnx.save(model, path, save_as_external_data=True, location="policy.data", size_threshold=0)
    (tmp_path / "policy.onnx.yaml").write_text("state:\n  h_in: h_out\n")
    recording = case.plain(tmp_path / "run.npz")
    assert ganglion.repair(path, path, recording=recording).ok
    (tmp_path / "policy.data").unlink()
    assert_right(path, case)
    other = tmp_path / "other.onnx"
    assert ganglion.repair(case.dropped, other, recording=recording, state={"h_in": "h_out"}).ok
    with pytest.raises(ArtifactError, match="state-unknown"):
        ganglion.repair(case.dropped, other, recording=recording, state={"h_in": "nothing"})


def test_refusals(case: Case, tmp_path: Path) -> None:
    recording, out = case.plain(tmp_path / "run.npz"), tmp_path / "out.onnx"
    with pytest.raises(ArtifactError, match="every GRU has linear_before_reset 1"):
        ganglion.repair(case.good, out, recording=recording)
    ours = Path(__file__).parents[2] / "golden" / "artifacts" / "lstm.onnx"
    with pytest.raises(ArtifactError, match="carries a contract of ganglion"):
        ganglion.repair(ours, out, recording=recording)
    for arguments in (
        {},
        {"recording": recording, "policy": object()},
        {"recording": recording, "tolerance": math.nan},
    ):
        with pytest.raises(ValueError, match=r"reference|tolerance"):
            ganglion.repair(case.dropped, out, **arguments)
    with pytest.raises(ValueError, match=r"reads and writes .onnx"):
        ganglion.repair(case.dropped, tmp_path / "out.pt", recording=recording)
    bad = {
        "no recorded 'actions' to compare with": {"action": None},
        "'action' must be numbers": {"action": case.actions[:-1]},
        "action has 2 elements there and 3 in the file": {"action": case.actions[:, :2]},
        "takes 7": {"observation": np.zeros((STEPS, 2), np.float32)},
    }
    for message, changes in bad.items():
        with pytest.raises(ArtifactError, match=message):
            ganglion.repair(case.dropped, out, recording=case.plain(tmp_path / "bad.npz", **changes))
    with pytest.raises(GanglionError, match=r"missing\.npz"):
        ganglion.repair(case.dropped, out, recording=tmp_path / "missing.npz")
    assert not out.exists()


def test_the_command(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.onnx"

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        status = main(["repair", *map(str, arguments)])
        return status, capsys.readouterr().out

    checkpoint = ("--from", "rsl_rl", "--policy", case.checkpoint, "--set", "activation=elu")
    groups = ("--set", f"observation_groups={json.dumps(rsl_rl.GROUPS)}")
    status, text = run(case.dropped, "-o", out, *checkpoint, *groups, "--json")
    document = json.loads(text)
    assert status == 0 and document["ok"] and document["output"] == str(out) and document["original_error"] > 1e-3
    assert_right(out, case)
    out.unlink()
    recording = case.plain(tmp_path / "run.npz")
    status, text = run(case.dropped, "-o", out, "--recording", recording)
    assert status == 0 and "as it is" in text and out.exists()
    # Not written: no good verdict, so that a script does not go on with a file that is not there.
    idle = edit(case.good, tmp_path / "idle.onnx", {0: 0})
    case.plain(recording, action=np.zeros_like(case.actions))
    status, text = run(idle, "-o", tmp_path / "none.onnx", "--recording", recording, "--tolerance", "1000")
    assert status == 1 and "nothing is wrong" in text and not (tmp_path / "none.onnx").exists()
    status, text = run(idle, "-o", tmp_path / "none.onnx", "--recording", recording, "--json")
    assert status == 1 and json.loads(text)["error"]["type"] == "ParityError"
