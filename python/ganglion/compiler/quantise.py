"""Stores weights small, and measures what that costs.

float16 rounds each weight to the nearest half; int8 gives each row of a matrix its own scale, the largest weight of the
row being 127 steps (symmetric, no zero point). `int8x16` and `int8x8` allow the executor to round the inputs of
products too, to 16 or 8 bits, which is faster where the processor has integer products.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.vocabulary import SCHEMES
from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganglion.compiler.program import Op, Program
    from ganglion.contract import Contract

KINDS = ("affine", "lstm", "gru", "rnn")
"""Operations whose weights are stored small."""

FASTEST_FIRST = {"int8": ("int8x8", "int8x16", "int8")}
"""Schemes that may be taken for the weights that are asked for."""

DEFAULT_TOLERANCE = 1e-2
"""Largest accepted |difference| of an output where none is asked for."""

RunInputs = tuple["NDArray[np.float32]", "NDArray[np.bool_]"]
"""Observations `[steps, rows, n]` and resets `[steps, rows]` of a recorded run."""


def quantised(program: Program, scheme: str) -> Program:
    """A program with the weights stored by a scheme.

    Args:
        program: a float32 program.
        scheme: one of `SCHEMES`.

    Raises:
        ExportError: a weight is too large for float16.
        ValueError: no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"weights '{scheme}': one of {', '.join(SCHEMES)} is needed")
    if scheme == "float32":
        return program
    tensors = dict(program.tensors)
    scales: dict[str, str] = {}
    ops: list[Op] = []
    for op in program.ops:
        if op.kind in KINDS:
            name = op.tensors["weight"]
            if name not in scales:
                tensors[name], scale = _stored(program.tensors[name], scheme, name)
                scales[name] = f"{name.removesuffix('.weight')}.scale" if scale is not None else ""
                if scale is not None:
                    tensors[scales[name]] = scale
            if scales[name]:
                op = dataclasses.replace(op, tensors={**op.tensors, "scale": scales[name]})
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops), tensors=tensors, scheme=scheme)


def _stored(weight: NDArray[np.float32], scheme: str, name: str) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    if scheme == "float16":
        if np.abs(weight).max() > np.finfo(np.float16).max:
            raise ExportError(f"'{name}' has a weight beyond 65,504, the largest float16; use float32 or int8")
        return weight.astype(np.float16), None
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    # A scale so small that it has become 0 belongs to a row without effect.
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8), scale


def worst_error(program: Program, reference: Program, contract: Contract, runs: Sequence[RunInputs]) -> float:
    """Largest |difference| of any output of two programs over some runs, each on its own state."""
    programs = Interpreter(program), Interpreter(reference)
    worst = 0.0
    for observation, reset in runs:
        found, expected = (one.run(contract.initial_state, observation, reset) for one in programs)
        worst = max(worst, float(np.max(np.abs(found.astype(np.float64) - expected))))
    return worst


def accepted(
    program: Program, contract: Contract, schemes: Sequence[str], tolerance: float | None, recording: RunInputs | None
) -> tuple[Program, Contract]:
    """Stores the weights of a program small, if that costs no more than asked for.

    Args:
        program: a float32 program.
        contract: its contract, with a golden trajectory.
        schemes: some of `SCHEMES`, the preferred one first; the first that is accepted is taken.
        tolerance: largest accepted |difference| of an output over the golden trajectory and the recording; None for
            `DEFAULT_TOLERANCE`.
        recording: a recorded run to try as well.

    Returns:
        The program, and the contract with scheme and error in its provenance and a golden trajectory that the new
        program passes.

    Raises:
        ExportError: the error is larger; says how large.
        ValueError: a scheme, `tolerance` or the shape of `recording` is wrong.
    """
    tolerance = DEFAULT_TOLERANCE if tolerance is None else tolerance
    if not 0.0 < tolerance < np.inf:
        raise ValueError(f"the tolerance must be positive and finite, not {tolerance}")
    golden = contract.golden
    assert golden is not None
    runs: list[RunInputs] = [(golden.observation, golden.reset)]
    if recording is not None:
        runs.append(_checked(recording, contract))
    if tuple(schemes) == ("float32",):
        return program, _with_provenance(contract, weights="float32")
    reached: dict[str, float] = {}
    for scheme in schemes:
        small = quantised(program, scheme)
        error = reached[scheme] = worst_error(small, program, contract, runs)
        if error <= tolerance:
            # Every load replays the golden trajectory: what was accepted here must be accepted there.
            allowed = golden.rounding if golden.allowed is None else golden.allowed + np.float32(tolerance)
            golden = dataclasses.replace(golden, tolerance=golden.tolerance + tolerance, rounding=allowed)
            contract = dataclasses.replace(contract, golden=golden)
            return small, _with_provenance(contract, weights=scheme, weights_error=f"{error:.1e}")
    errors = ", ".join(f"{error:.2e} ({scheme})" for scheme, error in reached.items())
    raise ExportError(
        f"{schemes[-1]} weights change an output by up to {errors}, more than the tolerance of {tolerance:.2e}; allow "
        "that much, or use weights of more bits"
    )


def _with_provenance(contract: Contract, **entries: str) -> Contract:
    return dataclasses.replace(contract, provenance={**contract.provenance, **entries})


def _checked(recording: RunInputs, contract: Contract) -> RunInputs:
    observation, reset = np.asarray(recording[0], np.float32), np.asarray(recording[1], np.bool_)
    if observation.ndim != 3 or observation.shape[2] != contract.observation_size or 0 in observation.shape:
        raise ValueError(
            f"the recorded observation has shape {list(observation.shape)}; [steps, rows, {contract.observation_size}] "
            "is needed"
        )
    if reset.shape != observation.shape[:2]:
        raise ValueError(f"the recorded reset has shape {list(reset.shape)}; {list(observation.shape[:2])} is needed")
    if not np.isfinite(observation).all():
        raise ValueError("the recorded observation has an element that is not finite")
    return observation, reset
