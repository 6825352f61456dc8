"""Checkpoints of rsl_rl's runners: the same numbers as the library's own inference, and refusals of everything else."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import rsl_rl_files as files
import torch
from rsl_rl.utils import resolve_nn_activation
from same_actions import EVERY_FILE, Run, check_files, stepped
from torch import nn

import ganglion
from ganglion.adapters import rsl_rl
from ganglion.adapters.rsl_rl.network import ACTIVATIONS
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError

torch.set_num_threads(1)

TRAINED = {
    "mlp": (files.MODELS["mlp"], {}),
    "mlp without normaliser": (files.MODELS["mlp"], {"normalized": False, "activation": "mish"}),
    "lstm_1": (files.MODELS["lstm_1"], {"distribution": {**files.GAUSSIAN, "std_type": "log"}}),
    "lstm_1 without normaliser": (files.MODELS["lstm_1"], {"normalized": False}),
    "gru_2": (files.MODELS["gru_2"], {"activation": "relu"}),
    "heteroscedastic": (files.MODELS["gru_1"], {"distribution": {"class_name": "HeteroscedasticGaussianDistribution"}}),
    "beta": (files.MODELS["mlp"], {"distribution": {"class_name": "BetaDistribution", "action_range": [-2.0, 3.0]}}),
}
"""Models of rsl_rl 5 and what their configuration says."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runners that have trained, their configurations and their checkpoints; each is made once."""
    done = {}

    def get(name):
        if name not in done:
            model, settings = TRAINED[name]
            config = files.configuration(model, **settings)
            runner = files.train(config)
            done[name] = runner, config, tmp_path_factory.mktemp("rsl_rl") / "model_2.pt"
            files.save(runner, done[name][2])
        return done[name]

    return get


def largest_error(policy, recording):
    """How far a policy is from what rsl_rl did, over all steps and rows."""
    return np.abs(stepped(policy, recording.observation, recording.reset) - recording.action).max()


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_policy_is_that_of_the_library(trained, name):
    runner, config, path = trained(name)
    recording = files.record_runner(runner, steps=1000, rows=4)
    assert np.ptp(recording.action) > 0.1
    assert largest_error(rsl_rl.load(path, config=config), recording) < 1e-5


def write(path, module, **others):
    """Writes a checkpoint as the runners of rsl_rl 1 to 3 do."""
    optimizer = torch.optim.Adam(module.parameters()).state_dict()
    document = {"model_state_dict": module.state_dict(), "optimizer_state_dict": optimizer, "iter": 3, "infos": None}
    torch.save({**document, **others}, path)
    return path


@pytest.mark.parametrize(("rnn", "layers"), [(None, 1), ("lstm", 1), ("lstm", 2), ("gru", 3)])
@pytest.mark.parametrize("make", [files.ActorCritic, files.StudentTeacher])
@pytest.mark.parametrize("version", [2, 3])
def test_checkpoints_of_versions_1_to_3(tmp_path, make, version, rnn, layers):
    torch.manual_seed(layers)
    std = "std" if version == 2 else "log_std"
    module = files.fill_statistics(make(rnn=rnn, layers=layers, normalized=version == 3, std=std))
    others, normalizer = {}, nn.Identity()
    if version == 2:
        normalizer = files.fill_statistics(files.EmpiricalNormalization(files.OBSERVATIONS))
        privileged = files.EmpiricalNormalization(files.OBSERVATIONS + 2)
        others = {
            "obs_norm_state_dict": normalizer.state_dict(), "privileged_obs_norm_state_dict": privileged.state_dict(),
        }  # fmt: skip
    policy = rsl_rl.load(write(tmp_path / "model_3.pt", module, **others), activation="elu")
    recording = files.record(lambda obs: module.act_inference(normalizer(obs)), module.reset, steps=300, rows=3)
    assert largest_error(policy, recording) < 1e-5
    assert policy.hidden_size == (0 if rnn is None else 9 * layers * (2 if rnn == "lstm" else 1))


def test_a_checkpoint_of_legged_gym_has_no_normaliser(tmp_path):
    module = files.fill_statistics(files.ActorCritic(rnn="lstm"))
    policy = rsl_rl.load(write(tmp_path / "model_3.pt", module), activation="elu")
    assert policy.observation_normalizer is None
    assert largest_error(policy, files.record(module.act_inference, module.reset, steps=100)) < 1e-5


