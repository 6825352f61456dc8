"""What actor networks end with: dense layers that make the distribution of one action, or the action itself."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributions, nn
from torch.nn import functional

from ganglion.policies.dense import Dense
from ganglion.policies.kept import kept
from ganglion.policies.tf_agents.specs import shaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganglion.policies.tf_agents.specs import ArraySpec

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of the standard normal distribution cut off at two."""


class Deterministic(distributions.Distribution):
    """All probability at one value.

    Args:
        loc: `[..., *event]`, the value.
        event_axes: number of axes of one event.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own attribute)
    has_rsample = True

    def __init__(self, loc: Tensor, event_axes: int = 0) -> None:
        self.loc = loc
        batch_axes = loc.ndim - event_axes
        super().__init__(loc.shape[:batch_axes], loc.shape[batch_axes:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The value."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The value."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.loc)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Returns the value; gradients flow into it."""
        return self.loc.expand((*sample_shape, *self.loc.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Zero where all elements of an event are the value, else minus infinity."""
        equal = (value == self.loc).flatten(len(self.batch_shape)).all(-1) if self.event_shape else value == self.loc
        return torch.zeros_like(equal, dtype=self.loc.dtype).masked_fill(~equal, -math.inf)


class Categorical(distributions.Categorical):
    """Categories 0, 1, ... as integers of a chosen dtype, from logits that are kept as they are given.

    Args:
        logits: `[..., categories]`, of any scale; `torch.distributions.Categorical` keeps normalised ones only.
        dtype: dtype of samples.
    """

    def __init__(self, logits: Tensor, dtype: torch.dtype = torch.int64) -> None:
        super().__init__(logits=logits, validate_args=False)
        self.raw_logits = logits
        self._dtype = dtype

    @property
    def mode(self) -> Tensor:
        """The first category with the largest logit."""
        return self.raw_logits.argmax(-1).to(self._dtype)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws categories."""
        drawn: Tensor = super().sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return drawn.to(self._dtype)


class Bounds(nn.Module):
    """The bounds of one array: `forward` clips to them.

    Args:
        spec: its spec.
    """

    low: Tensor
    high: Tensor

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__()
        for name, limit in zip(("low", "high"), spec.limits(), strict=True):
            self.register_buffer(name, torch.tensor(limit, dtype=spec.dtype).reshape(spec.shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Clips `[..., *shape]`."""
        return torch.clamp(x, self.low, self.high)


class SquashToBounds(nn.Module):
    """Computes `centre + half_range * tanh(x)` with the bounds of one array.

    Args:
        spec: its spec.

    Raises:
        ValueError: a bound is infinite.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__()
        low, high = (torch.tensor(limit, dtype=spec.dtype).reshape(spec.shape) for limit in spec.limits())
        if not (low.isfinite() & high.isfinite()).all():
            raise ValueError(f"an action that is squashed to its bounds needs finite ones: {spec}")
        self.register_buffer("centre", (high + low) / 2.0, persistent=False)
        self.register_buffer("half_range", (high - low) / 2.0, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[..., *shape]`."""
        return self.centre + self.half_range * torch.tanh(x)


class BiasLayer(nn.Module):
    """A vector that does not depend on the input.

    Args:
        size: number of elements.
        value: initial value of all of them.
    """

    def __init__(self, size: int, value: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(size))
        self._value = value
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the initial value again."""
        nn.init.constant_(self.bias, self._value)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[..., size]` with the axes that `x`, `[..., n]`, has in front."""
        return self.bias.expand(*x.shape[:-1], -1)


@kept()
class NormalProjection(nn.Module):
    """Makes a normal distribution of independent elements; `NormalProjectionNetwork` of TF-Agents.

        mean = centre + half_range * tanh(W x + b)        or W x + b, without squashing
        std  = softplus(bias)                             or softplus(V x + bias), with `state_dependent_std`

    Args:
        input_size: number of elements of `x`.
        spec: spec of the action.
        init_means_output_factor: scale of the initial weights.
        std_bias_initializer_value: initial value of the bias under the standard deviation.
        squash: bring the mean into the bounds; samples can still leave them.
        std_transform: makes positive numbers of any ones.
        state_dependent_std: let the standard deviation depend on `x`.

    Raises:
        ValueError: the action is not of a floating type, or has no finite bounds to squash to.
    """

    def __init__(
        self,
        input_size: int,
        spec: ArraySpec,
        init_means_output_factor: float = 0.1,
        std_bias_initializer_value: float = 0.0,
        squash: bool = True,
        std_transform: Callable[[Tensor], Tensor] = functional.softplus,
        state_dependent_std: bool = False,
    ) -> None:
        super().__init__()
        if not spec.dtype.is_floating_point:
            raise ValueError(f"a normal distribution needs an action of a floating type, not {spec}")
        draw = variance_scaling(init_means_output_factor)
        self.means_projection_layer = Dense(input_size, spec.size, draw)
        self.std_layer: nn.Module
        if state_dependent_std:
            constant = functools.partial(nn.init.constant_, val=std_bias_initializer_value)
            self.std_layer = Dense(input_size, spec.size, draw, constant)
        else:
            self.std_layer = BiasLayer(spec.size, std_bias_initializer_value)
        self.mean_transform = SquashToBounds(spec) if squash else nn.Identity()
        self.std_transform = std_transform
        self.shape = spec.shape

    def forward(self, x: Tensor, mask: Tensor | None = None) -> distributions.Distribution:
        """Maps `[..., input_size]` to a distribution of `[..., *shape]`.

        Raises:
            NotImplementedError: a mask is given.
        """
        _refuse_mask(mask)
        mean = self.mean_transform(shaped(self.means_projection_layer(x), self.shape))
        std = self.std_transform(shaped(self.std_layer(x), self.shape))
        normal = distributions.Normal(mean, std, validate_args=False)
        return distributions.Independent(normal, len(self.shape), validate_args=False) if self.shape else normal


@kept()
def normal_projection(input_size: int, spec: ArraySpec) -> NormalProjection:
    """Makes the projection that actor networks take by default: the initial standard deviation is 0.35."""
    inverse_softplus = math.log(math.expm1(0.35))
    return NormalProjection(input_size, spec, std_bias_initializer_value=inverse_softplus)


@kept()
class CategoricalProjection(nn.Module):
    """Makes a categorical distribution; `CategoricalProjectionNetwork` of TF-Agents.

    An action is the number of its category, 0, 1, ...: like the original it is not shifted by the minimum of the spec.

    Args:
        input_size: number of elements of the input.
        spec: spec of the action; every element has `maximum - minimum + 1` categories.
        logits_init_output_factor: scale of the initial weights.

    Raises:
        ValueError: the action is not discrete, has no finite bounds, or its elements have different numbers of
            categories.
    """

    def __init__(self, input_size: int, spec: ArraySpec, logits_init_output_factor: float = 0.1) -> None:
        super().__init__()
        counts = {high - low + 1.0 for low, high in zip(*spec.limits(), strict=True)}
        if not spec.is_discrete or len(counts) != 1 or not math.isfinite(sum(counts)):
            raise ValueError(
                f"a categorical distribution needs a discrete action with finite bounds and the same number of "
                f"categories for every element, not {spec}"
            )
        self.num_categories = int(counts.pop())
        self.logits = Dense(input_size, spec.size * self.num_categories, variance_scaling(logits_init_output_factor))
        self.shape, self.dtype = spec.shape, spec.dtype

    def forward(self, x: Tensor, mask: Tensor | None = None) -> distributions.Distribution:
        """Maps `[..., input_size]` to a distribution of `[..., *shape]`.

        Args:
            x: the input.
            mask: bool, `[..., categories]` or `[..., *shape, categories]`: true where a category is allowed. The others
                get the lowest finite number as their logit.

        Raises:
            ValueError: the mask has another shape.
        """
        logits = shaped(self.logits(x), (*self.shape, self.num_categories))
        if mask is not None:
            logits = logits.masked_fill(~self._expanded(mask, logits), torch.finfo(logits.dtype).min)
        return Categorical(logits, self.dtype)

    def _expanded(self, mask: Tensor, logits: Tensor) -> Tensor:
        for_all = (*logits.shape[: logits.ndim - len(self.shape) - 1], self.num_categories)
        if tuple(mask.shape) == for_all and self.shape:
            return mask.reshape(*for_all[:-1], *(1 for _ in self.shape), self.num_categories)
        if mask.shape != logits.shape:
            raise ValueError(f"the mask has shape {tuple(mask.shape)}; expected {for_all} or {tuple(logits.shape)}")
        return mask


@kept()
class TanhProjection(nn.Module):
    """Makes the action itself, `centre + half_range * tanh(W x + b)`; the last layer of TF-Agents' `ActorRnnNetwork`.

    Args:
        input_size: number of elements of `x`.
        spec: spec of the action.

    Raises:
        ValueError: the action is not of a floating type, or has no finite bounds.
    """

    def __init__(self, input_size: int, spec: ArraySpec) -> None:
        super().__init__()
        if not spec.dtype.is_floating_point:
            raise ValueError(f"a deterministic actor network needs an action of a floating type, not {spec}")
        self.action = Dense(input_size, spec.size, functools.partial(nn.init.uniform_, a=-0.003, b=0.003))
        self.squash = SquashToBounds(spec)
        self.shape = spec.shape

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps `[..., input_size]` to `[..., *shape]`.

        Raises:
            NotImplementedError: a mask is given.
        """
        _refuse_mask(mask)
        squashed: Tensor = self.squash(shaped(self.action(x), self.shape))
        return squashed


def variance_scaling(scale: float) -> Callable[[Tensor], Tensor]:
    """Returns Keras' `VarianceScaling`: normal with variance `scale / fan_in`, cut off at two standard deviations."""
    return functools.partial(_variance_scaling, scale=scale)


def _variance_scaling(weight: Tensor, scale: float) -> Tensor:
    std = math.sqrt(scale / weight.shape[1]) / _TRUNCATED_STD
    return nn.init.trunc_normal_(weight, 0.0, std, -2.0 * std, 2.0 * std)


def _refuse_mask(mask: Tensor | None) -> None:
    if mask is not None:
        raise NotImplementedError("a mask needs a discrete action")
