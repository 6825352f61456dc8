"""The recurrent part of actor networks: LSTM or GRU layers that begin again inside a sequence."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies._tensors import is_tracing, match
from ganglion.policies.tf_agents.nests import Nest, flatten, is_empty, map_structure, pack_like
from ganglion.policies.tf_agents.specs import ActorStepType, ArraySpec

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecurrentLayers(nn.Module):
    """Recurrent layers, one behind the other, with a reset of the state inside a sequence.

    Args:
        layers: `torch.nn.LSTM`s or `torch.nn.GRU`s of one layer each, batch first.
        reset_in_sequence: begin with zeros again at every FIRST step.

    Raises:
        TypeError: a layer is neither an LSTM nor a GRU.
        ValueError: a layer has more than one layer inside, two directions, no bias, or a projection.
    """

    def __init__(self, layers: Sequence[nn.RNNBase], reset_in_sequence: bool = True) -> None:
        super().__init__()
        for layer in layers:
            _check_layer(layer)
        self.layers = nn.ModuleList(layers)
        self.reset_in_sequence = reset_in_sequence
        self.output_size = layers[-1].hidden_size
        self.reset_parameters()

    @classmethod
    def of_lstm_cells(cls, input_size: int, sizes: Sequence[int]) -> RecurrentLayers:
        """Makes LSTM cells of these sizes."""
        pairs = itertools.pairwise((input_size, *sizes))
        return cls([nn.LSTM(inputs, units, batch_first=True) for inputs, units in pairs])

    @property
    def state_spec(self) -> Nest:
        """`[h, c]` of an LSTM, `h` of a GRU; a list of these for several layers."""
        numbers = itertools.count()

        def leaf(layer: nn.RNNBase) -> ArraySpec:
            return ArraySpec((layer.hidden_size,), torch.float32, f"network_state_{next(numbers)}")

        specs = [[leaf(layer), leaf(layer)] if isinstance(layer, nn.LSTM) else leaf(layer) for layer in self._rnns()]
        return specs[0] if len(specs) == 1 else specs

    @property
    def state_slots(self) -> tuple[tuple[StateSlot, tuple[int, ...]], ...]:
        """`h` and `c`, `[layers, units]`, if all layers have the same size, else `h_0`, `h_1`, `c_0`, `c_1`, ...

        Each slot comes with the positions of its leaves in the flat state.
        """
        leaves, parts = flatten(self.state_spec), ("h", "c") if isinstance(self.layers[0], nn.LSTM) else ("h",)
        of_part = {name: tuple(range(start, len(leaves), len(parts))) for start, name in enumerate(parts)}
        if len({leaf.shape for leaf in leaves}) == 1:
            return tuple((StateSlot(name, (len(at), self.output_size)), at) for name, at in of_part.items())
        return tuple(
            (StateSlot(f"{name}_{number}", (1, *leaves[at].shape)), (at,))
            for name, positions in of_part.items()
            for number, at in enumerate(positions)
        )

    def forward(self, features: Tensor, step_type: Tensor | None, state: Nest) -> tuple[Tensor, Nest]:
        """Runs one step or a sequence.

        Args:
            features: `[n]`, `[batch, n]` or `[batch, time, n]`.
            step_type: of the same axes without the last, or None.
            state: of `state_spec`, without or with `[batch]` in front; `()` for zeros.

        Returns:
            Features of the same axes, and the next state.

        Raises:
            ValueError: `step_type` has another shape.
        """
        if step_type is not None and not is_tracing() and step_type.shape != features.shape[:-1]:
            raise ValueError(
                f"step_type has shape {tuple(step_type.shape)}; with features of shape {tuple(features.shape)} "
                f"expected {tuple(features.shape[:-1])}"
            )
        if features.ndim == 1:
            step_type = None if step_type is None else step_type.unsqueeze(0)
            rows = map_structure(lambda leaf: leaf.unsqueeze(0), state)
            features, rows = self.forward(features.unsqueeze(0), step_type, rows)
            return features.squeeze(0), map_structure(lambda leaf: leaf.squeeze(0), rows)
        if is_empty(state):
            state = map_structure(lambda leaf: features.new_zeros(features.shape[0], leaf.size), self.state_spec)
        # torch's layers take [batch, time, n] and states [1, batch, units].
        sequence = features if features.ndim == 3 else features.unsqueeze(1)
        leaves = [match(leaf, features).unsqueeze(0) for leaf in flatten(state)]
        sequence, leaves = self._run(sequence, step_type, leaves)
        new_state = pack_like(self.state_spec, [leaf.squeeze(0) for leaf in leaves])
        return (sequence if features.ndim == 3 else sequence.squeeze(1)), new_state

    def reset_parameters(self) -> None:
        """Draws all parameters as Keras does: Glorot, orthogonal, biases zero except ones for the forget gate."""
        for layer in self._rnns():
            parameters = dict(layer.named_parameters())
            nn.init.xavier_uniform_(parameters["weight_ih_l0"])
            nn.init.orthogonal_(parameters["weight_hh_l0"])
            for bias in (parameters["bias_ih_l0"], parameters["bias_hh_l0"]):
                nn.init.zeros_(bias)
            if isinstance(layer, nn.LSTM):
                nn.init.ones_(parameters["bias_ih_l0"].detach()[layer.hidden_size : 2 * layer.hidden_size])
                # Keras' LSTM has one bias.
                parameters["bias_hh_l0"].requires_grad_(False)

    def _run(self, sequence: Tensor, step_type: Tensor | None, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        if step_type is None or not self.reset_in_sequence:
            return self._run_episode(sequence, state)
        first = (step_type == ActorStepType.FIRST).reshape(sequence.shape[:2])
        # Between two steps at which any row begins again, the layers run over the time axis in one call.
        begins = [0, *(first[:, 1:].any(0).nonzero().flatten() + 1).tolist(), sequence.shape[1]]
        outputs = []
        for begin, end in itertools.pairwise(begins):
            state = [leaf.masked_fill(first[:, begin, None], 0.0) for leaf in state]
            output, state = self._run_episode(sequence[:, begin:end], state)
            outputs.append(output)
        return torch.cat(outputs, 1), state

    def _run_episode(self, sequence: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        old, new = iter(state), []
        for layer in self._rnns():
            if isinstance(layer, nn.LSTM):
                sequence, (h, c) = layer(sequence, (next(old), next(old)))
                new += [h, c]
            else:
                sequence, h = layer(sequence, next(old))
                new.append(h)
        return sequence, new

    def _rnns(self) -> list[nn.RNNBase]:
        return [cast("nn.RNNBase", layer) for layer in self.layers]


def _check_layer(layer: nn.RNNBase) -> None:
    if not isinstance(layer, (nn.LSTM, nn.GRU)):
        raise TypeError(f"a recurrent layer must be a torch.nn.LSTM or torch.nn.GRU, not {type(layer).__name__}")
    if layer.num_layers != 1 or layer.bidirectional or layer.proj_size or not layer.bias or not layer.batch_first:
        raise ValueError(f"a recurrent layer must be a single one, with bias, and in one direction, not {layer}")
