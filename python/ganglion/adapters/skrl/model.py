"""Models of skrl's documentation and instantiators, made again from the shapes of their weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from ganglion.adapters._state_dict import unwrapped, wrapped_as
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies.action_map import ActionMap
from ganglion.policies.deployable import DeployablePolicy
from ganglion.policies.layered import LayeredPolicy
from ganglion.policies.skrl.model import flat_box
from ganglion.policies.skrl.models import (
    GaussianGRUModel,
    GaussianLSTMModel,
    GaussianMLPModel,
    GaussianRNNModel,
    RecurrentGaussianModel,
)
from ganglion.policies.skrl.policy import SkrlPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ganglion.policies.base import RecurrentPolicy

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}
"""The names of skrl's model instantiators, and `identity` for none."""

_RECURRENT: dict[str, type[RecurrentGaussianModel]] = {
    "rnn": GaussianRNNModel,
    "gru": GaussianGRUModel,
    "lstm": GaussianLSTMModel,
}
_HIDDEN = re.compile(r"(net|\w+_container)\.(\d+)\.(weight|bias)")
_OUTPUT = re.compile(r"(?:policy_layer|mean_layer|mean_net\.0|policy_net\.0)\.(weight|bias)")
"""The output layer: today's names, and those of the shared models of skrl 1.0 to 1.2."""
_NO_ACTOR = ("value_layer.", "critic_layer.", "value_net.", "critic_net.")
_HINT = "give the model itself: load(..., model=...)"


@dataclass(frozen=True)
class Settings:
    """What the weights of a model do not tell.

    Attributes:
        activation: name of the activation behind each hidden layer.
        output_activation: name of the activation behind the last layer.
        output_scale: factor behind that, as in skrl's `output: "2.0 * tanh(ACTIONS)"`.
        clip_mean_actions: clip to the action space, as `GaussianMixin(clip_mean_actions=True)` and
            `DeterministicMixin(clip_actions=True)` do.
        clip_actions: clip drawn actions to it, as `GaussianMixin(clip_actions=True)` does.
        observation_space: a `Box` (or a `Dict` or `Tuple` of them), or None where only its size is known.
        action_space: likewise.
    """

    activation: str | None
    output_activation: str | None
    output_scale: float
    clip_mean_actions: bool
    clip_actions: bool
    observation_space: gymnasium.Space[Any] | None
    action_space: gymnasium.Space[Any] | None


def build(state: Mapping[str, Tensor], settings: Settings, label: str) -> RecurrentPolicy:
    """Makes the policy of a state dictionary.

    Known are linear layers `net.0`, `net.2`, ... or `net_container.0`, ... (or one container of another name), alone or
    followed by `policy_layer`, `mean_layer` or `mean_net.0`, alone or behind `rnn`, `gru` or `lstm` layers; what
    belongs to the value of a shared model is left out. With `log_std_parameter` the outputs are `mean` and `log_std`,
    without it `actions`.

    Raises:
        ArtifactError: the weights are those of another model; names them.
        ValueError: a setting is missing, unknown, or does not fit the weights.
    """
    state = unwrapped(state, label)
    names = [name for name in state if not name.startswith(_NO_ACTOR)]
    recurrent = next((name for name in _RECURRENT if any(key.startswith(f"{name}.") for key in names)), None)
    _check_parts(names, label)
    renamed = {_renamed(name, state, label): state[name] for name in names}
    sizes = _layer_sizes(renamed, recurrent, label)
    settings = _checked(settings, has_hidden_layers=len(sizes) > 2)
    observations = _space("observation_space", settings.observation_space, _inputs(renamed, recurrent, sizes), label)
    actions = _space("action_space", settings.action_space, sizes[-1], label)
    is_gaussian = "log_std_parameter" in renamed
    if not is_gaussian:
        renamed["log_std_parameter"] = torch.zeros(sizes[-1])
    arguments: dict[str, Any] = {
        "observation_space": observations,
        "action_space": actions,
        "device": "cpu",
        "hidden_sizes": sizes[1:-1],
        "activation": ACTIVATIONS[settings.activation or "identity"],
        "output_activation": ACTIVATIONS[settings.output_activation or "identity"],
        "clip_mean_actions": settings.clip_mean_actions,
        "clip_actions": settings.clip_actions,
    }
    if recurrent is not None:
        arguments["hidden_size"] = sizes[0]
        arguments["num_layers"] = sum(name.startswith(f"{recurrent}.weight_ih_l") for name in renamed)
    with torch.random.fork_rng(devices=[]):
        model = GaussianMLPModel(**arguments) if recurrent is None else _RECURRENT[recurrent](**arguments)
    fill(model, renamed, label)
    if settings.output_scale != 1.0:
        model.net.append(_Scale(settings.output_scale))
    if is_gaussian:
        return SkrlPolicy(model)
    return _deterministic(model, recurrent, EnvSpec(observations, actions), settings.clip_mean_actions)


