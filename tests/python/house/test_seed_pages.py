"""Names, arguments, bases, properties and abstract methods are those of the pages of the libraries, or are listed.

What the pages say is in `seed_pages`; of skrl it is what the installed library says.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import seed_pages

import ganglion.data
import ganglion.envs
import ganglion.policies
import ganglion.training
from ganglion.policies.scripting.stateful import StatefulRecurrentNetwork

ROWS = (Path(__file__).parents[3] / "docs" / "DIFFERENCES.md").read_text(encoding="utf-8")
UNLIKE = {
    "Model.init_state_dict": "`Model.init_state_dict`",
    "Model.broadcast_parameters": "`broadcast_parameters`, `reduce_parameters`",
    "Model.reduce_parameters": "`broadcast_parameters`, `reduce_parameters`",
}
"""Members that are otherwise here, each with its row in DIFFERENCES.md."""
BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def ours(name: str) -> Any:
    if name == "StatefulRecurrentNetwork":
        return StatefulRecurrentNetwork
    rooms = (ganglion.data, ganglion.envs, ganglion.policies, ganglion.training)
    return next(getattr(room, name) for room in rooms if name in room.__all__)


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


PAGES = {
    f"{library}.{name}": (page, name)
    for library in ("Pyrado", "Garage", "TfAgents")
    for name, page in vars(getattr(seed_pages, library)).items()
    if not name.startswith("__")
}


@pytest.mark.parametrize("label", PAGES)
def test_it_is_as_the_page_says(label: str) -> None:
    page, name = PAGES[label]
    assert complaints(name, page, ours(name)) == []


@pytest.mark.parametrize("name", ["Model", "GaussianMixin"])
def test_it_is_as_skrl_has_it(name: str) -> None:
    models = pytest.importorskip("skrl.models.torch", reason="needs skrl")
    theirs, found = getattr(models, name), complaints(name, getattr(models, name), ours(name))
    unlike = {label for label in UNLIKE if label.startswith(f"{name}.") or label == name}
    assert {label for label in unlike if any(one.startswith(label) for one in found)} == unlike
    assert [one for one in found if not any(one.startswith(label) for label in unlike)] == []
    assert inspect.isclass(theirs)


def test_what_is_unlike_is_listed() -> None:
    assert [row for row in UNLIKE.values() if f"| {row} |" not in ROWS] == []


def test_the_check_sees_what_is_wrong() -> None:
    class Page:
        def __init__(self, first, second=1): ...
        def act(self, inputs): ...
        @property
        def size(self): ...

    class Swapped:
        def __init__(self, second: int = 2, first: int = 0, *, third: int) -> None: ...

        def size(self) -> None: ...

    found = complaints("Page", Page, Swapped)
    for part in ("the base Page", "['second', 'first']", "2 by default", "asks for third", "act is missing", "no size"):
        assert any(part in one for one in found), part
