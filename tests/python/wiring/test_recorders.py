"""Recorders: states and observations of the same moment, the answer to them, and where episodes begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch
from managed_envs import ROWS, ManagedEnv, RunnerWrapper

from ganglion.errors import GanglionError
from ganglion.wiring import record

if TYPE_CHECKING:
    from pathlib import Path


def recorded(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def test_a_single_environment_of_mujoco(tmp_path: Path) -> None:
    env = gymnasium.make("Ant-v5", max_episode_steps=20)
    env.action_space.seed(0)
    sent, begins = [], []
    with record(env, tmp_path / "run.npz") as recorder:
        env.reset(seed=0)
        is_first = True
        for _ in range(50):
            begins.append(is_first)
            sent.append(env.action_space.sample())
            *_, ended, cut, _ = env.step(sent[-1])
            is_first = ended or cut
            if is_first:
                env.reset()
    assert recorder.steps == 50
    assert "step" not in vars(env) and "reset" not in vars(env.unwrapped)
    found = recorded(tmp_path / "run.npz")
    np.testing.assert_array_equal(found["reset"], begins)
    assert found["reset"].sum() > 2
    np.testing.assert_array_equal(found["action"], np.array(sent))
    state = np.concatenate([found["qpos"][:, 2:], found["qvel"]], axis=1)
    np.testing.assert_array_equal(found["observation"][:, :27], state.astype(np.float32))
    assert list(found["names"][[0, 1, 5, 13, 26, 27]]) == [
        "qpos.root.z", "qpos.root.qw", "qpos.hip_1", "qvel.root.vx", "qvel.ankle_4", "cfrc_ext[0]",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_vector_environments_of_gymnasium_reset_in_two_ways(tmp_path: Path, mode: str) -> None:
    kind = gymnasium.vector.AutoresetMode[mode]
    env = gymnasium.make_vec(
        "InvertedPendulum-v5", 3, vectorization_mode="sync", max_episode_steps=7, vector_kwargs={"autoreset_mode": kind}
    )
    env.action_space.seed(3)
    with record(env, tmp_path / "all.npz", row=None, steps=60):
        env.reset(seed=1)
        for _ in range(70):
            env.step(env.action_space.sample())
    found = recorded(tmp_path / "all.npz")
    assert found["observation"].shape == (60, 3, 4) and found["qpos"].shape == (60, 3, 2)
    state = np.concatenate([found["qpos"], found["qvel"]], axis=2)
    np.testing.assert_allclose(found["observation"], state, atol=1e-6)
    # A new pendulum stands nearly upright and still; one that falls or was cut off does not.
    jumps = np.abs(np.diff(found["qvel"], axis=0)).max(axis=2) > 0.0
    near = (np.abs(state) <= 0.01 + 1e-9).all(axis=2)
    assert near[found["reset"]].all()
    assert found["reset"].sum() > 3 * 60 // 9 and jumps.any()
    again = np.flatnonzero(found["reset"][:, 0])
    assert np.diff(again).max() <= (8 if mode == "NEXT_STEP" else 7)


@pytest.mark.parametrize("wrap", [gymnasium.wrappers.Autoreset, lambda env: env])
def test_a_wrapper_that_resets_inside_of_its_step(tmp_path: Path, wrap: Any) -> None:
    env = wrap(gymnasium.make("InvertedPendulum-v5", max_episode_steps=5))
    is_automatic = isinstance(env, gymnasium.wrappers.Autoreset)
    with record(env, tmp_path / "run.npz"):
        env.reset(seed=0)
        for _ in range(13):
            *_, ended, cut, _ = env.step(np.zeros(1, np.float32))
            if (ended or cut) and not is_automatic:
                env.reset()
    begins = np.flatnonzero(recorded(tmp_path / "run.npz")["reset"])
    assert list(begins) == ([0, 6, 12] if is_automatic else [0, 5, 10])


@pytest.mark.parametrize("kind", ["isaac_lab", "mjlab"])
@pytest.mark.parametrize("concatenated", [True, False])
def test_managed_environments(tmp_path: Path, kind: str, concatenated: bool) -> None:
    env = ManagedEnv(kind, "policy" if kind == "isaac_lab" else "actor", concatenated)
    with record(env, tmp_path / "all.npz", row=None):
        env.reset()
        for step in range(9):
            env.step(torch.full((ROWS, 2), float(step)))
    found = recorded(tmp_path / "all.npz")
    count = found["observation"][..., 2]
    np.testing.assert_array_equal(count[:, 0], [0, 1, 2, 3, 0, 1, 2, 3, 0])
    np.testing.assert_array_equal(count[:, 1], [0, 1, 2, 0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(found["reset"], count == 0)
    np.testing.assert_array_equal(found["action"][..., 0], np.repeat(np.arange(9.0)[:, None], ROWS, axis=1))
    np.testing.assert_array_equal(found["joint_pos"], count[..., None] + [7.0, 8.0])
    np.testing.assert_array_equal(found["command"][..., 0], -count)
    assert list(found["names"]) == ["joint_pos[0]", "joint_pos[1]", "phase"]
    common = {"observation", "reset", "action", "names", "joint_pos", "command"}
    own = {
        "isaac_lab": {"root_quat_w", "imu.ang_vel_b", "imu.lin_acc_b"},
        "mjlab": {"root_link_quat_w", "gyro", "qpos"},
    }
    assert found.keys() == common | own[kind]


def test_one_row_and_partial_resets_and_a_runner_that_never_resets(tmp_path: Path) -> None:
    env = ManagedEnv("mjlab")
    with record(env, tmp_path / "one.npz", row=2):
        env.reset()
        env.reset(env_ids=torch.tensor([1]))
        env.step(torch.zeros(ROWS, 2))
        env.reset(env_ids=torch.tensor([0]))
        env.step(torch.zeros(ROWS, 2))
        env.reset(env_ids=torch.tensor([2]))
        env.step(torch.zeros(ROWS, 2))
    one = recorded(tmp_path / "one.npz")
    np.testing.assert_array_equal(one["observation"][:, 2], [0, 1, 0])
    np.testing.assert_array_equal(one["reset"], [True, False, True])
    env = ManagedEnv("isaac_lab")
    runner = RunnerWrapper(env)
    with record(runner, tmp_path / "runner.npz", steps=4):
        for _ in range(6):
            runner.step(torch.zeros(ROWS, 2))
    found = recorded(tmp_path / "runner.npz")
    np.testing.assert_array_equal(found["observation"][:, 2], [1, 2, 3, 0])
    np.testing.assert_array_equal(found["reset"], [False, False, False, True])


class Unknown:
    """An environment of one's own, whose observations have names."""

    num_envs = 2

    def reset(self) -> Any:
        return {"a": np.zeros((2, 1)), "b": np.ones((2, 2))}

    def step(self, _: Any) -> Any:
        return self.reset(), 0.0, np.zeros(2), {}


