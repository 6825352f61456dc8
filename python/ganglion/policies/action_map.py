"""The last step from the output of a net to a command, as a module that is exported with the policy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from torch import Tensor, nn

from ganglion.contract import ActionStage
from ganglion.policies._tensors import as_vector, check_last_axis, match
from ganglion.policies.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence


@kept()
class ActionMap(nn.Module):
    """Computes `clip(scale * x + offset, low, high)`, with `tanh(x)` in place of `x` if `squash` is set.

    Args:
        scale: `[n]` factors.
        offset: `[n]` offsets; None for zero.
        low: `[n]` lower bounds, `-inf` where there is none; None for no lower bound at all.
        high: `[n]` upper bounds, `inf` where there is none; None for no upper bound at all.
        squash: apply tanh first.

    Raises:
        ValueError: sizes differ, `scale` or `offset` is not finite, or a lower bound lies above the upper bound.
    """

    scale: Tensor
    offset: Tensor
    low: Tensor | None
    high: Tensor | None
    size: int
    """Number of elements of an action."""

    def __init__(
        self,
        scale: Tensor | Sequence[float],
        offset: Tensor | Sequence[float] | None = None,
        low: Tensor | Sequence[float] | None = None,
        high: Tensor | Sequence[float] | None = None,
        squash: bool = False,
    ) -> None:
        super().__init__()
        factors = as_vector(scale, "scale")
        self.register_buffer("scale", factors)
        self.register_buffer("offset", torch.zeros_like(factors) if offset is None else as_vector(offset, "offset"))
        self.register_buffer("low", None if low is None else as_vector(low, "low"))
        self.register_buffer("high", None if high is None else as_vector(high, "high"))
        # A plain int: asking a tensor for its length leaves a trace in traced graphs.
        self.size = factors.numel()
        self.squash = squash
        for label, values in (("offset", self.offset), ("low", self.low), ("high", self.high)):
            if values is not None and len(values) != self.size:
                raise ValueError(f"action map: scale has {self.size} elements but {label} has {len(values)}")
            if values is not None and values.isnan().any():
                raise ValueError(f"action map: {label} holds NaN")
        if not (self.scale.isfinite().all() and self.offset.isfinite().all()):
            raise ValueError("action map: scale and offset must be finite")
        if self.low is not None and self.high is not None and bool((self.low > self.high).any()):
            raise ValueError("action map: a lower bound lies above the upper bound")

    @classmethod
    def from_space(cls, space: gymnasium.Space[Any], squash: bool = True) -> ActionMap:
        """Maps [-1, 1] linearly to the bounds of a `Box` and clips to them.

        Args:
            space: a `Box` with finite bounds.
            squash: bring outputs of any size into [-1, 1] by tanh first. Without it, outputs beyond are clipped.

        Raises:
            TypeError: `space` is no `Box`.
            ValueError: a bound is infinite.
        """
        if not isinstance(space, gymnasium.spaces.Box):
            raise TypeError(f"action map: only a Box has bounds to map to, not {type(space).__name__}")
        # Bounds of integer spaces overflow when subtracted, those of float32 ones round.
        low = torch.as_tensor(space.low.reshape(-1).astype(float))
        high = torch.as_tensor(space.high.reshape(-1).astype(float))
        unbounded = ~(low.isfinite() & high.isfinite())
        if unbounded.any():
            raise ValueError(
                f"action map: elements {unbounded.nonzero().reshape(-1).tolist()} of the space have no finite bounds; "
                "give scale and offset instead: ActionMap(scale, offset)"
            )
        return cls((high - low) / 2.0, (high + low) / 2.0, low, high, squash)

    def forward(self, action: Tensor) -> Tensor:
        """Maps outputs of a net to commands.

        Args:
            action: `[..., n]`, cast to the dtype of the map.

        Returns:
            `[..., n]`.

        Raises:
            TypeError: `action` is no tensor.
            ValueError: the last axis has another size.
        """
        check_last_axis("action map", action, self.size)
        value = match(action, self.scale)
        if self.squash:
            value = torch.tanh(value)
        return self._clip(self.scale * value + self.offset)

    def inverse(self, action: Tensor, known: Tensor) -> Tensor:
        """Finds what a net would have given for commands, as the C++ runtime does (`cpp/src/realtime/action_map.cpp`).

        Args:
            action: `[..., n]` commands.
            known: `[..., n]` outputs of the net. An element that leads to its command already stays: what is clipped
                has many origins.

        Returns:
            `[..., n]`.
        """
        wanted = match(action, self.scale)
        reach = self.scale.abs() * (1.0 if self.squash else 0.0) + self.offset.abs()
        same = (self(known) - wanted).abs() <= 2.0**-20 * (wanted.abs() + reach)
        value = (wanted - self.offset) / self.scale
        if self.squash:
            value = torch.atanh(value.clamp(-1.0 + 2.0**-24, 1.0 - 2.0**-24))
        return torch.where(same | (self.scale == 0.0), match(known, self.scale), value)

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns the lowest and the highest commands, infinite where there is no end; both empty if nothing ends."""
        reach = (
            self.scale.abs()
            if self.squash
            else torch.full_like(self.scale, math.inf).where(self.scale != 0.0, self.scale)
        )
        low, high = self._clip(self.offset - reach), self._clip(self.offset + reach)
        # Rounding can put the ends of a squashed range just inside of the bounds that they were made from.
        if self.low is not None:
            low = torch.where(self.low.isfinite(), self.low, low)
        if self.high is not None:
            high = torch.where(self.high.isfinite(), self.high, high)
        if not bool((low.isfinite() | high.isfinite()).any()):
            return (), ()
        return tuple(low.tolist()), tuple(high.tolist())

    def stage(self) -> ActionStage:
        """Returns the map as a contract holds it."""

        def listed(values: Tensor | None) -> tuple[float, ...]:
            return () if values is None else tuple(values.detach().to(torch.float32).tolist())

        return ActionStage(self.squash, listed(self.scale), listed(self.offset), listed(self.low), listed(self.high))

    def _clip(self, value: Tensor) -> Tensor:
        if self.low is None and self.high is None:
            return value
        return torch.clamp(value, self.low, self.high)

    def extra_repr(self) -> str:
        """Text of the settings for `repr`."""
        return f"{self.size}, squash={self.squash}, clip={self.low is not None or self.high is not None}"
