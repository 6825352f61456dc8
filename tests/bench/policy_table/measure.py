"""Largest errors along a run, and times of a step in interleaved rounds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from header_toolchains import PLAIN_HOST, drive, everything

import ganglion
from ganglion.verify import bench, draw_trajectory
from ganglion.verify.steppers.base import run
from ganglion.verify.steppers.runtime import RuntimeStepper

from .rows import TARGETS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from same_actions import Run

STEPS, ROWS = 2000, 3
ENGINES = {".ganglion": ("native",), ".onnx": ("onnxruntime", "native"), ".pt": ("libtorch",)}
_ROUNDS, _STEPS_A_ROUND = 30, 500
_LARGEST_HEADER = 1 << 20
"""Weights in bytes; g++ takes minutes for more."""


def largest(found: Any, expected: Any) -> float:
    """`|found - expected| / max(1, |expected|)`, as `ganglion verify` has it; infinite where something is NaN."""
    expected = np.asarray(expected, np.float64)
    error = np.abs(np.asarray(found, np.float64) - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.where(np.isnan(error), np.inf, error).max())


def of_files(policy: Any, folder: Path) -> dict[str, float | None]:
    """Exports a policy to every target; each engine runs three rows, reset one by one, beside the policy in PyTorch.

    A header is one row: the first.
    """
    contract = ganglion.export(policy, folder / "policy.ganglion", batch=None)
    drawn = draw_trajectory(contract, steps=STEPS, batch=ROWS, seed=0)
    observation = drawn.observation
    expected = everything(policy, observation, drawn.reset)
    errors: dict[str, float | None] = {}
    for target in TARGETS:
        path = folder / f"policy{target}"
        if target == ".hpp":
            ganglion.export(policy, path)
            errors[target] = largest(drive(PLAIN_HOST, folder, observation[:, 0], drawn.reset[:, 0]), expected[:, 0])
            continue
        if target != ".ganglion":
            ganglion.export(policy, path, batch=None)
        errors[target] = max(
            largest(stepped(RuntimeStepper(path, engine=engine, batch=ROWS), drawn), expected)
            for engine in ENGINES[target]
        )
    return errors


def stepped(stepper: Any, trajectory: Any) -> NDArray[np.float32]:
    """Outputs and state of each step, side by side."""
    done = run(stepper, stepper.contract, trajectory)
    if done.failure is not None:
        raise RuntimeError(f"{done.name}: {done.failure}")
    parts = [*done.outputs.values(), *([] if done.state is None else [done.state])]
    return np.concatenate(parts, axis=-1)


@torch.inference_mode()
def from_run(policy: Any, path: Path, told: Run, applied: NDArray[np.float32] | None = None) -> float:
    """Of a policy and its `.ganglion` file, from what a library did.

    Args:
        policy: the policy in PyTorch.
        path: its file.
        told: the library's own run, of one row.
        applied: what was executed in the place of its actions; None for these.
    """
    pilot, hidden = ganglion.load(path), policy.init_hidden()
    ours, flown = [], []
    for step, (observation, reset) in enumerate(zip(told.observation, told.reset, strict=True)):
        if reset:
            pilot.reset()
            hidden = policy.init_hidden()
        action, *_, hidden = policy(torch.from_numpy(observation), hidden)
        ours.append(action.numpy().copy())
        flown.append(np.array(pilot.step(observation), np.float32).reshape(-1))
        if applied is not None:
            hidden = policy.with_applied_action(hidden, torch.from_numpy(applied[step]))
            pilot.set_applied_action(applied[step])
    return max(largest(np.stack(found), told.action) for found in (ours, flown))


def read_bytes(path: Path) -> int:
    """Weights and state of a `.ganglion` file, in bytes: what follows its header (FORMAT.md), and four an element."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        tensors = json.loads(file.read(header))
    ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
    return max(ends, default=0) + 4 * ganglion.inspect(path).hidden_size


def time_steps(rows: Iterable[Row]) -> None:
    """Times the files of rows, each in its turn, and beside them a read of as many bytes; on one CPU."""
    timed = [row for row in rows if row.timed is not None]
    own = [row for row in timed if row.own is not None]
    if not timed:
        return
    found = bench(
        [path for path in (*(row.timed for row in timed), *(row.own for row in own)) if path is not None],
        rounds=_ROUNDS,
        steps=_STEPS_A_ROUND,
        floors=[row.bytes for row in timed],
        pin=max(os.sched_getaffinity(0)),
        fifo=True,
    )
    for row, latency, floor in zip(timed, found.results, found.floors, strict=False):
        row.step_us, row.floor_us = latency.p50_us, floor.p50_us
    for row, latency in zip(own, found.results[len(timed) :], strict=True):
        row.own_us = latency.p50_us


def of_file(
    row: Row, path: Path, folder: Path, told: Run, *, state: Mapping[str, str] | None = None, own: bool = True
) -> None:
    """A file of somebody else, as it came and compiled, beside what its own code made of a run.

    Args:
        row: gets the errors and what is to be timed.
        path: the file.
        folder: where the compiled ones go.
        told: that run, of one row; its `action` holds the outputs that the file has, side by side.
        state: see `ganglion.load`.
        own: its engine is timed, too.
    """
    given: dict[str, Any] = {} if state is None else {"state": state}
    engine = ganglion.load(path, **given).engine
    row.errors = dict.fromkeys(TARGETS)
    if engine != "native":
        row.errors[path.suffix] = largest(flown(ganglion.load(path, **given), told), told.action)
    row.timed = folder / "policy.ganglion"
    ganglion.compile(path, row.timed, **given)
    row.errors[".ganglion"] = largest(flown(ganglion.load(row.timed), told), told.action)
    row.bytes = read_bytes(row.timed)
    if row.bytes <= _LARGEST_HEADER:
        ganglion.compile(path, folder / "policy.hpp", **given)
        found = drive(PLAIN_HOST, folder, told.observation, told.reset)[:, : told.action.shape[1]]
        row.errors[".hpp"] = largest(found, told.action)
    row.from_reference = max(error for error in row.errors.values() if error is not None)
    row.steps = (len(told.observation), int(told.reset.sum()))
    row.own = path if own and engine != "native" else None


def flown(pilot: Any, told: Run) -> NDArray[np.float32]:
    """Outputs of a loaded policy along a run of one row, side by side, as many as the run holds."""
    found = []
    for observation, reset in zip(told.observation, told.reset, strict=True):
        if reset:
            pilot.reset()
        first = np.array(pilot.step(observation), np.float32).reshape(-1)
        others = [pilot.output(index).reshape(-1).copy() for index in range(1, len(pilot.contract.outputs))]
        found.append(np.concatenate([first, *others])[: told.action.shape[1]])
    return np.stack(found)
