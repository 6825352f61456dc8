"""What a load would refuse is never written: the C++ runtime loads the very bytes before they get their name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from export_policies import SPEC

import ganglion
from ganglion.compiler import file
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError
from ganglion.export import torchscript
from ganglion.policies import GRUPolicy
from ganglion.runtime import proof
from ganglion.runtime.engines import EngineInfo

pytestmark = pytest.mark.deep  # exports many policies

SUFFIXES = (".ganglion", ".onnx", ".pt", ".hpp", ".h")


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return GRUPolicy(SPEC, 4, 1)


@pytest.fixture(params=["export", "compile"])
def write(request, policy, tmp_path_factory):
    """Writes the policy to a file of the native engine, by one of the two ways."""
    if request.param == "export":
        return lambda target: ganglion.export(policy, target)
    source = tmp_path_factory.mktemp("source") / "policy.onnx"
    ganglion.export(policy, source)
    return lambda target: ganglion.compile(source, target)


def refused(write, target, match):
    """The call is refused, and the older file of that name stays as it was, alone."""
    target.write_bytes(b"the older file")
    with pytest.raises(ExportError, match=match) as caught:
        write(target)
    assert target.read_bytes() == b"the older file"
    assert list(target.parent.iterdir()) == [target]
    assert f"/.{target.stem}." not in str(caught.value)  # a temporary name, which the reader has never seen


@pytest.mark.parametrize("suffix", [".ganglion", ".hpp", ".h"])
def test_a_weight_that_changes_on_its_way_is_found(write, suffix, tmp_path, monkeypatch):
    to_bytes = file.to_bytes

    def spoiled(program, contract):
        name = next(name for name, tensor in program.tensors.items() if tensor.dtype == np.float32)
        tensor = program.tensors[name].copy()
        tensor.flat[0] += 0.5
        return to_bytes(dataclasses.replace(program, tensors={**program.tensors, name: tensor}), contract)

    monkeypatch.setattr(file, "to_bytes", spoiled)
    target = tmp_path / f"policy{suffix}"
    refused(write, target, r"differs from the Python policy or .*: first at step \d+, row 0, output 'actions' element")


@pytest.mark.parametrize("suffix", [".ganglion", ".hpp", ".h"])
def test_a_byte_that_changes_on_its_way_is_found(write, suffix, tmp_path, monkeypatch):
    to_bytes = file.to_bytes

    def spoiled(program, contract):
        data, contract = to_bytes(program, contract)
        return data[:-1] + bytes([data[-1] ^ 1]), contract

    monkeypatch.setattr(file, "to_bytes", spoiled)
    refused(write, tmp_path / f"policy{suffix}", "the C\\+\\+ runtime refuses .*digest")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_contract_that_only_python_can_read_is_not_written(policy, suffix, tmp_path):
    # Half of a character: JSON for Python, damaged JSON for everybody else.
    contract = dataclasses.replace(policy.contract(), provenance={"note": "\ud800"})
    target = tmp_path / f"policy{suffix}"
    refused(lambda path: ganglion.export(policy, path, contract=contract), target, "damaged JSON.*Nothing was written")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_the_loader_refuses_is_not_written(policy, suffix, tmp_path, monkeypatch):
    def refuse(path, **options):  # noqa: ARG001
        raise ArtifactError(f"'{path}': not today")

    monkeypatch.setattr(proof, "load", refuse)
    monkeypatch.setattr(proof, "inspect", refuse)
    target = tmp_path / f"policy{suffix}"
    what = "the program of the header" if suffix in (".hpp", ".h") else f"'policy{suffix}'"
    refused(lambda path: ganglion.export(policy, path), target, f"refuses {what} as it would be: not today")


def libtorch(usable):
    return lambda *, build: [EngineInfo("libtorch", usable, None, None, "")]  # noqa: ARG005


def test_torchscript_is_proven_by_libtorch_where_that_engine_is_there(policy, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(torchscript, "engines", libtorch(usable=True))
    monkeypatch.setattr(torchscript, "prove", lambda *arguments, engine, **_: loaded.append((arguments[0], engine)))
    ganglion.export(policy, tmp_path / "policy.pt")
    ((path, engine),) = loaded
    assert path.parent == tmp_path and path.name != "policy.pt" and engine == "libtorch"


def test_torchscript_is_read_by_the_runtime_where_libtorch_is_not_built(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(torchscript, "engines", libtorch(usable=False))
    monkeypatch.setattr(proof, "load", None)  # would have to build the engine
    contract = ganglion.export(policy, tmp_path / "policy.pt")
    assert ganglion.inspect(tmp_path / "policy.pt").sha256 == contract.sha256
    broken = dataclasses.replace(policy.contract(), provenance={"note": "\ud800"})
    refused(lambda path: ganglion.export(policy, path, contract=broken), tmp_path / "policy.pt", "damaged JSON")


def test_an_engine_that_cannot_be_opened_is_no_fault_of_the_file(policy, tmp_path, monkeypatch):
    def missing(*_, **__):
        raise EngineUnavailableError("not here")

    monkeypatch.setattr(torchscript, "engines", libtorch(usable=True))
    monkeypatch.setattr(proof, "load", missing)
    ganglion.export(policy, tmp_path / "policy.pt")
    with pytest.raises(EngineUnavailableError):
        ganglion.export(policy, tmp_path / "policy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.pt"]
