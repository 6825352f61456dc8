"""The networks of brax's policies (`brax.training.networks`, 0.14.2), from the names and shapes of their parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "tanh": nn.Tanh,
    "gelu": lambda: nn.GELU("tanh"),  # flax approximates where nothing is said
    "leaky_relu": nn.LeakyReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "linear": nn.Identity,
}
"""By their names in `brax.training.networks.ACTIVATION`."""

_NORM_EPSILON = 1e-6
"""Of `flax.linen.LayerNorm`."""

_SAID = "MLPs of brax.training.networks are read; export another network in PyTorch, or as ONNX by jax2onnx"

_LAYER = re.compile(r"hidden_(\d+)")


class _SoftClip(nn.Module):
    """`scale * x / (1 + |x|)`, the mean of a policy with `mean_clip_scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x / (1.0 + x.abs()))


def is_normal(weights: Mapping[str, Any]) -> bool:
    """Whether the policy has a mean and a spread of its own (`distribution_type="normal"`)."""
    return "MLP_0" in weights


def first_size(weights: Mapping[str, Any], label: str) -> int:
    """Elements of the observation."""
    layers = weights["MLP_0"] if is_normal(weights) else weights
    if not isinstance(layers, Mapping) or "hidden_0" not in layers:
        raise ArtifactError(f"{label}: the policy has the parts {sorted(weights)[:8]}; {_SAID}")
    return int(_array(layers, "hidden_0", label, "kernel").shape[0])


def network(weights: Mapping[str, Any], activation: str, mean_clip_scale: float | None, label: str) -> nn.Sequential:
    """From the normalised observation to the mean of the action, before tanh.

    Raises:
        ArtifactError: the parameters are those of another network.
    """
    if is_normal(weights):
        known = {"MLP_0", "Dense_0", "Dense_1", "std_param", "std_logparam"}
        if odd := sorted(set(weights) - known):
            raise ArtifactError(f"{label}: the policy has a part '{odd[0]}'; {_SAID}")
        layers = [*_layers(weights["MLP_0"], activation, label, activate_final=True)]
        layers.append(_dense(weights, "Dense_0", label))
        return nn.Sequential(*layers, *([] if mean_clip_scale is None else [_SoftClip(mean_clip_scale)]))
    *layers, last = _layers(weights, activation, label, activate_final=False)
    if last.out_features % 2:
        raise ArtifactError(f"{label}: {last.out_features} outputs are no pairs of location and scale")
    size = last.out_features // 2
    mean = nn.Linear(last.in_features, size, bias=last.bias is not None)
    with torch.no_grad():
        mean.weight.copy_(last.weight[:size])
        if last.bias is not None:
            mean.bias.copy_(last.bias[:size])
    return nn.Sequential(*layers, mean)


def _layers(weights: Any, activation: str, label: str, *, activate_final: bool) -> list[Any]:
    """The layers of `brax.training.networks.MLP`: a norm stands behind the activation."""
    if not isinstance(weights, Mapping):
        raise ArtifactError(f"{label}: the policy is no map of layers; {_SAID}")
    count = sum(_LAYER.fullmatch(name) is not None for name in weights)
    norms = sorted(name for name in weights if name.startswith("LayerNorm_"))
    activated = count if activate_final else count - 1
    expected = {f"hidden_{place}" for place in range(count)} | {f"LayerNorm_{place}" for place in range(len(norms))}
    if not count or set(weights) != expected or len(norms) not in (0, activated):
        raise ArtifactError(f"{label}: the policy has the parts {sorted(weights)[:8]}; {_SAID}")
    found: list[Any] = []
    for place in range(count):
        found.append(_dense(weights, f"hidden_{place}", label))
        if place < activated:
            found.append(ACTIVATIONS[activation]())
            if norms:
                found.append(_norm(weights, f"LayerNorm_{place}", label))
    sizes = [(layer.in_features, layer.out_features) for layer in found if isinstance(layer, nn.Linear)]
    if any(before[1] != behind[0] for before, behind in itertools.pairwise(sizes)):
        raise ArtifactError(f"{label}: the layers are no chain: (inputs, outputs) {sizes}")
    return found


def _dense(weights: Any, name: str, label: str) -> nn.Linear:
    kernel = _array(weights, name, label, "kernel")
    bias = _array(weights, name, label, "bias") if "bias" in weights[name] else None
    if kernel.ndim != 2 or (bias is not None and bias.shape != kernel.shape[1:]):
        raise ArtifactError(f"{label}: the layer '{name}' has kernel {kernel.shape} and another bias")
    layer = nn.Linear(kernel.shape[0], kernel.shape[1], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias.copy()))
    return layer


def _norm(weights: Any, name: str, label: str) -> nn.LayerNorm:
    scale, bias = (_array(weights, name, label, part) for part in ("scale", "bias"))
    norm = nn.LayerNorm(scale.shape[0], eps=_NORM_EPSILON)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(scale.copy()))
        norm.bias.copy_(torch.from_numpy(bias.copy()))
    return norm


def _array(weights: Any, name: str, label: str, part: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    layer = weights.get(name)
    value = layer.get(part) if isinstance(layer, Mapping) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not np.isfinite(value).all():
        raise ArtifactError(f"{label}: the policy has no finite array '{name}/{part}'; {_SAID}")
    return np.asarray(value, np.float32)
