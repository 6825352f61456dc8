"""Checkpoints that Stable-Baselines3 and sb3-contrib train and save themselves, and runs of their own `predict`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch
from same_actions import STEPS, Run, resets
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from ganglion.adapters import sb3

if TYPE_CHECKING:
    from pathlib import Path

Box, Discrete, MultiDiscrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete
OBSERVATIONS = Box(np.float32([-2.0, -np.inf, -0.1234567891]), np.float32([2.0, np.inf, 1e-3 / 3]))
ACTIONS = Box(np.float32([-0.3, 1 / 3]), np.float32([0.1, 1.7]))
PARTS = {"b": Box(-2.0, 2.0, (2,)), "a": Box(-1.0, 5.0, (1, 2)), "mode": Discrete(3)}


class Toy(gymnasium.Env):
    """Random observations with a mean and a spread; only good for training a network into any direction."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space
        self.random = np.random.default_rng(0)
        self.steps = 0

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        self.steps = 0
        return observed(self.observation_space, self.random), {}

    def action_masks(self):
        """What MaskablePPO asks for: here, all actions are allowed."""
        return np.ones(self.action_space.n, bool)

    def step(self, action):
        self.steps += 1
        reward = float(np.sum(action))
        return observed(self.observation_space, self.random), reward, False, self.steps >= 20, {}


