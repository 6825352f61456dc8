"""Small tensor helpers that several policy modules need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn


def match(tensor: Tensor, reference: Tensor) -> Tensor:
    """Returns `tensor` on the device and with the dtype of `reference`.

    The test keeps conversions that do nothing out of traced graphs.
    """
    if tensor.dtype != reference.dtype or tensor.device != reference.device:
        return tensor.to(dtype=reference.dtype, device=reference.device)
    return tensor


def is_tracing() -> bool:
    """Tells whether `torch.jit.trace` is running; it would warn about comparisons of sizes and bake them in."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def as_vector(values: Tensor | Sequence[float], label: str) -> Tensor:
    """Copies `values` into a new 1-D tensor of the default dtype.

    Raises:
        ValueError: `values` has more than one axis or no element.
    """
    vector = torch.as_tensor(values, dtype=torch.get_default_dtype()).detach().clone()
    if vector.ndim != 1 or vector.numel() == 0:
        raise ValueError(f"{label} must be a vector with at least one element, not shape {tuple(vector.shape)}")
    return vector


def check_last_axis(owner: str, tensor: Tensor, size: int) -> None:
    """Refuses anything but a tensor `[..., size]`.

    Raises:
        TypeError: `tensor` is no tensor.
        ValueError: the last axis has another size.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{owner}: expected a torch.Tensor, not {type(tensor).__name__}")
    if not is_tracing() and (tensor.ndim == 0 or tensor.shape[-1] != size):
        raise ValueError(f"{owner}: got shape {tuple(tensor.shape)}; expected [..., {size}]")


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Puts a module and all its parts into eval mode for a while; each part has its own mode again afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
