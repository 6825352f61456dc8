"""The recurrent cells of memorax, without the environments, buffers and loggers that all of memorax imports."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = ("memorax", "memorax.networks", "memorax.networks.sequence_models", "memorax.utils")


def load(*names: str) -> list[Any]:
    """Modules of `memorax.networks.sequence_models`; skips where memorax or JAX is not installed."""
    _stand_in()
    return [importlib.import_module(f"memorax.networks.sequence_models.{name}") for name in names]


@functools.cache  # what stands in has no spec to be found by, and modules of it that are imported belong together
def _stand_in() -> None:
    jax = pytest.importorskip("jax")
    found = importlib.util.find_spec("memorax")
    if found is None:
        pytest.skip("memorax is not installed")
    (root,) = found.submodule_search_locations
    for package in _PACKAGES:
        # Their __init__.py import all of memorax.
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(Path(root, *package.split(".")[1:]))]
    typing = types.ModuleType("memorax.utils.typing")
    typing.Array, typing.Carry = jax.Array, object
    sys.modules[typing.__name__] = typing
