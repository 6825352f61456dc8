"""Policies of Pyrado (SimuRLacra) from the files that it saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganglion._foundation.boundary import bounded
from ganglion._foundation.pickles import StandIn
from ganglion.adapters._files import read_torch, refuse_stand_ins, state_of_module
from ganglion.adapters._named_policy import build, named
from ganglion.adapters._settings import BOUNDS, answers, said, spec_of
from ganglion.adapters._state_dict import StateDict, unwrapped
from ganglion.adapters.pyrado.shapes import finished, read_shapes
from ganglion.errors import ArtifactError
from ganglion.policies import (
    ADNPolicy,
    GRUPolicy,
    LSTMPolicy,
    NFPolicy,
    RNNPolicy,
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    TwoHeadedRNNPolicy,
    from_pyrado_state_dict,
)

if TYPE_CHECKING:
    import os

    from ganglion.adapters._settings import Config
    from ganglion.data.env_spec import EnvSpec
    from ganglion.policies import RecurrentPolicy

POLICIES = (
    RNNPolicy,
    GRUPolicy,
    LSTMPolicy,
    TwoHeadedRNNPolicy,
    TwoHeadedGRUPolicy,
    TwoHeadedLSTMPolicy,
    ADNPolicy,
    NFPolicy,
)


@bounded()
def load(
    path: str | os.PathLike[str],
    *,
    policy: RecurrentPolicy | type[RecurrentPolicy] | str | None = None,
    env_spec: EnvSpec | None = None,
    config: Config | None = None,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> RecurrentPolicy:
    """Loads a policy that Pyrado 0.7 saved (`policy.pt`), either as a state dictionary or as a whole.

    Without `env_spec` the kind of the policy and its sizes are read off the weights; what these do not say, such as
    nonlinearities, must be said.

    Args:
        path: the file.
        policy: the policy to fill, which is changed; or its class, or the name of one of `POLICIES`; None for the one
            that the weights are of.
        env_spec: spaces of the environment, for a class.
        config: without `env_spec`, a YAML file of further arguments by name, or what is in it.
        allow_pickle: make objects of classes in the file in earnest, which can run code and needs Pyrado installed;
            without it the weights are taken out of a policy that was saved as a whole.
        **kwargs: arguments of the constructor, for a class, as Pyrado's policy was built with; what Pyrado does not
            save comes from them, see `ganglion.policies.from_pyrado_state_dict`. Without `env_spec`, those that the
            weights do not say; nonlinearities and dynamics also by name, `"identity"` for none. `defaults=True` takes
            those of Pyrado for what is not said, and `action_low` and `action_high`, numbers or one for each action,
            are told in the contract and change nothing else.

    Returns:
        The policy, in evaluation mode.

    Raises:
        ArtifactError: the file is missing, damaged, or no file of Pyrado.
        TypeError: `policy` is no recurrent policy, or arguments are given beside a policy.
        ValueError: the name of the policy is unknown, the weights are those of another one, something must be said that
            is not, or names or shapes of the tensors do not fit the policy; all of those are named.
    """
    tensors = _tensors(path, allow_pickle)
    # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        kind = named(policy, POLICIES)
        if env_spec is not None or not (kind is None or kind in POLICIES):
            built = build(kind, POLICIES, env_spec, kwargs, config)
        else:
            built = _built_from_shapes(tensors, path, kind, config, kwargs)
    loaded: RecurrentPolicy = from_pyrado_state_dict(built, tensors)
    return loaded.eval()


def _tensors(path: str | os.PathLike[str], allow_pickle: bool) -> Mapping[str, torch.Tensor]:
    try:
        document = read_torch(path, allow_pickle=allow_pickle)
    except ArtifactError as error:
        if "pyrado" not in str(error).lower():
            raise
        raise ArtifactError(
            f"{error}. There is no need to: a policy that was saved as a whole is read without Pyrado and without "
            "running code, or save policy.state_dict() with torch.save, and load that file"
        ) from error
    tensors = document.state_dict() if isinstance(document, nn.Module) else document
    if isinstance(document, StandIn):
        tensors = state_of_module(document)
    if not isinstance(tensors, Mapping) or not tensors:
        refuse_stand_ins(document, f"'{path}'")
        raise ArtifactError(f"'{path}' holds a {type(document).__name__}; expected a policy or its state dictionary")
    return unwrapped(tensors, f"'{path}'")


def _built_from_shapes(
    tensors: Mapping[str, torch.Tensor],
    path: str | os.PathLike[str],
    kind: type[RecurrentPolicy] | None,
    config: Config | None,
    kwargs: Mapping[str, Any],
) -> RecurrentPolicy:
    shapes = read_shapes(StateDict(tensors, f"'{path}'"))
    if kind not in (None, shapes.kind):
        raise ValueError(f"'{path}' has the weights of {shapes.kind.__name__}, not of {kind.__name__}")
    sizes = f"{shapes.observation_size} observations, {shapes.action_size} actions"
    label = f"'{path}' ({shapes.kind.__name__}, {sizes})"
    found = answers(label, "Pyrado", {**shapes.questions, **BOUNDS}, said(config, kwargs))
    low, high = (found.pop(name, None) for name in BOUNDS)
    spec = spec_of(label, shapes.observation_size, shapes.action_size, low, high)
    policy: RecurrentPolicy = shapes.kind(spec, **finished(shapes, found))
    return policy
