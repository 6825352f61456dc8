"""Dense layers with initialisers and nonlinearities given as callables, as Keras and garage have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Initializer: TypeAlias = Callable[[Tensor], Tensor | None]
"""Draws initial values: gets a tensor of the shape wanted and fills it, as `torch.nn.init` does, or returns another."""

Nonlinearity: TypeAlias = Callable[[Tensor], Tensor]


class Dense(nn.Module):
    """Computes `nonlinearity(W x + b)`, with layer normalisation `nonlinearity(g * normalise(W x) + b)`.

    `normalise` brings the elements of one vector to mean 0 and variance 1; see Ba, Kiros and Hinton 2016, "Layer
    normalization", section 3. The gain `g` starts at one.

    Args:
        input_size: number of elements of `x`.
        output_size: number of elements of the result.
        w_init: draws `W`, `[output_size, input_size]`.
        b_init: draws `b`, `[output_size]`; None for a layer without `b`.
        nonlinearity: applied to the whole result; None for a linear layer.
        layer_normalization: normalise `W x`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or an initialiser draws another shape or leaves elements unset.
    """

    bias: nn.Parameter | None
    gain: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        output_size: int,
        w_init: Initializer = nn.init.xavier_uniform_,
        b_init: Initializer | None = nn.init.zeros_,
        nonlinearity: Nonlinearity | None = None,
        layer_normalization: bool = False,
    ) -> None:
        super().__init__()
        check_size("input_size", input_size)
        check_size("output_size", output_size)
        check_nonlinearity("nonlinearity", nonlinearity)
        self.weight = nn.Parameter(torch.empty(output_size, input_size))
        self.register_parameter("bias", None if b_init is None else nn.Parameter(torch.empty(output_size)))
        self.register_parameter("gain", nn.Parameter(torch.empty(output_size)) if layer_normalization else None)
        self.nonlinearity = nonlinearity
        self._inits = (w_init, b_init)
        self._output_size = output_size
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters again."""
        w_init, b_init = self._inits
        draw(self.weight, w_init, "w_init")
        if self.bias is not None and b_init is not None:
            draw(self.bias, b_init, "b_init")
        if self.gain is not None:
            nn.init.ones_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[..., input_size]` to `[..., output_size]`."""
        if self.gain is None:
            z = functional.linear(x, self.weight, self.bias)
        else:
            z = functional.layer_norm(functional.linear(x, self.weight), (self._output_size,), self.gain, self.bias)
        return apply(self.nonlinearity, z)


def apply(nonlinearity: Nonlinearity | None, x: Tensor) -> Tensor:
    """Applies a nonlinearity; None is linear."""
    return x if nonlinearity is None else nonlinearity(x)


@torch.no_grad()
def draw(target: Tensor, init: Initializer, label: str) -> None:
    """Sets a tensor to what an initialiser draws.

    Raises:
        TypeError: the initialiser is not callable, or returns something else than a tensor or None.
        ValueError: the initialiser returns another shape, or leaves elements unset (NaN).
    """
    if not callable(init):
        raise TypeError(f"{label} must be callable, not {init!r}")
    blank = torch.full_like(target, torch.nan)
    drawn = init(blank)
    if drawn is None:
        drawn = blank
    if not isinstance(drawn, Tensor):
        raise TypeError(f"{label} must fill its argument or return a tensor, not {type(drawn).__name__}")
    if drawn.shape != target.shape:
        raise ValueError(f"{label} returned shape {tuple(drawn.shape)}; expected {tuple(target.shape)}")
    if drawn.isnan().any():
        raise ValueError(f"{label} left elements of shape {tuple(target.shape)} unset or NaN")
    target.copy_(drawn)


def register_vector(module: nn.Module, name: str, size: int, trainable: bool) -> None:
    """Gives a module an unset vector `[size]`: a parameter if it is trainable, else a buffer, saved either way."""
    if trainable:
        module.register_parameter(name, nn.Parameter(torch.empty(size)))
    else:
        module.register_buffer(name, torch.empty(size))


def check_nonlinearity(label: str, nonlinearity: Nonlinearity | None) -> None:
    """Refuses anything but a function, a module instance, or None.

    Raises:
        TypeError: it is something else.
    """
    if nonlinearity is not None and (isinstance(nonlinearity, type) or not callable(nonlinearity)):
        raise TypeError(f"{label} must be a function, a module instance or None, not {nonlinearity!r}")


def check_size(label: str, size: int) -> None:
    """Refuses anything but a positive int.

    Raises:
        TypeError: it is no int.
        ValueError: it is below 1.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{label} must be an int, not {size!r}")
    if size < 1:
        raise ValueError(f"{label} must be at least 1, not {size}")


def check_flags(owner: str, **flags: bool) -> None:
    """Refuses anything but bools, with their names.

    Raises:
        TypeError: one is something else.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{owner}: {name} must be a bool, not {value!r}")
