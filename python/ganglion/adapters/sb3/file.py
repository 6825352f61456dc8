"""The archive that Stable-Baselines3 saves: what it says in JSON, its spaces and its weights."""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganglion._foundation.pickles import Name, PickleError, read_pickle
from ganglion.adapters import _files
from ganglion.adapters.sb3.spaces_pickle import checked_space, read_space
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

    import gymnasium

_MEMBERS = ("data", "policy.pth")


@dataclass(frozen=True)
class Archive:
    """What one checkpoint holds; the layout is that of `save_util.save_to_zip_file` of SB3 2.9.2.

    Attributes:
        label: what messages call the checkpoint.
        data: the attributes of the algorithm; pickled ones as dictionaries with what SB3 says about them in text.
        weights: the state dictionary of the policy.
    """

    label: str
    data: dict[str, Any]
    weights: Any

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Archive:
        """Reads a checkpoint; no code in it is run.

        Raises:
            ArtifactError: it is missing, damaged, too large, or no checkpoint of Stable-Baselines3.
        """
        label, content = str(path), _files.read_bytes(path)
        members = _members(content, label)
        try:
            data = json.loads(members["data"])
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"'{label}': the member 'data' is no JSON: {error}") from error
        if not isinstance(data, dict):
            raise ArtifactError(f"'{label}': the member 'data' is no JSON object but a {type(data).__name__}")
        weights = _files.read_torch(members["policy.pth"], name=f"{label}/policy.pth")
        return cls(label, data, weights)

    def space(self, key: str, allow_pickle: bool) -> gymnasium.Space[Any]:
        """Reads the space `data[key]`; without `allow_pickle` by a reader that runs no code.

        Raises:
            ArtifactError: there is no such space, or only code could make it.
        """
        label = f"'{self.label}': {key}"
        entry = self.data.get(key)
        text = entry.get(":serialized:") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            raise ArtifactError(f"{label} is missing in the member 'data'; is this a whole checkpoint of model.save()?")
        try:
            pickled = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ArtifactError(f"{label} is no base64 text: {error}") from error
        try:
            return read_space(pickled, label)
        except ArtifactError:
            if not allow_pickle:
                raise
        warnings.warn(f"{label} is unpickled, which can run any code that its author put there", stacklevel=4)
        try:
            found = pickle.loads(pickled)
        except Exception as error:
            raise ArtifactError(f"{label} cannot be unpickled: {type(error).__name__}: {error}") from error
        return checked_space(found, label)

    @property
    def policy_module(self) -> str:
        """Module that defines the class of the policy, as `data` says in text."""
        entry = self.data.get("policy_class")
        return str(entry.get("__module__", "")) if isinstance(entry, dict) else ""

    def names_class(self, name: str) -> bool:
        """Whether the policy is of the class of that name, as its pickle says."""
        entry = self.data.get("policy_class")
        text = entry.get(":serialized:") if isinstance(entry, dict) else None
        try:
            found = read_pickle(base64.b64decode(text, validate=True)) if isinstance(text, str) else None
        except (binascii.Error, PickleError):
            return False
        return isinstance(found, Name) and found.path.endswith(f".{name}")

    @property
    def policy_kwargs(self) -> dict[str, Any]:
        """Arguments of the policy; those that JSON does not have are in the words of `str`."""
        entry = self.data.get("policy_kwargs")
        return {k: v for k, v in entry.items() if not k.startswith(":")} if isinstance(entry, dict) else {}


def _members(content: bytes, label: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {info.filename: info for info in archive.infolist()}
            missing = [name for name in _MEMBERS if name not in found]
            if missing:
                raise ArtifactError(
                    f"'{label}' has no member {' and no member '.join(map(repr, missing))}, but {sorted(found)[:8]}; "
                    "expected what model.save() of Stable-Baselines3 writes"
                )
            for name in _MEMBERS:
                size = found[name].file_size
                if size > _files.LARGEST_BYTES:
                    raise ArtifactError(
                        f"'{label}': the member '{name}' would have {size:,} bytes; up to {_files.LARGEST_BYTES:,} are "
                        "read"
                    )
            # A member is never longer than its entry says: zipfile stops there.
            return {name: archive.read(found[name]) for name in _MEMBERS}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ArtifactError(
            f"'{label}' is no readable zip archive ({error}); expected what model.save() of Stable-Baselines3 writes"
        ) from error
