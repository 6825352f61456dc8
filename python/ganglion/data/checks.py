"""What the fields of a batch must be. Every failure is a `ValueError` that names field, found and expected."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import utils as space_utils

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gymnasium
    from numpy.typing import NDArray

    from ganglion.data.env_spec import EnvSpec


def check_array(label: str, value: Any, rows: int | None = None, unit: str = "steps") -> None:
    """Checks that a field is an array of `rows` rows (any number where None).

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{label} is a {type(value).__name__}, expected a numpy array")
    if value.ndim < 1:
        raise ValueError(f"{label} has shape (), expected one row for each of the {unit}")
    if rows is not None and len(value) != rows:
        raise ValueError(f"{label} has shape {value.shape}, expected {rows} rows for {rows} {unit}")


def check_vector(label: str, value: Any, rows: int) -> None:
    """Checks that a field is an array of shape `[rows]`.

    Raises:
        ValueError: it is not.
    """
    check_array(label, value, rows)
    if value.ndim != 1:
        raise ValueError(f"{label} has shape {value.shape}, expected ({rows},)")


def check_rewards(label: str, rewards: Any) -> int:
    """Checks the rewards, which say how many steps there are, and returns that number.

    Raises:
        ValueError: they are no vector of at least one finite number.
    """
    check_array(label, rewards)
    if rewards.ndim != 1:
        raise ValueError(f"{label} has shape {rewards.shape}, expected ({len(rewards)},)")
    if rewards.dtype.kind not in "biuf":
        raise ValueError(f"{label} has dtype {rewards.dtype}, expected real numbers")
    if len(rewards) == 0:
        raise ValueError(f"{label} has shape (0,), expected at least one step")
    finite = np.isfinite(rewards)
    if not finite.all():
        step = int(np.argmin(finite))
        raise ValueError(f"{label}[{step}] is {rewards[step]}, expected a finite number")
    return len(rewards)


def check_infos(label: str, infos: Any, rows: int, *, unit: str = "steps", nested: bool = True) -> None:
    """Checks a dictionary of arrays of `rows` rows; with `nested`, dictionaries may hold further dictionaries.

    Raises:
        ValueError: a key is no string, or a value is not that.
    """
    if not isinstance(infos, Mapping):
        raise ValueError(f"{label} is a {type(infos).__name__}, expected a dict of numpy arrays")
    for key, value in infos.items():
        if not isinstance(key, str):
            raise ValueError(f"{label} has the key {key!r}, expected strings")
        entry = f"{label}['{key}']"
        if nested and isinstance(value, Mapping):
            if not value:
                raise ValueError(f"{entry} is an empty dict, expected at least one entry")
            check_infos(entry, value, rows, unit=unit)
        elif isinstance(value, np.ndarray):
            check_array(entry, value, rows, unit)
        else:
            expected = "a numpy array or a dict of them" if nested else "a numpy array"
            raise ValueError(f"{entry} is a {type(value).__name__}, expected {expected}")


def check_observations(label: str, values: Any, env_spec: EnvSpec | None) -> None:
    """Checks that observations fit their space, as whole elements or flat; gives a warning if the first lies outside.

    Raises:
        ValueError: their size is not that of the space.
    """
    if env_spec is None or _fits(label, values, "observation_space", env_spec.observation_space):
        return
    warnings.warn(f"{label}[0] {values[0]!r} is outside observation_space {env_spec.observation_space}", stacklevel=5)


def check_actions(label: str, values: Any, env_spec: EnvSpec | None) -> None:
    """Checks that actions fit their space, as whole elements or flat. Policies are not clipped: bounds do not count.

    Raises:
        ValueError: their size is not that of the space.
    """
    if env_spec is not None:
        _fits(label, values, "action_space", env_spec.action_space)


def check_lengths(label: str, lengths: Any, steps: int) -> None:
    """Checks lengths of episodes.

    Raises:
        ValueError: they are no vector of at least one integer, one is below 1, or their sum is not `steps`.
    """
    if not isinstance(lengths, np.ndarray):
        raise ValueError(f"{label} is a {type(lengths).__name__}, expected a numpy array of integers")
    if lengths.ndim != 1:
        raise ValueError(f"{label} has shape {lengths.shape}, expected (number of episodes,)")
    if lengths.dtype.kind not in "iu":
        raise ValueError(f"{label} has dtype {lengths.dtype}, expected an integer dtype")
    if len(lengths) == 0:
        raise ValueError(f"{label} has shape (0,), expected at least one episode")
    if int(lengths.min()) < 1:
        raise ValueError(f"{label}[{int(lengths.argmin())}] is {lengths.min()}, expected at least 1 step")
    if int(lengths.sum()) != steps:
        raise ValueError(f"{label} has the sum {lengths.sum()}, expected {steps}, the number of rewards")


def check_batches(owner: type[Any], batches: Sequence[Any]) -> EnvSpec | None:
    """Checks that batches can be joined and returns their common spec.

    Raises:
        ValueError: there is none, one is of another class, or specs differ.
    """
    label = f"{owner.__name__}.concatenate"
    if not batches:
        raise ValueError(f"{label}: no batch, expected at least one")
    spec: EnvSpec | None = getattr(batches[0], "env_spec", None)
    for batch in batches:
        if not isinstance(batch, owner):
            raise ValueError(f"{label}: found a {type(batch).__name__}, expected {owner.__name__}s")
        if batch.env_spec is not spec and batch.env_spec != spec:
            raise ValueError(f"{label}: env_spec is {batch.env_spec}, expected {spec} as in the first batch")
    return spec


def row_size(values: NDArray[Any]) -> int:
    """Number of elements of one row."""
    return math.prod(values.shape[1:])


def _fits(label: str, values: NDArray[Any], name: str, space: gymnasium.Space[Any]) -> bool:
    """Whether the first row lies in the space, as it is or flat."""
    row = values[0, ...]  # an array even of a vector, which is what spaces look at
    if space.contains(row):
        return True
    size = space_utils.flatdim(space)
    if row_size(values) != size:
        raise ValueError(
            f"{label} has rows of shape {values.shape[1:]}, expected elements of {name} {space} or {size} numbers each"
        )
    flat = space_utils.flatten_space(space)
    if not isinstance(flat, Box) or values.dtype.kind not in "biuf":
        return False
    # Without its dtype: float64 numbers inside the bounds of a float32 space are inside.
    numbers = row.reshape(flat.shape)
    return bool(np.all(numbers >= flat.low) and np.all(numbers <= flat.high))
