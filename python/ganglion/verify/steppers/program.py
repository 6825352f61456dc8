"""A `.ganglion` file in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion.verify.steppers.base import FunctionalStepper, file_of, initial_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ganglion.compiler import Program
    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Floats, Stepper


def steppers(path: Path, contract: Contract, batch: int) -> list[Stepper]:
    """The interpreter of the compiler.

    Raises:
        ArtifactError: the file is damaged.
    """
    from ganglion.compiler import file

    return [program_stepper(file.from_bytes(file_of(path, contract).data)[0], contract, batch)]


def program_stepper(
    program: Program, contract: Contract, batch: int, precision: type[np.floating[Any]] = np.float32
) -> Stepper:
    """A program in float32 or in float64."""
    from ganglion.compiler.interpreter import Interpreter

    interpreter = Interpreter(program, precision)
    ends = np.cumsum([spec.size for spec in contract.outputs])[:-1]

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        outputs, hidden = interpreter.step(observation.astype(precision, copy=False), state)
        return np.split(outputs, ends, axis=1), hidden

    initial = initial_state(contract, batch).astype(precision, copy=False)
    return FunctionalStepper("Python program", "NumPy", initial, function)
