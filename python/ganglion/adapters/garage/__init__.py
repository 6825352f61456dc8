"""Gaussian policies of garage (its TensorFlow branch) from saved parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganglion._foundation.boundary import bounded
from ganglion.adapters._arrays import read_arrays
from ganglion.adapters._named_policy import build, named
from ganglion.adapters._settings import BOUNDS, answers, said, spec_of
from ganglion.adapters.garage.shapes import read_shapes, sizes_of
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

    from ganglion.adapters._settings import Config
    from ganglion.data.env_spec import EnvSpec

POLICIES = (GaussianLSTMPolicy, GaussianGRUPolicy, GaussianMLPPolicy)


@bounded()
def load(
    path: str | os.PathLike[str],
    *,
    policy: GaussianPolicy | type[GaussianPolicy] | str | None = None,
    env_spec: EnvSpec | None = None,
    config: Config | None = None,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> GaussianPolicy:
    """Loads the parameters of a policy of garage.

    garage saves whole experiments, which only garage opens. There, write the parameters: with names,
    `numpy.savez(path, **{variable.name: variable.eval() for variable in policy.get_global_vars()})`, or
    `numpy.save(path, policy.get_param_values())`. Without `env_spec` the kind of the policy and its sizes are read off
    the names and shapes; what these do not say, such as nonlinearities, must be said.

    Args:
        path: the file: of `numpy.savez`, with or without names, of `numpy.save`, or a pickle of the same things.
        policy: the policy to fill, which is changed; or its class, or the name of one of `POLICIES`; None for the one
            that the names of the arrays are of.
        env_spec: spaces of the environment, for a class.
        config: without `env_spec`, a YAML file of further arguments by name, or what is in it.
        allow_pickle: also read a pickle of other things than arrays, which can run code.
        **kwargs: arguments of the constructor, for a class, as garage's policy was built with. Without `env_spec`,
            those that the arrays do not say; nonlinearities also by name, `"identity"` for none, and initial states as
            numbers. Arrays without names also need `observation_size` and `action_size`. `defaults=True` takes those
            of garage for what is not said, and `action_low` and `action_high`, numbers or one for each action, are told
            in the contract and change nothing else.

    Returns:
        The policy, in evaluation mode.

    Raises:
        ArtifactError: the file is missing, damaged, holds something else than arrays, or objects of
            classes without `allow_pickle`.
        TypeError: `policy` is no `GaussianPolicy`, or arguments are given beside a policy.
        ValueError: the name of the policy is unknown, the arrays are those of another one, something must be said that
            is not, or names, number or shapes of the arrays do not fit the policy; see
            `ganglion.policies.load_garage_parameters`.
    """
    values = read_arrays(path, allow_pickle=allow_pickle)
    if isinstance(values, str) or not isinstance(values, (Mapping, Sequence, np.ndarray)):
        raise ArtifactError(
            f"'{path}' holds a {type(values).__name__}; expected arrays by name, a list of arrays, or a vector of all "
            "parameters. A whole experiment opens in garage only; write policy.get_param_values() there"
        )
    # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        kind = named(policy, POLICIES)
        if env_spec is not None or not (kind is None or kind in POLICIES):
            built = build(kind, POLICIES, env_spec, kwargs, config)
        else:
            built = _built_from_shapes(values, path, kind, config, kwargs)
    load_garage_parameters(built, values)
    loaded: GaussianPolicy = built.eval()
    return loaded


def _built_from_shapes(
    values: Any,
    path: str | os.PathLike[str],
    kind: type[GaussianPolicy] | None,
    config: Config | None,
    kwargs: Mapping[str, Any],
) -> GaussianPolicy:
    shapes = read_shapes(values, kind, f"'{path}'")
    label = f"'{path}' ({shapes.kind.__name__})"
    found = answers(label, "garage", {**shapes.questions, **BOUNDS}, said(config, kwargs))
    low, high = (found.pop(name, None) for name in BOUNDS)
    spec = spec_of(label, *sizes_of(shapes, found, label), low, high)
    policy: GaussianPolicy = shapes.kind(spec, **shapes.arguments, **found)
    return policy
