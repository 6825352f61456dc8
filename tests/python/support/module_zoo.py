"""Modules as people write them, each with what `ganglion.wrap` is told of it."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import nn

try:
    import tensordict
except ImportError:
    tensordict = None
from torch.distributions import Categorical, Independent, Normal, TanhTransform, TransformedDistribution

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Case:
    """A module, and what is said and found of it.

    Attributes:
        make: the module, with weights drawn anew.
        said: arguments of `ganglion.wrap`.
        call: how it is called, as the policy prints it.
        state: shapes of the slots by name.
        outputs: sizes of the outputs by name.
        holds: whether the module keeps state in itself.
    """

    make: Callable[[], nn.Module]
    said: dict[str, Any]
    call: str
    state: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    outputs: dict[str, int] = dataclasses.field(default_factory=lambda: {"actions": 3})
    holds: bool = False


class Cell(nn.Module):
    """One step of a small recurrence."""

    def __init__(self, inputs: int = 6, units: int = 8) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(inputs, units), nn.Linear(units, units)
        self.head = nn.Linear(units, 3)

    def new(self, obs, h):
        return torch.tanh(self.inner(obs) + self.outer(h))


class TensorState(Cell):
    def forward(self, obs, state):
        state = self.new(obs, state)
        return self.head(state), state


class TupleState(Cell):
    def forward(self, obs, state):
        h, c = state
        c = 0.5 * c + self.new(obs, h)
        h = torch.tanh(c)
        return self.head(h), (h, c)


class DictionaryState(TupleState):
    def forward(self, obs, state):
        action, (h, c) = super().forward(obs, (state["h"], state["c"]))
        return action, {"h": h, "c": c}


class Arguments(TupleState):
    def forward(self, obs, h, c):
        action, (h, c) = super().forward(obs, (h, c))
        return action, h, c


class KeywordState(Cell):
    def forward(self, obs, scale=1.0, hidden=None):
        hidden = self.new(obs * scale, hidden)
        return self.head(hidden), hidden


class SecondAxis(Cell):
    """The batch axis of the state is its second."""

    def forward(self, obs, state):
        state = self.new(obs, state[:, :, 0].T).T.unsqueeze(2)
        return self.head(state[:, :, 0].T), state


class Counted(Cell):
    """Whole numbers and truth values as state."""

    def forward(self, obs, state):
        count, odd = state
        phase = (count % 5).to(obs.dtype)
        return self.head(torch.tanh(self.inner(obs) * torch.where(odd, phase, -phase))), (count + 1, ~odd)


class Layers(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, layers: int = 1, **options: Any) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 7)
        self.rnn = kind(7, 8, layers, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, obs, state):
        features, state = self.rnn(torch.relu(self.encoder(obs)), state)
        return self.head(features), state


class ImageAndProprio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(3 * 2 * 3 + 4, 3)

    def forward(self, image, proprio):
        return self.head(torch.cat((self.image(image), proprio), -1))


class OfDictionary(ImageAndProprio):
    def forward(self, obs):
        return super().forward(obs["image"], obs["proprio"])


class LstmOfDictionary(nn.Module):
    """A dictionary of observations, an LSTM with a time axis, and a tuple of an action and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 8, batch_first=True)
        self.head, self.value = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, obs, state):
        features, state = self.rnn(torch.cat((obs["goal"], obs["joints"]), -1), state)
        return self.head(features), self.value(features), state


class BesideObservations(Cell):
    def forward(self, given):
        h = self.new(given["obs"], given["h"])
        return {"value": h[:, :1], "action": self.head(h), "h": h}


class OfTensorDict(Cell):
    def forward(self, given):
        h = self.new(torch.cat((given.get("joints"), given.get("goal")), -1), given["h"])
        given.set("action", self.head(h))
        given.set(("next", "h"), h)
        return given


class Buffer(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(1, 8))

    def reset(self):
        self.hidden.zero_()

    def forward(self, obs):
        self.hidden = self.new(obs, self.hidden)
        return self.head(self.hidden)


