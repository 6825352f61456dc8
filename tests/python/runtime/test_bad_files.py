"""Files that are none, damaged, newer or changed: one clear sentence each, never a crash."""

from __future__ import annotations

import json
import os
import re
import resource
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import ganglion
from ganglion._foundation.files import read_file
from ganglion._foundation.recordings import read_plain
from ganglion.contract import sealed
from ganglion.data import EpisodeBatch
from ganglion.policies.checkpoint import load_checkpoint

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"


def refused(path: Path, says: str, error: type[Exception] = ganglion.ArtifactError) -> None:
    with pytest.raises(error, match=says) as caught:
        ganglion.load(path)
    assert str(path) in str(caught.value)


def test_a_graph_that_was_traced_with_rows_says_how_many(tmp_path: Path) -> None:
    names = {"obs": ["batch", 3], "actions": ["batch", 3]}
    takes, gives = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names.items())
    nodes = [helper.make_node("Reshape", ["obs", "traced"], ["actions"])]
    traced = onnx.numpy_helper.from_array(np.array([4, 3]), "traced")
    graph = helper.make_graph(nodes, "policy", [takes], [gives], [traced])
    path = tmp_path / "policy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    refused(path, r"runs with 4 rows only: load\(\.\.\., batch=4\)")
    observation = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(ganglion.load(path, batch=4).step(observation), observation)


def test_missing_directory_empty_and_suffix(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path, "is a directory")
    for suffix in (".ganglion", ".onnx", ".pt"):
        (tmp_path / f"empty{suffix}").touch()
        refused(tmp_path / f"empty{suffix}", "is empty")
    (tmp_path / "policy.txt").write_text("hello")
    refused(tmp_path / "policy.txt", "suffix '.txt'")


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_truncated(tmp_path: Path, name: str) -> None:
    content = (ARTIFACTS / name).read_bytes()
    target = tmp_path / name
    for length in (10, 500, len(content) // 2, len(content) - 1):
        target.write_bytes(content[:length])
        refused(target, "truncated|damaged|ONNX model|TorchScript")


def test_zip_that_is_no_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "notes.pt", "not a TorchScript one")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "checkpoint.pt")
    refused(tmp_path / "checkpoint.pt", "checkpoint")


def test_what_is_no_regular_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    for suffix in (".ganglion", ".onnx", ".pt"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        refused(tmp_path / f"pipe{suffix}", "a device, a pipe or a socket")
        (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
        refused(tmp_path / f"device{suffix}", "a device, a pipe or a socket")
        with (tmp_path / f"large{suffix}").open("wb") as file:
            file.truncate((2 << 30) + 1)  # sparse: it takes no space
        refused(tmp_path / f"large{suffix}", "files of up to 2147483648 are read")
    (tmp_path / "lstm.onnx").write_bytes((ARTIFACTS / "rsl_rl_lstm.onnx").read_bytes())
    os.mkfifo(tmp_path / "lstm.onnx.yaml")
    with pytest.raises(ganglion.ArtifactError, match="a device, a pipe or a socket"):
        ganglion.load(tmp_path / "lstm.onnx")
    for reader, name in (
        (read_file, "pipe.onnx"),
        (load_checkpoint, "pipe.pt"),
        (EpisodeBatch.load, "pipe.pt"),
        (lambda path: read_plain(path, 3, None), "pipe.pt"),
        (lambda path: ganglion.compile(path, tmp_path / "out.ganglion"), "pipe.onnx"),
        (lambda path: ganglion.compile(path, tmp_path / "out.ganglion"), "device.pt"),
    ):
        with pytest.raises(ganglion.ArtifactError):
            reader(tmp_path / name)


@pytest.mark.parametrize("shape", [(65536, 1, 65536), (4096, 1, 4096), (1, 1, 1 << 24), (1 << 24, 1, 1 << 24)])
def test_a_small_file_that_announces_a_large_state(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], np.ones(6))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "w"], ["actions"])],
        "g",
        [info("obs", 1, 3), info("h_in", *shape)],
        [info("actions", 1, 2), info("h_out", *shape)],
        [weights],
    )
    path = tmp_path / "bomb.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for action in (ganglion.inspect, ganglion.load):
        with pytest.raises(ganglion.ArtifactError, match=r"\[shape\]"):
            action(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_protobuf_that_is_no_model(tmp_path: Path) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [2], [1.0, 2.0])
    (tmp_path / "tensor.onnx").write_bytes(tensor.SerializeToString())
    refused(tmp_path / "tensor.onnx", "ONNX model")
    (tmp_path / "other.pt").write_bytes((ARTIFACTS / "lstm.onnx").read_bytes())
    refused(tmp_path / "other.pt", "no ZIP header")
    (tmp_path / "other.onnx").write_bytes((ARTIFACTS / "lstm.pt").read_bytes())
    refused(tmp_path / "other.onnx", "ZIP archive")


