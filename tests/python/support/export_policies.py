"""Policies and helpers of the export tests."""

from __future__ import annotations

import gymnasium
import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ganglion.compiler import file
from ganglion.compiler.interpreter import Interpreter
from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.policies import EnvSpec, RecurrentPolicy

torch.set_num_threads(1)

FORMATS = [".pt", ".onnx", ".ganglion"]
OBSERVATIONS, ACTIONS = 5, 2
SPEC = EnvSpec(
    gymnasium.spaces.Box(-2.0, 2.0, (OBSERVATIONS,), np.float32),
    gymnasium.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32),
)


class EncoderGruPolicy(RecurrentPolicy):
    """A user's own policy: encoder, batch-first GRU, two outputs, the previous action in the state, nonzero start."""

    def __init__(self, spec=SPEC, hidden=6):
        super().__init__(spec)
        self.encoder = nn.Sequential(nn.Linear(spec.observation_size + spec.action_size, 7), nn.ELU(), nn.Dropout(0.5))
        self.memory = nn.GRU(7, hidden, num_layers=2, batch_first=True, bias=False)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(hidden, spec.action_size))
        self.value = nn.Linear(hidden, 1)
        self.start = nn.Parameter(torch.linspace(-0.5, 0.5, 2 * hidden))

    @property
    def state_layout(self):
        return (
            StateSlot("h", (2, self.memory.hidden_size)),
            StateSlot("prev_action", (self.env_spec.action_size,)),
        )

    @property
    def output_specs(self):
        return (*super().output_specs, TensorSpec("value", 1))

    def init_hidden(self, batch_size=None):
        start = torch.cat((self.start.detach(), torch.full((self.env_spec.action_size,), 0.25).to(self.start)))
        return start.clone() if batch_size is None else start.repeat(batch_size, 1)

    def forward(self, obs, hidden=None):
        if hidden is None:
            hidden = self.init_hidden(None if obs.dim() == 1 else obs.shape[0])
        if obs.dim() == 1:
            return tuple(result[0] for result in self.forward(obs.unsqueeze(0), hidden.unsqueeze(0)))
        size = 2 * self.memory.hidden_size
        state, previous = hidden[:, :size], hidden[:, size:]
        state = state.reshape(-1, 2, self.memory.hidden_size).transpose(0, 1).contiguous()
        features, state = self.memory(self.encoder(torch.cat((obs, previous), dim=1)).unsqueeze(1), state)
        action = torch.tanh(self.head(features[:, 0]))
        new_hidden = torch.cat((state.transpose(0, 1).reshape(-1, size), action), dim=1)
        return action, self.value(features[:, 0]), new_hidden


class MemorylessPolicy(RecurrentPolicy):
    """No state at all: `hidden_size` is 0."""

    def __init__(self, spec=SPEC):
        super().__init__(spec)
        self.layer = nn.Linear(spec.observation_size, spec.action_size)

    @property
    def state_layout(self):
        return ()

    def forward(self, obs, hidden=None):
        return self.layer(obs), self.init_hidden(None if obs.dim() == 1 else obs.shape[0]) if hidden is None else hidden


class LastActionPolicy(RecurrentPolicy):
    """The state is the action itself: the same tensor is output and new state."""

    def __init__(self, spec=SPEC):
        super().__init__(spec)
        self.layer = nn.Linear(spec.observation_size + spec.action_size, spec.action_size)

    @property
    def state_layout(self):
        return (StateSlot("prev_action", (self.env_spec.action_size,)),)

    def forward(self, obs, hidden=None):
        if hidden is None:
            hidden = self.init_hidden(None if obs.dim() == 1 else obs.shape[0])
        action = torch.tanh(self.layer(torch.cat((obs, hidden), -1)))
        return action, action


class ModulePolicy(RecurrentPolicy):
    """A linear policy with a module of the test's choice behind it, at the path `body.inner`."""

    def __init__(self, inner, spec=SPEC):
        super().__init__(spec)
        self.body = nn.Sequential()
        self.body.add_module("layer", nn.Linear(spec.observation_size, spec.action_size))
        self.body.add_module("inner", inner)

    @property
    def state_layout(self):
        return (StateSlot("h", (1, 3)),)

    def forward(self, obs, hidden=None):
        if hidden is None:
            hidden = self.init_hidden(None if obs.dim() == 1 else obs.shape[0])
        return self.body(obs), 0.5 * hidden


@torch.no_grad()
def run_policy(policy, observations, resets):
    """Actions `[steps, action_size]` of the Python policy, unbatched, in float32."""
    hidden = policy.init_hidden()
    actions = []
    for observation, reset in zip(observations, resets, strict=True):
        if reset:
            hidden = policy.init_hidden()
        action, *_, hidden = policy(torch.from_numpy(observation), hidden)
        actions.append(action.numpy())
    return np.stack(actions)


def trajectory(steps, seed=0, size=OBSERVATIONS):
    generator = np.random.default_rng(seed)
    return generator.uniform(-2, 2, (steps, size)).astype(np.float32), generator.random(steps) < 0.01


def onnx_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_file(path, contract, observations, resets):
    """Actions `[steps, action_size]` of an exported file in its own Python engine, as a plain user would run it."""
    actions = []
    if path.suffix == ".pt":
        module = torch.jit.load(str(path))
        with torch.inference_mode():
            for observation, reset in zip(observations, resets, strict=True):
                if reset:
                    module.reset()
                actions.append(module(torch.from_numpy(observation)).numpy())
        return np.stack(actions)
    if path.suffix == ".ganglion":
        program = Interpreter(file.read(path)[0])
        ran = program.run(contract.initial_state, observations[:, None], resets[:, None])
        return ran[:, 0, : contract.action_size]
    session = onnx_session(path)
    shapes = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    initial, first = {}, 0
    for slot in contract.state:
        values = np.asarray(contract.initial_state[first : first + slot.size], np.float32)
        initial[f"{slot.name}_in"] = values.reshape(shapes[f"{slot.name}_in"])
        first += slot.size
    names = [tensor.name for tensor in session.get_outputs()]
    state = initial
    for observation, reset in zip(observations, resets, strict=True):
        result = dict(
            zip(names, session.run(names, {"obs": observation[None], **(initial if reset else state)}), strict=True)
        )
        state = {f"{slot.name}_in": result[f"{slot.name}_out"] for slot in contract.state}
        actions.append(result["actions"][0])
    return np.stack(actions)


def stored_contract(path):
    if path.suffix == ".pt":
        extra = {"ganglion.json": ""}
        torch.jit.load(str(path), _extra_files=extra)
        return Contract.from_json(extra["ganglion.json"].decode())
    if path.suffix == ".ganglion":
        return file.read(path)[1]
    (entry,) = [entry for entry in onnx.load(path).metadata_props if entry.key == "ganglion"]
    return Contract.from_json(entry.value)
