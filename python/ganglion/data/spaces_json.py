"""Specs of environments as plain JSON data, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ganglion.data.env_spec import EnvSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LARGEST = 2**26
"""Elements of a Box: one number stands for all of its bounds, and a damaged file shall not ask for all memory."""


def env_spec_to_json(spec: EnvSpec) -> dict[str, Any]:
    """Returns plain data that `env_spec_from_json` takes.

    Raises:
        ValueError: a space is none of `Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple`.
    """
    return {
        "observation_space": space_to_json(spec.observation_space),
        "action_space": space_to_json(spec.action_space),
        "max_episode_length": spec.max_episode_length,
        "observation_names": list(spec.observation_names),
        "action_names": list(spec.action_names),
    }


def env_spec_from_json(data: Any) -> EnvSpec:
    """Returns the spec of such data.

    Raises:
        KeyError, TypeError, ValueError: the data are not that.
    """
    return EnvSpec(
        space_from_json(data["observation_space"]),
        space_from_json(data["action_space"]),
        data["max_episode_length"],
        data["observation_names"],
        data["action_names"],
    )


def space_to_json(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Returns plain data that `space_from_json` takes. Seeds are not part of it.

    Raises:
        ValueError: the space is none of `Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple`.
    """
    kind = type(space).__name__
    if isinstance(space, spaces.Box):
        bounds = {"low": _numbers(space.low), "high": _numbers(space.high)}
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        start = np.asarray(space.start).tolist()
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "dtype": str(space.dtype), "start": start}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Dict):
        # Pairs: the order of the keys is the order of the flat vector.
        return {"type": "Dict", "spaces": [[key, space_to_json(entry)] for key, entry in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(entry) for entry in space.spaces]}
    raise ValueError(f"a {kind} space has no JSON form; Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple have")


def space_from_json(data: Any) -> gymnasium.Space[Any]:
    """Returns the space of such data.

    Raises:
        KeyError, TypeError, ValueError: the data are not that.
    """
    kind = data["type"]
    if kind == "Box":
        shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
        low, high = (_bounds(data[name], shape, dtype) for name in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(
            np.array(data["nvec"]), dtype=np.dtype(data["dtype"]).type, start=np.array(data["start"])
        )
    if kind == "MultiBinary":
        shape = tuple(data["shape"])
        return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    if kind == "Dict":
        return spaces.Dict({key: space_from_json(entry) for key, entry in data["spaces"]})
    if kind == "Tuple":
        return spaces.Tuple([space_from_json(entry) for entry in data["spaces"]])
    raise ValueError(f"no space is called {kind!r}")


def _numbers(bounds: NDArray[Any]) -> Any:
    """All bounds in one list, or one number where they are equal; infinities as text, which JSON has no number for."""
    flat = [value if np.isfinite(value) else str(value) for value in bounds.reshape(-1).tolist()]
    return flat[0] if len(set(flat)) == 1 else flat


def _bounds(numbers: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if math.prod(shape) > _LARGEST:
        raise ValueError(f"a Box of shape {shape} has more elements than {_LARGEST:,}")
    values = numbers if isinstance(numbers, list) else [numbers]
    # Integers stay integers: large ones have no float.
    plain = [float(value) if isinstance(value, str) else value for value in values]
    array = np.array(plain).astype(dtype)
    return np.broadcast_to(array if len(values) == 1 else array.reshape(shape), shape).copy()
