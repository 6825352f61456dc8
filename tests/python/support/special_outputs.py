"""A policy whose outputs behind the action become NaN and infinite while the action stays finite."""

from __future__ import annotations

import gymnasium as gym
import torch

from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies import EnvSpec, RecurrentPolicy

SPECIAL_OBSERVATIONS = (
    ((1.0, 1.0, 1.0), True),
    ((-1.0, 1.0, 1.0), False),  # a NaN in the first output behind the action
    ((0.0, 1.0, 1.0), True),  # -infinity beside finite elements: a choice that is masked out
    ((0.0, 0.0, 0.0), False),  # nothing but masked choices
    ((1.0, 1.0, 90.0), False),  # +infinity in the last output
    ((1.0, 2.0, 1.5), True),
)
"""Observations, and whether a step with them is good."""


class SpecialOutputsPolicy(RecurrentPolicy):
    """`tanh(obs)`, `log(obs)` and `exp(obs[2])`, without memory."""

    state_layout: tuple[StateSlot, ...] = ()
    output_specs = (TensorSpec("actions", 3), TensorSpec("logits", 3), TensorSpec("risk", 1))

    def __init__(self) -> None:
        super().__init__(EnvSpec(gym.spaces.Box(0.5, 1.5, (3,)), gym.spaces.Box(-1.0, 1.0, (3,))))

    def forward(self, obs: torch.Tensor, hidden: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:  # noqa: ARG002
        return torch.tanh(obs), torch.log(obs), torch.exp(obs[..., 2:]), obs[..., :0]
