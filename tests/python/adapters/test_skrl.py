"""Checkpoints that skrl trained and saved itself, with PyTorch and JAX, against what its agents do in evaluation."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from same_actions import EVERY_FILE, Run, check_files, check_policy, stepped
from skrl.models.torch import GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl_files import (
    ACTIONS,
    CASES,
    DOCUMENTED,
    LINEAR,
    NETWORK,
    NUM_ENVS,
    OBSERVATIONS,
    QUIET,
    SPACES,
    VALUE,
    Recurrent,
    Toy,
    Trained,
    drawn,
    train,
)
from torch import nn

import ganglion
from ganglion.adapters import skrl
from ganglion.errors import ArtifactError


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Trains each case once."""
    return functools.cache(lambda name: train(name, tmp_path_factory.mktemp("skrl")))


# --- the same actions ---


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_actions_are_those_of_an_evaluation(trained, name):
    found = trained(name)
    expected = found.run.action
    assert np.ptp(expected, axis=0).max() > 1e-2  # a policy that looks at its observation
    if "clip_mean_actions" in found.options:
        assert ((expected == ACTIONS.low) | (expected == ACTIONS.high)).any()
    check_policy(found.load(), found.run)


EXPORTED = {
    "lstm": EVERY_FILE,
    "gru": (".ganglion", ".hpp", ".h"),
    "mlp, tanh, scaled, clipped": (".pt",),
    "deterministic": (".ganglion",),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", EXPORTED)
def test_every_file_and_engine(tmp_path, trained, name):
    found = trained(name)
    check_files(found.load(), found.run, tmp_path, EXPORTED[name])


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
    observations, resets, expected = found.run.observation, found.run.reset, found.run.action
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
    return Trained(agent, folder / "agent.pickle", {**LINEAR, "output_activation": "tanh"})


@pytest.mark.whole  # compiles all of an agent
def test_jax_actions(tmp_path, trained_in_jax):
    observations, resets = drawn()
    _, outputs = trained_in_jax.agent.act(jax.numpy.asarray(observations), None, timestep=0, timesteps=0)
    expected = np.asarray(outputs["mean_actions"])
    assert np.ptp(expected, axis=0).min() > 1e-2
    policy, run = trained_in_jax.load(), Run(observations, resets, expected)
    check_policy(policy, run)
    check_files(policy, run, tmp_path, (".ganglion",))
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


SHARED = {
    "skrl 1.0, shared": ("net", "mean_net.0", "value_net.0"),
    "documentation, shared": ("net", "mean_layer", "value_layer"),
    "today, shared": ("net_container", "policy_layer", "value_layer"),
    "container of another name": ("features_container", "policy_layer", "value_layer"),
}


def shared_model(net, mean, value):
    random = torch.Generator().manual_seed(0)
    layers = {f"{net}.0": (7, 5), f"{net}.2": (6, 7), mean: (3, 6), value: (1, 6)}
    state = {"log_std_parameter": torch.full((3,), -0.5)}
    for name, shape in layers.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=random)
        state[f"{name}.bias"] = torch.randn(shape[:1], generator=random)
    return state


@pytest.mark.parametrize("wrap", ["", "_orig_mod."])
@pytest.mark.parametrize("name", SHARED)
def test_shared_models(tmp_path, name, wrap):
    net, mean, value = SHARED[name]
    state = shared_model(net, mean, value)
    statistics = {
        "running_mean": torch.linspace(-1, 1, 5).double(),
        "running_variance": torch.linspace(0.5, 2, 5).double(),
        "current_count": torch.tensor(9.0).double(),
    }
    wrapped = {wrap + key: value for key, value in state.items()}
    document = {"policy": wrapped, "value": wrapped, "optimizer": {}, "state_preprocessor": statistics}
    torch.save(document, tmp_path / "agent.pt")
    policy = skrl.load(tmp_path / "agent.pt", activation="elu", output_activation="tanh", output_scale=2.0)
    observations = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)) * 4.0
    x = (observations - statistics["running_mean"]) / (statistics["running_variance"].sqrt() + 1e-8)
    x = x.clamp(-5.0, 5.0).float()
    for layer in (f"{net}.0", f"{net}.2"):
        x = torch.nn.functional.elu(x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"])
    expected = 2.0 * torch.tanh(x @ state[f"{mean}.weight"].T + state[f"{mean}.bias"])
    found, log_std, _ = policy(observations)
    torch.testing.assert_close(found, expected)
    assert torch.equal(log_std, torch.full((20, 3), -0.5))


# --- refusals ---


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_hostile_files_are_not_run_without_consent(tmp_path):
    planted, path = tmp_path / "planted", tmp_path / "agent.pickle"
    path.write_bytes(pickle.dumps({"policy": Hostile(planted)}))
    with pytest.raises(ArtifactError, match=r"more than tensors.*touch, which is not run.*--allow-pickle"):
        skrl.load(path, **LINEAR)
    torch.save({"policy": Hostile(planted)}, path)
    with pytest.raises(ArtifactError, match=r"more than tensors.*--allow-pickle"):
        skrl.load(path, **LINEAR)
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
    "two networks": (
        {"policy": {f"{part}.weight": torch.ones(3, 3) for part in ("a_container.0", "net.0")}},
        "has a_container and net, and nothing says how they are joined.*model=",
    ),
    "two outputs": (
        {"policy": {f"{part}.weight": torch.ones(3, 3) for part in ("net.0", "mean_layer", "mean_net.0")}},
        r"has mean_layer and mean_net\.0, and nothing says",
    ),
    "layers behind the network": (
        {"policy": {f"{part}.weight": torch.ones(3, 3) for part in ("net.0", "mean_net.0", "mean_net.2")}},
        r"has 'mean_net\.2\.weight', which",
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
