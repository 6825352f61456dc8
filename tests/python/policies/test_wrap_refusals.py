"""What `ganglion.wrap` refuses, each with a fault that people make: the module, why, and what to do."""

from __future__ import annotations

import collections
import warnings

import numpy as np
import pytest
import torch
from module_zoo import Buffer, Cell, Layers, TensorState, mlp
from torch import nn
from torch.nn import functional as F  # noqa: N812

import ganglion
from ganglion.errors import ExportError, UnsupportedModuleError


class Around(nn.Module):
    """An MLP whose middle does what a test says."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.middle = Middle(middle)

    def forward(self, obs):
        return self.last(self.middle(self.first(obs)))


class Middle(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def branches(x):
    if x.sum() > 0:
        return x
    return -x


AROUND = {
    "dropout": (lambda x: F.dropout(x, 0.5), r"'middle'.*draws random numbers.*test_wrap_refusals\.py line \d+"),
    "noise": (lambda x: x + torch.randn_like(x), r"'middle'.*draws random numbers"),
    "noise_of_numpy": (lambda x: x + float(np.random.rand()), "two steps from the same state.*differ"),
    "no_class": (
        lambda x: F.one_hot(x.long(), 5).sum(-1).float(),
        r"Class values.*torch\.clamp.*bounds of the observation",
    ),
    "how_many_classes": (
        lambda x: F.one_hot(x.long().abs()).sum(-1).float(),
        r"value of a tensor in Python, test_wrap_ref",
    ),
    "no_row": (lambda x: F.embedding(x.long(), torch.ones(4, 1))[..., 0], r"out of range.*torch\.clamp.*bounds of the"),
    "branch": (branches, r"'middle'.*value of a tensor in Python, test_wrap_refusals\.py line \d+.*torch\.where"),
    "item": (lambda x: x * x.max().item(), "'middle'.*value of a tensor in Python"),
    "mean_of_batch": (lambda x: x - x.mean(0), "'middle'.*every row for itself.*dim=-1"),
    "batch_norm": (
        lambda x: F.batch_norm(x, None, None, training=True),
        "'middle'.*(every row for itself|one row|raised)",
    ),
    "first_row": (lambda x: x + x[:1], "'middle'.*every row for itself"),
    "sorted_rows": (lambda x: x.sort(0).values, "'middle'.*every row for itself"),
    "view": (lambda x: x.view(1, -1), "raised RuntimeError"),
    "cuda": (lambda x: x + torch.zeros(6, device="cuda"), "'middle'.*raised.*device=obs.device"),
    "meta": (lambda x: x + torch.zeros(6, device="meta"), "(device|middle)"),
    "float64": (lambda x: x.double(), "raised RuntimeError.*dtype=obs.dtype"),
    "ignored": (torch.ones_like, "observation 'obs' never changes an output"),
    "nothing": (lambda _: None, "'last'.*raised TypeError"),
}


@pytest.mark.parametrize("name", AROUND)
def test_a_fault_in_a_module_is_named(name):
    function, expected = AROUND[name]
    with pytest.raises(UnsupportedModuleError, match=expected):
        ganglion.wrap(Around(function), 6)


def test_float64_that_comes_out():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Middle(lambda x: x * torch.tensor([2.0], dtype=torch.float64))

        def forward(self, obs):
            return self.inner(obs)

    with pytest.raises(UnsupportedModuleError, match=r"'inner': gives 'actions' in float64.*dtype=obs\.dtype"):
        ganglion.wrap(Doubled(), 6)


def test_a_state_without_effect():
    class Deaf(TensorState):
        def forward(self, obs, state):
            return self.head(torch.tanh(self.inner(obs))), self.new(obs, state)

    with pytest.raises(UnsupportedModuleError, match="state 'h' never changes an output"):
        ganglion.wrap(Deaf(), 6, {"h": 8})


def test_one_of_two_observations_without_effect():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, obs, goal):  # noqa: ARG002
            return self.net(obs)

    with pytest.raises(UnsupportedModuleError, match="observation 'goal' never changes an output"):
        ganglion.wrap(Blind(), {"obs": 6, "goal": 2})


def test_a_memory_that_begins_anew():
    class Forgets(Layers):
        def forward(self, obs):
            return self.head(self.rnn(torch.relu(self.encoder(obs)).unsqueeze(0))[0].squeeze(0))

    with pytest.raises(UnsupportedModuleError, match=r"'rnn': LSTM is called without a state.*\"h\": \(1, 8\), \"c\""):
        ganglion.wrap(Forgets(), 6)


def test_a_state_that_was_not_said():
    class Optional(Cell):
        def forward(self, obs, hidden=None):
            hidden = self.new(obs, obs.new_zeros(len(obs), 8) if hidden is None else hidden)
            return self.head(hidden), hidden

    with pytest.raises(UnsupportedModuleError, match=r"takes 'hidden' and returns it.*state=\{\"hidden\": \(8,\)\}"):
        ganglion.wrap(Optional(), 6)
    assert ganglion.wrap(Optional(), 6, {"hidden": (8,)}).hidden_size == 8


class Counts(Buffer):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, obs):
        self.steps += 1
        return super().forward(obs) / self.steps


class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.seen = mlp(), []

    def forward(self, obs):
        self.seen.append(obs)
        return self.net(sum(self.seen))


class Numpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.filter = mlp(), np.zeros(6, np.float32)

    def forward(self, obs):
        self.filter = 0.9 * self.filter + 0.1
        return self.net(obs + torch.from_numpy(self.filter))


class FirstFrame(nn.Module):
    """Fills its history with the first observation."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(18, 3)
        self.reset()

    def reset(self):
        self.frames = collections.deque(maxlen=3)

    def forward(self, obs):
        self.frames.extend([obs] * (1 if self.frames else 3))
        return self.net(torch.cat(tuple(self.frames), -1))


