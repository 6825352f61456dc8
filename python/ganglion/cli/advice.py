"""The next command to type after an error: one rule for each kind, with what was typed put in.

Nothing out of a file's content gets into a command but as one quoted word of it, and no command here runs what was
refused to run: whether to trust somebody's code is for a person to say.
"""

from __future__ import annotations

import difflib
import errno
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError, GanglionError, ParityError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from ganglion.cli.command_parser import UsageError
    from ganglion.cli.outcome import Outcome

_OUTPUTS = {
    "export": "policy.ganglion",
    "compile": "policy.ganglion",
    "chain": "policy.ganglion",
    "repair": "repaired.onnx",
    "report": "report.html",
    "wiring": "correction.yaml",
}
_READ = (
    "file",
    "files",
    "first",
    "second",
    "source",
    "policy",
    "recording",
    "deployment",
    "config",
    "vecnormalize",
    "key",
)
_WRITTEN = ("output", "report")
_FORMS = {".hpp": ".ganglion", ".h": ".ganglion", ".ganglion": ".onnx", ".onnx": ".pt", ".pt": None}
"""What a policy is exported to, and what may hold it where that cannot."""

_CODE = re.compile(r"\[([a-z]+(?:-[a-z]+)+)\]")
_EXTRA = re.compile(r"\bganglion\[([a-z_]+(?:,[a-z_]+)*)\]")
_REMEDY = re.compile(r"--state (?!INPUT:|none\b)([^\s:]\S*?:(?!OUTPUT\b)[^\s,;)]+)")
_UNSET = re.compile(r"the environment variable (\w+) is not set")
_COMMAND_OF_A_CHECKPOINT = re.compile(r"export it first: (ganglion export .*)")


@dataclass(frozen=True)
class _Fault:
    error: Exception
    said: str
    arguments: argparse.Namespace
    typed: Sequence[str]

    @property
    def command(self) -> str:
        return str(self.arguments.name)

    @property
    def file(self) -> str | None:
        """The file that the command is about, where it is there."""
        given = [*getattr(self.arguments, "files", ()), getattr(self.arguments, "file", None)]
        both = (getattr(self.arguments, name, None) for name in ("first", "second"))
        given += [text for text in both if text is not None and text in self.said]  # of two, the one it is about
        return next((text for text in given if text is not None and Path(text).is_file()), None)

    @property
    def code(self) -> str:
        found = _CODE.findall(self.said)
        return found[-1] if found else ""

    def said_again(self, *more: str, without: Sequence[str] = ()) -> str:
        """The line that was typed, with or without something."""
        kept, skip = [], False
        for word in self.typed:
            if not skip and word.partition("=")[0] not in without:
                kept.append(word)
            skip = not skip and word in without
        return _line("ganglion", *kept, *more)

    def with_word(self, old: str, new: str) -> str:
        return _line("ganglion", *(new if word == old else word for word in self.typed))


def next_command(
    error: Exception, said: str, arguments: argparse.Namespace, typed: Sequence[str], expected: bool
) -> str:
    """The command to type after an error.

    Args:
        error: the error.
        said: what is printed of it.
        arguments: the command line, parsed.
        typed: the command line.
        expected: whether the error is no defect of ours.
    """
    fault = _Fault(error, said, arguments, typed)
    if not expected:
        return fault.said_again("--traceback")
    return next(advice for rule in _RULES if (advice := rule(fault)) is not None)


def next_after(outcome: Outcome, arguments: argparse.Namespace, typed: Sequence[str]) -> str:
    """The command to type after a bad verdict."""
    fault = _Fault(GanglionError(), "", arguments, typed)
    if fault.command == "doctor":
        broken = outcome.document["problem"] is not None
        return "pip install --force-reinstall ganglion" if broken else "pip install 'ganglion[onnx]'"
    if fault.command == "replay":
        return _line("ganglion", "report", arguments.file, "-o", _OUTPUTS["report"])
    if fault.command == "wiring" and not arguments.output:
        return fault.said_again("--output", "report.html" if len(arguments.files) == 1 else _OUTPUTS["wiring"])
    if fault.command == "verify" and not arguments.report and arguments.matrix is None:
        return fault.said_again("--report", "report.html")
    return _anything(fault)


