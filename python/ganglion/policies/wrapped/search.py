"""Finds by running how a module is called, where batch axes lie, and what it keeps in itself."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganglion.errors import ExportError, UnsupportedModuleError
from ganglion.policies.scripting.preparation import guarded
from ganglion.policies.wrapped.call import Call, SlotForm, candidates
from ganglion.policies.wrapped.held import Held, Leaf, Place, Snapshot, copied, same, snapshot
from ganglion.policies.wrapped.parts import Part
from ganglion.policies.wrapped.rows import first_mixing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ganglion.policies.wrapped.results import Centre, Returned

_PRIMES = (5, 7, 11, 13, 17, 19, 23)
_MOST_LAYOUTS = 64
_MOST_ROWS_TRIED = 8
_RESETS = ("reset", "reset_state", "reset_states", "reset_hidden", "reset_hidden_state", "reset_memory")
_WHOLE = "(the module itself)"
_MIXES = "a file needs every row for itself:"


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


def find_call(module: nn.Module, inputs: tuple[Part, ...], slots: tuple[Part, ...], centre: Centre) -> Found:
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
                    whole = _with_held(module, partial, draw, rows)
                    found = _batched(module, whole, draw, rows)
                    if found is not None:
                        return found
    raise failures.error()


class Draw:
    """Random observations and states, the same at every call."""

    def __init__(self, inputs: Sequence[Part], slots: Sequence[Part]) -> None:
        self.inputs = inputs
        used = {length for part in (*inputs, *slots) for length in part.shape}
        free = [prime for prime in _PRIMES if prime not in used]
        self.sizes = (free or [29, 31])[0], (free or [29, 31])[-1]

    def observations(self, rows: int, seed: int = 0) -> list[Tensor]:
        """`[rows, size]` each, within the bounds."""
        generator = torch.Generator().manual_seed(seed)
        return [_within(torch.randn(rows, part.size, generator=generator), part) for part in self.inputs]

    def states(self, slots: Sequence[Part], rows: int, seed: int = 0) -> list[Tensor]:
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


def _within(values: Tensor, part: Part) -> Tensor:
    if not part.low:
        return values
    low, high = (torch.tensor(bound, dtype=torch.float64).clamp(-1e6, 1e6) for bound in (part.low, part.high))
    spread = torch.sigmoid(values.double())
    is_open = high - low > 1e5
    return torch.where(is_open, values.double().clamp(low, high), low + spread * (high - low)).float()


class _Failures:
    """What was tried; tells what to say of it."""

    def __init__(self, module: nn.Module, inputs: tuple[Part, ...], slots: tuple[Part, ...]) -> None:
        self._module, self._inputs, self._slots = module, inputs, slots
        self._found: list[tuple[Call, str, str]] = []
        self.has_mixed = False

    @contextlib.contextmanager
    def collected(self, call: Call) -> Iterator[None]:
        try:
            yield
        except _FailedCallError as error:
            self._found.append((call, error.module_path, error.reason))
            self.has_mixed |= error.reason.startswith(_MIXES)

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


_STAGES = ("raised", "returned", "gives", "needs", "keeps", _MIXES)


def _progress(text: str) -> int:
    return next((index for index, word in enumerate(_STAGES) if text.startswith(word)), 0)


class _FailedCallError(UnsupportedModuleError):
    """One way to call the module does not work."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.reason = reason


class _SeveralRowsError(UnsupportedModuleError):
    """A module takes several rows, but not one."""

    def __init__(self, error: _FailedCallError, rows: int) -> None:
        super().__init__(
            error.module_path,
            f"takes {rows} rows, but with one row it {error.reason}. {_MIXES} write what it does with the batch "
            "(dim=0) over "
            "the elements of a row",
        )


def attempt(module: nn.Module, run: Any) -> Returned:
    """Runs a step of a module and watches it.

    Raises:
        UnsupportedModuleError: it decides by values, or draws random numbers.
        _FailedCallError: it raised something.
    """
    with guarded(module, _WHOLE) as path:
        try:
            returned: Returned = run()
        except UnsupportedModuleError:
            raise
        except ExportError as error:
            raise _FailedCallError(_WHOLE, str(error).removeprefix("forward ")) from error
        except Exception as error:
            raise _FailedCallError(
                path[-1], f"raised {type(error).__name__}: {_first_line(error)}{_hint(error)}"
            ) from error
    return returned


