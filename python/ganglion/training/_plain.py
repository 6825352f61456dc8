"""State of any kind as tensors and plain data, which `torch.load(weights_only=True)` reads, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_ARRAY = "$ndarray"
_SCALAR = "$numpy"
_PLAIN = (bool, int, float, str, bytes, type(None))


def to_plain(value: Any, label: str) -> Any:
    """Copies `value`; NumPy arrays and scalars are marked, so that `from_plain` returns them as such.

    Args:
        value: tensors, arrays of numbers, numbers, strings, bytes, None, and lists, tuples and mappings of those.
        label: what messages call it.

    Raises:
        TypeError: something else is in it; the message says where.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, (np.ndarray, np.generic)):
        return _array(value, label)
    if type(value) in _PLAIN:
        return value
    # A named tuple would come back as a plain one, so it is refused; `torch.Size` is a shape.
    if type(value) in (list, tuple, torch.Size):
        items = [to_plain(item, f"{label}[{index}]") for index, item in enumerate(value)]
        return items if type(value) is list else tuple(items)
    if isinstance(value, dict):
        return {_key(key, label): to_plain(item, f"{label}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{label} is of class {type(value).__module__}.{type(value).__qualname__}; a snapshot holds tensors, arrays, "
        "numbers, strings, None, and lists, tuples and dictionaries of them"
    )


def from_plain(value: Any) -> Any:
    """Undoes `to_plain`."""
    if isinstance(value, (list, tuple)):
        return type(value)(from_plain(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy()
        if value.keys() == {_SCALAR}:
            return value[_SCALAR].numpy()[()]
        return {key: from_plain(item) for key, item in value.items()}
    return value


def first_nan(value: Any, label: str) -> str | None:
    """Returns where the first floating-point tensor or array that holds a NaN is, or None."""
    if isinstance(value, Tensor):
        return label if value.is_floating_point() and bool(value.isnan().any()) else None
    if isinstance(value, np.ndarray):
        return label if value.dtype.kind == "f" and bool(np.isnan(value).any()) else None
    if isinstance(value, dict):
        pairs = [(f"{label}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(f"{label}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None
    return next((found for name, item in pairs if (found := first_nan(item, name)) is not None), None)


def _array(value: np.ndarray[Any, Any] | np.generic, label: str) -> dict[str, Tensor]:
    try:
        # A copy: torch shares memory, and takes no negative strides.
        tensor = torch.from_numpy(np.array(value))
    except TypeError as error:
        raise TypeError(f"{label} is an array of {value.dtype}; a snapshot holds arrays of numbers") from error
    return {_ARRAY if isinstance(value, np.ndarray) else _SCALAR: tensor}


def _key(key: Any, label: str) -> Any:
    if type(key) not in (str, int, float, bool):
        raise TypeError(f"{label} has the key {key!r} of class {type(key).__qualname__}; keys are strings or numbers")
    if key in (_ARRAY, _SCALAR):
        raise TypeError(f"{label} has the key {key!r}, which snapshots use themselves; give it another name")
    return key
