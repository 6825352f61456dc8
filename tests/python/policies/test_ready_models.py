"""Behaviour of models and of the Gaussian mixin beyond recorded numbers."""

from __future__ import annotations

import collections
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Normal

from ganglion.policies.skrl.gaussian_mixin import GaussianMixin
from ganglion.policies.skrl.model import Model, flat_box
from ganglion.policies.skrl.models import (
    GaussianCNNModel,
    GaussianGRUModel,
    GaussianLSTMModel,
    GaussianMLPModel,
    GaussianRNNModel,
)

Box = gymnasium.spaces.Box
SIZES = {"observation_space": Box(-1.0, 1.0, (4,)), "action_space": Box(-2.0, 2.0, (2,)), "device": "cpu"}
RECURRENT = [GaussianRNNModel, GaussianGRUModel, GaussianLSTMModel]
every_recurrent = pytest.mark.parametrize("cls", RECURRENT)


class GivenGaussian(GaussianMixin, Model):
    """Mean and log standard deviation as given."""

    def __init__(self, mean, log_std, action_space=SIZES["action_space"], **kwargs):
        Model.__init__(self, observation_space=SIZES["observation_space"], action_space=action_space, device="cpu")
        GaussianMixin.__init__(self, **kwargs)
        self.given = mean, log_std

    def compute(self, inputs, role=""):  # noqa: ARG002
        return self.given[0], {"log_std": self.given[1]}


def mlp(**kwargs):
    return GaussianMLPModel(**SIZES, hidden_sizes=(5,), **kwargs)


# --- the mixin ---


def test_forward_is_act():
    model, inputs = mlp(), {"observations": torch.randn(3, 4)}
    torch.manual_seed(1)
    actions, outputs = model(inputs, role="policy")
    torch.manual_seed(1)
    expected, _ = model.act(inputs)
    assert torch.equal(actions, expected)
    assert not torch.equal(actions, outputs["mean_actions"])
    model.eval()
    assert not torch.equal(model(inputs)[0], model(inputs)[0])  # a draw in every mode


def test_checks_of_torch_distributions_stay_on(monkeypatch):
    # torch's own compiler switches them off for the whole process, and may have run before.
    monkeypatch.setattr(Distribution, "_validate_args", True)
    mlp()
    with pytest.raises(ValueError, match="scale"):
        Normal(torch.zeros(1), -torch.ones(1))
    with pytest.raises(ValueError, match="loc"):
        GivenGaussian(torch.full((1, 2), torch.nan), torch.zeros(2)).act({})


@pytest.mark.parametrize(
    ("mean", "log_std", "taken", "said"),
    [
        ((3, 5), (2,), None, r"mean of shape \(3, 5\); expected \(3, 2\)"),
        ((3, 1), (2,), None, r"mean of shape \(3, 1\); expected \(3, 2\)"),
        ((3, 2), (1,), None, r"log_std of shape \(1,\); expected \(2,\) or \(3, 2\)"),
        ((3, 2), (2, 2), None, r"log_std of shape \(2, 2\); expected \(2,\) or \(3, 2\)"),
        ((2,), (1, 2), None, r"log_std of shape \(1, 2\); expected \(2,\)"),
        ((3, 2), (2,), (1, 2), r"taken_actions have shape \(1, 2\); expected \(3, 2\)"),
        ((3, 2), (2,), (3, 1), r"taken_actions have shape \(3, 1\); expected \(3, 2\)"),
        ((3, 2), (2,), (2,), r"taken_actions have shape \(2,\); expected \(3, 2\)"),
    ],
)
def test_nothing_is_broadcast_by_accident(mean, log_std, taken, said):
    model = GivenGaussian(torch.zeros(mean), torch.zeros(log_std))
    with pytest.raises(ValueError, match=said):
        model.act({} if taken is None else {"taken_actions": torch.zeros(taken)})
    assert model.distribution() is None


def test_log_std_of_a_row():
    actions, outputs = GivenGaussian(torch.zeros(3, 2), torch.zeros(1, 2)).act({})
    assert actions.shape == (3, 2)
    assert outputs["log_prob"].shape == (3, 1)


