"""TorchScript files of other trainers by the name of a case, what torch.jit does with them, and files to refuse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchscript_files as files
from torch import nn
from torchscript_files import ACTIONS, OBSERVATIONS, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

STEPS = 1000


def write(path: Path, name: str) -> Path:
    """The file of a case: `"rsl_rl-lstm-2"` is trainer, kind and layers."""
    trainer, kind, layers = name.split("-")
    torch.manual_seed(3)
    if trainer == "rsl_rl":
        return files.write_rsl_rl(path, kind, int(layers))
    if trainer == "isaac":
        return save(files.IsaacLabExporter(None if kind == "mlp" else kind, int(layers)), path)
    if trainer == "legged":
        return save(files.LeggedGymExporter(int(layers)), path)
    if trainer == "pyrado":
        return save(files.pyrado(int(layers), double=kind == "float64"), path)
    return save(nn.Sequential(nn.Linear(OBSERVATIONS, 16), nn.ELU(), nn.Linear(16, ACTIONS)), path)


def run_file(path: Path, observations: NDArray[np.float32], resets: set[int]) -> NDArray[np.float32]:
    """What torch.jit does with the file; where it has no method that resets it, it is loaded again."""
    module: Any = torch.jit.load(str(path))
    flat = "pyrado" in path.name
    dtype = next(module.parameters()).dtype
    actions = []
    with torch.no_grad():
        for step, observation in enumerate(observations):
            if step in resets:
                if hasattr(module, "reset"):
                    module.reset()
                elif hasattr(module, "reset_memory"):
                    module.reset_memory()
                else:
                    module = torch.jit.load(str(path))
                module.eval()
            x = torch.from_numpy(observation).to(dtype)
            actions.append(module(x if flat else x.unsqueeze(0)).flatten().float().numpy().copy())
    return np.stack(actions)


def observations(steps: int = STEPS, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.0, 1.5, (steps, OBSERVATIONS)).astype(np.float32)


def frozen_with(name: str, value: float) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        module = files.IsaacLabExporter("lstm")
        getattr(module.normalizer, name)[0, 2] = value
        return module

    return make


def with_nan_weight() -> nn.Module:
    module = files.IsaacLabExporter("gru")
    with torch.no_grad():
        module.actor[0].weight[1, 2] = math.nan
    return module


REFUSED = {
    "state-not-restored": files.ResetsHalf,
    "step-not-repeatable": files.Random,
    "state-not-floating": files.TensorCounter,
    "normaliser-updates": files.LearnsAlways,
    "forward-arguments": files.TwoArguments,
    "forward-result": files.ReturnsPair,
    "observation-size-ambiguous": files.AnySize,
    "normaliser-not-finite": frozen_with("_std", math.nan),
    "weights-not-finite": with_nan_weight,
    "state-not-finite": files.StartsInfinite,
    "action-not-finite": files.Divides,
    "forward-missing": files.NoForward,
    "observation-size-unknown": files.Endless,
}
