"""Policies of rl_games (and so of IsaacGymEnvs and Isaac Lab's rl_games workflow) from its checkpoints.

The formulas are those of rl_games 1.6.5, which does not have to be installed.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeAlias

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ganglion._foundation.boundary import bounded
from ganglion.adapters.rl_games.checkpoint import Settings, read_settings, read_weights
from ganglion.adapters.rl_games.network import actor
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies import ActionMap, DeployablePolicy, ObservationNormalizer, RecurrentPolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ganglion.adapters._state_dict import StateDict
    from ganglion.adapters.rl_games.checkpoint import Config

    Bounds: TypeAlias = float | Sequence[float]

__all__ = ["load"]

_EPSILON = 1e-5
_CLIP = 5.0
"""Both of `RunningMeanStd`, `rl_games/algos_torch/running_mean_std.py`."""


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    config: Config | None = None,
    activation: str | None = None,
    mu_activation: str | None = None,
    before_mlp: bool | None = None,
    clip_actions: bool | None = None,
    action_low: Bounds | None = None,
    action_high: Bounds | None = None,
    env_spec: EnvSpec | None = None,
    allow_pickle: bool = False,
) -> RecurrentPolicy:
    """Builds the policy of a checkpoint (`nn/<name>.pth`), for raw observations.

    The numbers are those of `PpoPlayerContinuous.get_action(obs, is_deterministic=True)`
    (`rl_games/algos_torch/players.py`): observations normalised by `(x - mean) / sqrt(var + 1e-5)` and clipped to
    [-5, 5]; the mean of the actor; with `clip_actions` clipped to [-1, 1] and mapped linearly to the action space.

    Read are continuous actors of PPO (`actor_critic`, shared or separate networks) with an MLP and LSTM or GRU layers,
    in all their orders; sizes come from the shapes of the weights. The critic is left out, and so is its state.

    An Isaac Lab configuration also has `env: clip_observations` and `env: clip_actions`, which its wrapper
    `RlGamesVecEnvWrapper` applies around the player: observations are clipped first, and the action space is
    [-clip_actions, clip_actions], to which actions are clipped last.

    Args:
        checkpoint: the file.
        config: the configuration of the training, as a YAML file or a mapping with `params`; None for
            `params/agent.yaml`, `agent.yaml` or `config.yaml` in the run's folder, if one is there. An argument below
            that is given replaces what the configuration says.
        activation: rl_games' name of the activation of the hidden layers: relu, tanh, sigmoid, elu, selu, swish, gelu,
            softplus or None (a string). Needed where there is no configuration.
        mu_activation: name of the activation of the mean; without a configuration "None", a linear mean.
        before_mlp: the recurrent layers come before the MLP; needed only where the shapes allow both.
        clip_actions: clip the mean to [-1, 1] and map it to the action space; rl_games' default is True.
        action_low: lower bounds of the action space, one or one per element. Without any word on it, -1.
        action_high: upper bounds, likewise 1; both or none.
        env_spec: spaces and names of the elements, where they are known; its bounds of actions are the action space.
        allow_pickle: make objects of classes in the file in earnest, which can run code; without it they are skipped.

    Returns:
        The policy in eval mode, ready for `ganglion.export`.

    Raises:
        ArtifactError: a file is missing, damaged, of another kind, or holds what is not supported; or the configuration
            is that of another model.
        ValueError: an argument is needed, unknown, or does not fit the checkpoint.
        EngineUnavailableError: a configuration is there but PyYAML is not installed.
    """
    if (action_low is None) != (action_high is None):
        raise ValueError("action_low and action_high belong together: give both, or none")
    found = read_settings(config, checkpoint)
    settings = dataclasses.replace(
        found,
        activation=found.activation if activation is None else activation,
        mu_activation=found.mu_activation if mu_activation is None else mu_activation,
        before_mlp=found.before_mlp if before_mlp is None else before_mlp,
        clip_actions=found.clip_actions if clip_actions is None else clip_actions,
    )
    weights = read_weights(checkpoint, allow_pickle)
    network = actor(weights, settings, env_spec)
    normalizer = _normalizer(weights, settings, network.env_spec.observation_size)
    weights.finish("read is rl_games' own network 'actor_critic', not one that is derived from it")
    bounds = _bounds(action_low, action_high, settings, network.env_spec)
    if env_spec is None and bounds is not None:
        space = gymnasium.spaces.Box(*bounds, dtype=np.float32)
        network.env_spec = EnvSpec(network.env_spec.observation_space, space)
    deployable = DeployablePolicy(network, normalizer, _action_map(settings, bounds))
    return deployable.eval().requires_grad_(False)


class _ClippedObservations(ObservationNormalizer):
    """Clips raw observations to `[-limit, limit]` before they are normalised, as Isaac Lab's wrapper does."""

    def __init__(self, mean: Tensor, variance: Tensor, epsilon: float, clip: float | None, limit: float) -> None:
        super().__init__(mean, variance, epsilon, clip)
        self.limit = limit

    def forward(self, obs: Tensor) -> Tensor:
        return super().forward(obs.clamp(-self.limit, self.limit))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, limit={self.limit}"


