"""Rows of arrays and of nested dictionaries of arrays: taking, joining, repeating, padding them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Rows = Any
"""An array `[N, ...]`, or a dictionary (nested at will) of them."""


def map_rows(function: Callable[[NDArray[Any]], NDArray[Any]], value: Rows) -> Rows:
    """Returns the same structure with `function` applied to every array."""
    if isinstance(value, Mapping):
        return {key: map_rows(function, entry) for key, entry in value.items()}
    return function(value)


def take(value: Rows, rows: slice | int) -> Rows:
    """Returns a view of some rows."""
    return map_rows(lambda array: array[rows, ...], value)


def part(owner: str, index: int | slice, count: int) -> slice:
    """Returns the range of consecutive pieces, of `count` in all, that an index means.

    Raises:
        IndexError: there is no such piece.
        ValueError: the range is empty or has a step width.
    """
    if isinstance(index, slice):
        start, stop, width = index.indices(count)
        if width != 1 or stop <= start:
            given = f"{index.start}:{index.stop}:{index.step}"
            raise ValueError(f"{owner}[{given}] of {count}: expected a range of at least 1, without a step width")
        return slice(start, stop)
    number = operator.index(index)
    if not -count <= number < count:
        raise IndexError(f"{owner}[{number}] of {count}")
    return slice(number % count, number % count + 1)


def pad(array: NDArray[Any], lengths: NDArray[Any], longest: int) -> NDArray[Any]:
    """Returns `[len(lengths), longest, ...]`: one row per episode, zeros behind its end."""
    padded = np.zeros((len(lengths), longest, *array.shape[1:]), dtype=array.dtype)
    padded[np.arange(longest) < lengths[:, np.newaxis]] = array
    return padded


def join(label: str, values: Sequence[Rows]) -> Rows:
    """Returns all rows behind each other.

    What already lies so in memory (neighbouring slices of one array) is joined to a view; everything else is copied.

    Raises:
        ValueError: the keys, or the shapes of one row, differ.
    """
    first = values[0]
    if isinstance(first, Mapping):
        for value in values:
            if not isinstance(value, Mapping) or value.keys() != first.keys():
                found = sorted(value) if isinstance(value, Mapping) else f"a {type(value).__name__}"
                raise ValueError(f"{label} has the keys {found}, expected {sorted(first)} as in the first batch")
        return {key: join(f"{label}['{key}']", [value[key] for value in values]) for key in first}
    for value in values:
        if isinstance(value, Mapping) or value.shape[1:] != first.shape[1:]:
            found = "a dict" if isinstance(value, Mapping) else f"rows of shape {value.shape[1:]}"
            raise ValueError(f"{label} has {found}, expected rows of shape {first.shape[1:]} as in the first batch")
    view = _joined_view(values)
    return np.concatenate(values) if view is None else view


def _joined_view(arrays: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """One view of neighbouring slices, in order, of one C-contiguous array; None where they are not that."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    base = first.base
    if not isinstance(base, np.ndarray) or not base.flags.c_contiguous or base.dtype != first.dtype or not first.size:
        return None
    start = end = _address(first)
    for array in arrays:
        if array.base is not base or array.dtype != first.dtype or not array.flags.c_contiguous:
            return None
        if array.flags.writeable != base.flags.writeable:
            return None
        if _address(array) != end:
            return None
        end += array.nbytes
    offset, items = (start - _address(base)) // base.itemsize, (end - start) // base.itemsize
    return base.reshape(-1)[offset : offset + items].reshape(-1, *first.shape[1:])


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
