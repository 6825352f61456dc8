"""Checkpoints that skrl trained and saved itself, with PyTorch and JAX, against what its agents do in evaluation."""

from __future__ import annotations

import copy
import itertools
import pickle
import sys
import warnings
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
import torch
from skrl.agents.torch.ddpg import DDPG, DDPG_CFG
from skrl.agents.torch.ppo import PPO, PPO_CFG, PPO_RNN
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model, shared_model
from torch import nn

import ganglion
from ganglion.adapters import skrl
from ganglion.errors import ArtifactError

sys.path.append(str(Path(__file__).parents[1] / "export"))
from header_toolchains import HOST, drive  # lies with the other export tests

STEPS = 1000
NUM_ENVS, ROLLOUT, SEQUENCE = 2, 16, 8
Box = gymnasium.spaces.Box
OBSERVATIONS = Box(-np.inf, np.inf, (3,))
ACTIONS = Box(np.float32([-0.3, -0.5]), np.float32([0.2, 0.4]))
NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [12, 7], "activations": "elu"}]
QUIET = {"directory": "", "experiment_name": "", "write_interval": 0, "checkpoint_interval": 0}


class Toy(gymnasium.vector.VectorEnv):
    """Random observations far from the standard normal distribution."""

    def __init__(self):
        self.num_envs, self.metadata = NUM_ENVS, {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = OBSERVATIONS, ACTIONS
        batch = gymnasium.vector.utils.batch_space
        self.observation_space, self.action_space = batch(OBSERVATIONS, NUM_ENVS), batch(ACTIONS, NUM_ENVS)
        self.random = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        self.last = observed(self.random, NUM_ENVS)
        return self.last, {}

    def step(self, actions):
        ended = self.random.random(NUM_ENVS) < 0.05
        reward = -np.square(np.asarray(actions) - np.sin(self.last[:, :2])).sum(-1).astype(np.float32)
        self.last = observed(self.random, NUM_ENVS)
        return self.last, reward, ended, np.zeros(NUM_ENVS, bool), {}


def observed(random, rows):
    return (random.normal(size=(rows, 3)) * [0.1, 3.0, 1.0] + [2.0, -5.0, 0.0]).astype(np.float32)


class Recurrent(GaussianMixin, Model):
    """The recurrent Gaussian models of skrl's documentation."""

    def __init__(self, kind, num_layers=1, **mixin):
        Model.__init__(self, observation_space=OBSERVATIONS, action_space=ACTIONS, device="cpu")
        GaussianMixin.__init__(self, **mixin)
        self.kind, self.num_layers, self.hidden_size = kind, num_layers, 9
        self.add_module(kind, getattr(nn, kind.upper())(3, 9, num_layers, batch_first=True))
        self.net = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
        nn.init.normal_(self.net[2].weight)  # so that some actions reach their bounds
        self.log_std_parameter = nn.Parameter(torch.zeros(2))

    def get_specification(self):
        size = (self.num_layers, NUM_ENVS, self.hidden_size)
        return {"rnn": {"sequence_length": SEQUENCE, "sizes": [size] * (2 if self.kind == "lstm" else 1)}}

    def compute(self, inputs, role):  # noqa: ARG002
        layers, states = getattr(self, self.kind), inputs["rnn"]
        rows = inputs["observations"]
        sequences = rows.view(-1, SEQUENCE if self.training else 1, rows.shape[-1])
        if self.training:
            first = [s.view(self.num_layers, -1, SEQUENCE, s.shape[-1])[:, :, 0].contiguous() for s in states]
        else:
            first = states
        features, new = layers(sequences, tuple(first) if self.kind == "lstm" else first[0])
        new = list(new) if self.kind == "lstm" else [new]
        return self.net(features.flatten(0, 1)), {"log_std": self.log_std_parameter, "rnn": new}


class RecurrentValue(DeterministicMixin, Recurrent):
    """A critic with the same layers."""

    def __init__(self, kind, num_layers=1):
        Recurrent.__init__(self, kind, num_layers)
        DeterministicMixin.__init__(self)
        self.value = nn.Linear(2, 1)

    def compute(self, inputs, role):
        features, outputs = Recurrent.compute(self, inputs, role)
        return self.value(features), outputs


class Functional(GaussianMixin, Model):
    """A model of a user, which no shapes explain."""

    def __init__(self):
        Model.__init__(self, observation_space=OBSERVATIONS, action_space=ACTIONS, device="cpu")
        GaussianMixin.__init__(self, clip_actions=True)
        self.first, self.skip = nn.Linear(3, 6), nn.Linear(3, 2)
        self.last = nn.Linear(6, 2)
        self.log_std_parameter = nn.Parameter(torch.zeros(2))

    def compute(self, inputs, role):  # noqa: ARG002
        x = inputs["observations"]
        return self.last(torch.sin(self.first(x))) + self.skip(x), {"log_std": self.log_std_parameter}


SPACES = {"observation_space": OBSERVATIONS, "action_space": ACTIONS, "device": "cpu"}
VALUE = {"network": NETWORK, "output": "ONE"}


def instantiated(output, **options):
    return {
        "policy": gaussian_model(**SPACES, network=NETWORK, output=output, **options),
        "value": deterministic_model(**SPACES, **VALUE),
    }


def shared():
    model = shared_model(
        **SPACES, structure=["GaussianMixin", "DeterministicMixin"], roles=["policy", "value"],
        parameters=[{"network": NETWORK, "output": "ACTIONS"}, VALUE],
    )  # fmt: skip
    return {"policy": model, "value": model}


def actor_and_critic():
    critic = [{**NETWORK[0], "input": "concatenate([OBSERVATIONS, ACTIONS])"}]
    models = {
        name: deterministic_model(**SPACES, network=NETWORK, output="tanh(ACTIONS)", clip_actions=True)
        for name in ("policy", "target_policy")
    }
    names = ("critic", "target_critic")
    return models | {name: deterministic_model(**SPACES, network=critic, output="ONE") for name in names}


LINEAR = {"activation": "elu", "output_activation": "identity"}
DOCUMENTED = {"activation": "relu", "output_activation": "tanh"}
CLIPPED = {"clip_mean_actions": True, "action_space": ACTIONS}
CASES = {
    "mlp": (lambda: instantiated("ACTIONS"), LINEAR),
    "mlp, tanh, scaled, clipped": (
        lambda: instantiated("2 * tanh(ACTIONS)", clip_mean_actions=True),
        {**LINEAR, **CLIPPED, "output_activation": "tanh", "output_scale": 2.0},
    ),
    "mlp, one for both": (shared, LINEAR),
    "mlp of a user": (
        lambda: {"policy": Functional(), "value": deterministic_model(**SPACES, **VALUE)}, {"model": Functional}
    ),
    "rnn": (lambda: {"policy": Recurrent("rnn"), "value": RecurrentValue("rnn")}, DOCUMENTED),
    "gru": (lambda: {"policy": Recurrent("gru"), "value": RecurrentValue("gru")}, DOCUMENTED),
    "lstm": (
        lambda: {"policy": Recurrent("lstm", 2, clip_mean_actions=True), "value": RecurrentValue("lstm", 2)},
        {**DOCUMENTED, **CLIPPED},
    ),
    "lstm as it is": (
        lambda: {"policy": Recurrent("lstm"), "value": RecurrentValue("lstm")}, {"model": lambda: Recurrent("lstm")}
    ),
    "deterministic": (actor_and_critic, {**LINEAR, **CLIPPED, "output_activation": "tanh"}),
}  # fmt: skip


class Trained:
    """A checkpoint, and the agent that wrote it."""

    def __init__(self, agent, path, options):
        self.agent, self.path, self.options = agent, path, options

    def load(self, **changes):
        options = {**self.options, **changes}
        if "model" in options and not isinstance(options["model"], nn.Module):
            options["model"] = options["model"]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skrl.load(self.path, **options)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    made = {}

    def train(name):
        if name not in made:
            torch.set_num_threads(1)
            set_seed(3)
            models, options = CASES[name][0](), CASES[name][1]
            env = wrap_env(Toy(), wrapper="gymnasium")
            for role, model in models.items():
                if not isinstance(model, Recurrent):  # which has no lazy layers
                    model.init_state_dict(role=role)
            common = {
                "experiment": QUIET, "observation_preprocessor": RunningStandardScaler,
                "observation_preprocessor_kwargs": {"size": OBSERVATIONS, "device": "cpu"},
            }  # fmt: skip
            memory = RandomMemory(memory_size=ROLLOUT, num_envs=NUM_ENVS, device="cpu")
            arguments = {"models": models, "memory": memory, **SPACES}
            if name == "deterministic":
                agent = DDPG(cfg=DDPG_CFG(**common, batch_size=4, learning_rate=0.001, learning_starts=4), **arguments)
            else:
                kind = PPO_RNN if hasattr(models["policy"], "kind") else PPO
                cfg = PPO_CFG(**common, rollouts=ROLLOUT, mini_batches=2, learning_epochs=3, learning_rate=0.005)
                agent = kind(cfg=cfg, **arguments)
            trainer = SequentialTrainer(
                cfg={
                    "timesteps": 4 * ROLLOUT,
                    "disable_progressbar": True,
                    "close_environment_at_exit": False,
                    "headless": True,
                },
                env=env,
                agents=agent,
            )
            trainer.train()
            folder = tmp_path_factory.mktemp("skrl")
            agent.save(str(folder / "agent.pt"))
            agent.enable_training_mode(False, apply_to_models=True)
            made[name] = Trained(agent, folder / "agent.pt", options)
        return made[name]

    return train


def drawn():
    random = np.random.default_rng(1)
    resets = random.random(STEPS) < 0.02
    resets[0] = True
    return observed(random, STEPS), resets


@torch.no_grad()
def evaluated(agent, observations, resets):
    """The actions that skrl's trainers take in evaluation (`mean_actions`, or else the actions)."""
    actions = []
    for observation, reset in zip(observations, resets, strict=True):
        if reset and hasattr(agent, "_rnn_initial_states"):
            sizes = agent.policy.get_specification()["rnn"]["sizes"]
            agent._rnn_initial_states["policy"] = [torch.zeros(layers, 1, units) for layers, _, units in sizes]
        drawn_actions, outputs = agent.act(torch.from_numpy(observation[None]), None, timestep=0, timesteps=0)
        actions.append(outputs.get("mean_actions", drawn_actions)[0].numpy())
        if hasattr(agent, "_rnn_initial_states"):
            agent._rnn_initial_states["policy"] = agent._rnn_final_states["policy"]
    return np.stack(actions)


@torch.inference_mode()
def stepped(policy, observations, resets):
    hidden, actions = policy.init_hidden(), []
    for observation, reset in zip(observations, resets, strict=True):
        action, *_, hidden = policy(torch.from_numpy(observation), policy.init_hidden() if reset else hidden)
        actions.append(action.numpy())
    return np.stack(actions)


# --- the same actions ---


@pytest.mark.parametrize("name", CASES)
def test_actions_are_those_of_an_evaluation(trained, name):
    found = trained(name)
    observations, resets = drawn()
    expected = evaluated(found.agent, observations, resets)
    assert np.ptp(expected, axis=0).max() > 1e-2  # a policy that looks at its observation
    if "clip_mean_actions" in found.options:
        assert ((expected == ACTIONS.low) | (expected == ACTIONS.high)).any()
    np.testing.assert_allclose(stepped(found.load(), observations, resets), expected, rtol=0, atol=1e-5)


EXPORTED = {
    "lstm": (".pt", ".onnx", ".ganglion", ".hpp"),
    "gru": (".onnx", ".ganglion", ".hpp"),
    "mlp, tanh, scaled, clipped": (".pt", ".ganglion"),
    "deterministic": (".ganglion",),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_every_file_and_engine(tmp_path, trained, name):
    found = trained(name)
    policy = found.load()
    observations, resets = drawn()
    expected = evaluated(found.agent, observations, resets)
    for suffix in EXPORTED[name]:
        path = tmp_path / f"policy{suffix}"
        ganglion.export(policy, path)
        if suffix == ".hpp":
            actions = drive(HOST, tmp_path, observations, resets)[:, :2]
            np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
            continue
        assert ganglion.verify(path, policy, steps=STEPS).ok
        pilot, actions = ganglion.load(path), []
        for observation, reset in zip(observations, resets, strict=True):
            pilot.reset() if reset else None
            actions.append(np.array(pilot.step(observation)).reshape(-1))
        np.testing.assert_allclose(np.stack(actions), expected, rtol=0, atol=1e-5)


def test_names(trained):
    policy = trained("lstm").load()
    assert [spec.name for spec in policy.output_specs] == ["mean", "log_std"]
    assert [(slot.name, slot.shape) for slot in policy.state_layout] == [("h", (2, 9)), ("c", (2, 9))]
    assert policy.output_specs[0].low == tuple(ACTIONS.low)
    assert [spec.name for spec in trained("deterministic").load().output_specs] == ["actions"]
    torch.testing.assert_close(
        policy(torch.zeros(3))[1], trained("lstm").agent.policy.log_std_parameter.detach(), rtol=0, atol=0
    )


def test_a_model_alone_and_a_preprocessor_alone(tmp_path, trained):
    found = trained("gru")
    observations, resets = drawn()
    expected = evaluated(found.agent, observations, resets)
    found.agent.policy.save(tmp_path / "policy.pt")
    statistics = found.agent._observation_preprocessor.state_dict()
    for legacy in (False, True):
        torch.save(statistics, tmp_path / "scaler.pt", _use_new_zipfile_serialization=not legacy)
        policy = skrl.load(tmp_path / "policy.pt", **DOCUMENTED, preprocessor=tmp_path / "scaler.pt")
        np.testing.assert_allclose(stepped(policy, observations, resets), expected, rtol=0, atol=1e-5)
    policy = skrl.load(tmp_path / "policy.pt", **DOCUMENTED)
    normalized = found.agent._observation_preprocessor(torch.from_numpy(observations)).numpy()
    np.testing.assert_allclose(stepped(policy, normalized, resets), expected, rtol=0, atol=1e-5)
    assert stepped(found.load(preprocessor=False), normalized, resets) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ArtifactError, match="holds the statistics of a preprocessor"):
        skrl.load(tmp_path / "scaler.pt", **DOCUMENTED)
    with pytest.raises(ArtifactError, match=r"the preprocessor has \['gru"):
        skrl.load(found.path, **DOCUMENTED, preprocessor=tmp_path / "policy.pt")


def changed(found, path, change):
    content = torch.load(found.path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_the_layout_of_skrl_1(tmp_path, trained):
    found = trained("mlp")
    old = changed(found, tmp_path / "a.pt", lambda c: c.update(state_preprocessor=c.pop("observation_preprocessor")))
    observations, resets = drawn()
    np.testing.assert_array_equal(
        stepped(skrl.load(old, **LINEAR), observations, resets), stepped(found.load(), observations, resets)
    )


class TwoInputs(GaussianMixin, Model):
    """Takes the states of the environment too."""

    def __init__(self):
        Model.__init__(self, observation_space=OBSERVATIONS, state_space=ACTIONS, action_space=ACTIONS, device="cpu")
        GaussianMixin.__init__(self)
        self.net = nn.Linear(5, 2)
        self.log_std_parameter = nn.Parameter(torch.zeros(2))

    def compute(self, inputs, role):  # noqa: ARG002
        return self.net(torch.cat((inputs["observations"], inputs["states"]), -1)), {"log_std": self.log_std_parameter}


@pytest.mark.parametrize("given", [("observation",), ("state",), ("observation", "state")])
def test_each_input_has_its_own_statistics(tmp_path, given):
    torch.manual_seed(0)
    model = TwoInputs()
    scalers = {}
    for name, size in (("observation", 3), ("state", 2)):
        scalers[name] = RunningStandardScaler(size, clip_threshold=1.2, epsilon=0.1, device="cpu")
        scalers[name](3.0 * torch.randn(50, size) + 1.0, train=True)
    checkpoint = {"policy": model.state_dict()} | {f"{n}_preprocessor": scalers[n].state_dict() for n in given}
    torch.save(checkpoint, tmp_path / "agent.pt")
    policy = skrl.load(tmp_path / "agent.pt", model=TwoInputs(), preprocessor_clip=1.2, preprocessor_epsilon=0.1)
    observations, states = 4.0 * torch.randn(100, 3), 4.0 * torch.randn(100, 2)
    inputs = {
        "observations": scalers["observation"](observations) if "observation" in given else observations,
        "states": scalers["state"](states) if "state" in given else states,
    }
    expected = model.compute(inputs, "policy")[0]
    torch.testing.assert_close(policy(torch.cat((observations, states), -1))[0], expected, rtol=0, atol=1e-5)
    ganglion.export(policy, tmp_path / "policy.onnx")
    assert ganglion.verify(tmp_path / "policy.onnx", policy, steps=200).ok


# --- JAX ---


@pytest.fixture(scope="session")
def trained_in_jax(tmp_path_factory):
    import skrl as library
    from skrl.agents.jax.ppo import PPO as JAX_PPO
    from skrl.agents.jax.ppo import PPO_CFG as JAX_PPO_CFG
    from skrl.envs.wrappers.jax import wrap_env as wrap_jax
    from skrl.memories.jax import RandomMemory as JaxMemory
    from skrl.resources.preprocessors.jax import RunningStandardScaler as JaxScaler
    from skrl.trainers.jax import SequentialTrainer as JaxTrainer
    from skrl.utils.model_instantiators.jax import deterministic_model as jax_deterministic
    from skrl.utils.model_instantiators.jax import gaussian_model as jax_gaussian

    library.config.jax.backend = "numpy"
    models = {
        "policy": jax_gaussian(**SPACES, network=NETWORK, output="tanh(ACTIONS)"),
        "value": jax_deterministic(**SPACES, **VALUE),
    }
    for role, model in models.items():
        model.init_state_dict(role=role)
    cfg = JAX_PPO_CFG(
        experiment=QUIET, rollouts=8, mini_batches=1, learning_epochs=2, learning_rate=0.03,
        observation_preprocessor=JaxScaler, observation_preprocessor_kwargs={"size": OBSERVATIONS, "device": "cpu"},
    )  # fmt: skip
    memory = JaxMemory(memory_size=8, num_envs=NUM_ENVS, device="cpu")
    agent = JAX_PPO(models=models, memory=memory, cfg=cfg, **SPACES)
    env = wrap_jax(Toy(), wrapper="gymnasium")
    JaxTrainer(
        cfg={"timesteps": 16, "disable_progressbar": True, "close_environment_at_exit": False, "headless": True},
        env=env,
        agents=agent,
    ).train()
    folder = tmp_path_factory.mktemp("jax")
    agent.save(str(folder / "agent.pickle"))
    models["policy"].save(str(folder / "policy.flax"))
    agent.enable_training_mode(False, apply_to_models=True)
    return Trained(agent, folder / "agent.pickle", {**LINEAR, "output_activation": "tanh", "allow_pickle": True})


def test_jax_actions(tmp_path, trained_in_jax):
    observations, resets = drawn()
    _, outputs = trained_in_jax.agent.act(jax.numpy.asarray(observations), None, timestep=0, timesteps=0)
    expected = np.asarray(outputs["mean_actions"])
    assert np.ptp(expected, axis=0).min() > 1e-2
    policy = trained_in_jax.load()
    np.testing.assert_allclose(stepped(policy, observations, resets), expected, rtol=0, atol=1e-5)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=STEPS).ok
    # The model alone is no pickle.
    options = {**LINEAR, "output_activation": "tanh"}
    policy = skrl.load(trained_in_jax.path.with_name("policy.flax"), **options)
    normalized = np.array(trained_in_jax.agent._observation_preprocessor(observations))
    np.testing.assert_allclose(stepped(policy, normalized, resets), expected, rtol=0, atol=1e-5)


def test_jax_models_of_the_documentation(tmp_path):
    from flax import serialization

    random = np.random.default_rng(0)
    sizes = [3, 12, 11, 10, 9, 8, 7, 6, 5, 4, 5, 6, 2]  # Dense_10 comes behind Dense_9, not behind Dense_1
    layers = {
        f"Dense_{i}": {"kernel": random.normal(size=s).astype(np.float32), "bias": random.normal(size=s[1:])}
        for i, s in enumerate(itertools.pairwise(sizes))
    }
    (tmp_path / "model.flax").write_bytes(
        serialization.to_bytes({"params": {**layers, "log_std_parameter": np.zeros(2, np.float32)}})
    )
    policy = skrl.load(tmp_path / "model.flax", activation="tanh", output_activation="identity")
    x = random.normal(size=(5, 3)).astype(np.float32)
    expected = x
    for i in range(len(layers)):
        layer = layers[f"Dense_{i}"]
        expected = (np.tanh(expected) if i else expected) @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(policy(torch.from_numpy(x))[0].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_damaged_flax(tmp_path, trained_in_jax):
    data = trained_in_jax.path.with_name("policy.flax").read_bytes()
    options = {**LINEAR, "output_activation": "tanh"}
    cases = [
        (data[:100], "bytes are needed"),
        (data + b"x", "1 bytes follow"),
        (b"\x81" * 1000, "more than 64 levels"),
        (b"\x81\xa1a\xc1", "means nothing"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "bytes are needed"),
        (b"\x81\xa1a\xc7\x04\x01\x93\x90\xa1O\xc4", "bytes are needed"),
        (b"\x81\xa1a\xc7\x05\x01\x93\x90\xa1O\xc0", "arrays of O are not supported"),
        (b"\x81\xa1a\xd4\x02\x00", "values of type 2"),
        (b"\x81\xa6params\xa1a", "is a str; expected named arrays"),
        (b"\x81\xa6params\x80", "has no parameters"),
    ]
    for content, said in cases:
        (tmp_path / "model.flax").write_bytes(content)
        with pytest.raises(ArtifactError, match=said):
            skrl.load(tmp_path / "model.flax", **options)


# --- refusals ---


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_hostile_files_are_not_run_without_consent(tmp_path, trained_in_jax):
    planted, path = tmp_path / "planted", tmp_path / "agent.pickle"
    path.write_bytes(pickle.dumps({"policy": Hostile(planted)}))
    with pytest.raises(ArtifactError, match=r"is a pickle.*--allow-pickle"):
        skrl.load(path, **LINEAR)
    torch.save({"policy": Hostile(planted)}, path)
    with pytest.raises(ArtifactError, match=r"more than tensors.*--allow-pickle"):
        skrl.load(path, **LINEAR)
    with pytest.raises(ArtifactError, match=r"is a pickle.*--allow-pickle"):
        skrl.load(trained_in_jax.path, **LINEAR)
    assert not planted.exists()
    with pytest.warns(UserWarning, match="can run any code"), pytest.raises(ArtifactError, match="no state dictionary"):
        skrl.load(path, **LINEAR, allow_pickle=True)
    assert planted.exists()  # the plant is a real one


CONTENTS = {
    "nothing": ({}, "holds a dict"),
    "a list": ([1], "holds a list"),
    "no policy": ({"value": {}, "optimizer": {}}, r"has no 'policy', but \['optimizer', 'value'\]"),
    "no tensors": ({"policy": {"a": 1}}, "no state dictionary of tensors"),
    "foreign names": ({"policy": {"actor.0.weight": torch.ones(2, 3)}}, r"has 'actor\.0\.weight', which.*model="),
    "places": (
        {"policy": {"net.0.weight": torch.ones(4, 3), "net.1.weight": torch.ones(2, 4)}}, r"places \[0, 1\].*model="
    ),
    "no layers": ({"policy": {"log_std_parameter": torch.ones(2)}}, r"places \[\]"),
    "convolution": ({"policy": {"net.0.weight": torch.ones(2, 3, 1)}}, "not linear"),
    "no bias": (
        {"policy": {"net.0.weight": torch.ones(2, 3), "log_std_parameter": torch.ones(2)}}, r"Missing.*net\.0\.bias"
    ),
    "other sizes": (
        {"policy": {"net.0.weight": torch.ones(2, 3), "net.0.bias": torch.ones(5)}}, "size mismatch for net.0.bias"
    ),
    "not finite": (
        {"policy": {"net.0.weight": torch.full((2, 3), np.nan), "net.0.bias": torch.ones(2)}}, "not finite"
    ),
    "half an lstm": (
        {"policy": {"net.0.weight": torch.ones(2, 3), "net.0.bias": torch.ones(2), "lstm.bias_ih_l0": torch.ones(3)}},
        "has no 'lstm.weight_hh_l0'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_checkpoint_is_said(tmp_path, name):
    content, said = CONTENTS[name]
    torch.save(content, tmp_path / "agent.pt")
    with pytest.raises(ArtifactError, match=said):
        skrl.load(tmp_path / "agent.pt", **LINEAR)


STATISTICS = {
    "missing": (lambda s: s.pop("running_mean"), "expected .* of RunningStandardScaler"),
    "unknown": (lambda s: s.update(extra=torch.ones(3)), "expected .* of RunningStandardScaler"),
    "size": (
        lambda s: s.update(running_mean=torch.ones(4)),
        "has 4 elements, but the model takes 3.*preprocessor=False",
    ),
    "not finite": (lambda s: s.update(running_mean=torch.full((3,), np.inf)), "not finite"),
    "negative": (lambda s: s.update(running_variance=-torch.ones(3)), "below zero"),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_that_do_not_fit(tmp_path, trained, name):
    change, said = STATISTICS[name]
    path = changed(trained("mlp"), tmp_path / "agent.pt", lambda c: change(c["observation_preprocessor"]))
    with pytest.raises(ArtifactError, match=said):
        skrl.load(path, **LINEAR)


def test_a_model_must_fit(tmp_path, trained):
    found = trained("gru")
    with pytest.raises(ArtifactError, match=r"Unexpected key.*'?gru|Missing key"):
        skrl.load(found.path, model=Recurrent("lstm"))
    with pytest.raises(ArtifactError, match="size mismatch"):
        skrl.load(changed(found, tmp_path / "a.pt", lambda c: c["policy"].update({"net.0.bias": torch.ones(9)})),
                  model=Recurrent("gru"))  # fmt: skip
    with pytest.raises(ArtifactError, match="not finite"):
        skrl.load(changed(found, tmp_path / "a.pt", lambda c: c["policy"]["net.0.bias"].fill_(np.nan)),
                  model=Recurrent("gru"))  # fmt: skip
    with pytest.raises(TypeError, match="not Linear"):
        skrl.load(found.path, model=nn.Linear(2, 2))


def test_what_the_weights_do_not_tell_must_be_given(trained):
    found = trained("gru")
    for options, said in (
        ({}, "output_activation must be one of .*not None.*model="),
        ({"output_activation": "tanh"}, "activation must be one of"),
        ({**DOCUMENTED, "activation": "swish"}, "not 'swish'"),
        ({**DOCUMENTED, "clip_mean_actions": True}, "needs action_space"),
        ({**DOCUMENTED, "action_space": OBSERVATIONS}, "action_space has 3 elements, but .* has 2"),
        ({**DOCUMENTED, "observation_space": ACTIONS}, "observation_space has 2 elements"),
    ):
        with pytest.raises(ValueError, match=said):
            skrl.load(found.path, **options)


def test_loading_leaves_the_generator_and_the_agent_alone(trained):
    found = trained("lstm")
    state = torch.get_rng_state()
    before = copy.deepcopy(found.agent.policy.state_dict())
    found.load()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in found.agent.policy.state_dict().items())
