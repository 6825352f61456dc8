"""Parameters of JAX models as skrl saves them: a tree in the MessagePack dialect of flax, read with NumPy alone.

The format is that of `flax.serialization.to_bytes` (flax 0.12): maps with names as keys, and arrays as extensions of
type 1, which hold `(shape, dtype name, bytes)`.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganglion.errors import ArtifactError

_DEEPEST = 64
_ARRAY, _SCALAR = 1, 3
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i",
    0xD3: ">q",
}  # fmt: skip
_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_LISTS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}
_EXTENSIONS = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def read_tree(data: bytes, label: str) -> Any:
    """Reads what `flax.serialization.to_bytes` wrote.

    Returns:
        Dictionaries, lists, numbers and NumPy arrays.

    Raises:
        ArtifactError: the data are damaged or of another format.
    """
    reader = _Reader(data)
    try:
        tree = reader.value(0)
    except (ValueError, TypeError, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"{label} is no MessagePack of flax: {error}") from error
    if reader.at != len(data):
        raise ArtifactError(f"{label} is no MessagePack of flax: {len(data) - reader.at} bytes follow it")
    return tree


def as_state_dict(tree: Any, label: str) -> dict[str, Tensor]:
    """Names the parameters of a flax model as torch's would be, with kernels `[inputs, outputs]` turned to weights.

    `net_container/layers_2/kernel` is `net_container.2.weight` (skrl's model instantiators); `Dense_1/kernel` is
    `net.2.weight`: an activation stands between two layers (skrl's documentation).

    Raises:
        ArtifactError: the tree is no model of dense layers.
    """
    state: dict[str, Tensor] = {}
    _collect(tree["params"] if isinstance(tree, dict) and set(tree) == {"params"} else tree, "", state, label)
    if not state:
        raise ArtifactError(f"{label} has no parameters")
    return state


def as_tensors(tree: Any, label: str) -> dict[str, Tensor]:
    """Turns a flat tree of arrays, such as the statistics of a preprocessor, into tensors.

    Raises:
        ArtifactError: it is none.
    """
    if not isinstance(tree, dict) or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise ArtifactError(f"{label} is a {type(tree).__name__}; expected a dictionary of arrays")
    return {str(key): _tensor(value) for key, value in tree.items()}


def _collect(tree: Any, prefix: str, state: dict[str, Tensor], label: str) -> None:
    if not isinstance(tree, dict):
        raise ArtifactError(f"{label}: '{prefix or 'the whole'}' is a {type(tree).__name__}; expected named arrays")
    for key, value in tree.items():
        if not isinstance(value, np.ndarray):
            _collect(value, f"{prefix}{_module_name(str(key), prefix)}.", state, label)
        elif key == "kernel":
            if value.ndim != 2:
                raise ArtifactError(
                    f"{label}: '{prefix}kernel' has shape {value.shape}; only dense layers are supported"
                )
            state[f"{prefix}weight"] = _tensor(value.T)
        else:
            state[f"{prefix}{key}"] = _tensor(value)


def _module_name(key: str, prefix: str) -> str:
    found = re.fullmatch(r"(layers|Dense)_(\d+)", key)
    if found is None:
        return key
    if found[1] == "layers":
        return found[2]
    return f"net.{2 * int(found[2])}" if not prefix else str(2 * int(found[2]))


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels")
        code = self._take(1)[0]
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code <= 0x8F or code in _MAPS:
            return self._map(code & 0x0F if code <= 0x8F else self._number(_MAPS[code]), depth)
        if code <= 0x9F or code in _LISTS:
            size = code & 0x0F if code <= 0x9F else self._number(_LISTS[code])
            return [self.value(depth + 1) for _ in range(size)]
        if code <= 0xBF or code in _TEXT:
            return self._take(code & 0x1F if code <= 0xBF else self._number(_TEXT[code])).decode()
        if code in _BYTES:
            return self._take(self._number(_BYTES[code]))
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if 0xD4 <= code <= 0xD8:
            return self._extension(1 << (code - 0xD4), depth)
        if code in _EXTENSIONS:
            return self._extension(self._number(_EXTENSIONS[code]), depth)
        raise ValueError(f"the byte {code:#x} at {self.at - 1} means nothing")

    def _map(self, size: int, depth: int) -> dict[Any, Any]:
        found = {}
        for _ in range(size):
            key = self.value(depth + 1)
            found[key] = self.value(depth + 1)
        if "__msgpack_chunked_array__" in found:
            raise ValueError("arrays beyond 1 GiB are not supported")
        return found

    def _extension(self, size: int, depth: int) -> Any:
        kind, content = self._number(">b"), _Reader(self._take(size))
        if kind not in (_ARRAY, _SCALAR):
            raise ValueError(f"values of type {kind} are not supported")
        shape, name, data = content.value(depth + 1)
        dtype = np.dtype(str(name))
        if dtype.kind not in "biuf":
            raise ValueError(f"arrays of {name} are not supported")
        array = np.frombuffer(data, dtype).reshape([int(length) for length in shape])
        return array.astype(dtype) if kind == _ARRAY else array.reshape(()).item()

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError(f"{size} bytes are needed at {self.at}, but it has {len(self.data)} in all")
        self.at += size
        return piece
