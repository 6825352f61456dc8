"""Models in the style of skrl, ours and foreign ones, as policies and as files."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest
import torch
from header_toolchains import PLAIN_HOST, drive
from torch import nn
from torch.distributions import Normal

import ganglion
from ganglion.contract import StateSlot
from ganglion.data.env_spec import EnvSpec
from ganglion.export import export
from ganglion.policies import DeployablePolicy, GRUPolicy, ObservationNormalizer
from ganglion.policies.skrl.models import (
    GaussianCNNModel,
    GaussianGRUModel,
    GaussianLSTMModel,
    GaussianMLPModel,
    GaussianRNNModel,
)
from ganglion.policies.skrl.policy import SkrlPolicy, as_policy

pytestmark = pytest.mark.deep  # exports every model to every kind of file

STEPS = 300
Box = gymnasium.spaces.Box
OBSERVATIONS, STATES = Box(-2.0, 2.0, (5,)), Box(-1.0, 1.0, (3,))
ACTIONS = Box(np.float32([-0.3, -np.inf]), np.float32([0.3, 0.1]))
SIZES = {"observation_space": OBSERVATIONS, "action_space": ACTIONS, "device": "cpu"}
RECURRENT = {**SIZES, "hidden_size": 7, "num_envs": 4, "sequence_length": 8, "hidden_sizes": (6,)}
IMAGES = {"observation_space": Box(0.0, 1.0, (6, 5, 2)), "convolutions": ((3, 3, 2), (4, 2, 1)), "num_features": 6}


class ForeignModel(nn.Module):
    """As skrl's `Model`: spaces, and what its mixins remember of the last step; its bases are not ours."""

    def __init__(self, state_space=None):
        super().__init__()
        self.observation_space, self.state_space, self.action_space = OBSERVATIONS, state_space, ACTIONS

    def act(self, inputs, *, role=""):
        mean, outputs = self.compute(inputs, role)
        self._g_distribution = Normal(mean, outputs["log_std"].exp())
        self.remembered = {"last": [mean]}
        return self._g_distribution.rsample(), outputs


class ForeignLSTM(ForeignModel):
    """The example of skrl's documentation with what its Gaussian mixin sets."""

    def __init__(self):
        super().__init__(STATES)
        self._g_clip_actions, self._g_clip_mean_actions = False, True
        self._g_min_actions, self._g_max_actions = torch.from_numpy(ACTIONS.low), torch.from_numpy(ACTIONS.high)
        self._g_clip_log_std, self._g_min_log_std, self._g_max_log_std = True, -20, 2
        self.sequence_length, self.num_layers, self.hidden_size = 4, 2, 6
        self.lstm = nn.LSTM(5, 6, 2, batch_first=True)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
        self.log_std_parameter = nn.Parameter(torch.tensor([-30.0, 0.5]))

    def get_specification(self):
        size = (self.num_layers, 16, self.hidden_size)
        return {"rnn": {"sequence_length": self.sequence_length, "sizes": [size, size]}}

    def compute(self, inputs, role):
        assert role == "policy"
        states = inputs["observations"]
        hidden_states, cell_states = inputs["rnn"][0], inputs["rnn"][1]
        if self.training:
            raise AssertionError("a controller has no sequences")
        rnn_input = states.view(-1, 1, states.shape[-1])
        rnn_output, rnn_states = self.lstm(rnn_input, (hidden_states, cell_states))
        rnn_output = torch.flatten(rnn_output, start_dim=0, end_dim=1)
        return self.net(rnn_output), {"log_std": self.log_std_parameter, "rnn": [rnn_states[0], rnn_states[1]]}


class ForeignThreeStates(ForeignModel):
    """Several recurrent layers, inputs side by side, a log standard deviation that depends on them, no settings."""

    def __init__(self):
        super().__init__(STATES)
        self.gru, self.lstm = nn.GRU(8, 4, batch_first=True), nn.LSTM(4, 3, 2, batch_first=True)
        self.mean, self.log_std = nn.Linear(3, 2), nn.Linear(3, 2)

    def get_specification(self):
        return {"rnn": {"sizes": [(1, 1, 4), (2, 1, 3), (2, 1, 3)]}}

    def compute(self, inputs, role):  # noqa: ARG002
        x = torch.cat((inputs["observations"], inputs["states"]), dim=-1).unsqueeze(1)
        x, first = self.gru(x, inputs["rnn"][0])
        x, (second, third) = self.lstm(x, tuple(inputs["rnn"][1:]))
        x = x.squeeze(1)
        return self.mean(x), {"log_std": self.log_std(x), "rnn": [first, second, third]}


