"""Errors of the C++ runtime as our exceptions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ganglion import _core
from ganglion.errors import ArtifactError, EngineUnavailableError, GanglionError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def core_errors() -> Iterator[None]:
    """Turns a `ganglion::Error` into the exception that names its kind."""
    try:
        yield
    except _core.Error as error:
        code, message = error.args
        if code == "engine_unavailable":
            raise EngineUnavailableError(message) from error
        if code in ("bad_option", "engine_failure", "recording_failed"):
            raise GanglionError(message) from error
        raise ArtifactError(message) from error
