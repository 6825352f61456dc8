"""Saved policies of Pyrado, garage and TF-Agents: the numbers that the originals recorded, and refusals.

None of the three runs on a current Python; what they computed is in `tests/golden`.
"""

from __future__ import annotations

import functools
import pickle
import re
import sys
import types
import zipfile

import actor_cases  # lies with the tests of the policies, as the next two do
import garage_cases
import numpy as np
import pyrado_golden
import pytest
import torch
from torch import nn

import ganglion
from ganglion.adapters import garage, pyrado, tf_agents
from ganglion.errors import ArtifactError
from ganglion.policies import (
    GaussianGRUPolicy,
    GaussianMLPPolicy,
    GRUPolicy,
    TwoHeadedGRUPolicy,
    load_tf_agents_weights,
)
from ganglion.policies.garage.weights import _variables

pytestmark = pytest.mark.deep  # exports what every library names

torch.set_num_threads(1)


def run(policy, observations, hidden):
    """First outputs behind each step of `[steps, ..., n]`."""
    actions = []
    with torch.inference_mode():
        for observation in observations:
            action, *_, hidden = policy(torch.as_tensor(observation), hidden)
            actions.append(action)
    return torch.stack(actions)


# Pyrado


@pytest.mark.filterwarnings("ignore:NFPolicy. a learnable kappa")
@pytest.mark.parametrize(
    "name", ["thrnn_1l_default", "thgru_1l_default", "thlstm_1l_default", "adn_pd_cubic_sigmoid", "nf_mirr_k3"]
)
def test_pyrado_state_dictionaries(tmp_path, name):
    case = pyrado_golden.Case(name)
    torch.save(case.params, tmp_path / "policy.pt")
    kwargs = dict(case.kwargs)
    built = pyrado.load(tmp_path / "policy.pt", policy=case.meta["cls"], env_spec=case.spec, **kwargs)
    given = case.cls(case.spec, **kwargs)
    assert pyrado.load(tmp_path / "policy.pt", policy=given) is given
    for policy in (built, given, pyrado.load(tmp_path / "policy.pt", policy=case.cls, env_spec=case.spec, **kwargs)):
        assert not policy.training
        actions = run(policy, case.data["obs"], case.data["hidden0"])
        torch.testing.assert_close(actions, case.data["seq.act"], atol=2e-5, rtol=2e-5)


def test_a_whole_policy_of_pyrado_is_read_by_its_weights(tmp_path, monkeypatch):
    case = pyrado_golden.Case("thgru_1l_default")
    torch.save(case.policy(), tmp_path / "policy.pt")
    load = functools.partial(
        pyrado.load, tmp_path / "policy.pt", policy=case.meta["cls"], env_spec=case.spec, **case.kwargs
    )
    policy = load()
    torch.testing.assert_close(run(policy, case.data["obs"], case.data["hidden0"]), case.data["seq.act"])
    with pytest.warns(UserWarning, match="can run any code"):
        load(allow_pickle=True)
    # Its class need not be there.
    gone = types.ModuleType("pyrado_gone")
    gone.Policy = type("Policy", (case.cls,), {"__module__": "pyrado_gone"})
    monkeypatch.setitem(sys.modules, "pyrado_gone", gone)
    whole = case.policy()
    whole.__class__ = gone.Policy
    torch.save(whole, tmp_path / "policy.pt")
    monkeypatch.delitem(sys.modules, "pyrado_gone")
    torch.testing.assert_close(run(load(), case.data["obs"], case.data["hidden0"]), case.data["seq.act"])


def test_a_whole_policy_without_pyrado_says_what_to_do(tmp_path, monkeypatch):
    module = types.ModuleType("pyrado_gone")
    module.Policy = type("Policy", (nn.Linear,), {"__module__": "pyrado_gone"})
    monkeypatch.setitem(sys.modules, "pyrado_gone", module)
    torch.save(module.Policy(2, 2), tmp_path / "policy.pt")
    monkeypatch.delitem(sys.modules, "pyrado_gone")
    with (
        pytest.warns(UserWarning, match="can run any code"),
        pytest.raises(ArtifactError, match=r"There is no need to: .* or save policy\.state_dict\(\)"),
    ):
        pyrado.load(tmp_path / "policy.pt", policy="GRUPolicy", allow_pickle=True)


