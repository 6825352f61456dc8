"""Lets a sub-package be called: `ganglion.export` and `ganglion.verify` are folders as well as functions."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(name: str) -> None:
    """Makes the module `name` call its function of the same name."""
    sys.modules[name].__class__ = _CallableModule
