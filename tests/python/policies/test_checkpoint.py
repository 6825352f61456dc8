import functools
import importlib
import pickle
import pkgutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import ganglion
import ganglion.adapters
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import (
    ActionMap,
    ActorDistributionNetwork,
    ActorDistributionRnnNetwork,
    ActorPolicy,
    ADNPolicy,
    ArraySpec,
    BoundedArraySpec,
    DeployablePolicy,
    EnvSpec,
    GaussianGRUPolicy,
    GaussianMLPModel,
    GaussianMLPPolicy,
    GRUPolicy,
    LayeredPolicy,
    LSTMPolicy,
    NFPolicy,
    NormalProjection,
    ObservationNormalizer,
    PolicyInfo,
    RecurrentPolicy,
    RNNPolicy,
    SkrlPolicy,
    TwoHeadedRNNPolicy,
    catalogue,
    pd_capacity_32,
    pd_linear,
    tensor_normalizer,
    time_step_spec,
)
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.deep  # exports every policy

GOLDEN = Path(__file__).parents[2] / "golden" / "checkpoints"
BOX = gymnasium.spaces.Box
SPEC = EnvSpec(
    BOX(np.array([-1, -np.inf, 0], np.float32), np.array([1, 2, np.inf], np.float32)),
    BOX(-2, 3, (2,)),
    max_episode_length=50,
)


SPACES = {"observation_space": SPEC.observation_space, "action_space": SPEC.action_space}
FLOATS, CATEGORY = ArraySpec((3,)), BoundedArraySpec((), torch.int64, None, 0, 3)
POINTS = BoundedArraySpec((2, 2), torch.float32, "points", -2.0, [[1.0, 2.0], [3.0, 4.0]])


def actor(**options):
    """With a mask; `options` are those of `ActorPolicy`."""
    observation = {"obs": FLOATS, "mask": BoundedArraySpec((4,), torch.int32, None, 0, 1)}
    network = ActorDistributionNetwork(FLOATS, CATEGORY, (4,))
    return ActorPolicy(time_step_spec(observation), CATEGORY, network, **options)


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
        "of modules": TwoHeadedRNNPolicy(
            SPEC,
            4,
            1,
            "relu",
            3,
            1,
            nn.Softplus(beta=2.0),
            functools.partial(nn.functional.leaky_relu, negative_slope=0.2),
        ),
        "of classes": ADNPolicy(SPEC, nn.Tanh, pd_capacity_32, tau_init=4.0, tau_learnable=False),
        "of names": NFPolicy(
            SPEC,
            5,
            nn.Sequential(nn.Linear(3, 5), nn.Tanh()),
            ("tanh", nn.Sigmoid(), nn.Softsign, torch.sigmoid, nn.functional.elu),
            kappa_learnable=False,
            potential_init_learnable=True,
        ),
        "garage": GaussianGRUPolicy(
            SPEC,
            4,
            "a name",
            hidden_nonlinearity=nn.ELU(0.5),
            recurrent_nonlinearity=torch.special.expit,
            hidden_state_init=lambda x: nn.init.constant_(x, 0.5),
            init_std=0.3,
            learn_std=False,
            layer_normalization=True,
        ),
        "garage MLP": GaussianMLPPolicy(
            SPEC, hidden_sizes=[4, 3], layer_normalization=True, state_include_action=True
        ).clone("another name", copy_parameters=True),
        "skrl": SkrlPolicy(
            GaussianMLPModel(
                observation_space=gymnasium.spaces.Dict({"a": BOX(-1, 1, (2,)), "b": BOX(-1, 1, (1,))}),
                action_space=SPEC.action_space,
                hidden_sizes=(5,),
                activation=nn.SiLU,
                output_activation=None,
                initial_log_std=-1.0,
                clip_mean_actions=True,
                min_log_std=-0.5,
            )
        ),
        "actor": ActorPolicy(
            time_step_spec(({"b": FLOATS}, [])),
            {"points": POINTS, "scalar": BoundedArraySpec((), torch.float32, None, -1.0, 1.0)},
            ActorDistributionRnnNetwork(
                ({"b": FLOATS}, []),
                {"points": POINTS, "scalar": BoundedArraySpec((), torch.float32, None, -1.0, 1.0)},
                (5,),
                activation_fn=nn.functional.silu,
                continuous_projection_net=functools.partial(
                    NormalProjection, state_dependent_std=True, std_transform=torch.exp
                ),
                rnn_construction_fn=nn.GRU,
                rnn_construction_kwargs={"hidden_size": 4},
            ),
            observation_normalizer=tensor_normalizer([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]),
            info_spec=PolicyInfo(()),
            clip=False,
            training=True,
            name="flyer",
        ),
        "deep": LSTMPolicy(SPEC, hidden_size=16, num_recurrent_layers=24),
        "double": LSTMPolicy(SPEC, hidden_size=3, num_recurrent_layers=1).double(),
    }


