"""Every extra that a message or a page tells a user to install is one that the package has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CPP = ("cpp/include/**/*.hpp", "cpp/src/**/*.[ch]pp", "cpp/tools/**/*.[ch]pp")
READ = ("python/**/*.py", *CPP, "docs/**/*.md", "*.md")
# `ganglion[onnx]`, and `.[torch,onnx]` in a source tree
EXTRAS = re.compile(r"(?:\bganglion|[\"' ]\.)\[([a-z_]+(?:,[a-z_]+)*)\]")


def extras() -> set[str]:
    section = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    return set(re.findall(r"^(\w+) = \[", section.split("\n[")[0], re.MULTILINE))


def mentioned() -> list[tuple[str, str]]:
    found = set()
    for path in sorted({path for pattern in READ for path in ROOT.glob(pattern)}):
        for names in EXTRAS.findall(path.read_text(encoding="utf-8")):
            found |= {(str(path.relative_to(ROOT)), name) for name in names.split(",")}
    return sorted(found)


@pytest.mark.parametrize(("path", "name"), mentioned())
def test_it_is_there(path: str, name: str) -> None:
    assert name in extras(), f"{path} tells to install ganglion[{name}], which there is not"


def test_the_page_lists_them() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    line = re.search(r"^Extras: (.*?)\. ", page, re.MULTILINE | re.DOTALL)
    assert line is not None
    assert set(re.findall(r"`(\w+)`", line[1])) == extras()
