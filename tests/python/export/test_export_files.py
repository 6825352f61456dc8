"""`ganglion.export`: what is in the files, what is refused, and that nothing wrong is left behind."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch
from export_policies import (
    ACTIONS,
    FORMATS,
    OBSERVATIONS,
    SPEC,
    EncoderGruPolicy,
    MemorylessPolicy,
    ModulePolicy,
    onnx_session,
    run_file,
    run_policy,
    stored_contract,
    trajectory,
)
from torch import nn

import ganglion
from ganglion._foundation.observations import draw_observations
from ganglion.compiler.session import run_step
from ganglion.contract import Contract, TensorSpec
from ganglion.errors import EngineUnavailableError, ExportError, UnsupportedModuleError
from ganglion.export import export
from ganglion.export import graph as graph_module
from ganglion.policies import GRUPolicy, LSTMPolicy, RNNPolicy

pytestmark = pytest.mark.deep  # exports to every kind of file


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("make", "batch", "inputs", "outputs"),
    [
        (
            lambda: LSTMPolicy(SPEC, 4, 2),
            1,
            [("obs", [1, OBSERVATIONS]), ("h_in", [2, 1, 4]), ("c_in", [2, 1, 4])],
            [("actions", [1, ACTIONS]), ("h_out", [2, 1, 4]), ("c_out", [2, 1, 4])],
        ),
        (
            EncoderGruPolicy,
            3,
            [("obs", [3, OBSERVATIONS]), ("h_in", [2, 3, 6]), ("prev_action_in", [3, ACTIONS])],
            [("actions", [3, ACTIONS]), ("value", [3, 1]), ("h_out", [2, 3, 6]), ("prev_action_out", [3, ACTIONS])],
        ),
        (
            EncoderGruPolicy,
            None,
            [("obs", ["batch", OBSERVATIONS]), ("h_in", [2, "batch", 6]), ("prev_action_in", ["batch", ACTIONS])],
            [
                ("actions", ["batch", ACTIONS]),
                ("value", ["batch", 1]),
                ("h_out", [2, "batch", 6]),
                ("prev_action_out", ["batch", ACTIONS]),
            ],
        ),
        (
            lambda: RNNPolicy(SPEC, 4, 1),
            None,
            [("obs", ["batch", OBSERVATIONS]), ("h_in", [1, "batch", 4])],
            [("actions", ["batch", ACTIONS]), ("h_out", [1, "batch", 4])],
        ),
    ],
)
def test_onnx_names_shapes_and_batches(tmp_path, make, batch, inputs, outputs):
    policy, path = make().eval(), tmp_path / "policy.onnx"
    contract = export(policy, path, batch=batch)
    assert contract.batch == batch
    assert contract.golden.rows == (1 if batch == 1 else 3)
    session = onnx_session(path)
    assert [(tensor.name, tensor.shape) for tensor in session.get_inputs()] == inputs
    assert [(tensor.name, tensor.shape) for tensor in session.get_outputs()] == outputs
    for rows in (batch,) if batch else (1, 2, 7):
        obs, hidden = torch.randn(rows, OBSERVATIONS), torch.randn(rows, policy.hidden_size)
        results = run_step(session, contract, obs.numpy(), hidden.numpy())
        with torch.no_grad():
            for actual, expected in zip(results, policy(obs, hidden), strict=True):
                np.testing.assert_allclose(actual, expected.numpy(), atol=1e-6)


def test_onnx_of_one_row_moves_no_data_without_need(tmp_path):
    export(LSTMPolicy(SPEC, 4, 1), tmp_path / "policy.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "policy.onnx").graph.node]
    assert sorted(operators) == ["Gemm", "LSTM", "Reshape", "Reshape"]


def test_onnx_runs_on_onnxruntime_1_17(tmp_path):
    # 1.17 reads IR version 9 and opset 20 at most (onnxruntime documentation, "Compatibility").
    export(GRUPolicy(SPEC, 4, 1), tmp_path / "policy.onnx")
    model = onnx.load(tmp_path / "policy.onnx")
    assert model.ir_version <= 9
    assert [(entry.domain, entry.version <= 20) for entry in model.opset_import] == [("", True)]
    assert not model.functions
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_do_not_name_the_machine_that_wrote_them(tmp_path, suffix):
    path = tmp_path / f"policy{suffix}"
    export(EncoderGruPolicy(), path)
    content = path.read_bytes()
    for text in (__file__, sys.prefix, str(tmp_path)):
        assert text.encode() not in content


def digest_of_onnx(content):
    """The definition, read off the wire format: all top-level fields except the metadata entry "ganglion"."""

    def varint(position):
        value = shift = 0
        while True:
            byte = content[position]
            value, shift, position = value | (byte & 0x7F) << shift, shift + 7, position + 1
            if byte < 0x80:
                return value, position

    sha, position = hashlib.sha256(), 0
    while position < len(content):
        start = position
        tag, position = varint(position)
        if tag & 7 == 2:
            length, position = varint(position)
            payload = content[position : position + length]
            position += length
        else:
            assert tag & 7 == 0
            _, position = varint(position)
            payload = b""
        if tag >> 3 == 14 and onnx.StringStringEntryProto.FromString(payload).key == "ganglion":
            continue
        sha.update(content[start:position])
    return sha.hexdigest()


def digest_of_torchscript(path):
    sha = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        for name in sorted(name.encode() for name in archive.namelist()):
            if not name.endswith((b"/extra/ganglion.json", b"/.data/serialization_id")):
                payload = archive.read(name.decode())
                sha.update(name + struct.pack("<Q", len(payload)) + payload)
    return sha.hexdigest()


def test_digests(tmp_path):
    policy = LSTMPolicy(SPEC, 4, 2)
    contract = export(policy, tmp_path / "policy.onnx")
    assert digest_of_onnx((tmp_path / "policy.onnx").read_bytes()) == contract.sha256
    assert export(policy, tmp_path / "again.onnx").sha256 == contract.sha256
    contract = export(policy, tmp_path / "policy.pt")
    assert digest_of_torchscript(tmp_path / "policy.pt") == contract.sha256


@pytest.mark.parametrize("suffix", FORMATS)
def test_golden_trajectory(tmp_path, suffix):
    policy = EncoderGruPolicy().eval()
    export(policy, tmp_path / f"policy{suffix}", batch=8, golden_steps=70, tolerance=2e-5, seed=3)
    golden = stored_contract(tmp_path / f"policy{suffix}").golden
    assert (golden.steps, golden.rows, golden.tolerance) == (70, 3, 2e-5)
    assert np.argwhere(golden.reset).tolist() == [[35, 0], [36, 1], [37, 2]]
    assert golden.observation.min() == -2.0
    assert golden.observation.max() == 2.0
    for row in range(3):
        expected = run_policy(policy, golden.observation[:, row], golden.reset[:, row])
        np.testing.assert_allclose(golden.outputs[:, row, :ACTIONS], expected, atol=1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_double_policy_is_exported_as_float32(tmp_path, suffix):
    policy = LSTMPolicy(SPEC, 4, 2).double().eval()
    contract = export(policy, tmp_path / f"policy{suffix}")
    assert policy.output_layer.weight.dtype == torch.float64
    observations, resets = trajectory(100)
    single = run_policy(policy.float(), observations, resets)
    np.testing.assert_allclose(
        run_file(tmp_path / f"policy{suffix}", contract, observations, resets), single, atol=1e-5
    )
    if suffix == ".onnx":
        kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "policy.onnx").graph.initializer}
        assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_shows_outside(tmp_path, suffix, capfd, recwarn):
    policy = EncoderGruPolicy().train()
    policy(torch.randn(OBSERVATIONS))[0].sum().backward()
    policy.cached = policy.value(torch.randn(6))  # part of an autograd graph: copy.deepcopy alone would refuse it
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    export(policy, tmp_path / f"policy{suffix}")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in policy.modules())
    assert policy.head.parametrizations.weight.original0.grad is not None
    assert {name: value.tolist() for name, value in policy.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    policy(torch.randn(OBSERVATIONS))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_given_contract_wins(tmp_path, suffix):
    policy = GRUPolicy(SPEC, 4, 1)
    given = dataclasses.replace(
        policy.contract(),
        inputs=(TensorSpec("gyro", 3, units=("rad/s",) * 3), TensorSpec("joints", 2, ("hip", "knee"))),
        outputs=(TensorSpec("torques", ACTIONS, units=("N*m",) * 2),),
        initial_state=(0.1, 0.2, 0.3, 0.4),
        period_s=0.002,
        provenance={"date": "yesterday", "trainer": "mine"},
    )
    written = export(policy, tmp_path / f"policy{suffix}", contract=given)
    assert stored_contract(tmp_path / f"policy{suffix}") == written
    assert dataclasses.replace(written, provenance=given.provenance, sha256=None) == given
    assert written.provenance["date"] == "yesterday"
    assert written.provenance["torch"] == torch.__version__
    assert written.provenance["policy"].endswith("GRUPolicy")
    if suffix == ".onnx":
        assert [tensor.name for tensor in onnx_session(tmp_path / "policy.onnx").get_inputs()] == [
            "gyro",
            "joints",
            "h_in",
        ]
    elif suffix == ".pt":
        np.testing.assert_allclose(torch.jit.load(str(tmp_path / "policy.pt")).hidden, given.initial_state)
    else:
        np.testing.assert_allclose(ganglion.load(tmp_path / "policy.ganglion").state(), given.initial_state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": (TensorSpec("obs", 4),)}, "observation elements: contract 4, policy 5"),
        ({"outputs": (TensorSpec("actions", 1), TensorSpec("value", 1))}, "output sizes"),
        ({"state": (), "initial_state": ()}, "state shapes"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(tmp_path, change, message):
    policy = GRUPolicy(SPEC, 4, 1)
    with pytest.raises(ExportError, match=message):
        export(policy, tmp_path / "policy.pt", contract=dataclasses.replace(policy.contract(), **change))


def test_onnx_refuses_one_name_for_two_tensors(tmp_path):
    policy = GRUPolicy(SPEC, 4, 1)
    contract = dataclasses.replace(policy.contract(), outputs=(TensorSpec("h_out", ACTIONS),))
    with pytest.raises(ExportError, match="h_out"):
        export(policy, tmp_path / "policy.onnx", contract=contract)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("policy.onx", r"unknown suffix '\.onx'; use .*\.onnx \(ONNX\)"),
        ("policy", "unknown suffix ''"),
        ("missing/policy.pt", "folder .*missing' does not exist"),
        ("folder.onnx", "is a directory"),
    ],
)
def test_bad_targets(tmp_path, name, message):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match=message):
        export(GRUPolicy(SPEC, 4, 1), tmp_path / name)


@pytest.mark.parametrize("options", [{"golden_steps": 63}, {"tolerance": 0.0}, {"tolerance": float("nan")}])
def test_bad_options(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        export(GRUPolicy(SPEC, 4, 1), tmp_path / "policy.pt", **options)


class Decides(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Lists(nn.Module):
    def forward(self, x):
        return x * max(x.detach().numpy().max(), 1.0)


class Breaks(nn.Module):
    def forward(self, x):  # noqa: ARG002
        raise KeyError("left")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Decides, "reads the value of a tensor in Python"),
        (Noisy, "draws random numbers"),
        (Lists, "Lists cannot be exported"),
        (lambda: nn.LSTM(ACTIONS, 2, bidirectional=True), "bidirectional"),
        (lambda: nn.LSTM(ACTIONS, 3, proj_size=2), "proj_size"),
        (lambda: nn.BatchNorm1d(ACTIONS, track_running_stats=False), "running statistics"),
        (lambda: nn.LazyLinear(ACTIONS), "no weights yet"),
        (lambda: nn.Linear(ACTIONS, ACTIONS, device="meta"), "meta device"),
        (lambda: torch.jit.script(nn.Tanh()), "TorchScript already"),
        (lambda: torch.ao.nn.quantized.FloatFunctional(), "quantised"),
    ],
)
def test_an_unsupported_module_is_named(tmp_path, make, message, suffix):
    with pytest.raises(UnsupportedModuleError, match=message) as caught:
        export(ModulePolicy(make()), tmp_path / f"policy{suffix}")
    assert caught.value.module_path == "body.inner"
    assert not list(tmp_path.iterdir())


def test_a_policy_that_raises_is_reported_with_its_module(tmp_path):
    with pytest.raises(ExportError, match=r"KeyError .*'body\.inner'") as caught:
        export(ModulePolicy(Breaks()), tmp_path / "policy.pt")
    assert isinstance(caught.value.__cause__, KeyError)


class NoState(MemorylessPolicy):
    def forward(self, obs, hidden=None):  # noqa: ARG002
        return self.layer(obs)


def test_a_forward_with_the_wrong_results_is_refused(tmp_path):
    with pytest.raises(ExportError, match="must return"):
        export(NoState(), tmp_path / "policy.pt")


@pytest.mark.parametrize("suffix", FORMATS)
def test_weights_that_are_not_numbers_are_refused(tmp_path, suffix):
    policy = GRUPolicy(SPEC, 4, 1)
    with torch.no_grad():
        policy.output_layer.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match="not finite at step 0"):
        export(policy, tmp_path / f"policy{suffix}")
    assert not list(tmp_path.iterdir())


def test_onnx_guard_finds_an_exporter_that_drops_linear_before_reset(tmp_path, monkeypatch):
    build = graph_module.build_model

    def careless(policy, contract):
        model = build(policy, contract)
        (attribute,) = [
            a for node in model.graph.node if node.op_type == "GRU" for a in node.attribute
            if a.name == "linear_before_reset"
        ]  # fmt: skip
        assert attribute.i == 1
        attribute.i = 0
        return model

    torch.manual_seed(0)
    policy, path = GRUPolicy(SPEC, 8, 1), tmp_path / "policy.onnx"
    path.write_bytes(b"the older file")
    monkeypatch.setattr(graph_module, "build_model", careless)
    with pytest.raises(ExportError, match=r"first at step \d+, row 0, output 'actions' element \d: .* tolerance 1e-05"):
        export(policy, path)
    assert path.read_bytes() == b"the older file"
    assert [file.name for file in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("method", ["forward", "reset"])
def test_torchscript_guard_finds_a_wrong_file(tmp_path, monkeypatch, method):
    from ganglion.export import torchscript

    class Careless(torchscript.StatefulRecurrentNetwork):
        if method == "forward":

            def forward(self, obs: torch.Tensor) -> torch.Tensor:
                result = self.network.single(obs, self.hidden)
                return result[0]

        else:

            @torch.jit.export
            def reset(self) -> None:
                self.rows = -2

    Careless.__annotations__ = {}
    path = tmp_path / "policy.pt"
    path.write_bytes(b"the older file")
    monkeypatch.setattr(torchscript, "StatefulRecurrentNetwork", Careless)
    with pytest.raises(ExportError, match=r"TorchScript forward\(\) differs from the Python policy: first at step"):
        export(LSTMPolicy(SPEC, 8, 1), path)
    assert path.read_bytes() == b"the older file"
    assert [file.name for file in tmp_path.iterdir()] == ["policy.pt"]


def test_missing_onnx_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailableError, match=r"install ganglion\[onnx\]"):
        export(GRUPolicy(SPEC, 4, 1), tmp_path / "policy.onnx")


@pytest.mark.parametrize("policy", [nn.Linear(2, 2), GRUPolicy, "policy", None])
def test_what_is_no_policy_is_refused(tmp_path, policy):
    with pytest.raises(TypeError, match="only a RecurrentPolicy can be exported"):
        export(policy, tmp_path / "policy.pt")


def test_the_defaults_of_torch_do_not_matter(tmp_path):
    policy = EncoderGruPolicy().eval()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        contracts = [export(policy, tmp_path / f"policy{suffix}") for suffix in FORMATS]
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    for contract in contracts:
        expected = run_policy(policy, contract.golden.observation[:, 0], contract.golden.reset[:, 0])
        np.testing.assert_allclose(contract.golden.outputs[:, 0, :ACTIONS], expected, atol=1e-6)


def test_a_compiled_policy_is_exported_as_what_it_wraps(tmp_path):
    contract = export(torch.compile(GRUPolicy(SPEC, 4, 1)), tmp_path / "policy.pt")
    assert contract.provenance["policy"].endswith("GRUPolicy")


def test_golden_observations_cover_the_bounds():
    infinity = float("inf")
    low, high = (-1.0, 0.0, 2.0, -infinity, -infinity, -3.4e38), (1.0, 0.0, infinity, 3.0, infinity, 3.4e38)
    contract = Contract((TensorSpec("a", 6, low=low, high=high), TensorSpec("b", 1)), (TensorSpec("actions", 1),))
    drawn = draw_observations(contract, 500, 2, seed=0)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, draw_observations(contract, 500, 2, seed=0))
    smallest, largest = drawn.min(axis=(0, 1)), drawn.max(axis=(0, 1))
    assert (smallest[0], largest[0]) == (-1, 1)
    assert (smallest[1], largest[1]) == (0, 0)
    assert 2 <= smallest[2] < 2.1
    assert 4 < largest[2] < 10
    assert -5 < smallest[3] < 1
    assert largest[3] <= 3
    for column in (4, 5, 6):
        assert abs(drawn[..., column].mean()) < 0.2
        assert abs(drawn[..., column].std() - 1) < 0.1


def test_one_file_replaces_another(tmp_path):
    path = tmp_path / "policy.pt"
    first = export(GRUPolicy(SPEC, 4, 1), path)
    second = export(GRUPolicy(SPEC, 4, 1), path)
    assert first.sha256 != second.sha256
    assert stored_contract(path) == second


@pytest.mark.parametrize("batch", [1, None])
def test_the_library_of_einsum_is_optional(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(torch.backends.opt_einsum.m, "is_available", lambda: False)
    export(MemorylessPolicy(), tmp_path / "policy.onnx", batch=batch)
    assert (tmp_path / "policy.onnx").is_file()
