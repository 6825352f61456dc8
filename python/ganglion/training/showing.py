"""Showing a person what a policy does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.training.errors import TrainingError

if TYPE_CHECKING:
    from ganglion.envs import Environment
    from ganglion.training.protocols import Agent


def show_episode(env: Environment | None, agent: Agent | None) -> float:
    """Runs one episode in view, closes the environment and returns the sum of rewards.

    Args:
        env: an environment that nobody else uses.
        agent: who acts; its hidden state is that of this episode afterwards.

    Raises:
        TrainingError: there is no environment or no agent to show.
    """
    if env is None or agent is None:
        missing = "environment: give one to setup(algo, env)" if env is None else "policy: give the algorithm one"
        raise TrainingError(f"plot=True has no {missing}")
    try:
        env.visualize()
        observation, _ = env.reset()
        agent.reset(np.ones(1, np.bool_))
        total, last = 0.0, False
        while not last:
            actions, _ = agent.get_actions(np.asarray(observation)[np.newaxis])
            step: Any = env.step(actions[0])
            observation, last = step.observation, step.last
            total += float(step.reward)
    finally:
        env.close()
    return total