def _plain(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> Returned:
    return attempt(module, lambda: call.plain(module, observations, states))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _hint(error: Exception) -> str:
    text = str(error)
    if "CUDA" in text or "cuda" in text or "same device" in text or "different devices" in text:
        return "; a tensor in it stays on its own device: make it with device=obs.device, or register it as a buffer"
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


def _layouts(slots: Sequence[Part]) -> Iterator[tuple[SlotForm, ...]]:
    """Where the batch axes of the states could lie; all alike first."""
    options = [_slot_forms(slot) for slot in slots]
    alike = list(zip(*options, strict=False)) if slots else [()]
    yield from dict.fromkeys(itertools.islice(itertools.chain(alike, itertools.product(*options)), _MOST_LAYOUTS))


def _slot_forms(slot: Part) -> list[SlotForm]:
    shape = slot.shape
    forms = [SlotForm(shape, axis) for axis in range(len(shape) + 1)]
    if len(shape) == 1:  # recurrent layers of torch have one more axis, for layers
        forms += [SlotForm((1, *shape), 1), SlotForm((1, *shape), 0)]
    return forms


def _with_held(module: nn.Module, call: Call, draw: Draw, rows: int) -> Call:
    """Adds what the module keeps in itself: found by two steps."""
    states = _given(call, draw, rows)
    _refuse_many_rows_only(module, call, draw, rows, states)
    original = duplicate(module)
    reset(original)
    before = snapshot(original)
    seen: list[Snapshot] = []
    first: Returned | None = None
    for step in range(2):
        returned = _plain(original, call, draw.observations(rows, step), states)
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


def _refuse_many_rows_only(module: nn.Module, call: Call, draw: Draw, rows: int, states: list[Tensor]) -> None:
    """What takes some rows, but not one, needs the others for something."""
    if rows > 1:
        return
    try:
        _plain(duplicate(module), call, draw.observations(1), states)
    except _FailedCallError as error:
        several = draw.sizes[0]
        with contextlib.suppress(_FailedCallError):
            _plain(duplicate(module), call, draw.observations(several), _given(call, draw, several))
            raise _SeveralRowsError(error, several) from error


def _given(call: Call, draw: Draw, rows: int) -> list[Tensor]:
    return [
        form.from_rows(values, None if slot.initial is None or slot.initial.is_floating_point() else slot.initial.dtype)
        for form, slot, values in zip(call.forms, call.given, draw.states(call.given, rows), strict=True)
    ]


def _refuse_other_memory(module: nn.Module, call: Call, draw: Draw, rows: int, states: list[Tensor]) -> None:
    """Two equal steps of a module that keeps nothing must be equal."""
    first, second = (_plain(module, call, draw.observations(rows), states) for _ in range(2))
    if any(not torch.equal(a, b) for a, b in _pairs(first, second)):
        raise UnsupportedModuleError(
            _WHOLE,
            "two steps from the same state with the same observation differ, and no tensor of the module has "
            "changed: it "
            "draws random numbers outside of torch, or keeps its state outside of the module. Keep the state in a "
            "tensor "
            "attribute, or pass it through forward",
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
        raise UnsupportedModuleError(leaf.place.owner or _WHOLE, f"self.{leaf.place.name} {what}; {remedy}")


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
            returned = _plain(module, call, draw.observations(rows, 2), states)
            try:
                return [*returned.outputs.values(), *returned.states], read()
            except (LookupError, TypeError) as error:
                raise _FailedCallError(_WHOLE, f"needs a tensor where it keeps its state: {error}") from error

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
        again = _plain(module, call, draw.observations(rows, 0), states)
    assert first is not None
    if any(a.shape != b.shape or not torch.allclose(a, b, 1e-5, 1e-6) for a, b in _pairs(first, again)):
        names = ", ".join(f"self.{leaf}" for leaf in initial)
        raise UnsupportedModuleError(
            _WHOLE,
            f"its first step is another than one from zeros in {names}, which it makes at the first step; give them "
            "their "
            "first values as tensors in __init__ and reset()",
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
            raise _FailedCallError(
                leaf.place.owner or _WHOLE,
                f"keeps state without a batch axis in self.{leaf} {list(value.shape)}; keep it as "
                f"[1, {', '.join(map(str, value.shape))}]",
            )
        axis = axes[0]
        one = value.select(axis, 0)
        if rows > 1 and not torch.equal(value, one.unsqueeze(axis).expand_as(value)):
            raise UnsupportedModuleError(
                leaf.place.owner or _WHOLE,
                f"self.{leaf} {list(value.shape)} begins with different rows; reset it first",
            )
        parts.append(Part(name, tuple(one.shape), initial=one.detach().clone()))
        forms.append(SlotForm(tuple(one.shape), axis))
    return dataclasses.replace(call, slots=(*call.slots, *parts), forms=(*call.forms, *forms), held=held)


def _batched(module: nn.Module, call: Call, draw: Draw, rows: int) -> Found | None:
    """Tries a call with several batch sizes and, for what the module keeps in itself, with all possible axes."""
    count = len(call.given)
    problem: _FailedCallError | None = None
    for axes in itertools.product(*(_axes(form) for form in call.forms[count:])):
        held = tuple(SlotForm(form.shape, axis) for form, axis in zip(call.forms[count:], axes, strict=True))
        whole = dataclasses.replace(call, forms=(*call.forms[:count], *held))
        try:
            output_axes = _batch_axes(module, whole, draw)
            mixing = _check_rows(module, whole, draw, output_axes)
        except _FailedCallError as error:
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


def step(module: nn.Module, call: Call, observations: Sequence[Tensor], states: Sequence[Tensor]) -> Returned:
    """One watched step; new states have the shapes that went in.

    Raises:
        UnsupportedModuleError: see `attempt`; or something is float64.
        _FailedCallError: it raised, or a new state has another shape.
    """
    returned = attempt(module, lambda: call.run(module, observations, states))
    rows = observations[0].shape[0]
    for slot, form, new in zip(call.slots, call.forms, returned.states, strict=True):
        expected = (*form.shape[: form.axis], rows, *form.shape[form.axis :])
        if tuple(new.shape) != expected:
            raise _FailedCallError(
                _WHOLE, f"returned the state '{slot.name}' with shape {list(new.shape)}; it went in as {list(expected)}"
            )
    return returned


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
            raise _FailedCallError(
                _WHOLE,
                f"gives the output '{name}' with shape {shapes[0]} for {few} rows and {shapes[1]} for {many}: no axis "
                "for rows; leave it out in a small module around this one",
            )
        axes[name] = found[0]
    return axes


def _check_rows(module: nn.Module, call: Call, draw: Draw, axes: dict[str, int]) -> _FailedCallError | None:
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
                    return _FailedCallError(
                        path or _WHOLE, "gives its rows to a layer that takes them for steps of time"
                    )
                return _FailedCallError(
                    path or _WHOLE,
                    f"{_MIXES} '{name}' of row {row} depend on other rows of the batch. Average over the elements of a "
                    "row (dim=-1) instead of the batch, keep running statistics (torch.nn.BatchNorm in eval mode), and "
                    "use .reshape(obs.shape[0], -1), not .view(1, -1)",
                )
    return None


def in_rows(returned: Returned, call: Call, axes: dict[str, int], rows: int) -> list[tuple[str, Tensor]]:
    """Outputs and states as `[rows, size]` each, with their names."""
    if set(returned.outputs) != set(axes):
        raise _FailedCallError(_WHOLE, f"gives the outputs {list(returned.outputs)} for {rows} rows, else {list(axes)}")
    found = []
    for name, axis in axes.items():
        tensor = returned.outputs[name]
        if tensor.ndim <= axis or tensor.shape[axis] != rows:
            raise _FailedCallError(_WHOLE, f"gives the output '{name}' with shape {list(tensor.shape)} for {rows} rows")
        found.append((name, tensor.movedim(axis, 0).reshape(rows, -1).double()))
    found += [
        (slot.name, form.to_rows(new).double())
        for slot, form, new in zip(call.slots, call.forms, returned.states, strict=True)
    ]
    return found
