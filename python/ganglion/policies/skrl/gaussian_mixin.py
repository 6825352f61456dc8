"""Normally distributed actions for a model whose `compute` gives mean and log standard deviation.

Meaning, names and defaults follow `skrl.models.torch.GaussianMixin` of skrl 2.1.1. Two differences: clipping to a
space without bounds does nothing (skrl raises at the first step), and the argument checks of torch's distributions
stay on (skrl switches them off for the whole process), so that a mean that is not finite is an error.
"""

# torch.distributions has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from ganglion.policies.skrl.model import flat_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies.skrl.model import Model as _Base
else:
    _Base = object

_REDUCTIONS: dict[str, Callable[..., Tensor] | None] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "prod": torch.prod,
    "none": None,
}


class GaussianMixin(_Base):
    """Makes `act` of `compute`; stands before `Model` in the bases, and is initialised after it.

    Args:
        clip_actions: clip the drawn actions to the bounds of the action space. The density stays that of the
            unclipped normal distribution.
        clip_mean_actions: clip the means to the bounds of the action space before drawing.
        clip_log_std: clip the log standard deviations.
        min_log_std: their least value.
        max_log_std: their greatest value.
        reduction: how the log densities of the elements of an action become one: `"sum"`, `"mean"`, `"prod"` (a product
            of logarithms, as in skrl), or `"none"` to keep them apart.
        role: unused, as in skrl.

    Raises:
        ValueError: unknown reduction, an action space that is no `Box` (or `Dict` or `Tuple` of them), or `min_log_std`
            above `max_log_std`.
    """

    # The names of skrl, so that one adapter (`SkrlPolicy`) reads its models and ours.
    _g_min_actions: Tensor | None
    _g_max_actions: Tensor | None

    def __init__(
        self,
        *,
        clip_actions: bool = False,
        clip_mean_actions: bool = False,
        clip_log_std: bool = True,
        min_log_std: float = -20.0,
        max_log_std: float = 2.0,
        reduction: str = "sum",
        role: str = "",  # noqa: ARG002  (part of skrl's signature)
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(map(repr, _REDUCTIONS))}, not {reduction!r}")
        if min_log_std > max_log_std:
            raise ValueError(f"min_log_std {min_log_std} lies above max_log_std {max_log_std}")
        self._g_clip_actions = clip_actions
        self._g_clip_mean_actions = clip_mean_actions
        self._g_clip_log_std = clip_log_std
        self._g_min_log_std = min_log_std
        self._g_max_log_std = max_log_std
        self._g_reduction = _REDUCTIONS[reduction]
        self._g_distribution: Normal | None = None
        box = flat_box(self.action_space)
        for name, bound in (("_g_min_actions", box.low), ("_g_max_actions", box.high)):
            limit = None if np.isinf(bound).all() else torch.as_tensor(bound, device=self.device)
            # Not persistent: skrl's checkpoints have no bounds.
            self.register_buffer(name, limit, persistent=False)

    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """Draws actions, in training and evaluation mode alike; `mean_actions` is the deterministic choice.

        Args:
            inputs: what `compute` needs; `"taken_actions"`, `[rows, actions]`, to get the log density of these instead
                of that of the drawn (and clipped) actions.
            role: passed on to `compute`.

        Returns:
            Actions `[rows, actions]`, differentiable by reparameterisation, and the dictionary of `compute` with
            `"mean_actions"` (clipped), `"log_std"` (clipped) and `"log_prob"`, `[rows, 1]`, or `[rows, actions]` with
            reduction `"none"`.

        Raises:
            KeyError: `compute` gives no `"log_std"`.
            TypeError: `inputs["taken_actions"]` is no tensor.
            ValueError: a shape does not fit, or a mean is not finite.
        """
        mean, outputs = self.compute(inputs, role)
        log_std = outputs["log_std"]
        check_gaussian(type(self).__name__, mean, log_std, self.num_actions)
        if "taken_actions" in inputs:
            self._check_taken(inputs["taken_actions"], mean)
        if self._g_clip_mean_actions:
            mean = clip(mean, self._g_min_actions, self._g_max_actions)
        if self._g_clip_log_std:
            log_std = clip(log_std, self._g_min_log_std, self._g_max_log_std)
        distribution = Normal(mean, log_std.exp())
        actions: Tensor = distribution.rsample()
        if self._g_clip_actions:
            actions = clip(actions, self._g_min_actions, self._g_max_actions)
        log_prob: Tensor = distribution.log_prob(inputs.get("taken_actions", actions))
        if self._g_reduction is not None:
            log_prob = self._g_reduction(log_prob, dim=-1).unsqueeze(-1)
        self._g_distribution = distribution
        outputs.update(log_std=log_std, log_prob=log_prob, mean_actions=mean)
        return actions, outputs

    def get_entropy(self, *, role: str = "") -> Tensor:  # noqa: ARG002  (one distribution for all roles)
        """Entropy of the last distribution, summed over the actions, whatever the reduction.

        Returns:
            `[rows, 1]`; the scalar 0 before the first `act`.
        """
        if self._g_distribution is None:
            return torch.tensor(0.0, device=self.device)
        entropy: Tensor = self._g_distribution.entropy()
        return entropy.sum(dim=-1, keepdim=True)

    def distribution(self, *, role: str = "") -> Normal | None:  # noqa: ARG002  (one distribution for all roles)
        """The distribution of the last `act`, with its graph; None before the first one."""
        return self._g_distribution

    def _check_taken(self, taken: Any, mean: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(taken, Tensor):
            raise TypeError(f"{name}: taken_actions must be a torch.Tensor, not {type(taken).__name__}")
        if taken.shape != mean.shape:
            raise ValueError(f"{name}: taken_actions have shape {tuple(taken.shape)}; expected {tuple(mean.shape)}")


def check_gaussian(name: str, mean: Tensor, log_std: Tensor | None, size: int) -> None:
    """Refuses what is no mean `[..., size]`, with a log standard deviation (if any) of that shape or one for all rows.

    Raises:
        ValueError: a shape does not fit; names both.
    """
    shape = tuple(mean.shape)
    if shape[-1:] != (size,):
        raise ValueError(f"{name}: compute gave a mean of shape {shape}; expected {(*shape[:-1], size)}")
    if log_std is not None and tuple(log_std.shape) not in ((size,), (*(1 for _ in shape[1:]), size), shape):
        raise ValueError(f"{name}: compute gave log_std of shape {tuple(log_std.shape)}; expected {(size,)} or {shape}")


def clip(values: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    """Clips to the limits that there are; without any, nothing changes."""
    return values if low is None and high is None else torch.clamp(values, low, high)  # type: ignore[arg-type]
