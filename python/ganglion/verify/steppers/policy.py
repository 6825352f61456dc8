"""The Python policy itself."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.errors import GanglionError
from ganglion.verify.steppers.base import FunctionalStepper, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.verify.steppers.base import Floats, Stepper


def policy_stepper(policy: Any, *, batch: int, precision: type[np.floating[Any]] = np.float32) -> Stepper:
    """Steps a Python policy: a copy on the CPU, in evaluation mode; the policy itself is not touched.

    Args:
        policy: a `ganglion.policies.RecurrentPolicy`.
        batch: number of rows.
        precision: float32, or float64 for the same weights in float64.

    Raises:
        GanglionError: the policy cannot be copied.
    """
    import torch

    from ganglion.policies.scripting.preparation import widened

    try:
        twin = copy.deepcopy(policy).to(device="cpu", dtype=torch.float32).eval()
    except RuntimeError as error:
        raise GanglionError(f"{type(policy).__name__} cannot be copied: {first_line(error)}") from error
    with torch.inference_mode():
        initial = to_numpy(twin.init_hidden(batch)).astype(precision, copy=False)
    if precision is np.float64:
        twin = widened(twin)

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        with torch.inference_mode():
            given = torch.from_numpy(observation.astype(precision, copy=False))
            *outputs, hidden = twin(given, torch.from_numpy(state))
        return [to_numpy(output, precision) for output in outputs], to_numpy(hidden, precision)

    return FunctionalStepper("Python policy", "the Python policy", initial, function)