@pytest.mark.parametrize(("name", "kind"), [("gru_1l", "GRUPolicy"), ("lstm_1l", "LSTMPolicy")])
def test_pyrado_policies_with_one_head(tmp_path, name, kind):
    with np.load(pyrado_golden.GOLDEN / f"{name}.npz") as file:
        data = {key: torch.from_numpy(file[key]) for key in file.files if key != "meta"}
    tensors = {key.removeprefix("param."): value for key, value in data.items() if key.startswith("param.")}
    torch.save(tensors, tmp_path / "policy.pt")
    spec = garage_cases.box_spec()
    sizes = {"hidden_size": 8, "num_recurrent_layers": 1}
    policy = pyrado.load(tmp_path / "policy.pt", policy=kind, env_spec=spec, **sizes)
    torch.testing.assert_close(run(policy, data["obs"], data["hidden0"]), data["seq.act"], atol=2e-5, rtol=2e-5)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=200).ok


def test_pyrado_files_and_arguments_that_are_no_good(tmp_path):
    case, path = pyrado_golden.Case("thgru_1l_default"), tmp_path / "policy.pt"
    torch.save(case.params, path)
    with pytest.raises(ValueError, match="policy 'Gru' is not known; there are RNNPolicy, GRUPolicy"):
        pyrado.load(path, policy="Gru", env_spec=case.spec)
    with pytest.raises(ValueError, match="Own needs env_spec"):
        pyrado.load(path, policy=type("Own", (TwoHeadedGRUPolicy,), {}))
    with pytest.raises(TypeError, match="for a policy class, not for a policy"):
        pyrado.load(path, policy=case.policy(), env_spec=case.spec)
    with pytest.raises(TypeError, match="for a policy class, not for a policy"):
        pyrado.load(path, policy=case.policy(), shared_hidden_size=3)
    with pytest.raises(ValueError, match=r"shared.weight_ih_l0 has shape \(24, 4\), expected \(27, 4\)"):
        pyrado.load(path, policy=TwoHeadedGRUPolicy, env_spec=case.spec, **{**case.kwargs, "shared_hidden_size": 9})
    with pytest.raises(ValueError, match=r"head_1.weight is unknown"):
        pyrado.load(path, policy=GRUPolicy, env_spec=case.spec, hidden_size=8, num_recurrent_layers=1)
    with pytest.raises(TypeError, match="expected a recurrent policy, not Linear"):
        pyrado.load(path, policy=nn.Linear(2, 2))
    before = torch.get_rng_state()
    pyrado.load(path, policy=TwoHeadedGRUPolicy, env_spec=case.spec, **case.kwargs)
    assert torch.equal(torch.get_rng_state(), before)
    for document in ([1], {}):
        torch.save(document, path)
        with pytest.raises(ArtifactError, match="expected a policy or its state dictionary"):
            pyrado.load(path, policy=case.policy())
    path.write_bytes(b"nothing")
    with pytest.raises(ArtifactError):
        pyrado.load(path, policy=case.policy())


# garage


def named(case):
    """The variables by the names that garage gives them."""
    return {name: case.data[f"param.{name}"] for name in case.meta["global_vars"]}


def write_garage(path, case, form):
    """Writes the parameters in one of the forms that `garage.load` reads."""
    if form == "names":
        np.savez(path, **named(case))
    elif form == "compressed":
        with path.open("wb") as file:
            np.savez_compressed(file, **named(case))
    elif form == "order":
        np.savez(path, *case.values("param"))
    elif form == "vector":
        with path.open("wb") as file:
            np.save(file, case.data["get_param_values"])
    else:
        path.write_bytes(pickle.dumps(named(case)))