def policy_size(policy):
    return sum(spec.size for spec in policy.input_specs)


@pytest.mark.parametrize("kind", policies())
def test_a_policy_comes_back_as_it_was_saved(tmp_path, kind):
    policy = policies()[kind].eval()
    path = tmp_path / "policy.checkpoint"
    save_checkpoint(policy, path)
    random_state = torch.get_rng_state()
    back = load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert list(tmp_path.iterdir()) == [path]
    assert type(back) is type(policy) and not back.training and back.name == policy.name
    assert back.env_spec == policy.env_spec and back.contract() == policy.contract()
    saved, found = policy.state_dict(), back.state_dict()
    assert list(saved) == list(found)
    assert all(torch.equal(saved[name], found[name]) and saved[name].dtype == found[name].dtype for name in saved)
    obs, hidden = torch.randn(6, policy_size(policy)), torch.randn(6, policy.hidden_size)
    assert all(torch.equal(*pair) for pair in zip(policy(obs, hidden), back(obs, hidden), strict=True))
    # What shows only in training must come back as well.
    torch.manual_seed(0)
    expected = policy.train()(obs, hidden)
    torch.manual_seed(0)
    assert all(torch.equal(*pair) for pair in zip(expected, back.train()(obs, hidden), strict=True))


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Discrete(4, start=2),
        gymnasium.spaces.MultiDiscrete([3, 2]),
        gymnasium.spaces.MultiBinary((2, 2)),
        gymnasium.spaces.Tuple([BOX(-np.inf, 1, (2,), np.float64), gymnasium.spaces.Discrete(2)]),
        gymnasium.spaces.Dict({"z": BOX(0, 1, (2,)), "a": gymnasium.spaces.Dict({"b": BOX(0, 255, (3,), np.uint8)})}),
    ],
    ids=lambda space: type(space).__name__,
)
def test_spaces_come_back(tmp_path, space):
    spec = EnvSpec(space, BOX(0, 255, (2, 2), dtype=np.uint8), action_names=tuple("abcd"))
    save_checkpoint(GRUPolicy(spec, 3, 1), tmp_path / "policy.checkpoint")
    assert load_checkpoint(tmp_path / "policy.checkpoint").env_spec == spec


