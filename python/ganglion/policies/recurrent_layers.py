"""What all policies with recurrent layers of torch share: stepping them, packing their state, drawing their weights.

Packing and initialisation follow Pyrado 0.7 (SimuRLacra, `pyrado.policies.recurrent`).
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies._tensors import is_tracing
from ganglion.policies.base import RecurrentPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.nn.utils.rnn import PackedSequence


def default_pack_hidden(
    hidden: Tensor, num_recurrent_layers: int, hidden_size: int, batch_size: int | None = None
) -> Tensor:
    """Packs a hidden state of torch's recurrent layers into flat vectors `[layer][unit]`.

    Args:
        hidden: `[num_recurrent_layers, batch, hidden_size]`, where batch is 1 if `batch_size` is None.
        num_recurrent_layers: number of layers.
        hidden_size: number of units of a layer.
        batch_size: number of rows, or None for one unbatched vector.

    Returns:
        `[num_recurrent_layers * hidden_size]`, or with the batch axis in front.
    """
    if batch_size is None:
        return hidden.reshape(num_recurrent_layers * hidden_size)
    return hidden.permute(1, 0, 2).reshape(batch_size, num_recurrent_layers * hidden_size)


def default_unpack_hidden(
    hidden: Tensor, num_recurrent_layers: int, hidden_size: int, batch_size: int | None = None
) -> Tensor:
    """Unpacks flat hidden vectors for torch's recurrent layers; the inverse of `default_pack_hidden`.

    Args:
        hidden: `[num_recurrent_layers * hidden_size]`, or with the batch axis in front.
        num_recurrent_layers: number of layers.
        hidden_size: number of units of a layer.
        batch_size: number of rows, or None for one unbatched vector.

    Returns:
        `[num_recurrent_layers, batch, hidden_size]`, where batch is 1 if `batch_size` is None.

    Raises:
        ValueError: `hidden` has another shape.
    """
    size = num_recurrent_layers * hidden_size
    expected = (size,) if batch_size is None else (batch_size, size)
    if hidden.ndim != len(expected) or (not is_tracing() and tuple(hidden.shape) != expected):
        raise ValueError(f"hidden has shape {tuple(hidden.shape)}; expected {expected}")
    if batch_size is None:
        return hidden.reshape(num_recurrent_layers, 1, hidden_size)
    # cuDNN takes contiguous states only.
    return hidden.reshape(batch_size, num_recurrent_layers, hidden_size).permute(1, 0, 2).contiguous()


class RecurrentLayersPolicy(RecurrentPolicy):
    """Recurrent layers of torch, and output layers behind the last of them.

    The flat hidden vector holds the hidden states of all layers; with LSTM layers their cell states follow.
    """

    recurrent_network_type: type[nn.RNNBase] | None = None
    """The torch module of the recurrent layers; set by sub-classes."""

    @property
    @abstractmethod
    def _layers(self) -> nn.RNNBase:
        """The recurrent layers."""
        raise NotImplementedError

    @abstractmethod
    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        """Computes all outputs, `[..., size]` each, from the output `[..., units]` of the last recurrent layer."""
        raise NotImplementedError

    @property
    def num_recurrent_layers(self) -> int:
        """Number of recurrent layers."""
        return self._layers.num_layers

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[layers, units]`; with LSTM layers also `c` of the same shape."""
        shape = (self._layers.num_layers, self._layers.hidden_size)
        names = ("h", "c") if isinstance(self._layers, nn.LSTM) else ("h",)
        return tuple(StateSlot(name, shape) for name in names)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`.

        Returns:
            The outputs, `[size]` each, and the new hidden state `[hidden_size]`, or all with the batch axis in front.
        """
        rows, hidden_rows = self._as_batch(obs, hidden)
        batch_size = rows.shape[0]
        features, state = self._layers(rows.unsqueeze(0), self._unpack_hidden(hidden_rows, batch_size))
        results = (*self._heads(features.squeeze(0)), self._pack_hidden(state, batch_size))
        return self._as_given(obs, results)

    def _evaluate_packed(
        self,
        packed: PackedSequence,
        hidden: Tensor,
        previous: Tensor | None = None,  # noqa: ARG002  (it has none)
    ) -> tuple[Tensor, ...]:
        return self._heads(self._run_packed(packed, hidden))

    def _build_layers(self, hidden_size: int, num_layers: int, dropout: float, **kwargs: Any) -> nn.RNNBase:
        name = type(self).__name__
        if self.recurrent_network_type is None:
            family = name.removesuffix("RNNPolicyBase")
            raise TypeError(
                f"{name} has no recurrent layers; use {family}RNNPolicy, {family}GRUPolicy or {family}LSTMPolicy"
            )
        if kwargs.get("proj_size"):
            raise ValueError(f"{name}: proj_size is not supported")
        return self.recurrent_network_type(
            input_size=self.env_spec.observation_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=True,
            batch_first=False,
            dropout=dropout,
            bidirectional=False,
            **kwargs,
        )

    def _check_nonlin(self, label: str, nonlin: Any) -> None:
        if nonlin is not None and not callable(nonlin):
            raise TypeError(f"{type(self).__name__}: {label} must be callable or None, not {nonlin!r}")

    def _draw_layers(self, t_max: float | None) -> None:
        """Draws from U(-1/sqrt(units), 1/sqrt(units)), as torch does; LSTM layers by chrono initialisation if asked."""
        layers = self._layers
        if not isinstance(layers, nn.LSTM):
            layers.reset_parameters()
        elif t_max is None:
            # Pyrado draws all parameters once for every parameter; so do we, for the sake of equal seeds.
            for _ in layers.parameters():
                layers.reset_parameters()
        elif t_max < 2.0:
            raise ValueError(f"{type(self).__name__}: t_max must be at least 2 steps, not {t_max}")
        else:
            _draw_chrono(layers, t_max)

    def _run_packed(self, packed: PackedSequence, hidden: Tensor) -> Tensor:
        """Runs a packed batch of sequences in one call of the layers and returns the features, packed alike."""
        with _differentiable(self._layers):
            features, _ = self._layers(packed, self._unpack_hidden(hidden, len(hidden)))
        data: Tensor = features.data
        return data

    def _pack_hidden(self, state: Any, batch_size: int | None = None) -> Tensor:
        """Packs the state of the layers into flat vectors."""
        size = (self._layers.num_layers, self._layers.hidden_size)
        if isinstance(self._layers, nn.LSTM):
            return torch.cat([default_pack_hidden(part, *size, batch_size) for part in state], dim=-1)
        return default_pack_hidden(state, *size, batch_size)

    def _unpack_hidden(self, hidden: Tensor, batch_size: int | None = None) -> Any:
        """Unpacks flat vectors into the state of the layers."""
        size = (self._layers.num_layers, self._layers.hidden_size)
        if isinstance(self._layers, nn.LSTM):
            return tuple(default_unpack_hidden(part, *size, batch_size) for part in hidden.chunk(2, dim=-1))
        return default_unpack_hidden(hidden, *size, batch_size)


def _draw_chrono(layers: nn.LSTM, t_max: float) -> None:
    """Opens the gates for dependencies of up to `t_max` steps.

    Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", eq. 16. Like Pyrado, weights start orthogonal
    (input) and as identities (recurrent), and `bias_ih` and `bias_hh` are drawn both.
    """
    size = layers.hidden_size
    for name, param in layers.named_parameters():
        if "weight_ih" in name:
            nn.init.orthogonal_(param)
        elif "weight_hh" in name:
            param.copy_(torch.eye(size).repeat(4, 1))
        else:
            # torch orders the gates input, forget, cell, output.
            forget = torch.empty(size).uniform_(1.0, t_max - 1.0).log()
            param.zero_()
            param[size : 2 * size] = forget
            param[:size] = -forget


@contextmanager
def _differentiable(layers: nn.RNNBase) -> Iterator[None]:
    """Lets gradients through layers in eval mode: cuDNN has a backward pass in train mode only."""
    dropout = layers.dropout
    layers.dropout = 0.0
    layers.train()
    try:
        yield
    finally:
        layers.dropout = dropout
        layers.eval()