@pytest.mark.parametrize(("kwargs", "said"), [({"reduction": "max"}, "'mean', 'sum'"), ({"min_log_std": 3.0}, "above")])
def test_settings_are_checked(kwargs, said):
    with pytest.raises(ValueError, match=said):
        mlp(**kwargs)
    with pytest.raises(ValueError, match="Box"):
        GivenGaussian(torch.zeros(2), torch.zeros(2), gymnasium.spaces.Discrete(2))


def test_bounds_move_with_the_model_and_are_not_saved():
    model = mlp(clip_mean_actions=True)
    assert sorted(model.state_dict()) == [
        "log_std_parameter",
        *(f"net.{i}.{p}" for i in (0, 2) for p in ("bias", "weight")),
    ]
    assert model.double()._g_min_actions.dtype == torch.float64


def test_flat_vectors_of_a_dict_are_in_the_order_of_the_keys():
    parts = [("b", Box(-1.0, 1.0, (1,))), ("a", gymnasium.spaces.Tuple([Box(-2.0, 2.0, (1, 2)), Box(0, 3, (1,), int)]))]
    space = gymnasium.spaces.Dict(collections.OrderedDict(parts))
    assert flat_box(space) == Box(np.float32([-2, -2, 0, -1]), np.float32([2, 2, 3, 1]))
    model = GivenGaussian(torch.full((1, 4), 9.0), torch.zeros(4), space, clip_mean_actions=True)
    assert model.act({})[1]["mean_actions"].tolist() == [[2.0, 2.0, 3.0, 1.0]]


def test_gradients_flow_through_draws_and_densities():
    model = mlp(clip_mean_actions=True).double()
    observations = torch.randn(3, 4, dtype=torch.float64)
    taken = torch.randn(3, 2, dtype=torch.float64)

    def results(weight):
        torch.manual_seed(3)
        inputs = {"observations": observations, "taken_actions": taken}
        with torch.nn.utils.parametrize.cached():
            actions, outputs = torch.func.functional_call(model, {"net.0.weight": weight}, (inputs,))
        return actions, outputs["log_prob"], model.get_entropy()

    assert torch.autograd.gradcheck(results, model.net[0].weight.detach().clone().requires_grad_())


# --- the base class ---


def test_sizes_and_specification():
    model = mlp(state_space=Box(-1.0, 1.0, (7, 2)))
    assert (model.num_observations, model.num_states, model.num_actions) == (4, 14, 2)
    assert mlp().num_states == 0
    assert model.get_specification() == {}
    with pytest.raises(TypeError, match="abstract"):
        Model(**SIZES)


def test_saved_parameters_load_and_nothing_else_does(tmp_path):
    model, other = mlp(), mlp()
    model.save(tmp_path / "model.pt")
    other.train()
    other.load(tmp_path / "model.pt")
    assert not other.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    model.save(tmp_path / "older.pt", state_dict={name: value + 1 for name, value in model.state_dict().items()})
    other.load(tmp_path / "older.pt")
    assert torch.equal(other.log_std_parameter, model.log_std_parameter + 1)
    torch.save({"log_std_parameter": pickle.Pickler}, tmp_path / "code.pt")
    with pytest.raises(pickle.UnpicklingError):
        other.load(tmp_path / "code.pt")


@pytest.mark.parametrize("polyak", [0.0, 0.25, 1.0])
def test_update_parameters(polyak):
    target, source = mlp(), mlp()
    expected = [(1 - polyak) * a + polyak * b for a, b in zip(target.parameters(), source.parameters(), strict=True)]
    target.update_parameters(source, polyak=polyak)
    for param, value in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(param, value)
    assert polyak < 1.0 or all(torch.equal(a, b) for a, b in zip(target.parameters(), source.parameters(), strict=True))


def test_update_parameters_refuses():
    with pytest.raises(ValueError, match="polyak"):
        mlp().update_parameters(mlp(), polyak=1.5)
    with pytest.raises(ValueError, match=r"\(5, 4\).*source has.*\(6, 4\)"):
        mlp().update_parameters(GaussianMLPModel(**SIZES, hidden_sizes=(6,)))


