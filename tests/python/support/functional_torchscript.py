"""TorchScript modules that take their state, several observations, or a dictionary; to run by hand."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

# No "from __future__ import annotations" here: torch.jit.script reads the annotations of the classes as types.
from typing import Dict, Optional, Tuple  # noqa: UP035

import torch
from torch import Tensor, nn

OBSERVATIONS, ACTIONS, UNITS = 6, 3, 16
Pair = Tuple[Tensor, Tensor]  # noqa: UP006


class Net(nn.Module):
    """An LSTM (or GRU) and a head, with weights of its own."""

    def __init__(
        self, kind: str = "lstm", layers: int = 1, batch_first: bool = False, inputs: int = OBSERVATIONS
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](inputs, UNITS, layers, batch_first=batch_first)
        self.head = nn.Linear(UNITS, ACTIONS)


class Actuator(Net):
    """What legged_gym and Isaac Lab call their actuator networks: a sequence of one step, a pair of states."""

    def __init__(self) -> None:
        super().__init__(layers=2, batch_first=True)

    def forward(self, x: Tensor, hc: Pair) -> Tuple[Tensor, Pair]:  # noqa: UP006
        y, hc = self.rnn(x, hc)
        return self.head(y).squeeze(1), hc


class OptionalPair(Net):
    def forward(self, x: Tensor, hx: Optional[Pair] = None) -> Tuple[Tensor, Pair]:  # noqa: UP006, UP045
        y, state = self.rnn(x.unsqueeze(0), hx)
        return self.head(y.squeeze(0)), state


class Flat(Net):
    """h and c as arguments, side by side with what a critic says."""

    def forward(self, obs: Tensor, h_in: Tensor, c_in: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: UP006
        y, (h, c) = self.rnn(obs.unsqueeze(0), (h_in, c_in))
        return self.head(y.squeeze(0)), y.sum(-1), h, c


class Gru(Net):
    def __init__(self) -> None:
        super().__init__("gru")

    def forward(self, obs: Tensor, hidden: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        y, h = self.rnn(obs.unsqueeze(0), hidden)
        return self.head(y.squeeze(0)), h


class CarryFirst(nn.Module):
    """A cell that is written out, in flax's order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mix, self.head = nn.Linear(OBSERVATIONS + UNITS, UNITS), nn.Linear(UNITS, ACTIONS)

    def forward(self, carry: Tensor, x: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        carry = torch.tanh(self.mix(torch.cat([x, carry], -1)))
        return carry, self.head(carry)


class OneVector(nn.Module):
    """No row axis anywhere, and names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.cell, self.head = nn.GRUCell(OBSERVATIONS, UNITS), nn.Linear(UNITS, ACTIONS)

    def forward(self, a: Tensor, b: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        b = self.cell(a.view(1, -1), b.view(1, -1)).view(-1)
        return self.head(b), b


class Two(Net):
    """Two observations and a state."""

    def __init__(self) -> None:
        super().__init__("gru", inputs=7)

    def forward(self, a_vec: Tensor, b_vec: Tensor, h: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        y, h = self.rnn(torch.cat([a_vec, b_vec], -1).unsqueeze(0), h)
        return self.head(y.squeeze(0)), h


class Dictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Linear(7, ACTIONS)

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        return self.net(torch.cat([obs["policy"], obs["height"]], -1))


class Encoders(nn.Module):
    """Two observations, each with its own layer: their sizes are known."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(4, ACTIONS), nn.Linear(5, ACTIONS)

    def forward(self, proprio: Tensor, scan: Tensor) -> Tensor:
        return self.a(proprio) - self.b(scan)


class Counter(nn.Module):
    """A gait clock in an int64 buffer, and a flag."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Linear(OBSERVATIONS + 1, ACTIONS)
        self.register_buffer("t", torch.zeros(1, 1, dtype=torch.long))
        self.register_buffer("begun", torch.zeros(1, 1, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        self.t += 1
        y = self.net(torch.cat([x, torch.sin(0.1 * self.t.float())], 1)) + self.begun.float()
        self.begun = torch.ones_like(self.begun)
        return y

    @torch.jit.export
    def reset(self):
        self.t.zero_()
        self.begun = torch.zeros_like(self.begun)


class Lists(nn.Module):
    """Tensors of lists of numbers that are no literals."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.n, self.flag = 2.0, 3, True
        self.net = nn.Linear(2, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.tensor([self.a, 0.25]) + torch.tensor(x.size(), dtype=torch.float32)
        x = x + torch.tensor([[self.a, 1.0 / self.n]]) + torch.tensor([self.flag, not self.flag])
        return self.net(x * torch.tensor([float(i) for i in range(2)]) + torch.as_tensor([self.n, 1]))


class Talker(nn.Module):
    """A forgotten debug line."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Linear(OBSERVATIONS, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        if y.dim() == 2:
            print("y", y)
        return y


class TracedBuffers(Net):
    """Buffers that `torch.jit.trace` keeps; oneDNN's LSTM takes any width."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.is_lstm = kind == "lstm"
        self.register_buffer("hidden_state", torch.zeros(1, 1, UNITS))
        self.register_buffer("cell_state", torch.zeros(1, 1, UNITS))

    def forward(self, x):
        if self.is_lstm:
            y, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
            self.cell_state[:] = c
        else:
            y, h = self.rnn(x.unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        return self.head(y.squeeze(0))


class Sliced(nn.Module):
    """Takes frames out of an observation that is longer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(20, 32), nn.ELU(), nn.Linear(32, ACTIONS))

    def forward(self, obs_history):
        a, b = obs_history[:, 0:8], obs_history[:, 8:16]
        return self.net(torch.cat([a, b, a[:, 0:4]], dim=1))


class OneSlice(nn.Module):
    """Reads the newest frame of a history: the only width of its matrices runs, and is not the size."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(20, ACTIONS)

    def forward(self, obs_history):
        return self.net(obs_history[:, -20:])


class SlicesWithState(nn.Module):
    """The same with a state."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.head = nn.Linear(20 + UNITS, UNITS), nn.Linear(UNITS, ACTIONS)

    def forward(self, obs, h):
        h = torch.tanh(self.net(torch.cat([obs[:, 0:8], obs[:, 8:16], obs[:, 0:4], h], 1)))
        return self.head(h), h


class NoWayBack(Net):
    """Takes a state and does not give the next."""

    def __init__(self) -> None:
        super().__init__("gru")

    def forward(self, obs: Tensor, hidden: Tensor) -> Tensor:
        return self.head(self.rnn(obs.unsqueeze(0), hidden)[0].squeeze(0))


class LearnedStart(Net):
    """Left out, the state begins with something that was learned."""

    def __init__(self) -> None:
        super().__init__("gru")
        self.start = nn.Parameter(torch.full((1, 1, UNITS), 0.5))

    def forward(self, obs: Tensor, hidden: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:  # noqa: UP006, UP045
        y, h = self.rnn(obs.unsqueeze(0), self.start if hidden is None else hidden)
        return self.head(y.squeeze(0)), h


class OpenKeys(nn.Module):
    """A dictionary whose keys are not in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(7, ACTIONS)

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        return self.net(torch.cat(list(obs.values()), -1))


class WantsNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(7, ACTIONS)

    def forward(self, obs: Tensor, scale: float) -> Tensor:
        return self.net(obs) * scale


class ResetOnGpu(TracedBuffers):
    def __init__(self) -> None:
        super().__init__("gru")

    def forward(self, x: Tensor) -> Tensor:
        y, h = self.rnn(x.unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        return self.head(y.squeeze(0))

    @torch.jit.export
    def reset(self):
        self.hidden_state = torch.zeros(1, 1, 16, device="cuda:0")


class Raises(Net):
    """Raises an error of its own, but not of the zeros that a probe begins with."""

    def __init__(self) -> None:
        super().__init__("gru")

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.abs().max() > 0.5):
            raise RuntimeError("out of range")
        return self.head(self.rnn(x.unsqueeze(0))[0].squeeze(0))
