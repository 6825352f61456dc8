"""Nests: tensors (or anything else) in dicts, tuples, named tuples and lists, to any depth.

As in TensorFlow, a dict is walked in the order of its sorted keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Nest: TypeAlias = Any
"""A leaf, or a dict, tuple, named tuple or list of nests."""


def is_nest(value: Nest) -> bool:
    """Tells whether `value` is a container and no leaf."""
    return isinstance(value, (Mapping, tuple, list))


def is_empty(value: Nest) -> bool:
    """Tells whether `value` is a container without anything inside, the usual sign for "none"."""
    return is_nest(value) and len(value) == 0


def flatten(nest: Nest) -> list[Any]:
    """Returns the leaves of a nest, in order."""
    if not is_nest(nest):
        return [nest]
    return [leaf for key in _keys(nest) for leaf in flatten(nest[key])]


def pack_like(nest: Nest, leaves: Iterable[Any]) -> Nest:
    """Returns a nest of the same structure with other leaves."""
    remaining = iter(leaves)
    return map_structure(lambda _: next(remaining), nest)


def map_structure(function: Callable[..., Any], nest: Nest, *others: Nest) -> Nest:
    """Applies a function to the leaves of nests that have the structure of the first one."""
    if not is_nest(nest):
        return function(nest, *others)
    children = [map_structure(function, nest[key], *(other[key] for other in others)) for key in _keys(nest)]
    return _like(nest, children)


def prune(nest: Nest, spec: Nest) -> Nest:
    """Returns `nest` without the keys of dicts that `spec` does not have."""
    if isinstance(nest, Mapping) and isinstance(spec, Mapping):
        return {key: prune(nest[key], spec[key]) for key in spec if key in nest}
    if is_nest(nest) and type(nest) is type(spec) and len(nest) == len(spec):
        return _like(nest, [prune(*pair) for pair in zip(nest, spec, strict=True)])
    return nest


def check_structure(label: str, nest: Nest, spec: Nest) -> None:
    """Refuses a nest that is built otherwise than its spec.

    Args:
        label: what the nest is, for the message.
        nest: the nest.
        spec: a nest whose structure it must have.

    Raises:
        TypeError: one container stands for another, for example a tuple for a list.
        ValueError: keys or lengths differ, or a leaf stands for a container or the other way round.
    """
    if is_nest(nest) != is_nest(spec):
        raise ValueError(f"{label}: the structure does not match: got {_kind(nest)}; expected {_kind(spec)}")
    if not is_nest(spec):
        return
    if type(nest) is not type(spec) and not (isinstance(nest, Mapping) and isinstance(spec, Mapping)):
        raise TypeError(f"{label}: the structure does not match: got {_kind(nest)}; expected {_kind(spec)}")
    if list(_keys(nest)) != list(_keys(spec)):
        raise ValueError(
            f"{label}: the structure does not match: got the keys {list(_keys(nest))}; expected {list(_keys(spec))}"
        )
    for key in _keys(spec):
        check_structure(f"{label}[{key!r}]", nest[key], spec[key])


def _keys(nest: Nest) -> Sequence[Any]:
    return sorted(nest) if isinstance(nest, Mapping) else range(len(nest))


def _like(nest: Nest, children: list[Nest]) -> Nest:
    if isinstance(nest, Mapping):
        return dict(zip(_keys(nest), children, strict=True))
    return type(nest)(*children) if hasattr(nest, "_fields") else type(nest)(children)


def _kind(nest: Nest) -> str:
    return f"a {type(nest).__name__} of {len(nest)}" if is_nest(nest) else f"one {type(nest).__name__}"
