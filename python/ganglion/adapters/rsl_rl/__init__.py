"""Policies of rsl_rl (and so of Isaac Lab, mjlab and legged_gym) from the checkpoints of its runners."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from torch import nn

from ganglion._foundation.boundary import bounded
from ganglion.adapters._files import read_torch
from ganglion.adapters.rsl_rl.checkpoint import EPSILON, read_actor
from ganglion.adapters.rsl_rl.config import read_config, section
from ganglion.adapters.rsl_rl.network import build_head, head_kind
from ganglion.contract import TensorSpec
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies import ActionMap, DeployablePolicy, ObservationNormalizer
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ganglion.adapters.rsl_rl.checkpoint import Actor
    from ganglion.adapters.rsl_rl.config import Config
    from ganglion.policies import RecurrentPolicy


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    config: Config | None = None,
    activation: str | None = None,
    distribution: str | None = None,
    clip_actions: float | None = None,
    observation_groups: Mapping[str, int] | None = None,
    env_spec: EnvSpec | None = None,
    allow_pickle: bool = False,
) -> RecurrentPolicy:
    """Builds the policy that a runner of rsl_rl saved (`model_<iteration>.pt`), for raw observations.

    The numbers are those of the runner's `get_inference_policy`: the mean of the distribution, with the observation
    normaliser inside; a standard deviation that depends on the observation is left out. Read are MLP and recurrent
    (LSTM, GRU) actors and students of rsl_rl 1 to 5; their sizes come from the shapes of the tensors.

    Args:
        checkpoint: the file.
        config: the runner's configuration, as a YAML file or as a mapping; None for `params/agent.yaml` or
            `agent.yaml` beside the checkpoint, where Isaac Lab and mjlab put it. An empty mapping reads no file.
        activation: rsl_rl's name of the activation of the hidden layers: elu, selu, relu, crelu, lrelu, tanh, sigmoid,
            softplus, gelu, swish, mish or identity; None for the one of the configuration. Without either it is
            rsl_rl's default, elu, with a warning. (In rsl_rl 1, `crelu` was what now is `relu`.)
        distribution: kind of the head: `"gaussian"`; `"heteroscedastic"`, Gaussian with a standard deviation that
            depends on the observation; `"beta"`; or `"none"` where the layers compute the action itself. Needed only
            where neither the checkpoint nor the configuration tells.
        clip_actions: actions are clipped to `[-clip_actions, clip_actions]`, as the environment wrappers of Isaac Lab
            and mjlab do; None for the value of the configuration, infinity for no clipping in any case.
        observation_groups: size by name of the groups that the observation consists of, in order; they become the
            inputs of the contract. None for one input, `"obs"`.
        env_spec: spaces and names of the elements, where they are known; None for boxes without bounds.
        allow_pickle: make objects of classes in the file (in `infos`) in earnest, which can run code; without it they
            are skipped.

    Raises:
        ArtifactError: the file is missing, damaged, no checkpoint of rsl_rl, or of another model; or the configuration
            cannot be read or is that of another model.
        ValueError: an argument is unknown or does not fit the checkpoint, or `distribution` is needed.
        EngineUnavailableError: a configuration is there but PyYAML is not installed.
    """
    path = str(checkpoint)
    actor = read_actor(read_torch(checkpoint, allow_pickle=allow_pickle), path)
    settings, source = read_config(config, checkpoint)
    part = section(settings, actor.layout.sections)
    _check_config(part, actor, source, path)
    kind = head_kind(actor, distribution, part, path)
    activation = activation or part.get("activation") or _default_activation(path, source)
    head = build_head(actor, activation, kind, part)
    actions = actor.output_size // (1 if kind in ("gaussian", "none") else 2)
    bound = _bound(settings.get("clip_actions") if clip_actions is None else clip_actions)
    groups = _groups(observation_groups, actor, section(settings, ("obs_groups",)))
    spec = _spec(env_spec, actor.observation_size, actions, bound, path)
    policy = _ActorPolicy(spec, head, actor.recurrent, groups)
    return DeployablePolicy(policy, _normalizer(actor), _clipping(actions, bound)).eval()


class _ActorPolicy(LayeredPolicy):
    """A `LayeredPolicy` whose observation may be several named groups, side by side."""

    name = "rsl_rl"

    def __init__(
        self, spec: EnvSpec, head: nn.Module, recurrent: nn.RNNBase | None, groups: tuple[TensorSpec, ...]
    ) -> None:
        super().__init__(spec, head, recurrent)
        self._groups = groups

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        return self._groups or super().input_specs


def _default_activation(path: str, source: str) -> str:
    warnings.warn(
        f"'{path}' does not say which activation the hidden layers have, nor does the configuration ({source}); elu, "
        "rsl_rl's default, is assumed. Say it: activation=..., or config=agent.yaml",
        stacklevel=4,
    )
    return "elu"


def _check_config(part: Mapping[str, Any], actor: Actor, source: str, path: str) -> None:
    """Refuses a configuration of another model: its activation would be another model's, too."""
    role = actor.layout.mlp.removesuffix(".")
    wanted = part.get("hidden_dims") or part.get(f"{role}_hidden_dims")
    found = [layer.out_features for layer in actor.layers[:-1]]
    # Sizes of -1 stand for the size of the input.
    if isinstance(wanted, (list, tuple)) and -1 not in wanted and list(wanted) != found:
        raise ArtifactError(f"{source} says hidden layers of {list(wanted)} units, but those of '{path}' have {found}")
    layers = part.get("rnn_num_layers")
    if actor.recurrent is not None and layers is not None and layers != actor.recurrent.num_layers:
        raise ArtifactError(f"{source} says {layers} recurrent layers, but '{path}' has {actor.recurrent.num_layers}")
    normalized = part.get("obs_normalization") is True or part.get(f"{role}_obs_normalization") is True
    if normalized and actor.statistics is None:
        raise ArtifactError(f"{source} says that observations are normalised, but '{path}' has no statistics of them")