class ForeignDeterministic(ForeignModel):
    """With the settings of skrl's deterministic mixin; states of the environment are there and stay unused."""

    def __init__(self):
        super().__init__(STATES)
        self._d_clip_actions = True
        self.net = nn.Linear(5, 2)

    def compute(self, inputs, role):  # noqa: ARG002
        inputs.get("states")
        return self.net(inputs["observations"]), {}


MODELS = {
    "mlp": lambda: GaussianMLPModel(**SIZES, hidden_sizes=(8,), clip_mean_actions=True),
    "rnn": lambda: GaussianRNNModel(**RECURRENT),
    "gru": lambda: GaussianGRUModel(**RECURRENT, num_layers=2, initial_log_std=3.0),
    "lstm": lambda: GaussianLSTMModel(**RECURRENT, clip_mean_actions=True, clip_log_std=False),
    "cnn": lambda: GaussianCNNModel(**{**SIZES, **IMAGES}, hidden_sizes=(5,)),
    "foreign lstm": ForeignLSTM,
    "foreign three states": ForeignThreeStates,
    "foreign deterministic": ForeignDeterministic,
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def _repeatable():
    torch.manual_seed(0)


def made(name):
    model = MODELS[name]()
    for param in model.parameters():
        nn.init.normal_(param, std=0.5) if param.ndim > 1 else None
    return model.train()


def trajectory(policy, rows=1):
    generator = np.random.default_rng(1)
    size = sum(spec.size for spec in policy.input_specs)
    observations = generator.uniform(-2, 2, (STEPS, rows, size)).astype(np.float32)
    return observations, generator.random((STEPS, rows)) < 0.02


@torch.no_grad()
def run(step, initial, observations, resets):
    """Outputs and state behind each step, side by side: `[steps, rows, outputs + state]`."""
    initial = initial.repeat(observations.shape[1], 1)
    hidden, found = initial, []
    for observation, reset in zip(observations, resets, strict=True):
        hidden = torch.where(torch.from_numpy(reset)[:, None], initial, hidden)
        *outputs, hidden = step(torch.from_numpy(observation), hidden)
        found.append(torch.cat((*outputs, hidden), -1))
    return torch.stack(found).numpy()


def run_runtime(path, observations, resets):
    pilot, found = ganglion.load(path), []
    rows = observations.shape[1]
    for observation, reset in zip(observations, resets, strict=True):
        pilot.reset(reset)
        pilot.step(observation if rows > 1 else observation[0])
        parts = (*(pilot.output(spec.name) for spec in pilot.contract.outputs), pilot.state())
        found.append(np.concatenate([part.reshape(rows, -1) for part in parts], axis=-1))
    return np.stack(found)


def run_file(path, observations, resets):
    if path.suffix == ".hpp":
        return drive(PLAIN_HOST, path.parent, observations[:, 0], resets[:, 0])[:, None]
    if path.suffix == ".pt":
        module = torch.jit.load(str(path))
        return run(module.step, module.initial_hidden, observations, resets)
    return run_runtime(path, observations, resets)


# --- files ---


@pytest.mark.sampled(3)
@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".ganglion", ".hpp"])
@every_model
def test_every_file_is_the_policy(tmp_path, name, suffix):
    policy = as_policy(made(name))
    for rows in (1, 3) if suffix != ".hpp" else (1,):
        path = tmp_path / f"rows_{rows}" / f"policy{suffix}"
        path.parent.mkdir()
        contract = export(policy, path, batch=rows)
        assert contract.outputs == policy.output_specs and contract.state == policy.state_layout
        observations, resets = trajectory(policy, rows)
        expected = run(policy, policy.init_hidden(), observations, resets)
        assert np.ptp(expected, axis=0)[:, :2].max() > 0.01
        np.testing.assert_allclose(run_file(path, observations, resets), expected, rtol=1e-5, atol=1e-5)


def test_a_normaliser_stands_before_the_model(tmp_path):
    normalizer = ObservationNormalizer(np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5), clip=5.0)
    policy = DeployablePolicy(as_policy(made("gru")), normalizer)
    export(policy, tmp_path / "policy.ganglion")
    observations, resets = trajectory(policy)
    expected = run(policy, policy.init_hidden(), observations, resets)
    np.testing.assert_allclose(
        run_file(tmp_path / "policy.ganglion", observations, resets), expected, rtol=0, atol=1e-5
    )


