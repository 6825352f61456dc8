"""Every recorded behaviour of the seed libraries is named in a test, by its whole name: none is waved through."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.deep  # records again what a table says

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS.parent / "golden"
LIBRARIES = ("garage", "pyrado", "skrl", "tf_agents")
FILES = sorted(path.relative_to(GOLDEN).as_posix() for name in LIBRARIES for path in (GOLDEN / name).glob("*.json"))
ALL_RUN = {"garage/dtypes_cases.json": "data/test_garage_dtypes.py"}
"""Files whose cases are run by what they say themselves, all of them, by `test_as_recorded` and its other half."""


def named() -> set[str]:
    """Every string that stands in a test."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def cases(file: str) -> list[str]:
    document = json.loads((GOLDEN / file).read_text(encoding="utf-8"))
    return [case["case"] if isinstance(case, dict) else case[0] for case in document]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("file", [file for file in FILES if file not in ALL_RUN])
def test_every_case_is_named(file: str) -> None:
    assert sorted(set(cases(file)) - named()) == []


@pytest.mark.parametrize("file", ALL_RUN)
def test_or_run_by_what_it_says(file: str) -> None:
    text = (TESTS / ALL_RUN[file]).read_text(encoding="utf-8")
    halves = ("[name for name in CASES if name not in DIFFERENCES]", "DIFFERENCES")
    assert all(f'@pytest.mark.parametrize("name", {half})' in text for half in halves)
    assert f"assert len(CASES) == {len(cases(file))}" in text


def test_there_is_something_to_name() -> None:
    assert [file for file in FILES if cases(file)] == [
        "garage/dtypes_cases.json",
        "garage/env_spec_cases.json",
        "garage/experiment_cases.json",
        "garage/policy_behaviour_cases.json",
        "pyrado/behaviour_cases.json",
        "skrl/torch_facts.json",
        "tf_agents/facts.json",
    ]
