"""Policies that Stable-Baselines3 and sb3-contrib have trained: `load("model.zip")` is their actor as ours.

The formulas are those of stable_baselines3 and sb3_contrib 2.9.2; neither has to be installed.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

from ganglion._foundation.boundary import bounded
from ganglion.adapters._categories import categories
from ganglion.adapters._state_dict import StateDict
from ganglion.adapters.sb3.file import Archive
from ganglion.adapters.sb3.network import named_activation
from ganglion.adapters.sb3.policy import (
    ALGORITHMS,
    MASKABLE,
    OFF_POLICY,
    ON_POLICY,
    SEARCH,
    VALUES,
    Actor,
    SB3Policy,
)
from ganglion.adapters.sb3.vecnormalize import read_vecnormalize, warn_if_missing
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies.action_map import ActionMap
from ganglion.policies.deployable import DeployablePolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import TypeAlias

    from ganglion.adapters.sb3.network import Activation
    from ganglion.policies.base import RecurrentPolicy

    Bounds: TypeAlias = float | Sequence[float]

__all__ = ["load"]

_EXTRACTORS = ("FlattenExtractor", "CombinedExtractor")


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    vecnormalize: str | os.PathLike[str] | None = None,
    allow_pickle: bool = False,
    action_low: Bounds | None = None,
    action_high: Bounds | None = None,
    activation: Activation | None = None,
) -> RecurrentPolicy:
    """Reads what `model.save()` wrote; the policy does what `model.predict(obs, deterministic=True)` does.

    Read are the actors of RecurrentPPO (`MlpLstmPolicy`, `MultiInputLstmPolicy`), of PPO, A2C, TRPO and MaskablePPO
    (`MlpPolicy`, `MultiInputPolicy` with vectors), of SAC, TQC, CrossQ, TD3 and DDPG, with and without gSDE, of ARS
    (`MlpPolicy`, `LinearPolicy`), and the networks of DQN and QR-DQN. The order of operations is
    that of `BasePolicy.predict` and `RecurrentActorCriticPolicy.predict`: normalise by `vecnormalize`; run the network;
    clip an action that is not squashed to the action space, and unscale the tanh of a squashed one to it.

    The output is `actions`; with `Discrete` and `MultiDiscrete` actions these are indices, and `logits` (`logits_0`,
    `logits_1`, ... of several) follow; from the `q_values` of DQN and QR-DQN and the `scores` of ARS nothing is drawn.
    The masks of MaskablePPO are not part of the policy. Parts of a `Dict` of observations are inputs of their own, by
    name, in the order of the space; a `Discrete` observation is a one-hot vector.

    Args:
        checkpoint: the `.zip` file. Its spaces are read without running code.
        vecnormalize: what `VecNormalize.save()` wrote, to be put before the policy; read without running code.
        allow_pickle: unpickle spaces that nothing else can tell, with a warning: that can run any code.
        action_low: lower bounds of the actions, one or one for each element, in place of those in the checkpoint.
        action_high: upper bounds, likewise; both or none.
        activation: makes the activation behind each hidden layer, where the checkpoint does not say it in words.

    Returns:
        The policy in eval mode, ready for `ganglion.export`.

    Raises:
        ArtifactError: a file is missing, damaged, of another kind, or holds what is not supported; a pickle is needed
            and `allow_pickle` is not set; the statistics have another size than the observations.
        ValueError: one bound is given without the other, or they do not fit the actions.
    """
    if (action_low is None) != (action_high is None):
        raise ValueError("action_low and action_high belong together: give both, or none")
    archive = Archive.read(checkpoint)
    _check_supported(archive)
    weights = StateDict(archive.weights, f"'{archive.label}', policy.pth")
    actor = Actor.build(archive, weights, activation or _activation(archive))
    observation_space = archive.space("observation_space", allow_pickle)
    if action_low is None or action_high is None:
        action_space = _action_space(archive, allow_pickle)
    else:
        action_space = _box(action_low, action_high, actor.outputs)
    _check_spaces(archive.label, observation_space, action_space, actor)
    if vecnormalize is None:
        warn_if_missing(archive, is_on_policy=archive.policy_module in ON_POLICY)
    policy = DeployablePolicy(
        SB3Policy(EnvSpec(observation_space, action_space), actor),
        None if vecnormalize is None else read_vecnormalize(vecnormalize, observation_space),
        _action_map(action_space, actor.is_squashed, archive.label),
    )
    return policy.eval().requires_grad_(False)


def _check_supported(archive: Archive) -> None:
    kwargs, module = archive.policy_kwargs, archive.policy_module
    if module not in (*ON_POLICY, *OFF_POLICY, *VALUES, SEARCH):
        raise ArtifactError(
            f"'{archive.label}' has a policy of the module '{module or 'unknown'}', which may compute anything; read "
            f"are the policies that come with {ALGORITHMS}"
        )
    if module == MASKABLE:
        warnings.warn(
            f"'{archive.label}' is of MaskablePPO: the masks of actions are not part of the policy. Where you mask, "
            "take the best of the output 'logits' that is allowed",
            stacklevel=3,
        )
    extractor = str(kwargs.get("features_extractor_class", _EXTRACTORS[0]))
    if not extractor.rstrip("'>").endswith(_EXTRACTORS):
        raise ArtifactError(
            f"'{archive.label}' has the features extractor {extractor}; {' and '.join(_EXTRACTORS)} are supported"
        )
    lstm = kwargs.get("lstm_kwargs") or {}
    if not isinstance(lstm, dict) or lstm.get("batch_first"):
        raise ArtifactError(f"'{archive.label}': an LSTM with the arguments {lstm} is not supported")


def _activation(archive: Archive) -> Activation:
    # The defaults of the policies' constructors.
    default = "Tanh" if archive.policy_module in ON_POLICY else "ReLU"
    text = archive.policy_kwargs.get("activation_fn", f"<class 'torch.nn.modules.activation.{default}'>")
    return named_activation(text, f"'{archive.label}'")


def _action_space(archive: Archive, allow_pickle: bool) -> gymnasium.Space[Any]:
    try:
        return archive.space("action_space", allow_pickle)
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}; give action_low=... and action_high=..., or, if you trust whoever wrote it, allow it: "
            "--allow-pickle, or allow_pickle=True"
        ) from error


def _box(low: Bounds, high: Bounds, size: int) -> gymnasium.spaces.Box:
    bounds = [np.asarray(bound, np.float32) for bound in (low, high)]
    shapes = [bound.shape for bound in bounds]
    if any(shape not in ((), (size,)) for shape in shapes):
        raise ValueError(f"action_low and action_high have shapes {shapes}; the policy has {size} actions")
    lows, highs = (np.broadcast_to(bound, (size,)) for bound in bounds)
    if not (lows <= highs).all():
        raise ValueError(f"action_low {low} must not lie above action_high {high}")
    return gymnasium.spaces.Box(lows, highs, dtype=np.float32)


def _check_spaces(
    label: str, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], actor: Actor
) -> None:
    parts = (
        observation_space.spaces if isinstance(observation_space, gymnasium.spaces.Dict) else {"": observation_space}
    )
    for part in parts.values():
        if isinstance(part, gymnasium.spaces.Dict):
            raise ArtifactError(f"'{label}': a Dict of observations inside a Dict is not supported")
        if isinstance(part, gymnasium.spaces.Box) and len(part.shape) == 3 and part.dtype == np.uint8:
            raise ArtifactError(f"'{label}': images as observations ({part}) are not supported")
    spec = EnvSpec(observation_space, action_space)
    counts = categories(action_space)
    if not counts and not isinstance(action_space, gymnasium.spaces.Box):
        raise ArtifactError(f"'{label}': actions of {action_space} are not supported; Box, Discrete, MultiDiscrete are")
    if np.any(getattr(action_space, "start", 0)):
        raise ArtifactError(f"'{label}': actions that do not start at 0 are not supported, as in SB3: {action_space}")
    outputs = sum(counts) or spec.action_size
    if (spec.observation_size, outputs) != (actor.inputs, actor.outputs):
        raise ArtifactError(
            f"'{label}': the spaces have {spec.observation_size} observations and {outputs} actions (or categories), "
            f"but the network {actor.inputs} and {actor.outputs}"
        )


def _action_map(space: gymnasium.Space[Any], is_squashed: bool, label: str) -> ActionMap | None:
    """What `predict` does behind the network: `unscale_action` of the tanh, or `np.clip` to the space."""
    if not isinstance(space, gymnasium.spaces.Box):
        return None
    if is_squashed:
        try:
            return ActionMap.from_space(space, squash=True)
        except ValueError as error:
            raise ArtifactError(f"'{label}': squashed actions need finite bounds: {error}") from error
    low, high = (torch.from_numpy(bound.reshape(-1).astype(np.float32)) for bound in (space.low, space.high))
    return ActionMap(torch.ones(len(low)), None, low, high)
