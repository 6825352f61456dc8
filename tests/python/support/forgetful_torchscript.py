"""TorchScript modules that lose their memory, or keep it, by the name of a case.

torch.jit.script takes no number from outside of a method: 16 is UNITS.
"""

from __future__ import annotations

from typing import Optional, Tuple  # noqa: UP035  torch.jit.script reads these

import torch
from memory_files import OBSERVATIONS, UNITS, Net, NoState
from torch import Tensor, nn


class OptionalHidden(Net):
    def forward(self, x: Tensor, hidden: Optional[Tuple[Tensor, Tensor]] = None) -> Tensor:  # noqa: UP006, UP045
        return self.head(self.rnn(x.unsqueeze(0), hidden)[0].squeeze(0))


class OptionalGru(Net):
    def forward(self, x: Tensor, h: Optional[Tensor] = None) -> Tensor:  # noqa: UP045
        return self.head(self.rnn(x.unsqueeze(0), h)[0].squeeze(0))


class OptionalOwnCell(nn.Module):
    """No layer of torch's: only the argument tells."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(OBSERVATIONS, UNITS), nn.Linear(UNITS, 3)

    def forward(self, x: Tensor, state: Optional[Tensor] = None) -> Tensor:  # noqa: UP045
        held = torch.zeros(1, 16) if state is None else state
        return self.outer(torch.tanh(self.inner(x) + held))


class Buffers(Net):
    """`keeps` says which of the two states a step writes."""

    def __init__(self, keeps="hc"):
        super().__init__()
        self.keeps_h, self.keeps_c = "h" in keeps, "c" in keeps
        self.register_buffer("h", torch.zeros(1, 1, UNITS))
        self.register_buffer("c", torch.zeros(1, 1, UNITS))

    def forward(self, x: Tensor) -> Tensor:
        y, (h, c) = self.rnn(x.unsqueeze(0), (self.h, self.c))
        if self.keeps_h:
            self.h[:] = h
        if self.keeps_c:
            self.c[:] = c
        return self.head(y.squeeze(0))

    @torch.jit.export
    def reset(self):
        self.h.zero_()
        self.c.zero_()


class CellFromZeros(Buffers):
    """h is kept, c begins anew."""

    def forward(self, x: Tensor) -> Tensor:
        y, (h, _) = self.rnn(x.unsqueeze(0), (self.h, torch.zeros_like(self.h)))
        self.h[:] = h
        return self.head(y.squeeze(0))


class Copies(Buffers):
    """The state goes into a tensor that is made anew: nothing is lost."""

    def forward(self, x: Tensor) -> Tensor:
        start = torch.zeros(2, 1, 1, 16)
        start[0].copy_(self.h)
        start[1] = self.c
        y, (h, c) = self.rnn(x.unsqueeze(0), (start[0], start[1]))
        self.h[:] = h
        self.c[:] = c
        return self.head(y.squeeze(0))


class Flat(Net):
    """One buffer for both, as in Pyrado."""

    def __init__(self):
        super().__init__()
        self.register_buffer("hidden", torch.zeros(2 * UNITS))

    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.split(self.hidden, 16)
        y, (h, c) = self.rnn(x.unsqueeze(0), (h.view(1, 1, -1), c.view(1, 1, -1)))
        self.hidden = torch.cat([h.flatten(), c.flatten()])
        return self.head(y.squeeze(0))

    @torch.jit.export
    def reset(self):
        self.hidden = torch.zeros(32)


class Cells(nn.Module):
    """Steps of a loop over cells, from zeros."""

    def __init__(self, kind=nn.LSTMCell):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = kind(OBSERVATIONS, UNITS), nn.Linear(UNITS, 3)


class LoopOfLstmCells(Cells):
    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.zeros(1, 16), torch.zeros(1, 16)
        for _ in range(2):
            h, c = self.cell(x, (h, c))
        return self.head(h)


class GruCell(Cells):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x))


class KeepsGruCell(Cells):
    def __init__(self):
        super().__init__(nn.GRUCell)
        self.register_buffer("memory", torch.zeros(1, UNITS))

    def forward(self, x: Tensor) -> Tensor:
        self.memory = self.cell(x, self.memory)
        return self.head(self.memory)

    @torch.jit.export
    def reset(self):
        self.memory = torch.zeros(1, 16)


class Constant(nn.Module):
    """An action of zeros, with the shape of an observation."""

    def __init__(self, clipped=False):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.clipped = nn.Linear(OBSERVATIONS, 3), clipped

    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(self.net(x)) if self.clipped else self.net(x) * 0.0 + 2.0


class SharedZeros(Buffers):
    """torch's compiler makes the two zeros one tensor."""

    @torch.jit.export
    def reset(self):
        self.h = torch.zeros(1, 1, 16)
        self.c = torch.zeros(1, 1, 16)

    def forward(self, x: Tensor) -> Tensor:
        y, (h, c) = self.rnn(x.unsqueeze(0), (self.h, self.c))
        self.h = h
        self.c = c
        return self.head(y.squeeze(0))


