"""The gymnasium spaces in a checkpoint of Stable-Baselines3, read from their pickles without running any of it.

SB3 writes spaces as pickles (`save_util.data_to_json`); the text beside them is rounded as NumPy prints, so it cannot
be relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from ganglion._foundation.pickles import NUMERIC, PickleError, StandIn, read_pickle
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict")
_PACKAGES = ("gymnasium", "gym")


def read_space(data: bytes, label: str) -> gymnasium.Space[Any]:
    """Reads the pickle of a gymnasium (or gym) space without running code.

    Args:
        data: the pickle.
        label: what messages call it.

    Returns:
        A new space of numbers equal to the pickled ones, bit for bit.

    Raises:
        ArtifactError: the pickle is damaged, or holds no space that is known here.
    """
    try:
        found = read_pickle(data)
    except PickleError as error:
        raise ArtifactError(f"{label} cannot be read: {error}") from error
    return checked_space(found, label)


def checked_space(found: Any, label: str) -> gymnasium.Space[Any]:
    """Builds a gymnasium space from anything that has the attributes of one, such as a stand-in or an old gym space.

    Raises:
        ArtifactError: it is no Box, Discrete, MultiDiscrete, MultiBinary or Dict, or its numbers are not those of one.
    """
    package, _, name = found.kind.partition(".") if isinstance(found, StandIn) else ("", "", "")
    if package and (package not in _PACKAGES or not name.startswith("spaces.")):
        raise ArtifactError(f"{label} names '{found.kind}', which is no space")
    kind = name.rpartition(".")[2] or type(found).__name__
    if kind not in _SPACES:
        raise ArtifactError(f"{label} is a {kind}; the spaces {', '.join(_SPACES)} are read")
    try:
        return _build(kind, found.attributes if isinstance(found, StandIn) else vars(found), label)
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        raise ArtifactError(f"{label} is no valid {kind}: {type(error).__name__}: {error}") from error


def _build(kind: str, state: dict[str, Any], label: str) -> gymnasium.Space[Any]:
    if kind == "Dict":
        # In the order of the file, which is that of the network's input (SB3, torch_layers.CombinedExtractor).
        parts = [(str(key), checked_space(part, f"{label}[{key!r}]")) for key, part in state["spaces"].items()]
        space = gymnasium.spaces.Dict(dict(parts))
        space.spaces = dict(parts)
        return space
    if kind == "Box":
        low, high = _array(state["low"]), _array(state["high"])
        return gymnasium.spaces.Box(low, high, dtype=low.dtype.type)
    if kind == "Discrete":
        return gymnasium.spaces.Discrete(int(state["n"]), start=int(state.get("start", 0)))
    if kind == "MultiDiscrete":
        start = state.get("start")
        return gymnasium.spaces.MultiDiscrete(_array(state["nvec"]), start=None if start is None else _array(start))
    size = state["n"]
    return gymnasium.spaces.MultiBinary(tuple(size) if isinstance(size, (tuple, list)) else int(size))


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, StandIn):
        raise TypeError(f"'{value.kind}' is no array")
    found = np.asarray(value)
    if found.dtype.kind not in NUMERIC:
        raise TypeError(f"an array of {found.dtype} holds no numbers")
    return found
