"""An environment as garage's page has it, `reset(self)`, works wherever one of ours does."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from ganglion.data import EnvSpec, EnvStep, StepType
from ganglion.envs import Environment, MaskObservation, ScaleAction, VectorGymEnvironment, Wrapper
from ganglion.policies import GaussianLSTMPolicy
from ganglion.training import LocalSampler

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = EnvSpec(Box(-1.0, 1.0, (3,), np.float32), Box(-1.0, 1.0, (1,), np.float32), max_episode_length=5)


class ByThePage(Environment):
    """Counts its steps; has nothing that is not on the page."""

    def __init__(self) -> None:
        self.steps = 0

    @property
    def spec(self) -> EnvSpec:
        return SPEC

    @property
    def render_modes(self) -> list[str]:
        return ["ansi"]

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        self.steps = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> EnvStep:
        self.steps += 1
        kind = StepType.get_step_type(self.steps, 5, False)
        return EnvStep(SPEC, action, 1.0, np.full(3, self.steps / 10.0, np.float32), {}, kind)

    def render(self, mode: str) -> str:
        return mode

    def visualize(self) -> None:
        pass

    def close(self) -> None:
        pass


class WithSeed(ByThePage):
    seeds: tuple[int | None, ...] = ()

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        self.seeds = (*self.seeds, seed)
        return super().reset()


class WithAnything(ByThePage):
    seeds: tuple[int | None, ...] = ()

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        self.seeds = (*self.seeds, options.get("seed"))
        return super().reset()


class WrapperByThePage(Wrapper):
    def reset(self) -> tuple[Any, Any]:  # type: ignore[override]
        return self._env.reset()


@pytest.mark.parametrize(
    "wrapped",
    [
        Wrapper,
        WrapperByThePage,
        ScaleAction,
        lambda env: MaskObservation(env, [0, 1, 2]),
        lambda env: Wrapper(WrapperByThePage(ScaleAction(env))),
    ],
)
def test_wrappers(wrapped: Callable[[Environment], Environment]) -> None:
    env = wrapped(ByThePage())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observation, _ = env.reset()
    assert observation.tolist() == [0.0] * 3
    assert env.step(np.zeros(1)).observation[0] == np.float32(0.1)


def test_whoever_seeds_it_is_warned() -> None:
    with pytest.warns(UserWarning, match=r"ByThePage.reset\(\) takes no seed.*reset\(self, \*, seed=None\)"):
        Wrapper(ByThePage()).reset(seed=1)


@pytest.mark.parametrize("kind", [WithSeed, WithAnything])
def test_a_seed_gets_to_who_takes_it(kind: type[Any]) -> None:
    env = kind()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ScaleAction(Wrapper(env)).reset(seed=7)
    assert env.seeds == (7,)


@pytest.mark.filterwarnings("ignore:ByThePage.reset")
def test_rows_of_it() -> None:
    envs = VectorGymEnvironment(ByThePage, 2)
    assert envs.reset(seeds=[1, 2]).tolist() == [[0.0] * 3] * 2
    assert envs.step(np.zeros((2, 1)))[0][:, 0].tolist() == [np.float32(0.1)] * 2


@pytest.mark.filterwarnings("ignore:ByThePage.reset")
def test_the_example_of_the_page() -> None:
    env, policy = ByThePage(), GaussianLSTMPolicy(SPEC, 4)
    policy.reset()
    observation, episode_info = env.reset()
    action, _ = policy.get_action(observation, episode_info)
    episode = [env.step(action)]
    while not episode[-1].last:
        episode.append(env.step(policy.get_action(episode[-1].observation)[0]))
    assert [step.step_type for step in episode] == [StepType.FIRST, *[StepType.MID] * 3, StepType.TIMEOUT]
    assert LocalSampler(policy, ByThePage).obtain_episodes(0, 10).lengths.tolist() == [5, 5]