def with_contract(source: Path, target: Path, change: object) -> Path:
    """Rewrites the contract record of an artifact: `change` maps the JSON text to another text."""
    if source.suffix == ".onnx":
        model = onnx.load(source)
        (entry,) = [prop for prop in model.metadata_props if prop.key == "ganglion"]
        entry.value = sealed(change(entry.value))  # type: ignore[operator]
        target.write_bytes(model.SerializeToString())
        return target
    if source.suffix == ".ganglion":
        content = source.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        header["__metadata__"]["ganglion"] = sealed(change(header["__metadata__"]["ganglion"]))  # type: ignore[operator]
        written = json.dumps(header).encode()
        written += b" " * (-(8 + len(written)) % 64)
        target.write_bytes(len(written).to_bytes(8, "little") + written + content[end:])
        return target
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("ganglion.json"):
                data = sealed(change(data.decode())).encode()  # type: ignore[operator]
            new.writestr(info, data)
    return target


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_damaged_contracts(tmp_path: Path, name: str) -> None:
    def edit(**changes: object) -> object:
        return lambda text: json.dumps({**json.loads(text), **changes})

    def change(what: object, says: str) -> None:
        refused(with_contract(ARTIFACTS / name, tmp_path / name, what), says)

    assert ganglion.load(with_contract(ARTIFACTS / name, tmp_path / name, lambda text: text)).self_test().ok
    change(lambda text: text[: len(text) // 2], "damaged JSON")
    change(lambda _: "[]", "not an object")
    change(edit(format=3), "install a newer ganglion")
    change(edit(sha256="0" * 64), "program or weights do not match the digest")
    change(edit(initial_state=[0.0]), "initial_state")
    change(edit(state=[]), "initial_state")


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_a_contract_that_does_not_fit_the_program(tmp_path: Path, name: str) -> None:
    def shorten(text: str) -> str:
        document = json.loads(text)
        document["inputs"][0].update(size=2, low=[], high=[])
        document["golden"] = None
        return json.dumps(document)

    path = with_contract(ARTIFACTS / name, tmp_path / name, shorten)
    with pytest.raises(ganglion.GanglionError, match=re.escape(name)):
        ganglion.load(path)


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_a_missed_golden_trajectory_is_refused_with_the_step(tmp_path: Path, name: str) -> None:
    def plant(text: str) -> str:
        document = json.loads(text)
        document["golden"]["outputs"][2 * 17 + 1] += 0.25
        return json.dumps(document)

    path = with_contract(ARTIFACTS / name, tmp_path / name, plant)
    with pytest.raises(ganglion.ParityError, match="at step 17, row 0, output element 1") as caught:
        ganglion.load(path)
    assert not caught.value.report.ok
    assert caught.value.report.max_error == pytest.approx(0.25, abs=1e-3)
    assert ganglion.load(path, self_test=False).self_test().step == 17


@pytest.mark.parametrize("name", ["faulty.ganglion", "faulty.onnx", "faulty.pt"])
def test_flipped_bits_are_refused_or_change_nothing(tmp_path: Path, name: str) -> None:
    # A sample; tests/cpp/io_test.cpp flips every bit of the contract.
    content = (ARTIFACTS / name).read_bytes()
    contract = ganglion.inspect(ARTIFACTS / name)
    observation = torch.tensor([[1.0, 0.5]])
    hidden = torch.tensor([[0.5]])
    expected = None if not name.endswith(".pt") else torch.jit.load(ARTIFACTS / name).step(observation, hidden)
    path = tmp_path / name
    for bit in range(3, 8 * len(content), 211):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert ganglion.inspect(path) == contract, bit
        except ganglion.ArtifactError:
            continue
        if expected is not None:
            # A bit of the ZIP archive that the runtime does not look at: torch refuses it or does not, either.
            try:
                found = torch.jit.load(path).step(observation, hidden)
            except RuntimeError:
                continue
            assert all(map(torch.equal, found, expected)), bit


@pytest.mark.parametrize("name", ["lstm.ganglion", "lstm.onnx", "lstm.pt"])
def test_what_no_load_can_check_is_said_once(tmp_path: Path, name: str) -> None:
    def first_format(text: str) -> str:
        document = {**json.loads(text), "format": 1}
        del document["contract_sha256"]
        return json.dumps(document)

    def without_golden(text: str) -> str:
        return json.dumps({**json.loads(text), "golden": None})

    for change, code in ((first_format, "contract-unsealed"), (without_golden, "golden-missing")):
        path = with_contract(ARTIFACTS / name, tmp_path / name, change)
        with pytest.warns(UserWarning) as caught:
            pilot = ganglion.load(path)
            pilot.step(np.zeros(3, np.float32))
            pilot.clone().reset()
        assert [f"[{code}]" in str(warning.message) for warning in caught if "lstm" in str(warning.message)] == [True]
        assert [finding.code for finding in pilot.reading.findings] == [code]
    # The first format has no digest, but what has one is held to it, whatever it says.
    path = with_contract(ARTIFACTS / name, tmp_path / name, lambda text: text.replace('"format":2', '"format":1'))
    assert ganglion.load(path).reading.findings == ()
    assert any("no contract" in note for note in ganglion.explain(ARTIFACTS / "rsl_rl_lstm.onnx").notes)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    model = onnx.load(ARTIFACTS / "lstm.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.flat[0] += 1
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, model.graph.initializer[0].name))
    (tmp_path / "lstm.onnx").write_bytes(model.SerializeToString())
    refused(tmp_path / "lstm.onnx", "digest")


def save_model(path: Path, inputs: list[object], outputs: list[object], nodes: list[object]) -> Path:
    graph = helper.make_graph(nodes, "policy", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def info(name: str, *shape: object, kind: int = TensorProto.FLOAT) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def test_foreign_onnx_that_cannot_be_recognised(tmp_path: Path) -> None:
    identity = helper.make_node("Identity", ["obs"], ["actions"])
    lonely = save_model(
        tmp_path / "lonely.onnx",
        [info("obs", 1, 2), info("h_in", 1, 1, 2)],
        [info("actions", 1, 2), info("h", 1, 1, 2)],
        [identity, helper.make_node("Identity", ["h_in"], ["h"])],
    )
    refused(lonely, "no output 'h_out'")
    dynamic = save_model(tmp_path / "dynamic.onnx", [info("obs", 1, "n")], [info("actions", 1, "n")], [identity])
    refused(dynamic, "only batch and time may be dynamic")
    whole = save_model(
        tmp_path / "int.onnx",
        [info("obs", 1, 2, kind=TensorProto.INT64)],
        [info("actions", 1, 2, kind=TensorProto.INT64)],
        [identity],
    )
    refused(whole, "is int64, not float32", ganglion.GanglionError)


def test_foreign_onnx_with_several_inputs_and_any_batch(tmp_path: Path) -> None:
    path = save_model(
        tmp_path / "two.onnx",
        [info("proprio", "batch", 2), info("command", "batch", 1), info("memory_in", "batch", 2)],
        [info("values", "batch", 3), info("actions", "batch", 2), info("memory_out", "batch", 2)],
        [
            helper.make_node("Concat", ["proprio", "command"], ["values"], axis=1),
            helper.make_node("Add", ["proprio", "memory_in"], ["memory_out"]),
            helper.make_node("Mul", ["memory_out", "command"], ["actions"]),
        ],
    )
    policy = ganglion.load(path, batch=2)
    assert [spec.name for spec in policy.contract.inputs] == ["proprio", "command"]
    assert [spec.name for spec in policy.contract.outputs] == ["actions", "values"]
    observation = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert np.array_equal(policy.step(observation), [[3, 6], [24, 30]])
    assert np.array_equal(policy.step(observation), [[6, 12], [48, 60]])
    assert np.array_equal(policy.output("values"), observation)
    assert ganglion.inspect(path).batch is None


def test_scripted_module_without_contract(tmp_path: Path) -> None:
    class Counter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.register_buffer("steps", torch.full((1,), 2.0))
            self.register_buffer("scale", torch.ones(2))

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            self.steps = self.steps + 1.0
            return self.layer(obs) * self.scale + self.steps

        @torch.jit.export
        def reset(self) -> None:
            self.steps = torch.full((1,), 2.0)

    module = Counter()
    torch.jit.script(module).save(tmp_path / "counter.pt")
    policy = ganglion.load(tmp_path / "counter.pt")
    assert policy.contract.state == (ganglion.StateSlot("steps", (1, 1)),)
    assert policy.contract.initial_state == (2.0,)
    observation = np.array([0.1, 0.2, 0.3], np.float32)
    base = module.layer(torch.from_numpy(observation)).detach().numpy()
    for expected in (3, 4, 5):
        assert np.allclose(policy.step(observation), base + expected, atol=1e-6)
    policy.reset()
    assert np.allclose(policy.step(observation), base + 3, atol=1e-6)


def test_missing_engine_names_the_extra() -> None:
    for name, extra in (("lstm.onnx", "onnx"), ("lstm.pt", "torch")):
        with pytest.raises(ganglion.EngineUnavailableError, match=re.escape(f"ganglion[{extra}]")) as caught:
            ganglion.load(ARTIFACTS / name, onnxruntime_library="/nowhere.so", libtorch_library="/nowhere.so")
        assert isinstance(caught.value, ImportError)
    with pytest.raises(ganglion.GanglionError, match="native"):
        ganglion.load(ARTIFACTS / "lstm.pt", engine="native")
    with pytest.raises(ValueError, match="tensorrt"):
        ganglion.load(ARTIFACTS / "lstm.onnx", engine="tensorrt")  # type: ignore[arg-type]