class WindowInBuffers(Buffers):
    """Ten observations in one, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        y, (h, c) = self.rnn(x.view(10, 1, 6), (self.h, self.c))
        self.h[:] = h
        self.c[:] = c
        return self.head(y[-1])


class WindowArgument(Net):
    """The same with the state as an argument."""

    def __init__(self):
        super().__init__(nn.GRU, batch_first=True)

    def forward(self, x: Tensor, h: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        y, after = self.rnn(x.view(1, 10, 6), h)
        return self.head(y[:, -1]), after


class OwnMemory(Cells):
    """`steps` runs of a cell in every step, each of another part of the observation, or of all of it."""

    def __init__(self):
        super().__init__(nn.GRUCell)
        self.register_buffer("memory", torch.zeros(1, UNITS))
        self.register_buffer("other", torch.zeros(1, UNITS))

    @torch.jit.export
    def reset(self):
        self.memory.zero_()
        self.other.zero_()


class WindowOfCells(OwnMemory):
    def forward(self, x: Tensor) -> Tensor:
        window, after = x.view(10, 1, 6), self.memory
        for t in range(10):
            after = self.cell(window[t], after)
        self.memory = after
        return self.head(after)


class WindowInPlace(OwnMemory):
    def forward(self, x: Tensor) -> Tensor:
        window = x.view(10, 1, 6)
        for t in range(10):
            self.memory[:] = self.cell(window[t], self.memory)
        return self.head(self.memory)


class Thinks(OwnMemory):
    """One observation, thought over ten times: no window."""

    def forward(self, x: Tensor) -> Tensor:
        after = self.memory
        for _ in range(10):
            after = self.cell(x, after)
        self.memory = after
        return self.head(after)


class TwoLegs(OwnMemory):
    """One cell for two legs, each with a memory of its own: no window."""

    def forward(self, x: Tensor) -> Tensor:
        self.memory = self.cell(x.view(2, 1, 6)[0], self.memory)
        self.other = self.cell(x.view(2, 1, 6)[1], self.other)
        return self.head(self.memory + self.other)


STARTS = "starts from a constant in every step"
FORGETS = {
    "lstm": (lambda: NoState(), f"the LSTM layer 'rnn' {STARTS}"),
    "gru": (lambda: NoState(nn.GRU), f"the GRU layer 'rnn' {STARTS}"),
    "rnn": (lambda: NoState(nn.RNN), f"the RNN layer 'rnn' {STARTS}"),
    "two layers": (lambda: NoState(nn.GRU, num_layers=2), f"the GRU layer 'rnn' {STARTS}"),
    "optional": (lambda: OptionalHidden(), f"the LSTM layer 'rnn' {STARTS}"),
    "optional gru": (lambda: OptionalGru(nn.GRU), f"the GRU layer 'rnn' {STARTS}"),
    "own cell": (lambda: OptionalOwnCell(), "forward takes an argument 'state' that sounds like a state"),
    "buffers that nobody writes": (lambda: Buffers(""), f"the LSTM layer 'rnn' {STARTS}"),
    "h alone": (lambda: Buffers("h"), f"given its hidden state, but its cell state {STARTS}"),
    "c alone": (lambda: Buffers("c"), f"given its cell state, but its hidden state {STARTS}"),
    "c from zeros": (lambda: CellFromZeros(), f"given its hidden state, but its cell state {STARTS}"),
    "cells in a loop": (lambda: LoopOfLstmCells(), f"the LSTM layer 'cell' {STARTS}"),
    "gru cell": (lambda: GruCell(nn.GRUCell), f"the GRU layer 'cell' {STARTS}"),
}
REMEMBERS = {
    "both": lambda: Buffers(),
    "copies": lambda: Copies(),
    "flat": lambda: Flat(),
    "gru cell": lambda: KeepsGruCell(),
    "zeros that are one tensor": lambda: SharedZeros(),
    "thinks": lambda: Thinks(),
    "two legs": lambda: TwoLegs(),
}
WINDOWS = {
    "buffers": (lambda: WindowInBuffers(), "the LSTM layer 'rnn'"),
    "argument": (lambda: WindowArgument(), "the GRU layer 'policy.rnn'"),
    "cells": (lambda: WindowOfCells(), "the GRU layer 'cell'"),
    "cells in place": (lambda: WindowInPlace(), "the GRU layer 'cell'"),
}
