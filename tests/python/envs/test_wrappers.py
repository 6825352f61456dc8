"""Masked observations and scaled actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from small_envs import Counter

from ganglion.envs import GymEnvironment, MaskObservation, ScaleAction

NAMES = ["seed", "steps", "sum", "constant"]
ACTION = np.array([0.5, -1.0], np.float32)


@pytest.mark.parametrize("keep", [[3, 1], ["constant", "steps"], ("constant", np.int64(1))])
def test_only_some_elements_are_seen(keep: Any) -> None:
    env = MaskObservation(GymEnvironment(Counter(), 9, observation_names=NAMES, action_names=["u", "v"]), keep)
    assert env.observation_space == Box(-100.0, 100.0, (2,), np.float64)
    assert env.spec.observation_names == ("constant", "steps")
    assert env.spec.action_names == ("u", "v")
    assert env.spec.max_episode_length == 9
    assert env.spec.observation_space is env.observation_space
    observation, info = env.reset(seed=4)
    assert observation.tolist() == [42, 0]
    assert info == {"goal": 4}
    step = env.step(ACTION)
    assert step.observation.tolist() == [42, 1]
    assert step.env_spec is env.spec
    assert step.env_info == {"steps": 1}


def test_bounds_stay_with_their_elements() -> None:
    inner = Counter()
    inner.observation_space = Box(np.arange(4.0), np.arange(4.0) + 9, dtype=np.float64)
    space = MaskObservation(inner, [2, 0]).observation_space
    assert space.low.tolist() == [2.0, 0.0]  # type: ignore[attr-defined]
    assert space.high.tolist() == [11.0, 9.0]  # type: ignore[attr-defined]


def test_environments_of_gymnasium_and_ids_are_taken() -> None:
    assert MaskObservation(gymnasium.make("CartPole-v1"), [0, 2]).spec.observation_size == 2
    assert MaskObservation("CartPole-v1", [0, 2]).spec.max_episode_length == 500
    assert ScaleAction("Pendulum-v1").action_space == Box(-1.0, 1.0, (1,))


@pytest.mark.parametrize(
    ("keep", "kind", "message"),
    [
        ([], ValueError, "at least one element"),
        ([1, 1], ValueError, r"none twice, not \[1, 1\]"),
        (["steps", 1], ValueError, "none twice"),
        ([4], ValueError, "no element 4 in 4 observations"),
        ([-1], ValueError, "no element -1"),
        (["speed"], ValueError, "no observation is called 'speed'; known: seed, steps, sum, constant"),
        ("steps", TypeError, "must be a sequence of indices or names"),
        ([1.0], TypeError, "indices or names, not 1.0"),
        ([True], TypeError, "indices or names, not True"),
    ],
)
def test_masks_that_do_not_fit(keep: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        MaskObservation(GymEnvironment(Counter(), observation_names=NAMES), keep)


def test_spaces_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="known: none; give observation_names"):
        MaskObservation(Counter(), ["steps"])
    image = Counter()
    image.observation_space = Box(0, 255, (2, 2), np.uint8)
    with pytest.raises(ValueError, match="must be a Box with one axis"):
        MaskObservation(image, [0])
    free = Counter()
    free.action_space = Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match="Box of floats with finite bounds"):
        ScaleAction(free)
    with pytest.raises(ValueError, match=r"not Discrete\(2\)"):
        ScaleAction("CartPole-v1")
    with pytest.raises(TypeError, match=r"must be an id or a gymnasium.Env, not NoneType"):
        ScaleAction(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "taken"),
    [([-1.0, -1.0], [-2.0, 0.0]), ([1.0, 1.0], [2.0, 1.0]), ([0.0, 0.5], [0.0, 0.75]), ([2.0, -2.0], [4.0, -0.5])],
)
def test_actions_are_scaled_to_the_bounds(given: list[float], taken: list[float]) -> None:
    inner = Counter()
    env = ScaleAction(inner)
    assert env.action_space == env.spec.action_space == Box(-1.0, 1.0, (2,))
    assert env.observation_space is inner.observation_space
    env.reset()
    action = np.array(given, np.float64)
    step = env.step(action)
    assert inner.actions[0].tolist() == taken
    assert inner.actions[0].dtype == np.float32
    assert step.action is action
    assert step.env_spec is env.spec
    with pytest.raises(ValueError, match=r"ScaleAction: the action has shape \(\)"):
        env.step(0.5)


def test_wrappers_go_around_wrappers() -> None:
    inner = Counter()
    env = ScaleAction(MaskObservation(GymEnvironment(inner, 2), [1]))
    env.reset(seed=1)
    assert env.step(np.zeros(2)).observation.tolist() == [1]
    step = env.step(np.zeros(2))
    assert step.timeout
    assert (step.env_spec.observation_size, step.env_spec.action_space.low[0]) == (1, -1.0)  # type: ignore[union-attr]
    assert env.unwrapped is inner
    assert env.render_modes == ()
