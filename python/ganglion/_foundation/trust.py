"""Whether a TorchScript file may be run: it is a program, and its first load already runs parts of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ganglion import _core
from ganglion._foundation.core_errors import core_errors

if TYPE_CHECKING:
    import os


def check_program(file: str | os.PathLike[str] | bytes, name: str) -> None:
    """Reads the program of a TorchScript file without running it, and refuses what no policy needs.

    Args:
        file: the file, or its bytes.
        name: what to call it in an error.

    Raises:
        ArtifactError: the file is damaged, or its program could do more than calculate; says what and where.
    """
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    with core_errors():
        _core.check_torchscript(data, name)
