"""Names, arguments, bases, properties and abstract methods are those of the pages of the libraries, or are listed.

What the pages say is in `seed_pages`; of skrl it is what the installed library says.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import seed_pages
from seed_pages_check import complaints

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


def ours(name: str) -> Any:
    if name == "StatefulRecurrentNetwork":
        return StatefulRecurrentNetwork
    rooms = (ganglion.data, ganglion.envs, ganglion.policies, ganglion.training)
    return next(getattr(room, name) for room in rooms if name in room.__all__)


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
