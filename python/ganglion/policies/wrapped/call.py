"""How a module is called: the form of its arguments, where the batch axis of each tensor lies, a time axis or none."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ganglion.policies.wrapped.held import Held
from ganglion.policies.wrapped.results import Centre, Returned, read_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ganglion.policies.wrapped.parts import ModulePart

InputForm = Literal["names", "dictionary", "TensorDict", "order"]
StateForm = Literal["none", "tensor", "tuple", "dictionary", "order", "names", "beside the observations"]

_STATE_PARAMETERS = (
    "state", "states", "hidden", "hidden_state", "hidden_states", "hx", "h", "rnn_state", "rnn_states", "memory",
    "carry",
)  # fmt: skip


@dataclass(frozen=True)
class SlotForm:
    """How the module takes a state: the shape of one row, and where the batch axis goes in."""

    shape: tuple[int, ...]
    axis: int

    def from_rows(self, rows: Tensor, dtype: torch.dtype | None) -> Tensor:
        """`[batch, size]` as the module takes it."""
        tensor = rows.reshape(rows.shape[0], *self.shape).movedim(0, self.axis)
        return tensor if dtype is None else tensor.to(dtype)

    def to_rows(self, tensor: Tensor) -> Tensor:
        """The inverse of `from_rows`, but for the type."""
        moved = tensor.movedim(self.axis, 0)
        return moved.reshape(moved.shape[0], -1)


@dataclass(frozen=True, eq=False)
class Call:
    """One way to call a module.

    Attributes:
        inputs: observations in the order of the contract.
        input_form: how they go in: as arguments of their names, in one dictionary, or as arguments in their order.
        time_axis: None, or the axis of length one (of the batched tensor) that observations have for time.
        slots: states in the order of the contract: those that are arguments first, then those in `held`.
        state_form: how the former go in.
        state_name: the keyword that they go in by; None for the argument behind the observations.
        forms: the form of each slot.
        held: what the module keeps in itself.
        centre: what becomes of a distribution.
    """

    inputs: tuple[ModulePart, ...]
    input_form: InputForm = "order"
    time_axis: int | None = None
    slots: tuple[ModulePart, ...] = ()
    state_form: StateForm = "none"
    state_name: str | None = None
    forms: tuple[SlotForm, ...] = ()
    held: Held = field(default_factory=Held)
    centre: Centre = "mean"

    @property
    def given(self) -> tuple[ModulePart, ...]:
        """The slots that are arguments."""
        return self.slots[: len(self.slots) - len(self.held.leaves)]

    def run(self, module: nn.Module, observations: Sequence[Tensor], states: Sequence[Tensor]) -> Returned:
        """Calls the module for one step and leaves it as it was.

        Args:
            module: the module.
            observations: `[batch, size]` each.
            states: `[batch, size]` for each slot.

        Returns:
            Outputs as the module gave them, and new states as the module has them.
        """
        dtypes = [None if slot.initial is None else slot.initial.dtype for slot in self.slots]
        tensors = [
            form.from_rows(rows, dtype if dtype is not None and not dtype.is_floating_point else None)
            for form, rows, dtype in zip(self.forms, states, dtypes, strict=True)
        ]
        count = len(self.given)
        values = dict(zip(self.held.leaves, tensors[count:], strict=True))
        with self.held.placed(module, values) as read:
            returned = self.plain(module, observations, tensors[:count])
            return Returned(returned.outputs, (*returned.states, *read()))

    def plain(self, module: nn.Module, observations: Sequence[Tensor], given: Sequence[Tensor]) -> Returned:
        """Calls the module as its user does: what it keeps in itself goes on from step to step.

        Args:
            module: the module.
            observations: `[batch, size]` each.
            given: the states that are arguments, as the module takes them.
        """
        shaped = [
            tensor.reshape(tensor.shape[0], *part.shape) for tensor, part in zip(observations, self.inputs, strict=True)
        ]
        if self.time_axis is not None:
            shaped = [tensor.unsqueeze(self.time_axis) for tensor in shaped]
        arguments, keywords = self._arguments(shaped, list(given))
        with _without_checks_of_distributions():
            result = module(*arguments, **keywords)
        if isinstance(module, nn.RNNCellBase):  # gives its new state alone, the first part of which is its output
            result = result[0] if isinstance(result, tuple) else result, result
        names = [] if self.input_form not in ("dictionary", "TensorDict") else [part.name for part in self.inputs]
        return read_result(result, self.given, names, self.centre)

    def _arguments(self, shaped: list[Tensor], given: list[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        named = dict(zip((part.name for part in self.inputs), shaped, strict=True))
        states = dict(zip((slot.name for slot in self.given), given, strict=True))
        if self.state_form == "beside the observations":
            named |= states
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        if self.input_form == "names":
            keywords |= named
        elif self.input_form == "order":
            arguments += shaped
        else:
            arguments.append(named if self.input_form == "dictionary" else _tensordict(named, shaped[0].shape[:1]))
        whole: Any = {"tensor": given[:1], "tuple": [tuple(given)], "dictionary": [states]}.get(self.state_form, [])
        if self.state_form == "order":
            arguments += given
        elif self.state_form == "names":
            keywords |= states
        elif whole and self.state_name is not None:
            keywords[self.state_name] = whole[0]
        else:
            arguments += whole
        return arguments, keywords

    def __str__(self) -> str:
        """The call in words."""
        names = ", ".join(f"{part.name} {_shape(part.shape, 0, self.time_axis)}" for part in self.inputs)
        if self.input_form in ("dictionary", "TensorDict"):
            names = f"{self.input_form} of {names}"
        states = ", ".join(
            f"{slot.name} {_shape(form.shape, form.axis, None)}"
            for slot, form in zip(self.given, self.forms, strict=False)
        )
        if not states:
            return f"forward({names})"
        word = {"tuple": f"({states})", "dictionary": f"{{{states}}}"}.get(self.state_form, states)
        if self.state_form == "tuple" and len(self.given) == 1:
            word = f"({states},)"
        return f"forward({names}, {f'{self.state_name}=' if self.state_name else ''}{word})"


def _shape(shape: tuple[int, ...], axis: int, time_axis: int | None) -> str:
    whole: list[Any] = [*shape[:axis], "batch", *shape[axis:]]
    if time_axis is not None:
        whole.insert(time_axis, 1)
    return f"[{', '.join(map(str, whole))}]"


def _tensordict(values: dict[str, Tensor], batch: torch.Size) -> Any:
    tensordict = sys.modules["tensordict"]
    return tensordict.TensorDict(values, batch_size=batch)


@contextlib.contextmanager
def _without_checks_of_distributions() -> Iterator[None]:
    # They look at values, which no recorded graph can.
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def candidates(
    module: nn.Module, inputs: tuple[ModulePart, ...], slots: tuple[ModulePart, ...], centre: Centre
) -> Iterator[Call]:
    """All forms of a call that the signature of `forward` allows, the likely ones first; without `forms` and `held`."""
    parameters = _parameters(module)
    # A recurrent layer of torch says it itself; anything else is tried without an axis for time first.
    axes = (1 if module.batch_first else 0,) if isinstance(module, nn.RNNBase) else (None, 0, 1)
    for time_axis in axes:
        for input_form in _input_forms(parameters, inputs):
            taken = len(inputs) if input_form in ("order", "names") else 1
            for state_form, state_name in _state_forms(parameters, slots, input_form, taken, inputs):
                yield Call(inputs, input_form, time_axis, slots, state_form, state_name, centre=centre)


def renamed(module: nn.Module, inputs: tuple[ModulePart, ...]) -> tuple[ModulePart, ...]:
    """Several observations without names get those of the parameters that they are."""
    names = [name for name, parameter in _parameters(module).items() if parameter.kind is not parameter.VAR_POSITIONAL]
    if len(inputs) < 2 or any(part.is_named for part in inputs) or len(names) < len(inputs):
        return inputs
    return tuple(dataclasses.replace(part, name=name) for part, name in zip(inputs, names, strict=False))


def unused_parameters(module: nn.Module, call: Call) -> list[str]:
    """Parameters that a call without states leaves at their defaults, those that may be a state."""
    taken = len(call.inputs) if call.input_form in ("order", "names") else 1
    used = {part.name for part in call.inputs} if call.input_form == "names" else set()
    names = [
        name
        for name, parameter in _parameters(module).items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in used
    ]
    return names if call.input_form == "names" else names[taken:]


def _parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return {}


def _input_forms(parameters: dict[str, inspect.Parameter], inputs: tuple[ModulePart, ...]) -> list[InputForm]:
    is_named = all(part.is_named for part in inputs)
    forms: list[InputForm] = []
    if is_named and all(
        part.name in parameters and parameters[part.name].kind is not inspect.Parameter.POSITIONAL_ONLY
        for part in inputs
    ):
        forms.append("names")
    if is_named:
        forms.append("dictionary")
        if "tensordict" in sys.modules:
            forms.append("TensorDict")
    if "names" not in forms:
        forms.append("order")
    return forms if len(inputs) > 1 or "names" in forms else [forms[-1], *forms[:-1]]


def _state_forms(
    parameters: dict[str, inspect.Parameter],
    slots: tuple[ModulePart, ...],
    input_form: InputForm,
    taken: int,
    inputs: tuple[ModulePart, ...],
) -> Iterator[tuple[StateForm, str | None]]:
    if not slots:
        yield "none", None
        return
    observed = {part.name for part in inputs} if input_form == "names" else set(list(parameters)[:taken])
    left = [name for name in parameters if name not in observed]
    single = [name for name in left if name in _STATE_PARAMETERS]
    if all(slot.is_named and slot.name in left for slot in slots):
        yield "names", None
    whole: tuple[StateForm, ...] = ("tensor", "tuple", "dictionary") if len(slots) == 1 else ("tuple", "dictionary")
    keyword = None
    if input_form == "names" and left:
        keyword = single[0] if single else left[0]
    elif single and left[0] not in _STATE_PARAMETERS and parameters[left[0]].default is not inspect.Parameter.empty:
        keyword = single[0]
    if left:
        for form in whole:
            yield form, keyword
        if len(slots) > 1 and keyword is None:
            yield "order", None
    if input_form in ("dictionary", "TensorDict"):
        yield "beside the observations", None