@pytest.mark.parametrize("form", ["names", "compressed", "order", "vector", "pickle"])
@pytest.mark.parametrize("name", ["act1_share0_ln0_fb0", "act0_share1_ln0_fb1", "init_states_const"])
def test_garage_parameters(tmp_path, name, form):
    case = garage_cases.Case(name)
    path = tmp_path / "parameters.npz"
    write_garage(path, case, form)
    policy = garage.load(path, policy=case.fresh())
    reference = case.policy()
    keys = [key for key in reference.state_dict() if form != "vector" or "initial" not in key]
    assert all(torch.equal(policy.state_dict()[key], reference.state_dict()[key]) for key in keys)
    if form == "vector":
        return  # without initial states, which are drawn and not trained
    hidden, means = policy.init_hidden(3), []
    with torch.inference_mode():
        for number, observation in enumerate(case.data["obs"]):
            reset = torch.from_numpy(case.data["resets"][number])[:, None]
            hidden = torch.where(reset, policy.init_hidden(3), hidden)
            mean, _, hidden = policy(torch.from_numpy(observation), hidden)
            means.append(mean)
            # The original executed what it drew, which is the previous action of the next step.
            hidden = policy.with_applied_action(hidden, torch.from_numpy(case.data["step.action"][number]))
    case.assert_close(torch.stack(means), "step.mean")


def test_garage_policies_by_name_export(tmp_path):
    spec = garage_cases.box_spec()
    reference = GaussianGRUPolicy(spec, hidden_dim=5)
    np.save(tmp_path / "values.npy", reference.param_values.numpy())
    before = torch.get_rng_state()
    policy = garage.load(tmp_path / "values.npy", policy="GaussianGRUPolicy", env_spec=spec, hidden_dim=5)
    assert torch.equal(torch.get_rng_state(), before)
    # garage keeps kernels the other way round, so the vector is not ours; the sum of its squares is.
    assert torch.isclose(policy.param_values.square().sum(), reference.param_values.square().sum())
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=200).ok


def test_garage_files_and_arguments_that_are_no_good(tmp_path):
    case, path = garage_cases.Case("act1_share0_ln0_fb0"), tmp_path / "parameters.npz"
    path.write_bytes(pickle.dumps({"algo": case}))
    with pytest.raises(ArtifactError, match=r"Case, which is not run.*allow_pickle=True"):
        garage.load(path, policy=case.fresh())
    path.write_bytes(pickle.dumps("an experiment"))
    with pytest.raises(ArtifactError, match=r"holds a str; expected arrays .* write policy\.get_param_values"):
        garage.load(path, policy=case.fresh())
    write_garage(path, case, "names")
    with pytest.raises(ValueError, match="policy 'LSTM' is not known; there are GaussianLSTMPolicy"):
        garage.load(path, policy="LSTM", env_spec=garage_cases.box_spec())
    with pytest.raises(ValueError, match="has shape"):
        garage.load(path, policy="GaussianLSTMPolicy", env_spec=garage_cases.box_spec(), hidden_dim=9)
    np.savez(path, **{**named(case), "P/other:0": np.zeros(1)})
    with pytest.raises(ValueError, match=r"unknown garage variables \['P/other:0'\]"):
        garage.load(path, policy=case.fresh())
    np.savez(path, values=np.array([object()]))
    with pytest.raises(ArtifactError, match="no readable file of numpy"):
        garage.load(path, policy=case.fresh(), allow_pickle=True)
    write_garage(path, case, "names")
    whole = path.read_bytes()
    for size in (20, 300, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            garage.load(path, policy=case.fresh())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(ArtifactError, match="holds other files than arrays"):
        garage.load(path, policy=case.fresh())


def test_archives_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", zeros=np.zeros(100_000))
    monkeypatch.setattr("ganglion.adapters._arrays.LARGEST_BYTES", 500_000)
    with pytest.raises(ArtifactError, match="unpacks to 800,"):
        garage.load(tmp_path / "zeros.npz", policy=garage_cases.Case("out_tanh").fresh())


# TF-Agents


def saved(case, kinds=("param.", "normalizer.")):
    """The variables as the docstring of `tf_agents.load` says to write them."""
    left_out = ("normalizer.mean", "normalizer.var")
    return {key: value for key, value in case.arrays.items() if key.startswith(kinds) and key not in left_out}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["ff_dist", "rnn_dist_normalizer", "rnn_dist_statestd_noclip", "rnn_dist_discrete"])