class BufferInPlace(Buffer):
    """Writes into its buffer; keeps notes that nobody reads; gives a tuple."""

    def forward(self, obs):
        self.hidden.copy_(self.new(obs, self.hidden))
        self.last = self.head(self.hidden)
        return self.last, self.hidden.mean(-1)


class NoneFirst(nn.Module):
    """`self.state` is None until the first step, then `(h, c)`."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(6, 8), nn.Linear(8, 3)
        self.state = None

    def reset(self):
        self.state = None

    def forward(self, obs):
        features, self.state = self.rnn(obs.unsqueeze(0), self.state)
        return self.head(features.squeeze(0))


class ManyEnvironments(Cell):
    """Its state was made for the environments of the training."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.zeros(16, 8)

    def reset(self):
        self.hidden = torch.zeros(16, 8)

    def forward(self, obs):
        self.hidden = self.new(obs, self.hidden)
        return self.head(self.hidden)


class History(nn.Module):
    """The last four frames in a deque, and the last action."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4 * 6 + 3, 3)
        self.reset()

    def reset(self):
        self.frames = collections.deque([torch.zeros(1, 6)] * 4, maxlen=4)
        self.prev_action = torch.zeros(1, 3)

    def forward(self, obs):
        self.frames.append(obs)
        self.prev_action = torch.tanh(self.head(torch.cat((*self.frames, self.prev_action), -1)))
        return self.prev_action


class Within(nn.Module):
    """State in a module inside, beside a state that is an argument, and initial values that are not zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Buffer()
        self.core.register_buffer("hidden", torch.linspace(-1, 1, 8)[None])

    def forward(self, obs, state):
        state = 0.9 * state + 0.1 * obs
        return self.core(state), state


class Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3)
        self.log_std = nn.Parameter(torch.linspace(-1, 0, 3))

    def forward(self, obs):
        return Independent(Normal(self.net(obs), self.log_std.exp()), 1)


class Squashed(Gaussian):
    def forward(self, obs):
        return TransformedDistribution(super().forward(obs), [TanhTransform()]), obs[:, 0]


class Discrete(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 4)

    def forward(self, obs):
        return Categorical(logits=self.net(obs))


class OneHot(nn.Module):
    """A class among the observations, as `one_hot` of a limited index."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5 + 5, 3)

    def classes(self, obs):
        return obs[:, 0].long().clamp(0, 4)

    def forward(self, obs):
        return self.net(torch.cat([nn.functional.one_hot(self.classes(obs), num_classes=5), obs[:, 1:]], -1))


class ClassesInBounds(OneHot):
    """Its bounds keep the class in range: torch would raise of another."""

    def classes(self, obs):
        return obs[:, 0].long()


class TwoBest(nn.Module):
    """Picks by places that are computed; torch wraps negative ones around."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.scores, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(2, 3)

    def forward(self, obs):
        return self.head(torch.take_along_dim(self.values(obs), self.scores(obs).topk(2, -1).indices, -1))


