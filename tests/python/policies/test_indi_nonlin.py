from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from ganglion.policies.pyrado.indi_nonlin import IndiNonlinLayer

LIST = ["sigmoid", torch.tanh, nn.ReLU()]


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (0, 3)])
@pytest.mark.parametrize(("bias", "weight"), [(True, True), (True, False), (False, True), (False, False)])
def test_formula(shape: tuple[int, ...], bias: bool, weight: bool) -> None:
    x = torch.randn(shape)
    one, many = (IndiNonlinLayer(3, nonlin, bias, weight) for nonlin in (torch.tanh, LIST))
    for layer in (one, many):
        assert list(dict(layer.named_parameters())) == ["weight"] * weight + ["bias"] * bias
    z = {layer: (layer.weight if weight else 1.0) * (x + (layer.bias if bias else 0.0)) for layer in (one, many)}
    torch.testing.assert_close(one(x), torch.tanh(z[one]))
    columns = z[many].unbind(-1)
    expected = [torch.sigmoid(columns[0]), torch.tanh(columns[1]), torch.relu(columns[2])]
    torch.testing.assert_close(many(x), torch.stack(expected, -1))


def test_gradient_agrees_with_finite_differences() -> None:
    layer = IndiNonlinLayer(3, [torch.sigmoid, torch.tanh, "softplus"], bias=True).double()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_modules_in_a_list_keep_their_parameters() -> None:
    layer = IndiNonlinLayer(2, [nn.PReLU(init=0.5), torch.tanh], bias=False)
    assert list(dict(layer.named_parameters())) == ["weight", "nonlin_modules.0.weight"]
    twin = copy.deepcopy(layer)
    twin.nonlin_modules[0].weight.data.fill_(0.25)
    layer.weight.data.fill_(1.0)
    twin.weight.data.fill_(1.0)
    assert layer(-torch.ones(2))[0].item() == -0.5
    assert twin(-torch.ones(2))[0].item() == -0.25


def test_a_function_of_a_list_sees_its_element_only() -> None:
    layer = IndiNonlinLayer(2, [nn.Softmax(dim=-1), torch.tanh], bias=False)
    assert layer(torch.randn(4, 2))[:, 0].tolist() == [1.0] * 4


def test_initial_values() -> None:
    torch.manual_seed(0)
    layer = IndiNonlinLayer(10_000, torch.tanh, bias=True)
    for param in (layer.weight, layer.bias):
        assert abs(param.mean().item()) < 4.0 / math.sqrt(10_000) / 100.0
        assert param.std().item() == pytest.approx(0.01, rel=0.05)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="2 nonlinearities for 3 elements"):
        IndiNonlinLayer(3, [torch.tanh, torch.tanh], bias=True)
    with pytest.raises(TypeError, match="a name, a function or a module, not 3"):
        IndiNonlinLayer(3, [torch.tanh, 3, torch.tanh], bias=True)
    with pytest.raises(ValueError, match="unknown nonlinearity 'zeros'"):
        IndiNonlinLayer(3, "zeros", bias=True)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        IndiNonlinLayer(0, torch.tanh, bias=True)
    layer = IndiNonlinLayer(3, torch.tanh, bias=True)
    with pytest.raises(ValueError, match=r"got shape \(3, 1\); expected \[\.\.\., 3\]"):
        layer(torch.zeros(3, 1))
    with pytest.raises(TypeError, match="not list"):
        layer([0.0, 0.0, 0.0])


def test_text_and_pickle() -> None:
    layer = IndiNonlinLayer(3, LIST, bias=True)
    assert "in_features=3, weight=True, bias=True" in repr(layer)
    x = torch.randn(3)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))
