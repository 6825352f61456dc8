"""Every trainer is in every list: docs/EXTENDING.md, "a trainer"."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ganglion import adapters
from ganglion.adapters import TRAINERS

ROOT = Path(__file__).parents[3]
NO_TRAINERS = {"deployment", "leapp", "torchscript"}


def test_every_folder_is_a_trainer() -> None:
    folders = {path.parent.name for path in Path(adapters.__file__).parent.glob("*/__init__.py")}
    assert folders - NO_TRAINERS == set(TRAINERS), "no such adapter"
    assert folders == set(adapters.__all__)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_trainer_loads_a_checkpoint(trainer: str) -> None:
    load = getattr(adapters, trainer).load
    first, *others = inspect.signature(load).parameters.values()
    assert first.default is first.empty
    assert all(other.kind in (other.KEYWORD_ONLY, other.VAR_KEYWORD) for other in others)
    assert inspect.getdoc(load)


def test_the_page_has_a_row_for_every_trainer() -> None:
    page = (ROOT / "docs/DIALECTS.md").read_text(encoding="utf-8")
    section = page.partition("## Checkpoints of trainers")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| (\w+) \|", section, re.MULTILINE)) - {"trainer"} == set(TRAINERS), "no row"


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_trainer_has_tests(trainer: str) -> None:
    assert [path for path in Path(__file__).parent.glob("test_*.py") if trainer in path.stem], "no test"