@pytest.mark.parametrize("std", ["std", "log_std", None])
@pytest.mark.parametrize("rnn", [None, "gru"])
def test_checkpoints_of_version_4(tmp_path, rnn, std):
    module = files.fill_statistics(files.Model4(rnn=rnn, std=std))
    document = {"actor_state_dict": module.state_dict(), "critic_state_dict": {}, "iter": 1, "infos": None}
    torch.save(document, tmp_path / "model_1.pt")
    config = {"actor": {"hidden_dims": [12, 10], "activation": "elu", "state_dependent_std": std is None}}
    policy = rsl_rl.load(tmp_path / "model_1.pt", config=config)
    assert largest_error(policy, files.record(module.act_inference, module.reset, steps=300)) < 1e-5


def test_version_3_with_a_state_dependent_standard_deviation(tmp_path):
    module = files.fill_statistics(files.ActorCritic(std=None, normalized=True))
    policy = rsl_rl.load(write(tmp_path / "model_3.pt", module), activation="elu")
    assert policy.env_spec.action_size == files.ACTIONS
    assert largest_error(policy, files.record(module.act_inference, module.reset, steps=100)) < 1e-5


def test_students_of_version_5(trained, tmp_path):
    runner, _, path = trained("gru_2")
    document = torch.load(path)
    student = {"student_state_dict": document["actor_state_dict"], "teacher_state_dict": document["critic_state_dict"]}
    torch.save({**student, "iter": 1, "infos": None}, tmp_path / "model_1.pt")
    config = {"student": {"activation": "relu", "hidden_dims": [12, 10]}}
    policy = rsl_rl.load(tmp_path / "model_1.pt", config=config)
    assert largest_error(policy, files.record_runner(runner, steps=100)) < 1e-5
    # A student may be deterministic: then its outputs are the actions.
    del student["student_state_dict"]["distribution.std_param"]
    torch.save({**student, "iter": 1, "infos": None}, tmp_path / "model_1.pt")
    policy = rsl_rl.load(tmp_path / "model_1.pt", config={"student": {**config["student"]}}, distribution="none")
    assert largest_error(policy, files.record_runner(runner, steps=100)) < 1e-5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_that_of_the_library(tmp_path, name):
    module = files.fill_statistics(files.ActorCritic(activation=name))
    policy = rsl_rl.load(write(tmp_path / "model_3.pt", module), activation=name.upper())
    assert repr(policy.policy.head[1]) == repr(resolve_nn_activation(name))
    assert largest_error(policy, files.record(module.act_inference, module.reset, steps=20)) < 1e-5


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "slots", "suffixes"),
    [
        ("lstm_1", ["h", "c"], EVERY_FILE), ("gru_2", ["h"], EVERY_FILE), ("mlp", [], (".pt", ".ganglion")),
        ("beta", [], (".ganglion",)),
    ],
)  # fmt: skip
def test_every_file_and_engine(trained, tmp_path, name, slots, suffixes):
    runner, config, checkpoint = trained(name)
    policy = rsl_rl.load(checkpoint, config=config)
    recording = files.record_runner(runner, steps=1000)
    run = Run(*(array[:, 0] for array in (recording.observation, recording.reset, recording.action)))
    check_files(policy, run, tmp_path, suffixes)
    assert [slot.name for slot in policy.state_layout] == slots


def run_folder(folder, checkpoint, text):
    """A checkpoint and its configuration where Isaac Lab puts them."""
    (folder / "params").mkdir()
    (folder / "params" / "agent.yaml").write_text(text, encoding="utf-8")
    (folder / "model_2.pt").write_bytes(checkpoint.read_bytes())
    return folder / "model_2.pt"


AGENT = """
seed: 42
clip_actions: 0.25
obs_groups: {actor: [policy, imu]}
policy: {}
actor:
  class_name: RNNModel
  hidden_dims: !!python/tuple [12, 10]
  activation: relu
  rnn_num_layers: 2
  distribution_cfg: {class_name: 'rsl_rl.modules:GaussianDistribution', std_range: !!python/tuple [1.0e-06, 1.0e+06]}
"""


