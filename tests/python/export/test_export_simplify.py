"""Data movement is removed, and what is computed stays the same."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from ganglion.export.graph import to_proto
from ganglion.policies.scripting.capture import as_module, capture

torch.set_num_threads(1)


def operators(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def test_packing_and_unpacking_cancel_out():
    def function(h, c):
        flat = torch.cat([h.transpose(0, 1).reshape(1, -1), c.transpose(0, 1).reshape(1, -1)], 1)
        back_h, back_c = (part.reshape(1, 2, 4).permute(1, 0, 2).contiguous() for part in flat.chunk(2, -1))
        return torch.tanh(back_h), torch.sigmoid(back_c)

    program = capture(Function(function), (torch.randn(2, 1, 4), torch.randn(2, 1, 4)))
    assert operators(program) == ["aten.tanh.default", "aten.sigmoid.default"]


def test_a_part_is_taken_directly_from_where_it_was_computed():
    program = capture(Function(lambda x: torch.stack(list(torch.exp(x).unbind(0)))[1].unsqueeze(0).tanh()),
                      (torch.randn(3, 4),))  # fmt: skip
    assert operators(program) == ["aten.exp.default", "aten.slice.Tensor", "aten.tanh.default"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.add_(1.0).reshape(12) * 2.0,  # writes in place: nothing may be moved past it
        lambda x: x.t().reshape(2, 6).tanh(),  # a real transposition
        lambda x: torch.as_strided(torch.cat([x[1:], x[:1]]), (2, 2), (1, 1)).exp(),  # reads the layout in memory
        lambda x: x.expand(2, 3, 4).sum(0),
        lambda x: x.t().contiguous().view(12).exp(),
        lambda x: torch.cat([x[:, 1:], x[:, :1] * 2.0], 1).view(-1)[3:9].view(2, 3).exp(),
        lambda x: torch.stack([x[2], x[0], x[1]]).flip(0).to(torch.float64).to(torch.float32).reshape(2, 6) + 1,
        lambda x: x.reshape(1, 12)[:, 2:7].exp() + x.reshape(12)[3:8],
        lambda x: torch.where(x > 0, x.t().reshape(3, 4), x[[1, 2, 0]]),
        lambda x: x,
        lambda x: (x[0], x[0], x[1:].reshape(8)),
    ],
)
def test_results_stay_the_same(function):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    expected = function(x.clone())
    actual = as_module(capture(Function(function), (x.clone(),)))(x.clone())
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(15))
def test_random_chains_of_movement_stay_the_same(seed):
    generator = np.random.default_rng(seed)

    def moved(x, y, choices):
        for choice, number in choices:
            if choice == 0:
                x = x.transpose(0, 1)
            elif choice == 1:
                divisors = [n for n in (1, 2, 3, 4, 6) if x.numel() % n == 0]
                x = x.reshape(divisors[number % len(divisors)], -1)
            elif choice == 2:
                x = torch.cat([x, y.reshape(-1)[: x.shape[1]].unsqueeze(0)], 0) if x.shape[1] <= 12 else x
            elif choice == 3:
                x = x[:, 1:] if x.shape[1] > 3 else x
            elif choice == 4:
                x = torch.stack(list(x.unbind(0))[::-1])
            else:
                y = torch.tanh(y)
        return torch.exp(x), y, x

    choices = [(int(c), int(n)) for c, n in zip(generator.integers(0, 6, 8), generator.integers(0, 9, 8), strict=True)]
    x, y = torch.randn(3, 4), torch.randn(1, 12)
    graph_module = as_module(capture(Function(lambda x, y: moved(x, y, choices)), (x, y)))
    torch.testing.assert_close(graph_module(x, y), moved(x, y, choices), rtol=0, atol=0)


class Weights(nn.Module):
    """Weights that are moved, one that is not used, and a number that torch takes out of the code as a constant."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(5))
        self.register_buffer("offset", torch.randn(3))

    def forward(self, x):
        both = torch.cat((self.used, self.offset[None])).unbind(0)
        y = x * both[0] + both[2] + torch.tensor([0.5, -0.5, 0.25])
        packed = torch.cat((y, x))
        return packed.split(3)[1], packed[:3].reshape(1, 3), self.used


def test_weights_are_weights_of_the_program_and_nothing_else_is():
    torch.manual_seed(0)
    module, x = Weights().eval(), torch.randn(3)
    program = capture(module, (x,))
    results = [node.name for node in program.graph.output_node().args[0]]
    assert [spec.arg.name for spec in program.graph_signature.output_specs] == results
    expected = module(x)
    torch.testing.assert_close(as_module(program)(x), expected, rtol=0, atol=0)
    model = to_proto(program, (x,), ["x"], ["same", "y", "used"])
    assert [one.name for one in model.graph.input] == ["x"]
    assert [one.name for one in model.graph.output] == ["same", "y", "used"]
    assert not [one for one in model.graph.initializer if list(one.dims) == [5]]
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other.detach().numpy())
