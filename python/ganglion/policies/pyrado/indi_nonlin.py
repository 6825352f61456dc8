"""Nonlinearities with a scale and an offset of their own for every element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.policies._tensors import check_last_axis
from ganglion.policies.nonlinearities import as_nonlinearities, as_nonlinearity

if TYPE_CHECKING:
    from ganglion.policies.nonlinearities import Nonlinearity


class IndiNonlinLayer(nn.Module):
    """Computes `y_i = f_i(w_i * (x_i + b_i))`, as Pyrado 0.7 (`pyrado.utils.nn_layers.IndiNonlinLayer`).

    Args:
        in_features: number of elements.
        nonlin: one nonlinearity for the whole tensor, or a sequence with one for each element.
        bias: learn the offsets `b`; without them they are zero.
        weight: learn the scales `w`; without them they are one.

    Raises:
        TypeError: a nonlinearity is neither a name nor callable.
        ValueError: no nonlinearity has that name, the sequence has another length, or `in_features` is below 1.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self, in_features: int, nonlin: Nonlinearity | Sequence[Nonlinearity], bias: bool, weight: bool = True
    ) -> None:
        super().__init__()
        if in_features < 1:
            raise ValueError(f"IndiNonlinLayer: in_features must be at least 1, not {in_features}")
        self.in_features = in_features
        self.nonlin: Any
        if isinstance(nonlin, str) or not isinstance(nonlin, Sequence):
            self.nonlin = as_nonlinearity(nonlin)
        else:
            self.nonlin = as_nonlinearities(nonlin, in_features)
            # torch finds modules in lists of its own only.
            self.nonlin_modules = nn.ModuleList(f for f in self.nonlin if isinstance(f, nn.Module))
        self.register_parameter("weight", nn.Parameter(torch.empty(in_features)) if weight else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(in_features)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws scales and offsets from a normal distribution of mean 0 and deviation 1/sqrt(in_features)."""
        for param in (self.weight, self.bias):
            if param is not None:
                nn.init.normal_(param, std=1.0 / math.sqrt(self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer.

        Args:
            x: `[..., in_features]`.

        Returns:
            `[..., in_features]`.

        Raises:
            TypeError: `x` is no tensor.
            ValueError: the last axis has another size.
        """
        check_last_axis("IndiNonlinLayer", x, self.in_features)
        if self.bias is not None:
            x = x + self.bias
        if self.weight is not None:
            x = self.weight * x
        if not isinstance(self.nonlin, tuple):
            y: Tensor = self.nonlin(x)
            return y
        elements = torch.split(x, 1, dim=-1)
        return torch.cat([f(element) for f, element in zip(self.nonlin, elements, strict=True)], dim=-1)

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        return f"in_features={self.in_features}, weight={self.weight is not None}, bias={self.bias is not None}"
