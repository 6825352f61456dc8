"""Actors of which every action is one of some categories: the best one, and the numbers that it was chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from torch import Tensor, nn

from ganglion.contract import TensorSpec
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    from ganglion.data.env_spec import EnvSpec


class CategoricalLayeredPolicy(LayeredPolicy):
    """A `LayeredPolicy` whose head gives the numbers of all categories side by side.

    The outputs are `actions`, the indices of the largest ones, and these numbers, one output for each action. With a
    space of actions that is neither `Discrete` nor `MultiDiscrete` it is a `LayeredPolicy`.

    Args:
        spec: spaces of the environment.
        head: see `LayeredPolicy`.
        recurrent: see `LayeredPolicy`.
        encoder: see `LayeredPolicy`.
        scores: what the numbers are called.
    """

    def __init__(
        self,
        spec: EnvSpec,
        head: nn.Module,
        recurrent: nn.RNNBase | None = None,
        encoder: nn.Module | None = None,
        scores: str = "logits",
    ) -> None:
        super().__init__(spec, head, recurrent, encoder)
        self._categories = categories(spec.action_space)
        self._scores = scores

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """`actions`; where these are indices, also the numbers of which the largest one is taken."""
        if not self._categories:
            return super().output_specs
        count = len(self._categories)
        largest = tuple(float(size - 1) for size in self._categories)
        names = [self._scores] if count == 1 else [f"{self._scores}_{index}" for index in range(count)]
        return (
            TensorSpec("actions", count, low=(0.0,) * count, high=largest),
            *(TensorSpec(name, size) for name, size in zip(names, self._categories, strict=True)),
        )

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        results: Tensor = self.head(features)
        if not self._categories:
            return (results,)
        logits = torch.split(results, list(self._categories), dim=-1)
        best = [one.argmax(-1, keepdim=True).to(results.dtype) for one in logits]
        return (torch.cat(best, dim=-1), *logits)


def categories(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Numbers of categories of a `Discrete` or `MultiDiscrete` space; none of any other."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return tuple(int(size) for size in space.nvec.reshape(-1))
    return ()
