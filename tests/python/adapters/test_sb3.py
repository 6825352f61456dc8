"""Checkpoints that Stable-Baselines3 and sb3-contrib trained and saved themselves, against their own `predict`."""

from __future__ import annotations

import base64
import functools
import io
import json
import pickle
import sys
import types
import warnings
import zipfile
from pathlib import Path

import cloudpickle
import gymnasium
import numpy as np
import pytest
import real_files
import torch
from same_actions import EVERY_FILE, check_files, check_policy
from sb3_files import ACTIONS, CASES, OBSERVATIONS, train
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import ganglion
from ganglion.adapters import _files, sb3
from ganglion.errors import ArtifactError

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
EXPORTED = {
    "lstm pendulum": EVERY_FILE,
    "lstm shared, gsde, squashed": (".pt",),
    "lstm categories": (".ganglion", ".hpp", ".h"),
    "lstm dict": (".onnx",),
    "a2c several categories": (".ganglion",),
    "sac gsde": (".ganglion",),
    "crossq": (".ganglion", ".hpp"),
    "dqn": (".ganglion",),
    "qrdqn": (".onnx",),
    "ars": (".ganglion",),
}
"""Every kind of file once for a recurrent policy with statistics; of the others, what its outputs or inputs are for."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Trains each case once."""
    return functools.cache(lambda name: train(name, tmp_path_factory.mktemp("sb3")))


# --- the same actions ---


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CASES)
def test_actions_are_those_of_predict(trained, name):
    found = trained(name)
    assert np.ptp(found.run.action, axis=0).min() > 1e-3  # a policy that looks at its observation
    check_policy(found.load(), found.run)


def test_what_was_trained_reaches_every_branch(trained):
    for name in ("ppo", "lstm dict"):
        expected = trained(name).run.action
        assert ((expected == ACTIONS.low) | (expected == ACTIONS.high)).any(0).all(), f"{name}: no action is clipped"
    policy = trained("sac gsde").load()
    means = policy.policy(torch.randn(500, 3))[0]
    assert means.abs().max() == pytest.approx(0.4)  # clip_mean
    policy = trained("lstm dict").load()
    assert policy.observation_normalizer(torch.full((7,), 100.0)).tolist() == [1.5, 1.5, 100, 100, 100, 100, 100]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", EXPORTED)
def test_every_file_and_engine(tmp_path, trained, name):
    found = trained(name)
    check_files(found.load(), found.run, tmp_path, EXPORTED[name])


def test_names_and_bounds(trained):
    policy = trained("lstm dict").load()
    assert [(spec.name, spec.size) for spec in policy.input_specs] == [("a", 2), ("b", 2), ("mode", 3)]
    assert [(slot.name, slot.shape) for slot in policy.state_layout] == [("h", (1, 12)), ("c", (1, 12))]
    policy = trained("a2c several categories").load()
    assert [spec.name for spec in policy.output_specs] == ["actions", "logits_0", "logits_1"]
    assert policy.output_specs[0].high == (2.0, 1.0)
    assert [spec.name for spec in trained("ppo cartpole").load().output_specs] == ["actions", "logits"]
    # From values nothing is drawn, as it would be from logits.
    for name, scores in (("dqn", "q_values"), ("qrdqn linear", "q_values"), ("ars categories", "scores")):
        assert [spec.name for spec in trained(name).load().output_specs] == ["actions", scores]
    # Bit for bit, although the checkpoint has them in text with eight digits only.
    policy = trained("sac").load()
    assert policy.input_specs[0].low == tuple(OBSERVATIONS.low) and policy.input_specs[0].high == tuple(
        OBSERVATIONS.high
    )
    assert policy.output_specs[0].low == tuple(ACTIONS.low) and policy.output_specs[0].high == tuple(ACTIONS.high)


