"""Files of `torch.save` without torch: the pickle inside, read as data."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

from ganglion._foundation.pickles import PickleError, read_pickle

_OLD = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How files of `torch.save` began before they were ZIP archives."""

_LARGEST_PICKLE = 1 << 28


def is_old_torch(data: bytes) -> bool:
    """Tells whether a file is of `torch.save` before its ZIP archives, or without them."""
    return data.startswith(_OLD)


def read_torch_pickle(data: bytes, *, names: set[str] | None = None) -> Any:
    """Reads what `torch.save` wrote, with `StandIn`s in place of tensors.

    Args:
        data: the file.
        names: see `read_pickle`.

    Raises:
        PickleError: it is no file of `torch.save`, or damaged.
    """
    if is_old_torch(data):
        stream = io.BytesIO(data)
        # A magic number, the version, the sizes of the machine, and then what was saved.
        for _ in range(3):
            read_pickle(stream)
        return read_pickle(stream, names=names)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = next((info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]), None)
            if entry is None or entry.file_size > _LARGEST_PICKLE:
                raise PickleError("the archive has no data.pkl of torch.save")
            return read_pickle(archive.read(entry), names=names)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise PickleError(f"no readable archive: {error}") from error


def torch_names(data: bytes) -> set[str]:
    """The classes and functions that a file of `torch.save` names.

    Raises:
        PickleError: see `read_torch_pickle`.
    """
    names: set[str] = set()
    read_torch_pickle(data, names=names)
    return names