def test_tf_agents_variables(tmp_path, name):
    case = actor_cases.Case(name)
    np.savez(tmp_path / "actor.npz", **saved(case))
    network = actor_cases.NETWORKS[name]()
    policy = tf_agents.load(tmp_path / "actor.npz", network=network, clip=False)
    assert policy.actor_network is network
    hidden = policy.init_hidden(3)
    key, output = ("dist.logits", 1) if "dist.logits" in case.data else ("dist.loc", 0)
    with torch.inference_mode():
        for number, observation in enumerate(case.data["obs"]):
            first = case.data["step_type"][number] == 0
            hidden = torch.where(first[:, None], policy.init_hidden(3), hidden)
            *outputs, hidden = policy(observation, hidden)
            torch.testing.assert_close(outputs[output], case.data[key][number], atol=2e-5, rtol=2e-5)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    assert ganglion.verify(tmp_path / "policy.ganglion", policy, steps=200).ok


def test_tf_agents_variables_in_order_and_another_normaliser(tmp_path):
    case, path = actor_cases.Case("rnn_dist_normalizer"), tmp_path / "actor.npz"
    np.savez(path, *saved(case, ("param.",)).values())
    reference = case.policy()
    load = functools.partial(tf_agents.load, path)
    given = load(network=actor_cases.rnn_network(), observation_normalizer=case.normalizer())
    statistics = {f"normalizer.{name}": case.arrays[f"normalizer.{name}"] for name in ("mean", "var")}
    np.savez(path, **saved(case, ("param.",)), **statistics)
    described = load(network=actor_cases.rnn_network())
    observations, hidden = case.data["obs"], reference.init_hidden(3)
    for policy in (given, described):
        torch.testing.assert_close(run(policy, observations, hidden), run(reference, observations, hidden))
    with pytest.raises(ArtifactError, match="has a normaliser, and observation_normalizer is another one"):
        load(network=actor_cases.rnn_network(), observation_normalizer=case.normalizer())


def test_tf_agents_files_that_are_no_good(tmp_path):
    case, path = actor_cases.Case("rnn_dist_normalizer"), tmp_path / "actor.npz"

    def load(**arrays):
        np.savez(path, **arrays)
        return tf_agents.load(path, network=actor_cases.rnn_network())

    good = saved(case)
    with pytest.raises(ArtifactError, match=r"arrays of unknown use: \['critic.0.kernel:0'\]; in TensorFlow, write"):
        load(**good, **{"critic.0.kernel:0": np.zeros(1)})
    with pytest.raises(ArtifactError, match=r"of the normaliser \['avg', 'count', 'm2_carry'\]; expected count, avg"):
        load(**{key: value for key, value in good.items() if "m2_0" not in key})
    with pytest.raises(ArtifactError, match="statistics of more than one observation"):
        load(**good, **{"normalizer.4.count_1:0": np.ones(1)})
    with pytest.raises(ValueError, match="variables"):
        load(**{key: value for key, value in good.items() if not key.startswith("param.03")})
    with pytest.raises(ValueError, match="have shapes"):
        load(**{key: value.T if key.startswith("param.00") else value for key, value in good.items()})
    path.write_bytes(pickle.dumps(good))
    tf_agents.load(path, network=actor_cases.rnn_network())
    path.write_bytes(pickle.dumps({**good, "param.99.x": object()}))
    with pytest.raises(ArtifactError, match=r"object, which is not run.*allow_pickle=True"):
        tf_agents.load(path, network=actor_cases.rnn_network())
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ArtifactError, match="holds a ndarray; in TensorFlow, write"):
        tf_agents.load(path, network=actor_cases.rnn_network())
    (tmp_path / "ckpt-1.index").write_bytes(b"index")
    for checkpoint in (tmp_path / "ckpt-1", tmp_path / "ckpt-1.index", tmp_path):
        with pytest.raises(ArtifactError, match="which only TensorFlow opens; in TensorFlow, write"):
            tf_agents.load(checkpoint, network=actor_cases.rnn_network())