def steps(policy):
    """Outputs and states of 6 steps of 3 rows; behind the third, one row begins anew."""
    generator = torch.Generator().manual_seed(4)
    size, hidden, found = policy_size(policy), policy.init_hidden(3), []
    for step in range(6):
        if step == 3:
            hidden = torch.where(torch.tensor([[False], [True], [False]]), policy.init_hidden(3), hidden)
        with torch.no_grad():
            *outputs, hidden = policy(torch.randn(3, size, generator=generator), hidden)
        found += [*outputs, hidden]
    return found


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", catalogue.names())
def test_every_kind_of_policy_comes_back_and_is_exported(tmp_path, name):
    """Whoever adds a class to the catalogue finds out here that checkpoints must keep it: docs/EXTENDING.md."""
    policy = catalogue.example(name, seed=1)
    save_checkpoint(policy, tmp_path / "policy.checkpoint")
    back = load_checkpoint(tmp_path / "policy.checkpoint")
    assert type(back) is type(policy) and back.contract() == policy.contract()
    assert all(torch.equal(*pair) for pair in zip(steps(policy), steps(back), strict=True))
    ganglion.export(back, tmp_path / "policy.ganglion")
    pilot, observation = ganglion.load(tmp_path / "policy.ganglion"), torch.full((policy_size(policy),), 0.25)
    with torch.no_grad():
        expected = policy(observation)[0].numpy()
    np.testing.assert_allclose(pilot.step(observation.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_saving_leaves_the_policy_alone_and_replaces_an_old_file(tmp_path):
    policy = policies()["deployable"].train()
    path = tmp_path / "policy.checkpoint"
    path.write_bytes(b"old")
    save_checkpoint(policy, path)
    assert policy.training and load_checkpoint(path).hidden_size == policy.hidden_size


class SubPolicy(LSTMPolicy):
    pass


class OwnModel(GaussianMLPModel):
    pass


def mine(x):
    return torch.tanh(x)


def at_once(_p, s, _h, _tau, **_):
    return s


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (SubPolicy(SPEC, 3, 1), "SubPolicy cannot be saved"),
        (DeployablePolicy(SubPolicy(SPEC, 3, 1)), "SubPolicy cannot be saved"),
        (LSTMPolicy(SPEC, 3, 1, output_nonlin=lambda x: x), "output_nonlin .*lambda.* known: torch.tanh"),
        (GRUPolicy(EnvSpec(gymnasium.spaces.OneOf([BOX(0, 1, (1,))]), BOX(0, 1, (1,))), 3, 1), "a OneOf space"),
        (SkrlPolicy(OwnModel(**SPACES)), "OwnModel cannot be saved .* build it in your own code"),
        (ADNPolicy(SPEC, torch.tanh, at_once), "potentials_dyn_fcn <function at_once.*pd_cubic"),
        (ADNPolicy(SPEC, [torch.tanh, mine], pd_linear), "activation_nonlin <function mine"),
        (LayeredPolicy(SPEC, nn.Sequential(nn.Linear(3, 2), nn.PReLU())), "module PReLU cannot be saved"),
        (SkrlPolicy(GaussianMLPModel(**SPACES, activation=nn.PReLU)), "activation PReLU cannot be saved"),
        (actor(observation_and_action_constraint_splitter=lambda o: (o["obs"], o["mask"])), "_splitter .*lambda"),
        (nn.Linear(2, 2), "Linear cannot be saved as a checkpoint: it is no RecurrentPolicy"),
    ],
)
def test_what_a_checkpoint_cannot_name_is_refused(tmp_path, policy, message):
    path = tmp_path / "policy.checkpoint"
    path.write_bytes(b"old")
    with pytest.raises(ExportError, match=message):
        save_checkpoint(policy, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_an_adapter_made_is_refused_with_where_to_read_it_again(tmp_path):
    found = 0
    for module in pkgutil.walk_packages(ganglion.adapters.__path__, "ganglion.adapters."):
        for cls in vars(importlib.import_module(module.name)).values():
            if not isinstance(cls, type) or not issubclass(cls, nn.Module) or cls.__module__ != module.name:
                continue
            part = cls.__new__(cls)
            nn.Module.__init__(part)
            policy = part if isinstance(part, RecurrentPolicy) else LayeredPolicy(SPEC, nn.Sequential(part))
            with pytest.raises(ExportError, match="read it again with") as refused:
                save_checkpoint(policy, tmp_path / "policy.pt")
            name = module.name.split(".")[2]
            if not name.startswith("_"):
                assert f"ganglion.adapters.{name}.load(" in str(refused.value)
                assert hasattr(importlib.import_module(f"ganglion.adapters.{name}"), "load")
            found += 1
    assert found > 8


def test_a_policy_that_was_changed_behind_its_constructor_is_refused(tmp_path):
    other, longer = policies()["gru"], policies()["gru"]
    other.output_nonlin = nn.Tanh()
    longer.output_layer = nn.Linear(4, 3)
    for policy, message in ((other, "does not do the same"), (longer, "cannot be built from a checkpoint of it")):
        with pytest.raises(ExportError, match=f"(?s)GRUPolicy {message}.*changed since it was made"):
            save_checkpoint(policy, tmp_path / "policy.checkpoint")
    assert not list(tmp_path.iterdir())


def test_a_file_does_not_lean_on_defaults(tmp_path):
    save_checkpoint(GaussianMLPPolicy(SPEC), tmp_path / "policy.checkpoint")
    arguments = torch.load(tmp_path / "policy.checkpoint", weights_only=True)["policy"]["arguments"]
    assert arguments["hidden_sizes"] == {"tuple": [32, 32]} and arguments["hidden_nonlinearity"]
    assert "hidden_w_init" not in arguments  # how weights were drawn is of no use to whoever has them


def test_a_policy_with_nan_in_its_weights_is_saved_as_it_is(tmp_path):
    policy = policies()["gru"]
    policy.param_values = torch.full_like(policy.param_values, torch.nan)
    save_checkpoint(policy, tmp_path / "policy.checkpoint")
    assert load_checkpoint(tmp_path / "policy.checkpoint").param_values.isnan().all()


FORMAT_1 = sorted(GOLDEN.glob("format_1_*.pt"))


@pytest.mark.parametrize("path", FORMAT_1, ids=lambda path: path.stem)
def test_files_of_format_1_are_still_read(path):
    with np.load(GOLDEN / "expected.npz") as expected:
        obs, outputs = torch.from_numpy(expected["observations"]), expected[path.stem.removeprefix("format_1_")]
    with torch.no_grad():
        found = torch.cat(load_checkpoint(path)(obs), -1)
    np.testing.assert_allclose(found.numpy(), outputs, rtol=1e-5, atol=1e-6)


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


def damage_1(document, kind):
    if kind == "missing field":
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


def refused(path, document, message):
    torch.save(document, path)
    with pytest.raises(ArtifactError, match=f"(?s){path.name}: .*{message}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing field", "field 'action_space' is missing"),
        ("class", "unknown policy class 'Oracle'"),
        ("nonlinearity", "unknown function 'os.system'"),
        ("weights", "Missing key"),
        ("size", "size mismatch"),
        ("dtype", "float33"),
        ("space", "damaged checkpoint"),
    ],
)
def test_a_changed_document_of_format_1_is_refused(tmp_path, kind, message):
    document = torch.load(GOLDEN / "format_1_gru.pt", weights_only=True)
    damage_1(document, kind)
    refused(tmp_path / "policy.checkpoint", document, message)


