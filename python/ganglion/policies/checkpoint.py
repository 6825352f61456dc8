"""Checkpoints: a policy with everything that is needed to build it again, in a file that holds data only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import gymnasium
import numpy as np
import torch
from torch import nn

from ganglion._foundation.files import replacing
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies._modules import build_module, describe_module
from ganglion.policies.action_map import ActionMap
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.layered import LayeredPolicy
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.pyrado.rnn import GRUPolicy, LSTMPolicy, RNNPolicy, RNNPolicyBase

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from ganglion.policies.base import RecurrentPolicy

_FORMAT = 1
_KEY = "ganglion_checkpoint"

_RNN_CLASSES: dict[str, type[RNNPolicyBase]] = {cls.__name__: cls for cls in (RNNPolicy, GRUPolicy, LSTMPolicy)}
_LAYERED_PARTS = ("head", "recurrent", "encoder")
_NONLINEAR_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch.tanh": torch.tanh,
    "torch.sigmoid": torch.sigmoid,
    "torch.relu": torch.relu,
    "torch.nn.functional.tanh": nn.functional.tanh,
    "torch.nn.functional.sigmoid": nn.functional.sigmoid,
    "torch.nn.functional.relu": nn.functional.relu,
}
_NONLINEAR_MODULES: dict[str, type[nn.Module]] = {
    f"torch.nn.{cls.__name__}": cls for cls in (nn.Identity, nn.Tanh, nn.Sigmoid, nn.ReLU)
}


def save_checkpoint(policy: RecurrentPolicy, path: str | os.PathLike[str]) -> None:
    """Writes a policy to a file that `load_checkpoint` builds it from again.

    The file holds tensors and plain data, no code and no pickled classes.

    Args:
        policy: an `RNNPolicy`, `GRUPolicy`, `LSTMPolicy`, or `LayeredPolicy` of known modules, or a `DeployablePolicy`
            around one.
        path: the file; replaced when it exists.

    Raises:
        ExportError: a class, a module, a space or an output nonlinearity that a checkpoint cannot name.
    """
    document = {
        _KEY: _FORMAT,
        "policy": _describe(policy),
        "env_spec": {
            "observation_space": _describe_space(policy.env_spec.observation_space),
            "action_space": _describe_space(policy.env_spec.action_space),
            "max_episode_length": policy.env_spec.max_episode_length,
        },
        "dtype": str(next(policy.parameters()).dtype).removeprefix("torch."),
        "state_dict": {name: tensor.detach().cpu().clone() for name, tensor in policy.state_dict().items()},
    }
    with replacing(path) as temporary:
        torch.save(document, temporary)


def load_checkpoint(path: str | os.PathLike[str]) -> RecurrentPolicy:
    """Builds the policy that `save_checkpoint` wrote, on the CPU and in evaluation mode.

    Running code from the file is not possible: it is read with `weights_only=True`.

    Raises:
        ArtifactError: the file is missing, damaged, no checkpoint of ganglion, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: {'a folder, not a checkpoint' if path.is_dir() else 'no such checkpoint'}")
    return read_checkpoint(path, str(path))


