"""Policies that rl_games itself has trained, against rl_games' own player."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch
from rl_games.algos_torch.torch_ext import safe_save
from rl_games_files import ACTIONS, HIGH, LOW, Env, configuration, observed, player_actions, record, train
from same_actions import check_files, check_policy, stepped

from ganglion.adapters import rl_games
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

_BOUNDS: dict[str, Any] = {"action_low": LOW, "action_high": HIGH}

_NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"rnn": {}},
    "gru": {"rnn": {"name": "gru", "layers": 2}},
    "mlp": {},
    "before_mlp": {"rnn": {"before_mlp": True}},
    "before_mlp_concat_output": {"rnn": {"before_mlp": True, "concat_output": True, "layer_norm": True}},
    "concat_input": {"rnn": {"concat_input": True, "layer_norm": True}},
    "concat_both": {"rnn": {"name": "gru", "concat_input": True, "concat_output": True}},
    "separate": {"rnn": {"layer_norm": True}, "separate": True},
    "without_mlp": {"rnn": {}, "units": ()},
    "tanh_mean": {"rnn": {}, "mu_activation": "tanh"},
    "without_statistics": {"rnn": {}, "normalize_input": False},
    "without_clipping": {"rnn": {}, "clip_actions": False},
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", _NETWORKS)
def test_thousand_steps_equal_the_player(name: str, tmp_path: Path) -> None:
    checkpoint, player = train(configuration(tmp_path, **_NETWORKS[name]))
    arguments = {} if name == "without_clipping" else _BOUNDS
    policy = rl_games.load(checkpoint, **arguments)
    run = record(player)
    assert run.action.std(0).min() > 1e-3
    check_policy(policy, run)


def test_every_file_and_engine(tmp_path: Path) -> None:
    checkpoint, player = train(configuration(tmp_path, **_NETWORKS["concat_both"]))
    policy = rl_games.load(checkpoint, **_BOUNDS)
    check_files(policy, record(player), tmp_path)
    assert policy.output_specs[0].low == LOW
    assert policy.output_specs[0].high == HIGH


def test_a_batch_equals_its_rows_and_a_sequence_its_steps(tmp_path: Path) -> None:
    checkpoint, _ = train(configuration(tmp_path, **_NETWORKS["concat_both"]))
    policy = rl_games.load(checkpoint, **_BOUNDS)
    observations = observed(6)
    with torch.no_grad():
        batch, _ = policy(observations)
        rows = torch.stack([policy(obs)[0] for obs in observations])
        evaluated = policy.evaluate({"observations": observations, "lengths": [6]})
    torch.testing.assert_close(batch, rows)
    torch.testing.assert_close(evaluated, torch.from_numpy(stepped(policy, observations, torch.zeros(6, dtype=bool))))


def test_isaac_labs_wrapper_is_part_of_the_policy(tmp_path: Path) -> None:
    config = configuration(tmp_path, {}, clip_actions=False)
    bound = 0.13
    config["params"]["env"] = {"clip_observations": 0.5, "clip_actions": bound}
    checkpoint, player = train(config)
    observations = observed(50)
    # RlGamesVecEnvWrapper._process_obs and .step of isaaclab_rl/rl_games.py.
    expected = player_actions(player, observations.clamp(-0.5, 0.5)).clamp(-bound, bound)
    found = torch.from_numpy(stepped(rl_games.load(checkpoint), observations, torch.arange(50) % 37 == 0))
    assert 0.1 < (expected.abs() < bound).float().mean() < 0.9
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0.0)


def test_arguments_stand_in_for_a_configuration(tmp_path: Path) -> None:
    checkpoint, player = train(configuration(tmp_path, {}))
    (checkpoint.parent.parent / "params" / "agent.yaml").unlink()
    with pytest.raises(ValueError, match=r"which activation .* config=agent.yaml .* relu, tanh"):
        rl_games.load(checkpoint)
    policy = rl_games.load(checkpoint, activation="elu", **_BOUNDS)
    check_policy(policy, record(player, 20))
    # Without any word on the action space it is [-1, 1], as the contract says, too.
    assert rl_games.load(checkpoint, activation="elu").output_specs[0].low == (-1.0,) * ACTIONS
    with pytest.raises(ValueError, match="'leaky' is not known; rl_games has relu"):
        rl_games.load(checkpoint, activation="leaky")


def test_a_spec_gives_names_and_bounds(tmp_path: Path) -> None:
    checkpoint, player = train(configuration(tmp_path, {}))
    env = Env(1)
    spec = EnvSpec(env.observation_space, env.action_space, action_names=("a", "b", "c"))
    policy = rl_games.load(checkpoint, env_spec=spec)
    assert policy.output_specs[0].element_names == ("a", "b", "c")
    check_policy(policy, record(player, 20))
    narrow = EnvSpec(gymnasium.spaces.Box(-1, 1, (2,)), env.action_space)
    with pytest.raises(ValueError, match=r"env_spec has 2 observations and 3 actions; .* has 5 and 3"):
        rl_games.load(checkpoint, env_spec=narrow)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    checkpoint, _ = train(configuration(tmp_path_factory.mktemp("rl_games"), {}))
    return checkpoint, torch.load(checkpoint, weights_only=False)


def _edited(trained: tuple[Path, dict[str, Any]], path: Path, edit: Any) -> Path:
    document = copy.deepcopy(trained[1])
    edit(document["model"])
    torch.save(document, path)
    return path


def _rename(model: dict[str, Any], old: str, new: str) -> None:
    model[new] = model.pop(old)


_NET = "a2c_network."
_EDITS: dict[str, tuple[Any, str]] = {
    "missing": (lambda m: m.pop(f"{_NET}mu.bias") is None or m.pop(f"{_NET}mu.weight"), r"no 'a2c_network.mu.weight'"),
    "unknown": (lambda m: m.update({f"{_NET}_disc_mlp.0.weight": torch.ones(2, 2)}), r"not known here: .*_disc_mlp"),
    "discrete": (lambda m: _rename(m, f"{_NET}mu.weight", f"{_NET}logits.weight"), "the actions are discrete"),
    "images": (lambda m: m.update({f"{_NET}actor_cnn.0.weight": torch.ones(1)}), "takes images"),
    "sac": (lambda m: m.update({"sac_network.actor.trunk.0.weight": torch.ones(1)}), "the agent is SAC"),
    "not_finite": (
        lambda m: m[f"{_NET}mu.weight"].fill_(math.nan),
        "'a2c_network.mu.weight' holds values that are not",
    ),
    "shape": (lambda m: m.update({f"{_NET}mu.weight": torch.ones(3, 9)}), "the layers do not fit each other"),
    "gates": (lambda m: m.update({f"{_NET}rnn.rnn.weight_hh_l0": torch.ones(40, 8)}), "an LSTM has 4 rows a unit"),
    "bias": (lambda m: m.pop(f"{_NET}rnn.rnn.bias_hh_l0"), "bias_hh_l0 is missing"),
    "variance": (lambda m: m["running_mean_std.running_var"].fill_(-1.0), "a negative variance"),
    "statistics": (
        lambda m: m.update({"running_mean_std.running_mean": torch.ones(7)}),
        "statistics of 7 observations",
    ),
    "no_statistics": (
        lambda m: [m.pop(key) for key in list(m) if key.startswith("running_mean_std.")],
        "says normalize_input: True, but .* no statistics",
    ),
    "nothing": (lambda m: m.clear(), "expected a state dictionary"),
}


@pytest.mark.parametrize("name", _EDITS)
def test_other_weights_are_refused(name: str, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    edit, message = _EDITS[name]
    path = _edited(trained, tmp_path / "agent.pth", edit)
    with pytest.raises(ArtifactError, match=message):
        rl_games.load(path, config=trained[0].parent.parent / "params" / "agent.yaml")


def test_names_of_torch_compile_and_old_statistics_are_read(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config = trained[0].parent.parent / "params" / "agent.yaml"
    given = observed(5), torch.zeros(5, dtype=bool)
    expected = stepped(rl_games.load(trained[0]), *given)
    document = copy.deepcopy(trained[1])
    statistics = {key: document["model"].pop(key) for key in list(document["model"]) if "running_mean_std" in key}
    document["running_mean_std"] = {key.split(".")[-1]: value for key, value in statistics.items()}
    document["model"] = {f"_orig_mod.{key}": value for key, value in document["model"].items()}
    torch.save(document, tmp_path / "old.pth")
    np.testing.assert_array_equal(stepped(rl_games.load(tmp_path / "old.pth", config=config), *given), expected)


def test_shapes_that_allow_two_readings_are_refused(tmp_path: Path) -> None:
    model = {
        "a2c_network.actor_mlp.0.weight": torch.randn(6, 6),
        "a2c_network.rnn.rnn.weight_ih_l0": torch.randn(18, 6),
        "a2c_network.rnn.rnn.weight_hh_l0": torch.randn(18, 6),
        "a2c_network.mu.weight": torch.randn(2, 6),
    }
    path = tmp_path / "agent.pth"
    torch.save({"model": model}, path)
    with pytest.raises(
        ValueError, match=r"the shapes allow .*before_mlp=False.* and .*before_mlp=True.*before_mlp=\.\.\."
    ):
        rl_games.load(path, activation="relu")
    before, behind = (rl_games.load(path, activation="relu", before_mlp=flag) for flag in (True, False))
    obs = torch.randn(6)
    assert not torch.allclose(before(obs)[0], behind(obs)[0])


class _Callback:
    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (_Callback, "ran", True))


def test_no_code_of_a_file_is_run(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    config = trained[0].parent.parent / "params" / "agent.yaml"
    path = tmp_path / "agent.pth"
    with contextlib.redirect_stdout(io.StringIO()):
        safe_save(trained[1] | {"env_state": _Callback()}, str(path))
    rl_games.load(path, config=config)  # what the actor does not need is not looked at
    assert not _Callback.ran
    with pytest.warns(UserWarning, match="can run any code"):
        rl_games.load(path, config=config, allow_pickle=True)
    assert _Callback.ran


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.getcwd []", "remove the tag"),
        ("params: {config: {}}", "no 'params: network'"),
        ("params: {network: {name: resnet_actor_critic}}", "the network is 'resnet_actor_critic'"),
        ("- 1", "holds a list where a mapping"),
        ("params: {network: {name: actor_critic}, env: {clip_actions: -1}}", "env.clip_actions is -1"),
    ],
)
def test_other_configurations_are_refused(
    text: str, message: str, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "agent.yaml").write_text(text)
    with pytest.raises(ArtifactError, match=message):
        rl_games.load(trained[0], config=tmp_path / "agent.yaml")


def test_other_files_and_arguments_are_refused(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    torch.save({"actor_state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(ArtifactError, match=r"holds \['actor_state_dict'\]; expected an entry 'model'"):
        rl_games.load(tmp_path / "other.pth", activation="elu")
    with pytest.raises(ArtifactError, match="cannot read"):
        rl_games.load(tmp_path / "none.pth", activation="elu")
    with pytest.raises(TypeError, match="config must be a path"):
        rl_games.load(trained[0], config=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="belong together"):
        rl_games.load(trained[0], action_low=-1.0)
    with pytest.raises(ValueError, match=r"shapes \[\(2,\), \(2,\)\]; the policy has 3 actions"):
        rl_games.load(trained[0], action_low=[0, 0], action_high=[1, 1])
    with pytest.raises(ValueError, match="must not lie above"):
        rl_games.load(trained[0], action_low=1.0, action_high=0.0)