def test_the_configuration_beside_the_checkpoint_is_read(trained, tmp_path):
    runner, _, checkpoint = trained("gru_2")
    path = run_folder(tmp_path, checkpoint, AGENT)
    recording = files.record_runner(runner, steps=100)
    clipped = files.Recording(recording.observation, recording.reset, recording.action.clip(-0.25, 0.25))
    assert largest_error(rsl_rl.load(path), clipped) < 1e-5
    assert np.abs(recording.action - clipped.action).max() > 0.01
    assert rsl_rl.load(path).output_specs[0].high == (0.25,) * files.ACTIONS
    # Arguments win; an empty configuration stands for no file at all.
    assert largest_error(rsl_rl.load(path, clip_actions=float("inf")), recording) < 1e-5
    assert largest_error(rsl_rl.load(path, config={}, activation="relu"), recording) < 1e-5
    assert largest_error(rsl_rl.load(checkpoint, config=path.parent / "params" / "agent.yaml"), clipped) < 1e-5


def test_without_a_configuration_the_activation_is_a_guess_that_is_told(trained):
    runner, _, path = trained("lstm_1")
    with pytest.warns(UserWarning, match=r"does not say which activation .* activation=\.\.\., or config=agent\.yaml"):
        policy = rsl_rl.load(path)
    assert largest_error(policy, files.record_runner(runner, steps=50)) < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rsl_rl.load(path, activation="elu")


def test_observation_groups_and_names(trained, tmp_path):
    runner, config, path = trained("lstm_1")
    policy = rsl_rl.load(path, config=config, observation_groups=files.GROUPS)
    assert [(spec.name, spec.size) for spec in policy.input_specs] == list(files.GROUPS.items())
    contract = ganglion.export(policy, tmp_path / "policy.onnx")
    assert contract.inputs == policy.input_specs
    assert ganglion.verify(tmp_path / "policy.onnx", policy, steps=200).ok
    assert largest_error(policy, files.record_runner(runner, steps=50)) < 1e-5
    with pytest.raises(ValueError, match=r"are \['imu', 'policy'\]; the runner's configuration says \['policy', 'imu'"):
        rsl_rl.load(path, config=config, observation_groups={"imu": 3, "policy": 4})
    with pytest.raises(ValueError, match="have 5 elements; the policy takes 7"):
        rsl_rl.load(path, activation="elu", observation_groups={"policy": 5})
    names = [f"joint_{index}" for index in range(files.ACTIONS)]
    spaces = gymnasium.spaces.Box(-1.0, 1.0, (7,)), gymnasium.spaces.Box(-2.0, 2.0, (3,))
    policy = rsl_rl.load(path, config=config, env_spec=EnvSpec(*spaces, action_names=names))
    assert policy.output_specs[0].element_names == tuple(names)
    with pytest.raises(ValueError, match=r"env_spec has 3 observations and 7 actions; the policy .* has 7 and 3"):
        rsl_rl.load(path, config=config, env_spec=EnvSpec(*reversed(spaces)))


def test_random_numbers_of_the_caller_stay(trained):
    _, config, path = trained("lstm_1")
    before = torch.get_rng_state()
    rsl_rl.load(path, config=config)
    assert torch.equal(torch.get_rng_state(), before)


def altered(trained, tmp_path, name, change):
    """A checkpoint with another state dictionary of the actor."""
    document = torch.load(trained(name)[2])
    change(document["actor_state_dict"])
    torch.save(document, tmp_path / "model_2.pt")
    return tmp_path / "model_2.pt"


def put(name, value):
    return lambda tensors: tensors.update({name: value})