def observed(space, random):
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: observed(part, random) for key, part in space.spaces.items()}
    if isinstance(space, Discrete):
        return np.int64(random.integers(space.n))
    return random.normal(0.3, 1.5, space.shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One algorithm with its settings."""

    algorithm: type
    policy: str = "MlpPolicy"
    observations: gymnasium.Space = field(default_factory=lambda: OBSERVATIONS)
    actions: gymnasium.Space = field(default_factory=lambda: ACTIONS)
    env: str | None = None
    normalized: dict | None = None
    settings: dict = field(default_factory=dict)
    kwargs: dict = field(default_factory=dict)
    steps: int = 64

    def make(self):
        if self.env is not None:
            return gymnasium.make(self.env)
        return Toy(self.observations, self.actions)


OFF = {"learning_starts": 20, "buffer_size": 100, "batch_size": 16, "learning_rate": 0.01}
ON = {"n_steps": 32, "batch_size": 16, "learning_rate": 0.03}
SEARCH = {"n_delta": 2, "learning_rate": 1.0, "delta_std": 0.5}
LSTM = {"lstm_hidden_size": 12, "net_arch": {"pi": [10], "vf": [6]}}
DICT = gymnasium.spaces.Dict(PARTS)
CASES = {
    "lstm pendulum": Case(
        RecurrentPPO, "MlpLstmPolicy", env="Pendulum-v1", normalized={}, settings=ON,
        kwargs={**LSTM, "n_lstm_layers": 2, "log_std_init": 2.0}, steps=256,
    ),
    "lstm shared, gsde, squashed": Case(
        RecurrentPPO, "MlpLstmPolicy", settings={**ON, "use_sde": True}, kwargs={
            **LSTM, "shared_lstm": True, "enable_critic_lstm": False, "squash_output": True,
            "activation_fn": torch.nn.ELU,
        },
    ),
    "lstm categories": Case(
        RecurrentPPO, "MlpLstmPolicy", env="CartPole-v1", settings=ON,
        kwargs={**LSTM, "enable_critic_lstm": False, "net_arch": []}, steps=512,
    ),
    "lstm dict": Case(
        RecurrentPPO, "MultiInputLstmPolicy", observations=DICT, normalized={"norm_obs_keys": ["a"], "clip_obs": 1.5},
        settings=ON, kwargs=LSTM,
    ),
    "ppo": Case(PPO, normalized={"clip_obs": 2.0, "epsilon": 0.3}, settings=ON, kwargs={"net_arch": [8, 6]}),
    "ppo cartpole": Case(PPO, env="CartPole-v1", settings=ON, kwargs={"activation_fn": torch.nn.LeakyReLU}),
    "ppo dict": Case(
        PPO, "MultiInputPolicy", observations=gymnasium.spaces.Dict({k: PARTS[k] for k in "ab"}), normalized={},
        settings=ON,
    ),
    "a2c several categories": Case(
        A2C, observations=Discrete(4), actions=MultiDiscrete([3, 2]), settings={"n_steps": 8}
    ),
    "trpo": Case(TRPO, normalized={"norm_obs": False}, settings={"n_steps": 32, "batch_size": 16}),
    "sac": Case(SAC, settings=OFF, kwargs={"net_arch": [8, 6]}),
    "sac gsde": Case(SAC, normalized={}, settings={**OFF, "use_sde": True}, kwargs={"net_arch": [8], "clip_mean": 0.4}),
    "tqc": Case(TQC, settings=OFF, kwargs={"net_arch": [8]}),
    "td3": Case(TD3, settings=OFF, kwargs={"net_arch": {"pi": [8], "qf": [4]}, "activation_fn": torch.nn.SiLU}),
    "ddpg": Case(DDPG, settings=OFF, kwargs={"net_arch": [8, 7]}),
    "crossq": Case(CrossQ, settings=OFF, kwargs={"net_arch": [8, 7], "batch_norm_eps": 0.01}),
    "crossq linear": Case(CrossQ, settings=OFF, kwargs={"net_arch": {"pi": [], "qf": [8]}}),
    "crossq gsde": Case(CrossQ, settings={**OFF, "use_sde": True}, kwargs={"net_arch": [8], "batch_norm": False}),
    "dqn": Case(DQN, actions=Discrete(4), settings=OFF, kwargs={"net_arch": [8, 6]}),
    "dqn dict": Case(
        DQN, "MultiInputPolicy", observations=DICT, actions=Discrete(3), settings=OFF,
        kwargs={"activation_fn": torch.nn.SiLU},
    ),
    "qrdqn": Case(QRDQN, actions=Discrete(3), settings=OFF, kwargs={"n_quantiles": 7, "net_arch": [8]}, steps=24),
    "qrdqn linear": Case(QRDQN, actions=Discrete(3), normalized={}, settings=OFF, kwargs={"net_arch": []}),
    "ars": Case(ARS, settings=SEARCH, kwargs={"net_arch": [6]}),
    "ars clipped": Case(ARS, settings=SEARCH, kwargs={"net_arch": [6], "squash_output": False, "with_bias": False}),
    "ars linear": Case(ARS, "LinearPolicy", normalized={}, settings=SEARCH),
    "ars categories": Case(ARS, actions=Discrete(3), settings=SEARCH),
    "maskable ppo": Case(MaskablePPO, actions=Discrete(4), settings=ON),
}  # fmt: skip


@dataclass
class Trained:
    """What a training left behind: two files, and what the library reads from them."""

    checkpoint: Path
    vecnormalize: Path | None
    model: object
    normalizer: VecNormalize | None

    def load(self, **options):
        if self.vecnormalize is not None:
            options = {"vecnormalize": self.vecnormalize, **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sb3.load(self.checkpoint, **options)

    @cached_property
    def run(self):
        """What `predict` answers, along a thousand observations with resets."""
        return record(self)


def train(name, folder):
    """Trains a case of `CASES` for a while; writes `model.zip`, and `vecnormalize.pkl` where there are statistics."""
    torch.set_num_threads(1)
    case = CASES[name]
    venv = DummyVecEnv([case.make])
    env = venv if case.normalized is None else VecNormalize(venv, **case.normalized)
    model = case.algorithm(case.policy, env, seed=0, device="cpu", policy_kwargs=dict(case.kwargs), **case.settings)
    model.learn(case.steps)
    model.save(folder / "model.zip")
    normalizer, path = None, None
    if case.normalized is not None:
        path = folder / "vecnormalize.pkl"
        env.save(str(path))
        normalizer = VecNormalize.load(str(path), DummyVecEnv([case.make]))
    return Trained(folder / "model.zip", path, case.algorithm.load(folder / "model.zip", device="cpu"), normalizer)


def as_vector(space, observation):
    """The observation as our policies take it: parts side by side in the order of the space, categories one-hot."""
    if isinstance(space, gymnasium.spaces.Dict):
        return np.concatenate([as_vector(part, observation[key]) for key, part in space.spaces.items()])
    if isinstance(space, Discrete):
        return np.eye(int(space.n), dtype=np.float32)[observation]
    return np.asarray(observation, np.float32).reshape(-1)


def record(trained, steps=STEPS):
    """Observations, resets, and what the library predicts along them."""
    random = np.random.default_rng(1)
    space = trained.model.observation_space
    inputs, actions, state, begins = [], [], None, resets(random, steps)
    for reset in begins:
        observation = observed(space, random)
        inputs.append(as_vector(space, observation))
        if trained.normalizer is not None:
            observation = trained.normalizer.normalize_obs(observation)
        action, state = trained.model.predict(
            observation, state=state, episode_start=np.array([reset]), deterministic=True
        )
        actions.append(np.asarray(action, np.float32).reshape(-1))
    return Run(np.stack(inputs), begins, np.stack(actions))
