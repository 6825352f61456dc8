"""Recurrent actors that TorchRL itself has trained, against TorchRL in its deterministic mode."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import (
    AddStateIndependentNormalScale,
    NormalParamExtractor,
    TensorDictModule,
    TensorDictSequential,
)
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import Compose, GymWrapper, InitTracker, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import (
    MLP,
    GRUModule,
    IndependentNormal,
    LSTMModule,
    ProbabilisticActor,
    TanhDelta,
    TanhModule,
    TanhNormal,
    TruncatedNormal,
    ValueOperator,
    set_recurrent_mode,
)
from torchrl.objectives import A2CLoss
from torchrl.objectives.value import GAE

import ganglion
from ganglion.adapters import torchrl
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

OBS, ACTIONS, UNITS = 4, 2, 6


class _Env(gymnasium.Env[np.ndarray, np.ndarray]):
    """Rewards actions near the observation; episodes of 20 steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (ACTIONS,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.rng = np.random.default_rng(0 if seed is None else seed)
        self.time = 0
        self.obs = self.rng.normal(0.0, 1.0, OBS).astype("f")
        return self.obs, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        reward = -float(((action - self.obs[:ACTIONS]) ** 2).sum())
        self.obs = (0.8 * self.obs + self.rng.normal(0.0, 0.7, OBS)).astype("f")
        return self.obs, reward, False, self.time % 20 == 0, {}


def _cells(kind: str, inputs: int, layers: int = 1, **keys: Any) -> Any:
    module = {"lstm": LSTMModule, "gru": GRUModule}[kind]
    return module(input_size=inputs, hidden_size=UNITS, num_layers=layers, **keys)


def _actor(kind: str = "lstm", layers: int = 1, distribution: type = TanhNormal, **kwargs: Any) -> Any:
    torch.manual_seed(3)
    encoder = MLP(in_features=OBS, out_features=8, num_cells=[10], activate_last_layer=True)
    head = nn.Sequential(MLP(in_features=UNITS, out_features=2 * ACTIONS, num_cells=[7]), NormalParamExtractor())
    return ProbabilisticActor(
        TensorDictSequential(
            TensorDictModule(encoder, ["observation"], ["embed"]),
            _cells(kind, 8, layers, in_key="embed", out_key="features"),
            TensorDictModule(head, ["features"], ["loc", "scale"]),
        ),
        in_keys=["loc", "scale"],
        distribution_class=distribution,
        distribution_kwargs=kwargs,
    )


def _train(actor: Any) -> Any:
    """A few updates of TorchRL's own A2C on rollouts of its own collector."""
    torch.manual_seed(0)
    cells = actor.module[0].module[1]
    critic = ValueOperator(MLP(in_features=OBS, out_features=1, num_cells=[16]), ["observation"])
    loss_module, advantage = A2CLoss(actor, critic), GAE(gamma=0.9, lmbda=0.9, value_network=critic)
    optimizer = torch.optim.Adam(loss_module.parameters(), 1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = TransformedEnv(GymWrapper(_Env()), Compose(InitTracker(), cells.make_tensordict_primer()))
        collector = Collector(env, actor, frames_per_batch=80, total_frames=320)
        for data in collector:
            with set_recurrent_mode(True):
                advantage(data.unsqueeze(0))
                losses = loss_module(advantage(data.unsqueeze(0)))
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"]).backward()
            optimizer.step()
        collector.shutdown()
    return actor.eval()


def _observations(steps: int) -> torch.Tensor:
    return torch.randn(steps, OBS, generator=torch.Generator().manual_seed(4)) * 2.0


@torch.no_grad()
def _library_actions(actor: Any, observations: torch.Tensor, reset_every: int = 37) -> torch.Tensor:
    actions: list[torch.Tensor] = []
    state: dict[str, Any] = {}
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        for step, obs in enumerate(observations):
            # On a reset only `is_init` tells the cells; the old state is still there.
            data = TensorDict(
                {"observation": obs[None], "is_init": torch.full((1, 1), step % reset_every == 0), **state},
                batch_size=[1],
            )
            data = actor(data)
            state = dict(data["next"].items()) if data.get("next", None) is not None else {}
            actions.append(data["action"][0])
    return torch.stack(actions)


@torch.no_grad()
def _policy_actions(policy: Any, observations: torch.Tensor, reset_every: int = 37) -> torch.Tensor:
    hidden, actions = policy.init_hidden(), []
    for step, obs in enumerate(observations):
        if step % reset_every == 0:
            hidden = policy.init_hidden()
        action, hidden = policy(obs, hidden)
        actions.append(action)
    return torch.stack(actions)


def _saved(actor: nn.Module, path: Path) -> Path:
    torch.save(actor.state_dict(), path)
    return path


def _assert_same(policy: Any, actor: Any, steps: int = 1000) -> None:
    observations = _observations(steps)
    expected = _library_actions(actor, observations)
    assert expected.std(0).min() > 1e-3
    torch.testing.assert_close(_policy_actions(policy, observations), expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(("kind", "layers"), [("lstm", 1), ("gru", 2)])
def test_a_trained_actor_equals_torchrl_through_every_target(kind: str, layers: int, tmp_path: Path) -> None:
    fresh = _actor(kind, layers, low=-2.0, high=2.0)
    trained = _train(copy.deepcopy(fresh))
    policy = torchrl.load(_saved(trained, tmp_path / "actor.pt"), module=fresh)
    _assert_same(policy, trained)
    # The training did something, and the module that was given stays as it was.
    observations = _observations(5)
    assert not torch.allclose(_library_actions(fresh, observations), _library_actions(trained, observations), atol=1e-3)
    # One header is enough: compiling it takes most of the time.
    for suffix in ("pt", "onnx", "ganglion", *(("hpp",) if kind == "gru" else ())):
        path = tmp_path / f"policy.{suffix}"
        ganglion.export(policy, path)
        if suffix != "hpp":
            assert ganglion.verify(path, policy, steps=1000).ok


def test_a_trained_actor_is_built_from_shapes(tmp_path: Path) -> None:
    trained = _train(_actor(low=-2.0, high=2.0))
    options: dict[str, Any] = {"activation": "tanh", "distribution": "tanh_normal", "activate_encoder": True}
    policy = torchrl.load(_saved(trained, tmp_path / "actor.pt"), **options, action_low=-2.0, action_high=[2.0, 2.0])
    _assert_same(policy, trained, 100)
    assert policy.output_specs[0].high == (2.0, 2.0)


def _deterministic() -> Any:
    head = MLP(in_features=UNITS, out_features=ACTIONS, num_cells=[7], activation_class=nn.ReLU)
    return TensorDictSequential(
        _cells("lstm", OBS, in_keys=["observation", "h", "c"], out_keys=["features", ("next", "h"), ("next", "c")]),
        TensorDictModule(head, ["features"], ["action"]),
        TanhModule(in_keys=["action"], low=-3.0, high=1.0),
    )


def _with_free_scale() -> Any:
    # Python-based cells, as TorchRL's tutorial on export has them, and a scale that depends on nothing.
    body = TensorDictSequential(
        _cells("gru", OBS, in_key="observation", out_key="features", python_based=True),
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
    "normal": lambda: _actor("gru", 1, torch.distributions.Normal),
    "soft_clipped": lambda: _actor(low=0.0, high=3.0, tanh_loc=True, upscale=0.4),
    "raw_tanh": lambda: _actor(safe_tanh=False),
}


@pytest.mark.parametrize("name", _ACTORS)
def test_other_actors_equal_torchrl(name: str, tmp_path: Path) -> None:
    torch.manual_seed(6)
    actor = _ACTORS[name]().eval()
    policy = torchrl.load(_saved(actor, tmp_path / "actor.pt"), module=actor)
    _assert_same(policy, actor, 100)


def test_a_saturated_action_stops_where_the_safe_tanh_does(tmp_path: Path) -> None:
    actor = _actor(low=-2.0, high=2.0).eval()
    with torch.no_grad():
        actor.module[0].module[2].module[0][2].bias.add_(40.0)
    policy = torchrl.load(_saved(actor, tmp_path / "actor.pt"), module=actor)
    observations = _observations(3)
    expected = _library_actions(actor, observations)
    assert (expected < 2.0).all()
    torch.testing.assert_close(_policy_actions(policy, observations), expected, atol=5e-7, rtol=0.0)


@pytest.mark.parametrize(
    ("distribution", "build"),
    [("none", lambda out: out), ("tanh", lambda out: torch.tanh(out)), ("normal", lambda out: out[..., :1])],
)
def test_every_distribution_from_shapes(distribution: str, build: Any, tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(OBS, 6), nn.ReLU(), nn.Linear(6, ACTIONS))
    path = _saved(layers, tmp_path / "actor.pt")
    policy = torchrl.load(path, activation="relu", distribution=distribution)
    obs = _observations(3)
    torch.testing.assert_close(policy(obs)[0], build(layers(obs)))


def test_files_with_more_than_the_actor(tmp_path: Path) -> None:
    actor = _actor().eval()
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
    actor = _actor()
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
    return _actor("lstm", 1, TruncatedNormal, low=-1.0, high=1.0)


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
        torchrl.load(_saved(actor, tmp_path / "actor.pt"), module=actor)


def test_hooks_on_the_actor_are_refused(tmp_path: Path) -> None:
    actor = _actor()
    actor.register_forward_hook(lambda *_: None)
    with pytest.raises(ArtifactError, match="has forward hooks"):
        torchrl.load(_saved(actor, tmp_path / "actor.pt"), module=actor)


def test_shapes_alone_need_the_rest_in_words(tmp_path: Path) -> None:
    path = _saved(_actor(), tmp_path / "actor.pt")
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
        torchrl.load(path, module=_actor(), activation="tanh")
    with pytest.raises(ValueError, match="env_spec has 4 observations and 3 actions"):
        spec = EnvSpec(_Env.observation_space, gymnasium.spaces.Box(-1.0, 1.0, (3,)))
        torchrl.load(path, **words, env_spec=spec)
    with pytest.raises(TypeError, match="module must be a torch"):
        torchrl.load(path, module=3)  # type: ignore[arg-type]


def test_shapes_that_are_no_chain_are_refused(tmp_path: Path) -> None:
    words: dict[str, Any] = {"activation": "tanh", "distribution": "none"}
    both = nn.ModuleDict({"actor": nn.Linear(4, 2), "critic": nn.Linear(4, 1)})
    with pytest.raises(ArtifactError, match=r"is no chain of layers.*\[\(4, 2\), \(4, 1\)\]"):
        torchrl.load(_saved(both, tmp_path / "both.pt"), **words)
    normed = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    with pytest.raises(ArtifactError, match=r"'1.weight' is a .* of shape \(4,\); expected 2 axes"):
        torchrl.load(_saved(normed, tmp_path / "normed.pt"), **words)
    with pytest.raises(ValueError, match="3 outputs are no pairs"):
        torchrl.load(_saved(nn.Sequential(nn.Linear(4, 3)), tmp_path / "odd.pt"), **words | {"distribution": "normal"})


def test_a_spec_gives_names(tmp_path: Path) -> None:
    actor = _actor()
    spec = EnvSpec(_Env.observation_space, _Env.action_space, action_names=("left", "right"))
    policy = torchrl.load(_saved(actor, tmp_path / "actor.pt"), module=actor, env_spec=spec)
    assert policy.output_specs[0].element_names == ("left", "right")


class _Callback:
    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (_Callback, "ran", True))


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    actor = _actor()
    torch.save({"actor": actor.state_dict(), "config": _Callback()}, tmp_path / "actor.pt")
    with pytest.raises(ArtifactError, match="allow_pickle=True"):
        torchrl.load(tmp_path / "actor.pt", module=actor)
    assert not _Callback.ran
