"""The nets of the benchmark, drawn from seeds and written once for every engine and every kind of weights.

Observations are of order 1 and actions not far from it, so that the error that smaller weights make can be compared
with them. Weights are normal with a deviation of 1 / sqrt(fan-in); in recurrent layers it is 1.4 / sqrt(fan-in) from
the input, which drives the gates, and 0.7 / sqrt(fan-in) from the hidden state, which lets the nets forget.
"""

from __future__ import annotations

import itertools
import math
import os
import platform
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
ROOMY = 0.1
"""The tolerance for weights that the product refuses at its default: they are timed all the same, and marked."""
LIBRARY = """
#include "{header}"

#include <cstddef>

static {name}::Policy pilot;

extern "C" {{
extern const std::size_t bench_observation_size = {name}::observation_size;
extern const std::size_t bench_action_size = {name}::action_size;
void bench_reset() {{ pilot.reset(); }}
int bench_step(const float* observation, float* action) {{ return static_cast<int>(pilot.step(observation, action)); }}
}}
"""
"""A header as `ganglion-bench --library` takes it."""


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


class _Functional(nn.Module):
    """The step of a TorchScript file with its state outside, to be frozen."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the action and the next state."""
        stepped: tuple[Tensor, Tensor] = self.network.step(obs, hidden)
        return stepped


class _Stateless(_Functional):
    """The same of a policy without state."""

    def forward(self, obs: Tensor) -> Tensor:  # type: ignore[override]
        """Returns the action."""
        action: Tensor = self.network.step(obs, torch.zeros(obs.size(0), 0))[0]
        return action


NATIVE = ("native float32", "native float16", "native int8")
HEADER = "header"
FROZEN = "LibTorch frozen"


def files(net: Net, folder: Path) -> dict[str, Path]:
    """Path of each contender's file, by contender."""
    names = {name: f"{net.key}.{name.removeprefix('native ')}.ganglion" for name in NATIVE}
    names |= {"ONNX Runtime": f"{net.key}.onnx", "LibTorch": f"{net.key}.pt", FROZEN: f"{net.key}.frozen.pt"}
    return {contender: folder / name for contender, name in names.items()} | {HEADER: folder / f"{net.key}.so"}


def files_of_rows(net: Net, folder: Path) -> dict[str, Path]:
    """Path of each contender's file for any number of rows, by contender."""
    one = files(net, folder)
    return {name: one[name].with_name(f"rows.{one[name].name}") for name in (*NATIVE, "ONNX Runtime", "LibTorch")}


def build(net: Net, folder: Path) -> dict[str, str]:
    """Writes the files of a net.

    Args:
        net: what to write.
        folder: where to.

    Returns:
        What the product said where it refused smaller weights at its default tolerance, by contender.
    """
    policy = net.policy()
    paths, rows = files(net, folder), files_of_rows(net, folder)
    refused = {}
    for contender in rows:
        options: dict[str, Any] = {"weights": contender.removeprefix("native ")} if contender in NATIVE else {}
        try:
            ganglion.export(policy, paths[contender], **options)
        except ganglion.ExportError as error:
            if not options:
                raise
            refused[contender] = str(error)
            options["weight_tolerance"] = ROOMY
            ganglion.export(policy, paths[contender], **options)
        # Along another golden trajectory, with more rows: what is refused there is timed, too.
        roomy = {"weight_tolerance": ROOMY} if options else {}
        ganglion.export(policy, rows[contender], batch=None, **options | roomy)
    scripted = torch.jit.load(str(paths["LibTorch"])).eval()
    bare = _Functional(scripted) if policy.state_layout else _Stateless(scripted)
    torch.jit.save(torch.jit.freeze(torch.jit.script(bare.eval())), str(paths[FROZEN]))
    _build_header(net, policy, paths[HEADER])
    return refused


def _build_header(net: Net, policy: RecurrentPolicy, library: Path) -> None:
    """The header in a shared library, at -O2 with what its page asks for on x86-64."""
    header = library.with_suffix(".hpp")
    ganglion.export(policy, header)
    source = library.with_suffix(".cpp")
    source.write_text(LIBRARY.format(header=header.name, name=net.key), encoding="utf-8")
    flags = ["-mavx2", "-mfma"] if platform.machine() == "x86_64" else []
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++17", "-O2", *flags, "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
