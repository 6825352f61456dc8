"""PufferLib's own models, built from the names and shapes of their weights.

Of versions 2 and 3 `Default`, alone or in an `LSTMWrapper` (`pufferlib/models.py` of 2.0.6 and 3.0.0); of version 4
`Policy` with `DefaultEncoder`, `DefaultDecoder` and `MinGRU`, `LSTM`, `GRU` or `MLP` (the same file at 8e3e7546).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.errors import ArtifactError
from ganglion.policies.cells.minimal import MinGRU
from ganglion.policies.cores import Core

if TYPE_CHECKING:
    from ganglion.adapters._state_dict import StateDict

HINT = (
    "read are PufferLib's own models: Default and LSTMWrapper, and of version 4 Policy with DefaultEncoder, "
    "DefaultDecoder and MinGRU, LSTM, GRU or MLP. Any other network is exported in Python, from the module itself: "
    "ganglion.export(ganglion.wrap(module, observation=..., state=...), path)"
)
_VALUES = ("value.", "value_head.", "decoder.value_function.")


@dataclass(frozen=True)
class Network:
    """What the weights say.

    Attributes:
        encoder: from the observation to features.
        recurrent: LSTM layers behind it, or None.
        parts: what is behind the encoder where that is no LSTM, in order.
        decoder: from features to means, or to the logits of all actions.
        inputs: elements of the observation.
        counts: categories of each action, where the weights tell; else empty.
        log_std: logarithms of the standard deviations where the decoder gives means, `[actions]`; else None.
        clips: whether the trainer clips an action that it has drawn to the action space.
    """

    encoder: nn.Module
    recurrent: nn.LSTM | None
    parts: tuple[nn.Module, ...]
    decoder: nn.Linear
    inputs: int
    counts: tuple[int, ...]
    log_std: Tensor | None
    clips: bool

    @property
    def is_continuous(self) -> bool:
        """Whether the decoder gives means."""
        return self.log_std is not None


class HighwayMinGRU(Core):
    """A layer of PufferLib's `MinGRU`: `out = g h' + (1 - g) x` with `g = sigmoid(W_g x)` around a MinGRU.

    Args:
        weight: rows of the candidate, of the update gate and of `W_g`, `[3 units, units]`.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.input_size = self.output_size = weight.shape[1]
        with torch.random.fork_rng(devices=[]):
            self.cell = MinGRU(self.input_size, self.output_size)
            self.gate = nn.Linear(self.input_size, self.output_size, bias=False)
        with torch.no_grad():
            self.cell.linear.weight.copy_(weight[: 2 * self.output_size])
            self.cell.linear.bias.zero_()
            self.gate.weight.copy_(weight[2 * self.output_size :])

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[1, units]`."""
        return self.cell.state_layout

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        h, state = self.cell(x, state)
        return self._highway(x, h), state

    def sequence(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs all steps at once; see `Core.sequence`."""
        h, state = self.cell.sequence(x, state)
        return self._highway(x, h), state

    def reset_parameters(self) -> None:
        """Draws all parameters again, as `torch.nn.Linear` does."""
        self.cell.reset_parameters()
        self.gate.reset_parameters()

    def _highway(self, x: Tensor, h: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * h + (1.0 - gate) * x


class ResidualGRU(Core):
    """A layer of PufferLib's `GRU`: `out = RMSNorm(h' + x)`, as `forward_eval` has it.

    Args:
        layers: the GRU.
        index: the layer of it.
        scale: of the normalisation, which all layers share, `[units]`.
    """

    def __init__(self, layers: nn.GRU, index: int, scale: Tensor) -> None:
        super().__init__()
        self.input_size = self.output_size = layers.hidden_size
        with torch.random.fork_rng(devices=[]):
            self.cell = nn.GRUCell(self.input_size, self.output_size)
        self.norm = nn.RMSNorm(self.output_size)
        with torch.no_grad():
            for name, parameter in self.cell.named_parameters():
                parameter.copy_(getattr(layers, f"{name}_l{index}"))
            self.norm.weight.copy_(scale)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[1, units]`."""
        return (StateSlot("h", (1, self.output_size)),)

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        h = self.cell(x, state[0])
        return self.norm(h + x), (h,)

    def reset_parameters(self) -> None:
        """Draws all parameters again, as torch does."""
        self.cell.reset_parameters()
        self.norm.reset_parameters()


def read_network(weights: StateDict) -> Network:
    """Builds the layers from the observation to means or logits; the value is left out.

    Args:
        weights: names without `policy.` and what wrappers of torch put in.

    Raises:
        ArtifactError: a weight is missing, unknown or misshapen, or the layers do not fit each other.
    """
    is_fourth = bool(weights.names("encoder.encoder.") or weights.names("network."))
    is_second = bool(weights.names("value_head."))
    first, encoder = _encoder(weights, is_fourth=is_fourth, is_second=is_second)
    weights.drop(*_VALUES)
    recurrent, parts = _between(weights) if is_fourth else (_wrapped_lstm(weights), ())
    decoder, counts, log_std = _decoder(weights, "decoder." if is_fourth else "")
    weights.finish(HINT)
    _check_chain(first, recurrent, parts, decoder, weights.label)
    clips = log_std is not None and not (is_fourth or is_second)
    return Network(encoder, recurrent, parts, decoder, first.in_features, counts, log_std, clips)


def _encoder(weights: StateDict, *, is_fourth: bool, is_second: bool) -> tuple[nn.Linear, nn.Module]:
    """The linear layer, and what it is a part of."""
    if is_fourth:
        layer = weights.linear("encoder.encoder")
        return layer, layer
    if weights.names("encoder.0."):
        layer = weights.linear("encoder.0")
        return layer, nn.Sequential(layer, nn.GELU())
    if not weights.names("encoder.weight"):
        found = ", ".join(weights.names()[:6])
        raise ArtifactError(f"{weights.label} has no encoder of PufferLib's default models, but {found}; {HINT}")
    if not (is_second or weights.names("value.")):
        raise ArtifactError(
            f"{weights.label} has 'encoder.weight' without 'value.weight' (version 3) or 'value_head.weight' (version "
            "2) beside it, which tell whether a ReLU follows; save the whole state_dict()"
        )
    layer = weights.linear("encoder")
    # Version 3 has this layer for a Dict of observations, whose encoder has no nonlinearity.
    return layer, nn.Sequential(layer, nn.ReLU()) if is_second else layer


def _wrapped_lstm(weights: StateDict) -> nn.LSTM | None:
    """The LSTM of `LSTMWrapper`: `lstm` of version 3, `recurrent` of version 2."""
    name = next((name for name in ("lstm", "recurrent") if weights.names(f"{name}.")), None)
    if name is None:
        return None
    layers = _lstm(weights, name)
    _check_tied(weights, "cell", layers, 0)
    return layers


def _between(weights: StateDict) -> tuple[nn.LSTM | None, tuple[nn.Module, ...]]:
    """The `network` of version 4: LSTM layers, or parts."""
    if weights.names("network.lstm."):
        layers = _lstm(weights, "network.lstm")
        for index in range(layers.num_layers):
            _check_tied(weights, f"network.cell.{index}", layers, index)
        return layers, ()
    if weights.names("network.gru."):
        gru = weights.recurrent("network.gru")
        if not isinstance(gru, nn.GRU):
            raise ArtifactError(f"{weights.label}: 'network.gru' is a {type(gru).__name__}; expected a GRU")
        for index in range(gru.num_layers):
            _check_tied(weights, f"network.cell.{index}", gru, index)
        scale = weights.take("network.norm.weight", 1)
        if not gru.bias or {gru.input_size, len(scale)} != {gru.hidden_size}:
            raise ArtifactError(
                f"{weights.label}: the GRU takes {gru.input_size} elements and has {gru.hidden_size} units, and the "
                f"normalisation behind it {len(scale)}; expected one number, and biases"
            )
        return None, tuple(ResidualGRU(gru, index, scale) for index in range(gru.num_layers))
    parts: list[nn.Module] = []
    while weights.names(f"network.layers.{len(parts)}."):
        weight = weights.take(f"network.layers.{len(parts)}.weight", 2)
        if weight.shape[0] != 3 * weight.shape[1]:
            raise ArtifactError(
                f"{weights.label}: 'network.layers.{len(parts)}.weight' has shape {tuple(weight.shape)}; a layer of "
                "MinGRU has 3 rows a unit"
            )
        parts.append(HighwayMinGRU(weight))
    while not weights.names("network.layers.") and weights.names(f"network.net.{2 * len(parts)}."):
        parts.append(nn.Sequential(weights.linear(f"network.net.{2 * len(parts)}"), nn.GELU()))
    return None, tuple(parts)


def _lstm(weights: StateDict, name: str) -> nn.LSTM:
    layers = weights.recurrent(name)
    if not isinstance(layers, nn.LSTM):
        raise ArtifactError(f"{weights.label}: '{name}' is a {type(layers).__name__}; expected an LSTM")
    return layers


def _check_tied(weights: StateDict, cell: str, layers: nn.LSTM | nn.GRU, index: int) -> None:
    """Takes the cell that PufferLib steps, which shares its weights with the layers that it trains."""
    for name in weights.names(f"{cell}."):
        kind = name.removeprefix(f"{cell}.")
        own = getattr(layers, f"{kind}_l{index}", None)
        if own is not None and not torch.equal(weights.take(name, own.ndim), own):
            raise ArtifactError(
                f"{weights.label}: '{name}' differs from '{kind}_l{index}' of the layers that it shares its weights "
                "with in PufferLib; which of the two is stepped cannot be told"
            )


def _decoder(weights: StateDict, prefix: str) -> tuple[nn.Linear, tuple[int, ...], Tensor | None]:
    """The layer, the categories of each action where they are known, and what it has beside means."""
    if weights.names(f"{prefix}decoder_mean."):
        mean, log_std = weights.linear(f"{prefix}decoder_mean"), weights.take(f"{prefix}decoder_logstd", 2)
        if log_std.shape != (1, mean.out_features):
            raise ArtifactError(
                f"{weights.label}: '{prefix}decoder_logstd' has shape {tuple(log_std.shape)} beside "
                f"{mean.out_features} means"
            )
        return mean, (), log_std[0].float()
    if not weights.names(f"{prefix}decoder.0."):
        return weights.linear(f"{prefix}decoder"), (), None
    # Version 2 has a layer for each action of a MultiDiscrete.
    layers: list[nn.Linear] = []
    while weights.names(f"{prefix}decoder.{len(layers)}."):
        layers.append(weights.linear(f"{prefix}decoder.{len(layers)}"))
    counts = tuple(layer.out_features for layer in layers)
    if len({layer.in_features for layer in layers}) > 1 or any(layer.bias is None for layer in layers):
        raise ArtifactError(f"{weights.label}: the layers of 'decoder' take different features, or have no bias")
    with torch.random.fork_rng(devices=[]):
        joined = nn.Linear(layers[0].in_features, sum(counts))
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers]))
        joined.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return joined, counts, None


def _check_chain(
    first: nn.Linear, recurrent: nn.LSTM | None, parts: tuple[nn.Module, ...], decoder: nn.Linear, label: str
) -> None:
    sizes = [(first.in_features, first.out_features)]
    sizes += [] if recurrent is None else [(recurrent.input_size, recurrent.hidden_size)]
    for part in parts:
        layer = part[0] if isinstance(part, nn.Sequential) else part
        if isinstance(layer, nn.Linear):
            sizes.append((layer.in_features, layer.out_features))
        elif isinstance(layer, Core):
            sizes.append((layer.input_size, layer.output_size))
    sizes.append((decoder.in_features, decoder.out_features))
    if any(before[1] != behind[0] for before, behind in itertools.pairwise(sizes)):
        raise ArtifactError(f"{label} is no chain of layers: (inputs, outputs) {sizes}")
