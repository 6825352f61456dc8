"""Checkpoints of format 1 as documents of format 2: plain data to plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODULES = ("torch.nn.Identity", "torch.nn.Tanh", "torch.nn.Sigmoid", "torch.nn.ReLU")
"""Output nonlinearities that were modules; others were functions."""


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a document of format 1 in format 2.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is damaged.
    """
    env_spec = {"env_spec": _env_spec(document["env_spec"])}
    return {**document, "ganglion_checkpoint": 2, "policy": _policy(document["policy"], env_spec)}


def _policy(old: Mapping[str, Any], env_spec: dict[str, Any]) -> dict[str, Any]:
    name = old["class"]
    arguments: dict[str, Any]
    if name == "DeployablePolicy":
        arguments = {
            "policy": _policy(old["policy"], env_spec),
            "observation_normalizer": _normalizer(old["observation_normalizer"]),
            "action_map": _action_map(old["action_map"]),
        }
    elif name == "LayeredPolicy":
        parts = old["parts"].items()
        arguments = {
            "spec": env_spec,
            **{part: None if module is None else {"module": module} for part, module in parts},
        }
    elif name in ("RNNPolicy", "GRUPolicy", "LSTMPolicy"):
        arguments = {"spec": env_spec, **old["arguments"], "output_nonlin": _nonlinearity(old["output_nonlin"])}
    else:
        raise ValueError(f"unknown policy class {name!r}")
    return {"class": name, "arguments": arguments}


def _normalizer(old: Mapping[str, Any] | None) -> dict[str, Any] | None:
    # Statistics, here and bounds below, come with the state dictionary; only presence and size matter.
    if old is None:
        return None
    size = int(old["size"])
    arguments = {"mean": [0.0] * size, "variance": [1.0] * size, "epsilon": old["epsilon"], "clip": old["clip"]}
    return {"class": "ObservationNormalizer", "arguments": arguments}


def _action_map(old: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if old is None:
        return None
    size = int(old["size"])
    arguments = {
        "scale": [1.0] * size,
        "low": [-1.0] * size if old["low"] else None,
        "high": [1.0] * size if old["high"] else None,
        "squash": old["squash"],
    }
    return {"class": "ActionMap", "arguments": arguments}


def _nonlinearity(name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    if name in _MODULES:
        return {"module": {"class": name.removeprefix("torch.nn."), "arguments": {}}}
    return {"function": name}


def _env_spec(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "observation_space": _space(old["observation_space"]),
        "action_space": _space(old["action_space"]),
        "max_episode_length": old["max_episode_length"],
        "observation_names": [],
        "action_names": [],
    }


def _space(old: Mapping[str, Any]) -> dict[str, Any]:
    if old["class"] == "Discrete":
        return {"type": "Discrete", "n": old["n"], "start": old["start"]}
    if old["class"] != "Box":
        raise ValueError(f"unknown space class {old['class']!r}")
    shape = [int(length) for length in old["shape"]]
    bounds = {key: np.reshape(old[key], shape).reshape(-1).tolist() for key in ("low", "high")}
    return {"type": "Box", "shape": shape, "dtype": old["dtype"], **bounds}
