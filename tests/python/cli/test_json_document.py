"""docs/json.md lists every field that `--json` prints, and nothing else comes out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from flight_files import FlightFile, Flown

import ganglion
from ganglion.cli import main
from ganglion.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
ARTIFACTS = ROOT / "tests" / "golden" / "artifacts"
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \|([^|]+)\|([^|]*)\|(.+)\|$", re.MULTILINE)


def tables() -> dict[str, dict[str, str]]:
    """By section: the type of each field."""
    title = re.compile(r"^##+ (.*)$", re.MULTILINE)
    parts = title.split(PAGE)
    sections = dict(zip(("every", *parts[1::2]), (parts[0], *parts[2::2]), strict=True))
    return {name: {field: kind.strip() for field, kind, _, _ in _ROW.findall(text)} for name, text in sections.items()}


TABLES = tables()
SEEN: set[tuple[str, str]] = set()


def problems(value: Any, kind: str, where: str) -> list[str]:
    """What of a value does not have the type that the page says."""
    kind = kind.removeprefix("optional ")
    if kind.startswith("list of ") and isinstance(value, list):
        return [one for each in value for one in problems(each, kind.removeprefix("list of "), f"{where}[]")]
    if kind.startswith("map of ") and isinstance(value, dict):
        return [one for each in value.values() for one in problems(each, kind.removeprefix("map of "), f"{where}.*")]
    if kind.startswith(("list of ", "map of ")) and value is None and kind.endswith(" or null"):
        return []
    for name in kind.split(" or "):
        part = re.fullmatch(r"\[(.*)\]\(#.*\)", name)
        if part is not None and isinstance(value, dict):
            return misfits(value, part[1], where)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {
            "null": value is None,
            "boolean": isinstance(value, bool),
            "text": isinstance(value, str),
            "integer": number and isinstance(value, int),
            "number": number,
        }
        if name == "any" or fits.get(name, False):
            return []
    return [f"{where} is {value!r}, and docs/json.md says {kind}"]


def misfits(
    document: dict[str, Any], section: str, where: str = "", *, more: dict[str, str] | None = None
) -> list[str]:
    """Fields of a document that the page does not have, fields of the page that it lacks, and other types."""
    rows = TABLES[section] | (more or {})
    SEEN.update((section, field) for field in document)
    found = [
        f"{where}.{field} has no row in docs/json.md, section {section}" for field in document if field not in rows
    ]
    found += [
        f"{where}.{field} of docs/json.md is not there"
        for field, kind in rows.items()
        if field not in document and not kind.startswith("optional ")
    ]
    return found + [
        one
        for field, kind in rows.items()
        if field in document
        for one in problems(document[field], kind, f"{where}.{field}")
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("rsl_rl_gru.onnx", "lstm.onnx", "lstm.ganglion"):
        shutil.copy(ARTIFACTS / name, tmp_path / name)
    lost = onnx.load(ARTIFACTS / "rsl_rl_gru.onnx")
    for node in lost.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 0
    onnx.save(lost, tmp_path / "lost.onnx")
    (tmp_path / "walker.py").write_text(
        "import torch, gymnasium\n"
        "from ganglion.policies.catalogue import example\n"
        "policy = example('DeployablePolicy')\n"
        "torch.manual_seed(3)\n"
        "other = example('DeployablePolicy')\n"
    )
    observation = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    pilot = ganglion.load("rsl_rl_gru.onnx")
    action = np.array([np.array(pilot.step(row)) for row in observation])
    np.savez(tmp_path / "run.npz", observation=observation, action=action, reset=np.arange(70) == 0)
    np.savez(tmp_path / "other.npz", observation=observation[:, [1, 0, 2, 3, 4]])
    for name, replaced in (("flight", {}), ("wrong", {"action": [7.0, 8.0]})):
        file = FlightFile()
        file.recording()
        flown = Flown(file, Path("lstm.ganglion"))
        flown.step([9.0, 0.0, 0.0])
        flown.step(np.full(3, np.nan))
        flown.step(np.zeros(3), replaced=replaced)
        Path(f"{name}.mcap").write_bytes(file.done())
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, dict[str, Any]]]:
    def call(line: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        try:
            status = main([*line.split(), "--json"])
        except SystemExit as left:
            status = int(left.code or 0)
        text = capsys.readouterr().out
        assert text.count("\n") == 1
        return status, json.loads(text)

    return call


LINES = [
    ("export walker.py -o walker.onnx", "export", 0),
    ("compile rsl_rl_gru.onnx -o x.ganglion --weights float16", "compile", 0),
    ("inspect rsl_rl_gru.onnx", "inspect", 0),
    ("inspect lstm.ganglion", "inspect", 0),
    ("verify lstm.onnx --steps 20", "verify", 0),
    ("verify lstm.onnx --steps 20 --tolerance 1e-12", "verify", 1),
    ("verify --matrix RNNPolicy --steps 20", "verify --matrix", 0),
    ("repair lost.onnx -o x.onnx --recording run.npz", "repair", 0),
    ("bench lstm.ganglion --steps 50 --rounds 2", "bench", 0),
    ("replay flight.mcap", "replay", 0),
    ("replay wrong.mcap", "replay", 1),
    ("report wrong.mcap -o wrong.html", "report", 0),
    ("wiring run.npz run.npz", "wiring", 0),
    ("wiring run.npz other.npz -o report.json", "wiring", 1),
    ("doctor", "doctor", 0),
    ("completion bash", "completion", 0),
    ("inspect nothing.onnx", "", 1),
    ("verify lstm.onnx --batch 77", "", 2),
    ("verify lstm.onnx --stpes 5", "", 2),
]


@pytest.mark.parametrize(("line", "section", "status"), LINES)
@pytest.mark.usefixtures("folder")
def test_every_field_has_a_row(
    line: str, section: str, status: int, run: Callable[[str], tuple[int, dict[str, Any]]]
) -> None:
    if line.startswith("completion"):
        pytest.importorskip("argcomplete")
    found, document = run(line)
    assert found == status, document
    assert document["schema"] == 1 and document["ok"] is (status == 0)
    if section:
        assert ("next" in document) is (status == 1)
        assert not misfits(document, section, more=TABLES["every"])
    else:
        assert set(document) == {"schema", "ok", "error"}
        assert not misfits(document["error"], "error")


@pytest.mark.usefixtures("folder")
def test_a_signed_file(run: Callable[[str], tuple[int, dict[str, Any]]]) -> None:
    keys = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    pem = keys.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    Path("lab.pem").write_bytes(pem)
    status, document = run("sign lstm.ganglion --key lab.pem -o signed.ganglion")
    assert status == 0 and not misfits(document, "sign", more=TABLES["every"])
    assert isinstance(run("inspect signed.ganglion")[1]["signer"], str)


def test_a_new_field_is_seen() -> None:
    document = {"type": "X", "message": "m", "next": "ls"}
    assert not misfits(document, "error")
    assert misfits(document | {"line": 3}, "error") == [".line has no row in docs/json.md, section error"]
    assert misfits({"type": "X", "message": "m"}, "error") == [".next of docs/json.md is not there"]
    assert misfits(document | {"message": None}, "error")


def test_every_command_has_a_section() -> None:
    assert COMMANDS.keys() <= TABLES.keys()
    for section, rows in TABLES.items():
        assert rows or section == "Parts", section
