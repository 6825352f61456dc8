"""Every error ends with the next command to type, and that command can be typed."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch

from ganglion import errors
from ganglion.cli import advice, main
from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import command_line

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
ARTIFACTS = ROOT / "tests" / "golden" / "artifacts"
NETWORK = """
import torch, gymnasium
from ganglion.policies import EnvSpec, GRUPolicy
spec = EnvSpec(gymnasium.spaces.Box(-1.0, 1.0, (3,)), gymnasium.spaces.Box(-1.0, 1.0, (2,)))
policy = GRUPolicy(spec, hidden_size=4, num_recurrent_layers=1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("walker.py", "a.py"):
        (tmp_path / name).write_text(NETWORK)
    (tmp_path / "broken.py").write_text("policy = 1 / 0\n")
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "empty folder").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "params.pt").write_bytes(b"")
    for name in ("rsl_rl_gru.onnx", "lstm.onnx", "lstm.ganglion"):
        shutil.copy(ARTIFACTS / name, tmp_path / name)
    shutil.copy(ARTIFACTS / "lstm.onnx", tmp_path / "my policy.onnx")
    unfed = onnx.load(ARTIFACTS / "rsl_rl_gru.onnx")
    del unfed.graph.output[1:]
    onnx.save(unfed, tmp_path / "unfed.onnx")
    state = {f"actor.{layer}.weight": torch.zeros(4, 4) for layer in (0, 2)}
    state |= {f"actor.{layer}.bias": torch.zeros(4) for layer in (0, 2)}
    state |= {name.replace("actor", "critic"): value for name, value in state.items()} | {"std": torch.ones(4)}
    torch.save({"model_state_dict": state, "iter": 5, "optimizer_state_dict": {}}, tmp_path / "model_5.pt")
    return tmp_path


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[str, str]]:
    """Runs a line that fails; gives the message and the advice, which are the same in both forms of output."""

    def call(line: str) -> tuple[str, str]:
        capsys.readouterr()
        statuses, said = [], []
        for typed in ([*shlex.split(line)], [*shlex.split(line), "--json"]):
            try:
                statuses.append(main(typed))
            except SystemExit as left:
                statuses.append(int(left.code or 0))
            said.append(capsys.readouterr())
        assert statuses[0] == statuses[1] and statuses[0] in (1, 2), statuses
        document: dict[str, Any] = json.loads(said[1].out)
        assert document["ok"] is False
        told = document["error"]["next"]
        last = said[0].err.rstrip("\n").splitlines()[-1]
        assert last.endswith(told.replace(" --json", "")), (last, told)
        return document["error"]["message"], told.replace(" --json", "")

    return call


RUN = [
    # what is typed, what to type next
    ("inspect lstn.onnx", "ganglion inspect lstm.onnx"),
    ("inspect 'my polcy.onnx'", "ganglion inspect 'my policy.onnx'"),
    ("verify nothing.onnx", "ls"),
    ("inspect 'empty folder/x.onnx'", "ls 'empty folder'"),
    ("inspect 'empty folder'", "ls 'empty folder'"),
    ("inspect no/where/x.onnx", "ls"),
    ("export walkr.py -o x.ganglion", "ganglion export walker.py -o x.ganglion"),
    ("export walkr.py:policy -o x.ganglion", "ganglion export walker.py:policy -o x.ganglion"),
    ("export walker.py -o x.txt", "ganglion export walker.py -o x.ganglion"),
    ("export walker.py -o new/x.ganglion", "mkdir -p new"),
    ("verify lstm.onnx --report new/x.html", "mkdir -p new"),
    ("export walker.py:polic -o x.onnx", "grep -nE '^(def |class |[A-Za-z_]+ *=)' walker.py"),
    ("inspect walker.py", "ganglion export walker.py -o walker.ganglion"),
    ("bench walker.py", "ganglion export walker.py -o walker.ganglion"),
    ("walker.py", "ganglion export walker.py -o walker.ganglion"),
    ("lstm.onnx", "ganglion inspect lstm.onnx"),
    ("inspect rsl_rl_gru.onnx --state h_in:nothing", "ganglion inspect rsl_rl_gru.onnx"),
    ("compile rsl_rl_gru.onnx -o x.ganglion --action nothing", "ganglion inspect rsl_rl_gru.onnx"),
    ("verify lstm.onnx --engine libtorch --steps 5", "ganglion verify lstm.onnx --steps 5"),
    ("bench lstm.ganglion --steps 5 --engine onnxruntime", "ganglion bench lstm.ganglion --steps 5"),
    ("compile unfed.onnx -o x.hpp", "ganglion inspect unfed.onnx --state none"),
    ("export walker.py -o x.ganglion --itr 3", "ganglion export walker.py -o x.ganglion"),
    ("export walker.py -o x.onnx --set a=1", "ganglion export --help-all"),
    ("verify lstm.onnx --from rsl_rl", "ganglion verify --help-all"),
    ("inspect text.onnx", "ganglion export --help"),
    ("exprot walker.py -o x.ganglion", "ganglion export walker.py -o x.ganglion"),
    ("sign lstm.ganglion --key PRIVATE.pem", "openssl genpkey -algorithm ed25519 -out PRIVATE.pem"),
]


