"""What a line of the table holds."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = (".ganglion", ".onnx", ".pt", ".hpp")


@dataclass
class Row:
    """One line.

    Attributes:
        section: which table it belongs to.
        name: what was tested.
        reference: against what, with its version; empty where nothing but the policy itself in PyTorch.
        steps: how many steps of the reference, and how many resets in them.
        from_reference: largest error from the reference, of the policy and its `.ganglion` file; None: not measured.
        errors: by target, the largest error of its engines; None where there is no such target.
        timed: the file whose step is timed; None for none.
        bytes: what a step has to read once: weights and state.
        step_us: median time of a step on the native engine.
        floor_us: median time to read so many bytes.
        own: the file as it came, where its own engine is timed, too.
        own_us: median time of a step there.
        what: what kind of policy it is.
        runs: how it is made to run.
    """

    section: str
    name: str
    reference: str = ""
    steps: tuple[int, int] | None = None
    from_reference: float | None = None
    errors: dict[str, float | None] = field(default_factory=dict)
    timed: Path | None = None
    bytes: int = 0
    step_us: float | None = None
    floor_us: float | None = None
    own: Path | None = None
    own_us: float | None = None
    what: str = ""
    runs: str = ""


def version(package: str, what: str = "") -> str:
    """A package and the version that is installed, in words."""
    return f"{package} {importlib.metadata.version(package)}{what and f', {what}'}"
