"""Recurrent actors that TorchRL itself has trained, against TorchRL in its deterministic mode."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch
from same_actions import EVERY_FILE, check_files, check_policy
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.modules import (
    MLP,
    IndependentNormal,
    LSTMModule,
    ProbabilisticActor,
    TanhDelta,
    TanhModule,
    TruncatedNormal,
)
from torchrl_files import ACTIONS, OBS, UNITS, Env, make_actor, make_cells, observed, record, saved, train

from ganglion.adapters import torchrl
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def _assert_same(policy: Any, actor: Any, steps: int = 1000) -> None:
    run = record(actor, steps)
    assert run.action.std(0).min() > 1e-3
    check_policy(policy, run)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("kind", "layers"), [("lstm", 1), ("gru", 2)])
def test_a_trained_actor_equals_torchrl_through_every_file_and_engine(kind: str, layers: int, tmp_path: Path) -> None:
    fresh = make_actor(kind, layers, low=-2.0, high=2.0)
    trained = train(copy.deepcopy(fresh))
    policy = torchrl.load(saved(trained, tmp_path / "actor.pt"), module=fresh)
    run = record(trained)
    check_policy(policy, run)
    # The training did something, and the module that was given stays as it was.
    assert not np.allclose(record(fresh, 5).action, run.action[:5], atol=1e-3)
    # One header is enough: compiling it takes most of the time.
    check_files(policy, run, tmp_path, EVERY_FILE if kind == "gru" else EVERY_FILE[:-1])


def test_a_trained_actor_is_built_from_shapes(tmp_path: Path) -> None:
    trained = train(make_actor(low=-2.0, high=2.0))
    options: dict[str, Any] = {"activation": "tanh", "distribution": "tanh_normal", "activate_encoder": True}
    policy = torchrl.load(saved(trained, tmp_path / "actor.pt"), **options, action_low=-2.0, action_high=[2.0, 2.0])
    _assert_same(policy, trained, 100)
    assert policy.output_specs[0].high == (2.0, 2.0)


def _deterministic() -> Any:
    head = MLP(in_features=UNITS, out_features=ACTIONS, num_cells=[7], activation_class=nn.ReLU)
    return TensorDictSequential(
        make_cells("lstm", OBS, in_keys=["observation", "h", "c"], out_keys=["features", ("next", "h"), ("next", "c")]),
        TensorDictModule(head, ["features"], ["action"]),
        TanhModule(in_keys=["action"], low=-3.0, high=1.0),
    )


def _with_free_scale() -> Any:
    # Python-based cells, as TorchRL's tutorial on export has them, and a scale that depends on nothing.
    body = TensorDictSequential(
        make_cells("gru", OBS, in_key="observation", out_key="features", python_based=True),
        TensorDictModule(nn.Sequential(nn.Linear(UNITS, 5), nn.LayerNorm(5), nn.ELU()), ["features"], ["hidden"]),
        TensorDictModule(nn.Linear(5, ACTIONS), ["hidden"], ["loc"]),
        TensorDictModule(AddStateIndependentNormalScale(ACTIONS), ["loc"], ["loc", "scale"]),
    )
    return ProbabilisticActor(body, in_keys=["loc", "scale"], distribution_class=IndependentNormal)


def _tanh_delta() -> Any:
    body = TensorDictModule(MLP(in_features=OBS, out_features=ACTIONS, num_cells=[7]), ["observation"], ["param"])
    kwargs = {"low": torch.tensor([-1.0, 0.0]), "high": torch.tensor([3.0, 1.0])}
    return ProbabilisticActor(body, in_keys=["param"], distribution_class=TanhDelta, distribution_kwargs=kwargs)


_ACTORS = {
    "tanh_module": _deterministic,
    "free_scale": _with_free_scale,
    "tanh_delta": _tanh_delta,
    "normal": lambda: make_actor("gru", 1, torch.distributions.Normal),
    "soft_clipped": lambda: make_actor(low=0.0, high=3.0, tanh_loc=True, upscale=0.4),
    "raw_tanh": lambda: make_actor(safe_tanh=False),
}


@pytest.mark.parametrize("name", _ACTORS)
def test_other_actors_equal_torchrl(name: str, tmp_path: Path) -> None:
    torch.manual_seed(6)
    actor = _ACTORS[name]().eval()
    policy = torchrl.load(saved(actor, tmp_path / "actor.pt"), module=actor)
    _assert_same(policy, actor, 100)


def test_a_saturated_action_stops_where_the_safe_tanh_does(tmp_path: Path) -> None:
    actor = make_actor(low=-2.0, high=2.0).eval()
    with torch.no_grad():
        actor.module[0].module[2].module[0][2].bias.add_(40.0)
    policy = torchrl.load(saved(actor, tmp_path / "actor.pt"), module=actor)
    run = record(actor, 3)
    assert (run.action < 2.0).all()
    check_policy(policy, run, 5e-7)


@pytest.mark.parametrize(
    ("distribution", "build"),
    [("none", lambda out: out), ("tanh", lambda out: torch.tanh(out)), ("normal", lambda out: out[..., :1])],
)
def test_every_distribution_from_shapes(distribution: str, build: Any, tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(OBS, 6), nn.ReLU(), nn.Linear(6, ACTIONS))
    path = saved(layers, tmp_path / "actor.pt")
    policy = torchrl.load(path, activation="relu", distribution=distribution)
    obs = observed(3)
    torch.testing.assert_close(policy(obs)[0], build(layers(obs)))


def test_files_with_more_than_the_actor(tmp_path: Path) -> None:
    actor = make_actor().eval()
    other = nn.Linear(3, 2)
    torch.save({"actor": actor.state_dict(), "step": 3}, tmp_path / "one.pt")
    torch.save({"actor": actor.state_dict(), "critic": other.state_dict()}, tmp_path / "two.pt")
    _assert_same(torchrl.load(tmp_path / "one.pt", module=actor), actor, 10)
    _assert_same(torchrl.load(tmp_path / "two.pt", module=actor, entry="actor"), actor, 10)
    with pytest.raises(ArtifactError, match=r"\['actor', 'critic'\] are state dictionaries; name .* entry="):
        torchrl.load(tmp_path / "two.pt", module=actor)
    with pytest.raises(ArtifactError, match="no state dictionary 'policy', but the entries"):
        torchrl.load(tmp_path / "two.pt", module=actor, entry="policy")


def _edit_value(state: dict[str, Any], change: Any) -> None:
    key = next(iter(state))
    state[key] = change(state[key])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop(next(iter(state))), "not those of module: .*Missing key"),
        (lambda state: state.update(extra=torch.ones(1)), "not those of module: .*Unexpected key"),
        (lambda state: _edit_value(state, lambda value: value[:1]), "not those of module: .*size mismatch"),
        (lambda state: _edit_value(state, lambda value: value * torch.nan), "no tensor of finite numbers"),
    ],
)
def test_other_weights_are_refused(edit: Any, message: str, tmp_path: Path) -> None:
    actor = make_actor()
    state = dict(actor.state_dict())
    edit(state)
    torch.save(state, tmp_path / "actor.pt")
    with pytest.raises(ArtifactError, match=message):
        torchrl.load(tmp_path / "actor.pt", module=actor)


def _two_cells() -> Any:
    names = [("observation", "middle", "a"), ("middle", "features", "b")]
    return TensorDictSequential(
        *(
            LSTMModule(
                input_size=inputs,
                hidden_size=UNITS,
                in_keys=[source, f"h{tag}", f"c{tag}"],
                out_keys=[target, ("next", f"h{tag}"), ("next", f"c{tag}")],
            )
            for inputs, (source, target, tag) in zip((OBS, UNITS), names, strict=True)
        )
    )


def _branches() -> Any:
    return TensorDictSequential(
        TensorDictModule(nn.Linear(OBS, 3), ["observation"], ["a"]),
        TensorDictModule(nn.Linear(OBS, 3), ["observation"], ["action"]),
    )


def _truncated() -> Any:
    return make_actor("lstm", 1, TruncatedNormal, low=-1.0, high=1.0)


def _two_inputs() -> Any:
    return TensorDictModule(MLP(in_features=5, out_features=2, num_cells=[3]), ["observation", "goal"], ["action"])


def _bidirectional() -> Any:
    lstm = nn.LSTM(OBS, UNITS, batch_first=True, bidirectional=True)
    return LSTMModule(lstm=lstm, in_keys=["observation", "h", "c"], out_keys=["f", ("next", "h"), ("next", "c")])


def _clamped() -> Any:
    return TensorDictSequential(
        TensorDictModule(nn.Linear(OBS, 2), ["observation"], ["action"]),
        TanhModule(in_keys=["action"], low=-1.0, high=1.0, clamp=True),
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_two_cells, "two recurrent modules"),
        (_branches, r"takes \['observation'\], but the part before gives 'a'"),
        (_truncated, "the distribution TruncatedNormal"),
        (_two_inputs, r"the first part takes \['observation', 'goal'\]"),
        (_bidirectional, "is no plain LSTM"),
        (_clamped, r"TanhModule\(clamp=True\)"),
        (lambda: nn.Linear(OBS, 2), "a Linear is no module of tensordict"),
    ],
)
def test_other_actors_are_refused(build: Any, message: str, tmp_path: Path) -> None:
    actor = build()
    with pytest.raises(ArtifactError, match=message):
        torchrl.load(saved(actor, tmp_path / "actor.pt"), module=actor)


def test_hooks_on_the_actor_are_refused(tmp_path: Path) -> None:
    actor = make_actor()
    actor.register_forward_hook(lambda *_: None)
    with pytest.raises(ArtifactError, match="has forward hooks"):
        torchrl.load(saved(actor, tmp_path / "actor.pt"), module=actor)


def test_shapes_alone_need_the_rest_in_words(tmp_path: Path) -> None:
    path = saved(make_actor(), tmp_path / "actor.pt")
    words: dict[str, Any] = {"activation": "tanh", "distribution": "tanh_normal", "activate_encoder": True}
    with pytest.raises(ValueError, match=r"module=\.\.\., or say activation= .* and distribution="):
        torchrl.load(path)
    with pytest.raises(ValueError, match="activate_encoder=True or False"):
        torchrl.load(path, **words | {"activate_encoder": None})
    with pytest.raises(ValueError, match="must be one of tanh, relu"):
        torchrl.load(path, **words | {"activation": "Tanh()"})
    with pytest.raises(ValueError, match="3 bounds for 2 actions"):
        torchrl.load(path, **words, action_low=[-1.0, -1.0, -1.0])
    with pytest.raises(ValueError, match="have no part in the distribution 'normal'"):
        torchrl.load(path, **words | {"distribution": "normal"}, action_low=-1.0)
    with pytest.raises(ValueError, match="leave activation"):
        torchrl.load(path, module=make_actor(), activation="tanh")
    with pytest.raises(ValueError, match="env_spec has 4 observations and 3 actions"):
        spec = EnvSpec(Env.observation_space, gymnasium.spaces.Box(-1.0, 1.0, (3,)))
        torchrl.load(path, **words, env_spec=spec)
    with pytest.raises(TypeError, match="module must be a torch"):
        torchrl.load(path, module=3)  # type: ignore[arg-type]


def test_shapes_that_are_no_chain_are_refused(tmp_path: Path) -> None:
    words: dict[str, Any] = {"activation": "tanh", "distribution": "none"}
    both = nn.ModuleDict({"actor": nn.Linear(4, 2), "critic": nn.Linear(4, 1)})
    with pytest.raises(ArtifactError, match=r"is no chain of layers.*\[\(4, 2\), \(4, 1\)\]"):
        torchrl.load(saved(both, tmp_path / "both.pt"), **words)
    normed = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    with pytest.raises(ArtifactError, match=r"'1.weight' is a .* of shape \(4,\); expected 2 axes"):
        torchrl.load(saved(normed, tmp_path / "normed.pt"), **words)
    with pytest.raises(ValueError, match="3 outputs are no pairs"):
        torchrl.load(saved(nn.Sequential(nn.Linear(4, 3)), tmp_path / "odd.pt"), **words | {"distribution": "normal"})


def test_a_spec_gives_names(tmp_path: Path) -> None:
    actor = make_actor()
    spec = EnvSpec(Env.observation_space, Env.action_space, action_names=("left", "right"))
    policy = torchrl.load(saved(actor, tmp_path / "actor.pt"), module=actor, env_spec=spec)
    assert policy.output_specs[0].element_names == ("left", "right")


class _Callback:
    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (_Callback, "ran", True))


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    actor = make_actor()
    torch.save({"actor": actor.state_dict(), "config": _Callback()}, tmp_path / "actor.pt")
    torchrl.load(tmp_path / "actor.pt", module=actor)  # what the actor does not need is not looked at
    torch.save({"actor": _Callback()}, tmp_path / "nothing.pt")
    with pytest.raises(ArtifactError, match=r"setattr, which is not run.*allow_pickle=True"):
        torchrl.load(tmp_path / "nothing.pt", module=actor)
    assert not _Callback.ran
