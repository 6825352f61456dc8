"""Damaged files and changed graphs: whatever is wrong with them, the answer is a `GanglionError` that says so.

`GANGLION_MUTATIONS` multiplies how many there are, `GANGLION_MUTATION_SEED` draws others.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from mutations import flipped, mutated
from onnx_node_cases import as_policy, node_cases

import ganglion
from ganglion import adapters
from ganglion._foundation.boundary import DEFECT, bounded, only_ours
from ganglion.adapters import deployment
from ganglion.cli import main
from ganglion.compiler import compile_onnx
from ganglion.compiler import file as ganglion_file
from ganglion.errors import ArtifactError, ExportError, GanglionError
from ganglion.policies.catalogue import example
from ganglion.policies.checkpoint import load_checkpoint, save_checkpoint
from ganglion.verify import load_recording

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.deep  # spoils every kind of file in every way

GOLDEN = Path(__file__).parents[2] / "golden"
ARTIFACTS = GOLDEN / "artifacts"
MANY = int(os.environ.get("GANGLION_MUTATIONS", "1"))
SEED = int(os.environ.get("GANGLION_MUTATION_SEED", "0"))
FLIPS = 40
OBSERVATIONS = ganglion.inspect(ARTIFACTS / "lstm.onnx").observation_size


def native(path: Path) -> object:
    return ganglion.load(path, engine="native")


def recording(path: Path) -> object:
    return load_recording(path, observation_size=OBSERVATIONS, batch=None)


@functools.cache
def written(name: str, folder: Path) -> Path:
    """Files that are no golden ones."""
    path = folder / name
    if name == "ours.ckpt":
        save_checkpoint(example("LSTMPolicy"), path)
    elif name == "rsl_rl.ckpt":
        net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ELU(), torch.nn.Linear(16, 2))
        state = {f"actor.{key}": value for key, value in net.state_dict().items()}
        state |= {key.replace("actor.", "critic."): value for key, value in state.items()} | {"std": torch.ones(2)}
        torch.save({"model_state_dict": state, "iter": 1}, path)
    elif name == "run.npz":
        np.savez_compressed(path, observation=np.ones((12, OBSERVATIONS), np.float32), reset=np.zeros(12, np.bool_))
    return path


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("lstm.onnx", ganglion.explain),
    ("lstm.onnx", ganglion.load),
    ("lstm.onnx", native),
    ("rsl_rl_gru.onnx", ganglion.explain),
    ("rsl_rl_gru.onnx", ganglion.load),
    ("rsl_rl_lstm.onnx", native),
    ("lstm.ganglion", ganglion.load),
    ("lstm.ganglion", ganglion_file.read),
    ("lstm.pt", ganglion.explain),
    ("lstm.pt", adapters.torchscript.load),
    ("rsl_rl_lstm.pt", adapters.torchscript.load),
    ("ours.ckpt", load_checkpoint),
    ("rsl_rl.ckpt", adapters.rsl_rl.load),
    ("run.npz", recording),
    ("isaac_lab_anymal_c.yaml", deployment.read),
    ("unitree_go2.yaml", deployment.read),
]


@pytest.mark.sampled(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "read"), READERS)
def test_damaged_bytes(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    source = next((path for path in (ARTIFACTS / name, GOLDEN / "deployment" / name) if path.exists()), None)
    data = (source or written(name, tmp_path)).read_bytes()
    for seed in range(SEED, SEED + FLIPS * MANY):
        (tmp_path / name).write_bytes(flipped(data, seed))
        try:
            read(tmp_path / name)
        except GanglionError as error:
            assert DEFECT not in str(error), f"seed {seed}: only the net caught it: {error}"
        except Exception as error:
            raise AssertionError(f"seed {seed} of {name}: {type(error).__name__}: {error}") from error


@functools.cache
def graphs() -> list[tuple[str, Any]]:
    """Recurrent policies, and one node of every kind."""
    found = []
    for path in sorted(ARTIFACTS.glob("*.onnx")):
        model = onnx.load(path)
        del model.metadata_props[:]
        found.append((path.name, model))
    cases = node_cases()
    return found * 6 + [(case.name, as_policy(case)[0]) for case in cases[:: max(1, len(cases) // 200)]]


@pytest.mark.sampled(1)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(8))
def test_changed_graphs(part: int) -> None:
    """The compiler knows what it can lower and what not; what its checks miss, the boundary catches."""
    for index, (name, model) in enumerate(graphs()[part::8]):
        for seed in range(SEED, SEED + 2 * MANY):
            changed = mutated(model, 1_000 * seed + index)
            try:
                compile_onnx(changed)
            except GanglionError as error:
                assert DEFECT not in str(error), f"seed {seed}, graph {index} ({name}): only the net caught it: {error}"
            except Exception as error:
                raise AssertionError(f"seed {seed}, graph {index} ({name}): {type(error).__name__}: {error}") from error


HINTS = ("state: [", "state: 7", "? [a]: b", "state: {h_in: [1]}", "\x00", "- 1", "a: &a [*a]")


@pytest.mark.parametrize("text", HINTS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_hint_beside_a_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes((ARTIFACTS / "rsl_rl_gru.onnx").read_bytes())
    (tmp_path / "p.onnx.yaml").write_text(text)
    (tmp_path / "p.yaml").write_text(text)
    for read in (ganglion.explain, native):
        try:
            read(tmp_path / "p.onnx")
        except GanglionError as error:
            assert DEFECT not in str(error)


# the boundary itself --------------------------------------------------------------------------------------------


def library_error(kind: str) -> None:
    """What other libraries raise."""
    if kind == "ValueError":
        np.zeros(3).reshape(2)
    elif kind == "JSONDecodeError":
        json.loads("{")
    elif kind == "UnicodeDecodeError":
        b"\xff".decode()
    elif kind == "ZeroDivisionError":
        divmod(1, 0)
    elif kind == "KeyError":
        {}["x"]
    elif kind == "MemoryError":
        raise MemoryError
    elif kind == "RecursionError":
        library_error(kind)
    elif kind == "AssertionError":
        raise AssertionError("nothing can be")


KINDS = ("ValueError", "JSONDecodeError", "UnicodeDecodeError", "ZeroDivisionError", "KeyError", "MemoryError")


@pytest.mark.parametrize("kind", [*KINDS, "RecursionError", "AssertionError"])
def test_what_others_raise_is_ours_with_the_file_and_the_cause(kind: str) -> None:
    @bounded(ExportError, what="cannot be eaten")
    def eat(path: str) -> None:
        del path
        library_error(kind)

    with pytest.raises(ExportError, match=r"^'food\.bin' cannot be eaten: ") as caught:
        eat("food.bin")
    assert type(caught.value.__cause__).__name__ == kind
    with pytest.raises(ArtifactError, match=r"^'food' cannot be read: "), only_ours("'food' cannot be read"):
        library_error(kind)


def test_what_means_the_caller_passes(tmp_path: Path) -> None:
    path = ARTIFACTS / "lstm.onnx"
    with pytest.raises(ValueError, match="engine 'x'"):
        ganglion.load(path, engine="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nonsense"):
        ganglion.load(path, nonsense=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="steps"):
        ganglion.verify(path, steps=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @bounded()
        def warns(path: Path) -> None:
            warnings.warn(str(path), stacklevel=2)

        with pytest.raises(UserWarning):
            warns(tmp_path)


def test_the_command_says_what_is_a_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> None:
        library_error("ZeroDivisionError")

    monkeypatch.setattr("ganglion.runtime.explain", broken)
    assert main(["inspect", str(ARTIFACTS / "lstm.onnx"), "--json"]) == 1
    shown = capsys.readouterr()
    assert "ZeroDivisionError" in shown.err and "defect of ganglion" in shown.err
    assert json.loads(shown.out)["error"]["type"] == "ZeroDivisionError"
    with pytest.raises(ZeroDivisionError):
        main(["inspect", str(ARTIFACTS / "lstm.onnx"), "--traceback"])
