"""`.ganglion` files, from and to bytes: safetensors with contract and program in the metadata (`cpp/FORMAT.md`)."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion import _core
from ganglion._foundation.files import read_file
from ganglion._foundation.safetensors_files import join, split, tensors_of
from ganglion.compiler.program import Program
from ganglion.contract import Contract
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
    program = Program.from_json(metadata[PROGRAM_KEY], tensors_of(header, section, _DTYPES))
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


def _bytes(tensor: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(tensor).astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
