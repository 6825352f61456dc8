import copy
import itertools
import sys
from pathlib import Path

import gymnasium
import numpy as np
import onnx
import pytest
import torch

from ganglion.contract import StateSlot, TensorSpec
from ganglion.errors import ArtifactError, EngineUnavailableError
from ganglion.export import export
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy, RecurrentPolicy
from ganglion.runtime.engines import onnxruntime_library
from ganglion.verify import verify

pytestmark = pytest.mark.deep  # runs every engine

BOX = gymnasium.spaces.Box
SPEC = EnvSpec(BOX(-2.0, 2.0, (3,)), BOX(-1.0, 1.0, (2,)))
STEPS = 150
PYTHON = {
    ".ganglion": ["Python program"],
    ".onnx": ["Python onnxruntime"],
    ".pt": ["torch.jit step()", "torch.jit forward()"],
}
CPP = {
    ".ganglion": ["C++ native"],
    ".onnx": ["C++ onnxruntime", "C++ native"],
    ".pt": ["C++ libtorch", "C++ native"],
}


class TwoOutputs(RecurrentPolicy):
    """A leaky sum with a second output and an initial state that is not zero; 1 / 0 gives infinity."""

    def __init__(self):
        super().__init__(SPEC)
        self.gain = torch.nn.Parameter(torch.tensor([0.5, -0.25]))

    @property
    def state_layout(self):
        return (StateSlot("potentials", (2,)),)

    @property
    def output_specs(self):
        return (*super().output_specs, TensorSpec("value", 1, element_names=("height",)))

    def init_hidden(self, batch_size=None):
        initial = torch.tensor([1.0, -3.0])
        return initial if batch_size is None else initial.repeat(batch_size, 1)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(None if obs.ndim == 1 else obs.shape[0]) if hidden is None else hidden
        new_hidden = 0.9 * hidden + self.gain * obs[..., :2]
        return new_hidden + 1.0 / obs[..., 2:], 2.0 * new_hidden[..., 1:], new_hidden


def make_policy():
    torch.manual_seed(0)
    return LSTMPolicy(SPEC, hidden_size=4, num_recurrent_layers=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of one policy by (batch, suffix)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("artifacts")
    paths = {}
    for batch, suffix in itertools.product((1, 3, None), (".ganglion", ".onnx", ".pt")):
        paths[batch, suffix] = folder / f"batch_{batch}{suffix}"
        export(make_policy(), paths[batch, suffix], batch=batch)
    return paths


@pytest.fixture(scope="module")
def two_outputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifacts") / "two.pt"
    export(TwoOutputs(), path)
    return path


@pytest.mark.sampled(1)
@pytest.mark.parametrize("suffix", [".ganglion", ".onnx", ".pt"])
def test_policy_file_and_runtime_agree(files, suffix):
    report = verify(files[1, suffix], make_policy(), steps=STEPS)
    assert report.ok, report.verdict
    assert report.reference.name == "Python policy"
    assert [comparison.engine for comparison in report.comparisons] == [*PYTHON[suffix], *CPP[suffix]]
    assert report.not_run == () and report.trajectory.steps == STEPS and report.trajectory.reset.any()
    for comparison in report.comparisons:
        assert [tensor.name for tensor in comparison.tensors] == ["actions", "state"]
    assert len(report.digest) == 64 and report.artifact == str(files[1, suffix])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("suffix", [".ganglion", ".onnx", ".pt"])
def test_without_a_policy_the_file_in_python_is_the_reference(files, suffix):
    report = verify(files[1, suffix], steps=STEPS)
    assert report.ok and report.reference.name == PYTHON[suffix][0]
    assert [comparison.engine for comparison in report.comparisons] == [*PYTHON[suffix][1:], *CPP[suffix]]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("batch", "suffix", "rows"),
    [(batch, suffix, batch or 4) for batch in (3, None) for suffix in PYTHON],
)
def test_batches_are_run_with_masked_resets(files, batch, suffix, rows):
    report = verify(files[batch, suffix], make_policy(), steps=STEPS)
    assert report.ok and report.trajectory.batch == rows
    reset = report.trajectory.reset
    assert (reset.any(axis=1) & ~reset.all(axis=1)).any()
    one_row = [f"{CPP[suffix][0]}, 1 row"] if batch is None else []
    assert [comparison.engine for comparison in report.comparisons][-len(CPP[suffix] + one_row) :] == CPP[
        suffix
    ] + one_row