def test_modes_and_freezing():
    model = mlp()
    model.freeze_parameters()
    assert not any(param.requires_grad for param in model.parameters())
    model.freeze_parameters(False)
    assert all(param.requires_grad for param in model.parameters())
    for switch in (model.enable_training_mode, lambda on: model.set_mode("train" if on else "eval")):
        switch(False)
        assert not model.net[0].training
        switch(True)
        assert model.net[0].training
    with pytest.raises(ValueError, match="'test'"):
        model.set_mode("test")


def test_random_act():
    model, inputs = mlp(), {"observations": torch.zeros(500, 4)}
    torch.manual_seed(5)
    actions, outputs = model.random_act(inputs)
    assert outputs == {}
    assert actions.shape == (500, 2)
    assert -2.0 <= actions.min() < -1.9 and 1.9 < actions.max() <= 2.0
    assert not torch.equal(model.random_act(inputs)[0], actions)
    torch.manual_seed(5)
    assert torch.equal(model.random_act(inputs)[0], actions)
    model.action_space = gymnasium.spaces.Discrete(3)
    indices = model.random_act(inputs)[0]
    assert indices.shape == (500, 1)
    assert indices.unique().tolist() == [0, 1, 2]
    model.action_space = gymnasium.spaces.Dict({"b": Box(0.0, 1.0, (1, 2)), "a": gymnasium.spaces.Discrete(2, start=7)})
    mixed = model.random_act(inputs)[0]
    assert mixed.shape == (500, 3)
    assert mixed[:, 0].unique().tolist() == [7.0, 8.0]
    for space, said in ((gymnasium.spaces.Text(3), "numbers"), (None, "needs an action space")):
        model.action_space = space
        with pytest.raises(ValueError, match=said):
            model.random_act(inputs)


def test_lazy_modules_are_created():
    model = mlp()
    model.net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    model.init_state_dict(role="policy")
    assert model.net[0].weight.shape == (8, 4)
    model.net = nn.LazyLinear(2)
    model.init_state_dict({"observations": torch.zeros(1, 3)})
    assert model.net.weight.shape == (2, 3)


@every_recurrent
def test_recurrent_models_initialise_in_any_mode(cls):
    model = cls(**SIZES, hidden_size=3, sequence_length=4).train()
    model.init_state_dict()
    assert model.training and model.net.training


def test_initial_values():
    model = mlp(initial_log_std=-0.5)
    assert model.log_std_parameter.tolist() == [-0.5, -0.5]
    model.init_parameters("constant_", 3.0)
    assert all((param == 3.0).all() for param in model.parameters())
    model.init_weights("constant_", val=2.0)
    model.init_biases(val=1.0)
    assert (model.net[2].weight == 2.0).all() and (model.net[2].bias == 1.0).all()
    assert (model.log_std_parameter == 3.0).all()
    with pytest.raises(ValueError, match="no function 'normal'"):
        model.init_weights("normal")


# --- convolutions ---


def test_documented_cnn():
    model = GaussianCNNModel(observation_space=Box(0, 255, (64, 64, 3), np.uint8), action_space=SIZES["action_space"])
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "net.0.weight": (32, 3, 8, 8),
        "net.2.weight": (64, 32, 4, 4),
        "net.4.weight": (64, 64, 3, 3),
        "net.7.weight": (512, 1024),
        "net.9.weight": (16, 512),
        "net.11.weight": (64, 16),
        "net.13.weight": (32, 64),
        "net.15.weight": (2, 32),
    }


def test_images_are_flat_vectors():
    settings = {"convolutions": ((4, 3, 2),), "num_features": 6, "hidden_sizes": (), "device": "cpu"}
    settings["action_space"] = SIZES["action_space"]
    last = GaussianCNNModel(observation_space=Box(0.0, 1.0, (7, 9, 3)), **settings)
    first = GaussianCNNModel(observation_space=Box(0.0, 1.0, (3, 7, 9)), channels_last=False, **settings)
    first.load_state_dict(last.state_dict())
    images = torch.rand(2, 7, 9, 3)
    mean, _ = last.compute({"observations": images.flatten(1)})
    torch.testing.assert_close(mean, last.net(images.permute(0, 3, 1, 2)))
    torch.testing.assert_close(first.compute({"observations": images.permute(0, 3, 1, 2).flatten(1)})[0], mean)


