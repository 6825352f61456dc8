"""TorchScript files as other trainers write them: rsl_rl's own exporter, and three that are re-created here.

The re-created classes do what their originals do, attribute by attribute, because the names of buffers, submodules and
methods are what a file is recognised by:

* `IsaacLabExporter`: `_TorchPolicyExporter` of Isaac Lab, `isaaclab_rl/rsl_rl/exporter.py` (versions 1.x and 2.x, for
  rsl_rl 2.x and 3.x). Its `self.reset = self.reset_memory` hides the exported `reset` from `torch.jit.script`, so the
  recurrent files have no method but `forward`.
* `LeggedGymExporter`: `PolicyExporterLSTM` of legged_gym, `legged_gym/utils/helpers.py`.
* `PyradoNetwork`: `StatefulRecurrentNetwork` of Pyrado, `pyrado/policies/recurrent/base.py`, around a policy with the
  packing of `default_unpack_hidden` and `default_pack_hidden` of the same file.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, method-assign"

# No "from __future__ import annotations" here: torch.jit.script reads the annotations of the classes as types.
import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rsl_rl.models.mlp_model import MLPModel
from rsl_rl.models.rnn_model import RNNModel
from tensordict import TensorDict
from torch import Tensor, nn

OBSERVATIONS, ACTIONS, UNITS = 5, 2, 12


def save(module: nn.Module, path: Path) -> Path:
    """Scripts and saves a module."""
    torch.jit.script(module).save(str(path))
    return path


def rsl_rl_model(kind: str, layers: int = 1, normalised: bool = True) -> nn.Module:
    """A model of rsl_rl 5.5.1 (`"lstm"`, `"gru"` or `"mlp"`) with statistics in its normaliser."""
    observations = TensorDict({"policy": torch.zeros(1, OBSERVATIONS)}, batch_size=[1])
    common = {"hidden_dims": [16], "obs_normalization": normalised}
    arguments = (observations, {"actor": ["policy"]}, "actor", ACTIONS)
    model: Any
    if kind == "mlp":
        model = MLPModel(*arguments, **common)
    else:
        model = RNNModel(*arguments, **common, rnn_type=kind, rnn_hidden_dim=UNITS, rnn_num_layers=layers)
    if normalised:
        for _ in range(20):
            batch = {"policy": 0.3 + 1.7 * torch.randn(32, OBSERVATIONS)}
            model.update_normalization(TensorDict(batch, batch_size=[32]))
    model.eval()
    return model


def write_rsl_rl(path: Path, kind: str, layers: int = 1, normalised: bool = True) -> Path:
    """What `OnPolicyRunner.export_policy_to_jit` of rsl_rl 5.5.1 does with its model."""
    model: Any = rsl_rl_model(kind, layers, normalised)
    return save(model.as_jit().to("cpu"), path)


def actor_critic(kind: str | None, layers: int = 1) -> Any:
    """What the exporters of rsl_rl 1.x to 3.x read of an `ActorCritic` or `ActorCriticRecurrent`."""
    actor = nn.Sequential(nn.Linear(UNITS if kind else OBSERVATIONS, 16), nn.ELU(), nn.Linear(16, ACTIONS))
    found = SimpleNamespace(actor=actor, is_recurrent=kind is not None)
    if kind:
        found.memory_a = SimpleNamespace(rnn={"lstm": nn.LSTM, "gru": nn.GRU}[kind](OBSERVATIONS, UNITS, layers))
    return found


class EmpiricalNormalization(nn.Module):
    """The normaliser of rsl_rl 2.x, `rsl_rl/modules/normalizer.py`: it learns inside of `forward` while in training."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.eps = 1e-2
        self.register_buffer("_mean", torch.linspace(-1.0, 1.0, size).unsqueeze(0))
        self.register_buffer("_var", torch.linspace(0.5, 2.0, size).unsqueeze(0))
        self.register_buffer("_std", torch.linspace(0.5, 2.0, size).sqrt().unsqueeze(0))
        self.register_buffer("count", torch.tensor(640, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += x.shape[0]
            self._mean += x.shape[0] / self.count * (x.mean(dim=0, keepdim=True) - self._mean)
        return (x - self._mean) / (self._std + self.eps)


class IsaacLabExporter(nn.Module):
    """`_TorchPolicyExporter` of Isaac Lab; with `kind` None for a policy without memory."""

    def __init__(self, kind: str | None, layers: int = 1) -> None:
        super().__init__()
        policy = actor_critic(kind, layers)
        self.is_recurrent = policy.is_recurrent
        self.actor = copy.deepcopy(policy.actor)
        if self.is_recurrent:
            self.rnn = copy.deepcopy(policy.memory_a.rnn)
            self.rnn_type = type(self.rnn).__name__.lower()
            self.register_buffer("hidden_state", torch.zeros(self.rnn.num_layers, 1, self.rnn.hidden_size))
            if self.rnn_type == "lstm":
                self.register_buffer("cell_state", torch.zeros(self.rnn.num_layers, 1, self.rnn.hidden_size))
            self.forward = self.forward_lstm if self.rnn_type == "lstm" else self.forward_gru
            self.reset = self.reset_memory
        self.normalizer = EmpiricalNormalization(OBSERVATIONS)

    def forward_lstm(self, x):
        x = self.normalizer(x)
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        x = x.squeeze(0)
        return self.actor(x)

    def forward_gru(self, x):
        x = self.normalizer(x)
        x, h = self.rnn(x.unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        x = x.squeeze(0)
        return self.actor(x)

    def forward(self, x):
        return self.actor(self.normalizer(x))

    @torch.jit.export
    def reset(self):
        pass

    def reset_memory(self):
        self.hidden_state[:] = 0.0


class LeggedGymExporter(nn.Module):
    """`PolicyExporterLSTM` of legged_gym."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        policy = actor_critic("lstm", layers)
        self.actor = copy.deepcopy(policy.actor)
        self.is_recurrent = policy.is_recurrent
        self.memory = copy.deepcopy(policy.memory_a.rnn)
        self.register_buffer("hidden_state", torch.zeros(self.memory.num_layers, 1, self.memory.hidden_size))
        self.register_buffer("cell_state", torch.zeros(self.memory.num_layers, 1, self.memory.hidden_size))

    def forward(self, x):
        out, (h, c) = self.memory(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(out.squeeze(0))

    @torch.jit.export
    def reset_memory(self):
        self.hidden_state[:] = 0.0
        self.cell_state[:] = 0.0


class PyradoPolicy(nn.Module):
    """A GRU policy in Pyrado's form: `forward(obs, hidden)` on one flat hidden vector, not zero at the start."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.rnn_layers = nn.GRU(OBSERVATIONS, UNITS, layers)
        self.output_layer = nn.Linear(UNITS, ACTIONS)
        self.init = nn.Parameter(0.1 * torch.ones(layers * UNITS))

    def init_hidden(self) -> Tensor:
        return self.init.detach().clone()

    def forward(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        unpacked = hidden.view(self.layers, 1, UNITS)
        out, new_hidden = self.rnn_layers(obs.view(1, 1, -1), unpacked)
        action = torch.tanh(self.output_layer(out.view(1, -1)))
        return action.squeeze(0), new_hidden.view(self.layers * UNITS)


class PyradoNetwork(nn.Module):
    """`StatefulRecurrentNetwork` of Pyrado."""

    input_size: int
    output_size: int

    def __init__(self, net: PyradoPolicy) -> None:
        super().__init__()
        self.input_size = OBSERVATIONS
        self.output_size = ACTIONS
        hidden = net.init_hidden()
        buffer = torch.zeros_like(hidden)
        buffer.data.copy_(hidden.data)
        self.register_buffer("hidden", buffer)
        inputs = {"forward": (torch.rand(OBSERVATIONS).to(hidden), buffer.to(hidden)), "init_hidden": ()}
        self.net = torch.jit.trace_module(net, inputs)

    @torch.jit.export
    def reset(self):
        self.hidden.data.copy_(self.net.init_hidden().data)

    def forward(self, inp):
        out, hid = self.net(inp, self.hidden)
        self.hidden.data.copy_(hid.data)
        return out


def pyrado(layers: int = 1, double: bool = False) -> PyradoNetwork:
    """A Pyrado network; with `double` all of it in float64, as after `set_default_dtype(float64)`."""
    policy = PyradoPolicy(layers)
    return PyradoNetwork(policy.double() if double else policy)


class Recurrent(nn.Module):
    """A small policy that does one thing wrong; the rest of this file's classes say what."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(OBSERVATIONS + UNITS, UNITS)
        self.head = nn.Linear(UNITS, ACTIONS)
        self.register_buffer("hidden_state", torch.zeros(1, 1, UNITS))

    def advance(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.cell(torch.cat((x, self.hidden_state[0]), dim=1)))
        self.hidden_state[:] = h.unsqueeze(0)
        return self.head(h)


class ResetsHalf(Recurrent):
    """`reset` forgets one of two buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cell_state", torch.zeros(1, 1, UNITS))

    def forward(self, x: Tensor) -> Tensor:
        self.cell_state[:] = self.cell_state + x.mean()
        return self.advance(x) + self.cell_state.mean()

    @torch.jit.export
    def reset(self) -> None:
        self.hidden_state[:] = 0.0


class Random(Recurrent):
    """Draws its action."""

    def forward(self, x: Tensor) -> Tensor:
        return self.advance(x) + torch.randn(2)


class HiddenCounter(Recurrent):
    """Keeps state in an attribute that is no tensor."""

    steps: int

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return self.advance(x) + float(self.steps)


class TensorCounter(Recurrent):
    """Counts its steps in a buffer of complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(1, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return self.advance(x)


class LearnsAlways(Recurrent):
    """Updates its normaliser in every step, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(1, OBSERVATIONS))

    def forward(self, x: Tensor) -> Tensor:
        self.running_mean += 0.01 * (x - self.running_mean)
        return self.advance(x - self.running_mean)


class TwoArguments(Recurrent):
    """Wants a number beside the observation."""

    def forward(self, x: Tensor, command: float) -> Tensor:
        return self.advance(x + command)


class ReturnsPair(Recurrent):
    """Returns the action and a value."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        action = self.advance(x)
        return action, action.sum()


class AnySize(nn.Module):
    """Takes observations of every size that it has a matrix for."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Linear(7, ACTIONS), nn.Linear(4, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 7:
            return self.large(x)
        return self.small(x)


class OneRow(Recurrent):
    """Right for one row, silently wrong for several."""

    def forward(self, x: Tensor) -> Tensor:
        action = self.advance(x)
        return action - action.mean(dim=0, keepdim=True) * float(x.shape[0] - 1)

    @torch.jit.export
    def reset(self) -> None:
        self.hidden_state[:] = 0.0


class KeepsObservation(nn.Module):
    """Keeps the very tensor that it was given: the action is the change since the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(OBSERVATIONS, ACTIONS)
        self.register_buffer("last", torch.zeros(1, OBSERVATIONS))
        self.register_buffer("initial", torch.zeros(1, OBSERVATIONS))

    def forward(self, x: Tensor) -> Tensor:
        action = self.head(x - self.last)
        self.last = x
        return action

    @torch.jit.export
    def reset(self) -> None:
        self.last = self.initial


class Split(nn.Module):
    """Its observation is longer than any matrix inside: 3 elements and 6 of a history."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(6, 4), nn.Linear(7, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat((x[:, :3], self.encoder(x[:, 3:])), dim=1))


class StartsInfinite(Recurrent):
    """Its initial state is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_state[:] = float("inf")

    def forward(self, x: Tensor) -> Tensor:
        return self.advance(x)


class Divides(Recurrent):
    """Its action is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return self.advance(x) / 0.0


class NoForward(nn.Module):
    """Has another method than everyone looks for."""

    @torch.jit.export
    def act(self, x: Tensor) -> Tensor:
        return x


class Endless(nn.Module):
    """Takes no observation that anybody would try."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] > 10000, "too short"
        return x


class Decides(Recurrent):
    """Goes one way or the other by the values of the observation."""

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0.0):
            return self.advance(x)
        return -self.advance(x)
