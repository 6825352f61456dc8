"""State that a module keeps in itself: in buffers, attributes, and containers of tensors in attributes."""

from __future__ import annotations

import contextlib
import copy
import types
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_OF_TORCH = frozenset(vars(nn.Module())) | {"_flat_weights", "_flat_weight_refs", "_flat_weights_names"}
"""What torch keeps in every module; nobody's state."""
_MOST_LEVELS = 5
_OPAQUE = (nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType, torch.Generator, torch.device)

Key = tuple[Any, ...]
"""Way to a leaf inside of an attribute: indices, keys and names."""


@dataclass(frozen=True)
class Place:
    """An attribute, or a buffer, of a module: its owner's path, and its name."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}" if self.owner else self.name

    def get(self, root: nn.Module) -> Any:
        """The value that it has in `root`."""
        owner = root.get_submodule(self.owner)
        return owner._buffers[self.name] if self.name in owner._buffers else vars(owner).get(self.name)


@dataclass(frozen=True)
class Leaf:
    """A tensor, or another value without parts, inside of what a place holds."""

    place: Place
    key: Key

    def __str__(self) -> str:
        return str(self.place) + "".join(
            f"[{part!r}]" if not isinstance(part, _Field) else f".{part}" for part in self.key
        )

    @property
    def slot_name(self) -> str:
        """Its name as a state slot."""
        parts = (self.place.owner.replace(".", "_"), self.place.name, *(str(part) for part in self.key))
        return "_".join(part.strip("_") for part in parts if part)


class _Field(str):
    """Name of an attribute of an object, unlike a key of a dictionary."""

    __slots__ = ()


Snapshot = dict[Leaf, Any]
"""Values by leaf; tensors are copies."""


def places(root: nn.Module) -> list[Place]:
    """Where state could be: buffers and attributes of all modules."""
    found = []
    for path, module in root.named_modules():
        found += [Place(path, name) for name in module._buffers]
        found += [Place(path, name) for name in vars(module) if name not in _OF_TORCH]
    return found


def snapshot(root: nn.Module) -> Snapshot:
    """All leaves with their values."""
    return {
        Leaf(place, key): value.detach().clone() if isinstance(value, Tensor) else _frozen(value)
        for place in places(root)
        for key, value in _leaves(place.get(root), (), 0, set())
    }


def _frozen(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _leaves(value: Any, key: Key, level: int, seen: set[int]) -> Iterator[tuple[Key, Any]]:
    parts = _parts(value) if level < _MOST_LEVELS and id(value) not in seen else None
    if parts is None:
        if not isinstance(value, _OPAQUE):
            yield key, value
        return
    if not parts:
        yield key, type(value)  # an empty container is a value of its own
    for name, part in parts:
        yield from _leaves(part, (*key, name), level + 1, seen | {id(value)})


def _parts(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, (Tensor, np.ndarray, str, bytes, int, float, complex, type(None), *_OPAQUE)):
        return None
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (tuple, list, deque)):
        return list(enumerate(value))
    if hasattr(value, "__dict__") and not callable(value):
        return [(_Field(name), part) for name, part in vars(value).items()]
    return None


def same(a: Any, b: Any) -> bool:
    """Whether two leaves hold the same."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, (Tensor, np.ndarray)) or isinstance(b, (Tensor, np.ndarray)):
        return False
    if isinstance(a, (str, bytes, int, float, complex, type(None), type)):
        return type(a) is type(b) and bool(a == b)
    return a is b


@dataclass(frozen=True, eq=False)
class Held:
    """Places that change at a step, what they hold, and which of their leaves are state.

    Attributes:
        templates: what each place holds behind a step; gives the containers.
        leaves: the leaves that are state, in the order of their slots.
    """

    templates: dict[Place, Any] = field(default_factory=dict)
    leaves: tuple[Leaf, ...] = ()

    @contextlib.contextmanager
    def placed(self, root: nn.Module, values: Mapping[Leaf, Tensor]) -> Iterator[Callable[[], tuple[Tensor, ...]]]:
        """Puts values into the leaves; afterwards every module has what it had.

        Yields:
            A function that reads the leaves again.

        Raises:
            LookupError, TypeError: (the function) a leaf is no tensor any more.
        """
        modules = list(root.modules())
        kept = [(module, dict(vars(module)), dict(module._buffers)) for module in modules]
        try:
            for place, template in self.templates.items():
                owner = root.get_submodule(place.owner)
                # As a plain attribute: torch.export does not let a buffer become another tensor.
                owner._buffers.pop(place.name, None)
                owner.__dict__[place.name] = _rebuilt(template, place, (), values)

            def read() -> tuple[Tensor, ...]:
                return tuple(_at(leaf.place.get(root), leaf.key, str(leaf)) for leaf in self.leaves)

            yield read
        finally:
            for module, attributes, buffers in kept:
                module.__dict__.clear()
                module.__dict__.update(attributes)
                module._buffers.clear()
                module._buffers.update(buffers)


def _rebuilt(template: Any, place: Place, key: Key, values: Mapping[Leaf, Tensor]) -> Any:
    """A template with the leaves that `values` has, and copies of its other tensors."""
    leaf = Leaf(place, key)
    if leaf in values:
        return values[leaf].clone()  # it may be changed in place
    if isinstance(template, Tensor):
        return template.detach().clone()
    parts = _parts(template)
    if parts is None:
        return template
    new = [(name, _rebuilt(part, place, (*key, name), values)) for name, part in parts]
    if isinstance(template, dict):
        duplicate = copy.copy(template)
        duplicate.update(new)
        return duplicate
    if isinstance(template, (tuple, list, deque)):
        items = [part for _, part in new]
        if hasattr(template, "_fields"):
            return type(template)(*items)
        return deque(items, template.maxlen) if isinstance(template, deque) else type(template)(items)
    duplicate = copy.copy(template)
    duplicate.__dict__.update({str(name): part for name, part in new})
    return duplicate


def _at(value: Any, key: Key, what: str) -> Tensor:
    for part in key:
        value = vars(value)[part] if isinstance(part, _Field) else value[part]
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} is a {type(value).__name__} behind a step, no tensor")
    return value


def copied(value: Any) -> Any:
    """A copy of a template whose tensors share nothing with the module."""
    return _rebuilt(value, Place("", ""), (), {})
