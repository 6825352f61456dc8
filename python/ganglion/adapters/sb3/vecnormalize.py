"""The statistics of Stable-Baselines3's `VecNormalize` as a normaliser of ours."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import utils as space_utils

from ganglion._foundation.pickles import NUMERIC, StandIn
from ganglion.adapters import _files
from ganglion.adapters._selective_normalizer import SelectiveNormalizer
from ganglion.errors import ArtifactError
from ganglion.policies.normalizer import ObservationNormalizer

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ganglion.adapters.sb3.file import Archive

_ATTRIBUTES = ("norm_obs", "clip_obs", "epsilon")


def read_vecnormalize(path: str | os.PathLike[str], space: gymnasium.Space[Any]) -> ObservationNormalizer | None:
    """Reads the numbers that `VecNormalize.save()` of any version wrote, without its classes and without running code.

    The formula is that of `VecNormalize._normalize_obs` of SB3 2.9.2:
    `clip((obs - mean) / sqrt(var + epsilon), -clip_obs, clip_obs)`.

    Args:
        path: the pickle.
        space: the observations of the policy; of a `Dict`, the parts in `norm_obs_keys` are normalised.

    Returns:
        The normaliser of the flat observation, or None where `norm_obs` was off.

    Raises:
        ArtifactError: the file is unreadable, or its statistics do not fit `space`.
    """
    found = _files.read_stand_in(path)
    attributes: dict[str, Any] = found.attributes if isinstance(found, StandIn) else {}
    missing = [name for name in _ATTRIBUTES if name not in attributes]
    if missing:
        kind = found.kind.rpartition(".")[2] if isinstance(found, StandIn) else type(found).__name__
        raise ArtifactError(
            f"'{path}' holds a {kind} without {', '.join(missing)}; expected what VecNormalize.save() of "
            "Stable-Baselines3 wrote"
        )
    if not attributes["norm_obs"]:
        return None
    parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {"": space}
    statistics = _statistics(attributes, space, path)
    means, variances, selected = [], [], []
    for key, part in parts.items():
        size = int(space_utils.flatdim(part))
        part_mean, part_variance = statistics.pop(key, (np.zeros(size), np.ones(size)))
        if not part_mean.size == part_variance.size == size:
            name = f"observation {key!r}" if key else "observation"
            raise ArtifactError(
                f"'{path}' has statistics of {part_mean.size} means and {part_variance.size} variances; the {name} of "
                f"the policy has {size} elements, so the two are not of one training"
            )
        means.append(part_mean.reshape(-1))
        variances.append(part_variance.reshape(-1))
        selected.append(np.full(size, key in _normalized_keys(attributes, space)))
    if statistics:
        raise ArtifactError(f"'{path}' has statistics of {sorted(statistics)}; the policy knows {sorted(parts)}")
    mean, variance, mask = (torch.from_numpy(np.concatenate(values)) for values in (means, variances, selected))
    try:
        epsilon, clip = float(attributes["epsilon"]), float(attributes["clip_obs"])
        if mask.all():
            return ObservationNormalizer(mean, variance, epsilon, clip)
        return SelectiveNormalizer(mean, variance, mask, epsilon, clip)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"'{path}' has statistics that cannot be used: {error}") from error


def warn_if_missing(archive: Archive, *, is_on_policy: bool) -> None:
    """Warns where a policy was trained behind `VecNormalize`, but is loaded without its statistics.

    On-policy algorithms keep the observations before normalisation (`_last_original_obs`) only then; the others
    always do.
    """
    if is_on_policy and archive.data.get("_last_original_obs") is not None:
        warnings.warn(
            f"'{archive.label}' was trained behind VecNormalize; without its statistics the policy takes observations "
            "that are normalised already. Give them: --vecnormalize FILE, or vecnormalize=...",
            stacklevel=4,
        )


def _normalized_keys(attributes: dict[str, Any], space: gymnasium.Space[Any]) -> tuple[str, ...]:
    if not isinstance(space, gymnasium.spaces.Dict):
        return ("",)
    keys = attributes.get("norm_obs_keys")
    return tuple(space.spaces if keys is None else keys)


def _statistics(
    attributes: dict[str, Any], space: gymnasium.Space[Any], path: str | os.PathLike[str]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    rms: Any = attributes.get("obs_rms")
    if isinstance(rms, dict) != isinstance(space, gymnasium.spaces.Dict):
        raise ArtifactError(
            f"'{path}' has statistics of {'a Dict' if isinstance(rms, dict) else 'one vector'}, but the observation of "
            f"the policy is a {type(space).__name__}"
        )
    try:
        return {
            key: (_numbers(one.attributes["mean"]), _numbers(one.attributes["var"]))
            for key, one in (rms if isinstance(rms, dict) else {"": rms}).items()
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"'{path}' has no mean and var of the observations: {error}") from error


def _numbers(value: Any) -> NDArray[np.float64]:
    if not isinstance(value, (np.ndarray, int, float)) or np.asarray(value).dtype.kind not in NUMERIC:
        raise TypeError(f"a {type(value).__name__} is no array of numbers")
    return np.asarray(value, np.float64)
