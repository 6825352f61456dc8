"""One step: what an environment hands out, and the same with what the agent knew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion.data.step_type import StepType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ganglion.data.env_spec import EnvSpec


class _StepFlags:
    """What a step type says about a step."""

    step_type: StepType

    @property
    def first(self) -> bool:
        """Whether this is the first step of its episode."""
        return self.step_type == StepType.FIRST

    @property
    def mid(self) -> bool:
        """Whether this step is neither the first nor the last of its episode."""
        return self.step_type == StepType.MID

    @property
    def terminal(self) -> bool:
        """Whether the environment ended the episode with this step."""
        return self.step_type == StepType.TERMINAL

    @property
    def timeout(self) -> bool:
        """Whether the time of the episode ran out with this step."""
        return self.step_type == StepType.TIMEOUT

    @property
    def last(self) -> bool:
        """Whether this is the last step of its episode, for either reason."""
        return self.terminal or self.timeout


@dataclass(eq=False)
class EnvStep(_StepFlags):
    """What `Environment.step` returns. Nothing is checked.

    Attributes:
        env_spec: the spec of the environment.
        action: the action that was taken.
        reward: the reward of this step.
        observation: the observation AFTER the action.
        env_info: what else the environment says, by name.
        step_type: where in its episode the step lies.
    """

    env_spec: EnvSpec | None
    action: Any
    reward: float
    observation: Any
    env_info: Mapping[str, Any]
    step_type: StepType


@dataclass(frozen=True, eq=False)
class TimeStep(_StepFlags):
    """One sample of an episode. Nothing is checked.

    Attributes:
        env_spec: the spec of the environment.
        episode_info: what the environment said at `reset`, by name.
        observation: the observation BEFORE the action.
        action: the action that was taken.
        reward: the reward of this step.
        next_observation: the observation after the action.
        env_info: what the environment said of this step, by name.
        agent_info: what the agent said of this step, by name, for example its hidden state.
        step_type: where in its episode the step lies.
    """

    env_spec: EnvSpec | None
    episode_info: Mapping[str, Any]
    observation: Any
    action: Any
    reward: float
    next_observation: Any
    env_info: Mapping[str, Any]
    agent_info: Mapping[str, Any]
    step_type: StepType

    @classmethod
    def from_env_step(
        cls,
        env_step: EnvStep,
        last_observation: Any,
        agent_info: Mapping[str, Any],
        episode_info: Mapping[str, Any],
    ) -> TimeStep:
        """Returns the sample of an environment's step.

        Args:
            env_step: what the environment returned; its observation becomes `next_observation`.
            last_observation: the observation that the action answered to.
            agent_info: what the agent said of this step.
            episode_info: what the environment said at `reset`.
        """
        return cls(
            env_spec=env_step.env_spec,
            episode_info=episode_info,
            observation=last_observation,
            action=env_step.action,
            reward=env_step.reward,
            next_observation=env_step.observation,
            env_info=env_step.env_info,
            agent_info=agent_info,
            step_type=env_step.step_type,
        )
