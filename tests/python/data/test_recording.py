"""Batches in files."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
from batches import assert_equal, episodes, steps

from ganglion.data import EnvSpec, EpisodeBatch, TimeStepBatch
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

Box = gymnasium.spaces.Box


def test_episodes_come_back(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    batch = episodes(episode_infos={"name of/a goal.": np.array(["left", "right", "up"])})
    batch.save(path)
    assert_equal(EpisodeBatch.load(path), batch)
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
    # Anybody's numpy reads it, without pickles.
    with np.load(path, allow_pickle=False) as archive:
        assert archive["agent_infos/hidden_states"].shape == (6, 8)
        assert archive["env_infos/contact/force"].shape == (6, 3)
        assert json.loads(str(archive["meta"]))["kind"] == "EpisodeBatch"


def test_steps_come_back(tmp_path: Path) -> None:
    steps().save(tmp_path / "steps.npz")
    assert_equal(TimeStepBatch.load(tmp_path / "steps.npz"), steps())


def test_without_spec_and_infos(tmp_path: Path) -> None:
    batch = episodes(env_spec=None, agent_infos={}, env_infos={}, episode_infos={})
    batch.save(tmp_path / "bare.npz")
    assert_equal(EpisodeBatch.load(tmp_path / "bare.npz"), batch)


@pytest.mark.parametrize(
    "space",
    [
        Box(-1.0, 1.0, (3,), np.float32),
        Box(np.array([-0.1, -np.inf]), np.array([1 / 3, np.inf]), dtype=np.float64),
        Box(np.array([-0.1, -2.0], np.float32), np.array([1e-30, 3.0], np.float32)),
        Box(0, 255, (4, 4, 3), np.uint8),
        Box(-(2**62) - 1, 2**62 + 1, (2,), np.int64),
        gymnasium.spaces.Discrete(5, start=-2),
        gymnasium.spaces.MultiDiscrete([2, 3], start=[1, -1]),
        gymnasium.spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
        gymnasium.spaces.MultiBinary(4),
        gymnasium.spaces.MultiBinary([2, 3]),
        gymnasium.spaces.Dict({"b": Box(-1, 1, (2,)), "a": gymnasium.spaces.Discrete(3)}),
        gymnasium.spaces.Tuple([Box(-1, 1, (2,)), gymnasium.spaces.Dict(x=gymnasium.spaces.MultiBinary(2))]),
    ],
    ids=str,
)
def test_spaces_come_back(space: gymnasium.Space[Any]) -> None:
    from ganglion.data.spaces_json import env_spec_from_json, env_spec_to_json

    given = EnvSpec(space, space, 7)
    text = json.dumps(env_spec_to_json(given), allow_nan=False)
    back = env_spec_from_json(json.loads(text))
    assert back == given
    assert back.observation_space.dtype == space.dtype
    if isinstance(space, Box):  # Box compares nearly
        np.testing.assert_array_equal(back.observation_space.low, space.low)
        np.testing.assert_array_equal(back.observation_space.high, space.high)
    if isinstance(space, gymnasium.spaces.Dict):
        assert list(back.observation_space.spaces) == list(space.spaces)
    assert len(json.dumps(env_spec_to_json(EnvSpec(Box(0, 255, (64, 64, 3), np.uint8), space)))) < 1000


def test_names_come_back(tmp_path: Path) -> None:
    episodes().save(tmp_path / "run.npz")
    loaded = EpisodeBatch.load(tmp_path / "run.npz").env_spec
    assert loaded is not None
    assert loaded.observation_names == ("x", "v")
    assert loaded.max_episode_length == 4


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.npz"
    episodes().save(path)
    good = path.read_bytes()
    objects = episodes(env_infos={"deep": {"things": np.array([None] * 6, object)}})
    with pytest.raises(ValueError, match="env_infos/deep/things has dtype object"):
        objects.save(path)
    text = gymnasium.spaces.Text(3)
    wordy = EnvSpec(text, Box(-1.0, 1.0, (1,)))
    with pytest.raises(ValueError, match="a Text space has no JSON form"):
        episodes(env_spec=wordy, observations=np.zeros((6, 3)), last_observations=np.zeros((3, 3))).save(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        episodes([3, 3]).save(path)
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(ArtifactError, match=r"cannot read .*No such file"):
        EpisodeBatch.load(path)
    with pytest.raises(ArtifactError, match="cannot read"):
        EpisodeBatch.load(tmp_path)
    steps().save(path)
    with pytest.raises(
        ArtifactError, match=r"holds a TimeStepBatch, expected a EpisodeBatch; read it with TimeStepBat"
    ):
        EpisodeBatch.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ArtifactError, match="no recording of ganglion"):
        EpisodeBatch.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ArtifactError, match="no recording of ganglion"):
        EpisodeBatch.load(path)
    _with_meta(path, format=2)
    with pytest.raises(ArtifactError, match="recording format 2; this version reads 1"):
        EpisodeBatch.load(path)


def _with_meta(path: Path, **changes: Any) -> None:
    buffer = io.BytesIO()
    episodes().save(path)
    with np.load(path) as archive:
        fields = dict(archive)
    meta = {**json.loads(str(fields.pop("meta"))), **changes}
    np.savez(buffer, meta=np.array(json.dumps(meta)), **fields)
    path.write_bytes(buffer.getvalue())


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of the file was run",))


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    path.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(ArtifactError, match="damaged or no recording"):
        EpisodeBatch.load(path)
    episodes().save(path)
    with zipfile.ZipFile(path, "a") as archive, archive.open("env_infos/evil.npy", "w") as member:
        np.lib.format.write_array(member, np.array([_Evil()] * 6, object), allow_pickle=True)
    with pytest.raises(ArtifactError, match="damaged or no recording"):
        EpisodeBatch.load(path)


def test_fields_that_do_not_fit_are_found_when_loading(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    episodes().save(path)
    with np.load(path) as archive:
        fields = dict(archive)
    fields["lengths"] = np.array([2, 2, 3])
    np.savez(path, **fields)
    with pytest.raises(ArtifactError, match="lengths has the sum 7, expected 6"):
        EpisodeBatch.load(path)


def test_damaged_files_are_artifact_errors(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    episodes().save(path)
    good = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for trial in range(300):
        data = bytearray(good)
        if trial % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            EpisodeBatch.load(path)
        except ArtifactError:
            refused += 1
    assert refused > 200
