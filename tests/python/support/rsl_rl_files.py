"""Files that rsl_rl itself writes (runners, exporters), recordings of its own Python, and its older models.

For other tests: `export_real(train(configuration(MODELS["gru_2"])), folder)` writes the files of the real exporters,
and `record_runner` tells what rsl_rl does.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.modules import MLP, RNN, EmpiricalNormalization
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict
from torch import nn

ENVIRONMENTS, ACTIONS = 16, 3
GROUPS = {"policy": 4, "imu": 3}
"""Groups that the actor observes, in order."""
OBSERVATIONS = sum(GROUPS.values())
GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 1.0}

MODELS = {
    "mlp": {"class_name": "MLPModel"},
    **{
        f"{kind}_{layers}": {
            "class_name": "RNNModel", "rnn_type": kind, "rnn_hidden_dim": 8 + layers, "rnn_num_layers": layers,
        }
        for kind in ("lstm", "gru")
        for layers in (1, 2, 3)
    },
}  # fmt: skip
"""Kinds of actors: settings of the models of rsl_rl 5."""


class ToyEnv(VecEnv):
    """Hidden linear dynamics that an actor observes in part; episodes of 9 steps."""

    def __init__(self) -> None:
        self.num_envs, self.num_actions, self.max_episode_length = ENVIRONMENTS, ACTIONS, 9
        self.episode_length_buf = torch.zeros(ENVIRONMENTS, dtype=torch.long)
        self.device, self.cfg = "cpu", {}
        generator = torch.Generator().manual_seed(1)
        self.state = torch.randn(ENVIRONMENTS, 5, generator=generator)
        self.matrix = torch.randn(5, 5, generator=generator) * 0.4
        self.gain = torch.randn(ACTIONS, 5, generator=generator) * 0.3
        sensors = torch.randn(5, OBSERVATIONS, generator=generator)
        self.sensors = dict(zip(GROUPS, sensors.split(list(GROUPS.values()), 1), strict=True))

    def get_observations(self) -> TensorDict:
        # Scales far from one: a normaliser that is left out must show.
        groups = {name: self.state @ matrix * 3.0 + 5.0 for name, matrix in self.sensors.items()}
        return TensorDict({**groups, "privileged": self.state}, batch_size=[ENVIRONMENTS])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        self.state = torch.tanh(self.state @ self.matrix + actions @ self.gain) + 0.1 * torch.randn(ENVIRONMENTS, 5)
        self.episode_length_buf += 1
        done = self.episode_length_buf >= self.max_episode_length
        self.state[done] = torch.randn(int(done.sum()), 5)
        self.episode_length_buf[done] = 0
        return self.get_observations(), -self.state.square().sum(1), done.float(), {"time_outs": done}


def configuration(model: dict, *, normalized: bool = True, activation: str = "elu", distribution: dict = GAUSSIAN):
    """The configuration of a runner of rsl_rl 5, as Isaac Lab writes it into agent.yaml."""
    shared = {"hidden_dims": [12, 10], "activation": activation, "obs_normalization": normalized}
    return {
        "seed": 1,
        "num_steps_per_env": 8,
        "save_interval": 100,
        "obs_groups": {"actor": list(GROUPS), "critic": [*GROUPS, "privileged"]},
        "actor": {**model, **shared, "distribution_cfg": dict(distribution)},
        "critic": {**model, **shared},
        "algorithm": {
            "class_name": "PPO", "num_learning_epochs": 2, "num_mini_batches": 2, "learning_rate": 1e-2,
            "schedule": "fixed",
        },
    }  # fmt: skip


def train(config: dict, iterations: int = 2) -> OnPolicyRunner:
    """Lets rsl_rl's runner train an actor; it prints what it does, which nobody reads here."""
    torch.manual_seed(3)
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(ToyEnv(), copy.deepcopy(config), log_dir=None, device="cpu")
        runner.learn(iterations)
    return runner


def save(runner: OnPolicyRunner, path) -> None:
    """`OnPolicyRunner.save`, whose logger needs one that writes: there is none without a log directory."""
    runner.logger.save_model = lambda *_: None
    runner.save(str(path))


@dataclass(frozen=True)
class Recording:
    """What rsl_rl's Python did: `observation [steps, rows, n]`, `reset [steps, rows]`, `action [steps, rows, m]`."""

    observation: np.ndarray
    reset: np.ndarray
    action: np.ndarray


def record(act, reset, *, steps: int = 1000, rows: int = 1, size: int = OBSERVATIONS) -> Recording:
    """Runs a policy of rsl_rl along random observations, with resets of single rows.

    Args:
        act: maps observations `[rows, size]` to actions.
        reset: takes the rows that are done, `[rows]`.
        steps: number of steps.
        rows: number of environments.
        size: elements of an observation.
    """
    generator = np.random.default_rng(5)
    observation = (generator.normal(size=(steps, rows, size)) * 3.0 + 5.0).astype(np.float32)
    resets = generator.random((steps, rows)) < 0.02
    resets[0] = True
    actions = []
    with torch.inference_mode():
        for values, done in zip(observation, resets, strict=True):
            if done.any():
                reset(torch.from_numpy(done.astype(np.int64)))
            actions.append(act(torch.from_numpy(values)).numpy().copy())
    return Recording(observation, resets, np.stack(actions))