def next_usage(error: UsageError, typed: Sequence[str]) -> str:
    """The command to type after a wrong command line."""
    parser, message = error.parser, str(error)
    if error.line is not None:
        return _line("ganglion", *error.line)
    command = parser.prog.partition(" ")[2]
    if not command:
        word = next((word for word in typed if not word.startswith("-")), "")
        if word.endswith(".py") and Path(word).is_file():
            return _line("ganglion", "export", word, "-o", f"{Path(word).stem}.ganglion")
        if Path(word).suffix in (".ganglion", ".onnx", ".pt") and Path(word).is_file():
            return _line("ganglion", "inspect", word)
        return "ganglion --help"
    if message.endswith("required: -o/--output") and command in _OUTPUTS:
        return _line("ganglion", *typed, "-o", _OUTPUTS[command])
    return f"ganglion {command} {'--help-all' if parser.names_a_rare_option(message) else '--help'}"


def _line(*words: str) -> str:
    return shlex.join(words)


def _checkpoint(fault: _Fault) -> str | None:
    found = _COMMAND_OF_A_CHECKPOINT.search(fault.said)
    if type(fault.error).__name__ != "CheckpointError" or found is None:
        return None
    return "ganglion help export" if "--from TRAINER" in found[1] else found[1]


def _missing_package(fault: _Fault) -> str | None:
    found = _EXTRA.search(fault.said)
    return None if found is None else f"pip install '{found[0]}'"


def _missing_file(fault: _Fault) -> str | None:
    for name in _READ:
        given = getattr(fault.arguments, name, None)
        for text in given if isinstance(given, list) else [given]:
            if not isinstance(text, str) or Path(_file_of(text)).exists():
                continue
            path = Path(_file_of(text))
            if ":" in text and not text.rpartition(":")[0].endswith(".py"):
                return _line("python", "-c", f"import {text.rpartition(':')[0]}")
            if name == "key" and fault.command == "sign":
                return _line("openssl", "genpkey", "-algorithm", "ed25519", "-out", text)
            folder = path.parent
            while not folder.is_dir():
                folder = folder.parent
            alike = _alike(path) if folder == path.parent else None
            if alike is not None:
                return fault.with_word(text, text.replace(_file_of(text), alike, 1))
            return "ls" if str(folder) == "." else _line("ls", str(folder))
    return None


def _file_of(text: str) -> str:
    """Of `file.py:attribute` the file."""
    file, colon, _ = text.rpartition(":")
    return file if colon and file.endswith(".py") else text


def _alike(path: Path) -> str | None:
    names = sorted(one.name for one in path.parent.iterdir() if one.suffix == path.suffix)
    meant = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    return str(path.with_name(meant[0])) if meant else None


def _output(fault: _Fault) -> str | None:
    for name in _WRITTEN:
        text = getattr(fault.arguments, name, None)
        if text is None:
            continue
        path = Path(text)
        if not path.parent.exists():
            return _line("mkdir", "-p", str(path.parent))
        if path.is_dir():
            return fault.with_word(text, str(path / _OUTPUTS.get(fault.command, "out.ganglion")))
        if fault.command == "export" and path.suffix not in _FORMS:
            return fault.with_word(text, str(path.with_suffix(".ganglion")))
    return None


def _file_system(fault: _Fault) -> str | None:
    cause: BaseException | None = fault.error
    while cause is not None and (not isinstance(cause, OSError) or cause.errno is None):
        cause = cause.__cause__
    if cause is None:
        return None
    path = Path(str(cause.filename or fault.file or "."))
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        written = getattr(fault.arguments, "output", None) or getattr(fault.arguments, "report", None) or path
        return _line("df", "-h", str(Path(written).parent))
    if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _line("ls", "-ld", str(path if path.exists() else path.parent))
    return _line("ls", str(path)) if path.is_dir() else None


def _stand_in(fault: _Fault) -> str | None:
    if fault.file is None:
        return None
    with Path(fault.file).open("rb") as file:
        return "git lfs pull" if file.read(40).startswith(b"version https://git-lfs") else None


def _environment(fault: _Fault) -> str | None:
    found = _UNSET.search(fault.said)
    return None if found is None else f"read -rs {found[1]} && export {found[1]}"


