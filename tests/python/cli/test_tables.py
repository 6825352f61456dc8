"""Tables say something in every row and column, and all of it, however narrow the terminal is."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console, Group
from rich.text import Text

from ganglion._foundation.tables import FilledTable
from ganglion.cli import main
from ganglion.cli.tables import contract_tables
from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.verify.report import NotRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


def shown(*what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(Group(*what))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    return text


def columns(text: str) -> list[str]:
    """The cells of each column below the line, side by side."""
    lines = text.splitlines()
    rule = next(index for index, line in enumerate(lines) if "──" in line)
    headings = [(found.start(), found.end()) for found in re.finditer(r"\S+( \S+)*", lines[rule - 1])]
    body = [line for line in lines[rule + 1 :] if line.strip()]
    return ["".join(line[max(0, start - 4) : end] for line in body) for start, end in headings]


def test_empty_rows_and_columns_are_left_out() -> None:
    rows = [("a", "", "1", "-"), ("", "", "", ""), ("b", "", "", "-")]
    text = shown(FilledTable("title", ("name", "unit", ">size", "none"), rows))
    assert "unit" not in text and "none" not in text and "name" in text and "size" in text
    assert len(text.split("─ \n")[-1].strip().splitlines()) == 2
    assert shown(FilledTable("title", ("name", "unit"), [])).strip() == ""
    assert shown(FilledTable("title", ("name", "unit"), [("", "-")])).strip() == ""


def test_nothing_is_read_as_markup() -> None:
    text = shown(FilledTable("[bold]title", ("[i]name",), [("[red]x",), (Text("[/]y"),)]))
    assert all(part in text for part in ("[bold]title", "[i]name", "[red]x", "[/]y"))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_nothing_is_cut(width: int) -> None:
    rows: Sequence[Sequence[str]] = [
        ("a/very/long/path/to/some/policy.onnx", "onnxruntime", "1.25e-08", "some words that can be folded anywhere"),
        ("", "native", "123456789.25", "x"),
    ]
    text = shown(FilledTable("what", ("file", "engine", ">error", "note"), rows), width=width)
    together = re.sub(r"\s", "", text)
    assert "…" not in text
    for number in ("1.25e-08", "123456789.25"):
        assert number in (text if width >= 40 else together)
    for cell in ("onnxruntime", "native"):
        assert cell in (text if width >= 40 else together)


def contract(**known: tuple[object, ...]) -> Contract:
    return Contract(
        (TensorSpec("obs", 3, **known),),  # type: ignore[arg-type]
        (TensorSpec("actions", 2),),
    )


@pytest.mark.parametrize(
    ("known", "headings"),
    [
        ({}, None),
        ({"units": ("rad", "rad/s", "m")}, {"element", "unit"}),
        ({"low": (-1.0, -1.0, 0.0), "high": (1.0, 2.0, 3.0)}, {"element", "low", "high"}),
        ({"element_names": ("x", "y", "z")}, {"element", "name"}),
        ({"units": ("", "", "rad"), "element_names": ("", "", "z")}, {"element", "name", "unit"}),
    ],
)
def test_what_is_not_known_of_a_policy_has_no_column(
    known: dict[str, tuple[object, ...]], headings: set[str] | None
) -> None:
    text = shown(*contract_tables(contract(**known)))
    assert "Output actions [2]: no names, units or bounds" in text
    if headings is None:
        assert "Input obs [3]: no names, units or bounds" in text and "──" not in text
        return
    found = next(line for line in text.splitlines() if line.strip().startswith("element"))
    assert set(found.split()) == headings
    assert all(cells.strip() for cells in columns(text.split("Output")[0]))


def test_a_policy_without_state_says_so() -> None:
    text = shown(*contract_tables(contract()))
    assert re.search(r"^state +none", text, re.MULTILINE)
    with_state = Contract((TensorSpec("obs", 3),), (TensorSpec("actions", 2),), (StateSlot("h", (1, 2)),), (0.0, 0.0))
    assert "h [1, 2]: 2 elements" in shown(*contract_tables(with_state))


@pytest.mark.parametrize("width", ["40", "60", "80", "100"])
@pytest.mark.parametrize(
    "line", ["verify lstm.onnx --steps 20", "doctor", "inspect rsl_rl_gru.onnx", "inspect lstm.onnx"]
)
def test_the_commands_themselves(
    line: str, width: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lstm.onnx", "rsl_rl_gru.onnx"):
        shutil.copy(ARTIFACTS / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", width)
    assert main(line.split()) == 0
    text = capsys.readouterr().out
    assert "…" not in text and "\x1b" not in text  # whole, and without colours in a pipe
    for block in re.split(r"\n(?=\S)", text):
        if "──" in block:
            assert all(cells.strip(" -") for cells in columns(block)), block
    for line in text.splitlines():
        assert not re.fullmatch(r" *[─-]* *-+ *", line) or "──" in line


def test_engines_that_did_not_run_need_no_columns_of_numbers() -> None:
    table = FilledTable(
        "x", ("engine", "tensor", ">max abs", "first divergence"), [(NotRun("libtorch", "why").engine, "", "", "why")]
    )
    text = shown(table)
    assert "max abs" not in text and "tensor" not in text and "libtorch" in text


def test_a_pipe_gets_no_colours(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS")}
    command = [sys.executable, "-m", "ganglion", "inspect", str(ARTIFACTS / "lstm.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "\x1b" not in result.stdout and "…" not in result.stdout and "SHA-256" in result.stdout
    assert json.dumps(result.stdout)