@pytest.mark.parametrize(("typed", "following"), RUN)
@pytest.mark.usefixtures("folder")
@pytest.mark.deep
def test_what_follows_runs(typed: str, following: str, fail: Callable[[str], tuple[str, str]]) -> None:
    _, told = fail(typed)
    assert told == following
    words = shlex.split(told)
    if words[0] == "openssl" and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    if words[0] == "ganglion":
        with contextlib.suppress(SystemExit):  # after help
            assert main(words[1:]) == 0
        return
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


SAID = [
    ("inspect pointer.onnx", "git lfs pull"),
    ("export broken.py -o x.onnx", "ganglion export broken.py -o x.onnx --traceback"),
    ("export no_module:policy -o x.onnx", "python -c 'import no_module'"),
    (
        "sign lstm.ganglion --key walker.py --passphrase-env UNSET_HERE",
        "read -rs UNSET_HERE && export UNSET_HERE",
    ),
    ("inspect run", "ganglion export run -o policy.ganglion"),
    ("inspect model_5.pt", "ganglion export model_5.pt --from rsl_rl -o policy.ganglion"),
    ("verify --matrix --recording run.npz", "ganglion verify --help-all"),
]


@pytest.mark.parametrize(("typed", "following"), SAID)
@pytest.mark.usefixtures("folder")
def test_what_follows(typed: str, following: str, fail: Callable[[str], tuple[str, str]]) -> None:
    assert fail(typed)[1] == following


