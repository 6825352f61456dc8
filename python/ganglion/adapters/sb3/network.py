"""The layers on the actor's path of a policy of Stable-Baselines3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import nn

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.adapters._state_dict import StateDict

    Activation = Callable[[], nn.Module]

ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6",
    "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh", "Tanhshrink",
)  # fmt: skip
"""Classes of `torch.nn` without parameters that a checkpoint may name; they are made with their defaults."""


def linear(weights: StateDict, name: str, inputs: int | None) -> nn.Linear:
    """Makes the linear layer `name`, with a bias as all of SB3's.

    Raises:
        ArtifactError: a tensor is missing, or the layer does not take `inputs` elements (None for any number).
    """
    layer = weights.linear(name)
    if layer.bias is None:
        raise ArtifactError(f"{weights.label} has no '{name}.bias'")
    if inputs not in (None, layer.in_features):
        raise ArtifactError(f"{weights.label}: '{name}' takes {layer.in_features} elements; expected {inputs} inputs")
    return layer


def hidden_layers(weights: StateDict, prefix: str, inputs: int | None, activation: Activation) -> list[nn.Module]:
    """Makes the linear layers `prefix.0`, `prefix.2`, ... with an activation behind each of them.

    Raises:
        ArtifactError: a tensor is missing, or a layer does not take what the one before gives.
    """
    modules: list[nn.Module] = []
    while weights.names(f"{prefix}.{len(modules)}."):
        layer = linear(weights, f"{prefix}.{len(modules)}", inputs)
        modules += [layer, activation()]
        inputs = layer.out_features
    return modules


def lstm(weights: StateDict, name: str) -> nn.LSTM:
    """Makes the LSTM layers `name`.

    Raises:
        ArtifactError: a tensor is missing, or they are those of other layers.
    """
    layers = weights.recurrent(name)
    if not isinstance(layers, nn.LSTM):
        raise ArtifactError(f"{weights.label}: '{name}' is a {type(layers).__name__}; expected an LSTM")
    return layers


def named_activation(text: Any, label: str) -> Activation:
    """Returns the class that SB3 has written down as `str(class)`, for example `<class 'torch.nn...activation.ELU'>`.

    Raises:
        ArtifactError: it is none of `ACTIVATIONS`.
    """
    found = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(text))
    if found is None or found[1] not in ACTIVATIONS:
        raise ArtifactError(
            f"{label}: the activation is {text}; known by name are {', '.join(ACTIVATIONS)} of torch.nn, and any other "
            "can be given: load(..., activation=...)"
        )
    made: Activation = getattr(nn, found[1])
    return made
