"""What a `forward` returns: actions as tensors, tuples, dictionaries or distributions, and the new states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch import distributions as td

from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ganglion.policies.wrapped.parts import ModulePart

Centre = Literal["mean", "mode"]
"""What becomes of a distribution that has both."""

_ACTIONS = ("actions", "action", "mean")
_DRAWN = ("log_std", "logits")
"""What the runtime draws from stands behind the action."""
_STATES = ("state", "states", "hidden", "hidden_state", "hidden_states", "rnn_state", "rnn_states", "hx", "carry")
_MOST_LEVELS = 4


@dataclasses.dataclass(frozen=True)
class Returned:
    """Outputs by name, the action first, and new states in the order of the slots; shapes as the module gave them."""

    outputs: dict[str, Tensor]
    states: tuple[Tensor, ...]


def read_result(result: Any, slots: Sequence[ModulePart], given: Iterable[str], centre: Centre) -> Returned:
    """Takes the result of a `forward` apart.

    Args:
        result: what was returned.
        slots: the states that went in as arguments, in order.
        given: names that a dictionary holds because they went in, which are no outputs.
        centre: see `Centre`.

    Raises:
        ExportError: it holds no new states of that structure, no action, or something that is no tensor.
    """
    rest, states = _split(result, slots)
    outputs: dict[str, Tensor] = {}
    for name, value in _named(rest, set(given), 0):
        for key, tensor in _tensors(name, value, centre):
            known = key if key not in outputs else f"{key}_{len(outputs)}"
            outputs[known] = tensor
    if not outputs:
        raise ExportError(f"forward returned {described(result)}: no action")
    first = next((name for name in _ACTIONS if name in outputs), next(iter(outputs)))
    drawn = [name for name in _DRAWN if name in outputs and name != first]
    ordered = {name: outputs[name] for name in (first, *drawn)} | outputs
    return Returned(_with_plain_names(ordered), states)


def described(value: Any) -> str:
    """A nested value in words, with the shapes of its tensors."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, Mapping) or _is_tensordict(value):
        return "{" + ", ".join(f"{key!r}: {described(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(described, value))})"
    return type(value).__name__


def _is_tensordict(value: Any) -> bool:
    return any(cls.__name__ == "TensorDictBase" for cls in type(value).__mro__)


def _split(result: Any, slots: Sequence[ModulePart]) -> tuple[Any, tuple[Tensor, ...]]:
    """What is no new state, and the new states."""
    if not slots:
        return result, ()
    names = [slot.name for slot in slots]
    mapping = _as_mapping(result)
    if mapping is not None:
        found = _states_of_mapping(mapping, names)
        if found is not None:
            return found
    elif isinstance(result, (tuple, list)) and len(result) > 1:
        last = _as_states(result[-1], names)
        if last is not None:
            return tuple(result[:-1]), last
        last = _as_states(tuple(result[-len(slots) :]), names)
        if last is not None and len(result) > len(slots):
            return tuple(result[: -len(slots)]), last
    raise ExportError(
        f"forward returned {described(result)}; expected (action, ..., new state) with the state as it went in, a "
        f"tensor for one slot, a tuple or a dictionary for {', '.join(names)}"
    )


def _as_mapping(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if _is_tensordict(value):
        return {str(key): part for key, part in value.items()}
    if hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _states_of_mapping(mapping: dict[str, Any], names: list[str]) -> tuple[Any, tuple[Tensor, ...]] | None:
    later = _as_mapping(mapping.get("next"))
    if later is not None and (found := _as_states(later, names)) is not None:
        return {key: part for key, part in mapping.items() if key not in ("next", *names)}, found
    found = _as_states(mapping, names)
    if found is not None:
        return {key: part for key, part in mapping.items() if key not in names}, found
    for key in (*_STATES, *(f"new_{key}" for key in _STATES), *(f"next_{key}" for key in _STATES)):
        if key in mapping and (found := _as_states(mapping[key], names)) is not None:
            return {other: part for other, part in mapping.items() if other != key}, found
    return None


def _as_states(value: Any, names: list[str]) -> tuple[Tensor, ...] | None:
    if isinstance(value, Tensor):
        return (value,) if len(names) == 1 else None
    mapping = _as_mapping(value)
    if mapping is not None:
        if not all(isinstance(mapping.get(name), Tensor) for name in names):
            return None
        return tuple(mapping[name] for name in names)
    if isinstance(value, (tuple, list)) and len(value) == len(names) and all(isinstance(p, Tensor) for p in value):
        return tuple(value)
    return None


def _named(value: Any, given: set[str], level: int) -> list[tuple[str, Any]]:
    """Outputs with their names; an empty name for those that have none."""
    mapping = _as_mapping(value)
    if mapping is not None:
        return [
            (inner or str(key), leaf)
            for key, part in mapping.items()
            if key not in given
            for inner, leaf in _named(part, set(), level + 1)
        ]
    if isinstance(value, (tuple, list)) and level < _MOST_LEVELS:
        return [leaf for part in value for leaf in _named(part, set(), level + 1)]
    return [] if value is None else [("", value)]


def _tensors(name: str, value: Any, centre: Centre) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, td.Distribution):
        return _of_distribution(name, value, centre)
    raise ExportError(
        f"forward returned a {type(value).__name__}{f' as {name!r}' if name else ''}; outputs are tensors or "
        "torch.distributions; leave others out in a small module around this one"
    )


def _of_distribution(name: str, value: td.Distribution, centre: Centre) -> list[tuple[str, Tensor]]:
    """The action that a distribution stands for, and what the runtime needs to draw others."""
    inner = value
    while type(inner) is td.Independent:
        inner = inner.base_dist
    if type(inner) is td.Normal:
        return [("mean", inner.loc), ("log_std", inner.scale.log())]
    if type(inner) is td.TransformedDistribution:
        # Neither mean nor mode of what is squashed has a formula; trainers fly the squashed mean.
        action = _of_distribution(name, inner.base_dist, centre)[0][1]
        for transform in inner.transforms:
            action = transform(action)
        return [(name or "actions", action)]
    if type(inner) is td.Categorical:
        index = inner.logits.argmax(-1).to(inner.logits.dtype)
        drawn = [("logits", inner.logits)] if inner.logits.ndim == 2 else []
        return [(name or "actions", index), *drawn]
    if type(inner) is td.Bernoulli:
        return [(name or "actions", (inner.logits > 0).to(inner.logits.dtype))]
    is_discrete = value.support is None or value.support.is_discrete
    kinds: tuple[Centre, ...] = ("mode", "mean") if centre == "mode" or is_discrete else ("mean", "mode")
    for kind in kinds:
        try:
            found = getattr(value, kind)
        except NotImplementedError:
            continue
        if isinstance(found, Tensor) and (kind == "mode" or not is_discrete):
            return [(name or "actions", found)]
    raise ExportError(
        f"forward returned a {type(value).__name__}, which has neither mean nor mode; return the action itself"
    )


def _with_plain_names(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names for outputs that have none: `actions` for the first, `output_1` and so on for the others."""
    named = {}
    for index, (name, tensor) in enumerate(outputs.items()):
        plain = name if name and not name.startswith("_") else ("actions" if index == 0 else f"output_{index}")
        named[plain] = tensor
    return named


def as_float(tensor: Tensor, like: Tensor) -> Tensor:
    """Truth values and whole numbers as the numbers that a contract holds."""
    return (
        tensor if tensor.is_floating_point() else tensor.to(like.dtype if like.is_floating_point() else torch.float32)
    )