def test_any_number_of_rows_can_be_asked_for_where_the_file_takes_it(files):
    assert verify(files[None, ".onnx"], steps=20, batch=7).trajectory.batch == 7
    with pytest.raises(ValueError, match=r"exported for batch 3; batch 2"):
        verify(files[3, ".pt"], batch=2)


@pytest.mark.parametrize("suffix", [".ganglion", ".onnx", ".pt"])
def test_another_output_bias_is_found_at_step_0_in_that_element(files, suffix):
    other = make_policy()
    with torch.no_grad():
        other.output_layer.bias[1] += 1e-3
    report = verify(files[1, suffix], other, steps=STEPS)
    first = report.first_divergence
    assert not report.ok and (first.output, first.step, first.row, first.element) == ("actions", 0, 0, 1)
    assert first.found - first.expected == pytest.approx(-1e-3, abs=1e-6)
    for comparison in report.comparisons:
        assert not comparison.ok and comparison.state.first_divergence is None


def test_another_recurrent_weight_is_found_once_the_state_is_not_zero(files):
    other = make_policy()
    with torch.no_grad():
        other.rnn_layers.weight_hh_l0 += 0.5
    report = verify(files[1, ".onnx"], other, steps=STEPS)
    assert not report.ok and report.first_divergence.step == 1
    errors = report.comparisons[0].state.error_per_step
    # A reset heals it for one step: the state is zero again.
    assert all(errors[step] < 1e-6 for step in np.flatnonzero(report.trajectory.reset[:, 0]))


def test_further_outputs_and_an_initial_state_are_compared(two_outputs):
    report = verify(two_outputs, TwoOutputs(), steps=STEPS)
    assert report.ok, report.verdict
    names = [[tensor.name for tensor in comparison.tensors] for comparison in report.comparisons]
    whole = ["actions", "value", "state"]
    assert names == [whole, ["actions", "state"], whole, whole]
    other = TwoOutputs()
    other.init_hidden = lambda batch_size=None: torch.zeros(batch_size, 2)
    report = verify(two_outputs, other, steps=STEPS)
    assert not report.ok and report.first_divergence.step == 0


def test_a_refused_step_is_a_divergence_at_that_step(two_outputs, tmp_path):
    observation = np.ones((20, 3), dtype=np.float32)
    observation[7, 2] = 0.0
    np.savez(tmp_path / "run.npz", observation=observation)
    report = verify(two_outputs, TwoOutputs(), recording=tmp_path / "run.npz")
    refused = report.comparisons[-1]
    assert not report.ok and "step 7 was refused: non_finite_action" in refused.failure
    assert (refused.first_divergence.step, report.first_divergence.output) == (7, "actions")


def test_a_recording_is_run_whole(files, tmp_path):
    recorded = verify(files[1, ".onnx"], steps=30, seed=5).trajectory
    recorded.save(tmp_path / "run.npz")
    report = verify(files[1, ".onnx"], make_policy(), steps=3, recording=tmp_path / "run.npz")
    assert report.ok and report.trajectory.steps == 30
    assert np.array_equal(report.trajectory.reset, recorded.reset)
    assert "run.npz" in report.trajectory.source


def test_the_policy_is_left_as_it_was(files):
    policy = make_policy().double().train()
    before = copy.deepcopy(policy.state_dict())
    torch.set_num_threads(2)
    try:
        assert verify(files[1, ".onnx"], policy, steps=20).ok
        assert policy.training and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())


def test_progress_is_told_for_every_implementation(files):
    seen = []
    verify(files[1, ".onnx"], make_policy(), steps=60, progress=lambda *event: seen.append(event))
    names = ["Python policy", "Python onnxruntime", "C++ onnxruntime", "C++ native"]
    assert seen == [(name, done, 60) for name in names for done in (50, 60)]


def hide_library(monkeypatch):
    monkeypatch.setattr("ganglion.runtime.policy.onnxruntime_library", lambda: Path("missing/libonnxruntime.so"))


