"""Weights and statistics of TF-Agents, put into our networks and normaliser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ganglion.policies.dense import Dense
from ganglion.policies.normalizer import ObservationNormalizer
from ganglion.policies.tf_agents.heads import BiasLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

Variables: TypeAlias = "Mapping[str, ArrayLike] | Sequence[ArrayLike]"


def load_tf_agents_weights(network: nn.Module, variables: Variables) -> None:
    """Sets all parameters of an actor network.

    Args:
        network: an `ActorNetwork` made of our layers.
        variables: the arrays of `network.variables` of the original, in that order and in Keras' layout (kernels
            `[inputs, outputs]`, gates of an LSTM in the order i, f, g, o, of a GRU z, r, h with two biases); or a
            mapping with keys `param.<index>.<variable name>`, whose other keys are not looked at.

    Raises:
        ValueError: number or shape of the variables does not fit, or a module of the network has parameters but no
            counterpart in Keras; nothing is changed then.
    """
    arrays = [torch.as_tensor(np.array(array)) for array in _in_order(variables)]
    found: list[tuple[Tensor, Tensor]] = []
    used = 0
    for path, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        if type(module) not in _LAYERS:
            raise ValueError(f"{path}: the variables of a {type(module).__name__} in Keras are not known")
        count, convert = _LAYERS[type(module)]
        if used + count > len(arrays):
            raise ValueError(f"there are {len(arrays)} variables; {path} needs more")
        try:
            converted = convert(*arrays[used : used + count])
        except RuntimeError as error:
            # A vector where a matrix should be cannot even be turned round.
            shapes = [tuple(array.shape) for array in arrays[used : used + count]]
            raise ValueError(
                f"variables {used} to {used + count - 1} have shapes {shapes}, which are not those of {path}: {error}"
            ) from error
        for name, parameter in own.items():
            if converted[name].shape != parameter.shape:
                raise ValueError(
                    f"variables {used} to {used + count - 1} have shapes "
                    f"{[tuple(array.shape) for array in arrays[used : used + count]]}, which makes {path}.{name} "
                    f"{tuple(converted[name].shape)}; expected {tuple(parameter.shape)}"
                )
            found.append((parameter, converted[name]))
        used += count
    if used != len(arrays):
        raise ValueError(f"there are {len(arrays)} variables; the network has {used}")
    with torch.no_grad():
        for parameter, value in found:
            parameter.copy_(value)


def tensor_normalizer(mean: ArrayLike, variance: ArrayLike) -> ObservationNormalizer:
    """Makes the normaliser of TF-Agents' policies: `clip((x - mean) / sqrt(variance + 0.001), -5, 5)`.

    Args:
        mean: `[n]`.
        variance: `[n]`.

    Raises:
        ValueError: see `ObservationNormalizer`.
    """
    means, variances = (torch.as_tensor(np.array(values)) for values in (mean, variance))
    return ObservationNormalizer(means, variances, epsilon=1e-3, clip=5.0)


def streaming_tensor_normalizer(count: ArrayLike, avg: ArrayLike, m2: ArrayLike) -> ObservationNormalizer:
    """Makes that normaliser from the variables of a `StreamingTensorNormalizer`.

    Args:
        count: `[n]` number of samples.
        avg: `[n]` mean.
        m2: `[n]` sum of squared differences from the mean.

    Raises:
        ValueError: see `ObservationNormalizer`.
    """
    return tensor_normalizer(avg, np.asarray(m2) / np.asarray(count))


def _in_order(variables: Variables) -> list[ArrayLike]:
    if not isinstance(variables, Mapping):
        return list(variables)
    keys = [key for key in variables if key.startswith("param.")]
    return [variables[key] for key in sorted(keys, key=lambda key: int(key.split(".")[1]))]


def _dense(kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {"weight": kernel.mT, "bias": bias}


def _bias(bias: Tensor) -> dict[str, Tensor]:
    return {"bias": bias}


def _lstm(kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    # Keras has one bias.
    return _recurrent(kernel.mT, recurrent_kernel.mT, bias, torch.zeros_like(bias))


def _gru(kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    # Keras: update, reset, candidate; torch: reset, update, candidate. The two biases are the rows of one variable.
    def reordered(rows: Tensor) -> Tensor:
        update, reset, candidate = rows.chunk(3)
        return torch.cat((reset, update, candidate))

    return _recurrent(*(reordered(rows) for rows in (kernel.mT, recurrent_kernel.mT, *bias.reshape(2, -1))))


def _recurrent(weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> dict[str, Tensor]:
    return {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh, "bias_ih_l0": bias_ih, "bias_hh_l0": bias_hh}


_LAYERS: Mapping[type[nn.Module], tuple[int, Callable[..., dict[str, Tensor]]]] = {
    Dense: (2, _dense),
    nn.Linear: (2, _dense),
    BiasLayer: (1, _bias),
    nn.LSTM: (3, _lstm),
    nn.GRU: (3, _gru),
}
"""For each kind of layer the number of its variables in Keras, and how they become torch's parameters."""
