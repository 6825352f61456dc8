"""Policies of Pyrado (SimuRLacra) from the files that it saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganglion.adapters._files import read_torch
from ganglion.adapters._named_policy import build
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


def load(
    path: str | os.PathLike[str],
    *,
    policy: RecurrentPolicy | type[RecurrentPolicy] | str,
    env_spec: EnvSpec | None = None,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> RecurrentPolicy:
    """Loads a policy that Pyrado 0.7 saved (`policy.pt`), either as a state dictionary or as a whole.

    Args:
        path: the file.
        policy: the policy to fill, which is changed; or its class, or the name of one of `POLICIES`.
        env_spec: spaces of the environment, for a class.
        allow_pickle: also read a policy that was saved as a whole: a pickle, which can run code and needs Pyrado
            installed.
        **kwargs: arguments of the constructor, for a class, as Pyrado's policy was built with; what Pyrado does not
            save comes from them, see `ganglion.policies.from_pyrado_state_dict`.

    Returns:
        The policy, in evaluation mode.

    Raises:
        ArtifactError: the file is missing, damaged, no file of Pyrado, or a pickle without `allow_pickle`.
        TypeError: `policy` is no recurrent policy, or arguments are given beside a policy.
        ValueError: the name of the policy is unknown, a class lacks `env_spec`, or names or shapes of the tensors do
            not fit the policy; all of those are named.
    """
    try:
        document = read_torch(path, allow_pickle=allow_pickle)
    except ArtifactError as error:
        if "pyrado" not in str(error).lower():
            raise
        raise ArtifactError(
            f"{error}. A policy that was saved as a whole opens only where Pyrado is installed; there, save "
            "policy.state_dict() with torch.save, and load that file"
        ) from error
    tensors = document.state_dict() if isinstance(document, nn.Module) else document
    if not isinstance(tensors, Mapping) or not tensors:
        raise ArtifactError(f"'{path}' holds a {type(document).__name__}; expected a policy or its state dictionary")
    # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        built = build(policy, POLICIES, env_spec, kwargs)
    loaded: RecurrentPolicy = from_pyrado_state_dict(built, tensors)
    return loaded.eval()
