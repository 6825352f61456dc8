"""Public policy files that are not part of the project; tests that use them skip where they are not at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[3].parent / "shared" / "real"


def real(name: str) -> Path:
    """The file of that name; skips the test, by name, where it is missing."""
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"{name}: not at hand")
    return path