@pytest.mark.usefixtures("folder")
def test_it_stands_there_once(fail: Callable[[str], tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    message, told = fail("inspect model_5.pt")
    assert message.endswith(told)
    main(["inspect", "model_5.pt"])
    assert capsys.readouterr().err.count(told) == 1


def fault(line: str, error: Exception) -> str:
    typed = shlex.split(line)
    parser = command_line(COMMANDS)
    return advice.next_command(error, " ".join(str(error).split()), parser.parse(typed), typed, expected=True)


LINES = {
    "export": "export walker.py -o x.onnx",
    "compile": "compile lstm.onnx -o x.ganglion",
    "chain": "chain lstm.onnx lstm.onnx -o x.ganglion",
    "inspect": "inspect lstm.onnx",
    "verify": "verify lstm.onnx",
    "profile": "profile lstm.onnx --recording run.npz",
    "sign": "sign lstm.onnx --key walker.py",
    "repair": "repair lstm.onnx -o x.onnx --policy walker.py",
    "bench": "bench lstm.onnx lstm.ganglion",
    "replay": "replay lstm.onnx",
    "report": "report lstm.onnx -o x.html",
    "wiring": "wiring lstm.onnx lstm.onnx",
    "doctor": "doctor",
    "completion": "completion bash",
}
PROGRAMS = ("ganglion", "pip", "ls", "python", "grep", "mkdir", "df", "openssl", "git", "read")


def of_every_kind() -> list[Exception]:
    """All classes of ours, all codes of the page, and what the file system says."""
    codes = re.findall(r"`([a-z]+(?:-[a-z]+)+)`", (ROOT / "docs" / "DIALECTS.md").read_text(encoding="utf-8"))
    found: list[Exception] = [errors.ArtifactError(f"it cannot be read [{code}]") for code in dict.fromkeys(codes)]
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.GanglionError):
            more = {errors.UnsupportedModuleError: ("why",), errors.ParityError: (None,), errors.StepError: ("why",)}
            found.append(kind("x", *more.get(kind, ())))
    found += [OSError(number, "refused", "lstm.onnx") for number in (errno.ENOSPC, errno.EACCES, errno.EIO)]
    return [*found, ValueError("they do not fit"), errors.EngineUnavailableError("pip install 'ganglion[onnx]'")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("folder")
def test_every_kind_of_error_has_one(command: str) -> None:
    for error in of_every_kind():
        told = fault(LINES[command], error)
        words = shlex.split(told)
        assert words[0] in PROGRAMS, told
        if words[0] == "ganglion" and not {"--help", "--help-all"} & set(words):
            command_line(COMMANDS).parse(words[1:])
        assert "--trust" not in words and "--allow-pickle" not in words


CHOSEN = [
    (
        "export walker.py -o x.ganglion",
        errors.UnsupportedModuleError("net.0", "no"),
        "ganglion export walker.py -o x.onnx",
    ),
    ("export walker.py -o x.hpp", errors.ExportError("no"), "ganglion export walker.py -o x.ganglion"),
    ("export walker.py -o x.h", errors.ExportError("no"), "ganglion export walker.py -o x.ganglion"),
    ("export walker.py -o x.pt", errors.ExportError("no"), "ganglion export walker.py -o x.pt --traceback"),
    ("export walker.py -o x.hpp --weights int8", errors.ParityError("no", None), "ganglion export walker.py -o x.hpp"),
    ("compile lstm.onnx --weights=int8 -o x.hpp", errors.ExportError("no"), "ganglion compile lstm.onnx -o x.hpp"),
    ("export walker.py -o x.onnx", OSError(errno.ENOSPC, "No space left on device", "x.onnx"), "df -h ."),
    ("verify lstm.onnx", errors.EngineUnavailableError("nothing here"), "ganglion doctor"),
    ("verify lstm.onnx", errors.EngineUnavailableError("install ganglion[torch]"), "pip install 'ganglion[torch]'"),
    (
        "compile lstm.onnx -o x.hpp",
        errors.ArtifactError("two ways; say which one holds: --state h0:hn --state c0:cn, or none [state-ambiguous]"),
        "ganglion inspect lstm.onnx --state h0:hn --state c0:cn",
    ),
    (
        "verify lstm.onnx",
        errors.ArtifactError("its observation may have 7 or 9 elements [observation-size-ambiguous]"),
        "ganglion inspect lstm.onnx --observation 7",
    ),
    ("verify lstm.onnx", errors.ArtifactError("say so (--trust, trust=True)"), "ganglion verify --help-all"),
]


@pytest.mark.parametrize(("typed", "error", "following"), CHOSEN)
@pytest.mark.usefixtures("folder")
def test_the_rule_for_it(typed: str, error: Exception, following: str) -> None:
    assert fault(typed, error) == following


@pytest.mark.usefixtures("folder")
def test_a_name_out_of_a_file_is_one_word() -> None:
    said = "say which one holds: --state a;rm:b`id`$x, or --state none [state-ambiguous]"
    told = fault("inspect lstm.onnx", errors.ArtifactError(said))
    assert shlex.split(told) == ["ganglion", "inspect", "lstm.onnx", "--state", "a;rm:b`id`$x"]
    # A sentence that a name put there is no command.
    evil = "input 'x; export it first: ganglion export evil.py -o y' is no state [input-type]"
    assert "evil" not in fault("inspect lstm.onnx", errors.ArtifactError(evil))


@pytest.mark.usefixtures("folder")
def test_a_bad_verdict_has_one_too(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["verify", "lstm.onnx", "--tolerance", "1e-12", "--steps", "20"]
    assert main(line) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"next: ganglion {' '.join(line)} --report report.html"
    assert main([*line, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["next"].endswith("--report report.html")
