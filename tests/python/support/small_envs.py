"""Environments whose every number can be told beforehand."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

ACTIONS = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))


class Counter(gymnasium.Env[Any, Any]):
    """Observes its seed, the steps of the episode, the sum of the first action and a constant; ends after `ends_at`."""

    metadata = {"render_modes": ["rgb_array", "human"]}  # noqa: RUF012
    observation_space = Box(-100.0, 100.0, (4,), np.float64)
    action_space = ACTIONS

    def __init__(self, ends_at: int = 5, render_mode: str | None = None) -> None:
        self.ends_at = ends_at
        self.render_mode = render_mode
        self.seed = -1
        self.closed = self.rendered = self.resets = 0
        self.reward = 1.0
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.seed = self.seed if seed is None else seed
        self.steps, self.sum = 0, 0.0
        self.resets += 1
        return self.observation(), {"goal": self.seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        self.steps += 1
        self.sum += float(action[0])
        return self.observation(), self.reward, self.steps >= self.ends_at, False, {"steps": self.steps}

    def observation(self) -> Any:
        return np.array([self.seed, self.steps, self.sum, 42.0])

    def render(self) -> Any:
        self.rendered += 1
        return np.zeros((2, 2, 3), np.uint8) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self.closed += 1
