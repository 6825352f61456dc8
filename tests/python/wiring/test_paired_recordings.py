"""What is compared: files of every kind, other widths, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walking_observations import NAMES, Walk

import ganglion
from ganglion.cli import main
from ganglion.data import EpisodeBatch
from ganglion.errors import ArtifactError
from ganglion.wiring import read_observations, wiring

WALK = Walk(5)
ARTIFACT = Path(__file__).parents[2] / "golden/artifacts/lstm.ganglion"


def save(path: Path, observation: Any, **more: Any) -> str:
    np.savez(path, observation=observation, **more)
    return str(path)


def test_a_term_that_is_missing(tmp_path: Path) -> None:
    kept = [j for j in range(52) if j not in (13, 14, 15)]
    trained = save(tmp_path / "trained.npz", WALK.observation, reset=WALK.reset, names=np.array(NAMES))
    found = WALK.observation[:, kept].copy()
    found[:, 20] *= -1.0
    report = wiring(trained, save(tmp_path / "found.npz", found))
    assert [edit.kind for edit in report.edits] == ["permutation", "sign"]
    said = report.edits[0].sentence
    assert said.startswith("found has 49 elements, trained 52: elements 13 to 15 (command_forward, ")
    assert report.edits[1].elements == (20,)
    assert np.isnan(report.corrected[:, 13:16]).all()
    there = [j for j in range(52) if j not in (13, 14, 15)]
    np.testing.assert_allclose(report.corrected[:, there], WALK.observation[:, there], atol=1e-6)


def test_elements_too_many() -> None:
    more = np.random.default_rng(0).normal(size=(len(WALK.observation), 2))
    found = np.concatenate([WALK.observation[:, :6], more, WALK.observation[:, 6:]], axis=1).astype(np.float32)
    report = wiring(WALK.observation, found)
    assert "elements 6 to 7 of found are too many" in report.edits[0].sentence
    np.testing.assert_allclose(report.corrected, WALK.observation, atol=1e-6)


@pytest.mark.parametrize(
    ("trained", "found", "said"),
    [
        (WALK.observation, WALK.observation[:-1], "1,199 rows, trained 1,200"),
        (WALK.observation[:1], WALK.observation[:1], "has 1 row: that tells no change"),
        (WALK.observation, np.where(np.eye(1200, 52) > 0, np.nan, WALK.observation), "not finite"),
        (WALK.observation, WALK.observation[:, 0], "must be"),
        ({"action": WALK.action}, WALK.observation, "'observation' is needed"),
        (
            {"observation": WALK.observation[:, :3], "names": np.array(["a", "b", "a"])},
            WALK.observation,
            "both called 'a'",
        ),
        ({"observation": WALK.observation, "names": np.array(["a", "b"])}, WALK.observation, "must be 52 texts"),
    ],
)
def test_what_cannot_be_compared(trained: Any, found: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        wiring(trained, found)


def test_rows_of_a_batch_are_episodes(tmp_path: Path) -> None:
    batch = WALK.observation.reshape(4, 300, 52).transpose(1, 0, 2)
    late = batch.copy()
    late[1:, :, 28:40] = batch[:-1, :, 28:40]
    trained, found = save(tmp_path / "a.npz", batch), save(tmp_path / "b.npz", late)
    (edit,) = wiring(trained, found).edits
    assert edit.kind == "lag" and edit.elements == tuple(range(28, 40))


def test_episodes_of_a_batch_and_of_its_file(tmp_path: Path) -> None:
    """Lengths of episodes say where a delay begins anew, and their actions what the previous action is."""
    starts = np.arange(1200) % 300 == 0
    batch = EpisodeBatch(
        None, {}, WALK.observation, np.zeros((4, 52), np.float32), WALK.action.astype(np.float32),
        np.zeros(1200, np.float32), {}, {}, np.where(starts, 0, 1), np.full(4, 300),
    )  # fmt: skip
    batch.save(tmp_path / "run.npz")
    found = WALK.observation.copy()
    since = np.arange(1200) % 300
    found[:, 40:52] = WALK.observation[np.arange(1200) - np.minimum(1, since), 40:52]
    for trained in (batch, str(tmp_path / "run.npz")):
        report = wiring(trained, {"observation": found})
        (edit,) = report.edits
        assert (edit.kind, edit.elements) == ("lag", tuple(range(40, 52)))
        assert edit.value == {"steps": 1, "of": "previous_action"} and edit.residual == 0.0
        assert not any("guessed" in note for note in report.notes)
    with pytest.raises(ArtifactError, match="1,199 rows"):
        wiring(batch, WALK.observation[1:])


def test_a_flight_against_an_array(tmp_path: Path) -> None:
    """What a policy saw in a flight, with its resets and the names of its contract."""
    policy = ganglion.load(ARTIFACT)
    size = policy.contract.observation_size
    recorder = ganglion.FlightRecorder.open(tmp_path / "flight.mcap")
    policy.attach(recorder)
    trained = np.ascontiguousarray(WALK.observation[:600, -size:])
    for row, observation in enumerate(trained):
        if row in (0, 300):
            policy.reset()
        policy.step(observation)
    recorder.close()
    flight = str(tmp_path / "flight.mcap")
    read = read_observations(flight, "trained")
    np.testing.assert_array_equal(read.values, trained.astype(np.float64))
    np.testing.assert_array_equal(np.flatnonzero(read.reset), [0, 300])
    found = trained.copy()
    found[1:300], found[301:] = trained[:299], trained[300:-1]
    found[:, 1] *= -1.0
    report = wiring(flight, found)
    assert sorted({edit.kind for edit in report.edits}) == ["lag", "sign"]
    assert next(edit for edit in report.edits if edit.kind == "sign").elements == (1,)
    assert sorted(j for edit in report.edits if edit.kind == "lag" for j in edit.elements) == list(range(size))
    assert wiring(trained, flight).equal


def test_episodes_that_nothing_tells() -> None:
    """Without 'reset', the jumps of most elements do."""
    found = WALK.observation.copy()
    since = np.arange(1200) % 300
    found[:, 28:40] = WALK.observation[np.arange(1200) - np.minimum(1, since), 28:40]
    jumping = WALK.observation + np.repeat(np.arange(4) % 2, 300)[:, None].astype(np.float32) * 10.0
    found = found + np.repeat(np.arange(4) % 2, 300)[:, None].astype(np.float32) * 10.0
    report = wiring(jumping, found)
    assert [edit.kind for edit in report.edits] == ["lag"] and "4 beginnings are guessed" in report.notes[0]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = WALK.observation.copy()
    found[:, 6:9] *= -1.0
    trained = save(tmp_path / "trained.npz", WALK.observation, reset=WALK.reset, names=np.array(NAMES))
    adapter, yaml = save(tmp_path / "adapter.npz", found), tmp_path / "correction.yaml"
    assert main(["wiring", trained, trained]) == 0
    capsys.readouterr()
    assert main(["wiring", trained, adapter, "--output", str(yaml)]) == 1
    shown = capsys.readouterr().out
    assert "gravity points the other way" in " ".join(shown.split()) and "frame" in shown
    text = yaml.read_text(encoding="utf-8")
    arrays = {
        name: json.loads(value)
        for name, _, value in (line.partition(": ") for line in text.splitlines())
        if value and name[0] != "#"
    }
    made = found[:, arrays["index"]] * arrays["scale"] + arrays["offset"]
    np.testing.assert_allclose(made, WALK.observation, atol=1e-7)
    assert main(["wiring", trained, adapter, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["equal"] is False and document["edits"][0]["names"] == ["gravity_x", "gravity_y", "gravity_z"]
    assert document["next"].endswith("--output correction.yaml")
    with pytest.raises(SystemExit):
        main(["wiring", trained, adapter, "--output", "report.pdf"])
