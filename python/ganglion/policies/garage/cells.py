"""LSTM and GRU cells as in Keras: custom nonlinearities, initialisers, learnable initial states, layer normalisation.

Gates lie in Keras' order, weights in torch's orientation `[outputs, inputs]`. With layer normalisation the two linear
terms of the gates' pre-activations are normalised, each over all its gates, and then added: Ba, Kiros and Hinton 2016,
"Layer normalization", supplementary material, the LSTM equations (the cell state itself is not normalised here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies.cores import Core
from ganglion.policies.dense import Dense, Initializer, Nonlinearity, apply, check_nonlinearity, draw, register_vector

if TYPE_CHECKING:
    from collections.abc import Mapping


class RecurrentCell(Core):
    """The part that gated cells share: two linear maps into the gates, and the initial states.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        num_gates: number of gates, candidate included.
        nonlinearity: of the candidate (and of an LSTM's output); None for linear.
        gate_nonlinearity: of the gates; None for linear.
        w_init: draws the input weight `[gates * units, inputs]`.
        recurrent_w_init: draws the recurrent weight `[gates * units, units]`.
        b_init: draws the bias `[gates * units]` of the input term.
        recurrent_b_init: draws the bias of the recurrent term; None for a cell with one bias only.
        layer_normalization: normalise both terms.
        initial_states: for each slot name, in order, what draws the initial state `[units]` and whether it is
            trainable.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or an initialiser draws another shape.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_gates: int,
        nonlinearity: Nonlinearity | None,
        gate_nonlinearity: Nonlinearity | None,
        w_init: Initializer,
        recurrent_w_init: Initializer,
        b_init: Initializer,
        recurrent_b_init: Initializer | None,
        layer_normalization: bool,
        initial_states: Mapping[str, tuple[Initializer, bool]],
    ) -> None:
        super().__init__()
        check_nonlinearity("hidden_nonlinearity", nonlinearity)
        check_nonlinearity("recurrent_nonlinearity", gate_nonlinearity)
        size = num_gates * hidden_size
        self.input_term = Dense(input_size, size, w_init, b_init, layer_normalization=layer_normalization)
        self.recurrent_term = Dense(
            hidden_size, size, recurrent_w_init, recurrent_b_init, layer_normalization=layer_normalization
        )
        self.nonlinearity = nonlinearity
        self.gate_nonlinearity = gate_nonlinearity
        self.input_size = input_size
        self.output_size = hidden_size
        self._state_inits = {name: init for name, (init, _) in initial_states.items()}
        for name, (_, trainable) in initial_states.items():
            register_vector(self, f"initial_{name}", hidden_size, trainable)
        self._draw_initial_states()

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """One slot `[1, units]` per state, as of one recurrent layer."""
        return tuple(StateSlot(name, (1, self.output_size)) for name in self._state_inits)

    def initial_state(self) -> tuple[Tensor, ...]:
        """Returns the initial states, `[units]` each; gradients flow into those that are trainable."""
        return tuple(getattr(self, f"initial_{name}") for name in self._state_inits)

    def reset_parameters(self) -> None:
        """Draws all parameters again, initial states included."""
        self.input_term.reset_parameters()
        self.recurrent_term.reset_parameters()
        self._draw_initial_states()

    def _draw_initial_states(self) -> None:
        for name, init in self._state_inits.items():
            draw(getattr(self, f"initial_{name}"), init, f"init of the initial state {name}")


