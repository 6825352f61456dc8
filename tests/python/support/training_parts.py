"""A task, an agent and an algorithm that are small enough to run in every test."""

from __future__ import annotations

import contextlib
import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from ganglion.data import EnvSpec, EpisodeBatch, StepType

if TYPE_CHECKING:
    from pathlib import Path

SPEC = EnvSpec(Box(-np.inf, np.inf, (2,), np.float32), Box(-1.0, 1.0, (1,), np.float32), max_episode_length=20)


class Points:
    """Points on lines that are pushed, side by side; an episode ends when one is too far out.

    What goes on in a row depends on its seed and its actions alone.
    """

    def __init__(self, make=None, count=1, nan_at=None):  # noqa: ARG002  (what a sampler calls it with)
        self.count, self.spec, self.nan_at = count, SPEC, nan_at
        self.is_closed = False
        self.rngs = [np.random.default_rng(0) for _ in range(count)]
        self.state = np.zeros((count, 2), np.float32)
        self.time = np.zeros(count, np.int64)

    def reset(self, rows=None, seeds=None):
        rows = np.ones(self.count, bool) if rows is None else rows
        for row, seed in zip(np.flatnonzero(rows), seeds, strict=True):
            self.rngs[row] = np.random.default_rng(seed)
            self.state[row] = self.rngs[row].normal(size=2)
            self.time[row] = 0
        return self.state.copy()

    def step(self, actions, active=None):  # noqa: ARG002  (all rows may step)
        noise = np.array([rng.normal() for rng in self.rngs], np.float32)
        self.state[:, 1] += 0.3 * actions[:, 0] + 0.1 * noise
        self.state[:, 0] += 0.3 * self.state[:, 1]
        self.time += 1
        rewards = 1.0 - np.abs(self.state[:, 0]).astype(np.float64)
        if self.nan_at is not None:
            rewards[self.time == self.nan_at] = np.nan
        terminated = np.abs(self.state[:, 0]) > 2.0
        truncated = ~terminated & (self.time >= SPEC.max_episode_length)
        infos = {"speed": np.abs(self.state[:, 1]), "_speed": np.ones(self.count, bool), "name": np.array(["x"])}
        return self.state.copy(), rewards, terminated, truncated, infos

    def close(self):
        self.is_closed = True


class Agent(nn.Module):
    """A GRU cell and a Gaussian; keeps its hidden states."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.GRUCell(2, 4)
            self.mean = nn.Linear(4, 1)
            self.log_std = nn.Parameter(torch.full((1,), -0.5))
        self.hidden = None

    def distribution(self, hidden):
        return torch.distributions.Normal(self.mean(hidden), self.log_std.exp())

    def reset(self, rows):
        if self.hidden is None or len(self.hidden) != len(rows):
            self.hidden = torch.zeros(len(rows), 4)
        self.hidden = torch.where(torch.from_numpy(rows)[:, None], 0.0, self.hidden)

    @torch.no_grad()
    def get_actions(self, observations):
        before, self.hidden = self.hidden, self.cell(torch.from_numpy(observations), self.hidden)
        distribution = self.distribution(self.hidden)
        actions = distribution.sample()
        infos = {"hidden_states": before.numpy(), "log_prob": distribution.log_prob(actions).sum(-1).numpy()}
        return actions.numpy(), infos


class MortalAgent(Agent):
    """Kills its process after some steps, if a file is there, and takes that away: so it happens once."""

    def __init__(self, marker: Path):
        super().__init__()
        self.marker, self.steps = marker, 0

    def get_actions(self, observations):
        self.steps += 1
        if self.steps == 7:
            with contextlib.suppress(FileNotFoundError):
                self.marker.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().get_actions(observations)


class PolicyGradient:
    """REINFORCE with Adam and a bit of noise, so that moments and generators matter."""

    def __init__(self, sampler=None, seed=0):
        self.policy, self.sampler = Agent(seed), sampler
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=0.02)
        self.returns = []

    def train(self, trainer):
        for _ in trainer.step_epochs():
            episodes = trainer.obtain_episodes(trainer.step_itr)
            self.update(episodes)
            trainer.step_itr += 1
            trainer.step_episode = episodes
        return self.returns[-1] if self.returns else None

    def update(self, episodes: EpisodeBatch):
        hidden = torch.from_numpy(episodes.agent_infos["hidden_states"])
        hidden = self.policy.cell(torch.from_numpy(episodes.observations), hidden)
        log_prob = self.policy.distribution(hidden).log_prob(torch.from_numpy(episodes.actions)).sum(-1)
        rewards = torch.from_numpy(episodes.rewards).float() + 0.01 * torch.randn(len(episodes.rewards))
        rewards += float(np.random.normal())
        loss = -(log_prob * (rewards - rewards.mean())).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.returns.append(float(episodes.rewards.sum() / len(episodes.lengths)))

    def state_dict(self):
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "returns": self.returns,
            "last": np.float64(self.returns[-1]),
        }

    def load_state_dict(self, state):
        assert type(state["last"]) is np.float64
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.returns = state["returns"]


def config(folder: Path, mode="last", gap=1) -> SimpleNamespace:
    return SimpleNamespace(snapshot_dir=str(folder), snapshot_mode=mode, snapshot_gap=gap)


def ten_steps() -> EpisodeBatch:
    """Two episodes of 4 and 6 steps."""
    types = np.full(10, StepType.MID, np.uint8)
    types[[0, 4]], types[[3, 9]] = StepType.FIRST, StepType.TERMINAL
    return EpisodeBatch(
        env_spec=None,
        episode_infos={},
        observations=np.arange(20.0).reshape(10, 2),
        last_observations=np.zeros((2, 2)),
        actions=np.zeros((10, 1)),
        rewards=np.arange(10.0),
        env_infos={},
        agent_infos={},
        step_types=types,
        lengths=np.array([4, 6]),
    )


def same_episodes(first: EpisodeBatch, second: EpisodeBatch) -> bool:
    """Whether two batches are equal to the last bit."""

    def equal(one, two):
        if isinstance(one, dict):
            return one.keys() == two.keys() and all(equal(one[name], two[name]) for name in one)
        return one.dtype == two.dtype and np.array_equal(one, two)

    names = ("observations", "last_observations", "actions", "rewards", "step_types", "lengths")
    infos = ("env_infos", "agent_infos", "episode_infos_by_episode")
    return all(equal(getattr(first, name), getattr(second, name)) for name in names + infos)