def read_checkpoint(source: Path | BinaryIO, label: str) -> RecurrentPolicy:
    """As `load_checkpoint`, of a file that is there or of bytes in memory; errors begin with `label`."""
    document = _read(source, label)
    try:
        # Construction draws parameters that are replaced at once; the caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]):
            policy = _build(document["policy"], _build_env_spec(document["env_spec"]))
        policy.to(getattr(torch, str(document["dtype"])))
        policy.load_state_dict(document["state_dict"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{label}: damaged checkpoint: {what}") from error
    return policy.eval()


def _read(source: Path | BinaryIO, label: str) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # torch warns when it meets a TorchScript archive; the message below says what to do.
            warnings.simplefilter("ignore")
            document: dict[str, Any] | Any = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler happens to meet
        raise ArtifactError(
            f"{label}: not a readable checkpoint; write one with save_checkpoint(policy, path)"
        ) from error
    found = document.get(_KEY) if isinstance(document, dict) else None
    if not isinstance(found, int) or found < 1:
        raise ArtifactError(f"{label}: not a checkpoint of ganglion; write one with save_checkpoint(policy, path)")
    if found > _FORMAT:
        raise ArtifactError(
            f"{label}: checkpoint format {found} is newer than {_FORMAT}, the newest that this version of ganglion "
            "reads; install a newer ganglion"
        )
    return document


def _describe(policy: Any) -> dict[str, Any]:
    # Exact classes only: a sub-class would come back as its base, with another behaviour.
    if type(policy) is DeployablePolicy:
        normalizer, action_map = policy.observation_normalizer, policy.action_map
        return {
            "class": "DeployablePolicy",
            "policy": _describe(policy.policy),
            "observation_normalizer": None
            if normalizer is None
            else {"size": normalizer.size, "epsilon": normalizer.epsilon, "clip": normalizer.clip},
            "action_map": None
            if action_map is None
            else {
                "size": action_map.size,
                "squash": action_map.squash,
                "low": action_map.low is not None,
                "high": action_map.high is not None,
            },
        }
    if type(policy) is LayeredPolicy:
        parts = {name: getattr(policy, name) for name in _LAYERED_PARTS}
        return {
            "class": "LayeredPolicy",
            "parts": {name: None if part is None else describe_module(part) for name, part in parts.items()},
        }
    if type(policy) not in _RNN_CLASSES.values():
        known = ", ".join(("DeployablePolicy", "LayeredPolicy", *_RNN_CLASSES))
        raise ExportError(f"{type(policy).__name__} cannot be saved as a checkpoint; {known} can")
    layers = policy.rnn_layers
    arguments: dict[str, Any] = {
        "hidden_size": layers.hidden_size,
        "num_recurrent_layers": layers.num_layers,
        "dropout": layers.dropout,
    }
    if type(policy) is RNNPolicy:
        arguments["hidden_nonlin"] = layers.nonlinearity
    return {
        "class": type(policy).__name__,
        "arguments": arguments,
        "output_nonlin": _name_of_nonlinearity(policy.output_nonlin),
    }


def _build(document: Mapping[str, Any], env_spec: EnvSpec) -> RecurrentPolicy:
    if document["class"] == "DeployablePolicy":
        normalizer, action_map = document["observation_normalizer"], document["action_map"]
        return DeployablePolicy(
            _build(document["policy"], env_spec),
            None
            if normalizer is None
            else ObservationNormalizer.empty(normalizer["size"], normalizer["epsilon"], normalizer["clip"]),
            None if action_map is None else _build_action_map(action_map),
        )
    if document["class"] == "LayeredPolicy":
        parts: dict[str, Any] = {
            name: None if part is None else build_module(part) for name, part in document["parts"].items()
        }
        return LayeredPolicy(env_spec, **parts)
    if document["class"] not in _RNN_CLASSES:
        raise ValueError(f"unknown policy class {document['class']!r}")
    nonlinearity = _nonlinearity_of_name(document["output_nonlin"])
    return _RNN_CLASSES[document["class"]](env_spec, output_nonlin=nonlinearity, **document["arguments"])


def _build_action_map(document: Mapping[str, Any]) -> ActionMap:
    # Values come with the state dictionary; only their presence and size matter here.
    ones = torch.ones(document["size"])
    return ActionMap(
        ones,
        low=-ones if document["low"] else None,
        high=ones if document["high"] else None,
        squash=document["squash"],
    )


def _name_of_nonlinearity(nonlinearity: Callable[..., Any] | None) -> str | None:
    if nonlinearity is None:
        return None
    for name, function in _NONLINEAR_FUNCTIONS.items():
        if nonlinearity is function:
            return name
    for name, cls in _NONLINEAR_MODULES.items():
        if type(nonlinearity) is cls:
            return name
    known = ", ".join((*_NONLINEAR_FUNCTIONS, *_NONLINEAR_MODULES))
    raise ExportError(f"output nonlinearity {nonlinearity!r} cannot be saved in a checkpoint; known: {known}")


def _nonlinearity_of_name(name: str | None) -> Callable[..., Any] | None:
    if name is None:
        return None
    if name in _NONLINEAR_MODULES:
        return _NONLINEAR_MODULES[name]()
    if name not in _NONLINEAR_FUNCTIONS:
        raise ValueError(f"unknown output nonlinearity {name!r}")
    return _NONLINEAR_FUNCTIONS[name]


def _describe_space(space: gymnasium.Space[Any]) -> dict[str, Any]:
    if isinstance(space, gymnasium.spaces.Box):
        return {
            "class": "Box",
            "shape": list(space.shape),
            "dtype": np.dtype(space.dtype).name,
            "low": space.low.reshape(-1).tolist(),
            "high": space.high.reshape(-1).tolist(),
        }
    if isinstance(space, gymnasium.spaces.Discrete):
        return {"class": "Discrete", "n": int(space.n), "start": int(space.start)}
    raise ExportError(f"space {space} cannot be saved in a checkpoint; Box and Discrete can")


def _build_space(document: Mapping[str, Any]) -> gymnasium.Space[Any]:
    if document["class"] == "Discrete":
        return gymnasium.spaces.Discrete(document["n"], start=document["start"])
    if document["class"] != "Box":
        raise ValueError(f"unknown space class {document['class']!r}")
    dtype = np.dtype(document["dtype"])
    low, high = (np.asarray(document[key], dtype=dtype).reshape(document["shape"]) for key in ("low", "high"))
    return gymnasium.spaces.Box(low, high, dtype=dtype.type)


def _build_env_spec(document: Mapping[str, Any]) -> EnvSpec:
    return EnvSpec(
        _build_space(document["observation_space"]),
        _build_space(document["action_space"]),
        document["max_episode_length"],
    )
