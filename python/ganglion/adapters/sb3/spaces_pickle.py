"""The gymnasium spaces in a checkpoint of Stable-Baselines3, read from their pickles without running any of it.

SB3 writes spaces as pickles (`save_util.data_to_json`); the text beside them is rounded as NumPy prints, so it cannot
be relied on. The reader here knows the dozen names that pickles of spaces are made of, and has a harmless stand-in for
each; any other name ends the reading before anything is called. torch reads weights in the same way.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict")
_IGNORED = ("numpy.random",)  # the generator of a space that was sampled from


class UnknownNameError(ArtifactError):
    """A pickle asks for something that is no part of a space."""


def read_space(data: bytes, label: str) -> gymnasium.Space[Any]:
    """Reads the pickle of a gymnasium (or gym) space without running code.

    Args:
        data: the pickle.
        label: what messages call it.

    Returns:
        A new space of numbers equal to the pickled ones, bit for bit.

    Raises:
        UnknownNameError: the pickle names a function or class that a space does not need.
        ArtifactError: the pickle is damaged, or holds no space that is known here.
    """
    try:
        found = _Reader(data, label).load()
    except ArtifactError:
        raise
    except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
        raise ArtifactError(f"{label} cannot be read: {type(error).__name__}: {error}") from error
    return checked_space(found, label)


def checked_space(found: Any, label: str) -> gymnasium.Space[Any]:
    """Builds a gymnasium space from anything that has the attributes of one, such as a stand-in or an old gym space.

    Raises:
        ArtifactError: it is no Box, Discrete, MultiDiscrete, MultiBinary or Dict, or its numbers are not those of one.
    """
    kind = getattr(found, "kind", type(found).__name__)
    if kind not in _SPACES:
        raise ArtifactError(f"{label} is a {kind}; the spaces {', '.join(_SPACES)} are read")
    try:
        return _build(kind, vars(found), label)
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
    return np.asarray(getattr(value, "values", value))


class _Reader(pickle.Unpickler):
    """Knows the names in a pickle of a space, and nothing else.

    The stand-ins are made anew for each reader: a pickle can set attributes of what it gets hold of.
    """

    def __init__(self, data: bytes, label: str) -> None:
        super().__init__(io.BytesIO(data))
        self._label = label
        self._names = _stand_ins()

    def find_class(self, module: str, name: str) -> Any:
        package = module.split(".")[0]
        module = module.replace("numpy._core", "numpy.core")  # renamed in NumPy 2
        if package in ("gymnasium", "gym") and module.split(".")[1:2] == ["spaces"] and name in _SPACES:
            return type("Space", (), {"kind": name, "__setstate__": _update})
        if module.startswith(_IGNORED):
            return type("Ignored", (), {"__new__": _make_ignored, "__init__": _ignore, "__setstate__": _ignore})
        if (module, name) not in self._names:
            raise UnknownNameError(f"{self._label} names '{module}.{name}', which is no part of a space")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnknownNameError(f"{self._label} refers to something outside, {pid!r}")


def _update(self: Any, state: Any) -> None:
    # Spaces with slots give a pair, of which only the dictionaries matter.
    for part in state if isinstance(state, tuple) else (state,):
        self.__dict__.update(part or {})


def _make_ignored(cls: type, *_: Any) -> Any:
    return object.__new__(cls)


def _ignore(*_: Any) -> None:
    pass


def _stand_ins() -> dict[tuple[str, str], Callable[..., Any]]:
    class DType:
        """A numeric dtype; NumPy's own could be changed by a hostile state."""

        def __init__(self, code: str, *_: Any) -> None:
            self.value = np.dtype(str(code))
            if self.value.kind not in "biuf":
                raise ArtifactError(f"numbers of dtype {self.value} are no part of a space")

        def __setstate__(self, state: Any) -> None:
            if state[1] in ("<", ">", "="):
                self.value = self.value.newbyteorder(state[1])

    class Array:
        """An array that is filled by its state, as the protocols before 5 do it."""

        def __init__(self, *_: Any) -> None:
            self.values: NDArray[Any] = np.zeros(0)

        def __setstate__(self, state: Any) -> None:
            _, shape, dtype, is_fortran, data = state
            self.values = _filled(data, dtype.value, shape, "F" if is_fortran else "C")

    def from_buffer(data: Any, dtype: DType, shape: Any, order: str) -> Array:
        array = Array()
        array.values = _filled(bytes(data), dtype.value, shape, order)
        return array

    def scalar(dtype: DType, data: bytes) -> Any:
        return _filled(data, dtype.value, (), "C").item()

    def named(name: str) -> type:
        return type(name, (), {})

    names: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): DType,
        ("numpy", "ndarray"): named("ndarray"),
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.numeric", "_frombuffer"): from_buffer,
        ("collections", "OrderedDict"): lambda *_: {},
        ("_codecs", "encode"): lambda text, _="latin1": text.encode("latin1"),
    }
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool_", "bool"):
        names["numpy", name] = named(name)
    return names


def _filled(data: bytes, dtype: np.dtype[Any], shape: Any, order: str) -> NDArray[Any]:
    values = np.frombuffer(data, dtype).reshape(tuple(shape), order="F" if order == "F" else "C")
    return values.astype(dtype.newbyteorder("="))
