"""The core of a policy: what turns one input and a memory into features; a head makes the outputs of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ganglion.policies.dense import Dense, Initializer, Nonlinearity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.contract import StateSlot

KERAS_EPSILON = 1e-3
"""Default of Keras' `LayerNormalization`, which garage's perceptrons use."""


class Core(nn.Module, ABC):
    """Maps an input `[batch, input_size]` and a memory, a tuple of `[batch, n]`, to features and the next memory."""

    input_size: int
    """Number of elements of an input."""
    output_size: int
    """Number of features."""

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """Name and shape of each part of the memory; none for a core without memory."""
        return ()

    def initial_state(self) -> tuple[Tensor, ...]:
        """Returns the initial memory, `[n]` each, here zeros; gradients flow into parts that are trainable."""
        return tuple(torch.zeros(slot.size) for slot in self.state_layout)

    @abstractmethod
    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step.

        Args:
            x: `[batch, input_size]`.
            state: the parts of the memory, `[batch, n]` each.

        Returns:
            Features `[batch, output_size]` and the parts of the next memory.
        """
        raise NotImplementedError

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs many steps, for training; the numbers of as many calls of `forward`, which is what it does here.

        Args:
            x: `[time, batch, input_size]`, at least one step.
            state: the parts of the memory before the first step, `[batch, n]` each.

        Returns:
            Features `[time, batch, output_size]` and the parts of the memory behind the last step.
        """
        features = []
        for step in x.unbind():
            feature, state = self(step, state)
            features.append(feature)
        return torch.stack(features), state

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draws all parameters again, initial states included."""
        raise NotImplementedError


class Perceptron(Core):
    """Dense layers in a row, without memory.

    Args:
        input_size: number of elements of an input.
        hidden_sizes: number of units of each layer; with none, the features are the input.
        nonlinearity: of every layer; None for linear layers.
        w_init: draws each weight `[units, inputs]`.
        b_init: draws each bias `[units]`.
        layer_normalization: normalise what comes out of each nonlinearity, as garage's `mlp` does.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        nonlinearity: Nonlinearity | None,
        w_init: Initializer,
        b_init: Initializer,
        layer_normalization: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.layers = nn.Sequential()
        for size in hidden_sizes:
            self.layers.append(Dense(input_size, size, w_init, b_init, nonlinearity))
            if layer_normalization:
                self.layers.append(nn.LayerNorm(size, KERAS_EPSILON))
            input_size = size
        self.output_size = input_size

    def forward(self, x: Tensor, state: tuple[Tensor, ...] = ()) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Computes the features; the memory is empty."""
        return self.layers(x), state

    def reset_parameters(self) -> None:
        """Draws all parameters again."""
        for layer in self.layers:
            cast("Dense | nn.LayerNorm", layer).reset_parameters()
