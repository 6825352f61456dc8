"""Checkpoints of the original Pyrado in our policies, with the same outputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.pyrado.neural_field import NFPolicy
from ganglion.policies.pyrado.potential import PotentialBasedPolicy

_PolicyT = TypeVar("_PolicyT", bound=RecurrentPolicy)


def from_pyrado_state_dict(
    policy: _PolicyT | type[_PolicyT], state_dict: Mapping[str, Tensor], *args: Any, **kwargs: Any
) -> _PolicyT:
    """Loads the `state_dict` of a policy of Pyrado 0.7 (SimuRLacra).

    Pyrado does not save what is not learned; the arguments of the constructor say what that was. The policy then
    computes what the original computed with these arguments, even where ganglion gives them another meaning: a missing
    `obs_layer.bias` is zero; a fixed `kappa_init=0` was e = 2.718 and is here, too; fixed initial potentials were -7
    for the very function `torch.sigmoid` only, and 0 for `torch.nn.Sigmoid`.

    Args:
        policy: a policy, which is changed, or the class of one to build.
        state_dict: tensors by name, as of `torch.nn.Module.state_dict`.
        *args: arguments of the constructor, where `policy` is a class.
        **kwargs: arguments of the constructor, where `policy` is a class.

    Returns:
        The policy.

    Raises:
        TypeError: `policy` is no recurrent policy, or `state_dict` does not hold tensors.
        ValueError: a name is missing or unknown, or a tensor has another shape; all of them are named, and the policy
            stays as it was. Or the policy pads a mirrored kernel by reflection, which Pyrado did with zeros.
    """
    if isinstance(policy, type):
        # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]):
            policy = policy(*args, **kwargs)
    elif args or kwargs:
        raise TypeError("from_pyrado_state_dict: arguments of the constructor are for a policy class, not for a policy")
    if not isinstance(policy, RecurrentPolicy):
        raise TypeError(f"from_pyrado_state_dict: expected a recurrent policy, not {type(policy).__name__}")
    complete = {**_not_saved(policy, _tensors(state_dict)), **state_dict}
    _check(type(policy).__name__, complete, policy.state_dict())
    policy.load_state_dict(complete)
    return policy


def _tensors(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"from_pyrado_state_dict: expected tensors by name, not {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"from_pyrado_state_dict: {name!r} must be a torch.Tensor, not {type(value).__name__}")
    return state_dict


def _not_saved(policy: RecurrentPolicy, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the values that the original computes with but does not save."""
    if not isinstance(policy, PotentialBasedPolicy):
        return {}
    if isinstance(policy, NFPolicy) and policy.mirrored_conv_weights and policy.conv_layer.padding_mode == "reflect":
        raise ValueError(
            "from_pyrado_state_dict: Pyrado padded a mirrored kernel with zeros where 'reflect' was asked for; build "
            "the policy with conv_padding_mode='zeros'"
        )
    values = dict(policy.named_buffers(recurse=False))
    if "_log_kappa" in values.keys() - state_dict.keys() and policy.kappa_init == 0.0:
        warnings.warn("Pyrado computed a fixed kappa_init=0 as kappa = e; so does the loaded policy", stacklevel=3)
        values["_log_kappa"] = torch.ones(1)
    nonlin = policy.activation_layer.nonlin
    if "_potentials_init" in values and not isinstance(nonlin, tuple) and nonlin is not torch.sigmoid:
        values["_potentials_init"] = torch.zeros(policy.hidden_size)
    if isinstance(policy.obs_layer, nn.Linear) and policy.obs_layer.bias is not None:
        values["obs_layer.bias"] = torch.zeros(policy.hidden_size)
    return values


def _check(owner: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in own if name not in given]
    problems += [f"{name} is unknown" for name in given if name not in own]
    problems += [
        f"{name} has shape {tuple(given[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if problems:
        raise ValueError(f"from_pyrado_state_dict: the checkpoint does not fit {owner}: {'; '.join(problems)}")
