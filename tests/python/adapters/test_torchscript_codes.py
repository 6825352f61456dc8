"""The two readers of TorchScript files, C++ and Python: the same codes, the same sentences; and the page of codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torchscript_dialects import REFUSED, frozen_with, write
from torchscript_files import save

import ganglion
from ganglion.adapters.torchscript import load
from ganglion.errors import ExportError, GanglionError

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "python" / "ganglion"
IN_PYTHON_ALONE = {"not-recordable"}
"""The C++ engine runs the program as it is; only a conversion records it."""
CODE = r'"([a-z]+(?:-[a-z]+)+)"'


def codes(sources: Iterable[Path], pattern: str) -> set[str]:
    found = {code for path in sources for code in re.findall(pattern, path.read_text(encoding="utf-8"))}
    assert found
    return found


def cpp_sources(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in (ROOT / "cpp/src" / room).rglob("*.[ch]pp")]


def python_codes() -> set[str]:
    sources = [*(PYTHON / "reading" / "torchscript").glob("*.py"), *(PYTHON / "adapters" / "torchscript").glob("*.py")]
    return codes(sources, rf"(?:refusal|Finding)\(\s*{CODE}")


def test_both_readers_have_the_same_codes() -> None:
    assert codes(cpp_sources("engines/libtorch"), CODE) == python_codes() - IN_PYTHON_ALONE


def test_the_page_of_codes_is_complete() -> None:
    section = (ROOT / "docs/DIALECTS.md").read_text(encoding="utf-8").partition("## Codes")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z]+(?:-[a-z]+)+|shape)`", section))
    assert listed == codes(cpp_sources("io", "engines", "facade"), CODE) | python_codes() | {"shape"}


def said_by_both(path: Path, state: list[str] | None = None) -> tuple[str, str]:
    with pytest.raises(GanglionError) as in_cpp:
        ganglion.load(path, state=None if state is None else {name: name for name in state})
    with pytest.raises(ExportError) as in_python:
        load(path, state_names=state)
    # The C++ runtime says which file it is about; the adapter's caller knows.
    return str(in_cpp.value).removeprefix(f"'{path}': "), str(in_python.value)


# What differs at the second time is the file itself in one reader, and its recorded program in the other.
@pytest.mark.sampled(2)
@pytest.mark.parametrize("code", sorted(set(REFUSED) - {"step-not-repeatable"}))
def test_both_readers_say_the_same(code: str, tmp_path: Path) -> None:
    in_cpp, in_python = said_by_both(save(REFUSED[code](), tmp_path / "bad.pt"))
    assert in_cpp == in_python
    assert in_cpp.endswith(f" [{code}]")


def test_both_readers_say_the_same_of_a_buffer_that_is_not_there(tmp_path: Path) -> None:
    in_cpp, in_python = said_by_both(write(tmp_path / "a.pt", "legged-lstm-1"), ["h"])
    assert in_cpp == in_python and in_cpp.endswith("[state-buffer-unknown]")


def test_both_readers_find_the_same(tmp_path: Path) -> None:
    path = save(frozen_with("_std", 0.0)(), tmp_path / "zero.pt")
    with pytest.warns(UserWarning, match="normaliser-zero-variance"):
        in_cpp, in_python = ganglion.load(path).reading.findings, load(path).findings
    assert in_cpp == in_python and [finding.code for finding in in_cpp] == ["normaliser-zero-variance"]


@pytest.mark.parametrize("name", ["rsl_rl-lstm-2", "pyrado-float64-1", "plain-mlp-1"])
def test_both_readers_see_the_same_contract(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "policy.pt", name)
    in_cpp, in_python = ganglion.load(path).contract, load(path)
    assert in_cpp.batch == (None if in_python.many_rows else 1)
    assert in_cpp.inputs == in_python.input_specs and in_cpp.outputs == in_python.output_specs
    assert in_cpp.initial_state == in_python.file_contract.initial_state
    assert [(slot.name, slot.size) for slot in in_cpp.state] == [
        (slot.name, slot.size) for slot in in_python.state_layout
    ]
