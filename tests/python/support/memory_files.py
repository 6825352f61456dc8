"""Networks with recurrent layers that exporters write in ways that lose the memory, or keep it."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

OBSERVATIONS, UNITS, ACTIONS = 6, 16, 3


class Net(nn.Module):
    """A recurrent layer and a head, as people write them."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, **keys):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = kind(OBSERVATIONS, UNITS, **keys), nn.Linear(UNITS, ACTIONS)


class NoState(Net):
    """`rnn(x)`: starts from zeros."""

    def forward(self, x):
        return self.head(self.rnn(x.unsqueeze(0))[0].squeeze(0))


class InBuffers(Net):
    """Flies in Python; a trace for ONNX has no buffers that change."""

    def __init__(self):
        super().__init__()
        self.register_buffer("h", torch.zeros(1, 1, UNITS))
        self.register_buffer("c", torch.zeros(1, 1, UNITS))

    def forward(self, x):
        y, (h, c) = self.rnn(x.unsqueeze(0), (self.h, self.c))
        self.h[:] = h
        self.c[:] = c
        return self.head(y.squeeze(0))


class OnlyHidden(Net):
    """h comes back, c does not."""

    def forward(self, x, h_in):
        y, (h, _) = self.rnn(x.unsqueeze(0), (h_in, torch.zeros(1, 1, UNITS)))
        return self.head(y.squeeze(0)), h


class OnlyCell(Net):
    """c comes back, h does not."""

    def forward(self, x, c_in):
        y, (_, c) = self.rnn(x.unsqueeze(0), (torch.zeros(1, 1, UNITS), c_in))
        return self.head(y.squeeze(0)), c


class Both(Net):
    """As it should be."""

    def forward(self, x, h_in, c_in):
        y, (h, c) = self.rnn(x.unsqueeze(0), (h_in, c_in))
        return self.head(y.squeeze(0)), h, c


class Window(Net):
    """Ten observations in every step."""

    def __init__(self, kind=nn.GRU):
        super().__init__(kind, batch_first=True)

    def forward(self, x, h_in):
        y, h = self.rnn(x, h_in)
        return self.head(y), h


class WindowAlone(Window):
    """The same, from zeros: what it knows is what the window holds."""

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Passes(nn.Module):
    """godot_rl_agents: a state for form's sake."""

    def __init__(self, used=False):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.used = nn.Linear(8, 2), used

    def forward(self, obs, state_ins):
        action = self.net(obs)
        return action + state_ins if self.used else action, state_ins


STATE = (torch.zeros(1, 1, UNITS),)
STEP = (torch.zeros(1, OBSERVATIONS),)


def to_onnx(
    path: Path, module: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str], **keys
) -> Path:
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"input_names": inputs, "output_names": outputs, "opset_version": 17, "dynamo": False} | keys
        torch.onnx.export(module.eval(), example, str(path), **options)
    return path