def test_layers_that_actor_and_critic_share(tmp_path, trained):
    """As SB3 1 had them: `net_arch=[8, dict(pi=[6], vf=[4])]`."""

    def change(state):
        for key in ("weight", "bias"):
            state[f"mlp_extractor.shared_net.0.{key}"] = state.pop(f"mlp_extractor.policy_net.0.{key}")
            state[f"mlp_extractor.policy_net.0.{key}"] = state.pop(f"mlp_extractor.policy_net.2.{key}")

    weights = weights_with(trained("ppo").checkpoint, change)
    path = rewritten(trained("ppo").checkpoint, tmp_path / "model.zip", policy_pth=weights)
    with pytest.warns(UserWarning, match="VecNormalize"):
        found = sb3.load(path, vecnormalize=None)
    with pytest.warns(UserWarning, match="VecNormalize"):
        expected = sb3.load(trained("ppo").checkpoint)
    observations = torch.randn(20, 3)
    assert torch.equal(found(observations)[0], expected(observations)[0])


def test_masks_are_told(trained):
    with pytest.warns(UserWarning, match="the masks of actions are not part of the policy"):
        sb3.load(trained("maskable ppo").checkpoint)


def test_a_policy_of_another_module_is_refused(tmp_path, trained):
    path = rewritten(
        trained("sac").checkpoint, tmp_path / "m.zip", lambda data: data["policy_class"].update(__module__="mine")
    )
    with pytest.raises(ArtifactError, match=r"module 'mine', which may compute anything; read are .*QR-DQN and ARS"):
        sb3.load(path)


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("qrdqn", {"n_quantiles": 8}, "no 8 quantiles of each action"),
        ("qrdqn", {"n_quantiles": "many"}, "no 'many' quantiles"),
        ("crossq", {"batch_norm_eps": -9.0}, "divides by the root"),
        ("crossq", {"batch_norm_eps": None}, "divides by the root"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, trained, name, kwargs, said):
    path = rewritten(
        trained(name).checkpoint, tmp_path / "model.zip", lambda data: data["policy_kwargs"].update(kwargs)
    )
    with pytest.raises(ArtifactError, match=said):
        sb3.load(path)


@pytest.mark.parametrize(
    "name",
    ["trpo/BipedalWalker-v3", "dqn/CartPole-v1", "ars/Pendulum-v1"],
)
def test_public_checkpoints(name, tmp_path):
    """Of SB3 1.0 and 1.3: what their network gives, by hand."""
    env = name.partition("/")[2]
    path = real_files.real(f"rl-trained-agents__{env}_1__{env}.zip")
    policy = sb3.load(path)
    with zipfile.ZipFile(path) as archive:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    observations = torch.randn(50, policy.input_specs[0].size, generator=torch.Generator().manual_seed(0))
    prefix = {"trpo": "mlp_extractor.policy_net", "dqn": "q_net.q_net", "ars": "action_net"}[name.partition("/")[0]]
    layers = sorted(int(key.split(".")[-2]) for key in state if key.startswith(prefix) and key.endswith("weight"))
    values = observations
    for layer in layers:
        values = values @ state[f"{prefix}.{layer}.weight"].T + state[f"{prefix}.{layer}.bias"]
        if name.startswith("trpo") or layer != layers[-1]:
            values = torch.tanh(values) if name.startswith("trpo") else torch.relu(values)
    if name.startswith("trpo"):
        values = (values @ state["action_net.weight"].T + state["action_net.bias"]).clamp(-1.0, 1.0)
    elif name.startswith("dqn"):
        values = values.argmax(1, keepdim=True).float()
    else:
        values = 2.0 * torch.tanh(values)
    torch.testing.assert_close(policy(observations)[0], values, atol=1e-5, rtol=1e-5)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    pilot = ganglion.load(tmp_path / "policy.ganglion")
    for observation, value in zip(observations, values, strict=True):
        np.testing.assert_allclose(pilot.step(observation.numpy()), value.numpy(), atol=1e-5)


# --- what the user says ---


