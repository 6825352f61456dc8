"""The file that a trainer of rl_games saves, and the configuration that it was trained with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from ganglion._foundation.yaml_files import read_yaml
from ganglion.adapters._files import read_torch, refuse_stand_ins
from ganglion.adapters._state_dict import StateDict, unwrapped
from ganglion.errors import ArtifactError

Config: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "None": nn.Identity,
}
"""Names of rl_games: `NetworkBuilder.BaseNetwork` in `rl_games/algos_torch/network_builder.py`, version 1.6.5."""

_BESIDE = (Path("params/agent.yaml"), Path("agent.yaml"), Path("config.yaml"))
"""Where Isaac Lab and IsaacGymEnvs put the configuration, seen from the run's folder; checkpoints lie in `nn/`."""


@dataclass(frozen=True)
class Settings:
    """What the shapes of the weights do not tell; None where the configuration does not either.

    Attributes:
        activation: of the hidden layers.
        mu_activation: of the mean.
        clip_actions: the player clips the mean to [-1, 1] and maps it to the bounds of the action space.
        before_mlp: the recurrent layers come before the MLP.
        normalize_input: the model has statistics of the observations.
        bound: Isaac Lab's `env.clip_actions`, the bound of its action space.
        observation_bound: Isaac Lab's `env.clip_observations`; the environment clips observations to it.
    """

    activation: str | None = None
    mu_activation: str | None = None
    clip_actions: bool | None = None
    before_mlp: bool | None = None
    normalize_input: bool | None = None
    bound: float | None = None
    observation_bound: float | None = None


def read_weights(checkpoint: str | os.PathLike[str], allow_pickle: bool) -> StateDict:
    """Reads the state dictionary of the model, `a2c_network.*` and `running_mean_std.*`.

    Objects of classes in the file, such as numbers of numpy, are skipped. Statistics outside the model, as older
    versions save them, replace those inside, as `PpoPlayerContinuous.restore` does (`rl_games/algos_torch/players.py`).

    Raises:
        ArtifactError: the file is missing, damaged, or is no checkpoint of rl_games.
    """
    document = read_torch(checkpoint, allow_pickle=allow_pickle)
    model = document.get("model") if isinstance(document, Mapping) else None
    if not isinstance(model, Mapping):
        refuse_stand_ins(document, f"'{checkpoint}'")
        found = sorted(map(str, document)) if isinstance(document, Mapping) else f"a {type(document).__name__}"
        raise ArtifactError(f"'{checkpoint}' is no checkpoint of rl_games: it holds {found}; expected an entry 'model'")
    weights = unwrapped(model, f"'{checkpoint}'")
    statistics = document.get("running_mean_std")
    if isinstance(statistics, Mapping):
        inside = unwrapped(statistics, f"'{checkpoint}', running_mean_std")
        weights |= {f"running_mean_std.{name}": value for name, value in inside.items()}
    return StateDict(weights, f"'{checkpoint}'")


def read_settings(config: Config | None, checkpoint: str | os.PathLike[str]) -> Settings:
    """Reads the configuration of the agent.

    Args:
        config: the YAML file of rl_games, Isaac Lab (`params/agent.yaml`) or IsaacGymEnvs (`config.yaml`), or what is
            in it; None for the one of these that lies in the run's folder, if any.
        checkpoint: path of the checkpoint, in the run's folder or in `nn/` there.

    Raises:
        ArtifactError: the file is missing, no YAML, has a tag that asks for code, or is no configuration of rl_games.
        EngineUnavailableError: PyYAML is not installed.
        TypeError: `config` is none of these.
    """
    if config is None:
        here = Path(checkpoint).parent
        folders = (here, here.parent) if here.name == "nn" else (here,)
        found = next((path for folder in folders for path in map(folder.joinpath, _BESIDE) if path.is_file()), None)
        if found is None:
            return Settings()
        config = found
    if not isinstance(config, (str, os.PathLike, Mapping)):
        raise TypeError(f"config must be a path, a mapping or None, not {type(config).__name__}")
    label = "config" if isinstance(config, Mapping) else f"'{config}'"
    return _settings(config if isinstance(config, Mapping) else read_yaml(config), label)


def _settings(document: Any, label: str) -> Settings:
    params = _section(document, "train", label) or document
    params = _section(params, "params", label) or params
    network = _section(params, "network", label)
    if not network:
        raise ArtifactError(f"{label} is no configuration of rl_games: it has no 'params: network'")
    if network.get("name") not in (None, "actor_critic"):
        raise ArtifactError(f"{label}: the network is '{network['name']}'; read is rl_games' own 'actor_critic'")
    config, environment = _section(params, "config", label), _section(params, "env", label)
    continuous = _section(_section(network, "space", label), "continuous", label)
    recurrent = _section(network, "rnn", label)
    return Settings(
        activation=_text(_section(network, "mlp", label).get("activation")),
        mu_activation=_text(continuous.get("mu_activation")),
        # BasePlayer.__init__, rl_games/common/player.py.
        clip_actions=bool(config.get("clip_actions", True)) if config else None,
        # A2CBuilder.Network.load, rl_games/algos_torch/network_builder.py.
        before_mlp=bool(recurrent.get("before_mlp", False)) if recurrent else None,
        normalize_input=config.get("normalize_input"),
        bound=_number(environment.get("clip_actions"), "env.clip_actions", label),
        observation_bound=_number(environment.get("clip_observations"), "env.clip_observations", label),
    )


def _section(document: Any, name: str, label: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise ArtifactError(f"{label} holds a {type(document).__name__} where a mapping with '{name}' is expected")
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any, name: str, label: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ArtifactError(f"{label}: {name} is {value!r}; expected a positive number")
    return float(value)