class Attention(nn.Module):
    """Attention over the parts of one observation, and einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(3, 9)
        self.experts, self.gate = nn.Parameter(torch.randn(2, 6, 3)), nn.Linear(6, 2)

    def forward(self, obs):
        q, k, v = self.qkv(obs.reshape(-1, 2, 3)).chunk(3, -1)
        seen = torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q, k).softmax(-1), v).sum(1)
        return seen + torch.einsum("be,bi,eio->bo", self.gate(obs).softmax(-1), obs, self.experts)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.ELU(), nn.LayerNorm(9), nn.Linear(9, 3), nn.Tanh())


_OBS = {"observation": 6}
_HC = {"h": (1, 8), "c": (1, 8)}
_FLAT_HC = {"h": (8,), "c": (8,)}
_PARTS = {"image": (2, 5, 7), "proprio": gymnasium.spaces.Box(-2.0, 2.0, (4,), np.float32)}
_JOINTS = {"joints": 4, "goal": 2}

CASES: dict[str, Case] = {
    "mlp": Case(mlp, _OBS, "forward(obs [batch, 6])"),
    "box": Case(mlp, {"observation": gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)}, "forward(obs [batch, 6])"),
    "attention": Case(Attention, _OBS, "forward(obs [batch, 6])"),
    "state_tensor": Case(
        TensorState, {**_OBS, "state": {"h": (8,)}}, "forward(obs [batch, 6], h [batch, 8])", {"h": (8,)}
    ),
    "state_size": Case(TensorState, {**_OBS, "state": 8}, "forward(obs [batch, 6], h [batch, 8])", {"h": (8,)}),
    "state_values": Case(
        TensorState,
        {**_OBS, "state": {"h": torch.linspace(-1, 1, 8)}},
        "forward(obs [batch, 6], h [batch, 8])",
        {"h": (8,)},
    ),
    "state_tuple": Case(
        TupleState, {**_OBS, "state": _FLAT_HC}, "forward(obs [batch, 6], (h [batch, 8], c [batch, 8]))", _FLAT_HC
    ),
    "state_tuple_without_names": Case(
        TupleState,
        {**_OBS, "state": ((8,), (8,))},
        "forward(obs [batch, 6], (h_0 [batch, 8], h_1 [batch, 8]))",
        {"h_0": (8,), "h_1": (8,)},
    ),
    "state_dictionary": Case(
        DictionaryState,
        {**_OBS, "state": _FLAT_HC},
        "forward(obs [batch, 6], {h [batch, 8], c [batch, 8]})",
        _FLAT_HC,
    ),
    "state_arguments": Case(
        Arguments, {**_OBS, "state": _FLAT_HC}, "forward(obs [batch, 6], h [batch, 8], c [batch, 8])", _FLAT_HC
    ),
    "state_keyword": Case(
        KeywordState, {**_OBS, "state": {"hidden": 8}}, "forward(obs [batch, 6], hidden [batch, 8])", {"hidden": (8,)}
    ),
    "state_keyword_of_another_name": Case(
        KeywordState, {**_OBS, "state": {"h": 8}}, "forward(obs [batch, 6], hidden=h [batch, 8])", {"h": (8,)}
    ),
    "batch_axis_second": Case(
        SecondAxis, {**_OBS, "state": {"h": (8, 1)}}, "forward(obs [batch, 6], h [8, batch, 1])", {"h": (8, 1)}
    ),
    "whole_numbers": Case(
        Counted,
        {**_OBS, "state": {"count": torch.tensor([3]), "odd": torch.tensor([True])}},
        "forward(obs [batch, 6], (count [batch, 1], odd [batch, 1]))",
        {"count": (1,), "odd": (1,)},
    ),
    "lstm": Case(
        Layers,
        {**_OBS, "state": _HC},
        "forward(obs [1, batch, 6], (h [1, batch, 8], c [1, batch, 8]))",
        _HC,
    ),
    "lstm_batch_first": Case(
        lambda: Layers(batch_first=True),
        {**_OBS, "state": _FLAT_HC},
        "forward(obs [batch, 1, 6], (h [1, batch, 8], c [1, batch, 8]))",
        _HC,
    ),
    "gru_of_two_layers": Case(
        lambda: Layers(nn.GRU, 2),
        {**_OBS, "state": {"h": (2, 8)}},
        "forward(obs [1, batch, 6], h [2, batch, 8])",
        {"h": (2, 8)},
    ),
    "bare_lstm": Case(
        lambda: nn.LSTM(6, 8),
        _OBS,
        "forward(obs [1, batch, 6], (h [1, batch, 8], c [1, batch, 8]))",
        _HC,
        {"actions": 8},
    ),
    "bare_gru_batch_first": Case(
        lambda: nn.GRU(6, 8, batch_first=True),
        _OBS,
        "forward(obs [batch, 1, 6], h [1, batch, 8])",
        {"h": (1, 8)},
        {"actions": 8},
    ),
    "bare_rnn": Case(
        lambda: nn.RNN(6, 8, 2), _OBS, "forward(obs [1, batch, 6], h [2, batch, 8])", {"h": (2, 8)}, {"actions": 8}
    ),
    "cell": Case(
        lambda: nn.LSTMCell(6, 8),
        _OBS,
        "forward(obs [batch, 6], (h [batch, 8], c [batch, 8]))",
        _FLAT_HC,
        {"actions": 8},
    ),
    "two_arguments": Case(
        ImageAndProprio, {"observation": _PARTS}, "forward(image [batch, 2, 5, 7], proprio [batch, 4])"
    ),
    "two_arguments_in_another_order": Case(
        ImageAndProprio,
        {"observation": dict(reversed(_PARTS.items()))},
        "forward(proprio [batch, 4], image [batch, 2, 5, 7])",
    ),
    "two_arguments_without_names": Case(
        ImageAndProprio,
        {"observation": tuple(_PARTS.values())},
        "forward(image [batch, 2, 5, 7], proprio [batch, 4])",
    ),
    "dictionary": Case(
        OfDictionary,
        {
            "observation": gymnasium.spaces.Dict(
                {"proprio": _PARTS["proprio"], "image": gymnasium.spaces.Box(0, 1, (2, 5, 7))}
            )
        },
        "forward(dictionary of image [batch, 2, 5, 7], proprio [batch, 4])",
    ),
    "lstm_of_dictionary": Case(
        LstmOfDictionary,
        {"observation": {"joints": 3, "goal": 2}, "state": _HC},
        "forward(dictionary of joints [batch, 1, 3], goal [batch, 1, 2], (h [1, batch, 8], c [1, batch, 8]))",
        _HC,
        {"actions": 3, "output_1": 1},
    ),
    "state_beside_observations": Case(
        BesideObservations,
        {"observation": {"obs": 6}, "state": {"h": 8}},
        "forward(dictionary of obs [batch, 6], h [batch, 8])",
        {"h": (8,)},
        {"action": 3, "value": 1},
    ),
    "buffer": Case(Buffer, _OBS, "forward(obs [batch, 6])", {"hidden": (8,)}, holds=True),
    "buffer_in_place_with_tuple": Case(
        BufferInPlace, _OBS, "forward(obs [batch, 6])", {"hidden": (8,)}, {"actions": 3, "output_1": 1}, holds=True
    ),
    "none_first": Case(NoneFirst, _OBS, "forward(obs [batch, 6])", {"state_0": (1, 8), "state_1": (1, 8)}, holds=True),
    "many_environments": Case(ManyEnvironments, _OBS, "forward(obs [batch, 6])", {"hidden": (8,)}, holds=True),
    "history": Case(
        History,
        _OBS,
        "forward(obs [batch, 6])",
        {"frames_1": (6,), "frames_2": (6,), "frames_3": (6,), "prev_action": (3,)},
        holds=True,
    ),
    "within": Case(
        Within,
        {**_OBS, "state": {"smooth": torch.linspace(1, 2, 6)}},
        "forward(obs [batch, 6], smooth [batch, 6])",
        {"smooth": (6,), "core_hidden": (8,)},
        holds=True,
    ),
    "gaussian": Case(Gaussian, _OBS, "forward(obs [batch, 6])", outputs={"mean": 3, "log_std": 3}),
    "squashed": Case(Squashed, _OBS, "forward(obs [batch, 6])", outputs={"actions": 3, "output_1": 1}),
    "categorical": Case(Discrete, _OBS, "forward(obs [batch, 6])", outputs={"actions": 1, "logits": 4}),
}
CASES |= {
    "one_hot": Case(OneHot, _OBS, "forward(obs [batch, 6])"),
    "classes_in_bounds": Case(
        ClassesInBounds,
        {"observation": gymnasium.spaces.Box(np.float32([0.0, *[-1.0] * 5]), np.float32([4.9, *[1.0] * 5]))},
        "forward(obs [batch, 6])",
    ),
    "two_best": Case(TwoBest, _OBS, "forward(obs [batch, 6])"),
}
if tensordict is not None:
    CASES["tensordict"] = Case(
        OfTensorDict,
        {"observation": _JOINTS, "state": {"h": 8}},
        "forward(TensorDict of joints [batch, 4], goal [batch, 2], h [batch, 8])",
        {"h": (8,)},
        {"action": 3},
    )
