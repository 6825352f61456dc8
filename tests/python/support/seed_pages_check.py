"""Compares a class or function with what a page, or another library, says of it."""

from __future__ import annotations

import inspect
import re
from typing import Any

BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def complaints(name: str, page: Any, thing: Any) -> list[str]:
    """What the page says of a function or class and is not so."""
    if not inspect.isclass(page):
        return arguments(name, page, thing)
    bases = {base.__name__ for base in thing.__mro__}
    found = [
        f"{name}: the page has the base {base.__name__}"
        for base in page.__mro__
        if base.__name__ not in ("ABC", "object") and base.__name__ not in bases
    ]
    abstract = getattr(page, "__abstractmethods__", frozenset())
    found += [
        f"{name}.{one} is abstract on the page"
        for one in vars(page)
        if one in abstract and one not in getattr(thing, "__abstractmethods__", ())
    ]
    for member, said in vars(page).items():
        if member.startswith("_") and member != "__init__":
            continue
        if isinstance(said, property):
            found += [] if has(thing, member) else [f"{name} has no {member}"]
        elif inspect.isfunction(said):
            real = getattr(thing, member, None)
            label = name if member == "__init__" else f"{name}.{member}"
            found += arguments(label, said, real) if callable(real) else [f"{label} is missing"]
    return found


def has(cls: type, member: str) -> bool:
    if hasattr(cls, member) or any(member in getattr(base, "__annotations__", ()) for base in cls.__mro__):
        return not callable(getattr(cls, member, None))
    sources = (inspect.getsource(base) for base in cls.__mro__ if base.__module__.startswith("ganglion."))
    return any(re.search(rf"^\s+self\.{member}(: [^=]+)? = ", source, re.MULTILINE) for source in sources)


def arguments(label: str, page: Any, real: Any) -> list[str]:
    said = [one for one in inspect.signature(page).parameters.values() if one.name != "self"]
    taken = {one.name: one for one in inspect.signature(real).parameters.values() if one.name != "self"}
    found = []
    positions = [one.name for one in said if one.kind in BY_POSITION]
    there = [one.name for one in taken.values() if one.kind in BY_POSITION]
    names = [name for name in positions if name in taken]
    if names != positions:
        found.append(f"{label} does not take {sorted(set(positions) - set(names))}")
    elif there[: len(positions)] != positions:
        found.append(f"{label} has the arguments {there}, the page {positions}")
    for one in said:
        if one.kind in REST:
            continue
        if one.name not in taken:
            found += [] if one.kind in BY_POSITION else [f"{label} does not take {one.name}"]
            continue
        default = taken[one.name].default
        if one.default is not one.empty and (
            default is one.empty or (one.default is not ... and default != one.default)
        ):
            found.append(f"{label}: {one.name} is {default!r} by default, on the page {one.default!r}")
    given = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in said)
    found += [
        f"{label} asks for {name}, which the page does not have"
        for name, one in taken.items()
        if name not in {other.name for other in said}
        and one.default is one.empty
        and one.kind not in REST
        and not given
    ]
    return found
