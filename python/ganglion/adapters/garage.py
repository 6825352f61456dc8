"""Gaussian policies of garage (its TensorFlow branch) from saved parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion.adapters._arrays import read_arrays
from ganglion.adapters._named_policy import build
from ganglion.errors import ArtifactError
from ganglion.policies import (
    GaussianGRUPolicy,
    GaussianLSTMPolicy,
    GaussianMLPPolicy,
    GaussianPolicy,
    load_garage_parameters,
)

if TYPE_CHECKING:
    import os

    from ganglion.data.env_spec import EnvSpec

POLICIES = (GaussianLSTMPolicy, GaussianGRUPolicy, GaussianMLPPolicy)


def load(
    path: str | os.PathLike[str],
    *,
    policy: GaussianPolicy | type[GaussianPolicy] | str,
    env_spec: EnvSpec | None = None,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> GaussianPolicy:
    """Loads the parameters of a policy of garage.

    garage saves whole experiments, which only garage opens. There, write the parameters: with names,
    `numpy.savez(path, **{variable.name: variable.eval() for variable in policy.get_global_vars()})`, or
    `numpy.save(path, policy.get_param_values())`.

    Args:
        path: the file: of `numpy.savez`, with or without names, of `numpy.save`, or a pickle of the same things.
        policy: the policy to fill, which is changed; or its class, or the name of one of `POLICIES`.
        env_spec: spaces of the environment, for a class.
        allow_pickle: also read a pickle, which can run code.
        **kwargs: arguments of the constructor, for a class, as garage's policy was built with.

    Returns:
        The policy, in evaluation mode.

    Raises:
        ArtifactError: the file is missing, damaged, holds something else than arrays, or is a pickle without
            `allow_pickle`.
        TypeError: `policy` is no `GaussianPolicy`, or arguments are given beside a policy.
        ValueError: the name of the policy is unknown, a class lacks `env_spec`, or names, number or shapes of the
            arrays do not fit the policy; see `ganglion.policies.load_garage_parameters`.
    """
    values = read_arrays(path, allow_pickle=allow_pickle)
    if isinstance(values, str) or not isinstance(values, (Mapping, Sequence, np.ndarray)):
        raise ArtifactError(
            f"'{path}' holds a {type(values).__name__}; expected arrays by name, a list of arrays, or a vector of all "
            "parameters. A whole experiment opens in garage only; write policy.get_param_values() there"
        )
    # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        built = build(policy, POLICIES, env_spec, kwargs)
    load_garage_parameters(built, values)
    loaded: GaussianPolicy = built.eval()
    return loaded
