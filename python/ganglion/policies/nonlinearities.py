"""Nonlinearities: the forms they can be given in, and the names that they are known by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Nonlinearity = str | Callable[[Tensor], Tensor] | type[nn.Module]
"""A name as in `torch.nn.functional`, a function, a module, or the class of a module without arguments."""

_NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hardtanh": functional.hardtanh,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
}
_FURTHER = ("exp", "expit", "celu", "selu", "mish", "relu6", "hardsigmoid", "hardswish", "logsigmoid", "square", "abs")
_OWNERS: dict[str, Any] = {
    "torch": torch,
    "torch.nn.functional": functional,
    "torch.special": torch.special,
    "torch.Tensor": Tensor,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"{where}.{name}": getattr(owner, name)
    for name in (*_NAMED, *_FURTHER)
    for where, owner in _OWNERS.items()
    if hasattr(owner, name)
}
"""Functions of torch by the name that a checkpoint keeps; one function may have several names."""

_SIGMOIDS = (torch.sigmoid, functional.sigmoid, torch.special.expit, Tensor.sigmoid)
_TANHS = (torch.tanh, functional.tanh, Tensor.tanh)


def as_nonlinearity(nonlin: Nonlinearity) -> Callable[[Tensor], Tensor]:
    """Returns a nonlinearity, given in any form, as something to call.

    Raises:
        TypeError: `nonlin` is neither a name nor callable.
        ValueError: no nonlinearity has that name.
    """
    if isinstance(nonlin, str):
        if nonlin not in _NAMED:
            raise ValueError(f"unknown nonlinearity {nonlin!r}; known: {', '.join(_NAMED)}")
        return _NAMED[nonlin]
    if not callable(nonlin):
        raise TypeError(f"a nonlinearity must be a name, a function or a module, not {nonlin!r}")
    function: Callable[[Tensor], Tensor] = nonlin() if isinstance(nonlin, type) else nonlin
    return function


def as_nonlinearities(
    nonlin: Nonlinearity | Sequence[Nonlinearity], count: int
) -> tuple[Callable[[Tensor], Tensor], ...]:
    """Returns the nonlinearity of each of `count` elements, from one for all or from a sequence of them.

    Raises:
        TypeError: a nonlinearity is neither a name nor callable.
        ValueError: no nonlinearity has that name, or the sequence has another length.
    """
    if isinstance(nonlin, str) or not isinstance(nonlin, Sequence):
        return (as_nonlinearity(nonlin),) * count
    if len(nonlin) != count:
        raise ValueError(f"{len(nonlin)} nonlinearities for {count} elements")
    return tuple(map(as_nonlinearity, nonlin))


def is_sigmoid(nonlin: Callable[[Tensor], Tensor]) -> bool:
    """Tells whether a nonlinearity is the logistic function, as a function or as a module of torch."""
    return isinstance(nonlin, nn.Sigmoid) or nonlin in _SIGMOIDS


def is_tanh(nonlin: Callable[[Tensor], Tensor]) -> bool:
    """Tells whether a nonlinearity is the hyperbolic tangent, as a function or as a module of torch."""
    return isinstance(nonlin, nn.Tanh) or nonlin in _TANHS
