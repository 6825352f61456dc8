"""Policies of recurrent layers followed by one linear output layer: Elman RNN, GRU and LSTM.

Module names, parameter order, packing of the hidden vector and initialisation follow Pyrado 0.7
(SimuRLacra, `pyrado.policies.recurrent.rnn`), so that its checkpoints load.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies._tensors import is_tracing
from ganglion.policies.base import RecurrentPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch.nn.utils.rnn import PackedSequence

    from ganglion.policies.env_spec import EnvSpec


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


class RNNPolicyBase(RecurrentPolicy):
    """Recurrent layers, a linear layer, and a nonlinearity on the output.

    Args:
        spec: spaces of the environment.
        hidden_size: number of units of each recurrent layer.
        num_recurrent_layers: number of recurrent layers.
        output_nonlin: applied to the whole output of the linear layer, or None.
        dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of the torch module.

    Raises:
        TypeError: an argument has the wrong type, or this base class itself is instantiated.
        ValueError: torch or this class refuses a value.
    """

    recurrent_network_type: type[nn.RNNBase] | None = None
    """The torch module of the recurrent layers; set by sub-classes."""
    rnn_layers: nn.RNNBase
    output_layer: nn.Linear

    def __init__(
        self,
        spec: EnvSpec,
        hidden_size: int,
        num_recurrent_layers: int,
        output_nonlin: Callable[[Tensor], Tensor] | None = None,
        dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(spec, use_cuda)
        if self.recurrent_network_type is None:
            raise TypeError("RNNPolicyBase has no recurrent layers; use RNNPolicy, GRUPolicy or LSTMPolicy")
        if output_nonlin is not None and not callable(output_nonlin):
            raise TypeError(f"{type(self).__name__}: output_nonlin must be callable or None, not {output_nonlin!r}")
        if recurrent_net_kwargs.get("proj_size"):
            raise ValueError(f"{type(self).__name__}: proj_size is not supported")
        self.rnn_layers = self.recurrent_network_type(
            input_size=spec.observation_size,
            hidden_size=hidden_size,
            num_layers=num_recurrent_layers,
            bias=True,
            batch_first=False,
            dropout=dropout,
            bidirectional=False,
            **recurrent_net_kwargs,
        )
        self.output_layer = nn.Linear(hidden_size, spec.action_size)
        self.output_nonlin = output_nonlin
        self.init_param(None, **({} if init_param_kwargs is None else init_param_kwargs))
        self._place()

    @property
    def num_recurrent_layers(self) -> int:
        """Number of recurrent layers."""
        return self.rnn_layers.num_layers

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """One slot `h`, `[layers, units]`."""
        return (StateSlot("h", (self.rnn_layers.num_layers, self.rnn_layers.hidden_size)),)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs one step; see `RecurrentPolicy.forward`.

        Returns:
            Action `[action_size]` and new hidden state `[hidden_size]`, or both with the batch axis in front.
        """
        rows, hidden_rows = self._as_batch(obs, hidden)
        batch_size = rows.shape[0]
        features, state = self.rnn_layers(rows.unsqueeze(0), self._unpack_hidden(hidden_rows, batch_size))
        action = self._output(features.squeeze(0))
        new_hidden = self._pack_hidden(state, batch_size)
        if obs.ndim == 1:
            return action.squeeze(0), new_hidden.squeeze(0)
        return action, new_hidden

    def _draw_param(self, *, t_max: float | None = None) -> None:  # noqa: ARG002  (only LSTM has gates to open)
        """Draws from U(-1/sqrt(fan), 1/sqrt(fan)), as torch does; `t_max` is for LSTM only."""
        self.rnn_layers.reset_parameters()
        self.output_layer.reset_parameters()

    def _evaluate_packed(self, packed: PackedSequence, hidden: Tensor) -> tuple[Tensor, ...]:
        with _differentiable(self.rnn_layers):
            features, _ = self.rnn_layers(packed, self._unpack_hidden(hidden, len(hidden)))
        return (self._output(features.data),)

    def _output(self, features: Tensor) -> Tensor:
        output: Tensor = self.output_layer(features)
        return output if self.output_nonlin is None else self.output_nonlin(output)

    def _pack_hidden(self, state: Any, batch_size: int | None = None) -> Tensor:
        """Packs the state of `rnn_layers` into flat vectors."""
        return default_pack_hidden(state, self.rnn_layers.num_layers, self.rnn_layers.hidden_size, batch_size)

    def _unpack_hidden(self, hidden: Tensor, batch_size: int | None = None) -> Any:
        """Unpacks flat vectors into the state of `rnn_layers`."""
        return default_unpack_hidden(hidden, self.rnn_layers.num_layers, self.rnn_layers.hidden_size, batch_size)


