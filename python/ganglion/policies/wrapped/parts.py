"""What a user says of observations and states: sizes, shapes without the batch axis, or gymnasium spaces."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ganglion.contract import TensorSpec

_KINDS = "a size (48), a shape without the batch axis ((3, 64, 64)) or a gymnasium.spaces.Box"


@dataclass(frozen=True, eq=False)
class ModulePart:
    """One observation, or one state, without its batch axis.

    Attributes:
        name: name in the contract.
        shape: shape of one row; `()` of a single number.
        low: lower bounds of the elements in row-major order, or empty.
        high: upper bounds likewise.
        initial: initial values of a state, of the shape `shape`; None for zeros.
        is_named: whether the user gave the name.
    """

    name: str
    shape: tuple[int, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    initial: Tensor | None = None
    is_named: bool = True

    @property
    def size(self) -> int:
        """Number of elements of one row."""
        return math.prod(self.shape)

    def spec(self) -> TensorSpec:
        """The input of a contract: a vector, whose elements are in row-major order."""
        return TensorSpec(self.name, self.size, low=self.low, high=self.high)


def read_parts(given: Any, what: str, single: str) -> tuple[ModulePart, ...]:
    """Reads one description, several in a tuple, or named ones in a mapping.

    Args:
        given: a size, a shape, a space or (of a state) a tensor of initial values; a tuple or list of them; or a
            mapping from names to them, in its order. Whole numbers in a tuple are a shape.
        what: `"observation"` or `"state"`, for messages.
        single: name of a description without one; of several, `<single>_0`, `<single>_1` and so on.

    Raises:
        TypeError: it is nothing of that.
        ValueError: a size is below 1, two names are equal, or a space has no fixed shape of numbers.
    """
    if isinstance(given, gymnasium.spaces.Dict):
        given = dict(given.spaces)
    if isinstance(given, gymnasium.spaces.Tuple):
        given = tuple(given.spaces)
    if isinstance(given, Mapping):
        wrong = next((name for name in given if not isinstance(name, str) or not name), None)
        if wrong is not None or not given:
            raise TypeError(f"{what}: names must be text that is not empty, not {wrong!r}")
        return tuple(_part(value, f"{what} '{name}'", name, True) for name, value in given.items())
    if isinstance(given, (tuple, list)) and not _is_shape(given):
        return tuple(_part(value, f"{what} {i}", f"{single}_{i}", False) for i, value in enumerate(given))
    return (_part(given, what, single, False),)


def _is_shape(given: Any) -> bool:
    return all(_whole(value) is not None for value in given)


def _whole(value: Any) -> int | None:
    if isinstance(value, (bool, np.bool_, Tensor, np.ndarray)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _part(value: Any, where: str, name: str, is_named: bool) -> ModulePart:
    size = _whole(value)
    if size is not None:
        value = (size,)
    if isinstance(value, gymnasium.Space):
        return _of_space(value, where, name, is_named)
    if isinstance(value, (Tensor, np.ndarray)):
        if where.startswith("observation"):
            raise TypeError(f"{where}: give {_KINDS}, not values")
        return _of_values(torch.as_tensor(value), where, name, is_named)
    if not isinstance(value, (tuple, list)) or not _is_shape(value):
        raise TypeError(f"{where}: expected {_KINDS}, not {value!r}")
    shape = tuple(operator.index(length) for length in value)
    if min(shape, default=1) < 1:
        raise ValueError(f"{where}: the shape {list(shape)} has an axis without elements")
    return ModulePart(name, shape, is_named=is_named)


def _of_values(values: Tensor, where: str, name: str, is_named: bool) -> ModulePart:
    values = values.detach().cpu().clone()
    if values.numel() == 0 or values.is_complex() or not bool(values.to(torch.float64).isfinite().all()):
        raise ValueError(f"{where}: initial values must be finite real numbers, at least one; got {values}")
    return ModulePart(name, tuple(values.shape), initial=values, is_named=is_named)


def _of_space(space: gymnasium.Space[Any], where: str, name: str, is_named: bool) -> ModulePart:
    if isinstance(space, gymnasium.spaces.MultiBinary):
        shape = tuple(int(length) for length in space.shape)
        size = math.prod(shape)
        return ModulePart(name, shape, (0.0,) * size, (1.0,) * size, is_named=is_named)
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(
            f"{where}: {type(space).__name__} has no tensor of fixed shape; give the shape of what forward takes, for "
            "example the number of choices for a one-hot vector"
        )
    low, high = (tuple(np.asarray(bound, np.float64).reshape(-1).tolist()) for bound in (space.low, space.high))
    return ModulePart(name, tuple(space.shape), low, high, is_named=is_named)