BIG = 2**24
DAMAGES = {
    "newer": (("ganglion_checkpoint",), 3, "format 3 is newer than 2.*install a newer ganglion"),
    "class": (("policy", "class"), "Oracle", "unknown class 'Oracle'"),
    "class of no policy": (("policy",), {"class": "ActionMap", "arguments": {"scale": [1.0]}}, "which is no policy"),
    "class of another kind": (("policy", "class"), ["GRUPolicy"], "damaged"),
    "no arguments": (("policy", "arguments"), None, "damaged"),
    "arguments of numbers": (("policy", "arguments"), {1: 2}, "damaged"),
    "unknown argument": (("policy", "arguments", "shell"), "rm", "unexpected keyword argument 'shell'"),
    "device": (("policy", "arguments", "use_cuda"), True, "'use_cuda' is no argument that a checkpoint has"),
    "function": (("policy", "arguments", "output_nonlin"), {"function": "os.system"}, "unknown function 'os.system'"),
    "module": (
        ("policy", "arguments", "output_nonlin"),
        {"module": {"class": "Shell"}},
        "unknown module class 'Shell'",
    ),
    "type": (("policy", "arguments", "output_nonlin"), {"type": "Popen"}, "unknown class 'Popen'"),
    "kind": (("policy", "arguments", "output_nonlin"), {"pickle": "x"}, "described by 'pickle', which is not known"),
    "no kind": (("policy", "arguments", "output_nonlin"), {}, "damaged"),
    "partial": (("policy", "arguments", "output_nonlin"), {"partial": [1]}, "damaged"),
    "number": (("policy", "arguments", "hidden_size"), 10**12, "too large for an argument"),
    "negative": (("policy", "arguments", "hidden_size"), -1, "damaged"),
    "other size": (("policy", "arguments", "hidden_size"), 9, "size mismatch"),
    "huge size": (("policy", "arguments", "hidden_size"), 30_000, "far too much memory"),
    "many layers": (("policy", "arguments", "num_recurrent_layers"), BIG, "far too much memory"),
    "space": (
        ("policy", "arguments", "spec", "env_spec", "action_space", "type"),
        "Shell",
        "no space is called 'Shell'",
    ),
    "huge space": (
        ("policy", "arguments", "spec", "env_spec", "action_space", "shape"),
        [10**10],
        "more elements than",
    ),
    "huge choice": (
        ("policy", "arguments", "spec", "env_spec", "action_space"),
        {"type": "Discrete", "n": 10**11, "start": 0},
        "too large for a policy",
    ),
    "dtype": (("dtype",), "float33", "float33"),
    "no weights": (("state_dict",), {}, "Missing key"),
    "weights of another kind": (("state_dict",), [1], "damaged"),
    "foreign weight": (("state_dict", "back_door"), torch.zeros(1), "Unexpected key"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_changed_document_is_refused(tmp_path, kind):
    path = tmp_path / "policy.checkpoint"
    save_checkpoint(policies()["gru"], path)
    document = torch.load(path, weights_only=True)
    (*keys, last), value, message = DAMAGES[kind]
    part = document
    for key in keys:
        part = part[key]
    part[last] = value
    refused(path, document, message)


def test_a_document_without_end_is_refused(tmp_path):
    path = tmp_path / "policy.checkpoint"
    save_checkpoint(DeployablePolicy(policies()["gru"]), path)
    document = torch.load(path, weights_only=True)
    document["policy"]["arguments"]["policy"] = document["policy"]
    refused(path, document, "damaged")