def record_runner(runner: OnPolicyRunner, **kwargs) -> Recording:
    """What the runner's own inference policy does."""
    policy = runner.get_inference_policy()
    policy.reset()

    def act(values):
        return policy(TensorDict(dict(zip(GROUPS, values.split(list(GROUPS.values()), 1), strict=True)), len(values)))

    return record(act, policy.reset, **kwargs)


def export_real(runner: OnPolicyRunner, folder):
    """Writes `policy.onnx` and `policy.pt` into a folder with rsl_rl's own exporters; returns both paths."""
    policy = runner.get_inference_policy()
    # A hidden state of the rollouts is copied otherwise.
    policy.reset()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            runner.export_policy_to_onnx(str(folder))
            runner.export_policy_to_jit(str(folder))
        finally:
            logging.disable(level)
    return folder / "policy.onnx", folder / "policy.pt"


# The models of older versions. Their layers are those of version 5 under other names (`MLP` gives the names 0, 2, 4
# that `nn.Sequential` gave; `RNN.rnn` is `Memory.rnn`), and the numbers they compute are these modules'.


class ActorCritic(nn.Module):
    """`ActorCritic` and `ActorCriticRecurrent` of rsl_rl 1 to 3, as far as names and inference go.

    Sources: `rsl_rl/modules/actor_critic.py`, `actor_critic_recurrent.py`, `networks/memory.py`, `networks/mlp.py` of
    2.3.3 and 3.1.2. Version 2 has its normaliser beside the model, version 3 inside (`normalized`).
    """

    roles = ("actor", "critic")
    memories = ("memory_a", "memory_c")

    def __init__(
        self, *, rnn: str | None = None, layers: int = 1, normalized: bool = False, std: str | None = "std",
        activation: str = "elu",
    ) -> None:  # fmt: skip
        super().__init__()
        self.state_dependent_std = std is None
        for role, memory, outputs in zip(self.roles, self.memories, (ACTIONS, 1), strict=True):
            if rnn is not None:
                setattr(self, memory, RNN(OBSERVATIONS, 9, layers, rnn))
            is_pair = self.state_dependent_std and role == self.roles[0]
            size = OBSERVATIONS if rnn is None else 9
            setattr(self, role, MLP(size, [2, outputs] if is_pair else outputs, [12, 10], activation))
            setattr(
                self, f"{role}_obs_normalizer", EmpiricalNormalization(OBSERVATIONS) if normalized else nn.Identity()
            )
        if std is not None:
            self.register_parameter(std, nn.Parameter(torch.zeros(ACTIONS)))

    def act_inference(self, obs: torch.Tensor) -> torch.Tensor:
        features = getattr(self, f"{self.roles[0]}_obs_normalizer")(obs)
        if hasattr(self, self.memories[0]):
            features = getattr(self, self.memories[0])(features).squeeze(0)
        actions = getattr(self, self.roles[0])(features)
        return actions[..., 0, :] if self.state_dependent_std else actions

    def reset(self, dones: torch.Tensor | None = None) -> None:
        if hasattr(self, self.memories[0]):
            getattr(self, self.memories[0]).reset(dones)


class StudentTeacher(ActorCritic):
    """`StudentTeacher` and `StudentTeacherRecurrent` of rsl_rl 2 and 3."""

    roles = ("student", "teacher")
    memories = ("memory_s", "memory_t")


class Model4(nn.Module):
    """`MLPModel` and `RNNModel` of rsl_rl 4.0.1: those of 5, with the standard deviation beside the layers."""

    def __init__(self, *, rnn: str | None = None, layers: int = 1, std: str | None = "std") -> None:
        super().__init__()
        self.obs_normalizer = EmpiricalNormalization(OBSERVATIONS)
        self.mlp = MLP(OBSERVATIONS if rnn is None else 9, ACTIONS if std else [2, ACTIONS], [12, 10])
        if std is not None:
            self.register_parameter(std, nn.Parameter(torch.zeros(ACTIONS)))
        if rnn is not None:
            self.rnn = RNN(OBSERVATIONS, 9, layers, rnn)
        self.state_dependent_std = std is None

    def act_inference(self, obs: torch.Tensor) -> torch.Tensor:
        features = self.obs_normalizer(obs)
        if hasattr(self, "rnn"):
            features = self.rnn(features).squeeze(0)
        actions = self.mlp(features)
        return actions[..., 0, :] if self.state_dependent_std else actions

    def reset(self, dones: torch.Tensor | None = None) -> None:
        if hasattr(self, "rnn"):
            self.rnn.reset(dones)


def fill_statistics(module: nn.Module) -> nn.Module:
    """Gives every normaliser of a model the statistics of observations like those of `record`; weights are larger."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, EmpiricalNormalization):
                part.train()
                part.update(torch.randn(64, OBSERVATIONS) * torch.linspace(0.5, 4.0, OBSERVATIONS) + 5.0)
        for parameter in module.parameters():
            parameter.mul_(1.5)
    return module.eval()