# Without the spaces or the network: read off the weights, the rest asked for


def close_to_pyrado(policy, case):
    actions = run(policy, case.data["obs"], policy.init_hidden())
    torch.testing.assert_close(actions, case.data["seq.act"], atol=1e-5, rtol=0.0)


@pytest.mark.filterwarnings("ignore:Pyrado computed a fixed kappa", "ignore:NFPolicy. a learnable kappa")
@pytest.mark.parametrize("name", pyrado_golden.cases("thrnn", "thgru", "thlstm", "adn", "nf"))
def test_pyrado_policies_are_read_off_their_weights(tmp_path, name):
    case, path = pyrado_golden.Case(name), tmp_path / "policy.pt"
    torch.save(case.params, path)
    with pytest.raises(ValueError, match=r"does not say .*Say it: --set [a-z_0-9]+=\.\.\.") as caught:
        pyrado.load(path)
    asked = set(re.findall(r"--set ([a-z_0-9]+)=\.\.\.", str(caught.value)))
    assert asked
    kwargs = {key: case.kwargs[key] for key in asked & case.kwargs.keys()}
    if asked > kwargs.keys():
        kwargs["defaults"] = True  # the recorded policies have Pyrado's defaults for the rest
    close_to_pyrado(pyrado.load(path, **kwargs), case)
    given = {key: getattr(value, "__name__", value) for key, value in kwargs.items() if not isinstance(value, tuple)}
    close_to_pyrado(pyrado.load(path, config=given, policy=case.meta["cls"]), case)


def test_pyrado_settings_that_are_no_good(tmp_path):
    path = tmp_path / "policy.pt"
    torch.save(pyrado_golden.Case("thgru_1l_default").params, path)
    heads = {"head_1_output_nonlin": "identity", "head_2_output_nonlin": "tanh"}
    with pytest.raises(ValueError, match=r"head_1_output_nonlin must be tanh, relu.*unknown nonlinearity 'tanhh'"):
        pyrado.load(path, **heads | {"head_1_output_nonlin": "tanhh"})
    with pytest.raises(ValueError, match=r"there is no setting 'hidden_size' for it; there are head_1_output_nonlin"):
        pyrado.load(path, **heads, hidden_size=3)
    with pytest.raises(ValueError, match="has the weights of TwoHeadedGRUPolicy, not of GRUPolicy"):
        pyrado.load(path, policy="GRUPolicy", **heads)
    with pytest.raises(ValueError, match="action_low has 3 elements; there are 2 actions"):
        pyrado.load(path, **heads, action_low=[-1.0] * 3)
    with pytest.raises(ValueError, match="action_low must lie below action_high"):
        pyrado.load(path, **heads, action_low=1.0, action_high=[2.0, 1.0])
    with pytest.raises(ValueError, match="defaults must be true or false"):
        pyrado.load(path, **heads, defaults="yes")
    with pytest.raises(ValueError, match="config is for a policy whose sizes are read off its weights"):
        pyrado.load(path, policy=TwoHeadedGRUPolicy, env_spec=garage_cases.box_spec(), config={})
    assert pyrado.load(path, **heads, action_low=-1, action_high=[1, 2]).output_specs[0].high == (1.0, 2.0)
    (tmp_path / "settings.yaml").write_text("head_1_output_nonlin: !!python/name:torch.tanh")
    with pytest.raises(ArtifactError, match=r"line 1: .*python/name:torch\.tanh.*only plain data"):
        pyrado.load(path, config=tmp_path / "settings.yaml")
    (tmp_path / "settings.yaml").write_text("- 1")
    with pytest.raises(ArtifactError, match="holds a list; expected settings, 'NAME: VALUE' a line"):
        pyrado.load(path, config=tmp_path / "settings.yaml")
    torch.save({"net.weight": torch.ones(1)}, path)
    with pytest.raises(ArtifactError, match=r"has the tensors net\.weight; expected those of a recurrent policy"):
        pyrado.load(path)
    torch.save({"prev_act_layer.weight": torch.ones(2, 2), "obs_layer.0.weight": torch.ones(2, 2)}, path)
    with pytest.raises(ArtifactError, match=r"an obs_layer of its own \(obs_layer\.0\.weight\); build that policy"):
        pyrado.load(path)


