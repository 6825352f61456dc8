"""What TAB completes: commands, options, their choices, and files by their suffix. By argcomplete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganglion.errors import EngineUnavailableError

if TYPE_CHECKING:
    from ganglion.cli.command_parser import CommandParser

_POLICIES = ("ganglion", "onnx", "pt")
_SOURCES = ("py", "pt", "pth", "zip", "pkl", "npz", "safetensors", "ganglion", "onnx")
_SUFFIXES: dict[tuple[str, str], tuple[str, ...]] = {
    ("compile", "file"): ("onnx", "pt"),
    ("compile", "output"): ("ganglion", "hpp", "h"),
    ("chain", "first"): ("onnx", "pt"),
    ("chain", "second"): ("onnx", "pt"),
    ("chain", "output"): ("ganglion", "onnx", "hpp", "h"),
    ("export", "output"): ("ganglion", "hpp", "h", "onnx", "pt"),
    ("repair", "file"): ("onnx",),
    ("repair", "output"): ("onnx",),
    ("", "file"): _POLICIES,
    ("", "files"): _POLICIES,
    ("", "output"): _POLICIES,
    ("", "source"): _SOURCES,
    ("", "policy"): _SOURCES,
    ("", "recording"): ("npz",),
    ("", "deployment"): ("yaml", "yml", "onnx"),
    ("", "config"): ("yaml", "yml"),
    ("", "vecnormalize"): ("pkl",),
    ("", "key"): ("pem",),
    ("", "report"): ("html", "json"),
}
"""By command, or for all of them, and argument: which files."""


def script(shell: str) -> str:
    """The script that makes a shell ask `ganglion` what may follow.

    Args:
        shell: `bash`, `zsh` or `fish`.

    Raises:
        EngineUnavailableError: argcomplete is not installed.
    """
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise EngineUnavailableError("completion is done by argcomplete: pip install 'ganglion[completion]'") from error
    text: str = shellcode(["ganglion"], shell=shell)
    return text


def complete(parser: CommandParser) -> None:
    """Answers a shell that asks what may follow, and leaves the process. Without argcomplete there is no answer."""
    try:
        import argcomplete
        from argcomplete.completers import FilesCompleter, SuppressCompleter
    except ImportError as error:
        raise SystemExit(1) from error
    for name, command in parser.commands.items():
        for action in command._actions:
            if action.choices is None and action.nargs != 0:
                suffixes = _SUFFIXES.get((name, action.dest), _SUFFIXES.get(("", action.dest)))
                files = FilesCompleter(suffixes) if suffixes else SuppressCompleter()
                action.completer = files  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")
    raise SystemExit(1)
