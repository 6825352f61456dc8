"""Checkpoints that rl_games trains and saves itself, and runs of its own player."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import yaml
from rl_games.common import env_configurations, vecenv
from rl_games.torch_runner import Runner
from same_actions import STEPS, Run

OBS, ACTIONS = 5, 3
LOW, HIGH = (-2.0, -1.0, 0.0), (2.0, 1.0, 3.0)


class Env(vecenv.IVecEnv):
    """Rewards actions near the observation; episodes of 20 steps."""

    def __init__(self, rows: int, low: Any = LOW, high: Any = HIGH) -> None:
        self.rows = rows
        self.rng = np.random.default_rng(0)
        self.time = 0
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
        self.action_space = gymnasium.spaces.Box(np.array(low, "f"), np.array(high, "f"))

    def reset(self) -> np.ndarray:
        self.obs = self.rng.normal(0.3, 2.0, (self.rows, OBS)).astype("f")
        return self.obs

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.time += 1
        reward = -((action - self.obs[:, :ACTIONS]) ** 2).sum(1).astype("f")
        self.obs = (0.9 * self.obs + self.rng.normal(0.3, 1.0, (self.rows, OBS))).astype("f")
        return self.obs, reward, np.full(self.rows, self.time % 20 == 0), {}

    def get_number_of_agents(self) -> int:
        return 1

    def get_env_info(self) -> dict[str, Any]:
        spaces = {"action_space": self.action_space, "observation_space": self.observation_space}
        return {**spaces, "agents": 1, "value_size": 1}


UNIT = (-1.0,) * ACTIONS, (1.0,) * ACTIONS
"""The bounds of the environment "unit"."""

for name, bounds in (("ganglion", (LOW, HIGH)), ("unit", UNIT)):
    vecenv.register(name, lambda _name, rows, bounds=bounds, **_: Env(rows, *bounds))
    env_configurations.register(name, {"vecenv_type": name, "env_creator": lambda bounds=bounds, **_: Env(1, *bounds)})


def configuration(
    folder: Path,
    rnn: dict[str, Any] | None = None,
    *,
    units: tuple[int, ...] = (16, 12),
    separate: bool = False,
    mu_activation: str = "None",
    **config: Any,
) -> dict[str, Any]:
    continuous = {
        "mu_activation": mu_activation,
        "sigma_activation": "None",
        "mu_init": {"name": "default"},
        "sigma_init": {"name": "const_initializer", "val": 0},
        "fixed_sigma": True,
    }
    network: dict[str, Any] = {
        "name": "actor_critic",
        "separate": separate,
        "space": {"continuous": continuous},
        "mlp": {"units": list(units), "activation": "elu", "initializer": {"name": "default"}},
    }
    if rnn is not None:
        network["rnn"] = {"name": "lstm", "units": 8, "layers": 1, **rnn}
    training: dict[str, Any] = {
        "name": "agent", "env_name": "ganglion", "ppo": True, "torch_compile": False, "device": "cpu",
        "device_name": "cpu", "multi_gpu": False, "mixed_precision": False, "normalize_input": True,
        "normalize_value": True, "normalize_advantage": True, "num_actors": 16, "reward_shaper": {"scale_value": 0.1},
        "gamma": 0.99, "tau": 0.95, "learning_rate": 1e-2, "lr_schedule": None, "kl_threshold": 0.008,
        "score_to_win": 1e9, "max_epochs": 3, "save_best_after": 0, "save_frequency": 0, "grad_norm": 1.0,
        "entropy_coef": 0.0, "truncate_grads": True, "e_clip": 0.2, "horizon_length": 16, "minibatch_size": 128,
        "mini_epochs": 2, "critic_coef": 2, "clip_value": True, "bounds_loss_coef": 0.0, "seq_length": 4,
        "print_stats": False, "train_dir": str(folder), "full_experiment_name": "run",
    }  # fmt: skip
    return {
        "params": {
            "seed": 1,
            "torch_threads": 0,
            "algo": {"name": "a2c_continuous"},
            "model": {"name": "continuous_a2c_logstd"},
            "network": network,
            "config": training | config,
        }
    }


def train(config: dict[str, Any]) -> tuple[Path, Any]:
    """Trains as `runner.py --train` does; returns the checkpoint and rl_games' player of it."""
    folder = Path(config["params"]["config"]["train_dir"]) / "run"
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner()
        runner.load(copy.deepcopy(config))
        runner.run({"train": True, "play": False})
        checkpoint = folder / "nn" / "agent.pth"
        player = runner.create_player()
        player.restore(str(checkpoint))
    (folder / "params").mkdir()
    (folder / "params" / "agent.yaml").write_text(yaml.safe_dump(config))
    return checkpoint, player


def observed(steps: int, scale: float = 3.0) -> torch.Tensor:
    # Wide enough that the normaliser clips now and then.
    return torch.randn(steps, OBS, generator=torch.Generator().manual_seed(3)) * scale


def player_actions(player: Any, observations: torch.Tensor, reset_every: int = 37) -> torch.Tensor:
    player.has_batch_dimension = False
    actions = []
    for step, obs in enumerate(observations):
        if step % reset_every == 0:
            player.reset()
        actions.append(player.get_action(obs, is_deterministic=True).detach())
    return torch.stack(actions)


def record(player: Any, steps: int = STEPS, reset_every: int = 37) -> Run:
    """What the player does along random observations."""
    given = observed(steps)
    actions = player_actions(player, given, reset_every)
    return Run(given.numpy(), np.arange(steps) % reset_every == 0, actions.numpy())
