"""Nonlinearities with a scale and an offset of their own for every element, and the forms they can be given in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganglion.policies._tensors import check_last_axis

Nonlinearity = str | Callable[[Tensor], Tensor] | type[nn.Module]
"""A name as in `torch.nn.functional`, a function, a module, or the class of a module without arguments."""

_NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "hardtanh": nn.functional.hardtanh,
    "leaky_relu": nn.functional.leaky_relu,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
    "softsign": nn.functional.softsign,
}
_SIGMOIDS = (torch.sigmoid, nn.functional.sigmoid, torch.special.expit, Tensor.sigmoid)
_TANHS = (torch.tanh, nn.functional.tanh, Tensor.tanh)


def as_nonlinearity(nonlin: Nonlinearity) -> Callable[[Tensor], Tensor]:
    """Returns a nonlinearity, given in any form, as something to call.

    Raises:
        TypeError: `nonlin` is neither a name nor callable.
        ValueError: no nonlinearity has that name.
    """
    if isinstance(nonlin, str):
        if nonlin not in _NAMED:
            raise ValueError(f"unknown nonlinearity {nonlin!r}; known: {', '.join(_NAMED)}")
        return _NAMED[nonlin]
    if not callable(nonlin):
        raise TypeError(f"a nonlinearity must be a name, a function or a module, not {nonlin!r}")
    function: Callable[[Tensor], Tensor] = nonlin() if isinstance(nonlin, type) else nonlin
    return function


def as_nonlinearities(
    nonlin: Nonlinearity | Sequence[Nonlinearity], count: int
) -> tuple[Callable[[Tensor], Tensor], ...]:
    """Returns the nonlinearity of each of `count` elements, from one for all or from a sequence of them.

    Raises:
        TypeError: a nonlinearity is neither a name nor callable.
        ValueError: no nonlinearity has that name, or the sequence has another length.
    """
    if isinstance(nonlin, str) or not isinstance(nonlin, Sequence):
        return (as_nonlinearity(nonlin),) * count
    if len(nonlin) != count:
        raise ValueError(f"{len(nonlin)} nonlinearities for {count} elements")
    return tuple(map(as_nonlinearity, nonlin))


def is_sigmoid(nonlin: Callable[[Tensor], Tensor]) -> bool:
    """Tells whether a nonlinearity is the logistic function, as a function or as a module of torch."""
    return isinstance(nonlin, nn.Sigmoid) or nonlin in _SIGMOIDS


def is_tanh(nonlin: Callable[[Tensor], Tensor]) -> bool:
    """Tells whether a nonlinearity is the hyperbolic tangent, as a function or as a module of torch."""
    return isinstance(nonlin, nn.Tanh) or nonlin in _TANHS


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