@pytest.mark.parametrize(("shape", "said"), [((8, 8), "three axes"), ((8, 20, 3), "too small")])
def test_images_that_do_not_fit(shape, said):
    with pytest.raises(ValueError, match=said):
        GaussianCNNModel(observation_space=Box(0.0, 1.0, shape), action_space=SIZES["action_space"])


# --- sequences ---


@every_recurrent
@pytest.mark.parametrize("layers", [1, 2])
def test_training_equals_stepping(cls, layers):
    sequences, length = 5, 7
    model = cls(**SIZES, num_layers=layers, hidden_size=6, sequence_length=length)
    observations, ends = torch.randn(sequences, length, 4), torch.zeros(sequences, length, dtype=torch.bool)
    for row, step in ((0, 2), (1, 2), (1, 3), (3, 0), (4, length - 1)):
        ends[row, step] = True
    shapes = [(size[0], sequences, size[2]) for size in model.get_specification()["rnn"]["sizes"]]
    first = [torch.randn(shape) for shape in shapes]
    # Behind the first row of a sequence the given states must not matter.
    rows = [torch.randn(shape[0], sequences, length, shape[2]) for shape in shapes]
    for given, state in zip(rows, first, strict=True):
        given[:, :, 0] = state
    inputs = {
        "observations": observations.flatten(0, 1),
        "terminated": ends.reshape(-1, 1),
        "truncated": ~ends.reshape(-1, 1),
        "rnn": [given.flatten(1, 2) for given in rows],
    }
    means, outputs = model.train().compute(inputs)
    model.eval()
    states, stepped = first, []
    for step in range(length):
        mean, results = model.compute({"observations": observations[:, step], "rnn": states, "terminated": ends})
        stepped.append(mean)
        states = [torch.where(ends[:, step, None], 0.0, state) for state in results["rnn"]]
    torch.testing.assert_close(means, torch.stack(stepped, 1).flatten(0, 1))
    for actual, expected in zip(outputs["rnn"], states, strict=True):
        torch.testing.assert_close(actual, expected)


@every_recurrent
def test_no_gradient_passes_the_end_of_an_episode(cls):
    model = cls(**SIZES, hidden_size=6, sequence_length=6).train()
    observations = torch.randn(12, 4, requires_grad=True)
    ends = torch.zeros(12, 1)
    ends[2] = 1.0
    states = [torch.zeros(layers, 12, units) for layers, _, units in model.get_specification()["rnn"]["sizes"]]
    means, _ = model.compute({"observations": observations, "terminated": ends, "rnn": states})
    (gradient,) = torch.autograd.grad(means[[5, 11]].sum(), observations)
    reached = gradient.abs().sum(1) > 0
    assert reached.tolist() == [False] * 3 + [True] * 9


@every_recurrent
def test_sequences_that_do_not_fit(cls):
    model = cls(**SIZES, num_layers=2, hidden_size=3, sequence_length=4).train()
    number = len(model.get_specification()["rnn"]["sizes"])

    def compute(rows=8, size=4, state=(2, 8, 3), terminated=(8, 1), states=number):
        model.compute(
            {
                "observations": torch.zeros(rows, size),
                "rnn": [torch.zeros(state)] * states,
                "terminated": torch.zeros(terminated),
            }
        )

    compute()
    for arguments, said in [
        ({"rows": 6}, "6 rows are not whole sequences of 4 steps"),
        ({"size": 3}, r"observations have shape \(8, 3\); expected \(8, 4\)"),
        ({"state": (8, 2, 3)}, r"states have shapes \[\(8, 2, 3\).*expected \[\(2, 8, 3\)"),
        ({"state": (2, 1, 3)}, r"states have shapes \[\(2, 1, 3\).*expected \[\(2, 8, 3\)"),
        ({"states": number + 1}, "states have shapes"),
        ({"terminated": (2, 1)}, r"terminated has shape \(2, 1\); expected \(8, 1\)"),
    ]:
        with pytest.raises(ValueError, match=said):
            compute(**arguments)
    with pytest.raises(ValueError, match="start at 1"):
        cls(**SIZES, sequence_length=0)
