"""ganglion runs a recurrent policy that was trained in Python inside a C++ control loop.

Same numbers, known state, known time: `export` writes a policy to one file, `load` runs that file in the C++ runtime,
`verify` proves that both agree. Importing this package imports neither torch nor onnxruntime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ganglion.errors import (
    ArtifactError,
    EngineUnavailableError,
    ExportError,
    GanglionError,
    ParityError,
    StepError,
    UnsupportedModuleError,
)

if TYPE_CHECKING:
    from ganglion.contract import Contract, Golden, StateSlot, TensorSpec
    from ganglion.conversion import ChainReport, CompileReport, chain, compile  # noqa: A004
    from ganglion.diagnosis import Diagnosis, diagnose
    from ganglion.export import export, sign, wrap
    from ganglion.flight import (
        ActionGuard,
        Cadence,
        FlightRecorder,
        ObservationMonitor,
        PolicySwitch,
        ReplayReport,
        TickMonitor,
        replay,
    )
    from ganglion.reading import Reading
    from ganglion.runtime import Policy, explain, inspect, load
    from ganglion.sampling import ActionSampler
    from ganglion.verify import ParityReport, RepairReport, repair, verify
    from ganglion.wiring import WiringReport, wiring

__all__ = [
    "ActionGuard",
    "ActionSampler",
    "ArtifactError",
    "Cadence",
    "ChainReport",
    "CompileReport",
    "Contract",
    "Diagnosis",
    "EngineUnavailableError",
    "ExportError",
    "FlightRecorder",
    "GanglionError",
    "Golden",
    "ObservationMonitor",
    "ParityError",
    "ParityReport",
    "Policy",
    "PolicySwitch",
    "Reading",
    "RepairReport",
    "ReplayReport",
    "StateSlot",
    "StepError",
    "TensorSpec",
    "TickMonitor",
    "UnsupportedModuleError",
    "WiringReport",
    "chain",
    "compile",
    "diagnose",
    "explain",
    "export",
    "inspect",
    "load",
    "repair",
    "replay",
    "sign",
    "verify",
    "wiring",
    "wrap",
]

# Found on first use, so that a robot needs numpy alone and an import costs nothing that is not used: the command
# `ganglion --help` not even numpy.
_LAZY = {
    "ActionGuard": "ganglion.flight",
    "Cadence": "ganglion.flight",
    "ChainReport": "ganglion.conversion",
    "CompileReport": "ganglion.conversion",
    "Contract": "ganglion.contract",
    "Diagnosis": "ganglion.diagnosis",
    "FlightRecorder": "ganglion.flight",
    "Golden": "ganglion.contract",
    "ObservationMonitor": "ganglion.flight",
    "ParityReport": "ganglion.verify",
    "Policy": "ganglion.runtime",
    "PolicySwitch": "ganglion.flight",
    "Reading": "ganglion.reading",
    "RepairReport": "ganglion.verify",
    "ReplayReport": "ganglion.flight",
    "StateSlot": "ganglion.contract",
    "TensorSpec": "ganglion.contract",
    "TickMonitor": "ganglion.flight",
    "ActionSampler": "ganglion.sampling",
    "chain": "ganglion.conversion",
    "compile": "ganglion.conversion",
    "diagnose": "ganglion.diagnosis",
    "explain": "ganglion.runtime",
    "export": "ganglion.export",
    "inspect": "ganglion.runtime",
    "load": "ganglion.runtime",
    "repair": "ganglion.verify",
    "replay": "ganglion.flight",
    "sign": "ganglion.export",
    "verify": "ganglion.verify",
    "WiringReport": "ganglion.wiring",
    "wiring": "ganglion.wiring",
    "wrap": "ganglion.export",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("ganglion._core").__version__
    if name in _LAZY:
        module = importlib.import_module(_LAZY[name])
        # A folder that can be called, such as `verify`, is the same thing at the first look and at every other.
        return module if module.__name__ == f"ganglion.{name}" else getattr(module, name)
    # rooms like `errors`, which `import ganglion` gives; these take NumPy's time
    if name in ("contract", "flight", "wiring"):
        return importlib.import_module(f"ganglion.{name}")
    raise AttributeError(f"module 'ganglion' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
