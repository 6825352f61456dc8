"""Batches in one `.npz` file: arrays by their paths, the rest as JSON. No pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

import numpy as np

from ganglion._foundation.arrays import UNREADABLE, check_archive
from ganglion._foundation.files import LARGEST_RECORDING, opened, replacing
from ganglion.data.spaces_json import env_spec_from_json, env_spec_to_json
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ganglion.data.env_spec import EnvSpec

FORMAT = 1
"""The newest format that this version reads and the one that it writes."""

Batch = TypeVar("Batch")


def write(path: str | os.PathLike[str], kind: str, env_spec: EnvSpec | None, fields: Mapping[str, Any]) -> None:
    """Writes fields (arrays, or nested dictionaries of arrays) atomically.

    The file holds one array per entry, `observations` or `agent_infos/hidden_states` (keys are percent-quoted), and
    `meta`: a string of JSON with `format`, `kind`, `env_spec` and `fields`.

    Raises:
        ValueError: an array holds Python objects, or a space has no JSON form.
        OSError: the file cannot be written; what was there before is still there.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in fields.items():
        _flatten(name, value, arrays)
    spec = None if env_spec is None else env_spec_to_json(env_spec)
    meta = {"format": FORMAT, "kind": kind, "env_spec": spec, "fields": list(fields)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]


def read(path: str | os.PathLike[str], kind: str, construct: Callable[..., Batch]) -> Batch:
    """Reads what `write` wrote and returns `construct(env_spec=..., **fields)`.

    Raises:
        ArtifactError: the file is missing, damaged, of a newer format, of another kind, or refused by `construct`.
    """
    try:
        with opened(path, limit=LARGEST_RECORDING) as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile) or "meta" not in archive:
                raise ArtifactError(f"'{path}' is no recording of ganglion; write one with {kind}.save")
            check_archive(path, archive.zip)
            meta = json.loads(str(archive["meta"]))
            _check_meta(path, kind, meta)
            fields = _unflatten(meta["fields"], {name: archive[name] for name in archive.files if name != "meta"})
            env_spec = None if meta["env_spec"] is None else env_spec_from_json(meta["env_spec"])
            return construct(env_spec=env_spec, **fields)
    except OSError as error:
        raise ArtifactError(f"cannot read '{path}': {error.strerror or error}") from error
    except UNREADABLE as error:
        raise ArtifactError(f"'{path}' is damaged or no recording of ganglion: {error}") from error


def _check_meta(path: str | os.PathLike[str], kind: str, meta: Any) -> None:
    if meta["format"] != FORMAT:
        raise ArtifactError(
            f"'{path}' has recording format {meta['format']!r}; this version reads {FORMAT}. Update ganglion"
        )
    if meta["kind"] != kind:
        raise ArtifactError(f"'{path}' holds a {meta['kind']}, expected a {kind}; read it with {meta['kind']}.load")


def _flatten(name: str, value: Any, arrays: dict[str, NDArray[Any]]) -> None:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _flatten(f"{name}/{quote(key, safe=' ')}", entry, arrays)
        return
    if value.dtype.hasobject:
        raise ValueError(f"save: {name} has dtype {value.dtype}, expected one without Python objects; convert it first")
    arrays[name] = value


def _unflatten(names: list[str], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    # A field without arrays was an empty dictionary.
    fields: dict[str, Any] = {name: {} for name in names}
    for path, array in arrays.items():
        *parents, last = (unquote(part) for part in path.split("/"))
        level = fields
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = array
    return fields
