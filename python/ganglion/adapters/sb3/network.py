"""The layers on the actor's path of a policy of Stable-Baselines3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

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


class BatchRenorm(nn.Module):
    """`sb3_contrib.common.torch_layers.BatchRenorm1d` as it is in evaluation.

    Args:
        mean: running mean.
        variance: running variance.
        scale: factor behind.
        bias: summand behind that.
        epsilon: is added to the variance.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, mean: Tensor, variance: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", (variance + epsilon).sqrt()), ("scale", scale), ("bias", bias)):
            self.register_buffer(name, value.float())

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last axis."""
        return self.scale * ((x - self.mean) / self.std) + self.bias


def batch_renorm(weights: StateDict, name: str, epsilon: Any) -> BatchRenorm:
    """Makes the normalisation `name` of CrossQ.

    Raises:
        ArtifactError: a tensor is missing, they do not fit each other, or nothing can be divided by them.
    """
    mean, variance, scale, bias = (weights.take(f"{name}.{key}", 1) for key in ("ra_mean", "ra_var", "scale", "bias"))
    weights.drop(f"{name}.steps")
    if not len(mean) == len(variance) == len(scale) == len(bias):
        raise ArtifactError(f"{weights.label}: the tensors of '{name}' have different sizes")
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not bool((variance + epsilon > 0.0).all()):
        raise ArtifactError(f"{weights.label}: '{name}' divides by the root of a variance plus {epsilon!r}")
    return BatchRenorm(mean, variance, scale, bias, float(epsilon))


def linear(weights: StateDict, name: str, inputs: int | None, has_bias: bool | None = True) -> nn.Linear:
    """Makes the linear layer `name`, with a bias as all of SB3's; None for with or without.

    Raises:
        ArtifactError: a tensor is missing, or the layer does not take `inputs` elements (None for any number).
    """
    layer = weights.linear(name)
    if layer.bias is None and has_bias:
        raise ArtifactError(f"{weights.label} has no '{name}.bias'")
    if inputs not in (None, layer.in_features):
        raise ArtifactError(f"{weights.label}: '{name}' takes {layer.in_features} elements; expected {inputs} inputs")
    return layer


def hidden_layers(
    weights: StateDict,
    prefix: str,
    inputs: int | None,
    activation: Activation,
    *,
    has_bias: bool | None = True,
    epsilon: Any = None,
) -> list[nn.Module]:
    """Makes the linear layers `prefix.0`, `prefix.2`, ... with an activation behind each of them.

    Normalisations of CrossQ, with this `epsilon`, may stand before and behind them.

    Raises:
        ArtifactError: a tensor is missing, or a layer does not take what the one before gives.
    """
    modules: list[nn.Module] = []
    while weights.names(f"{prefix}.{len(modules)}."):
        name = f"{prefix}.{len(modules)}"
        if f"{name}.ra_mean" in weights.names(name):
            norm = batch_renorm(weights, name, epsilon)
            if inputs not in (None, len(norm.mean)):
                raise ArtifactError(f"{weights.label}: '{name}' takes {len(norm.mean)} elements, but gets {inputs}")
            modules.append(norm)
            inputs = len(norm.mean)
            continue
        layer = linear(weights, name, inputs, has_bias)
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
