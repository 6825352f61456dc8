"""Recurrent actors that TorchRL trains, their weights as files, and runs of them in TorchRL's deterministic mode."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from same_actions import STEPS, Run
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import Compose, GymWrapper, InitTracker, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import (
    MLP,
    GRUModule,
    LSTMModule,
    ProbabilisticActor,
    TanhNormal,
    ValueOperator,
    set_recurrent_mode,
)
from torchrl.objectives import A2CLoss
from torchrl.objectives.value import GAE

if TYPE_CHECKING:
    from pathlib import Path

OBS, ACTIONS, UNITS = 4, 2, 6


class Env(gymnasium.Env[np.ndarray, np.ndarray]):
    """Rewards actions near the observation; episodes of 20 steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (ACTIONS,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.rng = np.random.default_rng(0 if seed is None else seed)
        self.time = 0
        self.obs = self.rng.normal(0.0, 1.0, OBS).astype("f")
        return self.obs, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        reward = -float(((action - self.obs[:ACTIONS]) ** 2).sum())
        self.obs = (0.8 * self.obs + self.rng.normal(0.0, 0.7, OBS)).astype("f")
        return self.obs, reward, False, self.time % 20 == 0, {}


def make_cells(kind: str, inputs: int, layers: int = 1, **keys: Any) -> Any:
    """The recurrent layers of TorchRL."""
    module = {"lstm": LSTMModule, "gru": GRUModule}[kind]
    return module(input_size=inputs, hidden_size=UNITS, num_layers=layers, **keys)


def make_actor(
    kind: str = "lstm", layers: int = 1, distribution: type = TanhNormal, *, encoded: bool = True, **kwargs: Any
) -> Any:
    """An actor: an encoder unless it is left out, recurrent layers, and a head with location and scale."""
    torch.manual_seed(3)
    encoder = MLP(in_features=OBS, out_features=8, num_cells=[10], activate_last_layer=True)
    head = nn.Sequential(MLP(in_features=UNITS, out_features=2 * ACTIONS, num_cells=[7]), NormalParamExtractor())
    parts = [
        make_cells(
            kind, 8 if encoded else OBS, layers, in_key="embed" if encoded else "observation", out_key="features"
        ),
        TensorDictModule(head, ["features"], ["loc", "scale"]),
    ]
    if encoded:
        parts.insert(0, TensorDictModule(encoder, ["observation"], ["embed"]))
    return ProbabilisticActor(
        TensorDictSequential(*parts),
        in_keys=["loc", "scale"],
        distribution_class=distribution,
        distribution_kwargs=kwargs,
    )


def train(actor: Any) -> Any:
    """A few updates of TorchRL's own A2C on rollouts of its own collector."""
    torch.manual_seed(0)
    cells = next(part for part in actor.modules() if isinstance(part, (LSTMModule, GRUModule)))
    critic = ValueOperator(MLP(in_features=OBS, out_features=1, num_cells=[16]), ["observation"])
    loss_module, advantage = A2CLoss(actor, critic), GAE(gamma=0.9, lmbda=0.9, value_network=critic)
    optimizer = torch.optim.Adam(loss_module.parameters(), 1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = TransformedEnv(GymWrapper(Env()), Compose(InitTracker(), cells.make_tensordict_primer()))
        collector = Collector(env, actor, frames_per_batch=80, total_frames=320)
        for data in collector:
            with set_recurrent_mode(True):
                advantage(data.unsqueeze(0))
                losses = loss_module(advantage(data.unsqueeze(0)))
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"]).backward()
            optimizer.step()
        collector.shutdown()
    return actor.eval()


def observed(steps: int) -> torch.Tensor:
    """Random observations."""
    return torch.randn(steps, OBS, generator=torch.Generator().manual_seed(4)) * 2.0


@torch.no_grad()
def library_actions(actor: Any, observations: torch.Tensor, reset_every: int = 37) -> torch.Tensor:
    actions: list[torch.Tensor] = []
    state: dict[str, Any] = {}
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        for step, obs in enumerate(observations):
            # On a reset only `is_init` tells the cells; the old state is still there.
            data = TensorDict(
                {"observation": obs[None], "is_init": torch.full((1, 1), step % reset_every == 0), **state},
                batch_size=[1],
            )
            data = actor(data)
            state = dict(data["next"].items()) if data.get("next", None) is not None else {}
            actions.append(data["action"][0])
    return torch.stack(actions)


def record(actor: Any, steps: int = STEPS, reset_every: int = 37) -> Run:
    """What the actor does along random observations."""
    given = observed(steps)
    actions = library_actions(actor, given, reset_every)
    return Run(given.numpy(), np.arange(steps) % reset_every == 0, actions.numpy())


def saved(actor: nn.Module, path: Path) -> Path:
    torch.save(actor.state_dict(), path)
    return path