def _normalizer(weights: StateDict, settings: Settings, size: int) -> ObservationNormalizer | None:
    limit = settings.observation_bound
    limit = None if limit is None or math.isinf(limit) else limit
    is_normalized = bool(weights.names("running_mean_std."))
    if settings.normalize_input not in (None, is_normalized):
        raise ArtifactError(
            f"the configuration says normalize_input: {settings.normalize_input}, but {weights.label} has "
            f"{'statistics' if is_normalized else 'no statistics'} of the observations; is it that of another run?"
        )
    if not is_normalized:
        return None if limit is None else _ClippedObservations(torch.zeros(size), torch.ones(size), 0.0, None, limit)
    # The model itself computes with the statistics as float32, `current_mean.float()`.
    mean, variance = (weights.take(f"running_mean_std.running_{name}", 1).float() for name in ("mean", "var"))
    weights.drop("running_mean_std.count")
    if len(mean) != size or len(variance) != size or bool((variance < 0.0).any()):
        raise ArtifactError(
            f"{weights.label}: statistics of {len(mean)} means and {len(variance)} variances for {size} observations, "
            "or a negative variance"
        )
    if limit is None:
        return ObservationNormalizer(mean, variance, _EPSILON, _CLIP)
    return _ClippedObservations(mean, variance, _EPSILON, _CLIP, limit)


def _bounds(
    low: Bounds | None, high: Bounds | None, settings: Settings, spec: EnvSpec
) -> tuple[np.ndarray, np.ndarray] | None:
    """The bounds of the action space; None where nothing tells them and nothing is mapped to them."""
    size = spec.action_size
    if low is not None and high is not None:
        pair = tuple(np.asarray(value, np.float32) for value in (low, high))
        if any(value.shape not in ((), (size,)) for value in pair):
            shapes = [value.shape for value in pair]
            raise ValueError(f"action_low and action_high have shapes {shapes}; the policy has {size} actions")
        lows, highs = (np.broadcast_to(value, (size,)) for value in pair)
        if not (lows <= highs).all():
            raise ValueError(f"action_low {low} must not lie above action_high {high}")
        return lows, highs
    space = spec.action_space
    if isinstance(space, gymnasium.spaces.Box) and np.isfinite((space.low, space.high)).all():
        return space.low.reshape(-1).astype(np.float32), space.high.reshape(-1).astype(np.float32)
    bound = settings.bound
    if bound is None and settings.clip_actions is not False:
        bound = 1.0
    if bound is None or math.isinf(bound):
        return None
    return np.full(size, -bound, np.float32), np.full(size, bound, np.float32)


def _action_map(settings: Settings, bounds: tuple[np.ndarray, np.ndarray] | None) -> ActionMap | None:
    if settings.clip_actions is False:
        if bounds is None:
            return None
        # The player leaves the mean as it is; an environment with bounds clips.
        low, high = (torch.as_tensor(bound.copy()) for bound in bounds)
        return ActionMap(torch.ones(len(low)), low=low, high=high)
    if bounds is None or not np.isfinite(bounds).all():
        raise ValueError(
            "clip_actions maps to the action space, whose bounds must be finite: action_low=, action_high="
        )
    # clamp(x, -1, 1) (high - low) / 2 + (high + low) / 2, `rescale_actions` in rl_games/algos_torch/players.py.
    return ActionMap.from_space(gymnasium.spaces.Box(*bounds), squash=False)
