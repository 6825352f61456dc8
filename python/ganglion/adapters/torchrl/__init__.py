"""Recurrent actors of TorchRL (`LSTMModule`, `GRUModule`) from their weights.

The formulas are those of torchrl 0.14.1 and tensordict 0.14.3, which do not have to be installed.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from torch import Tensor, nn

from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import COMPILED
from ganglion.adapters._files import read_torch, refuse_stand_ins
from ganglion.adapters._state_dict import StateDict, wrapped_as
from ganglion.adapters.torchrl.module import FirstHalf, Parts, take_apart
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies import ActionMap, DeployablePolicy
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import TypeAlias

    from ganglion.policies import RecurrentPolicy

    Bounds: TypeAlias = float | Sequence[float]

__all__ = ["load"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
"""Names of `activation_class` for an actor that is built from shapes."""

_DISTRIBUTIONS = ("tanh_normal", "normal", "tanh", "none")


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    module: nn.Module | None = None,
    entry: str | None = None,
    activation: str | None = None,
    activate_encoder: bool | None = None,
    distribution: str | None = None,
    action_low: Bounds | None = None,
    action_high: Bounds | None = None,
    env_spec: EnvSpec | None = None,
    allow_pickle: bool = False,
) -> RecurrentPolicy:
    """Builds the policy whose `state_dict()` was saved by `torch.save`.

    It does what the actor does under `set_exploration_type(ExplorationType.DETERMINISTIC)`, with the state zero at the
    first step (`is_init`): the location of the distribution, for `TanhNormal` and `TanhDelta` through tanh and mapped
    to the bounds. Transforms of the environment (`ObservationNorm`, `VecNorm`) are no part of an actor: put an
    `ObservationNormalizer` before the policy, with `DeployablePolicy`.

    The actor is taken from `module`, of any structure that is a chain. Without it, it is built from the shapes of the
    weights: linear layers, at most one LSTM or GRU, linear layers; then `activation` and `distribution` are needed.

    Args:
        checkpoint: the file: a state dictionary, or a dictionary with one.
        module: the actor, a module of tensordict, as it was built for the training; it stays as it is.
        entry: name of the state dictionary in the file, where there are several.
        activation: between the layers, with shapes only: tanh (TorchRL's default), relu, elu, selu, gelu, silu, mish,
            leaky_relu, sigmoid or softplus.
        activate_encoder: the last layer before the recurrent layers has an activation, too (`activate_last_layer`);
            needed with shapes only, where there are layers before the recurrent ones.
        distribution: with shapes only: "tanh_normal" or "normal", whose last layer gives location and scale; "tanh", a
            last layer with `TanhModule`; or "none", a last layer that gives the action.
        action_low: lower bounds of a squashed action, one or one per element, with shapes only; None for -1.
        action_high: upper bounds, likewise; None for 1.
        env_spec: spaces and names of the elements, where they are known; None for boxes, with the bounds of a squashed
            action.
        allow_pickle: make objects of classes in the file in earnest, which can run code; without it they are skipped.

    Returns:
        The policy in eval mode, ready for `ganglion.export`.

    Raises:
        ArtifactError: the file is missing, damaged or of another kind; its weights are not those of `module`; or
            `module` has parts that are not supported.
        ValueError: an argument is needed, unknown, not used with `module`, or does not fit the weights.
        TypeError: `module` is no module.
    """
    weights = _state_dict(read_torch(checkpoint, allow_pickle=allow_pickle), str(checkpoint), entry)
    if module is not None:
        shapes_only = (activation, activate_encoder, distribution, action_low, action_high)
        if any(value is not None for value in shapes_only):
            raise ValueError(
                "module= says all about the actor: leave activation, activate_encoder, distribution and bounds out"
            )
        parts = take_apart(_filled(module, weights, str(checkpoint)))
    else:
        # Modules of tensordict have a part `module` themselves; with shapes alone its name does not matter.
        parts = _from_shapes(
            StateDict(weights, f"'{checkpoint}'", COMPILED), activation, activate_encoder, distribution
        )
        if parts.low is not None:
            low, high = (-1.0 if action_low is None else action_low), (1.0 if action_high is None else action_high)
            parts.squash(low, high, is_safe=distribution == "tanh_normal")
        elif action_low is not None or action_high is not None:
            raise ValueError(f"action_low and action_high have no part in the distribution {distribution!r}")
    return _policy(parts, env_spec, str(checkpoint))


def _state_dict(document: Any, path: str, entry: str | None) -> dict[str, Tensor]:
    if not isinstance(document, Mapping):
        refuse_stand_ins(document, f"'{path}'")
        raise ArtifactError(
            f"'{path}' holds a {type(document).__name__}; expected what torch.save(actor.state_dict()) writes"
        )
    if entry is not None:
        if not isinstance(document.get(entry), Mapping):
            raise ArtifactError(f"'{path}' has no state dictionary '{entry}', but the entries {_names(document)}")
        document = document[entry]
    elif not _is_state_dict(document):
        found = [name for name, value in document.items() if _is_state_dict(value)]
        if len(found) != 1:
            refuse_stand_ins(document, f"'{path}'")
            raise ArtifactError(
                f"'{path}' has the entries {_names(document)}, of which {found or 'none'} are state dictionaries; name "
                "the actor's: entry=..."
            )
        document = document[found[0]]
    # tensordict notes the batch size and device beside the tensors of parameters in a TensorDict.
    return {str(name): value for name, value in document.items() if not str(name).split(".")[-1].startswith("__")}


def _is_state_dict(document: Any) -> bool:
    return isinstance(document, Mapping) and any(
        isinstance(value, Tensor) and value.ndim > 0 and str(name).endswith(("weight", "weight_ih_l0"))
        for name, value in document.items()
    )


def _names(document: Mapping[Any, Any]) -> list[str]:
    return sorted(map(str, document))[:8]


def _filled(module: nn.Module, weights: Mapping[str, Tensor], path: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, not {type(module).__name__}")
    actor = copy.deepcopy(module)
    for name, value in weights.items():
        if not (isinstance(value, Tensor) and bool(torch.isfinite(value).all())):
            raise ArtifactError(f"'{path}': '{name}' is no tensor of finite numbers")
    try:
        actor.load_state_dict(wrapped_as(actor, weights, f"'{path}'"))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ArtifactError(f"the weights in '{path}' are not those of module: {' '.join(lines[:4])}") from error
    return actor.eval()


def _from_shapes(
    weights: StateDict, activation: str | None, activate_encoder: bool | None, distribution: str | None
) -> Parts:
    if activation is None or distribution is None:
        raise ValueError(
            f"{weights.label} holds weights only: give the actor as it was built, module=..., or say activation= "
            f"({', '.join(ACTIVATIONS)}) and distribution= ({', '.join(_DISTRIBUTIONS)})"
        )
    kind = ACTIVATIONS.get(activation)
    if kind is None or distribution not in _DISTRIBUTIONS:
        raise ValueError(
            f"activation {activation!r} must be one of {', '.join(ACTIVATIONS)}, and distribution {distribution!r} one "
            f"of {', '.join(_DISTRIBUTIONS)}"
        )
    parts = Parts()
    encoder: list[nn.Linear] = []
    head: list[nn.Linear] = []
    # A state dictionary has the order of the modules.
    for name in weights.in_order():
        prefix, _, last = name.rpartition(".")
        if last == "weight_ih_l0" and parts.recurrent is None:
            parts.recurrent = weights.recurrent(prefix)
        elif last == "weight":
            (encoder if parts.recurrent is None else head).append(weights.linear(prefix))
    weights.finish("with shapes alone, linear layers and one LSTM or GRU are read; give module=... for anything else")
    if parts.recurrent is None:
        encoder, head = [], encoder
    _check_chain(encoder, parts.recurrent, head, weights.label)
    if encoder and activate_encoder is None:
        raise ValueError(
            f"{weights.label}: say whether the last layer before the recurrent ones has an activation: "
            "activate_encoder=True or False"
        )
    parts.encoder = [module for layer in encoder for module in (layer, kind())]
    parts.encoder = parts.encoder if activate_encoder else parts.encoder[:-1]
    parts.head = [module for layer in head for module in (layer, kind())][:-1]
    if distribution in ("tanh_normal", "normal"):
        if head[-1].out_features % 2:
            raise ValueError(f"{weights.label}: {head[-1].out_features} outputs are no pairs of location and scale")
        parts.head.append(FirstHalf())
    if distribution in ("tanh_normal", "tanh"):
        parts.squash(-1.0, 1.0, is_safe=distribution == "tanh_normal")
    return parts


def _check_chain(encoder: list[nn.Linear], cells: nn.RNNBase | None, head: list[nn.Linear], label: str) -> None:
    sizes = [(layer.in_features, layer.out_features) for layer in encoder]
    sizes += [(cells.input_size, cells.hidden_size)] if cells is not None else []
    sizes += [(layer.in_features, layer.out_features) for layer in head]
    if not head or any(before[1] != behind[0] for before, behind in itertools.pairwise(sizes)):
        raise ArtifactError(
            f"{label} is no chain of layers, with linear ones last: (inputs, outputs) {sizes}; give module=..., or the "
            "weights of the actor alone"
        )


def _policy(parts: Parts, env_spec: EnvSpec | None, path: str) -> RecurrentPolicy:
    encoder, head = nn.Sequential(*parts.encoder), nn.Sequential(*parts.head)
    if parts.recurrent is None:
        encoder, head = nn.Sequential(), nn.Sequential(*parts.encoder, *parts.head)
    observations = _inputs(encoder if len(encoder) else parts.recurrent or head, path)
    features = observations if parts.recurrent is None else parts.recurrent.hidden_size
    with torch.no_grad():
        action = head(torch.zeros(1, features))
    if not isinstance(action, Tensor) or action.ndim != 2:
        raise ArtifactError(f"'{path}': the layers give {type(action).__name__}; expected a tensor [batch, actions]")
    size = action.shape[1]
    low, high = (None if bound is None else _expanded(bound, size, path) for bound in (parts.low, parts.high))
    spec = env_spec or EnvSpec(
        gymnasium.spaces.Box(-math.inf, math.inf, (observations,)),
        gymnasium.spaces.Box(-math.inf, math.inf, (size,))
        if low is None or high is None
        else gymnasium.spaces.Box(low.float().numpy(), high.float().numpy()),
    )
    if (spec.observation_size, spec.action_size) != (observations, size):
        raise ValueError(
            f"env_spec has {spec.observation_size} observations and {spec.action_size} actions; the policy in '{path}' "
            f"has {observations} and {size}"
        )
    policy: RecurrentPolicy = LayeredPolicy(spec, head, parts.recurrent, encoder if len(encoder) else None)
    if low is not None and high is not None:
        scale, offset = (high - low) / 2.0, (high + low) / 2.0
        reach = scale * parts.limit
        policy = DeployablePolicy(policy, None, ActionMap(scale, offset, offset - reach, offset + reach, squash=True))
    return policy.eval().requires_grad_(False)


def _inputs(module: nn.Module, path: str) -> int:
    if isinstance(module, nn.RNNBase):
        return module.input_size
    for part in module.modules():
        if isinstance(part, nn.Linear):
            return part.in_features
    raise ArtifactError(f"'{path}': no linear or recurrent layer tells the number of observations")


def _expanded(bound: Tensor, size: int, path: str) -> Tensor:
    if len(bound) not in (1, size):
        raise ValueError(f"'{path}': {len(bound)} bounds for {size} actions")
    return bound.expand(size)
