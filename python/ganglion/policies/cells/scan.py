"""A linear recurrence over a whole sequence at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def scan(factor: Tensor, term: Tensor, first: Tensor) -> Tensor:
    """Computes `h[t] = factor[t] * h[t - 1] + term[t]` for all steps, in about log2(T) passes over them.

    Hillis and Steele 1986, "Data parallel algorithms": two neighbouring steps are one step of the same kind,
    `(a, b) then (c, d) = (a c, b c + d)`. Real or complex; nothing is divided and no logarithm is taken.

    Args:
        factor: `[T, ..., n]`, or of a shape that is broadcast to that of `term`.
        term: `[T, ..., n]`.
        first: `[..., n]` what `h` was before the first step.

    Returns:
        `[T, ..., n]`.
    """
    factor = factor.expand_as(term)
    h = torch.cat((term[:1] + factor[:1] * first, term[1:]))
    reach = 1
    while reach < len(term):
        h = torch.cat((h[:reach], h[reach:] + factor[reach:] * h[:-reach]))
        factor = torch.cat((factor[:reach], factor[reach:] * factor[:-reach]))
        reach *= 2
    return h
