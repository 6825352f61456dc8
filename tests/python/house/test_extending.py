"""docs/EXTENDING.md names files that are there, and the functions that every Vector has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/EXTENDING.md").read_text(encoding="utf-8")
VECTORS = sorted((ROOT / "cpp/src/native/kernels/vectors").glob("*.hpp"))


def functions(header: Path) -> set[str]:
    return set(re.findall(r"^inline \w+ (operator[^\s(]+|\w+)\(", header.read_text(encoding="utf-8"), re.MULTILINE))


def listed() -> set[str]:
    rows = TEXT.partition("| function | what |")[2].partition("\n\n")[0].splitlines()[2:]
    first = " ".join(row.split("|")[1] for row in rows)
    return set(re.findall(r"`(\w+)\(", first)) | {f"operator{sign}" for sign in re.findall(r"`a (\S+) b`", first)}


@pytest.mark.parametrize("header", VECTORS, ids=lambda header: header.stem)
def test_every_vector_has_the_functions_of_the_list(header: Path) -> None:
    assert not listed() - functions(header), f"{header.name} lacks functions that docs/EXTENDING.md lists"


def test_the_list_has_what_all_vectors_have() -> None:
    common = set.intersection(*(functions(header) for header in VECTORS))
    assert common <= listed(), "docs/EXTENDING.md, What a Vector must have"


def test_every_file_that_is_named_is_there() -> None:
    for path in re.findall(r"`((?:cpp|python|tests|docs)/[\w./]+)`", TEXT):
        assert (ROOT / path).exists(), f"docs/EXTENDING.md names {path}, which is not there"