def test_missing_statistics_are_told(trained):
    with pytest.warns(UserWarning, match="trained behind VecNormalize"):
        sb3.load(trained("lstm pendulum").checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3.load(trained("ppo cartpole").checkpoint)
        sb3.load(trained("sac").checkpoint)


def test_bounds_can_be_given(trained):
    policy = trained("sac").load(action_low=-3.0, action_high=[1.0, 5.0])
    assert policy.output_specs[0].low == (-3.0, -3.0) and policy.output_specs[0].high == (1.0, 5.0)
    tanh = torch.tanh(policy.policy(torch.ones(3))[0])
    expected = torch.tensor([-3.0, -3.0]) + 0.5 * (tanh + 1.0) * torch.tensor([4.0, 8.0])
    torch.testing.assert_close(policy(torch.ones(3))[0], expected)
    for options, said in (
        ({"action_low": 0.0}, "belong together"),
        ({"action_low": [0.0], "action_high": 1.0}, "the policy has 2 actions"),
        ({"action_low": 1.0, "action_high": 0.0}, "must not lie above"),
    ):
        with pytest.raises(ValueError, match=said):
            trained("sac").load(**options)


# --- hostile and damaged files ---


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def rewritten(source, target, change=None, **members):
    """Copies a checkpoint with `data` changed in place, and members replaced, or left out where None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        contents = {name: old.read(name) for name in old.namelist()}
        data = json.loads(contents["data"])
        if change is not None:
            change(data)
        contents["data"] = json.dumps(data)
        contents |= {name.replace("_pth", ".pth"): content for name, content in members.items()}
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return target


def weights_with(source, change):
    state = torch.load(io.BytesIO(zipfile.ZipFile(source).read("policy.pth")), weights_only=True)
    change(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def pickled(value):
    return base64.b64encode(cloudpickle.dumps(value)).decode()


def space_changed(key, space):
    return lambda data: data[key].update({":serialized:": pickled(space)})


def test_a_hostile_space_is_not_run_without_consent(tmp_path, trained):
    planted = tmp_path / "planted"

    def change(data):
        data["action_space"][":serialized:"] = pickled(Hostile(planted))

    path = rewritten(trained("sac").checkpoint, tmp_path / "model.zip", change)
    with pytest.raises(ArtifactError, match=r"action_space names 'pathlib.*action_low=.*--allow-pickle"):
        sb3.load(path)
    assert not planted.exists()
    assert sb3.load(path, action_low=-1.0, action_high=1.0).output_specs[0].low == (-1.0, -1.0)
    assert not planted.exists()
    with pytest.warns(UserWarning, match="can run any code"), pytest.raises(ArtifactError, match="is a NoneType"):
        sb3.load(path, allow_pickle=True)
    assert planted.exists()  # the plant is a real one


@pytest.mark.parametrize("key", ["policy_class", "policy_kwargs", "lr_schedule", "_last_obs"])
def test_other_pickles_are_never_read(tmp_path, trained, key):
    planted = tmp_path / "planted"

    def change(data):
        entry = data[key] if isinstance(data[key], dict) else {}
        data[key] = {**entry, ":serialized:": pickled(Hostile(planted))}

    path = rewritten(trained("sac").checkpoint, tmp_path / "model.zip", change)
    sb3.load(path, allow_pickle=True)
    assert not planted.exists()


def test_hostile_weights_and_statistics_are_not_run(tmp_path, trained):
    planted = tmp_path / "planted"
    buffer = io.BytesIO()
    torch.save(Hostile(planted), buffer)
    path = rewritten(trained("sac").checkpoint, tmp_path / "model.zip", policy_pth=buffer.getvalue())
    with pytest.raises(ArtifactError, match=r"policy\.pth' holds more than tensors .*pathlib"):
        sb3.load(path)
    statistics = tmp_path / "vecnormalize.pkl"
    statistics.write_bytes(pickle.dumps(Hostile(planted)))
    for options in ({}, {"allow_pickle": True}):
        with pytest.raises(ArtifactError, match="holds a touch without norm_obs, clip_obs, epsilon"):
            sb3.load(trained("sac").checkpoint, vecnormalize=statistics, **options)
    assert not planted.exists()


def test_spaces_of_older_protocols_and_old_gym(tmp_path, trained, monkeypatch):
    class OldBox:
        def __init__(self, low, high):
            self.low, self.high, self._shape, self.dtype = low, high, low.shape, low.dtype

    OldBox.__module__, OldBox.__qualname__, OldBox.__name__ = "gym.spaces.box", "Box", "Box"
    for name in ("gym", "gym.spaces", "gym.spaces.box"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["gym.spaces.box"].Box = OldBox
    for protocol in (2, 3, 4, 5):
        space = OldBox(np.asfortranarray(ACTIONS.low[None].repeat(2, 0))[0], ACTIONS.high.astype(">f4"))
        text = base64.b64encode(pickle.dumps(space, protocol)).decode()
        path = rewritten(
            trained("sac").checkpoint,
            tmp_path / "model.zip",
            lambda data, text=text: data["action_space"].update({":serialized:": text}),
        )
        spec = sb3.load(path).output_specs[0]
        assert spec.low == tuple(ACTIONS.low) and spec.high == tuple(ACTIONS.high)


DATA = {
    "no JSON": ("{", "no JSON"),
    "a list": ("[]", "no JSON object but a list"),
    "deep": ("[" * 100_000, "no JSON"),
    "nothing": ("{}", "policy of the module 'unknown'"),
}


@pytest.mark.parametrize("name", DATA)
def test_damaged_data(tmp_path, trained, name):
    text, said = DATA[name]
    with pytest.raises(ArtifactError, match=said):
        sb3.load(rewritten(trained("sac").checkpoint, tmp_path / "model.zip", data=text))


CHANGES = {
    "another policy": (lambda d: d["policy_class"].update(__module__="__main__"), "of the module '__main__'"),
    "another extractor": (
        lambda d: d["policy_kwargs"].update(features_extractor_class="<class 'my.Net'>"),
        "features extractor <class 'my.Net'>",
    ),
    "another activation": (
        lambda d: d["policy_kwargs"].update(activation_fn="<class 'os.system'>"),
        r"activation is <class 'os.system'>.*activation=",
    ),
    "no space": (lambda d: d.pop("observation_space"), "observation_space is missing"),
    "no base64": (lambda d: d["observation_space"].update({":serialized:": "!"}), "no base64"),
    "no pickle": (lambda d: d["observation_space"].update({":serialized:": "AAAA"}), "cannot be read"),
    "other observations": (space_changed("observation_space", Box(-1, 1, (5,))), "5 obs"),
    "other actions": (space_changed("action_space", Box(-1, 1, (1,))), "1 actions"),
    "no bounds": (space_changed("action_space", Box(-np.inf, 1, (2,))), "finite bounds"),
    "binary": (
        space_changed("action_space", gymnasium.spaces.MultiBinary(2)), "not supported"
    ),
    "from one": (
        space_changed("action_space", Discrete(2, start=1)), "do not start at 0"
    ),
    "image": (
        space_changed("observation_space", Box(0, 255, (1, 1, 3), np.uint8)), "images"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_supported_is_said(tmp_path, trained, name):
    change, said = CHANGES[name]
    with pytest.raises(ArtifactError, match=said):
        sb3.load(rewritten(trained("sac").checkpoint, tmp_path / "model.zip", change))


WEIGHTS = {
    "missing": (lambda s: s.pop("actor.mu.bias"), "has no 'actor.mu.bias'"),
    "missing weight": (lambda s: s.pop("actor.mu.weight"), "has no 'actor.mu.weight'"),
    "unknown": (lambda s: s.update({"actor.extra": torch.ones(2)}), r"weights that are not known here: actor\.extra"),
    "skipped layer": (
        lambda s: s.update({"actor.latent_pi.9.weight": torch.ones(2, 2)}), r"not known here: actor\.latent_pi\.9"
    ),
    "another shape": (lambda s: s.update({"actor.mu.weight": torch.ones(2, 9)}), "expected 6 inputs"),
    "another bias": (lambda s: s.update({"actor.mu.bias": torch.ones(3)}), r"bias \(3,\), expected \(2,\)"),
    "not finite": (lambda s: s.update({"actor.mu.bias": torch.tensor([0.0, np.nan])}), "not finite"),
    "integers": (lambda s: s.update({"actor.mu.bias": torch.tensor([0, 1])}), "floating-point numbers"),
    "no tensor": (lambda s: s.update({"actor.mu.bias": "x"}), r"actor\.mu\.bias \(str\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_never_skipped(tmp_path, trained, name):
    change, said = WEIGHTS[name]
    source = trained("sac").checkpoint
    path = rewritten(source, tmp_path / "model.zip", policy_pth=weights_with(source, change))
    with pytest.raises(ArtifactError, match=said):
        sb3.load(path)


def test_lstm_weights_must_be_those_of_plain_layers(tmp_path, trained):
    source = trained("lstm pendulum").checkpoint
    for change, said in (
        (lambda s: s.pop("lstm_actor.weight_ih_l0"), "has no weight_ih_l0"),
        (lambda s: s.pop("lstm_actor.bias_hh_l1"), "bias_hh_l1 is missing"),
        (lambda s: s.update({"lstm_actor.weight_ih_l0_reverse": torch.ones(48, 3)}), "weight_ih_l0_reverse"),
        (lambda s: s.update({"lstm_actor.weight_hh_l1": torch.ones(48, 11)}), r"weight_hh_l1 \(48, 11\), expected"),
    ):
        path = rewritten(source, tmp_path / "model.zip", policy_pth=weights_with(source, change))
        with pytest.raises(ArtifactError, match=said):
            sb3.load(path)


def test_no_archive_and_missing_members(tmp_path, trained, monkeypatch):
    source = trained("sac").checkpoint
    path = tmp_path / "model.zip"
    for content, said in ((b"", "is empty"), (b"text", "no readable zip"), (source.read_bytes()[:90], "no readable")):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=said):
            sb3.load(path)
    with pytest.raises(ArtifactError, match="cannot read"):
        sb3.load(tmp_path / "nothing.zip")
    torch.save({}, path)  # a zip archive too
    with pytest.raises(ArtifactError, match=r"no member 'data' and no member 'policy\.pth'"):
        sb3.load(path)
    with pytest.raises(ArtifactError, match=r"no member 'policy\.pth'"):
        sb3.load(rewritten(source, path, policy_pth=None))
    monkeypatch.setattr(_files, "LARGEST_BYTES", 200_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("data", b" " * 10_000_000)
        bomb.writestr("policy.pth", b"")
    with pytest.raises(ArtifactError, match="'data' would have 10,000,000 bytes"):
        sb3.load(path)


def test_statistics_that_do_not_fit(tmp_path, trained):
    cases = (
        ("sac", "lstm pendulum", None),  # three elements both
        ("ppo cartpole", "lstm pendulum", r"statistics of 3 means .* the observation of the policy has 4"),
        ("sac", "lstm dict", "statistics of a Dict, but the observation of the policy is a Box"),
        ("lstm dict", "lstm pendulum", "statistics of one vector, but the observation of the policy is a Dict"),
    )
    for policy, statistics, said in cases:
        options = {"vecnormalize": trained(statistics).vecnormalize}
        if said is None:
            trained(policy).load(**options)
            continue
        with pytest.raises(ArtifactError, match=said):
            trained(policy).load(**options)
    for change, said in (
        (lambda v: setattr(v.obs_rms, "mean", np.full(3, np.nan)), "cannot be used: .*finite"),
        (lambda v: setattr(v.obs_rms, "var", -np.ones(3)), "cannot be used: variance"),
        (lambda v: delattr(v, "obs_rms"), "no mean and var"),
        (lambda v: delattr(v, "epsilon"), "a VecNormalize without epsilon"),
    ):
        broken = VecNormalize.load(trained("lstm pendulum").vecnormalize, DummyVecEnv([CASES["lstm pendulum"].make]))
        change(broken)
        path = tmp_path / "vecnormalize.pkl"
        broken.save(path)
        with pytest.raises(ArtifactError, match=said):
            trained("sac").load(vecnormalize=path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["lstm pendulum", "lstm dict", "ppo"])
def test_statistics_without_their_classes(name, protocol, tmp_path, trained):
    """As SB3 1 wrote them, with classes of gym: neither is looked for."""
    env = VecNormalize.load(trained(name).vecnormalize, DummyVecEnv([CASES[name].make]))
    pickled = pickle.dumps(env, protocol)
    for old, new in ((b"gymnasium.", b"gymnasyum."), (b"stable_baselines3.", b"stable_basslines3.")):
        assert old in pickled
        pickled = pickled.replace(old, new)
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(pickled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = sb3.load(trained(name).checkpoint, vecnormalize=path), trained(name).load()
    assert repr(found) == repr(expected)
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
