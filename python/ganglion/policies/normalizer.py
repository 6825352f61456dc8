"""Normalisation of observations, as a module that is exported with the policy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganglion.policies._tensors import as_vector, check_last_axis, match
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence


@kept()
class ObservationNormalizer(nn.Module):
    """Computes `clip((x - mean) / sqrt(variance + epsilon))`.

    The statistics are buffers: saved and moved with the module, and not trained by an optimiser. They are either given
    once, or gathered in training with `update`; `forward` never changes them.

    Args:
        mean: `[n]` mean of the observations.
        variance: `[n]` variance of the observations.
        epsilon: added to the variance.
        clip: largest absolute value of a normalised element, or None for no limit.
        count: number of samples that `mean` and `variance` stand for; with 0 the first `update` replaces them.

    Raises:
        ValueError: sizes differ, a value is not finite, or `variance + epsilon` is not positive.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    size: int
    """Number of elements of an observation."""

    def __init__(
        self,
        mean: Tensor | Sequence[float],
        variance: Tensor | Sequence[float],
        epsilon: float = 1e-8,
        clip: float | None = None,
        count: int = 0,
    ) -> None:
        super().__init__()
        means, variances = as_vector(mean, "mean"), as_vector(variance, "variance")
        if means.shape != variances.shape:
            raise ValueError(f"mean has {len(means)} elements but variance has {len(variances)}")
        if not (means.isfinite().all() and variances.isfinite().all()):
            raise ValueError("mean and variance must be finite")
        if not (math.isfinite(epsilon) and epsilon >= 0.0):
            raise ValueError(f"epsilon must be finite and not negative, not {epsilon}")
        if bool((variances < 0.0).any()) or bool((variances + epsilon <= 0.0).any()):
            raise ValueError("variance must not be negative, and variance + epsilon must be positive")
        if clip is not None and not clip > 0.0:
            raise ValueError(f"clip must be positive or None, not {clip}")
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        self.register_buffer("mean", means)
        self.register_buffer("variance", variances)
        self.register_buffer("count", torch.tensor(count))
        # A plain int: asking a tensor for its length leaves a trace in traced graphs.
        self.size = means.numel()
        self.epsilon = epsilon
        self.clip = clip

    @classmethod
    def empty(cls, size: int, epsilon: float = 1e-8, clip: float | None = None) -> ObservationNormalizer:
        """Returns a normaliser without samples: mean 0 and variance 1 until the first `update`."""
        return cls(torch.zeros(size), torch.ones(size), epsilon, clip)

    def forward(self, obs: Tensor) -> Tensor:
        """Normalises observations.

        Args:
            obs: `[..., n]`, cast to the dtype of the statistics.

        Returns:
            `[..., n]`.

        Raises:
            TypeError: `obs` is no tensor.
            ValueError: the last axis has another size.
        """
        check_last_axis("observation normaliser", obs, self.size)
        normalized = (match(obs, self.mean) - self.mean) / torch.sqrt(self.variance + self.epsilon)
        return normalized if self.clip is None else normalized.clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Adds observations to the running mean and (population) variance.

        Merges the two sets as in Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1.

        Args:
            batch: `[..., n]`, any number of observations; none changes nothing.

        Raises:
            TypeError: `batch` is no tensor.
            ValueError: the last axis has another size, or a value is not finite; nothing is changed then.
        """
        check_last_axis("observation normaliser", batch, self.size)
        samples = batch.detach().reshape(-1, self.size).to(dtype=torch.float64, device=self.mean.device)
        if not samples.isfinite().all():
            raise ValueError("update: an observation is not finite; it would spoil the statistics for good")
        if len(samples) == 0:
            return
        old, new = int(self.count), len(samples)
        total = old + new
        mean, variance = self.mean.to(torch.float64), self.variance.to(torch.float64)
        difference = samples.mean(0) - mean
        squares = old * variance + new * samples.var(0, correction=0) + difference**2 * (old * new / total)
        self.mean.copy_(mean + difference * (new / total))
        self.variance.copy_(squares / total)
        self.count.fill_(total)

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        return f"{self.size}, epsilon={self.epsilon}, clip={self.clip}"
