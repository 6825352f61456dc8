"""Policies whose outputs are a distribution, in as few lines as a policy takes."""

from __future__ import annotations

import gymnasium as gym
import torch
from torch import nn

from ganglion.contract import StateSlot, TensorSpec
from ganglion.policies import EnvSpec, RecurrentPolicy

SPEC = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (2,)))


class GaussianPolicy(RecurrentPolicy):
    """Mean and log_std from observation and last action."""

    state_layout = (StateSlot("prev_action", (2,)),)
    output_specs = (TensorSpec("mean", 2), TensorSpec("log_std", 2))

    def __init__(self):
        super().__init__(SPEC)
        self.layer = nn.Linear(5, 4)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(*obs.shape[:-1]) if hidden is None else hidden
        mean, log_std = torch.tanh(self.layer(torch.cat((obs, hidden), dim=-1))).chunk(2, dim=-1)
        return mean, log_std, mean


class CategoricalPolicy(RecurrentPolicy):
    """Scores of five categories, without memory."""

    state_layout = ()
    output_specs = (TensorSpec("actions", 1), TensorSpec("logits", 5))

    def __init__(self):
        super().__init__(SPEC)
        self.layer = nn.Linear(3, 5)

    def forward(self, obs, hidden=None):  # noqa: ARG002  (it has no memory)
        logits = self.layer(obs)
        return logits.argmax(dim=-1, keepdim=True).float(), logits, obs[..., :0]
