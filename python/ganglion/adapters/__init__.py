"""Other trainers' policies as ours: one module per trainer, `ganglion.adapters.<name>.load(checkpoint, ...)`.

`torchscript` takes TorchScript files without a contract to ONNX, `leapp` the bundles of Isaac Lab, and `deployment`
puts what stands around a network in a controller (scales, histories, joint orders) into its function.
"""

from __future__ import annotations

import importlib
from typing import Any

from ganglion._foundation import trainers

TRAINERS = trainers.TRAINERS
"""Modules whose `load` takes a checkpoint."""

__all__ = [
    "brax",
    "deployment",
    "garage",
    "leapp",
    "pufferlib",
    "pyrado",
    "rl_games",
    "rsl_rl",
    "sb3",
    "skrl",
    "tf_agents",
    "torchrl",
    "torchscript",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: most of them need torch, one needs onnx.
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
