"""The single-step layers compute what the torch layers compute."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ganglion.policies.scripting.cells import use_fast_cells

torch.set_num_threads(1)

KINDS = {
    "rnn_tanh": lambda *args, **kw: nn.RNN(*args, nonlinearity="tanh", **kw),
    "rnn_relu": lambda *args, **kw: nn.RNN(*args, nonlinearity="relu", **kw),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


def fast(module):
    holder = nn.ModuleDict({"layers": copy.deepcopy(module)}).requires_grad_(False)
    use_fast_cells(holder)
    return holder["layers"]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [None, 1, 4])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}])
def test_fast_cells_equal_torch(kind, layers, rows, options):
    torch.manual_seed(layers)
    module = KINDS[kind](5, 7, layers, **options).eval()
    single_step = fast(module)
    shape = (5,) if rows is None else (rows, 5)
    states = [None, None]
    with torch.no_grad():
        for _ in range(20):
            x = torch.randn(shape).unsqueeze(1 if rows is not None and options.get("batch_first") else 0)
            results = []
            for index, candidate in enumerate((module, single_step)):
                output, states[index] = candidate(x, states[index])
                results.append((output, *(states[index] if kind == "lstm" else (states[index],))))
            for expected, actual in zip(*results, strict=True):
                assert actual.shape == expected.shape
                torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_policy_code_may_still_ask_for_the_torch_class_and_its_attributes():
    layers = fast(nn.LSTM(5, 7, 2))
    assert isinstance(layers, nn.LSTM)
    assert (layers.num_layers, layers.hidden_size, layers.input_size) == (2, 7, 5)
    layers.flatten_parameters()
    assert not list(layers.parameters())  # the original weights are not stored a second time


def test_a_longer_sequence_is_refused():
    with pytest.raises(ValueError, match="sequence length one, not 2"):
        fast(nn.GRU(5, 7))(torch.zeros(2, 1, 5))


def test_a_users_subclass_is_left_alone():
    class Mine(nn.GRU):
        pass

    assert type(fast(Mine(5, 7))) is Mine
