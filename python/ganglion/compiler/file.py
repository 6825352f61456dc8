"""`.ganglion` files, from and to bytes: safetensors with contract and program in the metadata (`cpp/FORMAT.md`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import _core
from ganglion._foundation.files import read_file
from ganglion.compiler.program import Program
from ganglion.contract import Contract, unique_keys
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

CONTRACT_KEY = "ganglion"
PROGRAM_KEY = "ganglion_program"

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 64
"""The data section starts at a multiple of this (safetensors asks for 8), so that a mapped file can be read wide."""

_LARGEST_HEADER = 100_000_000
"""The limit of the safetensors library."""


def digest(program: Program) -> str:
    """SHA-256 over program and weights as `to_bytes` puts them into a file, lower-case hex."""
    return _digest(program.to_json(), program.tensors)


def _digest(program: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    # Over the text as it stands in the file, then for each tensor in ascending order of its name as bytes: the name,
    # the length of its data as 8 bytes little-endian, its data.
    sha = hashlib.sha256(program.encode())
    for name in sorted(tensors, key=str.encode):
        data = _bytes(tensors[name])
        sha.update(name.encode())
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()


def to_bytes(program: Program, contract: Contract) -> tuple[bytes, Contract]:
    """The bytes of a `.ganglion` file and the contract in it.

    It is the given contract with the digest filled in, and with the bits of the golden trajectory, which the native
    engine runs for that; none where the C++ runtime refuses the file anyway, as its proof or its load will say.

    Raises:
        ArtifactError: contract and program do not fit together.
    """
    if contract.golden is None:
        return plain_bytes(program, contract)
    golden = dataclasses.replace(contract.golden, bits=())
    data, contract = plain_bytes(program, dataclasses.replace(contract, golden=golden))
    options = _core.LoadOptions({"batch": golden.rows if contract.batch is None else None, "warmup_steps": 0})
    try:
        test = _core.Policy.load_bytes(data, "the compiled policy", options).self_test()
    except _core.Error:  # whoever writes or loads the bytes says so
        return data, contract
    if not test.ok or len(test.bits) != golden.rows:
        return data, contract
    golden = dataclasses.replace(golden, bits=tuple(test.bits))
    return plain_bytes(program, dataclasses.replace(contract, golden=golden))


def plain_bytes(program: Program, contract: Contract) -> tuple[bytes, Contract]:
    """`to_bytes` without a run: for bytes that are loaded here and now, and kept by nobody.

    Raises:
        ArtifactError: see `to_bytes`.
    """
    _check_fit(program, contract)
    program_text = program.to_json()
    contract = dataclasses.replace(contract, sha256=_digest(program_text, program.tensors))
    # The order of the safetensors library: widest elements first keeps every tensor aligned without gaps.
    names = sorted(program.tensors, key=lambda name: (-program.tensors[name].dtype.itemsize, name.encode()))
    metadata = {CONTRACT_KEY: contract.to_json(), PROGRAM_KEY: program_text}
    header: dict[str, Any] = {"__metadata__": metadata}
    parts, begin = [], 0
    for name in names:
        tensor = program.tensors[name]
        data = _bytes(tensor)
        header[name] = {
            "dtype": _NAMES[tensor.dtype.newbyteorder("<")],
            "shape": list(tensor.shape),
            "data_offsets": [begin, begin + len(data)],
        }
        parts.append(data)
        begin += len(data)
    return join(header, *parts), contract


def join(header: Mapping[str, Any], *section: bytes | memoryview) -> bytes:
    """The bytes of a safetensors file of a header and its data section."""
    text = json.dumps(header, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *section])


def read(path: str | os.PathLike[str]) -> tuple[Program, Contract]:
    """Reads a `.ganglion` file and checks everything that can be checked without running it.

    Raises:
        ArtifactError: missing, damaged, of a newer format, or no `.ganglion` file.
    """
    data = read_file(path).data
    try:
        return from_bytes(data)
    except ArtifactError as error:
        raise ArtifactError(f"'{path}': {error}") from error


def from_bytes(data: bytes) -> tuple[Program, Contract]:
    """Reads the bytes of a `.ganglion` file; see `read`.

    Raises:
        ArtifactError: see `read`.
    """
    header, section = split(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ArtifactError("the header has no '__metadata__' of strings; this is no .ganglion file")
    for key in (CONTRACT_KEY, PROGRAM_KEY):
        if key not in metadata:
            raise ArtifactError(f"a safetensors file without '{key}' in its metadata is no .ganglion file")
    contract = Contract.from_json(metadata[CONTRACT_KEY])
    program = Program.from_json(metadata[PROGRAM_KEY], _tensors(header, section))
    _check_fit(program, contract)
    found = _digest(metadata[PROGRAM_KEY], program.tensors)
    if contract.sha256 != found:
        raise ArtifactError(
            f"program and weights have the digest {found}, the contract says {contract.sha256}: the file was damaged "
            "or changed after it was written; export the policy again"
        )
    return program, contract


def _check_fit(program: Program, contract: Contract) -> None:
    pairs = {
        "inputs": (
            [program.values[index].size for index in program.inputs],
            [spec.size for spec in contract.inputs],
        ),
        "outputs": (
            [program.values[index].size for index in program.outputs],
            [spec.size for spec in contract.outputs],
        ),
        "state": (
            [program.values[port.input].size for port in program.state],
            [slot.size for slot in contract.state],
        ),
    }
    for what, (found, wanted) in pairs.items():
        if found != wanted:
            raise ArtifactError(f"program and contract disagree on the sizes of {what}: {found} and {wanted}")


def split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and data section of a safetensors file.

    Raises:
        ArtifactError: it is none, or damaged.
    """
    if len(data) < 8:
        raise ArtifactError(f"the file has {len(data)} bytes; a .ganglion file starts with 8 bytes of header length")
    length = int.from_bytes(data[:8], "little")
    if length > min(_LARGEST_HEADER, len(data) - 8):
        raise ArtifactError(
            f"the header should have {length} bytes, the file has {len(data) - 8} after the length: it is truncated, "
            "or no .ganglion file"
        )
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"the header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise ArtifactError("the header is not a JSON object")
    return header, memoryview(data)[8 + length :]


def _tensors(header: Mapping[str, Any], section: memoryview) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    spans = []
    for name, entry in header.items():
        dtype, shape, (begin, end) = _entry(name, entry)
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


def _entry(name: str, entry: Any) -> tuple[np.dtype[Any], list[int], list[int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ArtifactError(f"tensor '{name}' needs dtype, shape and data_offsets, no more and no less")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ArtifactError(f"tensor '{name}' has dtype {dtype!r}; {', '.join(_DTYPES)} are possible")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ArtifactError(f"tensor '{name}': shape and data_offsets are lists of integers of at least 0")
    if len(offsets) != 2:
        raise ArtifactError(f"tensor '{name}': data_offsets is a begin and an end")
    return _DTYPES[dtype], shape, offsets


def _bytes(tensor: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(tensor).astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
