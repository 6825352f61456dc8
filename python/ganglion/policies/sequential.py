"""A policy as a row of parts, with memory or without."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import gymnasium
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ganglion.contract import StateSlot
from ganglion.data.env_spec import EnvSpec
from ganglion.policies._modules import reset_parameters
from ganglion.policies._tensors import eval_mode, match
from ganglion.policies.base import RecurrentPolicy
from ganglion.policies.cores import Core
from ganglion.policies.kept import kept
from ganglion.policies.signals.history import ObservationStack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ganglion.contract import ActionStage, TensorSpec

_ROWS = 2
"""Of the step that finds the sizes out."""


@kept()
class SequentialPolicy(RecurrentPolicy):
    """Parts in a row, each of which gets what the one before it gives; the first gets the observation.

        SequentialPolicy([ObservationHistory(48, length=5), actor, ActionFilter(12, period_s=0.02, low_pass_hz=8.0)])

    A part with memory is a `Core` (histories, filters, recurrent cores), a recurrent policy, or what `ganglion.wrap`
    makes of a module. Every other module maps `[batch, n]` to `[batch, m]`: layers, whole networks, an
    `ObservationNormalizer`, an `ActionMap`. The whole is one function with the memory of all parts as its state: a
    controller hands in one frame.

    Of a recurrent policy among the parts only the action goes on. Where it is the last part, it brings its further
    outputs, its distribution and its previous action along.

    Args:
        parts: at least one, in order.
        spec: spaces of the environment; None for the sizes of the parts, without bounds or names.

    Attributes:
        parts: those given.

    Raises:
        TypeError: a part is no module.
        ValueError: there is no part, a part does not take what the one before it gives, sizes differ from those of the
            spec, or two parts were made for different control periods.
    """

    name = "sequential"
    _anchor: Tensor

    def __init__(self, parts: Sequence[nn.Module], spec: EnvSpec | None = None) -> None:
        given = list(parts)
        for number, part in enumerate(given):
            if not isinstance(part, nn.Module):
                raise TypeError(f"SequentialPolicy: part {number} must be a torch.nn.Module, not {type(part).__name__}")
        if not given:
            raise ValueError("SequentialPolicy: needs at least one part")
        # A policy may have further inputs beside the observation.
        is_policy = isinstance(given[0], RecurrentPolicy)
        size = _input_size(given[0]) if spec is None or is_policy else spec.observation_size
        action_size = _action_size(given, size)
        if spec is None:
            spec = EnvSpec(_open_box(size), _open_box(action_size), observation_names=_names(given[0]))
        elif action_size != spec.action_size:
            raise ValueError(
                f"SequentialPolicy: its parts give {action_size} elements, the spec has {spec.action_size}"
            )
        super().__init__(spec)
        self.parts = nn.ModuleList(given)
        self._period_s = _period_s(given)
        # Moved and cast with the parts, where none of them has a parameter that tells.
        self.register_buffer("_anchor", torch.empty(0), persistent=False)

    @property
    def period_s(self) -> float | None:
        """That of the filters."""
        return self._period_s

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        """The slots of all parts; a name that appears again has a number behind it."""
        slots: dict[str, StateSlot] = {}
        for part in self.parts:
            for slot in _layout(part):
                # What is written there in place of an action reaches the part that gives it, if that is the last one.
                name = slot.name if slot.name != "prev_action" or part is self.parts[-1] else "previous"
                name = next(free for free in _numbered(name) if free not in slots)
                slots[name] = StateSlot(name, slot.shape)
        return tuple(slots.values())

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """Those of the first part where it is a policy, else the observation of the spec."""
        first = self.parts[0]
        return first.input_specs if isinstance(first, RecurrentPolicy) else super().input_specs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Those of the last part where it is a policy, else the action of the spec."""
        return super().output_specs if self._last is None else self._last.output_specs

    @property
    def action_stages(self) -> tuple[ActionStage, ...]:
        """Those of the last part where it is a policy, else none."""
        return () if self._last is None else self._last.action_stages

    def init_hidden(self, batch_size: int | None = None) -> Tensor:
        """Returns a new copy of the initial states of all parts; gradients flow into those that are trainable."""
        reference = self._reference()
        initial = [match(tensor, reference).reshape(-1) for part in self.parts for tensor in _initial(part)]
        state = torch.cat(initial) if initial else reference.new_zeros(0)
        return state if batch_size is None else state.repeat(batch_size, 1)

    def forward(self, obs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs one step; see `RecurrentPolicy.forward`."""
        rows, hidden_rows = self._as_batch(obs, hidden)
        outputs: tuple[Tensor, ...] = (rows,)
        state: list[Tensor] = []
        for part, memory in zip(self.parts, self._memories(hidden_rows), strict=True):
            outputs, new = _step(part, outputs[0], memory)
            state += new
        return self._as_given(obs, (*outputs, torch.cat(state, -1) if state else hidden_rows))

    def as_command(self, own: Tensor) -> Tensor:
        """See `RecurrentPolicy.as_command`."""
        return own if self._last is None else self._last.as_command(own)

    def with_applied_action(self, hidden: Tensor, action: Tensor) -> Tensor:
        """See `RecurrentPolicy.with_applied_action`; a last part that is a policy is told."""
        if self._last is None:
            return hidden
        own = hidden.shape[-1] - self._last.hidden_size
        return torch.cat((hidden[..., :own], self._last.with_applied_action(hidden[..., own:], action)), -1)

    def _reference(self) -> Tensor:
        return next(self.parameters(), self._anchor)

    @property
    def _last(self) -> RecurrentPolicy | None:
        last = self.parts[-1]
        return last if isinstance(last, RecurrentPolicy) else None

    def _memories(self, hidden: Tensor) -> list[tuple[Tensor, ...]]:
        """The slots of each part, `[batch, n]` each."""
        sizes = [[slot.size for slot in _layout(part)] for part in self.parts]
        slots = iter(torch.split(hidden, [size for of_part in sizes for size in of_part], -1))
        return [tuple(next(slots) for _ in of_part) for of_part in sizes]

    def _evaluate_packed(
        self, packed: PackedSequence, hidden: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        if packed.sorted_indices is not None:
            hidden = hidden[packed.sorted_indices]
        outputs: tuple[Tensor, ...] = (packed.data,)
        for part, memory in zip(self.parts, self._memories(hidden), strict=True):
            rows = PackedSequence(outputs[0], packed.batch_sizes)
            if isinstance(part, Core):
                # What stands behind the end of a sequence comes too late for what is looked at.
                padded, lengths = pad_packed_sequence(rows)
                features, _ = part.sequence(padded, memory)
                outputs = (pack_padded_sequence(features, lengths).data,)
            elif isinstance(part, RecurrentPolicy):
                told = () if previous is None or part is not self.parts[-1] else (previous,)
                outputs = part._evaluate_packed(rows, torch.cat((hidden[:, :0], *memory), -1), *told)
            else:
                outputs = (part(rows.data),)
        return outputs

    def _draw_param(self) -> None:
        for part in self.parts:
            if isinstance(part, RecurrentPolicy):
                part.init_param()
            else:
                reset_parameters([part] if isinstance(part, Core) else part.modules())


def _layout(part: nn.Module) -> tuple[StateSlot, ...]:
    return part.state_layout if isinstance(part, (Core, RecurrentPolicy)) else ()


def _initial(part: nn.Module) -> tuple[Tensor, ...]:
    if isinstance(part, RecurrentPolicy):
        return (part.init_hidden(),)
    return part.initial_state() if isinstance(part, Core) else ()


def _step(part: nn.Module, x: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Outputs of a part, and the slots of its next state."""
    if isinstance(part, Core):
        features, new = part(x, state)
        return (features,), list(new)
    if isinstance(part, RecurrentPolicy):
        *outputs, hidden = part(x, torch.cat(state, -1) if state else x.new_zeros((x.shape[0], 0)))
        return tuple(outputs), [hidden] if state else []
    return (part(x),), []


def _action_size(parts: Sequence[nn.Module], size: int) -> int:
    """Number of elements of the action, found by a step.

    Raises:
        ValueError: a part does not take what the one before it gives, or gives something else than rows.
    """
    reference = next((tensor for part in parts for tensor in part.parameters()), torch.empty(0))
    x = reference.new_zeros((_ROWS, size))
    for number, part in enumerate(parts):
        label = f"SequentialPolicy: part {number} ({type(part).__name__})"
        state = tuple(match(t, reference).reshape(1, -1).repeat(_ROWS, 1) for t in _initial(part) if t.numel())
        try:
            with torch.no_grad(), eval_mode(part):
                (given, *_), _ = _step(part, x, state)
        except Exception as error:
            inside = next(
                (type(one).__name__ for one in part.modules() if isinstance(one, Core) and one is not part), None
            )
            hint = (
                ""
                if inside is None
                else f". Nobody keeps the memory of the {inside} in it: make that a part of its own"
            )
            raise ValueError(
                f"{label} does not take the {x.shape[1]} elements that come to it: {error}{hint}"
            ) from error
        if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != _ROWS:
            found = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(
                f"{label} gives {found} for rows [{_ROWS}, {x.shape[1]}]; expected [{_ROWS}, n]. A module with a "
                "memory or a time axis goes through ganglion.wrap first"
            )
        x = given
    return x.shape[1]


def _input_size(first: nn.Module) -> int:
    if isinstance(first, RecurrentPolicy):
        return sum(spec.size for spec in first.input_specs)
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    size = next((getattr(first, name) for name in ("input_size", "in_features", "size") if hasattr(first, name)), None)
    if not isinstance(size, int):
        raise ValueError(
            f"SequentialPolicy: {type(first).__name__} does not tell how many elements an observation has; give spec"
        )
    return size


def _names(first: nn.Module) -> tuple[str, ...]:
    """Of the elements of an observation, where the parts know them."""
    return first.element_names if isinstance(first, ObservationStack) else ()


def _period_s(parts: Sequence[nn.Module]) -> float | None:
    known = (getattr(part, "period_s", None) for part in parts)
    found = {period_s for period_s in known if isinstance(period_s, float)}
    if len(found) > 1:
        raise ValueError(f"SequentialPolicy: its parts were made for different control periods: {sorted(found)} s")
    return next(iter(found), None)


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain((name,), (f"{name}_{number}" for number in itertools.count(2)))


def _open_box(size: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-math.inf, math.inf, (size,))