@pytest.mark.parametrize("form", ["names", "vector"])
@pytest.mark.parametrize("name", garage_cases.CASES)
def test_garage_policies_are_read_off_their_arrays(tmp_path, name, form):
    case, path = garage_cases.Case(name), tmp_path / "parameters.npz"
    write_garage(path, case, form)
    kind, kwargs = "GaussianLSTMPolicy", case.meta["kwargs"]
    sizes = {"policy": kind, "observation_size": 4, "action_size": 2, "hidden_dim": 6} if form == "vector" else {}
    with pytest.raises(ValueError, match=r"policy=GaussianLSTMPolicy|--set hidden_nonlinearity=") as caught:
        garage.load(path)
    if form == "vector":
        with pytest.raises(ValueError, match="--set hidden_dim=") as caught:
            garage.load(path, policy=kind)
    asked = re.findall(r"--set ([a-z_0-9]+)=\.\.\.", str(caught.value))
    assert ("hidden_state_init" in asked) == ("std_share_network" in asked and form == "vector")
    said = {key: value for key, value in kwargs.items() if key in (*asked, "learn_std") and key not in sizes}
    loaded, reference = garage.load(path, defaults=True, **sizes, **said), case.policy()
    # A vector has what is trained only.
    expected = dict(reference.named_parameters()) if form == "vector" else reference.state_dict()
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in expected.items())
    if form == "names":
        observation = torch.randn(3, 4)
        assert all(torch.equal(*pair) for pair in zip(loaded(observation), reference(observation), strict=True))


@pytest.mark.parametrize(("kind", "layers"), [(GaussianGRUPolicy, "gru_layer"), (GaussianMLPPolicy, "hidden_0")])
def test_other_garage_policies_are_read_off_their_names(tmp_path, kind, layers):
    reference = kind(garage_cases.box_spec(), state_include_action=True, init_std=0.3)
    variables = _variables(reference)
    assert any(variable.name.startswith(layers) for variable in variables)
    arrays = {
        f"P/mean_{variable.name}:0": np.stack([t.detach().numpy().T for t in variable.tensors]).reshape(variable.shape)
        for variable in variables
    }
    np.savez(tmp_path / "a.npz", **arrays)
    loaded = garage.load(tmp_path / "a.npz", defaults=True, state_include_action=True)
    assert type(loaded) is kind
    observation = torch.randn(3, 4)
    assert all(torch.equal(*pair) for pair in zip(loaded(observation), reference(observation), strict=True))
    # Without the previous action all inputs are the observation's; the weights do not tell, so it is asked for.
    other = garage.load(tmp_path / "a.npz", defaults=True, state_include_action=False)
    assert other.env_spec.observation_size == 6
    with pytest.raises(ValueError, match=f"has the parameters of a {kind.__name__}, not of a GaussianLSTMPolicy"):
        garage.load(tmp_path / "a.npz", policy="GaussianLSTMPolicy", defaults=True)


CONTINUOUS = {"action_low": [-2, -1], "action_high": [3, 1], "defaults": True}