def _no_policy(fault: _Fault) -> str | None:
    """Where the source of a policy is given in place of its file."""
    for text in [*getattr(fault.arguments, "files", ()), getattr(fault.arguments, "file", None)]:
        path = Path(text or "")
        if text and path.suffix == ".py" and path.is_file():
            return _line("ganglion", "export", text, "-o", f"{path.stem}.ganglion")
        if text and path.is_dir():
            snapshots = (path / "params.pt").is_file() or any(path.glob("itr_*.pt"))
            return _line("ganglion", "export", text, "-o", "policy.ganglion") if snapshots else _line("ls", text)
    return None


def _reading(fault: _Fault) -> str | None:
    """What is open in a file without a contract is said to `inspect`, which shows how it is read and writes nothing."""
    if fault.file is None:
        return None
    how = ("ganglion", "inspect", fault.file)
    kind = fault.code.partition("-")[0]
    if fault.code in ("weights-missing", "weights-outside"):
        return _line("ls", str(Path(fault.file).parent))
    if fault.code in ("state-ambiguous", "state-not-fed"):
        pairs = dict.fromkeys(_REMEDY.findall(fault.said))
        states = [word for pair in pairs for word in ("--state", pair)]
        return _line(*how, *(states or ("--state", "none")))
    if kind == "state" and getattr(fault.arguments, "state", None):
        return _line(*how)
    if kind == "action" and getattr(fault.arguments, "action", None):
        return _line(*how)
    if kind == "observation":
        size = re.search(r"\b(\d+) or \d+ elements", fault.said)
        if size is not None:
            return _line(*how, "--observation", size[1])
        return "ganglion inspect --help" if not getattr(fault.arguments, "observation", None) else _line(*how)
    return None


def _options(fault: _Fault) -> str | None:
    """Options that do not fit together."""
    if getattr(fault.arguments, "engine", None) and re.search(r"\bengine '?\w+'? does not (run|open)", fault.said):
        return fault.said_again(without=("--engine",))
    if not isinstance(fault.error, ValueError):
        return None
    for name in ("batch", "itr"):
        if getattr(fault.arguments, name, None) is not None and re.search(rf"\b{name}\b", fault.said):
            return fault.said_again(without=(f"--{name}",))
    return f"ganglion {fault.command} --help-all"


def _feed(fault: _Fault) -> str | None:
    """What goes into the second of two files."""
    found = re.search(r"for example (\S+)$", fault.said)
    return None if fault.command != "chain" or found is None else fault.said_again("--feed", found[1])


def _source(fault: _Fault) -> str | None:
    """What the user's own code did."""
    text = str(getattr(fault.arguments, "source", None) or "")
    file = _file_of(text)
    if re.search(r": no attribute '", fault.said) and Path(file).is_file():
        return _line("grep", "-nE", "^(def |class |[A-Za-z_]+ *=)", file)
    if re.search(r" raised \w+: ", fault.said):
        return fault.said_again("--traceback")
    return None


def _engine(fault: _Fault) -> str | None:
    return "ganglion doctor" if isinstance(fault.error, EngineUnavailableError) else None


def _other_form(fault: _Fault) -> str | None:
    """What one form cannot hold another may."""
    if not isinstance(fault.error, (ExportError, ParityError)):
        return None
    if getattr(fault.arguments, "weights", "float32") != "float32":
        return fault.said_again(without=("--weights", "--weight-tolerance"))
    if fault.command != "export":
        return None
    form = _FORMS.get(Path(fault.arguments.output).suffix)
    if form is not None:
        other = str(Path(fault.arguments.output).with_suffix(form))
        return fault.with_word(fault.arguments.output, other)
    return fault.said_again("--traceback")


def _consent(fault: _Fault) -> str | None:
    """What consent means stands on the whole page."""
    asked = re.search(r"--(trust|allow-pickle)\b", fault.said)
    return None if asked is None else f"ganglion {fault.command} --help-all"


def _anything(fault: _Fault) -> str:
    if fault.command in ("replay", "report", "wiring"):
        return f"ganglion {fault.command} --help"
    if fault.file is not None and fault.command != "inspect" and not isinstance(fault.error, ArtifactError):
        return _line("ganglion", "inspect", fault.file)
    return f"ganglion {'export' if fault.file is not None else fault.command} --help"


_RULES: tuple[Callable[[_Fault], str | None], ...] = (
    _checkpoint,
    _missing_package,
    _options,
    _missing_file,
    _output,
    _file_system,
    _stand_in,
    _environment,
    _no_policy,
    _reading,
    _feed,
    _source,
    _engine,
    _consent,
    _other_form,
    _anything,
)
