import pickle

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import (
    ActionMap,
    DeployablePolicy,
    EnvSpec,
    GRUPolicy,
    LayeredPolicy,
    LSTMPolicy,
    ObservationNormalizer,
    RNNPolicy,
)
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint

BOX = gymnasium.spaces.Box
SPEC = EnvSpec(
    BOX(np.array([-1, -np.inf, 0], np.float32), np.array([1, 2, np.inf], np.float32)),
    BOX(-2, 3, (2,)),
    max_episode_length=50,
)


def policies():
    lstm = LSTMPolicy(SPEC, hidden_size=5, num_recurrent_layers=2, dropout=0.25, output_nonlin=torch.tanh)
    normalizer = ObservationNormalizer([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], epsilon=1e-3, clip=2.0, count=7)
    return {
        "rnn": RNNPolicy(SPEC, hidden_size=4, num_recurrent_layers=1, hidden_nonlin="relu"),
        "gru": GRUPolicy(SPEC, hidden_size=4, num_recurrent_layers=3, output_nonlin=nn.Sigmoid()),
        "lstm": lstm,
        "deployable": DeployablePolicy(lstm, normalizer, ActionMap.from_space(SPEC.action_space)),
        "half deployable": DeployablePolicy(lstm, None, ActionMap([1.0, 2.0], low=[-1.0, 0.0], squash=True)),
        "nested": DeployablePolicy(DeployablePolicy(lstm, normalizer), None, None),
        "layered": LayeredPolicy(
            SPEC,
            nn.Sequential(nn.Linear(4, 6, bias=False), nn.LeakyReLU(0.3), nn.Sequential(nn.Linear(6, 2), nn.Tanh())),
            nn.GRU(5, 4, num_layers=2, dropout=0.1),
            nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5, eps=0.1, bias=False), nn.ELU(0.5)),
        ),
        "layered without memory": DeployablePolicy(LayeredPolicy(SPEC, nn.Linear(3, 2)), normalizer),
        "layered RNN": LayeredPolicy(SPEC, nn.Linear(4, 2), nn.RNN(3, 4, nonlinearity="relu", bias=False)),
        "double": LSTMPolicy(SPEC, hidden_size=3, num_recurrent_layers=1).double(),
    }


@pytest.mark.parametrize("kind", policies())
def test_a_policy_comes_back_as_it_was_saved(tmp_path, kind):
    policy = policies()[kind].eval()
    path = tmp_path / "policy.checkpoint"
    save_checkpoint(policy, path)
    random_state = torch.get_rng_state()
    back = load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert list(tmp_path.iterdir()) == [path]
    assert type(back) is type(policy) and not back.training
    assert back.env_spec == policy.env_spec and back.contract() == policy.contract()
    saved, found = policy.state_dict(), back.state_dict()
    assert list(saved) == list(found)
    assert all(torch.equal(saved[name], found[name]) and saved[name].dtype == found[name].dtype for name in saved)
    obs, hidden = torch.randn(6, 3), torch.randn(6, policy.hidden_size)
    assert all(torch.equal(*pair) for pair in zip(policy(obs, hidden), back(obs, hidden), strict=True))
    # What shows only in training must come back as well.
    torch.manual_seed(0)
    expected = policy.train()(obs, hidden)
    torch.manual_seed(0)
    assert all(torch.equal(*pair) for pair in zip(expected, back.train()(obs, hidden), strict=True))


def test_discrete_spaces_come_back(tmp_path):
    spec = EnvSpec(gymnasium.spaces.Discrete(4, start=2), BOX(0, 255, (2, 2), dtype=np.uint8))
    save_checkpoint(GRUPolicy(spec, 3, 1), tmp_path / "policy.checkpoint")
    assert load_checkpoint(tmp_path / "policy.checkpoint").env_spec == spec


def test_saving_leaves_the_policy_alone_and_replaces_an_old_file(tmp_path):
    policy = policies()["deployable"].train()
    path = tmp_path / "policy.checkpoint"
    path.write_bytes(b"old")
    save_checkpoint(policy, path)
    assert policy.training and load_checkpoint(path).hidden_size == policy.hidden_size


class SubPolicy(LSTMPolicy):
    pass


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (SubPolicy(SPEC, 3, 1), "SubPolicy cannot be saved"),
        (DeployablePolicy(SubPolicy(SPEC, 3, 1)), "SubPolicy cannot be saved"),
        (LSTMPolicy(SPEC, 3, 1, output_nonlin=lambda x: x), "output nonlinearity .*lambda.* known: torch.tanh"),
        (GRUPolicy(EnvSpec(gymnasium.spaces.MultiBinary(3), BOX(0, 1, (1,))), 3, 1), "space MultiBinary"),
    ],
)
def test_what_a_checkpoint_cannot_name_is_refused(tmp_path, policy, message):
    path = tmp_path / "policy.checkpoint"
    path.write_bytes(b"old")
    with pytest.raises(ExportError, match=message):
        save_checkpoint(policy, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_foreign_and_damaged_files_are_refused(tmp_path):
    whole = tmp_path / "whole"
    save_checkpoint(policies()["gru"], whole)
    data = whole.read_bytes()
    path = tmp_path / "policy.checkpoint"
    torch.jit.script(nn.Linear(1, 1)).save(str(tmp_path / "script"))
    foreign = [b"", b"hello", data[: len(data) // 2], pickle.dumps({"a": 1}), (tmp_path / "script").read_bytes()]
    for content in foreign:
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"policy\.checkpoint: not a "):
            load_checkpoint(path)
    for document in ({"a": 1}, [1, 2], torch.zeros(3), {"ganglion_checkpoint": "1"}, nn.Linear(1, 1).state_dict()):
        torch.save(document, path)
        with pytest.raises(ArtifactError, match="not a checkpoint of ganglion"):
            load_checkpoint(path)
    with pytest.raises(ArtifactError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "missing")
    with pytest.raises(ArtifactError, match="a folder"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("open('sprung', 'w')",))

    torch.save({"ganglion_checkpoint": 1, "policy": Trap()}, tmp_path / "trap")
    with pytest.raises(ArtifactError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "trap")


def damage(document, kind):
    if kind == "newer":
        document["ganglion_checkpoint"] = 2
    elif kind == "missing field":
        del document["env_spec"]["action_space"]
    elif kind == "class":
        document["policy"]["class"] = "Oracle"
    elif kind == "nonlinearity":
        document["policy"]["output_nonlin"] = "os.system"
    elif kind == "weights":
        document["state_dict"].popitem()
    elif kind == "size":
        document["policy"]["arguments"]["hidden_size"] = 9
    elif kind == "dtype":
        document["dtype"] = "float33"
    elif kind == "space":
        document["env_spec"]["observation_space"]["low"] = [0.0]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("newer", "format 2 is newer than 1.*install a newer ganglion"),
        ("missing field", "field 'action_space' is missing"),
        ("class", "unknown policy class 'Oracle'"),
        ("nonlinearity", "unknown output nonlinearity 'os.system'"),
        ("weights", "Missing key"),
        ("size", "size mismatch"),
        ("dtype", "float33"),
        ("space", "damaged checkpoint"),
    ],
)
def test_a_changed_document_is_refused(tmp_path, kind, message):
    path = tmp_path / "policy.checkpoint"
    save_checkpoint(policies()["gru"], path)
    document = torch.load(path, weights_only=True)
    damage(document, kind)
    torch.save(document, path)
    with pytest.raises(ArtifactError, match=f"(?s){message}"):
        load_checkpoint(path)
