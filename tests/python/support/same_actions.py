"""Whether a policy, and every file and engine made of it, acts as the library did that trained it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from header_toolchains import PLAIN, drive  # lies with the other export tests

import ganglion
from ganglion.verify.steppers import file_steppers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

STEPS = 1000
TOLERANCE = 1e-5
EVERY_FILE = (".pt", ".onnx", ".ganglion", ".hpp")
ENGINES = {".pt": ("libtorch",), ".onnx": ("onnxruntime", "native"), ".ganglion": ("native",)}
"""Engines of the C++ runtime that open a file."""


@dataclass(frozen=True)
class Run:
    """What a library did: `observation [steps, n]`, `reset [steps]` before a step, `action [steps, m]`.

    With several rows at once, there is one more axis behind `steps`.
    """

    observation: NDArray[np.float32]
    reset: NDArray[np.bool_]
    action: NDArray[np.float32]


def resets(random: np.random.Generator, steps: int = STEPS) -> NDArray[np.bool_]:
    """Draws resets before one step of fifty, the first one among them."""
    drawn = random.random(steps) < 0.02
    drawn[0] = True
    return drawn


@torch.inference_mode()
def stepped(policy: Any, observation: Any, reset: Any) -> NDArray[np.float32]:
    """First outputs of a policy along `[steps, n]` or `[steps, rows, n]`, with resets `[steps]` or `[steps, rows]`."""
    observation, reset = torch.as_tensor(observation), torch.as_tensor(reset)
    initial = policy.init_hidden(observation.shape[1]) if observation.ndim == 3 else policy.init_hidden()
    hidden, actions = initial, []
    for values, again in zip(observation, reset, strict=True):
        action, *_, hidden = policy(values, torch.where(again[..., None], initial, hidden))
        actions.append(action.numpy().copy())
    return np.stack(actions)


def check_policy(policy: Any, run: Run, tolerance: float = TOLERANCE) -> None:
    """The policy acts as the library did."""
    _check(stepped(policy, run.observation, run.reset), run, type(policy).__name__, tolerance)


def check_files(policy: Any, run: Run, folder: Path, suffixes: Iterable[str] = EVERY_FILE) -> None:
    """Every engine of every file of the policy acts as the library did; `run` has one row."""
    for suffix in suffixes:
        path = folder / f"policy{suffix}"
        ganglion.export(policy, path)
        check_file(path, run)


def check_file(path: Path, run: Run, tolerance: float = TOLERANCE) -> None:
    """Every engine acts as the library did: those of the C++ runtime, those of Python, or the compiled header."""
    if path.suffix in PLAIN:
        PLAIN[path.suffix].need()
        found = drive(PLAIN[path.suffix], path.parent, run.observation, run.reset)[:, : run.action.shape[1]]
        return _check(found, run, path.name, tolerance)
    for engine in ENGINES[path.suffix]:
        pilot = ganglion.load(path, engine=engine)
        _check(_along(run, pilot.step, pilot.reset), run, f"{path.name}, {engine}", tolerance)
    steppers = file_steppers(path, ganglion.inspect(path), batch=1)
    assert steppers
    everything = np.array([True])
    for stepper in steppers:
        found = _along(run, lambda obs, s=stepper: s.step(obs[None])[0][0], lambda s=stepper: s.reset(everything))
        _check(found, run, f"{path.name}, {stepper.name}", tolerance)
    return None


def _along(run: Run, step: Callable[..., Any], reset: Callable[[], object]) -> NDArray[np.float32]:
    actions = []
    for values, again in zip(run.observation, run.reset, strict=True):
        if again:
            reset()
        actions.append(np.array(step(values), np.float32).reshape(-1))
    return np.stack(actions)


def _check(found: NDArray[np.float32], run: Run, name: str, tolerance: float) -> None:
    np.testing.assert_allclose(found, run.action, rtol=0, atol=tolerance, err_msg=name)
