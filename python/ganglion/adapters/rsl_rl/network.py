"""The layers of an actor of rsl_rl, built from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.adapters.rsl_rl.config import head_of
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.adapters.rsl_rl.checkpoint import Actor

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "selu": nn.SELU,
    "relu": nn.ReLU,
    "crelu": nn.CELU,
    "lrelu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "identity": nn.Identity,
}
"""rsl_rl's names of activations: `resolve_nn_activation` in `rsl_rl/utils/utils.py`, versions 2 to 5."""

HEADS = ("gaussian", "heteroscedastic", "beta", "none")


class BetaMean(nn.Module):
    """Computes the mean of a Beta distribution from `[..., 2 n]`: raw alpha, raw beta; result `[..., n]`.

    `low + (high - low) alpha / (alpha + beta)` with `alpha = softplus(raw) + 1`, and beta likewise:
    `_BetaDeterministicOutput` in `rsl_rl/modules/distribution.py`, version 5.5.

    Args:
        low: what the mean 0 is mapped to.
        high: what the mean 1 is mapped to.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.scale = high - low
        self.offset = low

    def forward(self, raw: Tensor) -> Tensor:
        """Maps the output of the last layer to the mean."""
        alpha, beta = (nn.functional.softplus(raw) + 1.0).chunk(2, -1)
        return alpha / (alpha + beta) * self.scale + self.offset


def build_head(actor: Actor, activation: str, kind: str, part: Mapping[str, Any]) -> nn.Sequential:
    """Puts the activations between the feed-forward layers, and behind them what makes the mean of their outputs.

    Args:
        actor: the actor.
        activation: one of `ACTIVATIONS`, in any case.
        kind: one of `HEADS`.
        part: the part of the runner's configuration that describes the actor.

    Raises:
        ArtifactError: the configuration has a range of actions that is none.
        ValueError: the activation is not known.
    """
    make = ACTIVATIONS.get(str(activation).lower())
    if make is None:
        raise ValueError(f"activation {activation!r} is not known; rsl_rl has {', '.join(ACTIVATIONS)}")
    *hidden, last = actor.layers
    head = nn.Sequential()
    for layer in hidden:
        head.extend((layer, make()))
    head.append(_first_half(last) if kind == "heteroscedastic" else last)
    if kind == "beta":
        head.append(_beta_mean(part))
    return head


def _first_half(layer: nn.Linear) -> nn.Linear:
    """Leaves out the rows that compute standard deviations; the first half computes the means."""
    size = layer.out_features // 2
    with torch.random.fork_rng(devices=[]):
        half = nn.Linear(layer.in_features, size)
    half.load_state_dict({name: values[:size] for name, values in layer.state_dict().items()})
    return half


def head_kind(actor: Actor, given: str | None, part: Mapping[str, Any], path: str) -> str:
    """Decides what the outputs of the last layer are.

    Args:
        actor: the actor.
        given: what the user says, one of `HEADS`, or None.
        part: the part of the runner's configuration that describes the actor.
        path: what messages call the checkpoint.

    Raises:
        ArtifactError: the configuration names another distribution.
        ValueError: `given` is unknown or does not fit, or nobody says what the outputs are.
    """
    if given is not None and given not in HEADS:
        raise ValueError(f"distribution {given!r} is not known; there are {', '.join(HEADS)}")
    size = actor.output_size
    if actor.std_size is not None:
        if given not in (None, "gaussian"):
            raise ValueError(f"'{path}' has a standard deviation as a parameter: a Gaussian head, no {given} one")
        return "gaussian"
    named = given or head_of(part)
    if named is None and actor.layout.std_decides:
        named = "heteroscedastic"
    if named is None or named == "gaussian":
        raise ValueError(
            f"'{path}' has no standard deviation as a parameter, so its {size} outputs can be: {size // 2} means and "
            f"as many standard deviations (distribution='heteroscedastic'), the parameters of {size // 2} Beta "
            f"distributions ('beta'), or {size} actions ('none'); say which, or give the agent.yaml as config"
        )
    if named not in HEADS:
        raise ArtifactError(f"'{path}': the distribution {named} of the configuration is not known; pass distribution=")
    if named != "none" and size % 2:
        raise ValueError(f"'{path}': {size} outputs of the layers are no pairs, as a {named} head has them")
    return named


def _beta_mean(part: Mapping[str, Any]) -> BetaMean:
    """The end of a Beta head, with the range of actions of the configuration, else rsl_rl's, -1 to 1."""
    settings = part.get("distribution_cfg")
    found = settings.get("action_range") if isinstance(settings, Mapping) else None
    try:
        low, high = (-1.0, 1.0) if found is None else (float(value) for value in found)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"action_range of the configuration is {found!r}; expected two numbers") from error
    return BetaMean(low, high)