def hide_package(monkeypatch):
    # The C++ runtime opens the library of the same wheel; only the Python package is to be missing.
    library = onnxruntime_library()
    monkeypatch.setattr("ganglion.runtime.policy.onnxruntime_library", lambda: library)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def test_a_missing_cpp_engine_is_listed_and_refused_when_asked_for(files, monkeypatch):
    hide_library(monkeypatch)
    report = verify(files[1, ".onnx"], make_policy(), steps=20)
    assert [left_out.engine for left_out in report.not_run] == ["C++ onnxruntime"]
    assert "libonnxruntime" in report.not_run[0].reason and "C++ onnxruntime" in report.verdict
    with pytest.raises(EngineUnavailableError):
        verify(files[1, ".onnx"], make_policy(), steps=20, engines=["onnxruntime"])


def test_a_missing_python_engine_is_listed(files, monkeypatch):
    hide_package(monkeypatch)
    report = verify(files[1, ".onnx"], make_policy(), steps=20)
    assert report.ok and [left_out.engine for left_out in report.not_run] == ["the file in Python"]
    assert "pip install 'ganglion[onnx]'" in report.not_run[0].reason
    with pytest.raises(EngineUnavailableError, match="nothing to compare with"):
        verify(files[1, ".onnx"], steps=20)


def test_a_policy_alone_is_no_verdict(files, monkeypatch):
    hide_package(monkeypatch)
    hide_library(monkeypatch)
    monkeypatch.setitem(sys.modules, "onnx", None)  # the compiler of the native engine needs it
    report = verify(files[1, ".onnx"], make_policy(), steps=20)
    assert not report.ok and report.comparisons == ()
    assert [left_out.engine for left_out in report.not_run] == ["the file in Python", "C++ onnxruntime", "C++ native"]


@pytest.mark.parametrize("engine", ["libtorch", "tensorrt"])
def test_an_engine_that_does_not_open_the_file_is_refused(files, engine):
    with pytest.raises(ValueError, match=f"engine '{engine}' does not open .*; onnxruntime, native does"):
        verify(files[1, ".onnx"], engines=[engine])


def test_a_policy_of_another_size_is_refused(files):
    with pytest.raises(ArtifactError, match=r"not a file of this policy: hidden state has 4 elements .* and 16"):
        verify(files[1, ".onnx"], GRUPolicy(SPEC, 4, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"batch": 0}, "batch"),
    ],
)
def test_arguments_out_of_range_are_refused(files, arguments, message):
    with pytest.raises(ValueError, match=message):
        verify(files[None, ".onnx"], **arguments)


def test_a_file_without_a_contract_is_verified_too(files, tmp_path):
    model = onnx.load(files[1, ".onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    report = verify(tmp_path / "foreign.onnx", make_policy(), steps=STEPS)
    assert report.ok and report.digest is None and report.comparisons[-1].state is not None


class ForeignRecurrentModule(torch.nn.Module):
    """As rsl_rl exports it: states in buffers, a batch axis, `reset()`, no functional step."""

    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4)
        self.head = torch.nn.Linear(4, 2)
        self.register_buffer("hidden_state", torch.zeros(1, 1, 4))
        self.register_buffer("cell_state", torch.zeros(1, 1, 4))

    def forward(self, x):
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.head(x.squeeze(0))

    @torch.jit.export
    def reset(self):
        self.hidden_state[:] = 0.0
        self.cell_state[:] = 0.0


def test_a_torchscript_module_of_others_is_verified_too(tmp_path):
    torch.jit.script(ForeignRecurrentModule()).save(str(tmp_path / "foreign.pt"))
    report = verify(tmp_path / "foreign.pt", steps=STEPS)
    assert report.ok and report.reference.name == "torch.jit forward()"
    engines = [comparison.engine for comparison in report.comparisons]
    assert engines == ["C++ libtorch", "C++ native", "C++ libtorch, 1 row"]
    assert [tensor.name for tensor in report.comparisons[0].tensors] == ["actions", "state"]
    assert np.abs(report.reference.state).max() > 0.1


def test_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "policy.txt").write_text("no policy")
    for name in ("missing.onnx", "text.onnx", "policy.txt"):
        with pytest.raises(ArtifactError, match=name):
            verify(tmp_path / name)
