"""The actor of rl_games' network `actor_critic`, built from its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium
import torch
from torch import Tensor, nn

from ganglion.adapters.rl_games.checkpoint import ACTIVATIONS
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies import RecurrentPolicy
from ganglion.policies._tensors import match
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    from torch.nn.utils.rnn import PackedSequence

    from ganglion.adapters._state_dict import StateDict
    from ganglion.adapters.rl_games.checkpoint import Settings
    from ganglion.contract import StateSlot

_NET = "a2c_network."
_CRITIC = ("value.", "critic_mlp.", "c_rnn.", "c_layer_norm.", "sigma")
"""Parts of the network that the mean does not pass: the critic, and the logarithm of the standard deviation."""


class ConcatenatedPolicy(RecurrentPolicy):
    """Computes `head([policy(obs), obs])`: rl_games' `rnn: concat_output`.

    Args:
        spec: spaces of the environment.
        policy: from the observation to the features of the recurrent layers.
        head: maps features and observation, side by side, to the action.
    """

    name = "rl_games"

    def __init__(self, spec: EnvSpec, policy: LayeredPolicy, head: nn.Module) -> None:
        super().__init__(spec)
        self.policy = policy
        self.head = head

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slots of the policy inside."""
        return self.policy.state_layout

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        features, state = self.policy(obs, hidden)
        return self.head(torch.cat([features, match(obs, features)], dim=-1)), state

    def _evaluate_packed(
        self, packed: PackedSequence, hidden: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        (features,) = self.policy._evaluate_packed(packed, hidden, previous)
        return (self.head(torch.cat([features, packed.data], dim=-1)),)


class _WithInput(nn.Module):
    """Computes `[module(x), x]`: rl_games' `rnn: concat_input`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.module(x), x], dim=-1)


@dataclass(frozen=True)
class _Wiring:
    """How the parts are joined; `A2CBuilder.Network`, `rl_games/algos_torch/network_builder.py`, version 1.6.5."""

    observations: int
    before_mlp: bool = False
    concat_input: bool = False
    concat_output: bool = False


def actor(weights: StateDict, settings: Settings, spec: EnvSpec | None) -> RecurrentPolicy:
    """Builds the mean of the actor for normalised observations; the statistics stay in `weights`.

    Args:
        weights: state dictionary of the model.
        settings: what the shapes do not tell.
        spec: spaces of the environment; None for boxes without bounds.

    Raises:
        ArtifactError: the weights are those of another network.
        ValueError: an activation is missing or unknown, the shapes allow two readings, or `spec` has other sizes.
    """
    _check_kind(weights)
    weights.drop(*(f"{_NET}{part}" for part in _CRITIC), "value_mean_std.")
    # With separate networks the actor's recurrent layers have a prefix.
    separate = "a_" if weights.names(f"{_NET}a_rnn.") else ""
    dense = _dense(weights)
    recurrent = weights.recurrent(f"{_NET}{separate}rnn.rnn") if weights.names(f"{_NET}{separate}rnn.") else None
    norm_name = f"{_NET}{separate}layer_norm"
    norm = weights.layer_norm(norm_name) if weights.names(norm_name) else None
    mean = weights.linear(f"{_NET}mu")
    statistics = weights.names("running_mean_std.running_mean")
    known = weights.size(statistics[0], 0) if statistics else None
    wiring = _wiring(dense, recurrent, mean, known, settings.before_mlp, weights.label)
    mlp = _mlp(dense, settings.activation, weights.label)
    last = nn.Sequential(mean, _activation(settings.mu_activation or "None", "mu_activation"))
    spec = _spec(spec, wiring.observations, mean.out_features, weights.label)
    if recurrent is None:
        return LayeredPolicy(spec, nn.Sequential(mlp, last))
    encoder: nn.Module | None = None
    if not wiring.before_mlp:
        encoder = _WithInput(mlp) if wiring.concat_input else mlp
    tail = nn.Sequential(mlp, last) if wiring.before_mlp else last
    if not wiring.concat_output:
        return LayeredPolicy(spec, tail if norm is None else nn.Sequential(norm, tail), recurrent, encoder)
    features = _spec(None, wiring.observations, recurrent.hidden_size, weights.label)
    return ConcatenatedPolicy(spec, LayeredPolicy(features, norm or nn.Identity(), recurrent, encoder), tail)


def _check_kind(weights: StateDict) -> None:
    for prefix, what in (
        ("sac_network.", "the agent is SAC"),
        (f"{_NET}logits.", "the actions are discrete"),
        (f"{_NET}actor_cnn.", "the network takes images"),
        (f"{_NET}actor_mlp.linears.", "the layers are those of D2RL"),
        ("running_mean_std.running_mean_std.", "the observations are a dictionary"),
    ):
        if weights.names(prefix):
            raise ArtifactError(
                f"{weights.label}: {what} ('{weights.names(prefix)[0]}'); read are continuous actors of PPO with an "
                "MLP and LSTM or GRU layers, for one vector of observations. rl_games' own ONNX export is read, too"
            )
    if not weights.names(_NET):
        raise ArtifactError(f"{weights.label} has no actor of rl_games: no weights '{_NET}*' but {weights.names()[:6]}")


def _dense(weights: StateDict) -> list[nn.Linear]:
    layers: list[nn.Linear] = []
    # Every layer is followed by its activation, which has no weights.
    while weights.names(f"{_NET}actor_mlp.{2 * len(layers)}."):
        layers.append(weights.linear(f"{_NET}actor_mlp.{2 * len(layers)}"))
        if len(layers) > 1 and layers[-1].in_features != layers[-2].out_features:
            raise ArtifactError(
                f"{weights.label}: '{_NET}actor_mlp.{2 * len(layers) - 2}' takes {layers[-1].in_features} elements, "
                f"but the layer before it gives {layers[-2].out_features}"
            )
    return layers


def _wiring(
    dense: list[nn.Linear],
    recurrent: nn.RNNBase | None,
    mean: nn.Linear,
    known: int | None,
    before_mlp: bool | None,
    label: str,
) -> _Wiring:
    """Finds the one way to join the layers that their sizes, the statistics and the configuration allow."""
    if recurrent is None:
        wirings = [_Wiring(dense[0].in_features if dense else mean.in_features)]
        fitting = wirings if not dense or dense[-1].out_features == mean.in_features else []
    else:
        wirings = _wirings(dense, recurrent)
        fitting = [wiring for wiring in wirings if _fits(wiring, dense, recurrent, mean.in_features)]
        fitting = [wiring for wiring in fitting if before_mlp in (None, wiring.before_mlp)]
    found = [wiring for wiring in fitting if known in (None, wiring.observations)]
    if not found:
        sizes = [(layer.in_features, layer.out_features) for layer in (*dense, mean)]
        cells = "" if recurrent is None else f", recurrent layers {(recurrent.input_size, recurrent.hidden_size)}"
        order = "" if before_mlp is None else f" with before_mlp={before_mlp}"
        statistics = "" if known is None else f" and statistics of {known} observations"
        raise ArtifactError(
            f"{label}: the layers do not fit each other{order}{statistics}: linear layers (inputs, outputs) "
            f"{sizes}{cells}"
        )
    if len(found) > 1:
        raise ValueError(
            f"{label}: the shapes allow {found[0]} and {found[1]}; say which: config=agent.yaml or before_mlp=..."
        )
    return found[0]


def _wirings(dense: list[nn.Linear], recurrent: nn.RNNBase) -> list[_Wiring]:
    inputs = dense[0].in_features if dense else recurrent.input_size
    wirings = [_Wiring(inputs, False, *flags) for flags in ((False, False), (False, True), (True, False), (True, True))]
    if dense:
        wirings += [_Wiring(recurrent.input_size, True, False, flag) for flag in (False, True)]
    return wirings


def _fits(wiring: _Wiring, dense: list[nn.Linear], recurrent: nn.RNNBase, head_inputs: int) -> bool:
    given = wiring.observations
    cells = recurrent.hidden_size + (given if wiring.concat_output else 0)
    if wiring.before_mlp:
        return cells == dense[0].in_features and dense[-1].out_features == head_inputs
    encoded = (dense[-1].out_features if dense else given) + (given if wiring.concat_input else 0)
    return encoded == recurrent.input_size and cells == head_inputs


def _mlp(dense: list[nn.Linear], activation: str | None, label: str) -> nn.Sequential:
    if dense and activation is None:
        raise ValueError(
            f"{label} does not say which activation its hidden layers have: give config=agent.yaml (or --config), the "
            f"configuration that it was trained with, or activation=...: {', '.join(ACTIVATIONS)}"
        )
    modules: list[nn.Module] = []
    for layer in dense:
        modules += [layer, _activation(activation or "None", "activation")]
    return nn.Sequential(*modules)


def _activation(name: str, label: str) -> nn.Module:
    kind = ACTIVATIONS.get(name)
    if kind is None:
        raise ValueError(f"{label} {name!r} is not known; rl_games has {', '.join(ACTIVATIONS)}")
    return kind()


def _spec(given: EnvSpec | None, observations: int, actions: int, label: str) -> EnvSpec:
    if given is None:
        return EnvSpec(
            gymnasium.spaces.Box(-math.inf, math.inf, (observations,)),
            gymnasium.spaces.Box(-math.inf, math.inf, (actions,)),
        )
    if (given.observation_size, given.action_size) != (observations, actions):
        raise ValueError(
            f"env_spec has {given.observation_size} observations and {given.action_size} actions; the policy in "
            f"{label} has {observations} and {actions}"
        )
    return given