def test_an_export_leaves_the_model_alone(tmp_path):
    model = made("foreign lstm")
    model.eval()
    model.act({"observations": torch.zeros(2, 5), "rnn": [torch.zeros(2, 2, 6)] * 2}, role="policy")
    model.train()
    assert not model._g_distribution.loc.is_leaf
    before, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    distribution, remembered = model._g_distribution, model.remembered
    export(as_policy(model), tmp_path / "policy.ganglion")
    assert model.training and model.lstm.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model._g_distribution is distribution and model.remembered is remembered
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(param.requires_grad and param.grad is None for param in model.parameters())


# --- the policy ---


@pytest.mark.parametrize(
    ("name", "slots", "inputs", "outputs"),
    [
        ("mlp", (), ("obs",), ("mean", "log_std")),
        ("gru", (StateSlot("h", (2, 7)),), ("obs",), ("mean", "log_std")),
        ("lstm", (StateSlot("h", (1, 7)), StateSlot("c", (1, 7))), ("obs",), ("mean", "log_std")),
        ("foreign lstm", (StateSlot("h", (2, 6)), StateSlot("c", (2, 6))), ("obs",), ("mean", "log_std")),
        (
            "foreign three states",
            tuple(StateSlot(f"rnn_{i}", shape) for i, shape in enumerate([(1, 4), (2, 3), (2, 3)])),
            ("obs", "states"),
            ("mean", "log_std"),
        ),
        ("foreign deterministic", (), ("obs",), ("actions",)),
    ],
)
def test_names(name, slots, inputs, outputs):
    policy = as_policy(made(name))
    assert policy.state_layout == slots
    assert tuple(spec.name for spec in policy.input_specs) == inputs
    assert tuple(spec.name for spec in policy.output_specs) == outputs
    assert not policy.init_hidden().any()


