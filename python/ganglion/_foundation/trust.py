"""Whether a TorchScript file may be run: it is a program, and its first load already runs parts of it."""

from __future__ import annotations

from ganglion import _core
from ganglion._foundation.core_errors import core_errors


def check_program(data: bytes, name: str) -> None:
    """Reads the program of a TorchScript file without running it, and refuses what no policy needs.

    Args:
        data: the file.
        name: what to call it in an error.

    Raises:
        ArtifactError: the file is damaged, or its program could do more than calculate; says what and where.
    """
    with core_errors():
        _core.check_torchscript(data, name)