def drop(name):
    return lambda tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("estimator.0.weight", torch.zeros(2, 2)), r"not known here: estimator.0.weight; rsl_rl's own models"),
        (put("cnns.camera.0.weight", torch.zeros(2, 2, 3, 3)), r"convolutional encoders for \['camera'\]"),
        (put("mlp.2.weight", torch.full((10, 12), torch.nan)), "'mlp.2.weight' holds values that are not finite"),
        (put("obs_normalizer._std", torch.full((1, 7), torch.inf)), "'obs_normalizer._std' holds values that are not"),
        (put("mlp.2.weight", torch.zeros(10, 11)), r"layers with \[12, 10\] outputs are followed by .* \[11, 10\] in"),
        (put("mlp.1.weight", torch.zeros(12)), "not known here: mlp.1.weight"),
        (put("mlp.0.weight", torch.zeros(12)), r"'mlp.0.weight' is .* of shape \(12,\); expected 2 axes"),
        (drop("mlp.2.weight"), "not known here: mlp.2.bias, mlp.4.bias, mlp.4.weight"),
        (drop("mlp.0.weight"), "has no 'mlp.0.weight'"),
        (drop("rnn.rnn.bias_hh_l0"), "bias_hh_l0 is missing"),
        (drop("mlp.2.bias"), "'mlp.2.bias' is missing; every layer of rsl_rl has one"),
        (lambda t: [t.pop(f"rnn.rnn.bias_{kind}_l0") for kind in ("ih", "hh")], "'rnn.rnn.bias_ih_l0' is missing"),
        (drop("rnn.rnn.weight_ih_l0"), "no weight_ih_l0 and weight_hh_l0"),
        (put("rnn.rnn.weight_hh_l0_reverse", torch.zeros(36, 9)), "weight_hh_l0_reverse"),
        (put("rnn.rnn.weight_hh_l0", torch.zeros(9, 9)), "an LSTM has 4 rows a unit and a GRU 3"),
        (put("mlp.0.weight", torch.zeros(12, 8)), "recurrent layers have 9 units, but the layers behind them take 8"),
        (drop("obs_normalizer._std"), "has no 'obs_normalizer._std'"),
        (put("obs_normalizer._mean", torch.zeros(1, 6)), "the normaliser has 6 elements, the actor takes 7"),
        (
            put("distribution.std_param", torch.zeros(4)),
            "standard deviation of 4 elements, but its layers have 3 outputs",
        ),
        (put("mlp.0.weight", "text"), r"mlp.0.weight \(str\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(trained, tmp_path, change, message):
    path = altered(trained, tmp_path, "lstm_1", change)
    with pytest.raises(ArtifactError, match=message):
        rsl_rl.load(path, activation="elu")


def test_no_key_of_the_actor_is_left_out(trained, tmp_path):
    """Whatever is missing is missed, and whatever is renamed is named."""
    for name in torch.load(trained("gru_2")[2])["actor_state_dict"]:
        if name in ("distribution.std_param", "obs_normalizer._var", "obs_normalizer.count"):
            continue  # has no part in the action
        path = altered(trained, tmp_path, "gru_2", drop(name))
        with pytest.raises(ArtifactError):
            rsl_rl.load(path, activation="relu")


def test_the_head_is_not_guessed(trained, tmp_path):
    path = trained("heteroscedastic")[2]
    with pytest.raises(ValueError, match=r"6 outputs can be: 3 means .*\('beta'\), or 6 actions \('none'\); say which"):
        rsl_rl.load(path, activation="elu")
    with pytest.raises(ValueError, match="distribution 'normal' is not known; there are gaussian, heteroscedastic"):
        rsl_rl.load(path, activation="elu", distribution="normal")
    with pytest.raises(ArtifactError, match="the distribution Mixture of the configuration is not known"):
        rsl_rl.load(path, config={"actor": {"distribution_cfg": {"class_name": "mine:Mixture"}}}, activation="elu")
    with pytest.raises(ArtifactError, match="action_range of the configuration is 3; expected two numbers"):
        settings = {"class_name": "BetaDistribution", "action_range": 3}
        rsl_rl.load(path, config={"actor": {"distribution_cfg": settings}}, activation="elu")
    with pytest.raises(ValueError, match="a Gaussian head, no beta one"):
        rsl_rl.load(trained("mlp")[2], activation="elu", distribution="beta")
    odd = altered(trained, tmp_path, "mlp", drop("distribution.std_param"))
    with pytest.raises(ValueError, match="3 outputs of the layers are no pairs, as a beta head has them"):
        rsl_rl.load(odd, activation="elu", distribution="beta")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"hidden_dims": [12, 11]}, r"says hidden layers of \[12, 11\] units, but .* have \[12, 10\]"),
        ({"rnn_num_layers": 1}, "says 1 recurrent layers, but .* has 2"),
    ],
)
def test_a_configuration_of_another_model_is_refused(trained, part, message):
    with pytest.raises(ArtifactError, match=message):
        rsl_rl.load(trained("gru_2")[2], config={"actor": {"activation": "relu", **part}})


