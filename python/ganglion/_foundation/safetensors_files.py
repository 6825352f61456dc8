"""Safetensors files: the size of a JSON text in 8 bytes, the text, then the numbers of all tensors side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.documents import unique_keys
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ALIGNMENT = 64
"""The data section starts at a multiple of this (safetensors asks for 8), so that a mapped file can be read wide."""

_LARGEST_HEADER = 100_000_000
"""The limit of the safetensors library."""


def join(header: Mapping[str, Any], *section: bytes | memoryview) -> bytes:
    """The bytes of a safetensors file of a header and its data section."""
    text = json.dumps(header, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *section])


def split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and data section of a safetensors file.

    Raises:
        ArtifactError: it is none, or damaged.
    """
    if len(data) < 8:
        raise ArtifactError(f"the file has {len(data)} bytes; a safetensors file starts with 8 bytes of header length")
    length = int.from_bytes(data[:8], "little")
    if length > min(_LARGEST_HEADER, len(data) - 8):
        raise ArtifactError(
            f"the header should have {length} bytes, the file has {len(data) - 8} after the length: it is truncated, "
            "or no safetensors file"
        )
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"the header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise ArtifactError("the header is not a JSON object")
    return header, memoryview(data)[8 + length :]


def tensors_of(
    header: Mapping[str, Any], section: memoryview, dtypes: Mapping[str, np.dtype[Any]]
) -> dict[str, NDArray[Any]]:
    """The tensors that a header without metadata describes.

    Args:
        header: see `split`.
        section: see `split`.
        dtypes: the element types that may be there, by their names in the file.

    Raises:
        ArtifactError: one has another type, or they do not lie side by side.
    """
    tensors: dict[str, NDArray[Any]] = {}
    spans = []
    for name, entry in header.items():
        dtype, shape, (begin, end) = _entry(name, entry, dtypes)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if not 0 <= begin <= end <= len(section) or end - begin != size:
            raise ArtifactError(
                f"tensor '{name}' of {size} bytes is said to lie at {begin} to {end} of {len(section)} bytes"
            )
        spans.append((begin, end, name))
        tensors[name] = np.frombuffer(section[begin:end], dtype).reshape(shape).astype(dtype.newbyteorder("="))
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise ArtifactError(f"tensor '{name}' starts at {begin}; without gap and overlap it would at {position}")
        position = end
    if position != len(section):
        raise ArtifactError(f"the tensors end at {position}, the data section has {len(section)} bytes")
    return tensors


def _entry(name: str, entry: Any, dtypes: Mapping[str, np.dtype[Any]]) -> tuple[np.dtype[Any], list[int], list[int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ArtifactError(f"tensor '{name}' needs dtype, shape and data_offsets, no more and no less")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise ArtifactError(f"tensor '{name}' has dtype {dtype!r}; {', '.join(dtypes)} are possible")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ArtifactError(f"tensor '{name}': shape and data_offsets are lists of integers of at least 0")
    if len(offsets) != 2:
        raise ArtifactError(f"tensor '{name}': data_offsets is a begin and an end")
    return dtypes[dtype], shape, offsets
