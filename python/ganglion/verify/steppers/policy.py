"""The Python policy itself."""

from __future__ import annotations

import contextlib
import contextvars
import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from ganglion._foundation.sentences import first_line
from ganglion.errors import GanglionError
from ganglion.verify.steppers.base import FunctionalStepper, to_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ganglion.verify.steppers.base import Floats, Stepper

    Step = Callable[[Floats, Floats], tuple[Sequence[Floats], Floats]]

_REMEMBERED: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar("_REMEMBERED", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Inside, a policy that is given what it was given before answers from memory: it is the reference of many files.

    A policy whose weights were changed meanwhile is another one. Nobody may let go of a policy meanwhile.
    """
    token = _REMEMBERED.set({})
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


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

    return FunctionalStepper("Python policy", "the Python policy", initial, _remembered(function, policy, twin))


def _remembered(function: Step, policy: Any, twin: Any) -> Step:
    known = _REMEMBERED.get()
    if known is None:
        return function
    weights = tuple((name, tensor.numpy().tobytes()) for name, tensor in twin.state_dict().items())
    own = known.setdefault((id(policy), weights), {})

    def again(observation: Floats, state: Floats) -> tuple[Sequence[Floats], Floats]:
        key = (state.dtype.char, observation.shape, observation.tobytes(), state.tobytes())
        if key not in own:
            own[key] = function(observation, state)
        answer: tuple[Sequence[Floats], Floats] = own[key]
        return answer  # nobody writes into it: what is kept of a run is a copy

    return again
