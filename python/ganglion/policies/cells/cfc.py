"""CfC: the closed form of a liquid time-constant network.

Hasani, Lechner, Amini et al. 2022, "Closed-form continuous-time neural networks", Nature Machine Intelligence 4; the
variants and the names of the weights are those of `ncps.torch.CfCCell` (ncps 1.0.1), so its state dictionaries load.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ganglion.contract import StateSlot
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept

Mode = Literal["default", "pure", "no_gate"]
_MODES: tuple[Mode, ...] = ("default", "pure", "no_gate")


class LeCunTanh(nn.Module):
    """Computes `1.7159 tanh(0.666 x)`, as ncps has it; LeCun et al. 1998, "Efficient backprop", section 4.4."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[..., n]` to `[..., n]`."""
        return 1.7159 * torch.tanh(0.666 * x)


_ACTIVATIONS = {
    "lecun_tanh": LeCunTanh, "tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU
}  # fmt: skip


@kept()
class CfC(Core):
    """Computes `h' = (1 - g) tanh(f1) + g tanh(f2)` with `g = sigmoid(a t + b)`.

    `f1, f2, a, b` are linear in a backbone of `[x, h]`. With `mode="no_gate"` the first factor is 1; `"pure"` has
    `h' = A - A exp(-t (|w| + |f1|)) f1`.

    Args:
        input_size: number of elements of an input.
        hidden_size: number of units.
        mode: `"default"`, `"pure"` or `"no_gate"`.
        backbone_units: number of units of a layer of the backbone.
        backbone_layers: number of its layers; with none the maps are linear in `[x, h]`.
        backbone_activation: `"lecun_tanh"`, `"tanh"`, `"relu"`, `"silu"` or `"gelu"`.
        timespan: `t`, the time of a step in the unit of the training; ncps takes 1 where none is given.

    Raises:
        ValueError: a word is none of those above.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        mode: Mode = "default",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_activation: str = "lecun_tanh",
        timespan: float = 1.0,
    ) -> None:
        super().__init__()
        for label, word, known in (("mode", mode, _MODES), ("backbone_activation", backbone_activation, _ACTIVATIONS)):
            if word not in known:
                raise ValueError(f"CfC: {label} must be one of {', '.join(known)}, not {word!r}")
        self.input_size, self.output_size = input_size, hidden_size
        self.mode, self.timespan = mode, timespan
        size = input_size + hidden_size
        self.backbone = nn.Sequential()
        for _ in range(backbone_layers):
            self.backbone.append(nn.Linear(size, backbone_units))
            self.backbone.append(_ACTIVATIONS[backbone_activation]())
            size = backbone_units
        self.ff1 = nn.Linear(size, hidden_size)
        if mode == "pure":
            self.w_tau = nn.Parameter(torch.zeros(1, hidden_size))
            self.A = nn.Parameter(torch.ones(1, hidden_size))
        else:
            self.ff2, self.time_a, self.time_b = (nn.Linear(size, hidden_size) for _ in range(3))
        self.reset_parameters()

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slot `h`, `[1, units]`."""
        return (StateSlot("h", (1, self.output_size)),)

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step; see `Core.forward`."""
        features = self.backbone(torch.cat((x, state[0]), -1))
        f1 = self.ff1(features)
        if self.mode == "pure":
            h = self.A - self.A * torch.exp(-self.timespan * (self.w_tau.abs() + f1.abs())) * f1
        else:
            f1, f2 = torch.tanh(f1), torch.tanh(self.ff2(features))
            gate = torch.sigmoid(self.time_a(features) * self.timespan + self.time_b(features))
            h = f1 + gate * f2 if self.mode == "no_gate" else f1 * (1.0 - gate) + gate * f2
        return h, (h,)

    def reset_parameters(self) -> None:
        """Draws all parameters again: what has two axes by Glorot's uniform law, as ncps does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)
