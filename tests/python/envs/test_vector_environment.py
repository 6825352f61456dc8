"""Many environments side by side."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from small_envs import Counter

from ganglion.envs import GymEnvironment, MaskObservation, VectorGymEnvironment

MASK = np.array([True, False, True])


def counters(lengths: list[int], **arguments: Any) -> tuple[VectorGymEnvironment, list[Counter]]:
    made = [Counter(length) for length in lengths]
    rest = iter(made)
    return VectorGymEnvironment(lambda: next(rest), len(made), **arguments), made


def actions(count: int = 3) -> np.ndarray:
    return np.tile(np.arange(1.0, count + 1)[:, np.newaxis], 2)


def test_rows_run_by_themselves_and_show_every_last_observation() -> None:
    envs, _ = counters([2, 4, 3])
    observations = envs.reset(seeds=[10, 20, 30])
    assert observations[:, 0].tolist() == [10, 20, 30]
    seen = [observations]
    for step in range(4):
        observations, rewards, terminated, truncated, infos = envs.step(actions())
        seen.append(observations)
        assert rewards.tolist() == [1, 1, 1]
        assert not truncated.any()
        assert infos["steps"].tolist() == observations[:, 1].tolist()
        assert terminated.tolist() == [step in (1, 3), step == 3, step == 2]
        if terminated.any():
            again = envs.reset(terminated, seeds=[100 + step] * int(terminated.sum()))
            assert again[terminated, 1].tolist() == [0] * int(terminated.sum())
            np.testing.assert_array_equal(again[~terminated], observations[~terminated])
    # What was handed out is never written to again.
    assert [row[1] for row in (seen[2][0], seen[3][2], seen[4][1])] == [2, 3, 4]
    assert seen[4][:, 0].tolist() == [101, 20, 102]
    assert seen[4][:, 2].tolist() == [2, 8, 3]


def test_rows_are_seeded_one_by_one() -> None:
    envs = VectorGymEnvironment("Pendulum-v1", 3)
    alone = GymEnvironment("Pendulum-v1")
    first = envs.reset(seeds=[1, 2, 3])
    for row, seed in enumerate((1, 2, 3)):
        np.testing.assert_array_equal(first[row], alone.reset(seed=seed)[0])
    later = envs.reset([2, 0], seeds=[8, 9])
    np.testing.assert_array_equal(later[1], first[1])
    np.testing.assert_array_equal(later[2], alone.reset(seed=8)[0])
    np.testing.assert_array_equal(later[0], alone.reset(seed=9)[0])
    assert envs.spec.max_episode_length == 200
    assert envs.spec.observation_space == alone.observation_space


def test_episodes_equal_those_of_one_environment() -> None:
    envs, alone = VectorGymEnvironment("CartPole-v1", 2), GymEnvironment("CartPole-v1")
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 2, (30, 2))
    observations = envs.reset(seeds=[5, 6])
    tracks: list[list[Any]] = [[row] for row in observations]
    running = np.ones(2, bool)
    for pair in chosen:
        observations, _, terminated, truncated, _ = envs.step(pair, active=running)
        for row in np.flatnonzero(running):
            tracks[row].append(observations[row])
        running &= ~(terminated | truncated)
        if not running.any():
            break
    assert not running.any()
    for row, seed in enumerate((5, 6)):
        expected = [alone.reset(seed=seed)[0]]
        for pair in chosen:
            step = alone.step(pair[row])
            expected.append(step.observation)
            if step.last:
                break
        np.testing.assert_array_equal(tracks[row], expected)


def test_rows_that_take_no_part() -> None:
    envs, made = counters([2, 4, 3])
    envs.reset()
    envs.step(actions())
    _, _, terminated, _, _ = envs.step(actions())
    assert terminated.tolist() == [True, False, False]
    wild = actions()
    wild[0] = np.nan
    _, rewards, terminated, truncated, _ = envs.step(wild, active=~terminated)
    assert rewards.tolist() == [0, 1, 1]
    assert terminated.tolist() == [False, False, True]
    assert not truncated.any()
    assert not np.isnan(made[0].actions).any()
    with pytest.raises(RuntimeError, match=r"for rows 0 \(ended\), 2 \(ended\), or leave them out"):
        envs.step(actions())
    # A row that sat out has to be reset, even if its episode had not ended.
    envs.reset([0, 2])
    envs.step(actions(), active=MASK)
    with pytest.raises(RuntimeError, match=r"for rows 1 \(ended\)"):
        envs.step(actions())
    assert envs.reset([1], seeds=[77])[1].tolist() == [77, 0, 0, 42]
    envs.step(actions())


def test_rows_that_take_no_part_are_reset_only_when_gymnasium_needs_it() -> None:
    envs, made = counters([2, 9, 9])
    envs.reset()
    for _ in range(2):
        envs.step(actions())
    for _ in range(4):
        envs.step(actions(), active=np.array([False, True, True]))
    # Before the first and the third of these steps: its episodes end after two.
    assert [env.resets for env in made] == [3, 1, 1]


def test_steps_before_resets() -> None:
    envs, _ = counters([2, 4, 3])
    with pytest.raises(RuntimeError, match=r"0 \(not begun\), 1 \(not begun\), 2 \(not begun\)"):
        envs.step(actions())
    observations = envs.reset(MASK, seeds=[1, 2])
    assert observations[[0, 2], 0].tolist() == [1, 2]
    with pytest.raises(RuntimeError, match=r"for rows 1 \(not begun\)"):
        envs.step(actions())
    observations, *_ = envs.step(actions(), active=MASK)
    assert observations[[0, 2], 1].tolist() == [1, 1]


def test_time_runs_out() -> None:
    envs, _ = counters([2, 9, 9], max_episode_length=2)
    envs.reset()
    envs.step(actions())
    _, _, terminated, truncated, _ = envs.step(actions())
    assert terminated.tolist() == [True, False, False]
    assert truncated.tolist() == [False, True, True]
    assert envs.spec.max_episode_length == 2
    envs.reset()
    _, _, terminated, truncated, _ = envs.step(actions())
    assert not (terminated | truncated).any()
    limited = VectorGymEnvironment(lambda: gymnasium.wrappers.TimeLimit(Counter(9), 1), 1)
    limited.reset()
    _, _, terminated, truncated, _ = limited.step(actions(1))
    assert (terminated[0], truncated[0]) == (False, True)


def test_environments_of_this_room() -> None:
    names = ["seed", "steps", "sum", "constant"]
    envs = VectorGymEnvironment(
        lambda: MaskObservation(GymEnvironment(Counter(), 2, observation_names=names), ["steps", "seed"]), 3
    )
    assert envs.spec.observation_names == ("steps", "seed")
    assert envs.spec.max_episode_length == 2
    assert envs.reset(seeds=range(3)).tolist() == [[0, 0], [0, 1], [0, 2]]
    observations, *_ = envs.step(actions())
    _, _, terminated, truncated, infos = envs.step(actions())
    assert observations[:, 0].tolist() == [1, 1, 1]
    assert truncated.all()
    assert not terminated.any()
    assert infos["steps"].tolist() == [2, 2, 2]
    envs.reset()


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_ready_vector_environments(kind: Any) -> None:
    envs = VectorGymEnvironment(kind([Counter, Counter], autoreset_mode=AutoresetMode.DISABLED))
    assert envs.count == 2
    envs.reset(seeds=[1, 2])
    envs.step(actions(2))
    observations = envs.reset([1], seeds=[5])
    assert observations[:, :2].tolist() == [[1, 1], [5, 0]]
    envs.close()
    envs.close()
    with pytest.raises(RuntimeError, match=r"after close\(\)"):
        envs.reset()
    with pytest.raises(RuntimeError, match=r"after close\(\)"):
        envs.step(actions(2))


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"autoreset_mode AutoresetMode.NEXT_STEP, which loses the end of episodes"):
        VectorGymEnvironment(SyncVectorEnv([Counter]))
    with pytest.raises(ValueError, match="count is 3, the vector environment has 1 rows"):
        VectorGymEnvironment(SyncVectorEnv([Counter], autoreset_mode=AutoresetMode.DISABLED), 3)
    for count in (None, 2.0, True):
        with pytest.raises(TypeError, match="count must be an int"):
            VectorGymEnvironment(Counter, count)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        VectorGymEnvironment(Counter, 0)
    with pytest.raises(TypeError, match="make must be a function, an id or a VectorEnv, not Counter"):
        VectorGymEnvironment(Counter(), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="make returned a int"):
        VectorGymEnvironment(lambda: 3, 1)  # type: ignore[arg-type,return-value]
    one = Counter()
    with pytest.raises(ValueError, match="returned one environment twice"):
        VectorGymEnvironment(lambda: one, 2)
    room = GymEnvironment(Counter())
    with pytest.raises(ValueError, match="returned one environment twice"):
        VectorGymEnvironment(lambda: room, 2)


def test_spaces_that_do_not_fit() -> None:
    other = Counter()
    other.observation_space = Box(-1.0, 1.0, (4,), np.float64)
    made = iter([Counter(), other])
    with pytest.raises(ValueError, match=r"observation_space of row 1 is Box\(-1.0.*expected Box\(-100.0"):
        VectorGymEnvironment(lambda: next(made), 2)
    nested = Counter()
    nested.observation_space = gymnasium.spaces.Dict(a=Box(-1.0, 1.0, (4,)))  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"gives no arrays; gymnasium.wrappers.FlattenObservation helps"):
        VectorGymEnvironment(lambda: nested, 1)


def test_rows_seeds_and_actions_that_do_not_fit() -> None:
    envs, _ = counters([9, 9, 9])
    envs.reset()
    for rows in ([], [3], [-1], [1, 1], np.zeros(3, bool), np.ones(2, bool), [0.5], [[0]]):
        with pytest.raises(ValueError, match="rows must"):
            envs.reset(rows)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 seeds for 2 rows"):
        envs.reset([0, 1], seeds=[1])
    with pytest.raises(ValueError, match=r"the actions have shape \(2, 2\), expected \(3, 2\)"):
        envs.step(actions(2))
    wild = actions()
    wild[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"row 1: the action is .* expected finite numbers"):
        envs.step(wild)
    poles = VectorGymEnvironment("CartPole-v1", 2)
    poles.reset()
    with pytest.raises(ValueError, match=r"row 1: the action is .*2.*action_space is Discrete\(2\)"):
        poles.step(np.array([0, 2]))


def test_rewards_that_are_not_finite() -> None:
    envs, made = counters([9, 9, 9])
    envs.reset()
    envs.step(actions())
    made[2].reward = np.nan
    with pytest.raises(ValueError, match="row 2, step 2: the reward is nan"):
        envs.step(actions())
    made[2].reward = 1.0
    made[1].reward = np.inf
    envs.step(actions(), active=MASK)  # of a row that takes no part, nothing counts
