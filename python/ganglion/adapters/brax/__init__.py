"""Policies of brax and MuJoCo Playground from their parameters, read without JAX.

The formulas are those of brax 0.14.2, which does not have to be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ganglion._foundation.boundary import bounded
from ganglion.adapters._settings import BOUNDS, Question, answers, flag, number, said, spec_of
from ganglion.adapters.brax.network import ACTIVATIONS, first_size, is_normal, network
from ganglion.adapters.brax.parameters import read
from ganglion.errors import ArtifactError
from ganglion.policies import ActionMap, DeployablePolicy, LayeredPolicy, ObservationNormalizer

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ganglion.adapters._settings import Config
    from ganglion.adapters.brax.parameters import Statistics
    from ganglion.policies import RecurrentPolicy

__all__ = ["load"]

_CONFIG = ("activation", "normalize_observations", "mean_clip_scale", "policy_obs_key")


@bounded()
def load(checkpoint: str | os.PathLike[str], *, config: Config | None = None, **settings: Any) -> RecurrentPolicy:
    """Builds the policy that `brax.io.model.save_params` or a checkpoint of brax holds.

    It does what `make_inference_fn(networks)(params, deterministic=True)` does: `tanh` of the location for
    `"tanh_normal"` (PPO's default, SAC), the mean for `"normal"`, behind the running statistics of the observation.
    What MuJoCo Playground's environments do around it (`default_pose + action * action_scale`) is not part of it.

    Args:
        checkpoint: a pickle of `(normalizer, policy, ...)`, or the folder of a checkpoint
            (`000151060480/`, with `ppo_network_config.json` inside), for which tensorstore must be installed.
        config: a YAML file of settings by name, or what is in it.
        **settings: what the file does not say, by name. `activation`: of the hidden layers, `"swish"` in brax's
            constructors. `normalize_observations`: whether the training used the statistics; brax keeps them in any
            case. Both stand in the configuration of a checkpoint. `policy_obs_key`: which part of a dictionary of
            observations the policy takes (`"state"`), where sizes leave a choice. `mean_clip_scale`: of a `"normal"`
            distribution, or null. `defaults=True` takes those of brax's constructors, and `action_low` and
            `action_high` are told in the contract of a `"normal"` policy and change nothing else.

    Returns:
        The policy in eval mode, ready for `ganglion.export`.

    Raises:
        ArtifactError: the file is missing, damaged, or holds another network.
        EngineUnavailableError: tensorstore or PyYAML is needed and not installed.
        ValueError: a setting is missing, unknown or of the wrong kind; all that are missing are named.
    """
    saved = read(checkpoint)
    label = f"'{checkpoint}'"
    normal = is_normal(saved.weights)
    told = {name: saved.config[name] for name in _CONFIG if name in saved.config}
    given = {**told, **said(config, settings)}
    if not normal and given.get("mean_clip_scale", 0) is None:
        del given["mean_clip_scale"]  # a configuration says so of every network
    observed = first_size(saved.weights, label)
    found = answers(label, "brax", _questions(saved.statistics, observed, normal=normal), given)
    low, high = (found.pop(name, None) for name in BOUNDS)
    layers = network(saved.weights, found["activation"], found.get("mean_clip_scale"), label)
    with torch.no_grad():
        size = layers(torch.zeros(1, observed)).shape[1]
    if not normal and (low or high):
        raise ValueError(f"{label}: actions of a tanh lie between -1 and 1; leave action_low and action_high out")
    spec = spec_of(label, observed, size, low if normal else (-1.0,), high if normal else (1.0,))
    policy: RecurrentPolicy = LayeredPolicy(spec, layers)
    normalizer = _normalizer(saved.statistics, observed, found, label)
    action_map = None if normal else ActionMap([1.0] * size, squash=True)
    if normalizer is not None or action_map is not None:
        policy = DeployablePolicy(policy, normalizer, action_map)
    return policy.eval().requires_grad_(False)


def _questions(statistics: Statistics, observed: int, *, normal: bool) -> Mapping[str, Question]:
    keys = [key for key, mean in statistics.mean.items() if len(mean) == observed]
    one = len(keys) == 1
    asked = {
        "activation": Question(", ".join(ACTIVATIONS), _activation, default="swish"),
        "normalize_observations": Question("true or false", flag, default=False),
        "policy_obs_key": Question(", ".join(keys) or "none fits", str, default="state", optional=one),
        **BOUNDS,
    }
    if normal:
        asked["mean_clip_scale"] = Question("a number, or null for none", _number_or_none, default=None)
    return asked


def _activation(value: Any) -> str:
    if value not in ACTIVATIONS:
        raise ValueError(f"{value!r} is none of {', '.join(ACTIVATIONS)}")
    return str(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else number(value)


def _normalizer(
    statistics: Statistics, observed: int, found: Mapping[str, Any], label: str
) -> ObservationNormalizer | None:
    if not found["normalize_observations"]:
        return None
    fitting = [key for key, mean in statistics.mean.items() if len(mean) == observed]
    key = found.get("policy_obs_key", fitting[0] if fitting else "")
    if key not in statistics.mean and fitting == [""]:
        key = ""  # one array has no keys
    if key not in fitting:
        there = ", ".join(f"'{one}' ({len(mean)})" for one, mean in statistics.mean.items())
        raise ArtifactError(
            f"{label}: the policy takes {observed} elements, and the observation '{key}' is none of that size: {there}"
        )
    mean, std = (torch.from_numpy(values[key].astype("float64")) for values in (statistics.mean, statistics.std))
    return ObservationNormalizer(mean, std**2, epsilon=0.0)