class LSTMCell(RecurrentCell):
    """Long short-term memory, gates in the order input, forget, candidate, output, with one bias.

        i, f, g, o = input_term(x) + recurrent_term(h)
        c' = gate(f) * c + gate(i) * nonlinearity(g)
        h' = gate(o) * nonlinearity(c')

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        nonlinearity: of candidate and output; None for linear.
        gate_nonlinearity: of the three gates; None for linear.
        w_init: draws the input weight `[4 units, inputs]`.
        recurrent_w_init: draws the recurrent weight `[4 units, units]`.
        b_init: draws the bias `[4 units]`.
        forget_bias: the forget gate's part of the bias starts at one, whatever `b_init` draws there.
        layer_normalization: normalise the two terms.
        hidden_state: what draws the initial hidden state `[units]`, and whether that is trainable.
        cell_state: the same for the cell state.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or an initialiser draws another shape.
    """

    initial_h: Tensor
    initial_c: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: Nonlinearity | None = torch.tanh,
        gate_nonlinearity: Nonlinearity | None = torch.sigmoid,
        w_init: Initializer = nn.init.xavier_uniform_,
        recurrent_w_init: Initializer = nn.init.xavier_uniform_,
        b_init: Initializer = nn.init.zeros_,
        forget_bias: bool = True,
        layer_normalization: bool = False,
        hidden_state: tuple[Initializer, bool] = (nn.init.zeros_, False),
        cell_state: tuple[Initializer, bool] = (nn.init.zeros_, False),
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            4,
            nonlinearity,
            gate_nonlinearity,
            w_init,
            recurrent_w_init,
            b_init,
            None,
            layer_normalization,
            {"h": hidden_state, "c": cell_state},
        )
        self._forget_bias = forget_bias
        self._open_forget_gate()

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; the features are the new hidden state."""
        h, c = state
        i, f, g, o = (self.input_term(x) + self.recurrent_term(h)).chunk(4, -1)
        i, f, o = (apply(self.gate_nonlinearity, z) for z in (i, f, o))
        c = f * c + i * apply(self.nonlinearity, g)
        h = o * apply(self.nonlinearity, c)
        return h, (h, c)

    def reset_parameters(self) -> None:
        """Draws all parameters again, initial states included."""
        super().reset_parameters()
        self._open_forget_gate()

    def _open_forget_gate(self) -> None:
        if self._forget_bias and self.input_term.bias is not None:
            nn.init.ones_(self.input_term.bias.detach()[self.output_size : 2 * self.output_size])


class GRUCell(RecurrentCell):
    """Gated recurrent unit, gates in the order update, reset, candidate, with one bias per term.

        z, r, _ = gate(input_term(x) + recurrent_term(h))
        g = nonlinearity(candidate part of input_term(x) + r * candidate part of recurrent_term(h))
        h' = z * h + (1 - z) * g

    This is Keras' `GRUCell` with `reset_after=True`, its default, and the cell of `torch.nn.GRU` with the first two
    gates swapped.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        nonlinearity: of the candidate; None for linear.
        gate_nonlinearity: of update and reset gate; None for linear.
        w_init: draws the input weight `[3 units, inputs]`.
        recurrent_w_init: draws the recurrent weight `[3 units, units]`.
        b_init: draws each of the two biases `[3 units]`.
        layer_normalization: normalise the two terms.
        hidden_state: what draws the initial hidden state `[units]`, and whether that is trainable.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or an initialiser draws another shape.
    """

    initial_h: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: Nonlinearity | None = torch.tanh,
        gate_nonlinearity: Nonlinearity | None = torch.sigmoid,
        w_init: Initializer = nn.init.xavier_uniform_,
        recurrent_w_init: Initializer = nn.init.xavier_uniform_,
        b_init: Initializer = nn.init.zeros_,
        layer_normalization: bool = False,
        hidden_state: tuple[Initializer, bool] = (nn.init.zeros_, False),
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            3,
            nonlinearity,
            gate_nonlinearity,
            w_init,
            recurrent_w_init,
            b_init,
            b_init,
            layer_normalization,
            {"h": hidden_state},
        )

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; the features are the new hidden state."""
        (h,) = state
        sizes = [2 * self.output_size, self.output_size]
        gates_x, candidate_x = self.input_term(x).split(sizes, -1)
        gates_h, candidate_h = self.recurrent_term(h).split(sizes, -1)
        z, r = (apply(self.gate_nonlinearity, gate) for gate in (gates_x + gates_h).chunk(2, -1))
        g = apply(self.nonlinearity, candidate_x + r * candidate_h)
        h = z * h + (1.0 - z) * g
        return h, (h,)