class RNNPolicy(RNNPolicyBase):
    """Policy with Elman recurrent layers (`torch.nn.RNN`).

    Args:
        spec: spaces of the environment.
        hidden_size: number of units of each recurrent layer.
        num_recurrent_layers: number of recurrent layers.
        hidden_nonlin: nonlinearity of the recurrent layers, `"tanh"` or `"relu"`.
        output_nonlin: applied to the whole output of the linear layer, or None.
        dropout: probability of dropping an output between two recurrent layers, in train mode only.
        init_param_kwargs: options for `init_param`; `t_max` is accepted and has no effect.
        use_cuda: put the policy on the CUDA device.
        **recurrent_net_kwargs: further arguments of `torch.nn.RNN`.
    """

    name = "rnn"
    recurrent_network_type = nn.RNN

    def __init__(
        self,
        spec: EnvSpec,
        hidden_size: int,
        num_recurrent_layers: int,
        hidden_nonlin: str = "tanh",
        output_nonlin: Callable[[Tensor], Tensor] | None = None,
        dropout: float = 0.0,
        init_param_kwargs: Mapping[str, Any] | None = None,
        use_cuda: bool = False,
        **recurrent_net_kwargs: Any,
    ) -> None:
        super().__init__(
            spec,
            hidden_size,
            num_recurrent_layers,
            output_nonlin,
            dropout,
            init_param_kwargs,
            use_cuda,
            nonlinearity=hidden_nonlin,
            **recurrent_net_kwargs,
        )


class GRUPolicy(RNNPolicyBase):
    """Policy with gated recurrent units (`torch.nn.GRU`); arguments as for `RNNPolicyBase`."""

    name = "gru"
    recurrent_network_type = nn.GRU


class LSTMPolicy(RNNPolicyBase):
    """Policy with long short-term memory (`torch.nn.LSTM`); arguments as for `RNNPolicyBase`.

    The flat hidden vector holds the hidden states of all layers and then the cell states of all layers.

    `init_param` takes `t_max`, the longest dependency to be learned, in steps: weights start orthogonal (input) and as
    identities (recurrent), and the biases of forget and input gates as by chrono initialisation (Tallec and Ollivier
    2018, "Can recurrent neural networks warp time?", eq. 16). Like Pyrado, `bias_ih` and `bias_hh` are drawn both.
    """

    name = "lstm"
    recurrent_network_type = nn.LSTM

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """Two slots `h` and `c`, `[layers, units]` each."""
        shape = (self.rnn_layers.num_layers, self.rnn_layers.hidden_size)
        return (StateSlot("h", shape), StateSlot("c", shape))

    def _draw_param(self, *, t_max: float | None = None) -> None:
        if t_max is None:
            # Pyrado draws all parameters once for every parameter; so do we, for the sake of equal seeds.
            for _ in self.rnn_layers.parameters():
                self.rnn_layers.reset_parameters()
        else:
            self._draw_chrono(t_max)
        self.output_layer.reset_parameters()

    def _draw_chrono(self, t_max: float) -> None:
        if t_max < 2.0:
            raise ValueError(f"LSTMPolicy: t_max must be at least 2 steps, not {t_max}")
        size = self.rnn_layers.hidden_size
        for name, param in self.rnn_layers.named_parameters():
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

    def _pack_hidden(self, state: tuple[Tensor, Tensor], batch_size: int | None = None) -> Tensor:
        h, c = state
        return torch.cat([super()._pack_hidden(h, batch_size), super()._pack_hidden(c, batch_size)], dim=-1)

    def _unpack_hidden(self, hidden: Tensor, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        h, c = hidden.chunk(2, dim=-1)
        return super()._unpack_hidden(h, batch_size), super()._unpack_hidden(c, batch_size)


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
