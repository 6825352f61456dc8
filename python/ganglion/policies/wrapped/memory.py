"""What a module keeps in itself from step to step, as slots; what cannot be one is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.errors import UnsupportedModuleError
from ganglion.policies.wrapped.call import Call, SlotForm
from ganglion.policies.wrapped.held import Held, Leaf, Place, Snapshot, copied, same, snapshot
from ganglion.policies.wrapped.parts import ModulePart
from ganglion.policies.wrapped.probing import (
    WHOLE,
    Draw,
    FailedCallError,
    SeveralRowsError,
    duplicate,
    plain_step,
    reset,
)

if TYPE_CHECKING:
    from ganglion.policies.wrapped.call import Call
    from ganglion.policies.wrapped.results import Returned


def with_held(module: nn.Module, call: Call, draw: Draw, rows: int) -> Call:
    """Adds to a call what the module keeps in itself: found by two steps.

    Args:
        module: the module.
        call: a call whose states are arguments alone.
        draw: random values.
        rows: batch size at which the module is stepped as it is.

    Raises:
        FailedCallError: the call does not work with so many rows.
        UnsupportedModuleError: something that is kept cannot be a slot; names it.
    """
    states = given_states(call, draw, rows)
    _refuse_many_rows_only(module, call, draw, rows, states)
    original = duplicate(module)
    reset(original)
    before = snapshot(original)
    seen: list[Snapshot] = []
    first: Returned | None = None
    for step in range(2):
        returned = plain_step(original, call, draw.observations(rows, step), states)
        first = first or returned
        seen.append(snapshot(original))
    changed = [leaf for leaf in seen[1] if not same(seen[1][leaf], before.get(leaf))]
    changed += [leaf for leaf in before if leaf not in seen[1]]
    places = list(dict.fromkeys(leaf.place for leaf in changed))
    if not places:
        _refuse_other_memory(module, call, draw, rows, states)
        return call
    _refuse_what_is_no_tensor(seen, places)
    templates = {place: copied(place.get(original)) for place in places}
    leaves = [leaf for leaf, value in seen[1].items() if leaf.place in templates and isinstance(value, Tensor)]
    values = {leaf: before.get(leaf) for leaf in leaves}
    lazy = {leaf: torch.zeros_like(seen[1][leaf]) for leaf, value in values.items() if not isinstance(value, Tensor)}
    initial: dict[Leaf, Tensor] = {leaf: value for leaf, value in values.items() if isinstance(value, Tensor)} | lazy
    initial = _reaching(module, call, draw, rows, states, templates, initial)
    if not initial:
        return dataclasses.replace(call, held=Held(templates))
    return _as_slots(module, call, draw, rows, states, templates, initial, first)


def given_states(call: Call, draw: Draw, rows: int) -> list[Tensor]:
    """Random values for the states that are arguments, as the module takes them."""
    return [
        form.from_rows(values, None if slot.initial is None or slot.initial.is_floating_point() else slot.initial.dtype)
        for form, slot, values in zip(call.forms, call.given, draw.states(call.given, rows), strict=True)
    ]


def _refuse_many_rows_only(module: nn.Module, call: Call, draw: Draw, rows: int, states: list[Tensor]) -> None:
    """What takes some rows, but not one, needs the others for something."""
    if rows > 1:
        return
    try:
        plain_step(duplicate(module), call, draw.observations(1), states)
    except FailedCallError as error:
        several = draw.sizes[0]
        with contextlib.suppress(FailedCallError):
            plain_step(duplicate(module), call, draw.observations(several), given_states(call, draw, several))
            raise SeveralRowsError(error, several) from error


def _refuse_other_memory(module: nn.Module, call: Call, draw: Draw, rows: int, states: list[Tensor]) -> None:
    """Two equal steps of a module that keeps nothing must be equal."""
    first, second = (plain_step(module, call, draw.observations(rows), states) for _ in range(2))
    if any(not torch.equal(a, b) for a, b in _pairs(first, second)):
        raise UnsupportedModuleError(
            WHOLE,
            "two steps from the same state with the same observation differ, and no tensor of the module has "
            "changed: it draws random numbers outside of torch, or keeps its state outside of the module. Keep the "
            "state in a tensor attribute, or pass it through forward",
        )


def _pairs(a: Returned, b: Returned) -> list[tuple[Tensor, Tensor]]:
    return list(zip((*a.outputs.values(), *a.states), (*b.outputs.values(), *b.states), strict=True))


def _refuse_what_is_no_tensor(seen: list[Snapshot], places: list[Place]) -> None:
    for leaf in dict.fromkeys((*seen[0], *seen[1])):
        a, b = seen[0].get(leaf), seen[1].get(leaf)
        if leaf.place not in places or (leaf in seen[0] and leaf in seen[1] and same(a, b)):
            continue
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype:
            continue
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            what = "has tensors that come, go or change their shape from step to step"
            remedy = "keep one tensor of fixed shape (for a history: torch.roll), filled by reset()"
        else:
            kind = type(b if leaf in seen[1] else a).__name__
            what = f"is a {kind} that changes from step to step: state outside of tensors"
            remedy = f"make it a tensor, self.register_buffer('{leaf.place.name}', torch.zeros(1)), or leave it out"
        raise UnsupportedModuleError(leaf.place.owner or WHOLE, f"self.{leaf.place.name} {what}; {remedy}")


def _reaching(
    module: nn.Module,
    call: Call,
    draw: Draw,
    rows: int,
    states: list[Tensor],
    templates: dict[Place, Any],
    initial: dict[Leaf, Tensor],
) -> dict[Leaf, Tensor]:
    """Those leaves that outputs or new states come to depend on; the others are notes of the last step."""
    held = Held(templates, tuple(initial))

    def step(values: dict[Leaf, Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        with held.placed(module, values) as read:
            returned = plain_step(module, call, draw.observations(rows, 2), states)
            try:
                return [*returned.outputs.values(), *returned.states], read()
            except (LookupError, TypeError) as error:
                raise FailedCallError(WHOLE, f"needs a tensor where it keeps its state: {error}") from error

    generator = torch.Generator().manual_seed(3)
    somewhere = {leaf: _moved(value, generator) for leaf, value in initial.items()}
    outputs, after = step(somewhere)
    reaches: dict[Leaf, set[Leaf]] = {}
    kept: set[Leaf] = set()
    for leaf in initial:
        reaches[leaf] = set()
        for _ in range(2):
            found, later = step(somewhere | {leaf: _moved(somewhere[leaf], generator)})
            if any(not torch.equal(a, b) for a, b in zip(outputs, found, strict=True)):
                kept.add(leaf)
            reaches[leaf] |= {other for other, a, b in zip(initial, after, later, strict=True) if not torch.equal(a, b)}
    while more := {leaf for leaf in initial if leaf not in kept and reaches[leaf] & kept}:
        kept |= more
    return {leaf: value for leaf, value in initial.items() if leaf in kept}


def _moved(value: Tensor, generator: torch.Generator) -> Tensor:
    if value.dtype == torch.bool:
        return ~value
    if not value.is_floating_point():
        return value + 1
    return value + torch.randn(value.shape, generator=generator).to(value.dtype)


def _as_slots(
    module: nn.Module,
    call: Call,
    draw: Draw,
    rows: int,
    states: list[Tensor],
    templates: dict[Place, Any],
    initial: dict[Leaf, Tensor],
    first: Returned | None,
) -> Call:
    """The call with slots for leaves; the first step from their initial values must be that of the module itself."""
    held = Held(templates, tuple(initial))
    with held.placed(module, initial):
        again = plain_step(module, call, draw.observations(rows, 0), states)
    assert first is not None
    if any(a.shape != b.shape or not torch.allclose(a, b, 1e-5, 1e-6) for a, b in _pairs(first, again)):
        names = ", ".join(f"self.{leaf}" for leaf in initial)
        raise UnsupportedModuleError(
            WHOLE,
            f"its first step is another than one from zeros in {names}, which it makes at the first step; give them "
            "their first values as tensors in __init__ and reset()",
        )
    taken = {slot.name for slot in call.slots}
    parts, forms = [], []
    for leaf, value in initial.items():
        name = leaf.slot_name
        while name in taken:
            name = f"{name}_held"
        taken.add(name)
        axes = [axis for axis, length in enumerate(value.shape) if length == rows]
        if not axes:
            raise FailedCallError(
                leaf.place.owner or WHOLE,
                f"keeps state without a batch axis in self.{leaf} {list(value.shape)}; keep it as "
                f"[1, {', '.join(map(str, value.shape))}]",
            )
        axis = axes[0]
        one = value.select(axis, 0)
        if rows > 1 and not torch.equal(value, one.unsqueeze(axis).expand_as(value)):
            raise UnsupportedModuleError(
                leaf.place.owner or WHOLE,
                f"self.{leaf} {list(value.shape)} begins with different rows; reset it first",
            )
        parts.append(ModulePart(name, tuple(one.shape), initial=one.detach().clone()))
        forms.append(SlotForm(tuple(one.shape), axis))
    return dataclasses.replace(call, slots=(*call.slots, *parts), forms=(*call.forms, *forms), held=held)
