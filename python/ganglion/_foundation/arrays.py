"""Files of `numpy.save` and `numpy.savez` of unknown honesty: what they announce is checked before memory is taken."""

from __future__ import annotations

import math
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

import numpy as np

from ganglion._foundation.files import LARGEST_RECORDING, check_unpacked

if TYPE_CHECKING:
    import os

UNREADABLE = (
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy, zipfile and our own checks raise on a damaged file, beside OSError."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By version. The third one is for names of fields, and only for those."""


def check_archive(
    path: str | os.PathLike[str], archive: zipfile.ZipFile | None, *, limit: int = LARGEST_RECORDING
) -> None:
    """Refuses an archive of arrays, if it is open, that unpacks to more than `limit` or whose arrays are none.

    Raises:
        ArtifactError: it does.
        ValueError: see `check_array`; a damaged archive raises what zipfile does.
    """
    check_unpacked(path, archive, limit=limit)
    for entry in () if archive is None else archive.infolist():
        if archive is not None and entry.filename.endswith(".npy"):
            with archive.open(entry) as member:
                check_array(f"array '{entry.filename[:-4]}'", member, entry.file_size)


def check_array(label: str, file: IO[bytes], size: int) -> None:
    """Refuses an array whose header announces something else than the file has.

    NumPy takes the memory that a header announces before it reads a number.

    Args:
        label: what messages call it.
        file: at the beginning of the array.
        size: of the array with its header, in bytes.

    Raises:
        ValueError: the header is none, it holds Python objects, or as many bytes are not there.
    """
    magic = np.lib.format.MAGIC_PREFIX
    start = file.read(np.lib.format.MAGIC_LEN)
    if not start.startswith(magic) or len(start) != np.lib.format.MAGIC_LEN:
        raise ValueError(f"{label} is no array of numpy.save")
    version = (start[-2], start[-1])
    if version not in _HEADERS:
        raise ValueError(f"{label} has the version {version}; arrays of numbers have 1.0 or 2.0")
    try:
        shape, _, dtype = _HEADERS[version](file)
    except (SyntaxError, TypeError, MemoryError, RecursionError, OverflowError) as error:
        raise ValueError(f"{label} has a damaged header: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{label} holds Python objects, which are a program; write it with an array of numbers")
    if any(isinstance(axis, bool) or axis < 0 for axis in shape):
        raise ValueError(f"{label} has the shape {shape}")
    announced, found = math.prod(shape) * dtype.itemsize, size - file.tell()
    if announced != found:
        raise ValueError(f"{label} announces {announced:,} bytes and has {found:,}: it is damaged")
