"""The nets of the benchmark, drawn from seeds and written once for every engine and every kind of weights.

Observations are of order 1 and actions not far from it, so that the error that smaller weights make can be compared
with them. Weights are normal with a deviation of 1 / sqrt(fan-in); in recurrent layers it is 1.4 / sqrt(fan-in) from
the input, which drives the gates, and 0.7 / sqrt(fan-in) from the hidden state, which lets the nets forget.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

import ganglion
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy, RecurrentPolicy, RNNPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ganglion.contract import StateSlot

ACTIONS = 12
TOLERANCES = {"float16": 5e-3, "int8": 5e-2}
"""Largest accepted |difference| of an action that smaller weights make over the golden trajectory."""


class MlpPolicy(RecurrentPolicy):
    """Dense layers with ELU between them, and no state: `hidden_size` is 0."""

    def __init__(self, spec: EnvSpec, widths: tuple[int, ...]) -> None:
        super().__init__(spec)
        self.layers = mlp((spec.observation_size, *widths, spec.action_size))

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """No slot."""
        return ()

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `RecurrentPolicy.forward`."""
        if hidden is None:
            hidden = self.init_hidden(None if obs.dim() == 1 else obs.shape[0])
        return self.layers(obs), hidden


@dataclass(frozen=True)
class Net:
    """One row of the table.

    Attributes:
        key: name of its files.
        title: what the table calls it.
        observations: size of the observation.
        make: makes the policy for a specification.
        steps: timed steps per round, fewer for slow nets.
        group: `"small"`, `"medium"` or `"large"`: which target holds.
        tiny: one of the two smallest nets, whose target is an absolute distance from the floor.
    """

    key: str
    title: str
    observations: int
    make: Callable[[EnvSpec], RecurrentPolicy]
    steps: int
    group: str
    tiny: bool = False

    def policy(self, seed: int = 0) -> RecurrentPolicy:
        """Returns the policy with weights drawn from a seed."""
        box = gymnasium.spaces.Box
        spec = EnvSpec(
            box(-np.inf, np.inf, (self.observations,), np.float32), box(-np.inf, np.inf, (ACTIONS,), np.float32)
        )
        policy = self.make(spec)
        draw(policy, seed)
        return policy.eval()


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with ELU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ELU()]
    return nn.Sequential(*layers[:-1])


def recurrent(
    kind: type[RNNPolicy | GRUPolicy | LSTMPolicy], units: int, *widths: int, layers: int = 1
) -> Callable[[EnvSpec], RecurrentPolicy]:
    """Recurrent layers with dense layers of these widths behind them, in place of the one linear layer."""

    def make(spec: EnvSpec) -> RecurrentPolicy:
        policy = kind(spec, units, layers)
        policy.output_layer = mlp((units, *widths, spec.action_size))  # type: ignore[assignment]
        return policy

    return make


@torch.no_grad()
def draw(policy: nn.Module, seed: int) -> None:
    """Draws all parameters from a seed."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in policy.named_parameters():
        if parameter.dim() == 1:
            deviation = 0.1
        else:
            gain = 0.7 if "weight_hh" in name else 1.4 if "weight_ih" in name else 1.0
            deviation = gain / math.sqrt(parameter.shape[1])
        parameter.copy_(deviation * torch.randn(parameter.shape, generator=generator))


NETS = (
    Net("mlp_48_64_64_12", "MLP 48-64-64-12", 48, lambda spec: MlpPolicy(spec, (64, 64)), 4000, "small", tiny=True),
    Net("rnn_24_32", "RNN 24-32", 24, recurrent(RNNPolicy, 32), 4000, "small", tiny=True),
    Net("gru_48_64_mlp_64", "GRU 48-64 + MLP 64", 48, recurrent(GRUPolicy, 64, 64), 4000, "small"),
    Net("lstm_24_64", "LSTM 24-64", 24, recurrent(LSTMPolicy, 64), 2000, "small"),
    Net("mlp_235_512", "MLP 235-512-256-128-12", 235, lambda spec: MlpPolicy(spec, (512, 256, 128)), 1500, "medium"),
    Net("lstm_48_256_mlp_128", "LSTM 48-256 + MLP 128", 48, recurrent(LSTMPolicy, 256, 128), 1000, "medium"),
    Net(
        "lstm2_235_512_mlp_128", "2 x LSTM 235-512 + MLP", 235, recurrent(LSTMPolicy, 512, 128, layers=2), 200, "large"
    ),
)


def files(net: Net, folder: Path) -> dict[str, Path]:
    """Path of each contender's file, by contender."""
    names = {f"native {weights}": f"{net.key}.{weights}.ganglion" for weights in ("float32", "float16", "int8")}
    names |= {"ONNX Runtime": f"{net.key}.onnx", "LibTorch": f"{net.key}.pt"}
    return {contender: folder / name for contender, name in names.items()}


def build(net: Net, folder: Path) -> None:
    """Writes the files of a net.

    Args:
        net: what to write.
        folder: where to.

    Raises:
        ganglion.ExportError: smaller weights cost more than `TOLERANCES` allows, or a file is wrong.
    """
    policy = net.policy()
    for contender, path in files(net, folder).items():
        if path.suffix != ".ganglion":
            ganglion.export(policy, path)
            continue
        weights = contender.removeprefix("native ")
        ganglion.export(policy, path, weights=weights, weight_tolerance=TOLERANCES.get(weights))