@pytest.mark.parametrize("name", [name for name in actor_cases.NETWORKS if "masked" not in name])
def test_tf_agents_networks_are_read_off_their_variables(tmp_path, name):
    case, path = actor_cases.Case(name), tmp_path / "actor.npz"
    settings = {"action_size": 1, "defaults": True} if "discrete" in name else dict(CONTINUOUS)
    if "statestd" in name:
        settings |= {"squash": False, "clip": False}
    heads = {"statestd": "normal_state_std", "discrete": "categorical", "det": "tanh"}
    head = next((value for key, value in heads.items() if key in name), None)
    key, output = ("dist.logits", 1) if "dist.logits" in case.data else ("dist.loc", 0)
    for named in (True, False):
        arrays = saved(case)
        if named:
            np.savez(path, **arrays)
        elif any(name.startswith("normalizer") for name in arrays):
            continue
        else:
            np.savez(path, *arrays.values())
            if head is not None:
                with pytest.raises(ValueError, match=r"does not say head \(normal_state_std.*--set head=\.\.\."):
                    tf_agents.load(path, **settings)
                settings["head"] = head
        policy = tf_agents.load(path, **settings)
        hidden = policy.init_hidden(3)
        with torch.inference_mode():
            for number, observation in enumerate(case.data["obs"]):
                first = case.data["step_type"][number] == 0
                hidden = torch.where(first[:, None], policy.init_hidden(3), hidden)
                *outputs, hidden = policy(observation, hidden)
                torch.testing.assert_close(outputs[output], case.data[key][number], atol=1e-5, rtol=0.0)


def test_tf_agents_settings_that_are_no_good(tmp_path):
    case, path = actor_cases.Case("rnn_dist_lstm8"), tmp_path / "actor.npz"
    np.savez(path, **saved(case))
    with pytest.raises(ValueError, match=r"activation_fn \(.*default of TF-Agents: relu\), action_low \(bounds"):
        tf_agents.load(path)
    with pytest.raises(ValueError, match=r"does not say action_low .*Say it: --set action_low="):
        tf_agents.load(path, defaults=True)
    with pytest.raises(ValueError, match="action_low has 3 elements; there are 2 actions"):
        tf_agents.load(path, **CONTINUOUS | {"action_low": [0, 0, 0]})
    with pytest.raises(ValueError, match="std_transform must be softplus or exp: 'square' is none of"):
        tf_agents.load(path, **CONTINUOUS, std_transform="square")
    with pytest.raises(ValueError, match="config is for a network that is built"):
        tf_agents.load(path, network=actor_cases.rnn_network(), config={})
    np.savez(path, **{key: value for key, value in saved(case).items() if not key.startswith("param.01")})
    with pytest.raises(ArtifactError, match="are those of no actor network that is built here"):
        tf_agents.load(path, **CONTINUOUS)
    last = {"param.00.Net/TanhNormalProjectionNetwork/projection_layer/kernel:0": np.ones((3, 4), np.float32)}
    np.savez(path, **last, **{"param.01.Net/TanhNormalProjectionNetwork/projection_layer/bias:0": np.ones(4)})
    with pytest.raises(ArtifactError, match="ends with a TanhNormalProjectionNetwork"):
        tf_agents.load(path, **CONTINUOUS)


def test_a_gru_of_tf_agents_is_read_off_its_variables(tmp_path):
    random = np.random.default_rng(0)
    shapes = [(5, 12), (4, 12), (2, 12), (4, 2), (2,), (2,)]
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    np.savez(tmp_path / "actor.npz", *arrays)
    policy = tf_agents.load(tmp_path / "actor.npz", **CONTINUOUS)
    assert [(slot.name, slot.shape) for slot in policy.state_layout] == [("h", (1, 4))]
    observation, sigmoid = random.normal(size=5).astype(np.float32), lambda x: 1.0 / (1.0 + np.exp(-x))
    # Keras: update, reset, candidate; from the zero state.
    z, r, h = np.split(observation @ arrays[0] + arrays[2][0], 3)
    bz, br, bh = np.split(arrays[2][1], 3)
    state = (1.0 - sigmoid(z + bz)) * np.tanh(h + sigmoid(r + br) * bh)
    mean = np.array([0.5, 0.0]) + np.array([2.5, 1.0]) * np.tanh(state @ arrays[3] + arrays[4])
    found = policy(torch.from_numpy(observation))[0].detach().numpy()
    np.testing.assert_allclose(found, mean, rtol=0, atol=1e-5)


def test_variables_that_cannot_be_turned_round_are_a_value_error():
    network = actor_cases.rnn_network()
    arrays = [np.ones(3, np.float32)] * 10
    with pytest.raises(ValueError, match=r"variables 0 to 1 have shapes \[\(3,\), \(3,\)\], which are not those of"):
        load_tf_agents_weights(network, arrays)
