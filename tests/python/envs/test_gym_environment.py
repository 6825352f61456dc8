"""Environments of gymnasium, one at a time."""

from __future__ import annotations

import copy
import gc
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from small_envs import Counter

from ganglion.data import EnvStep, EpisodeBatch, StepType, TimeStep, TimeStepBatch
from ganglion.envs import Environment, GymEnvironment, VectorGymEnvironment, Wrapper

ACTION = np.array([0.5, 0.5], np.float32)


def played(env: Environment, limit: int = 1000) -> list[EnvStep]:
    env.reset(seed=3)
    steps = []
    for _ in range(limit):
        steps.append(env.step(ACTION))
        if steps[-1].last:
            break
    return steps


def test_an_episode_that_the_environment_ends() -> None:
    env = GymEnvironment(Counter())
    observation, info = env.reset(seed=7)
    assert observation.tolist() == [7, 0, 0, 42]
    assert info == {"goal": 7}
    steps = played(env)
    first, mid, terminal = StepType.FIRST, StepType.MID, StepType.TERMINAL
    assert [step.step_type for step in steps] == [first, mid, mid, mid, terminal]
    assert steps[-1].observation.tolist() == [3, 5, 2.5, 42]
    assert steps[1].env_info == {"steps": 2}
    assert steps[1].reward == 1.0
    assert steps[1].env_spec is env.spec
    assert steps[1].action is ACTION


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (3, [StepType.FIRST, StepType.MID, StepType.TIMEOUT]),
        (1, [StepType.TIMEOUT]),
        # The environment ends the episode in the last step that is allowed: nothing follows.
        (5, [StepType.FIRST, *[StepType.MID] * 3, StepType.TERMINAL]),
    ],
)
def test_an_episode_whose_time_runs_out(limit: int, expected: list[StepType]) -> None:
    assert [step.step_type for step in played(GymEnvironment(Counter(), limit))] == expected


def test_gymnasium_truncates() -> None:
    env = gymnasium.wrappers.TimeLimit(Counter(), 2)
    assert [step.step_type for step in played(GymEnvironment(env))] == [StepType.FIRST, StepType.TIMEOUT]
    both = gymnasium.wrappers.TimeLimit(Counter(2), 2)
    assert [step.step_type for step in played(GymEnvironment(both))] == [StepType.FIRST, StepType.TERMINAL]


def test_limits_of_registered_environments() -> None:
    assert GymEnvironment("CartPole-v1").spec.max_episode_length == 500
    assert GymEnvironment("CartPole-v1", 700).spec.max_episode_length == 700
    assert GymEnvironment(gymnasium.make("CartPole-v1"), 700).spec.max_episode_length == 500
    assert GymEnvironment(gymnasium.make("CartPole-v1"), 7).spec.max_episode_length == 7
    assert GymEnvironment(Counter()).spec.max_episode_length is None


def test_seeds_decide() -> None:
    env = GymEnvironment("Pendulum-v1")
    first, again = env.reset(seed=5)[0], env.reset(seed=5)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, env.reset()[0])


def test_mujoco_runs() -> None:
    env = GymEnvironment("InvertedPendulum-v5", observation_names=["x", "angle", "v", "rate"])
    env.reset(seed=0)
    step = env.step(np.zeros(1, np.float32))
    assert step.observation.shape == (4,)
    assert env.spec.max_episode_length == 1000
    assert env.spec.observation_spec.element_names == ("x", "angle", "v", "rate")


def test_steps_out_of_turn() -> None:
    env = GymEnvironment(Counter())
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\): no episode has begun"):
        env.step(ACTION)
    played(env)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\): the episode has ended"):
        env.step(ACTION)
    env.reset()
    env.step(ACTION)
    env.close()
    for verb in (env.reset, env.visualize, lambda: env.step(ACTION), lambda: env.render("rgb_array")):
        with pytest.raises(RuntimeError, match=r"after close\(\)"):
            verb()


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, None, "much", np.ones(2)])
def test_rewards_that_are_no_finite_number(reward: Any) -> None:
    inner = Counter()
    env = GymEnvironment(inner)
    env.reset()
    env.step(ACTION)
    inner.reward = reward
    with pytest.raises(ValueError, match=r"Counter.*step 2: the reward is"):
        env.step(ACTION)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), r"the action has shape \(3,\), action_space is Box"),
        (0.5, r"the action has shape \(\)"),
        (np.array([0.0, np.nan]), "expected finite numbers"),
    ],
)
def test_actions_that_do_not_fit(action: Any, message: str) -> None:
    inner = Counter()
    env = GymEnvironment(inner)
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert inner.actions == []
    env.step(np.array([99.0, 99.0]))  # beyond the bounds: for policies and environments to decide


def test_discrete_actions() -> None:
    env = GymEnvironment("CartPole-v1")
    env.reset(seed=0)
    env.step(1)
    env.step(np.int64(0))
    for wrong in (2, -1, 0.5, np.array([1])):
        with pytest.raises(ValueError, match=r"action_space is Discrete\(2\)"):
            env.step(wrong)


