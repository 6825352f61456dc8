"""Engines and load options stand once, in ganglion/options.hpp: what is written out in Python says the same."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path
from typing import get_args

import pytest

import ganglion
from ganglion import _core, runtime
from ganglion.runtime.engines import EngineName
from ganglion.runtime.libtorch_build import package_data

ROOT = Path(__file__).parents[3]
TABLE = _core.engines()


def test_the_native_engine_alone_is_for_real_time() -> None:
    assert [row.name for row in TABLE if row.realtime_safe] == ["native"]


def test_type_checkers_know_every_engine() -> None:
    assert get_args(EngineName) == ("automatic", *(row.name for row in TABLE))


def test_python_says_of_every_engine_whether_it_is_usable() -> None:
    assert [info.name for info in runtime.engines(build=False)] == [row.name for row in TABLE]


def test_every_engine_is_a_room_of_its_own() -> None:
    rooms = {path.parent.name for path in (ROOT / "cpp/src/engines").glob("*/CMakeLists.txt")}
    assert rooms == {row.name for row in TABLE} - {"native"}


@pytest.mark.parametrize("suffix", [*dict.fromkeys(row.suffix for row in TABLE), ".txt"])
def test_engines_that_run_a_file(suffix: str) -> None:
    able = [row.name for row in TABLE if row.suffix == suffix]
    assert runtime.engines_for(f"policy{suffix}") == (*able, *(["native"] if suffix == ".onnx" else []))


def test_load_takes_every_option_and_documents_it() -> None:
    options = _core.load_options()
    signature = {
        name: parameter.default
        for name, parameter in inspect.signature(ganglion.load).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    # What a file without a contract does not tell of itself are its state, its action and its observation, to Python.
    signature["hints"] = signature.pop("state")
    assert signature.pop("action") is None
    assert signature.pop("observation") is None
    assert signature == {name: default for name, (default, _) in options.items()}
    text = inspect.getdoc(ganglion.load) or ""
    for name in (*signature, "action", "observation"):
        assert f"\n    {'state' if name == 'hints' else name}: " in text, f"load says nothing of {name}"


def test_every_option_has_a_sentence() -> None:
    assert all(what for _, what in _core.load_options().values())


def test_an_option_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="no such option"):
        _core.LoadOptions({"thread": 1})


@pytest.mark.parametrize("tool", ["ganglion-run", "ganglion-bench"])
def test_the_tools_take_every_option(tool: str) -> None:
    result = subprocess.run([package_data() / "bin" / tool], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    for what in (what for _, what in _core.load_options().values()):
        assert what in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "threads must be at least 1"),
        (["--batch", "0"], "--batch needs a whole number of at least 1"),
        (["--sample-seed", "-1"], "--sample-seed needs a whole number"),
        (["--engine", "abacus"], "'abacus' is not one of automatic, native, "),
        (["--engine", "libtorch"], "engine libtorch does not run .ganglion files; use native or automatic"),
        (["--state-pair", "h"], "--state-pair takes INPUT:OUTPUT"),
        (["--self-test"], "option --self-test is not known"),
    ],
)
def test_what_the_tools_refuse(options: list[str], message: str, tmp_path: Path) -> None:
    artifact = ROOT / "tests/golden/artifacts/lstm.ganglion"
    command = [package_data() / "bin" / "ganglion-run", *options, artifact, tmp_path / "in.csv", tmp_path / "out.csv"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0 and message in result.stderr