def test_a_normaliser_that_is_not_there_is_missed(trained, tmp_path):
    with pytest.raises(ArtifactError, match=r"says that observations are normalised, but .* has no statistics"):
        rsl_rl.load(
            trained("mlp without normaliser")[2], config={"actor": {"activation": "mish", "obs_normalization": True}}
        )
    module = files.fill_statistics(files.ActorCritic(normalized=True))
    twice = write(tmp_path / "model_3.pt", module, obs_norm_state_dict=module.actor_obs_normalizer.state_dict())
    with pytest.raises(ArtifactError, match="has a normaliser of its own, and 'obs_norm_state_dict' is another one"):
        rsl_rl.load(twice, activation="elu")
    text = write(tmp_path / "model_3.pt", files.ActorCritic(), obs_norm_state_dict={"_mean": 1})
    with pytest.raises(ArtifactError, match=r"obs_norm_state_dict .* _mean \(int\)"):
        rsl_rl.load(text, activation="elu")


def test_arguments_that_are_no_good(trained):
    path = trained("mlp")[2]
    with pytest.raises(ValueError, match="activation 'elo' is not known; rsl_rl has elu, selu"):
        rsl_rl.load(path, activation="elo")
    for clip in (0.0, -1.0, float("nan"), True, "1"):
        with pytest.raises(ValueError, match="clip_actions must be a positive number or None"):
            rsl_rl.load(path, activation="elu", clip_actions=clip)
    with pytest.raises(TypeError, match="config must be a path, a mapping or None, not int"):
        rsl_rl.load(path, config=3)


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "model_1.pt"
    for document, message in (
        ([1, 2], "holds a list; a runner of rsl_rl writes a dict"),
        ({"policy": {}, "scaler": {}}, r"it has the entries \['policy', 'scaler'\]; expected one of"),
        ({"actor_state_dict": {"net.0.weight": torch.zeros(1, 1)}}, "with the layers of an actor"),
        ({"actor_state_dict": {"mlp.x": torch.zeros(1)}}, "has no 'mlp.0.weight'"),
    ):
        torch.save(document, path)
        with pytest.raises(ArtifactError, match=message):
            rsl_rl.load(path, activation="elu")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ArtifactError):
        rsl_rl.load(path)
    with pytest.raises(ArtifactError, match="cannot read"):
        rsl_rl.load(tmp_path / "none.pt")


def test_entries_of_forks_are_told(trained, tmp_path):
    document = torch.load(trained("lstm_1")[2])
    torch.save({**document, "estimator_state_dict": {}, "rnd_state_dict": {}}, tmp_path / "model_2.pt")
    with pytest.warns(UserWarning, match=r"are not read: \['estimator_state_dict'\]") as caught:
        rsl_rl.load(tmp_path / "model_2.pt", activation="elu")
    assert caught[0].filename == __file__


class Note:
    """Something that `infos` may hold."""


def test_classes_in_a_checkpoint_are_left_out(trained, tmp_path):
    runner, _, path = trained("lstm_1")
    torch.save({**torch.load(path), "infos": Note()}, tmp_path / "model_2.pt")
    policy = rsl_rl.load(tmp_path / "model_2.pt", activation="elu")
    assert largest_error(policy, files.record_runner(runner, steps=20)) < 1e-5
    with pytest.warns(UserWarning, match="can run any code"):
        rsl_rl.load(tmp_path / "model_2.pt", activation="elu", allow_pickle=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("actor: !!python/object/apply:os.system ['touch marker']", r"line 1: .*python/object/apply:os\.system"),
        ("actor: !!python/name:torch.nn.ELU", r"could not determine a constructor for the tag .*config=\{\} and"),
        ("- a\n- b", "holds a list; the configuration of a runner is a mapping"),
        ("a: [1", "is no YAML"),
        ("a: \xff\xfe\x00", "is no YAML"),
    ],
)
def test_configurations_that_are_no_good(trained, tmp_path, text, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = run_folder(tmp_path, trained("lstm_1")[2], text)
    with pytest.raises(ArtifactError, match=message):
        rsl_rl.load(path)
    assert not Path("marker").exists()
    rsl_rl.load(path, config={}, activation="elu")
    with pytest.raises(ArtifactError, match="cannot read"):
        rsl_rl.load(path, config=tmp_path / "none.yaml")
