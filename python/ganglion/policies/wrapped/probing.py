"""Watched steps of a module with random observations and states, and what is said where they fail."""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.errors import ExportError, UnsupportedModuleError
from ganglion.policies.scripting.preparation import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.policies.wrapped.call import Call
    from ganglion.policies.wrapped.parts import ModulePart
    from ganglion.policies.wrapped.results import Returned

_PRIMES = (5, 7, 11, 13, 17, 19, 23)
_RESETS = ("reset", "reset_state", "reset_states", "reset_hidden", "reset_hidden_state", "reset_memory")
WHOLE = "(the module itself)"
MIXES = "a file needs every row for itself:"


class Draw:
    """Random observations and states, the same at every call."""

    def __init__(self, inputs: Sequence[ModulePart], slots: Sequence[ModulePart]) -> None:
        self.inputs = inputs
        used = {length for part in (*inputs, *slots) for length in part.shape}
        free = [prime for prime in _PRIMES if prime not in used]
        self.sizes = (free or [29, 31])[0], (free or [29, 31])[-1]

    def observations(self, rows: int, seed: int = 0) -> list[Tensor]:
        """`[rows, size]` each, within the bounds."""
        generator = torch.Generator().manual_seed(seed)
        return [_within(torch.randn(rows, part.size, generator=generator), part) for part in self.inputs]

    def states(self, slots: Sequence[ModulePart], rows: int, seed: int = 0) -> list[Tensor]:
        """`[rows, size]` each; whole numbers where a slot holds such."""
        generator = torch.Generator().manual_seed(seed + 1000)
        found = []
        for slot in slots:
            values = torch.randn(rows, slot.size, generator=generator)
            initial = slot.initial
            if initial is not None and not initial.is_floating_point():
                values = initial.reshape(1, -1).to(torch.float32).repeat(rows, 1)
                values = values + (0 if initial.dtype == torch.bool else torch.arange(rows)[:, None] % 2)
            found.append(values)
        return found


def clamped(values: Tensor, part: ModulePart) -> Tensor:
    """Observations `[rows, size]` that are not beyond the bounds: a module may take others for an error."""
    if not part.low:
        return values
    return values.clamp(torch.tensor(part.low), torch.tensor(part.high))


def _within(values: Tensor, part: ModulePart) -> Tensor:
    if not part.low:
        return values
    low, high = (torch.tensor(bound, dtype=torch.float64).clamp(-1e6, 1e6) for bound in (part.low, part.high))
    spread = torch.sigmoid(values.double())
    is_open = high - low > 1e5
    return torch.where(is_open, values.double().clamp(low, high), low + spread * (high - low)).float()


class FailedCallError(UnsupportedModuleError):
    """One way to call the module does not work."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.reason = reason


class SeveralRowsError(UnsupportedModuleError):
    """A module takes several rows, but not one."""

    def __init__(self, error: FailedCallError, rows: int) -> None:
        super().__init__(
            error.module_path,
            f"takes {rows} rows, but with one row it {error.reason}. {MIXES} write what it does with the batch "
            "(dim=0) over "
            "the elements of a row",
        )


def attempt(module: nn.Module, run: Any) -> Returned:
    """Runs a step of a module and watches it.

    Raises:
        UnsupportedModuleError: it decides by values, or draws random numbers.
        FailedCallError: it raised something.
    """
    with guarded(module, WHOLE) as path:
        try:
            returned: Returned = run()
        except UnsupportedModuleError:
            raise
        except ExportError as error:
            raise FailedCallError(WHOLE, str(error).removeprefix("forward ")) from error
        except Exception as error:
            raise FailedCallError(
                path[-1], f"raised {type(error).__name__}: {_first_line(error)}{_hint(error)}"
            ) from error
    return returned


def plain_step(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> Returned:
    """A watched step of the module as its user calls it; raises what `attempt` raises."""
    return attempt(module, lambda: call.plain(module, observations, states))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _hint(error: Exception) -> str:
    text = str(error)
    if "CUDA" in text or "cuda" in text or "same device" in text or "different devices" in text:
        return "; a tensor in it stays on its own device: make it with device=obs.device, or register it as a buffer"
    if isinstance(error, IndexError) or "Class values must be" in text:
        return (
            "; of an index that is computed from the observation every value must be in the table: limit it with "
            "torch.clamp, or say the bounds of the observation: observation=gymnasium.spaces.Box(low, high)"
        )
    if "Double" in text or "float64" in text.lower():
        return "; something in it is float64: make it with dtype=obs.dtype, or register it as a buffer"
    return ""


def duplicate(module: nn.Module) -> nn.Module:
    """A copy to step: with the same weights, and buffers and attributes of its own."""
    return copy.deepcopy(module, {id(weight): weight for weight in module.parameters()})


def reset(module: nn.Module) -> str | None:
    """Calls the `reset()` of a module, where it has one that takes no argument; returns its name."""
    for name in _RESETS:
        method = getattr(module, name, None)
        if not callable(method):
            continue
        try:
            inspect.signature(method).bind()
        except (TypeError, ValueError):
            continue
        with contextlib.suppress(NotImplementedError):
            method()
            return name
    return None


def step(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> Returned:
    """One watched step; new states have the shapes that went in.

    Raises:
        UnsupportedModuleError: see `attempt`; or something is float64.
        FailedCallError: it raised, or a new state has another shape.
    """
    returned = attempt(module, lambda: call.run(module, observations, states))
    rows = observations[0].shape[0]
    for slot, form, new in zip(call.slots, call.forms, returned.states, strict=True):
        expected = (*form.shape[: form.axis], rows, *form.shape[form.axis :])
        if tuple(new.shape) != expected:
            raise FailedCallError(
                WHOLE, f"returned the state '{slot.name}' with shape {list(new.shape)}; it went in as {list(expected)}"
            )
    return returned


def in_rows(returned: Returned, call: Call, axes: dict[str, int], rows: int) -> list[tuple[str, Tensor]]:
    """Outputs and states as `[rows, size]` each, with their names."""
    if set(returned.outputs) != set(axes):
        raise FailedCallError(WHOLE, f"gives the outputs {list(returned.outputs)} for {rows} rows, else {list(axes)}")
    found = []
    for name, axis in axes.items():
        tensor = returned.outputs[name]
        if tensor.ndim <= axis or tensor.shape[axis] != rows:
            raise FailedCallError(WHOLE, f"gives the output '{name}' with shape {list(tensor.shape)} for {rows} rows")
        found.append((name, tensor.movedim(axis, 0).reshape(rows, -1).double()))
    found += [
        (slot.name, form.to_rows(new).double())
        for slot, form, new in zip(call.slots, call.forms, returned.states, strict=True)
    ]
    return found
