"""What this machine can run: engines, libraries, CPU features, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganglion._foundation.boundary import bounded
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    from ganglion.runtime import EngineInfo

__all__ = ["Diagnosis", "diagnose"]

_PACKAGES = ("ganglion", "numpy", "torch", "onnxruntime")


@dataclass(frozen=True)
class Diagnosis:
    """State of the installation.

    Attributes:
        engines: every engine that this build knows; empty where the C++ runtime itself cannot be loaded.
        cpu_features: instruction set extensions that the runtime found.
        versions: by package; None where it is not installed.
        platform: operating system and processor.
        problem: why the C++ runtime cannot be loaded, or None.
    """

    engines: tuple[EngineInfo, ...]
    cpu_features: tuple[str, ...]
    versions: dict[str, str | None]
    platform: str
    problem: str | None

    @property
    def ok(self) -> bool:
        """True where at least one engine can be used."""
        return any(engine.usable for engine in self.engines)


@bounded(
    GanglionError, what="the engines of this machine cannot be looked at", remedy="report this as a defect of ganglion"
)
def diagnose() -> Diagnosis:
    """Looks at the installation; imports neither torch nor onnxruntime, but may build the LibTorch engine."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    versions |= {package: _version(package) for package in _PACKAGES}
    engines: tuple[EngineInfo, ...] = ()
    features: tuple[str, ...] = ()
    problem = None
    try:
        from ganglion import runtime

        engines = tuple(runtime.engines())
        features = tuple(runtime.cpu_features())
    except ImportError as error:
        problem = f"the C++ runtime cannot be loaded: {error}"
    return Diagnosis(engines, features, versions, f"{platform.system()} {platform.machine()}", problem)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
