"""The Python policy itself."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ganglion._foundation.sentences import first_line
from ganglion.errors import GanglionError
from ganglion.verify.steppers.base import FunctionalStepper, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.verify.steppers.base import Floats, Stepper


def policy_stepper(policy: Any, *, batch: int) -> Stepper:
    """Steps a Python policy: a copy on the CPU, in float32 and evaluation mode; the policy itself is not touched.

    Args:
        policy: a `ganglion.policies.RecurrentPolicy`.
        batch: number of rows.

    Raises:
        GanglionError: the policy cannot be copied.
    """
    import torch

    try:
        twin = copy.deepcopy(policy).to(device="cpu", dtype=torch.float32).eval()
    except RuntimeError as error:
        raise GanglionError(f"{type(policy).__name__} cannot be copied: {first_line(error)}") from error
    with torch.inference_mode():
        initial = to_numpy(twin.init_hidden(batch))

    def function(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        with torch.inference_mode():
            *outputs, hidden = twin(torch.from_numpy(observation), torch.from_numpy(state))
        return [to_numpy(output) for output in outputs], to_numpy(hidden)

    return FunctionalStepper("Python policy", "the Python policy", initial, function)