def test_observations_that_do_not_fit() -> None:
    inner = Counter()
    env = GymEnvironment(inner)
    inner.observation = lambda: np.zeros(3)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"reset: the observation has shape \(3,\), observation_space is Box"):
        env.reset()
    del inner.observation  # type: ignore[misc]
    env.reset()
    inner.observation = lambda: np.zeros((4, 1))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"step 1: the observation has shape \(4, 1\)"):
        env.step(ACTION)


def test_spaces_and_arguments_that_do_not_fit() -> None:
    inner = Counter()
    inner.observation_space = gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2))  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"observation_space .* cannot be flattened"):
        GymEnvironment(inner)
    with pytest.raises(ValueError, match="3 observation_names for 4 elements"):
        GymEnvironment(Counter(), observation_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="max_episode_length must be at least 1"):
        GymEnvironment(Counter(), 0)
    with pytest.raises(TypeError, match=r"render_mode: arguments of gymnasium.make need an id"):
        GymEnvironment(Counter(), render_mode="human")
    with pytest.raises(TypeError, match=r"must be an id or a gymnasium.Env, not int"):
        GymEnvironment(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not SyncVectorEnv; use VectorGymEnvironment"):
        GymEnvironment(gymnasium.vector.SyncVectorEnv([Counter]))  # type: ignore[arg-type]
    with pytest.raises(gymnasium.error.Error, match="NoSuchThing"):
        GymEnvironment("NoSuchThing-v0")


def test_rendering() -> None:
    inner = Counter(render_mode="rgb_array")
    env = GymEnvironment(inner)
    env.reset()
    assert env.render_modes == ("rgb_array",)
    assert env.render("rgb_array").shape == (2, 2, 3)
    with pytest.raises(ValueError, match="'ansi' is not supported; supported: 'rgb_array'; it knows rgb_array, human"):
        env.render("ansi")
    with pytest.raises(ValueError, match="make it with render_mode='human'"):
        env.visualize()
    bare = GymEnvironment(Counter())
    with pytest.raises(ValueError, match="supported: none; make it with render_mode='rgb_array'"):
        bare.render("rgb_array")


def test_visualizing() -> None:
    inner = Counter(render_mode="human")
    env = GymEnvironment(inner)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before visualize"):
        env.visualize()
    env.reset()
    env.visualize()
    assert inner.rendered == 1


def test_closing_twice_and_being_collected() -> None:
    inner = Counter()
    env = GymEnvironment(inner)
    env.close()
    env.close()
    assert inner.closed == 1
    other = Counter()
    env = GymEnvironment(other)
    del env
    gc.collect()
    assert other.closed == 1


def test_nothing_is_raised_when_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)

    class Bad(Counter):
        def close(self) -> None:
            raise OSError("no window")

    env: Any = GymEnvironment(Bad())
    del env
    with pytest.raises(TypeError):
        GymEnvironment(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        VectorGymEnvironment(3)  # type: ignore[arg-type]
    wrapper: Any = Wrapper(object())  # type: ignore[arg-type]
    del wrapper
    gc.collect()
    assert raised == []


def test_wrappers_leave_their_environment_alone() -> None:
    inner = Counter()
    env = GymEnvironment(inner)
    wrapper = Wrapper(env)
    assert wrapper.unwrapped is inner
    assert wrapper.spec is env.spec
    assert wrapper.action_space is env.action_space
    del wrapper
    gc.collect()
    assert inner.closed == 0
    Wrapper(env).close()
    assert inner.closed == 1


def test_copies_go_on_by_themselves() -> None:
    env = Wrapper(GymEnvironment(Counter()))
    env.reset(seed=1)
    env.step(ACTION)
    other = copy.deepcopy(env)
    assert other.step(ACTION).observation.tolist() == [1, 2, 1.0, 42]
    assert env.step(ACTION).observation.tolist() == [1, 2, 1.0, 42]


def test_environments_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Environment()  # type: ignore[abstract]


def test_steps_become_batches() -> None:
    env = GymEnvironment(Counter())
    observation, episode_info = env.reset(seed=2)
    samples = []
    for _ in range(5):
        step = env.step(ACTION)
        sample = TimeStep.from_env_step(step, observation, {"h": np.zeros(3)}, episode_info)
        samples.append(sample)
        observation = step.observation
    batch = EpisodeBatch.from_list(
        env.spec,
        [
            {
                "episode_infos": samples[0].episode_info,
                "observations": np.stack([*(sample.observation for sample in samples), observation]),
                "actions": np.stack([sample.action for sample in samples]),
                "rewards": np.array([sample.reward for sample in samples]),
                "env_infos": {"steps": np.array([sample.env_info["steps"] for sample in samples])},
                "agent_infos": {"h": np.stack([sample.agent_info["h"] for sample in samples])},
                "step_types": np.array([sample.step_type for sample in samples]),
            }
        ],
    )
    assert isinstance(batch, TimeStepBatch)
    assert batch.terminals.tolist() == [False] * 4 + [True]
    np.testing.assert_array_equal(batch.next_observations[:, 1], [1, 2, 3, 4, 5])
    assert batch.episode_infos["goal"].tolist() == [2] * 5
