"""What the command line says of itself: on one screen, at once, and with what was meant."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ganglion.cli import main
from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import command_line

if TYPE_CHECKING:
    from ganglion.cli.command_parser import CommandParser

LINES, COLUMNS = 23, 80  # of a terminal of 24, one is the next prompt


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> CommandParser:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    return command_line(COMMANDS)


def too_big(page: str) -> str:
    """What does not fit a screen."""
    lines = page.splitlines()
    wide = [line for line in lines if len(line) > COLUMNS]
    return f"{len(lines)} lines, {wide}" if wide or len(lines) > LINES else ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(command: str, parser: CommandParser) -> None:
    page = parser.commands[command].format_help()
    assert not too_big(page), page
    assert "examples:" in page and "--json" in page and "--help-all" in page


def test_a_page_that_grows_is_seen(parser: CommandParser) -> None:
    export = parser.commands["export"]
    for name in ("--one", "--two", "--three"):
        export.option(name, brief="another", help="another")
    assert too_big(export.format_help())


def test_the_front_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = capsys.readouterr().out
    assert not too_big(page), page
    for job in ("export", "embed", "verify"):
        assert re.search(rf"^  {job} +\S.*\n +\$ ganglion ", page, re.MULTILINE), job
    assert all(re.search(rf"(^  |\$ ganglion ){command}\b", page, re.MULTILINE) for command in COMMANDS)
    for line in (["--help"], ["-h"], ["help"]):
        with pytest.raises(SystemExit) as left:
            main(line)
        assert left.value.code == 0 and capsys.readouterr().out == page


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_command_lines(command: str, parser: CommandParser) -> None:
    for example in parser.commands[command].examples:
        assert parser.parse(re.split(" >>? ", example)[0].split()[1:]).name == command


@pytest.mark.parametrize("command", COMMANDS)
def test_all_of_it_is_on_the_whole_page(
    command: str, capsys: pytest.CaptureFixture[str], parser: CommandParser
) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help-all"])
    page = capsys.readouterr().out
    assert left.value.code == 0
    for action in parser.commands[command]._actions:
        assert action.help, action.option_strings
        assert all(name in page for name in action.option_strings[-1:])
    with pytest.raises(SystemExit):
        main(["help", command])
    assert capsys.readouterr().out == parser.commands[command].format_help()


def test_help_needs_nothing_slow() -> None:
    """Every TAB starts the command, too."""
    script = (
        "import sys\n"
        "from ganglion.cli import main\n"
        "main([])\n"
        "try: main(['verify', '--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'numpy', 'rich', 'torch', 'onnx', 'ganglion._core'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


MEANT = [
    ("exprot walker.py -o x.onnx", "ganglion export walker.py -o x.onnx"),
    ("Verify x.onnx", "ganglion verify x.onnx"),
    ("verify x.onnx --enigne native", "ganglion verify x.onnx --engine native"),
    ("verify x.onnx --stpes=5", "ganglion verify x.onnx --steps=5"),
    ("verify x.onnx --engine nativ", "ganglion verify x.onnx --engine native"),
    ("export m.pt --from=rslrl -o x.onnx", "ganglion export m.pt --from=rsl_rl -o x.onnx"),
    ("export walker.py --ouput x.onnx", "ganglion export walker.py --output x.onnx"),
    ("export walker.py --weights int4 -o x.hpp", "ganglion export walker.py --weights int8 -o x.hpp"),
    ("export walker.py", "ganglion export walker.py -o policy.ganglion"),
    ("compile 'my policy.onnx'", "ganglion compile 'my policy.onnx' -o policy.ganglion"),
    ("fly", "ganglion --help"),
    ("export", "ganglion export --help"),
    ("verify x.onnx --steps 0", "ganglion verify --help"),
    ("verify x.onnx --seed x", "ganglion verify --help-all"),
    ("inspect a.onnx b.onnx", "ganglion inspect --help"),
]


@pytest.mark.parametrize(("typed", "meant"), MEANT)
def test_a_wrong_line_says_what_was_meant(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = shlex.split(typed)
    with pytest.raises(SystemExit) as left:
        main([*line, "--json"])
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert left.value.code == 2 and document["ok"] is False
    assert document["error"]["next"].removesuffix(" --json").replace(" --json -o", " -o") == meant
    with pytest.raises(SystemExit):
        main(line)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("usage: ganglion ")
    assert shown.err.splitlines()[-1] == f"next: {meant}"


def test_json_and_traceback_may_stand_before_the_command(parser: CommandParser) -> None:
    arguments = parser.parse(["--json", "inspect", "x.onnx"])
    assert arguments.json and arguments.name == "inspect"
