"""TAB in the shells themselves: what they would offer behind a line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ganglion.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("argcomplete")

FILES = ("walker.onnx", "walker.ganglion", "walker.pt", "walker.py", "walker.txt", "run.npz", "agent.yaml", "lab.pem")
CASES = [
    # typed up to the cursor; some that are offered; some that are not
    ("ganglion ex", {"export"}, {"verify"}),
    ("ganglion ", {"export", "verify", "doctor", "completion"}, {"walker.onnx"}),
    ("ganglion verify --en", {"--engine"}, {"--seed"}),
    ("ganglion verify walker.onnx --engine ", {"native", "onnxruntime", "libtorch"}, {"walker.onnx"}),
    ("ganglion export model.pt --from rs", {"rsl_rl"}, {"sb3"}),
    ("ganglion export walker.py --weights int", {"int8", "int8x16", "int8x8"}, {"float32"}),
    ("ganglion inspect walker.", {"walker.onnx", "walker.ganglion", "walker.pt"}, {"walker.py", "walker.txt"}),
    ("ganglion bench walker.onnx walker.", {"walker.onnx", "walker.ganglion", "walker.pt"}, {"walker.py"}),
    ("ganglion compile walker.", {"walker.onnx", "walker.pt"}, {"walker.ganglion", "walker.py"}),
    ("ganglion export w", {"walker.py", "walker.pt"}, {"walker.txt"}),
    ("ganglion verify walker.onnx --recording ", {"run.npz"}, {"walker.onnx", "agent.yaml"}),
    ("ganglion sign walker.onnx --key ", {"lab.pem"}, {"run.npz"}),
    ("ganglion completion ", {"bash", "zsh", "fish"}, {"walker.py"}),
]
# Each prints what the shell offers behind $LINE, a line each.
BASH = """
eval "$(ganglion completion bash)"
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
read -ra COMP_WORDS <<< "$LINE"; [[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
handler=$(complete -p ganglion | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$handler ganglion "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
ganglion completion fish | source
complete -C "$LINE" | string replace -r '\\t.*' ''
"""
ZSH = """
autoload -Uz compinit; compinit -D -u 2> /dev/null
compdef() { handler=$1 }
eval "$(ganglion completion zsh)"
_describe() { local -a given; given=("${(@P)2}"); print -l -- "${given[@]}" }
words=(${(z)LINE}); [[ $LINE == *" " ]] && words+=("")
CURRENT=$#words BUFFER=$LINE CURSOR=$#LINE
$handler
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).touch()
    command = tmp_path / "bin" / "ganglion"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ganglion "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(shell: list[str], script: str, line: str) -> set[str]:
    result = subprocess.run(
        [*shell, script], capture_output=True, text=True, check=False, env={**os.environ, "LINE": line}
    )
    return {word.partition(":")[0].strip() for word in result.stdout.splitlines()} - {""}  # zsh: with its help


SHELLS = {
    "bash": (["bash", "--norc", "-c"], BASH),
    "zsh": (["zsh", "-f", "-c"], ZSH),
    "fish": (["fish", "-N", "-c"], FISH),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.usefixtures("folder")
def test_the_shell_offers_it(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for line, some, none in CASES:
        found = offered(*SHELLS[shell], line)
        assert some <= found, (line, found)
        assert not none & found, (line, found)


def test_without_argcomplete_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "argcomplete"] + ["argcomplete"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err.endswith("pip install 'ganglion[completion]'\n")
