"""The exceptions that ganglion raises. Every one of them is a `GanglionError`."""

from __future__ import annotations

import re
from typing import Any

# Control characters but for line ends and tabs, and what turns the direction of text.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with escapes in place of what a terminal would obey: names come out of files that anybody wrote."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class GanglionError(Exception):
    """Base class of every exception that ganglion raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ExportError(GanglionError):
    """A policy could not be written to a file; nothing was left behind."""


class UnsupportedModuleError(ExportError):
    """A policy contains a module that an export target cannot express.

    Args:
        module_path: dotted path of the module inside the policy, as in `named_modules()`.
        reason: why it cannot be exported, and what is supported instead.
    """

    def __init__(self, module_path: str, reason: str) -> None:
        super().__init__(f"module '{module_path}': {reason}")
        self.module_path = module_path


class ArtifactError(GanglionError):
    """A file is missing, damaged, of a newer format, or not what its name says."""


class ParityError(GanglionError):
    """Two implementations of one policy disagree.

    Args:
        message: what differs, where it first differs and by how much.
        report: the `ParityReport` or `SelfTest` that found it.
    """

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class StepError(GanglionError):
    """A step was refused; the action buffer and the state kept their old values.

    Args:
        status: name of the C++ `ganglion::Status`, for example `"non_finite_observation"`.
        message: what was wrong and what to do.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class EngineUnavailableError(GanglionError, ImportError):
    """The engine that a file needs is not installed; the message names the extra to install."""
