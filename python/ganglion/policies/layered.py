"""The actor that most trainers of robots build: feed-forward layers, recurrent layers, feed-forward layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ganglion.policies.kept import kept
from ganglion.policies.recurrent_layers import RecurrentLayersPolicy

if TYPE_CHECKING:
    from torch.nn.utils.rnn import PackedSequence

    from ganglion.contract import StateSlot
    from ganglion.data.env_spec import EnvSpec


@kept()
class LayeredPolicy(RecurrentLayersPolicy):
    """Computes `head(recurrent(encoder(obs)))`.

    Args:
        spec: spaces of the environment.
        head: maps the features `[batch, n]` to the action `[batch, action_size]`.
        recurrent: `torch.nn.RNN`, `GRU` or `LSTM` with the time axis first; None for a policy without memory.
        encoder: maps the observation `[batch, observation_size]` to the input of the recurrent layers; None for none.

    Raises:
        TypeError: a part is no module, or `recurrent` is none of the three classes.
        ValueError: `recurrent` is bidirectional or has projections.
    """

    name = "layered"

    def __init__(
        self,
        spec: EnvSpec,
        head: nn.Module,
        recurrent: nn.RNNBase | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(spec)
        _check_recurrent(recurrent)
        for label, part in (("head", head), ("encoder", encoder)):
            if not isinstance(part, nn.Module) and not (label == "encoder" and part is None):
                raise TypeError(f"LayeredPolicy: {label} must be a torch.nn.Module, not {type(part).__name__}")
        self.encoder = encoder
        self.recurrent = recurrent
        self.head = head

    @property
    def _layers(self) -> nn.RNNBase:
        if self.recurrent is None:
            raise AttributeError("this policy has no recurrent layers")
        return self.recurrent

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[layers, units]`, with LSTM layers also `c`; none without recurrent layers."""
        return () if self.recurrent is None else super().state_layout

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, state = self._as_batch(obs, hidden)
        features = self._encode(rows)
        if self.recurrent is not None:
            batch_size = rows.shape[0]
            features, parts = self.recurrent(features.unsqueeze(0), self._unpack_hidden(state, batch_size))
            features, state = features.squeeze(0), self._pack_hidden(parts, batch_size)
        return self._as_given(obs, (*self._heads(features), state))

    def _encode(self, rows: Tensor) -> Tensor:
        if self.encoder is None:
            return rows
        encoded: Tensor = self.encoder(rows)
        return encoded

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        return (self.head(features),)

    def _run_packed(self, packed: PackedSequence, hidden: Tensor) -> Tensor:
        encoded = packed._replace(data=self._encode(packed.data))
        features: Tensor = encoded.data
        return features if self.recurrent is None else super()._run_packed(encoded, hidden)


def _check_recurrent(recurrent: nn.RNNBase | None) -> None:
    if recurrent is None:
        return
    if not isinstance(recurrent, (nn.RNN, nn.GRU, nn.LSTM)):
        raise TypeError(f"LayeredPolicy: recurrent must be torch.nn.RNN, GRU or LSTM, not {type(recurrent).__name__}")
    if recurrent.bidirectional or recurrent.proj_size or recurrent.batch_first:
        raise ValueError("LayeredPolicy: bidirectional, projected or batch-first recurrent layers are not supported")
