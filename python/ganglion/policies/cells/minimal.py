"""MinGRU and MinLSTM: gates that look at the input alone, so that training runs all steps at once.

Feng, Tung, Ahmed, Bengio and Hajimirsadeghi 2024, "Were RNNs all we needed?".
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganglion.contract import StateSlot
from ganglion.policies.cells.scan import scan
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept


class GatedRecurrence(Core):
    """What both share: `h' = a h + b`, where `a` and `b` depend on the input alone.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        num_gates: number of linear maps, the candidate included.
        positive: whether candidates go through `g(x) = x + 0.5 for x >= 0, else sigmoid(x)` (appendix B of the paper,
            and what most implementations have); else they are linear.
    """

    def __init__(self, input_size: int, hidden_size: int, num_gates: int, positive: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, num_gates * hidden_size)
        self.input_size = input_size
        self.output_size = hidden_size
        self.positive = positive

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[1, units]`."""
        return (StateSlot("h", (1, self.output_size)),)

    @abstractmethod
    def _factor_and_term(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`a` and `b`, `[..., units]`."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        factor, term = self._factor_and_term(x)
        h = factor * state[0] + term
        return h, (h,)

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs all steps at once; see `Core.sequence`."""
        h = scan(*self._factor_and_term(x), state[0])
        return h, (h[-1],)

    def reset_parameters(self) -> None:
        """Draws all parameters again, as `torch.nn.Linear` does."""
        self.linear.reset_parameters()

    def _candidate(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0.0, x + 0.5, torch.sigmoid(x)) if self.positive else x


@kept()
class MinGRU(GatedRecurrence):
    """Computes `h' = (1 - z) h + z g(W x)` with `z = sigmoid(W_z x)`; section 3.1 of the paper.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        positive: see `GatedRecurrence`.
    """

    def __init__(self, input_size: int, hidden_size: int, positive: bool = True) -> None:
        super().__init__(input_size, hidden_size, 2, positive)

    def _factor_and_term(self, x: Tensor) -> tuple[Tensor, Tensor]:
        candidate, update = self.linear(x).chunk(2, -1)
        z = torch.sigmoid(update)
        return 1.0 - z, z * self._candidate(candidate)


@kept()
class MinLSTM(GatedRecurrence):
    """Computes `h' = (f h + i g(W x)) / (f + i)` with `f = sigmoid(W_f x)`, `i = sigmoid(W_i x)`; section 3.2.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        positive: see `GatedRecurrence`.
    """

    def __init__(self, input_size: int, hidden_size: int, positive: bool = True) -> None:
        super().__init__(input_size, hidden_size, 3, positive)

    def _factor_and_term(self, x: Tensor) -> tuple[Tensor, Tensor]:
        candidate, forget, enter = self.linear(x).chunk(3, -1)
        # f / (f + i) without a quotient of two numbers that may both be zero.
        f = torch.sigmoid(functional.softplus(-enter) - functional.softplus(-forget))
        return f, (1.0 - f) * self._candidate(candidate)
