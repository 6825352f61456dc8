"""Policies that skrl has trained, with PyTorch or JAX: `load("agent_10000.pt", ...)` is what it evaluates, as ours.

Formulas and layouts are those of skrl 2.1.1, and those of skrl 1 where they differ; skrl does not have to be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion._foundation.boundary import bounded
from ganglion._foundation.torch_files import is_old_torch
from ganglion.adapters import _files
from ganglion.adapters._selective_normalizer import SelectiveNormalizer
from ganglion.adapters._state_dict import unwrapped
from ganglion.adapters.skrl.flax import as_state_dict, as_tensors, read_tree
from ganglion.adapters.skrl.model import Settings, build, fill
from ganglion.errors import ArtifactError
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.skrl.policy import SkrlPolicy, is_skrl_model

if TYPE_CHECKING:
    import os

    import gymnasium

    from ganglion.policies.base import RecurrentPolicy

__all__ = ["load"]

_PREPROCESSORS = ("observation_preprocessor", "state_preprocessor")
_STATISTICS = {"running_mean", "running_variance", "current_count"}


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    activation: str | None = None,
    output_activation: str | None = None,
    output_scale: float = 1.0,
    clip_mean_actions: bool = False,
    clip_actions: bool = False,
    observation_space: gymnasium.Space[Any] | None = None,
    action_space: gymnasium.Space[Any] | None = None,
    preprocessor: bool | str | os.PathLike[str] = True,
    preprocessor_epsilon: float = 1e-8,
    preprocessor_clip: float = 5.0,
    allow_pickle: bool = False,
) -> RecurrentPolicy:
    """Reads what an agent (`agent.save()`, `checkpoints/agent_*.pt`) or a model (`model.save()`) of skrl wrote.

    The policy is what skrl's trainers run in evaluation: the observation preprocessor, then the `mean_actions` of the
    model. `GaussianMixin(clip_actions=True)` clips drawn actions only; `clip_mean_actions` and
    `DeterministicMixin(clip_actions=True)` clip means. Outputs and state are those of `SkrlPolicy`; a model without
    `log_std_parameter` has the output `actions`.

    The preprocessor is skrl's `RunningStandardScaler`, `clip((x - mean) / (sqrt(variance) + epsilon))`, with
    the statistics in the checkpoint: `observation_preprocessor` before the observations and `state_preprocessor` before
    the environment's states, if the model takes them. skrl 1 has a `state_preprocessor` alone, for the observations.

    Args:
        checkpoint: a file of `torch.save`, a pickle (agents in JAX) or a MessagePack of flax (models in JAX).
        model: a model in the style of skrl, into which the weights are loaded. Without one, a network is made from the
            shapes of the weights, if they have the names of skrl's documentation or of its model instantiators (`net`
            or `net_container`, `policy_layer` or `mean_layer`, `rnn`, `gru`, `lstm`, `log_std_parameter`; in JAX
            `Dense_0`, ...). The weights do not tell the rest; it is given by the arguments up to `action_space`:
        activation: name of the activation behind each hidden layer, as in skrl's configurations: `"elu"`, `"relu"`, ...
        output_activation: name of that behind the last layer, `"identity"` for none.
        output_scale: factor behind that.
        clip_mean_actions: clip the means (or the deterministic actions) to the action space.
        clip_actions: clip actions to it that the runtime draws, as `GaussianMixin(clip_actions=True)` does.
        observation_space: for the bounds in the contract.
        action_space: for the bounds in the contract, and to clip to.
        preprocessor: True for the statistics in the checkpoint, if it has any; False for none; or the file of a
            preprocessor that was stored separately.
        preprocessor_epsilon: `epsilon` of the scaler; checkpoints do not tell it.
        preprocessor_clip: `clip_threshold` of the scaler; likewise.
        allow_pickle: make objects of classes in the file in earnest, with a warning: that can run any code.

    Returns:
        The policy in eval mode, with parameters that are not trained any more (those of a given `model` are left as
        they are), ready for `ganglion.export`.

    Raises:
        ArtifactError: the file is missing, damaged or of another kind; its weights or statistics do not fit; or
            only code in it could tell them, and `allow_pickle` is not set.
        TypeError: `model` is no model in the style of skrl.
        ValueError: an argument is missing or out of range, or the model has spaces that are not supported.
    """
    parts = _Parts.read(checkpoint, allow_pickle)
    label = f"'{parts.label}', policy"
    if model is None:
        settings = Settings(
            activation,
            output_activation,
            output_scale,
            clip_mean_actions,
            clip_actions,
            observation_space,
            action_space,
        )
        policy = build(parts.policy, settings, label).requires_grad_(False)
    elif not is_skrl_model(model):
        raise TypeError(f"model must be one in the style of skrl, with compute and act, not {type(model).__name__}")
    else:
        fill(model, parts.policy, label)
        policy = SkrlPolicy(model)
    if isinstance(preprocessor, (str, Path)) or hasattr(preprocessor, "__fspath__"):
        statistics = {_PREPROCESSORS[0]: _read_statistics(preprocessor, allow_pickle)}
    else:
        statistics = parts.preprocessors if preprocessor else {}
    normalizer = _normalizer(policy, statistics, preprocessor_epsilon, preprocessor_clip, parts.label)
    deployable = policy if normalizer is None else DeployablePolicy(policy, normalizer)
    return deployable.eval()


@dataclass(frozen=True)
class _Parts:
    """What a checkpoint holds of the way from the observation to the action."""

    label: str
    policy: dict[str, Tensor]
    preprocessors: dict[str, dict[str, Tensor]]

    @classmethod
    def read(cls, path: str | os.PathLike[str], allow_pickle: bool) -> _Parts:
        label = str(path)
        found, is_flax = _read(path, allow_pickle)
        if not isinstance(found, Mapping) or not found:
            _files.refuse_stand_ins(found, f"'{label}'")
            raise ArtifactError(f"'{label}' holds a {type(found).__name__}; expected an agent or a model of skrl")
        if "policy" not in found and (set(found) <= {"params"} or all(isinstance(v, Tensor) for v in found.values())):
            found = {"policy": found}
        if "policy" not in found:
            raise ArtifactError(f"'{label}' has no 'policy', but {sorted(map(str, found))[:8]}; is it of skrl?")
        policy = found["policy"]
        if is_flax:
            policy = as_state_dict(_tree(policy, f"'{label}', policy"), f"'{label}', policy")
        if not _is_state(policy):
            _files.refuse_stand_ins(policy, f"'{label}', policy")
            raise ArtifactError(f"'{label}', policy is no state dictionary of tensors, but a {type(policy).__name__}")
        if set(policy) >= _STATISTICS:
            raise ArtifactError(
                f"'{label}' holds the statistics of a preprocessor; expected an agent or a model of skrl"
            )
        preprocessors = {}
        for name in _PREPROCESSORS:
            if name in found:
                value = found[name]
                preprocessors[name] = (
                    as_tensors(_tree(value, f"'{label}', {name}"), f"'{label}', {name}") if is_flax else value
                )
        return cls(label, dict(policy), preprocessors)


def _read(path: str | os.PathLike[str], allow_pickle: bool) -> tuple[Any, bool]:
    """The content of a file, and whether it is of flax."""
    data = _files.read_bytes(path)
    if 0x81 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF):
        return read_tree(data, f"'{path}'"), True
    if data[0] == 0x80 and not is_old_torch(data):
        return _files.read_pickle(path, allow_pickle=allow_pickle), True
    return _files.read_torch(data, name=str(path), allow_pickle=allow_pickle), False


def _tree(value: Any, label: str) -> Any:
    # Agents in JAX pickle a dictionary of what flax has serialised (skrl, agents/jax/base.py, Agent.save).
    return read_tree(value, label) if isinstance(value, bytes) else value


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(part, Tensor) for part in value.values())


def _read_statistics(path: Any, allow_pickle: bool) -> dict[str, Tensor]:
    found, is_flax = _read(path, allow_pickle)
    return as_tensors(found, f"'{path}'") if is_flax else found


def _normalizer(
    policy: RecurrentPolicy, statistics: Mapping[str, Any], epsilon: float, clip: float, label: str
) -> ObservationNormalizer | None:
    specs = policy.input_specs
    observations, states = (statistics.get(name) for name in _PREPROCESSORS)
    if observations is None and all(spec.name != "states" for spec in specs):
        observations, states = states, None  # skrl 1
    vectors = []
    for spec in specs:
        name = "states" if spec.name == "states" else "observations"
        found = states if name == "states" else observations
        vectors.append(None if found is None else _vectors(found, spec.size, epsilon, f"'{label}', {name}"))
    if all(vector is None for vector in vectors):
        return None
    pairs = [
        (torch.zeros(spec.size), torch.ones(spec.size)) if vector is None else vector
        for vector, spec in zip(vectors, specs, strict=True)
    ]
    mean, variance = (torch.cat(column) for column in zip(*pairs, strict=True))
    if all(vector is not None for vector in vectors):
        return ObservationNormalizer(mean, variance, epsilon=0.0, clip=clip)
    selected = [
        torch.full((spec.size,), vector is not None, dtype=torch.bool)
        for vector, spec in zip(vectors, specs, strict=True)
    ]
    return SelectiveNormalizer(mean, variance, torch.cat(selected), epsilon=0.0, clip=clip)


def _vectors(statistics: Any, size: int, epsilon: float, label: str) -> tuple[Tensor, Tensor]:
    """Mean, and the variance whose root is what the scaler divides by: `sqrt(variance) + epsilon`."""
    statistics = unwrapped(statistics, label) if _is_state(statistics) else statistics
    if not _is_state(statistics) or set(statistics) != _STATISTICS:
        names = sorted(map(str, statistics)) if isinstance(statistics, Mapping) else type(statistics).__name__
        raise ArtifactError(
            f"{label}: the preprocessor has {names}; expected {sorted(_STATISTICS)} of RunningStandardScaler"
        )
    mean, variance = (statistics[f"running_{name}"].double().reshape(-1) for name in ("mean", "variance"))
    if mean.numel() != size or variance.numel() != size:
        raise ArtifactError(
            f"{label}: the preprocessor has {mean.numel()} elements, but the model takes {size}; statistics of "
            "something else are left out by preprocessor=False"
        )
    if not bool(mean.isfinite().all() and variance.isfinite().all() and (variance >= 0.0).all()):
        raise ArtifactError(f"{label}: the preprocessor has a mean or variance that is not finite, or below zero")
    return mean, (variance.sqrt() + epsilon) ** 2
