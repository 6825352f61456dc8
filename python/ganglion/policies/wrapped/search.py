"""Finds by running how a module is called, and where the batch axis of each tensor lies."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganglion.errors import UnsupportedModuleError
from ganglion.policies.wrapped.call import Call, SlotForm, candidates
from ganglion.policies.wrapped.held import snapshot
from ganglion.policies.wrapped.memory import with_held
from ganglion.policies.wrapped.probing import MIXES, WHOLE, Draw, FailedCallError, in_rows, step
from ganglion.policies.wrapped.rows import first_mixing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ganglion.policies.wrapped.call import Call
    from ganglion.policies.wrapped.parts import ModulePart
    from ganglion.policies.wrapped.results import Centre, Returned

_MOST_LAYOUTS = 64
_MOST_ROWS_TRIED = 8
_STAGES = ("raised", "returned", "gives", "needs", "keeps", MIXES)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """How a module is called.

    Attributes:
        call: the call, complete.
        output_axes: batch axis of each output.
        rows: batch size at which the module itself can be called: 1, or the one that its own state was made for.
    """

    call: Call
    output_axes: dict[str, int]
    rows: int


def find_call(
    module: nn.Module, inputs: tuple[ModulePart, ...], slots: tuple[ModulePart, ...], centre: Centre
) -> Found:
    """Finds how to call a module.

    Args:
        module: a copy in eval mode, on the CPU, in float32.
        inputs: observations.
        slots: states that go in as arguments.
        centre: what becomes of a distribution.

    Raises:
        UnsupportedModuleError: no call works, the rows of a batch depend on each other, it draws random numbers,
            decides by values, or keeps something between steps that is no tensor; names the module and why.
    """
    draw = Draw(inputs, slots)
    failures = _Failures(module, inputs, slots)
    for call in candidates(module, inputs, slots, centre):
        if call.time_axis is not None and failures.has_mixed:
            break  # an axis of length one would only hide what the rows have to do with each other
        for rows in _batch_sizes(module):
            for forms in _layouts(slots):
                partial = dataclasses.replace(call, forms=forms)
                with failures.collected(partial):
                    whole = with_held(module, partial, draw, rows)
                    found = _batched(module, whole, draw, rows)
                    if found is not None:
                        return found
    raise failures.error()


class _Failures:
    """What was tried; tells what to say of it."""

    def __init__(self, module: nn.Module, inputs: tuple[ModulePart, ...], slots: tuple[ModulePart, ...]) -> None:
        self._module, self._inputs, self._slots = module, inputs, slots
        self._found: list[tuple[Call, str, str]] = []
        self.has_mixed = False

    @contextlib.contextmanager
    def collected(self, call: Call) -> Iterator[None]:
        try:
            yield
        except FailedCallError as error:
            self._found.append((call, error.module_path, error.reason))
            self.has_mixed |= error.reason.startswith(MIXES)

    def error(self) -> UnsupportedModuleError:
        # A call that came further says more of what is wrong than the first guess; of equals the first.
        call, path, text = max(self._found, key=lambda item: _progress(item[2]))
        tried = len({str(call) for call, _, _ in self._found})
        others = f" ({tried} ways to call it were tried)" if tried > 1 else ""
        return UnsupportedModuleError(
            path,
            f"{call} {text}{others}. Give `observation` and `state` as forward takes them, without the batch axis, or "
            "write a RecurrentPolicy around the module",
        )


def _progress(text: str) -> int:
    return next((index for index, word in enumerate(_STAGES) if text.startswith(word)), 0)


def _batch_sizes(module: nn.Module) -> list[int]:
    """One row, and those that a state of the module could be made for."""
    lengths = [
        length
        for value in snapshot(module).values()
        if isinstance(value, Tensor) and value.ndim >= 2
        for length in value.shape[:2]
        if length > 1
    ]
    return list(dict.fromkeys([1, *lengths]))[:_MOST_ROWS_TRIED]


def _layouts(slots: Sequence[ModulePart]) -> Iterator[tuple[SlotForm, ...]]:
    """Where the batch axes of the states could lie; all alike first."""
    options = [_slot_forms(slot) for slot in slots]
    alike = list(zip(*options, strict=False)) if slots else [()]
    yield from dict.fromkeys(itertools.islice(itertools.chain(alike, itertools.product(*options)), _MOST_LAYOUTS))


def _slot_forms(slot: ModulePart) -> list[SlotForm]:
    shape = slot.shape
    forms = [SlotForm(shape, axis) for axis in range(len(shape) + 1)]
    if len(shape) == 1:  # recurrent layers of torch have one more axis, for layers
        forms += [SlotForm((1, *shape), 1), SlotForm((1, *shape), 0)]
    return forms


def _batched(module: nn.Module, call: Call, draw: Draw, rows: int) -> Found | None:
    """Tries a call with several batch sizes and, for what the module keeps in itself, with all possible axes."""
    count = len(call.given)
    problem: FailedCallError | None = None
    for axes in itertools.product(*(_axes(form) for form in call.forms[count:])):
        held = tuple(SlotForm(form.shape, axis) for form, axis in zip(call.forms[count:], axes, strict=True))
        whole = dataclasses.replace(call, forms=(*call.forms[:count], *held))
        try:
            output_axes = _batch_axes(module, whole, draw)
            mixing = _check_rows(module, whole, draw, output_axes)
        except FailedCallError as error:
            problem = problem or error
            continue
        if mixing is None:
            return Found(whole, output_axes, rows)
        problem = problem or mixing
    assert problem is not None
    raise problem


def _axes(form: SlotForm) -> list[int]:
    """Axes of a held state that may be the one of the batch: where it had one element."""
    others = [axis for axis in range(len(form.shape) + 1) if axis != form.axis]
    whole = [*form.shape[: form.axis], 1, *form.shape[form.axis :]]
    return [form.axis, *(axis for axis in others if whole[axis] == 1)]


def _run(module: nn.Module, call: Call, draw: Draw, rows: int) -> Returned:
    observations, states = draw.observations(rows), draw.states(call.slots, rows)
    return step(module, call, observations, states)


def _batch_axes(module: nn.Module, call: Call, draw: Draw) -> dict[str, int]:
    """The axis of each output that grows with the batch."""
    few, many = draw.sizes
    a, b = _run(module, call, draw, few), _run(module, call, draw, many)
    axes = {}
    for name, first in a.outputs.items():
        second = b.outputs.get(name)
        shapes = list(first.shape), None if second is None else list(second.shape)
        found = [
            axis
            for axis in range(first.ndim)
            if second is not None
            and second.ndim == first.ndim
            and (first.shape[axis], second.shape[axis]) == (few, many)
        ]
        if len(found) != 1:
            raise FailedCallError(
                WHOLE,
                f"gives the output '{name}' with shape {shapes[0]} for {few} rows and {shapes[1]} for {many}: no axis "
                "for rows; leave it out in a small module around this one",
            )
        axes[name] = found[0]
    return axes


def _check_rows(module: nn.Module, call: Call, draw: Draw, axes: dict[str, int]) -> FailedCallError | None:
    """Runs rows together and each alone; anything else than the same is a dependence on the batch."""
    rows = draw.sizes[0]
    observations, states = draw.observations(rows), draw.states(call.slots, rows)
    together = in_rows(step(module, call, observations, states), call, axes, rows)
    for row in range(rows):
        alone = in_rows(
            step(module, call, [o[row : row + 1] for o in observations], [s[row : row + 1] for s in states]),
            call,
            axes,
            1,
        )
        for (name, whole), (_, one) in zip(together, alone, strict=True):
            scale = max(1.0, float(whole.abs().max()))
            if whole.shape != (rows, *one.shape[1:]) or not torch.allclose(whole[row], one[0], 1e-3, 1e-4 * scale):
                path = first_mixing(module, call, observations, states)
                kind = None if path is None else module.get_submodule(path)
                if call.time_axis is None and isinstance(kind, (nn.RNNBase, nn.MultiheadAttention)):
                    return FailedCallError(path or WHOLE, "gives its rows to a layer that takes them for steps of time")
                return FailedCallError(
                    path or WHOLE,
                    f"{MIXES} '{name}' of row {row} depend on other rows of the batch. Average over the elements of a "
                    "row (dim=-1) instead of the batch, keep running statistics (torch.nn.BatchNorm in eval mode), and "
                    "use .reshape(obs.shape[0], -1), not .view(1, -1)",
                )
    return None
