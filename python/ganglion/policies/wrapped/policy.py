"""The policy around a module, and `wrap`, which makes it."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from ganglion.contract import GOLDEN_STEPS, StateSlot, TensorSpec, distribution_of, previous_action_of
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ExportError, UnsupportedModuleError
from ganglion.policies._tensors import eval_mode
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.kept import kept
from ganglion.policies.scripting.preparation import prepared_copy, undisturbed
from ganglion.policies.wrapped.call import renamed
from ganglion.policies.wrapped.checks import check_influence, check_memory, check_types, warn_of_modes
from ganglion.policies.wrapped.parts import ModulePart, read_parts
from ganglion.policies.wrapped.probing import Draw, duplicate, in_rows, reset, step
from ganglion.policies.wrapped.results import as_float
from ganglion.policies.wrapped.search import Found, find_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.policies.wrapped.results import Centre

_TOLERANCE = 1e-5


@kept()
class WrappedPolicy(RecurrentPolicy):
    """Any module as a recurrent policy; `ganglion.wrap` makes it and says what can be given.

    The module is shared, not copied, and is as it was behind every step. `print(policy)` shows how it is called, which
    states it has and where they were found.

    Args:
        module: see `ganglion.wrap`.
        observation: see `ganglion.wrap`.
        state: see `ganglion.wrap`.
        distribution: see `ganglion.wrap`.

    Raises:
        TypeError, ValueError, UnsupportedModuleError: see `ganglion.wrap`.
    """

    name = "wrapped"
    _initial: Tensor

    def __init__(
        self, module: nn.Module, observation: Any, state: Any = None, *, distribution: Centre = "mean"
    ) -> None:
        module = _unwrapped(module)
        if distribution not in ("mean", "mode"):
            raise ValueError(f"wrap: distribution must be 'mean' or 'mode', not {distribution!r}")
        inputs = renamed(module, read_parts(observation, "observation", "obs"))
        slots = _slots(module, state)
        _check_names(inputs, slots)
        warn_of_modes(module)
        with undisturbed():
            probe = prepared_copy(module)
            draw = Draw(inputs, slots)
            found = find_call(probe, inputs, slots, distribution)
            check_types(probe, found, draw)
            check_memory(probe, found, draw)
            check_influence(probe, found, draw)
            outputs = _output_specs(probe, found, draw)
        size = sum(part.size for part in inputs)
        super().__init__(EnvSpec(_open_box(size), _open_box(outputs[0].size)))
        self.module = module
        self._found = found
        self._outputs = outputs
        initial = [_initial_row(slot) for slot in found.call.slots]
        reference = self._reference()
        flat = torch.cat(initial) if initial else torch.zeros(0)
        kind = reference.dtype if reference.is_floating_point() else torch.float32
        self.register_buffer("_initial", flat.to(reference.device, kind), persistent=False)
        self._renamed: dict[str, str] = {}
        if not self._remembers_actions():
            # Whoever says what was executed in place of an action would write it there.
            self._renamed["prev_action"] = "previous"
        if found.call.held.leaves:
            warnings.warn(self._words_of_held(), UserWarning, stacklevel=4)

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """Slots that are arguments of `forward`, then those that the module keeps in itself."""
        call = self._found.call
        return tuple(
            StateSlot(self._renamed.get(slot.name, slot.name), form.shape or (1,))
            for slot, form in zip(call.slots, call.forms, strict=True)
        )

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """One for each observation, in the order in which they were given."""
        return tuple(part.spec() for part in self._found.call.inputs)

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The action, then whatever else `forward` returns but the state."""
        return self._outputs

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns a new copy of the initial state; see `RecurrentPolicy.init_hidden`."""
        return self._initial.clone() if batch_size is None else self._initial.repeat(batch_size, 1)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, hidden_rows = self._as_batch(obs, hidden)
        call, count = self._found.call, rows.shape[0]
        observations = torch.split(rows, [part.size for part in call.inputs], dim=-1)
        states = torch.split(hidden_rows, [slot.size for slot in call.slots], dim=-1) if call.slots else ()
        returned = call.run(self.module, observations, states)
        outputs = [
            as_float(returned.outputs[spec.name].movedim(axis, 0).reshape(count, spec.size), rows)
            for spec, axis in zip(self._outputs, self._found.output_axes.values(), strict=True)
        ]
        new = [
            form.to_rows(tensor).to(hidden_rows.dtype) for form, tensor in zip(call.forms, returned.states, strict=True)
        ]
        return self._as_given(obs, (*outputs, torch.cat(new, -1) if new else hidden_rows))

    def check(self) -> None:
        """Steps the module as its user does, with a reset in the middle, beside this policy.

        Raises:
            ExportError: they differ; names the first step.
        """
        call, rows = self._found.call, self._found.rows
        with undisturbed():
            original = prepared_copy(self.module)
            policy = copy.deepcopy(self).cpu().float().eval()
            policy.module = prepared_copy(self.module)
            draw = self._draw()
            count = len(call.given)
            begin = torch.split(policy.init_hidden(rows), [slot.size for slot in call.slots], dim=-1)[:count]
            kinds = [None if slot.initial is None else slot.initial.dtype for slot in call.given]
            forms = list(zip(call.forms, begin, kinds, strict=False))
            fresh = duplicate(original)
            reset(original)
            given, hidden = None, policy.init_hidden(rows)
            for index in range(GOLDEN_STEPS):
                if index == GOLDEN_STEPS // 2:
                    if reset(original) is None:
                        original = duplicate(fresh)
                    given, hidden = None, policy.init_hidden(rows)
                if given is None:
                    given = [form.from_rows(t, k if k and not k.is_floating_point else None) for form, t, k in forms]
                observations = draw.observations(rows, index)
                returned = call.plain(original, observations, given)
                given = list(returned.states)
                expected = [
                    returned.outputs[spec.name].movedim(axis, 0).reshape(rows, -1)
                    for spec, axis in zip(self._outputs, self._found.output_axes.values(), strict=True)
                ]
                whole = torch.cat(observations, -1)
                policy(whole, hidden)  # once more: what a step leaves behind in the module shows in the next one
                *outputs, hidden = policy(whole, hidden)
                for spec, a, b in zip(self._outputs, expected, outputs, strict=True):
                    error = float((a - b).abs().max()) / max(1.0, float(a.abs().max()))
                    if not error <= _TOLERANCE and bool(a.isfinite().all()):
                        raise ExportError(
                            f"{type(self.module).__name__} does something else on its own: at step {index} its output "
                            f"'{spec.name}' differs by {error:.3g} from the same step with its state outside. It keeps "
                            "something between steps that was not found; pass it through forward, as an argument and a "
                            "result, and name it in `state`"
                        )

    def extra_repr(self) -> str:
        """How the module is called, its states and its outputs."""
        call = self._found.call
        lines = [str(call), "outputs: " + ", ".join(f"{spec.name} [{spec.size}]" for spec in self._outputs)]
        return "\n".join([*lines, *self._lines_of_slots(call.slots)])

    def _lines_of_slots(self, slots: Sequence[ModulePart]) -> list[str]:
        call = self._found.call
        sources = dict(zip((slot.name for slot in call.slots[len(call.given) :]), call.held.leaves, strict=True))
        lines = []
        for slot, form in zip(call.slots, call.forms, strict=True):
            if slot not in slots:
                continue
            begins = "zeros" if not bool(_initial_row(slot).any()) else "given values"
            source = f"self.{sources[slot.name]}" if slot.name in sources else "an argument of forward"
            lines.append(
                f"state '{slot.name}' {list(form.shape)}: {source}, batch axis {form.axis}, begins as {begins}"
            )
        return lines

    def _words_of_held(self) -> str:
        held = self._found.call.slots[len(self._found.call.given) :]
        return (
            f"{type(self.module).__name__} keeps its state in itself; it goes into the file as slots that the caller "
            f"keeps: {'; '.join(self._lines_of_slots(held))}"
        )

    def _remembers_actions(self) -> bool:
        """Whether the slot `prev_action`, where there is one, holds the action behind a step."""
        place = previous_action_of(self.output_specs, self.state_layout)
        if place is None:
            return True
        with torch.no_grad(), eval_mode(self):
            observations = self._draw().observations(3)
            action, *_, hidden = self(torch.cat(observations, -1), self.init_hidden(3))
        return torch.allclose(action, hidden[:, place], 1e-5, 1e-6)

    def _draw(self) -> Draw:
        return Draw(self._found.call.inputs, self._found.call.slots)


def wrap(module: nn.Module, observation: Any, state: Any = None, *, distribution: Centre = "mean") -> RecurrentPolicy:
    """Makes a recurrent policy of any module, without a class around it.

    How the module is called is found by running it: `forward(obs)`, `forward(obs, state)`, `forward(image, proprio)`,
    with dictionaries or a TensorDict; with a time axis, as `nn.LSTM` has, or without; where the batch axis of every
    state lies. What a module keeps in itself (`self.hidden = ...`) is found by stepping it twice, becomes slots, and is
    shown. Then it is stepped 64 times beside the policy, with a reset in between.

    Args:
        module: in any mode, on any device; it is shared, not copied. Weights may change afterwards.
        observation: size (`48`), shape without the batch axis (`(3, 64, 64)`) or `gymnasium` space of what `forward`
            takes. For several: a mapping from names to these, or a tuple in the order of the arguments. The
            observation vector of the policy holds them in this order, each in row-major order.
        state: the same for a state that `forward` takes and returns; a tensor in place of a size gives its initial
            values, which are zeros otherwise. The keys of a mapping name the slots, in the order of the tuple that
            `forward` takes. None for a module without state, or one that keeps it in itself, and for a bare
            recurrent layer or cell of torch, which says it itself.
        distribution: what becomes of an action that is a `torch.distributions.Distribution` with both, `"mean"` or
            `"mode"`. Of a normal one the outputs are `mean` and `log_std`, of a categorical one the most likely index
            and `logits`, so that the runtime can draw.

    Returns:
        The policy. Outputs are the action (the first tensor, or what a dictionary calls `action`) and whatever else
        `forward` returns.

    Raises:
        UnsupportedModuleError: no call works, or the module is wrong for deployment: random numbers, decisions by
            values, rows that depend on each other, float64, a state or an observation without effect, a memory
            that begins anew at every step or is kept outside of tensors. Names the module and what to do.
        ExportError: the module does something else on its own than its states tell.
        TypeError: an argument is of the wrong kind.
        ValueError: a shape is empty, a name appears twice, or a space has no fixed shape.
    """
    policy = WrappedPolicy(module, observation, state, distribution=distribution)
    policy.check()
    return policy


def _unwrapped(module: Any) -> nn.Module:
    module = getattr(module, "_orig_mod", module)  # torch.compile
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    if not isinstance(module, nn.Module):
        kind = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise TypeError(f"wrap: expected a torch.nn.Module, not {kind}")
    if isinstance(module, RecurrentPolicy):
        raise TypeError(f"wrap: {type(module).__name__} is a RecurrentPolicy already; export it as it is")
    return module


def _slots(module: nn.Module, state: Any) -> tuple[ModulePart, ...]:
    if state is None and isinstance(module, nn.RNNBase):
        shape = (module.num_layers, module.hidden_size)
        return tuple(ModulePart(name, shape) for name in (("h", "c") if isinstance(module, nn.LSTM) else ("h",)))
    if state is None and isinstance(module, nn.RNNCellBase):
        return tuple(
            ModulePart(name, (module.hidden_size,))
            for name in (("h", "c") if isinstance(module, nn.LSTMCell) else ("h",))
        )
    return () if state is None else read_parts(state, "state", "h")


def _check_names(inputs: Sequence[ModulePart], slots: Sequence[ModulePart]) -> None:
    for what, parts in (("observation", inputs), ("state", slots)):
        names = [part.name for part in parts]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"{what}: the name '{repeated}' appears twice")


def _output_specs(module: nn.Module, found: Found, draw: Draw) -> tuple[TensorSpec, ...]:
    call = found.call
    returned = step(module, call, draw.observations(1), draw.states(call.slots, 1))
    rows = in_rows(returned, call, found.output_axes, 1)[: len(found.output_axes)]
    for name, tensor in rows:
        if tensor.shape[1] == 0:
            raise UnsupportedModuleError("(the module itself)", f"gives the output '{name}' without an element")
    specs = tuple(TensorSpec(name, tensor.shape[1]) for name, tensor in rows)
    # An index beside logits of something else would be drawn from them.
    assert distribution_of(specs) is None or len(specs) > 1
    return specs


def _initial_row(slot: ModulePart) -> Tensor:
    return torch.zeros(slot.size) if slot.initial is None else slot.initial.reshape(-1).to(torch.float32)


def _open_box(size: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