@every_model
def test_a_step_is_what_the_model_does(name):
    policy, rows = as_policy(made(name)), 4
    model = policy.model
    obs = torch.randn(rows, sum(spec.size for spec in policy.input_specs))
    hidden = torch.randn(rows, policy.hidden_size)
    *outputs, new_hidden = policy(obs, hidden)
    assert model.training  # a step is always one of the rollout, and leaves no trace
    observations, states = obs[:, : model.observation_space.shape[0]], obs[:, 5:]
    inputs = {"observations": obs if name == "cnn" else observations, "states": states}
    if policy.state_layout:
        parts = torch.split(hidden, [slot.size for slot in policy.state_layout], -1)
        slots = zip(parts, policy.state_layout, strict=True)
        inputs["rnn"] = [part.reshape(rows, *slot.shape).transpose(0, 1).contiguous() for part, slot in slots]
    mean, results = model.eval().compute(inputs, "policy")
    if getattr(model, "_g_clip_mean_actions", False) or hasattr(model, "_d_clip_actions"):
        assert not torch.equal(mean, mean.clamp(*map(torch.from_numpy, (ACTIONS.low, ACTIONS.high))))
        mean = mean.clamp(*map(torch.from_numpy, (ACTIONS.low, ACTIONS.high)))
    assert torch.equal(outputs[0], mean)
    if "log_std" in results:
        clips = getattr(model, "_g_clip_log_std", False)
        log_std = results["log_std"].clamp(-20, 2) if clips else results["log_std"]
        assert torch.equal(outputs[1], log_std.expand(rows, 2))
        limits = policy.output_specs[1].low, policy.output_specs[1].high
        assert limits == (((-20.0,) * 2, (2.0,) * 2) if clips else ((), ()))
    for state, part, slot in zip(
        results.get("rnn", []),
        torch.split(new_hidden, [s.size for s in policy.state_layout], -1),
        policy.state_layout,
        strict=False,
    ):
        assert torch.equal(part.reshape(rows, *slot.shape).transpose(0, 1), state)
    single = policy(obs[0], hidden[0])
    for one, many in zip(single, (*outputs, new_hidden), strict=True):
        torch.testing.assert_close(one, many[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inputs_are_found_in_every_gradient_mode(mode):
    model = made("foreign three states")
    with mode():
        policy = as_policy(model)
        mean, *_ = policy(torch.zeros(8))
    assert [spec.name for spec in policy.input_specs] == ["obs", "states"]
    assert not mean.requires_grad


def test_only_models_are_recognised():
    for module in (nn.Linear(2, 2), GRUPolicy(EnvSpec(OBSERVATIONS, ACTIONS), 3, 1), as_policy(made("mlp"))):
        assert as_policy(module) is None
        with pytest.raises(TypeError, match=type(module).__name__):
            SkrlPolicy(module)


class Wrong(ForeignLSTM):
    """Gives `mean` and `outputs` instead of what the documentation says."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def compute(self, inputs, role):
        mean, outputs = super().compute(inputs, role)
        return self.change(mean, outputs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mean, outputs: (mean, outputs["log_std"], outputs), "too many values"),
        (lambda mean, outputs: (mean, {"rnn": outputs["rnn"]}), "KeyError: 'log_std'"),
        (lambda mean, outputs: (mean[:, :1], outputs), r"mean of shape \(5, 1\); expected \(5, 2\)"),
        (lambda mean, outputs: (mean, {**outputs, "log_std": torch.zeros(1)}), r"log_std of shape \(1,\); expected"),
        (lambda mean, outputs: (mean, {**outputs, "rnn": outputs["rnn"][:1]}), r"states of shapes \[\(2, 5, 6\)\]"),
        (
            lambda mean, outputs: (mean, {**outputs, "rnn": [s.transpose(0, 1) for s in outputs["rnn"]]}),
            r"states of shapes \[\(5, 2, 6\).*expected \[\(2, 5, 6\)",
        ),
        (lambda mean, outputs: (mean.detach(), {**outputs, "rnn": [s.detach() for s in outputs["rnn"]]}), "no input"),
    ],
)  # fmt: skip
def test_wrong_results_are_refused_at_once(change, said):
    with pytest.raises(ValueError, match=said):
        as_policy(Wrong(change))


@pytest.mark.parametrize("attribute", ["observation_space", "action_space"])
def test_spaces_must_be_boxes(attribute):
    model = made("foreign lstm")
    setattr(model, attribute, gymnasium.spaces.Discrete(5))
    with pytest.raises(ValueError, match="expected a Box"):
        as_policy(model)
    model = made("mlp")
    model.observation_space = None
    with pytest.raises(ValueError, match="no observation space"):
        as_policy(model)


@every_model
def test_wrong_shapes_name_both(name):
    policy = as_policy(made(name))
    size, hidden = sum(spec.size for spec in policy.input_specs), policy.hidden_size
    with pytest.raises(ValueError, match=rf"obs has shape \(3, {size + 1}\); expected \(3, {size}\)"):
        policy(torch.zeros(3, size + 1))
    with pytest.raises(ValueError, match=rf"hidden has shape \(2, {hidden}\).* expected \(3, {hidden}\)"):
        policy(torch.zeros(3, size), torch.zeros(2, hidden))


def test_a_model_of_skrl_itself(tmp_path):
    skrl_models = pytest.importorskip("skrl.models.torch", reason="skrl is no requirement; this runs where it is")

    class Documented(skrl_models.GaussianMixin, skrl_models.Model):
        def __init__(self):
            skrl_models.Model.__init__(self, observation_space=OBSERVATIONS, action_space=ACTIONS, device="cpu")
            skrl_models.GaussianMixin.__init__(self, clip_mean_actions=True)
            self.gru, self.mean = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 2)
            self.log_std_parameter = nn.Parameter(torch.tensor([-30.0, 0.5]))

        def get_specification(self):
            return {"rnn": {"sequence_length": 4, "sizes": [(1, 16, 6)]}}

        def compute(self, inputs, role):  # noqa: ARG002
            features, state = self.gru(inputs["observations"].unsqueeze(1), inputs["rnn"][0])
            return self.mean(features.squeeze(1)), {"log_std": self.log_std_parameter, "rnn": [state]}

    model = Documented()
    obs, state = torch.randn(3, 5), torch.randn(1, 3, 6)
    _, outputs = model.act({"observations": obs, "rnn": [state]}, role="policy")
    mean, log_std, hidden = as_policy(model)(obs, state[0])
    assert torch.equal(mean, outputs["mean_actions"])
    assert torch.equal(log_std, outputs["log_std"].expand(3, 2))
    assert torch.equal(hidden, outputs["rnn"][0][0])
    export(as_policy(model), tmp_path / "policy.ganglion")