def fill(model: nn.Module, state: Mapping[str, Tensor], label: str) -> None:
    """Loads weights into a model; names and shapes must be the same.

    Raises:
        ArtifactError: they are not, or a value is not finite.
    """
    wrong = sorted(name for name, value in state.items() if not bool(torch.isfinite(value).all()))
    if wrong:
        raise ArtifactError(
            f"{label}: {', '.join(wrong[:4])} holds values that are not finite; take an earlier checkpoint"
        )
    try:
        model.load_state_dict(wrapped_as(model, state, label), strict=True)
    except RuntimeError as error:
        reasons = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise ArtifactError(f"{label} does not fit the model {type(model).__name__}: {reasons or error}") from error


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def _check_parts(names: list[str], label: str) -> None:
    """Refuses two networks, or two output layers: how they are joined is in the code of the model alone."""
    parts = sorted({found[1] for found in map(_HIDDEN.fullmatch, names) if found is not None})
    outputs = sorted({name.rpartition(".")[0] for name in names if _OUTPUT.fullmatch(name)})
    for several in (parts, outputs):
        if len(several) > 1:
            raise ArtifactError(f"{label} has {' and '.join(several)}, and nothing says how they are joined; {_HINT}")


def _renamed(name: str, state: Mapping[str, Tensor], label: str) -> str:
    """The name that an entry has in the models of `ganglion.policies.skrl.models`."""
    if name == "log_std_parameter" or name.startswith(tuple(f"{kind}." for kind in _RECURRENT)):
        return name
    hidden = _HIDDEN.fullmatch(name)
    if hidden is not None:
        return f"net.{int(hidden[2])}.{hidden[3]}"
    output = _OUTPUT.fullmatch(name)
    if output is None:
        raise ArtifactError(f"{label} has '{name}', which the models of skrl's documentation do not have; {_HINT}")
    count = sum(bool(_HIDDEN.fullmatch(other)) and other.endswith(".weight") for other in state)
    return f"net.{2 * count}.{output[1]}"


def _layer_sizes(state: Mapping[str, Tensor], recurrent: str | None, label: str) -> list[int]:
    """Elements into the first linear layer, and out of each of them."""
    layers = {
        int(name.split(".")[1]): value for name, value in state.items() if re.fullmatch(r"net\.\d+\.weight", name)
    }
    places = sorted(layers)
    if not places or places != list(range(0, 2 * len(places), 2)):
        raise ArtifactError(
            f"{label} has linear layers at the places {places} of its network; expected 0, 2, 4, ... with activations "
            f"between them; {_HINT}"
        )
    if any(layers[place].ndim != 2 for place in places):
        raise ArtifactError(
            f"{label} has layers that are not linear: {[tuple(v.shape) for v in layers.values()]}; {_HINT}"
        )
    units = None if recurrent is None else state.get(f"{recurrent}.weight_hh_l0")
    if recurrent is not None and (units is None or units.ndim != 2):
        raise ArtifactError(f"{label} has no '{recurrent}.weight_hh_l0' with two axes")
    first = layers[0].shape[1] if units is None else units.shape[1]
    return [first, *(layers[place].shape[0] for place in places)]


def _inputs(state: Mapping[str, Tensor], recurrent: str | None, sizes: list[int]) -> int:
    if recurrent is None:
        return sizes[0]
    weight = state.get(f"{recurrent}.weight_ih_l0", torch.empty(0, 1))
    return weight.shape[-1]


def _space(name: str, space: gymnasium.Space[Any] | None, size: int, label: str) -> gymnasium.spaces.Box:
    if space is None:
        return gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
    box = flat_box(space)
    if box.shape != (size,):
        raise ValueError(f"{name} has {box.shape[0]} elements, but the model in {label} has {size}")
    return box


def _checked(settings: Settings, has_hidden_layers: bool) -> Settings:
    needed = {"output_activation": settings.output_activation}
    if has_hidden_layers:
        needed["activation"] = settings.activation
    for name, value in needed.items():
        if value not in ACTIVATIONS:
            raise ValueError(
                f"{name} must be one of {', '.join(ACTIVATIONS)}, not {value!r}: a checkpoint of skrl does not tell "
                f"it; or {_HINT}"
            )
    for name in ("clip_mean_actions", "clip_actions"):
        if getattr(settings, name) and settings.action_space is None:
            raise ValueError(f"{name} needs action_space=..., the space to clip to")
    return settings


def _deterministic(
    model: GaussianMLPModel | RecurrentGaussianModel,
    recurrent: str | None,
    spec: EnvSpec,
    clips: bool,
) -> RecurrentPolicy:
    layers = None if recurrent is None else getattr(model, recurrent)
    if layers is not None:
        layers.batch_first = False
    policy = LayeredPolicy(spec, model.net, layers)
    if not clips:
        return policy
    space: Any = spec.action_space
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    return DeployablePolicy(policy, None, ActionMap(torch.ones(len(low)), None, low, high))