def test_raw_states_of_ones_own_and_what_cannot_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    env = Unknown()
    with pytest.raises(GanglionError, match=r"raw state of Unknown is not known here: give it, raw="):
        record(env, path)
    with record(env, path, raw=lambda _: {"q": np.full((2, 3), 5.0)}):
        env.reset()
        env.step(np.zeros((2, 1)))
    found = recorded(path)
    assert found["observation"].tolist() == [[0.0, 1.0, 1.0]] and found["q"].tolist() == [[5.0] * 3]
    before = path.read_bytes()
    with pytest.raises(GanglionError, match="nothing was recorded"), record(env, path, raw=lambda _: {}):
        pass
    with pytest.raises(RuntimeError, match="mine"), record(env, path, raw=lambda _: {}):
        env.reset()
        raise RuntimeError("mine")
    with (
        pytest.raises(GanglionError, match="cannot be called 'action'"),
        record(env, path, raw=lambda _: {"action": 1}),
    ):
        env.reset()
    with (
        pytest.raises(GanglionError, match=r"'q' is \[3\]; of 2 environments"),
        record(env, path, raw=lambda _: {"q": np.zeros(3)}),
    ):
        env.reset()
    with (
        pytest.raises(GanglionError, match="no observations 'c'; it has a, b"),
        record(env, path, group="c", raw=lambda _: {}),
    ):
        env.reset()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert "step" not in vars(env)
    for options, said in (({"steps": 0}, "at least one"), ({"row": 2}, "row is 2; the environment has 2")):
        with pytest.raises(ValueError, match=said):
            record(env, path, raw=lambda _: {}, **options)
    with pytest.raises(ValueError, match=r"is a \.npz file"):
        record(env, tmp_path / "run.mcap", raw=lambda _: {})
