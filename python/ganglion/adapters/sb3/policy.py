"""The actors of Stable-Baselines3 put together from their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium
import torch
from torch import nn

from ganglion.adapters._categories import CategoricalLayeredPolicy
from ganglion.adapters.sb3.network import hidden_layers, linear, lstm
from ganglion.contract import TensorSpec
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from ganglion.adapters._state_dict import StateDict
    from ganglion.adapters.sb3.file import Archive
    from ganglion.adapters.sb3.network import Activation

RECURRENT = "sb3_contrib.common.recurrent.policies"
MASKABLE = "sb3_contrib.common.maskable.policies"
ON_POLICY = ("stable_baselines3.common.policies", RECURRENT, MASKABLE)
"""Modules of the policies of PPO, A2C and TRPO, of RecurrentPPO, and of MaskablePPO."""
DETERMINISTIC = "stable_baselines3.td3.policies"
OFF_POLICY = (
    "stable_baselines3.sac.policies",
    "sb3_contrib.tqc.policies",
    "sb3_contrib.crossq.policies",
    DETERMINISTIC,
)
"""Modules of the policies of SAC, TQC, CrossQ, and of TD3 and DDPG."""
SEARCH = "sb3_contrib.ars.policies"
VALUES = {"stable_baselines3.dqn.policies": "q_net.q_net", "sb3_contrib.qrdqn.policies": "quantile_net.quantile_net"}
"""Modules of the policies of DQN and QR-DQN, and what they call the network of their values."""
ALGORITHMS = "PPO, A2C, TRPO, RecurrentPPO, MaskablePPO, SAC, TQC, CrossQ, TD3, DDPG, DQN, QR-DQN and ARS"

_NO_ACTOR = (
    "value_net.", "mlp_extractor.value_net.", "lstm_critic.", "critic.", "critic_target.", "actor_target.",
    "q_net_target.", "quantile_net_target.",
)  # fmt: skip
_DEVIATIONS = ("log_std", "actor.log_std")
_HINT = "feature extractors other than FlattenExtractor, and CombinedExtractor of vectors, are not supported"


@dataclass(frozen=True)
class Actor:
    """The network of an actor.

    Attributes:
        recurrent: LSTM layers behind the observation, or None.
        head: what follows, up to means or logits.
        inputs: elements of the observation.
        outputs: means or logits.
        is_squashed: whether tanh and unscaling follow, or clipping.
        scores: name of the outputs where they are no logits of a distribution but the best one is taken; else None.
    """

    recurrent: nn.LSTM | None
    head: nn.Sequential
    inputs: int
    outputs: int
    is_squashed: bool
    scores: str | None = None

    @classmethod
    def build(cls, archive: Archive, weights: StateDict, activation: Activation) -> Actor:
        """Takes the actor out of the weights; the critic is left out.

        Raises:
            ArtifactError: a weight is missing, has the wrong shape, or is unknown.
        """
        weights.drop(*_NO_ACTOR, *_DEVIATIONS)
        recurrent = lstm(weights, "lstm_actor") if archive.policy_module == RECURRENT else None
        scores = None
        if archive.policy_module in ON_POLICY:
            # SB3, policies.ActorCriticPolicy, and sb3_contrib, recurrent.policies.RecurrentActorCriticPolicy
            size = None if recurrent is None else recurrent.hidden_size
            # SB3 1 had layers that actor and critic share.
            modules = hidden_layers(weights, "mlp_extractor.shared_net", size, activation)
            size = outputs_of(modules, size)
            modules += hidden_layers(weights, "mlp_extractor.policy_net", size, activation)
            modules.append(linear(weights, "action_net", outputs_of(modules, size)))
            is_squashed = bool(archive.policy_kwargs.get("squash_output", False))
        elif archive.policy_module in VALUES:
            # dqn.policies.QNetwork and qrdqn.policies.QuantileNetwork
            name = VALUES[archive.policy_module]
            modules = hidden_layers(weights, name, None, activation)[:-1]
            if name.startswith("quantile") and modules:
                modules[-1] = _mean_quantile(archive, modules[-1])
            is_squashed, scores = False, "q_values"
        elif archive.policy_module == SEARCH:
            # ars.policies.ARSPolicy; ARSLinearPolicy has another default
            modules = hidden_layers(weights, "action_net", None, activation, has_bias=None)[:-1]
            is_squashed = bool(archive.policy_kwargs.get("squash_output", not archive.names_class("ARSLinearPolicy")))
            scores = "scores"
        elif archive.policy_module == DETERMINISTIC:
            # td3.policies.Actor; the tanh at its end is that of the action map
            modules = hidden_layers(weights, "actor.mu", None, activation)[:-1]
            is_squashed = True
        else:
            modules = _squashed_gaussian(archive, weights, activation)
            is_squashed = True
        weights.finish(_HINT)
        layers = [module for module in modules if isinstance(module, nn.Linear)]
        if not layers:
            raise ArtifactError(f"'{archive.label}', policy.pth has no weights of an actor")
        inputs = layers[0].in_features if recurrent is None else recurrent.input_size
        return cls(recurrent, nn.Sequential(*modules), inputs, layers[-1].out_features, is_squashed, scores)


class SB3Policy(CategoricalLayeredPolicy):
    """The network of an actor of Stable-Baselines3, from the flat observation to means or to categories.

    Categories are the modes of `CategoricalDistribution` and `MultiCategoricalDistribution` (SB3,
    `common/distributions.py`).

    Args:
        spec: spaces of the environment.
        actor: the network.
    """

    name = "sb3"

    def __init__(self, spec: EnvSpec, actor: Actor) -> None:
        super().__init__(spec, actor.head, actor.recurrent, scores=actor.scores or "logits")

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """`obs`, or one tensor for each part of a `Dict` of observations, in its order."""
        space = self.env_spec.observation_space
        if not isinstance(space, gymnasium.spaces.Dict):
            return super().input_specs
        specs = {key: EnvSpec(part, self.env_spec.action_space).observation_spec for key, part in space.spaces.items()}
        return tuple(TensorSpec(key, spec.size, low=spec.low, high=spec.high) for key, spec in specs.items())


def outputs_of(modules: list[nn.Module], inputs: int | None) -> int | None:
    """Number of elements that come out of layers; `inputs` where there is none."""
    sizes = [module.out_features for module in modules if isinstance(module, nn.Linear)]
    return sizes[-1] if sizes else inputs


def _mean_quantile(archive: Archive, last: nn.Module) -> nn.Linear:
    """The last layer of a quantile network with the mean over the quantiles, which is linear, inside."""
    assert isinstance(last, nn.Linear)
    count = archive.policy_kwargs.get("n_quantiles", 200)
    if type(count) is not int or count < 1 or last.out_features % count:
        raise ArtifactError(
            f"'{archive.label}' has {last.out_features} outputs of its quantile network, which are no {count!r} "
            "quantiles of each action"
        )
    actions = last.out_features // count
    with torch.random.fork_rng(devices=[]):
        mean = nn.Linear(last.in_features, actions)
    with torch.no_grad():
        mean.weight.copy_(last.weight.double().view(count, actions, -1).mean(0))
        mean.bias.copy_(last.bias.double().view(count, actions).mean(0))
    return mean


def _squashed_gaussian(archive: Archive, weights: StateDict, activation: Activation) -> list[nn.Module]:
    """The mean of sac.policies.Actor, and of those of TQC and CrossQ, before tanh."""
    epsilon = archive.policy_kwargs.get("batch_norm_eps", 1e-3)
    modules = hidden_layers(weights, "actor.latent_pi", None, activation, epsilon=epsilon)
    size = outputs_of(modules, None)
    if not weights.names("actor.mu.0."):
        return [*modules, linear(weights, "actor.mu", size)]
    # With gSDE the mean is limited.
    limit = archive.policy_kwargs.get("clip_mean", 2.0)
    if not isinstance(limit, (int, float)) or not limit > 0.0:
        raise ArtifactError(f"'{archive.label}' has the layers of clip_mean, but clip_mean is {limit!r}")
    return [*modules, linear(weights, "actor.mu.0", size), nn.Hardtanh(-float(limit), float(limit))]
