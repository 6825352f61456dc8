"""Arrays that somebody wrote with NumPy, or pickled."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.arrays import UNREADABLE, check_archive, check_array
from ganglion.adapters._files import LARGEST_BYTES, read_bytes, read_pickle
from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    import os

_ARCHIVE, _ARRAY = (b"PK\x03\x04", b"PK\x05\x06"), b"\x93NUMPY"


def read_arrays(path: str | os.PathLike[str], *, allow_pickle: bool) -> Any:
    """Reads arrays.

    Args:
        path: a file of `numpy.savez` or `numpy.save`, else a pickle.
        allow_pickle: read a pickle of other things than numbers, too, which can run code; gives a warning.

    Returns:
        Arrays by name; a list of them where `numpy.savez` was given no names; one array of `numpy.save`; or whatever
        the pickle holds.

    Raises:
        ArtifactError: the file is missing, damaged or too large, holds Python objects, or is a pickle of
            them and `allow_pickle` is not set.
    """
    data = read_bytes(path)
    if not data.startswith((*_ARCHIVE, _ARRAY)):
        return read_pickle(path, allow_pickle=allow_pickle)
    try:
        if data.startswith(_ARRAY):
            check_array("the array", io.BytesIO(data), len(data))
            return np.load(io.BytesIO(data), allow_pickle=False)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_archive(path, archive, limit=LARGEST_BYTES)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, *UNREADABLE) as error:
        raise ArtifactError(
            f"'{path}' is no readable file of numpy.savez or numpy.save with arrays of numbers: {error}"
        ) from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ArtifactError(f"'{path}' holds other files than arrays: {sorted(arrays)}")
    if arrays and all(re.fullmatch(r"arr_\d+", name) for name in arrays):
        return [arrays[f"arr_{index}"] for index in sorted(int(name[4:]) for name in arrays)]
    return arrays