def _normalizer(actor: Actor) -> ObservationNormalizer | None:
    """`(x - mean) / (std + 0.01)`, `EmpiricalNormalization` in `rsl_rl/modules/normalization.py`, as our normaliser."""
    if actor.statistics is None:
        return None
    mean, std = actor.statistics
    # Ours divides by sqrt(variance + epsilon); with the square of the divisor as variance that is the same.
    return ObservationNormalizer(mean, (std.double() + EPSILON) ** 2, epsilon=0.0)


def _bound(clip: Any) -> float | None:
    if clip is None:
        return None
    if isinstance(clip, bool) or not isinstance(clip, (int, float)) or not clip > 0:
        raise ValueError(f"clip_actions must be a positive number or None, not {clip!r}")
    return float(clip) if math.isfinite(clip) else None


def _clipping(actions: int, bound: float | None) -> ActionMap | None:
    if bound is None:
        return None
    limits = torch.full((actions,), bound)
    return ActionMap(torch.ones(actions), low=-limits, high=limits)


def _spec(given: EnvSpec | None, observations: int, actions: int, bound: float | None, path: str) -> EnvSpec:
    if given is None:
        limit = math.inf if bound is None else bound
        return EnvSpec(
            gymnasium.spaces.Box(-math.inf, math.inf, (observations,)),
            gymnasium.spaces.Box(-limit, limit, (actions,)),
        )
    if (given.observation_size, given.action_size) != (observations, actions):
        raise ValueError(
            f"env_spec has {given.observation_size} observations and {given.action_size} actions; the policy in "
            f"'{path}' has {observations} and {actions}"
        )
    return given


def _groups(groups: Mapping[str, int] | None, actor: Actor, configured: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    if groups is None:
        return ()
    expected = next((configured[name] for name in actor.layout.sections if configured.get(name)), None)
    if expected is not None and list(expected) != list(groups):
        raise ValueError(f"observation_groups are {list(groups)}; the runner's configuration says {list(expected)}")
    if sum(groups.values()) != actor.observation_size:
        raise ValueError(
            f"observation_groups {dict(groups)} have {sum(groups.values())} elements; the policy takes "
            f"{actor.observation_size}"
        )
    return tuple(TensorSpec(name, size) for name, size in groups.items())
