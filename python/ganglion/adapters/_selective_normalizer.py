"""Normalisation of some of the inputs of a policy, where a trainer left the others as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganglion.policies.normalizer import ObservationNormalizer

if TYPE_CHECKING:
    from collections.abc import Sequence


class SelectiveNormalizer(ObservationNormalizer):
    """An `ObservationNormalizer` that lets some elements pass, neither normalised nor clipped.

    Args:
        mean: `[n]` mean of the observations.
        variance: `[n]` variance of the observations.
        selected: `[n]`, which elements are normalised.
        epsilon: added to the variance.
        clip: largest absolute value of a normalised element, or None for no limit.

    Raises:
        ValueError: as `ObservationNormalizer`, or `selected` has another size.
    """

    selected: Tensor

    def __init__(
        self,
        mean: Tensor | Sequence[float],
        variance: Tensor | Sequence[float],
        selected: Tensor | Sequence[bool],
        epsilon: float = 1e-8,
        clip: float | None = None,
    ) -> None:
        super().__init__(mean, variance, epsilon, clip)
        mask = torch.as_tensor(selected, dtype=torch.bool)
        if mask.shape != self.mean.shape:
            raise ValueError(f"mean has {self.size} elements but selected has shape {tuple(mask.shape)}")
        self.register_buffer("selected", mask)

    def forward(self, obs: Tensor) -> Tensor:
        """Normalises the selected elements of `obs`, `[..., n]`; see `ObservationNormalizer.forward`."""
        return torch.where(self.selected, super().forward(obs), obs.to(self.mean.dtype))
