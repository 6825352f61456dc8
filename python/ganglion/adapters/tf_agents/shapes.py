"""Which actor network of TF-Agents variables are of, and its sizes; what they do not tell becomes questions."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ganglion.adapters._settings import (
    FLAG,
    NONLINEARITY,
    Question,
    bounds,
    flag,
    nonlinearity,
    one_of,
    size,
    spread,
)
from ganglion.errors import ArtifactError
from ganglion.policies import ActorDistributionNetwork, ActorDistributionRnnNetwork, ArraySpec, BoundedArraySpec
from ganglion.policies.tf_agents.heads import CategoricalProjection, NormalProjection, TanhProjection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ganglion.policies.tf_agents.networks import ActorNetwork

_HEADS = {
    "bias_layer": "normal",
    "stddev_projection_layer": "normal_state_std",
    "logits": "categorical",
    "action": "tanh",
}
"""What ends a network, by the name of the last layer in TF-Agents: `NormalProjectionNetwork` with one deviation or one
that is a layer, too, `CategoricalProjectionNetwork`, and `ActorRnnNetwork` or `ActorNetwork`."""

_LAYERS_OF = {"normal_state_std": 2}
"""Dense layers of a head, where that is not one."""

HEAD = Question(
    "normal_state_std (a normal distribution whose deviation is a layer, too), categorical, or tanh (the action)",
    one_of({name: name for name in _HEADS.values()}),
)
_TRANSFORMS = {"softplus": functional.softplus, "exp": torch.exp}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """What variables say.

    Attributes:
        encoder: units of each dense layer before the recurrent ones.
        cells: kind and units of each recurrent layer.
        behind: units of each dense layer behind the recurrent ones, or of all dense layers; the last one, or the last
            two, are those of the head.
        head: what ends the network, one of the values of `_HEADS`; None for not told.
        observation_size: elements of an observation.
    """

    encoder: tuple[int, ...]
    cells: tuple[tuple[type[nn.RNNBase], int], ...]
    behind: tuple[int, ...]
    head: str | None
    observation_size: int

    def ending_as(self, head: str, label: str) -> Shapes:
        """Returns the same with what ends the network.

        Raises:
            ArtifactError: there are too few layers for it.
        """
        if len(self.behind) < _LAYERS_OF.get(head, 1):
            raise ArtifactError(f"{label} has too few layers behind the recurrent ones to end as {head}")
        return replace(self, head=head)

    def questions(self) -> dict[str, Question]:
        """Settings that the user must say, by name."""
        found: dict[str, Question] = {}
        if self.encoder or len(self.behind) > _LAYERS_OF.get(str(self.head), 1):
            found["activation_fn"] = Question(NONLINEARITY, nonlinearity, "relu")
        if self.head == "categorical":
            text = f"elements of an action; the last layer has the logits of all, {self.behind[-1]}"
            return {**found, "action_size": Question(text, size)}
        for side in ("low", "high"):
            found[f"action_{side}"] = Question("bounds of the action spec, a number or a list", bounds)
        if self.head != "tanh":
            found["squash"] = Question(f"the mean goes through tanh to the bounds: {FLAG}", flag, default=True)
            found["std_transform"] = Question("softplus or exp", one_of(_TRANSFORMS), "softplus")
        found["clip"] = Question(f"ActorPolicy clips actions to the bounds: {FLAG}", flag, default=True)
        return found


def read_shapes(variables: Mapping[str, ArrayLike] | Sequence[ArrayLike], label: str) -> Shapes:
    """Reads names and shapes.

    Args:
        variables: arrays in the order of the network's variables, or by names `param.<index>.<name>`.
        label: what messages call the file.

    Raises:
        ArtifactError: the variables are those of no network that is known here.
    """
    names, shapes = _in_order(variables)
    dense: list[int] = []
    cells: list[tuple[type[nn.RNNBase], int]] = []
    before, lone, left = 0, False, list(shapes)
    while left:
        if _is_cell(left):
            if len(dense) > before and cells:
                raise _unknown(label, shapes)
            cells.append((nn.LSTM if len(left[2]) == 1 else nn.GRU, left[1][0]))
            before, left = len(dense), left[3:]
        elif len(left) >= 2 and len(left[0]) == 2 and left[1] == left[0][1:]:
            dense.append(left[0][1])
            left = left[2:]
        elif len(left) == 1 and len(left[0]) == 1 and dense and left[0][0] == dense[-1]:
            lone, left = True, []
        else:
            raise _unknown(label, shapes)
    head = "normal" if lone else _head(names, label)
    behind = dense[before:]
    if len(behind) < _LAYERS_OF.get(str(head), 1) or lone != (head == "normal"):
        raise _unknown(label, shapes)
    return Shapes(tuple(dense[:before]), tuple(cells), tuple(behind), head, shapes[0][0])


def network_of(shapes: Shapes, found: Mapping[str, Any], label: str) -> ActorNetwork:
    """Builds the network that the answers to all questions complete.

    Raises:
        ArtifactError: the network has layers that are not supported.
        ValueError: an answer does not fit the sizes.
    """
    action, projection = _action(shapes, found, label)
    heads = {"discrete_projection_net": CategoricalProjection, "continuous_projection_net": projection}
    units = shapes.behind[: -_LAYERS_OF.get(str(shapes.head), 1)]
    common: dict[str, Any] = {"activation_fn": found.get("activation_fn"), **heads}
    observation = ArraySpec((shapes.observation_size,))
    if not shapes.cells:
        return ActorDistributionNetwork(observation, action, units, **common)
    common |= {"input_fc_layer_params": shapes.encoder, "output_fc_layer_params": units}
    kinds = {kind for kind, _ in shapes.cells}
    if kinds == {nn.LSTM}:
        return ActorDistributionRnnNetwork(observation, action, lstm_size=[n for _, n in shapes.cells], **common)
    if len(shapes.cells) > 1:
        raise ArtifactError(f"{label} has several recurrent layers of which one is a GRU; build the network in Python")
    arguments = {"hidden_size": shapes.cells[0][1]}
    return ActorDistributionRnnNetwork(
        observation, action, rnn_construction_fn=nn.GRU, rnn_construction_kwargs=arguments, **common
    )


def _action(shapes: Shapes, found: Mapping[str, Any], label: str) -> tuple[BoundedArraySpec, Any]:
    outputs = shapes.behind[-1]
    if shapes.head == "categorical":
        count = found["action_size"]
        if outputs % count:
            raise ValueError(f"{label}: {outputs} logits are not those of {count} elements of an action")
        spec = BoundedArraySpec(() if count == 1 else (count,), torch.int64, "action", 0, outputs // count - 1)
        return spec, NormalProjection
    low, high = (spread(label, name, found[name], outputs) for name in ("action_low", "action_high"))
    spec = BoundedArraySpec((outputs,), torch.float32, "action", low, high)
    if shapes.head == "tanh":
        return spec, TanhProjection
    return spec, functools.partial(
        NormalProjection,
        squash=found["squash"],
        std_transform=found["std_transform"],
        state_dependent_std=shapes.head == "normal_state_std",
    )


def _in_order(variables: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> tuple[list[str], list[Shape]]:
    if not isinstance(variables, Mapping):
        return [], [np.shape(array) for array in variables]
    names = sorted(variables, key=lambda name: int(name.split(".")[1]))
    return names, [np.shape(variables[name]) for name in names]


def _is_cell(shapes: Sequence[Shape]) -> bool:
    """Kernel, recurrent kernel and bias: `[n, 4u], [u, 4u], [4u]` of an LSTM, `[n, 3u], [u, 3u], [2, 3u]` of a GRU."""
    if len(shapes) < 3 or len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
        return False
    units, rows = shapes[1]
    return (rows == 4 * units and shapes[2] == (rows,)) or (rows == 3 * units and shapes[2] == (2, rows))


def _head(names: Sequence[str], label: str) -> str | None:
    parts = names[-1].split("/") if names else []
    layer = re.sub(r"_\d+$", "", parts[-2]) if len(parts) > 1 else ""
    if layer == "projection_layer":
        raise ArtifactError(f"{label} ends with a TanhNormalProjectionNetwork, which is not supported")
    return _HEADS.get(layer)


def _unknown(label: str, shapes: Sequence[Shape]) -> ArtifactError:
    return ArtifactError(
        f"{label}: variables of the shapes {list(shapes)} are those of no actor network that is built here: dense "
        "layers with a bias, LSTM or GRU layers, dense layers, and the distribution of one action or the action; build "
        "the network in Python, and give it to ganglion.adapters.tf_agents.load(..., network=network)"
    )
