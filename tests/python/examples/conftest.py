"""The examples are scripts in a folder of their own; the tests import what they share and run the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = REPOSITORY / "export_examples"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the built C++ examples: `GANGLION_EXAMPLES`, or the newest one under `build/`."""
    named = os.environ.get("GANGLION_EXAMPLES")
    if named:
        return Path(named)
    built = sorted(REPOSITORY.glob("build/*/export_examples/02_fly_cartpole"), key=lambda file: file.stat().st_mtime)
    if not built:
        pytest.skip("the C++ examples are not built: cmake --preset dev && cmake --build --preset dev")
    return built[-1].parent
