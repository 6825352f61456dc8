"""A `.ganglion` file in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.verify.steppers.base import FunctionalStepper, file_of, initial_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ganglion.contract import Contract
    from ganglion.verify.steppers.base import Floats, Stepper


def steppers(path: Path, contract: Contract, batch: int) -> list[Stepper]:
    """The interpreter of the compiler.

    Raises:
        ArtifactError: the file is damaged.
    """
    from ganglion.compiler import file
    from ganglion.compiler.interpreter import Interpreter

    interpreter = Interpreter(file.from_bytes(file_of(path, contract).data)[0])
    ends = np.cumsum([spec.size for spec in contract.outputs])[:-1]

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        outputs, hidden = interpreter.step(observation, state)
        return np.split(outputs, ends, axis=1), hidden

    return [FunctionalStepper("Python program", "NumPy", initial_state(contract, batch), function)]