class WithoutBatch(Cell):
    def __init__(self):
        super().__init__()
        self.hidden = torch.zeros(8)

    def forward(self, obs):
        self.hidden = self.new(obs, self.hidden)[0]
        return self.head(self.hidden)[None]


_ELSEWHERE = {}


class Elsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, obs):
        _ELSEWHERE["last"] = 0.5 * _ELSEWHERE.get("last", torch.zeros(1, 6)) + obs
        return self.net(_ELSEWHERE["last"])


HOLDS = {
    Counts: r"self\.steps is a int that changes.*outside of tensors.*register_buffer",
    Grows: r"self\.seen has tensors that come.*torch\.roll",
    Numpy: r"self\.filter is a ndarray that changes.*outside of tensors",
    FirstFrame: r"first step is another than one from zeros in self\.frames",
    WithoutBatch: r"keeps state without a batch axis in self\.hidden \[8\].*\[1, 8\]",
    Elsewhere: "two steps from the same state.*differ",
}


@pytest.mark.parametrize("kind", HOLDS, ids=lambda kind: kind.__name__)
def test_state_that_cannot_become_a_slot(kind):
    with pytest.raises(UnsupportedModuleError, match=HOLDS[kind]):
        ganglion.wrap(kind(), 6)


def test_what_the_call_does_not_take():
    with pytest.raises(
        UnsupportedModuleError, match=r"forward\(obs \[batch, 7\]\) raised RuntimeError.*without the batch axis"
    ):
        ganglion.wrap(mlp(), 7)
    with pytest.raises(UnsupportedModuleError, match=r"state 'h' with shape \[5, 8\]|raised"):
        ganglion.wrap(TensorState(), 6, {"h": 9})
    with pytest.raises(UnsupportedModuleError, match="'state'"):
        ganglion.wrap(TensorState(), 6)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"observation": 0}, ValueError, "without elements"),
        ({"observation": "6"}, TypeError, "expected a size"),
        ({"observation": torch.zeros(6)}, TypeError, "not values"),
        ({"observation": {}}, TypeError, "names"),
        ({"observation": True}, TypeError, "expected a size"),
        ({"observation": 6, "state": {"h": torch.tensor([float("nan")] * 8)}}, ValueError, "finite"),
        ({"observation": 6, "distribution": "sample"}, ValueError, "'mean' or 'mode'"),
    ],
    ids=str,
)
def test_arguments(said, error, words):
    with pytest.raises(error, match=words):
        ganglion.wrap(TensorState() if "state" in said else mlp(), **said)


def test_no_module():
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, not function"):
        ganglion.wrap(lambda obs: obs, 6)
    with pytest.raises(TypeError, match="the class Cell"):
        ganglion.wrap(Cell, 6)
    with pytest.raises(TypeError, match="RecurrentPolicy already"):
        ganglion.wrap(ganglion.wrap(mlp(), 6), 6)


def test_training_mode_is_said_and_not_exported(tmp_path):
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    with pytest.warns(UserWarning, match=r"'1' \(BatchNorm1d\), '2' \(Dropout\).*eval mode"):
        policy = ganglion.wrap(module, 6)
    assert module.training
    ganglion.export(policy, tmp_path / "policy.ganglion")
    obs = torch.linspace(-1, 1, 6)
    expected = module.eval()(obs[None])[0].detach().numpy()
    np.testing.assert_allclose(ganglion.load(tmp_path / "policy.ganglion").step(obs.numpy()), expected, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ganglion.wrap(module, 6)


def test_weights_in_float64_are_said():
    with pytest.warns(UserWarning, match="weights of float64"):
        ganglion.wrap(mlp().double(), 6)


def test_the_proof_beside_the_original_sees_what_nobody_found():
    # A state that shows itself in the 20th step only: nothing of two steps or of their influences tells it.
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.calls = LateCounter()

        def forward(self, obs):
            return self.net(obs) + self.calls()

    with pytest.raises(ExportError, match=r"at step .* its output 'actions' differs"):
        ganglion.wrap(Late(), 6)


class LateCounter:
    """Callable, so that nobody looks inside; counts."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return float(self.count % 32 > 20)


def test_export_takes_a_module_without_memory(tmp_path):
    path = tmp_path / "policy.ganglion"
    ganglion.export(mlp(), path, observation_size=6)
    assert ganglion.load(path).contract.observation_size == 6
    with pytest.raises(
        TypeError, match=r"ganglion\.wrap\(module, observation=\.\.\., state=\.\.\.\).*observation_size"
    ):
        ganglion.export(mlp(), path)
    with pytest.raises(ValueError, match="observation_size is 7"):
        ganglion.export(ganglion.wrap(mlp(), 6), path, observation_size=7)


def test_nothing_is_written_of_a_module_that_went_wrong_after_it_was_wrapped(tmp_path):
    module = Around(torch.tanh)
    policy = ganglion.wrap(module, 6)
    module.middle.function = lambda x: x + torch.randn_like(x)
    with pytest.raises(ExportError):
        ganglion.export(policy, tmp_path / "policy.ganglion")
    assert not list(tmp_path.iterdir())
