"""The contract in a file of any kind: its text, and the same file with another one."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from ganglion._foundation.files import ReadFile, suffix_of
from ganglion._foundation.safetensors_files import join, split
from ganglion.compiler.file import CONTRACT_KEY
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

    Put = Callable[[str], bytes]
    """Makes the bytes of the file with another text of its contract."""

CONTRACT_FILE = "ganglion.json"
"""The member of a TorchScript archive with the contract."""

SEAL = re.compile(r'"contract_sha256":"[0-9a-f]{64}"')
"""Where the digest of a contract over itself stands, as it is written."""

SIGNATURE = re.compile(r',"signature":\{"public_key":"[0-9a-f]{64}","ed25519":"[0-9a-f]{128}"\}')


def stored_contract(file: ReadFile) -> tuple[str, Put]:
    """The text of the contract in a `.ganglion`, `.onnx` or `.pt` file that has one, and what puts in another.

    Raises:
        ArtifactError: another tool wrote the contract where it stands.
    """
    return _CONTAINERS[suffix_of(file.path)](file)


def contract_to_change(file: ReadFile, dialect: str, purpose: str) -> tuple[str, Put]:
    """The text of a contract of ours under a digest of its own, and what puts in another.

    Args:
        file: a `.ganglion`, `.onnx` or `.pt` file.
        dialect: `Reading.dialect` of the file.
        purpose: what it is changed for, "be signed" say, as messages say it.

    Raises:
        ArtifactError: the file has no contract of ours, or one without a digest.
    """
    if dialect != "ganglion":
        raise ArtifactError(
            f"'{file.path}' carries no contract that could {purpose}; write one with ganglion.export, or with ganglion "
            "compile"
        )
    text, put = stored_contract(file)
    if SEAL.search(text) is None:
        raise ArtifactError(f"'{file.path}' has a contract of format 1, under no digest; export or compile it again")
    return text, put


def _in_ganglion(file: ReadFile) -> tuple[str, Put]:
    header, section = split(file.data)
    metadata = header["__metadata__"]

    def put(text: str) -> bytes:
        return join(header | {"__metadata__": metadata | {CONTRACT_KEY: text}}, section)

    return metadata[CONTRACT_KEY], put


def _in_onnx(file: ReadFile) -> tuple[str, Put]:
    import onnx

    from ganglion.compiler.model import load_proto
    from ganglion.compiler.signature import METADATA_KEY, stored_text

    text = stored_text(load_proto(file))
    assert text is not None

    def entry(text: str) -> bytes:
        made = onnx.StringStringEntryProto(key=METADATA_KEY, value=text)
        return bytes(onnx.ModelProto(metadata_props=[made]).SerializeToString())

    def put(new: str) -> bytes:
        # The digest is over the bytes of all other fields, so they stay as they are.
        before, found, behind = file.data.rpartition(entry(text))
        if not found:
            raise ArtifactError(f"'{file.path}': another tool wrote the contract; export or compile the policy again")
        return before + entry(new) + behind

    return text, put


def _in_torchscript(file: ReadFile) -> tuple[str, Put]:
    with zipfile.ZipFile(io.BytesIO(file.data)) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
        kinds = {entry.filename: entry.compress_type for entry in source.infolist()}
    place = next(name for name, _ in members if name.endswith(f"/extra/{CONTRACT_FILE}"))

    def put(text: str) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:
            for name, data in members:
                written.writestr(zipfile.ZipInfo(name), text if name == place else data, kinds[name])
        return archive.getvalue()

    return dict(members)[place].decode(), put


_CONTAINERS = {".ganglion": _in_ganglion, ".onnx": _in_onnx, ".pt": _in_torchscript}
