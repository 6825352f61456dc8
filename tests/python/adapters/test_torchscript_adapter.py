"""TorchScript files as policies and ONNX models: the native engine, against torch.jit on the same file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
import torchscript_files as files
from torchscript_dialects import REFUSED, observations, run_file, write
from torchscript_files import ACTIONS, OBSERVATIONS, UNITS, save

import ganglion
from ganglion.adapters.torchscript import load, to_onnx
from ganglion.compiler import compile_onnx, file
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
RESETS = {0, 250, 251, 777}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Compiled]:
    """Writes the file of a case and takes it to the native engine, by `to_onnx` and the compiler, once."""
    folder = tmp_path_factory.mktemp("compiled")

    @functools.cache
    def make(name: str) -> Compiled:
        path = ARTIFACTS / name if name.endswith(".pt") else write(folder / f"{name}.pt", name)
        model = to_onnx(path)
        program, contract = compile_onnx(model)
        target = folder / f"{name}.ganglion"
        target.write_bytes(file.to_bytes(program, contract)[0])
        return Compiled(path, model, [op.kind for op in program.ops], contract, target)

    return make


class Compiled(NamedTuple):
    path: Path
    model: Any
    kinds: list[str]
    contract: ganglion.Contract
    target: Path


def check(step: Callable[[NDArray[np.float32]], NDArray[np.float32]], reset: Callable[[], object], path: Path) -> None:
    given = observations()
    expected = run_file(path, given, RESETS)
    for index, observation in enumerate(given):
        if index in RESETS:
            reset()
        np.testing.assert_allclose(step(observation), expected[index], rtol=1e-5, atol=1e-5, err_msg=f"{index}")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "name",
    [
        *[f"rsl_rl-{kind}-{layers}" for kind in ("lstm", "gru") for layers in (1, 2, 3)],
        *["rsl_rl-mlp-1", "isaac-gru-1", "pyrado-float64-2"],
    ],
)
def test_a_thousand_steps_with_resets_in_the_native_engine(name: str, compiled: Callable[[str], Compiled]) -> None:
    made = compiled(name)
    pilot = ganglion.load(made.target)
    assert pilot.engine == "native"
    check(pilot.step, pilot.reset, made.path)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "operator", "shapes"),
    [
        ("rsl_rl-lstm-2", "LSTM", [("hidden_state", (2, UNITS)), ("cell_state", (2, UNITS))]),
        ("rsl_rl-gru-3", "GRU", [("hidden_state", (3, UNITS))]),
        ("pyrado-float64-2", "GRU", [("hidden", (2 * UNITS,))]),
    ],
)
def test_recurrent_layers_become_one_node_each(
    name: str, operator: str, shapes: list[tuple[str, tuple[int, ...]]], compiled: Callable[[str], Compiled]
) -> None:
    made = compiled(name)
    model = made.model
    nodes = [node for node in model.graph.node if node.op_type == operator]
    assert len(nodes) == int(name[-1])
    if operator == "GRU":
        assert all(any(a.name == "linear_before_reset" and a.i == 1 for a in node.attribute) for node in nodes)
    assert made.kinds.count(operator.lower()) == len(nodes)
    assert [(slot.name, slot.shape) for slot in made.contract.state] == shapes
    assert [value.name for value in model.graph.input] == ["obs", *(f"{slot}_in" for slot, _ in shapes)]
    assert [value.name for value in model.graph.output] == ["actions", *(f"{slot}_out" for slot, _ in shapes)]


def test_the_initial_state_and_what_the_file_did_are_in_the_contract(compiled: Callable[[str], Compiled]) -> None:
    path, _, _, contract, _ = compiled("pyrado-float64-2")
    np.testing.assert_allclose(contract.initial_state, 0.1)
    golden = contract.golden
    assert golden is not None and golden.reset[:, 0].sum() == 2
    resets = set(np.flatnonzero(golden.reset[:, 0]).tolist())
    np.testing.assert_allclose(golden.outputs[:, 0], run_file(path, golden.observation[:, 0], resets), atol=1e-5)


def test_rows_masked_reset_and_set_state_in_the_native_engine(compiled: Callable[[str], Compiled]) -> None:
    made = compiled("rsl_rl-gru-2")
    pilot, alone = ganglion.load(made.target, batch=2), ganglion.load(made.path)
    given = observations(40)
    for index, observation in enumerate(given):
        if index == 20:
            pilot.reset([True, False])
        first, second = pilot.step(np.stack((given[-1 - index], observation)))
        np.testing.assert_allclose(second, alone.step(observation), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pilot.state()[1], alone.state(), rtol=1e-5, atol=1e-5)
    alone.set_state(pilot.state()[0])
    first = pilot.step(np.stack((given[0], given[1])))[0]
    np.testing.assert_allclose(first, alone.step(given[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("suffix", "batch", "name"),
    [
        (".pt", None, "isaac-lstm-1"),
        (".onnx", None, "legged-lstm-1"),
        (".hpp", 1, "pyrado-float32-1"),
    ],
)
def test_a_loaded_file_is_a_policy_for_every_target(suffix: str, batch: int | None, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{name}.pt", name)
    target = tmp_path / f"out{suffix}"
    contract = ganglion.export(load(path), target, batch=batch)
    assert contract.batch == batch
    if suffix != ".hpp":
        pilot = ganglion.load(target)
        check(pilot.step, pilot.reset, path)


def test_our_own_files_keep_their_contract(compiled: Callable[[str], Compiled]) -> None:
    made = compiled("gru_batch4.pt")
    path = made.path
    policy, own = load(path), ganglion.inspect(path)
    assert policy.state_layout == own.state and policy.input_specs == own.inputs and policy.output_specs == own.outputs
    assert own.golden is not None
    stored = ganglion.load(made.target).contract.golden  # a load replays it
    assert stored is not None
    np.testing.assert_array_equal(stored.outputs, own.golden.outputs)


def test_a_policy_of_one_row_runs_row_after_row(tmp_path: Path) -> None:
    policy = load(write(tmp_path / "pyrado.pt", "pyrado-float32-1"))
    assert not policy.many_rows
    obs, hidden = torch.randn(3, OBSERVATIONS), torch.randn(3, policy.hidden_size)
    actions, after = policy(obs, hidden)
    assert actions.shape == (3, ACTIONS)
    for row in range(3):
        action, state = policy(obs[row], hidden[row])
        torch.testing.assert_close(actions[row], action)
        torch.testing.assert_close(after[row], state)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["bidirectional", "projection", "cell"])
def test_other_recurrent_layers_are_recorded_gate_by_gate(kind: str, tmp_path: Path) -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            two = 2 if kind == "bidirectional" else 1
            self.rnn = torch.nn.LSTM(5, 4, proj_size=3 if kind == "projection" else 0, bidirectional=two == 2)
            size = 3 if kind == "projection" else 4
            self.head = torch.nn.Linear(two * size, ACTIONS)
            self.register_buffer("hidden_state", torch.zeros(two, 1, size))
            self.register_buffer("cell_state", torch.zeros(two, 1, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
            self.hidden_state[:] = h
            self.cell_state[:] = c
            return self.head(out.squeeze(0))

    class Cell(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = torch.nn.GRUCell(5, 4), torch.nn.Linear(4, ACTIONS)
            self.register_buffer("hidden_state", torch.zeros(1, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.hidden_state[:] = self.cell(x, self.hidden_state)
            return self.head(self.hidden_state)

    path = save(Cell() if kind == "cell" else Layer(), tmp_path / "layer.pt")
    policy = load(path)
    assert not list(policy.program.children())
    hidden = policy.init_hidden()

    def reset() -> None:
        nonlocal hidden
        hidden = policy.init_hidden()

    def step(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal hidden
        action, hidden = policy(torch.from_numpy(observation), hidden)
        return action.numpy()

    with torch.no_grad():
        check(step, reset, path)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("code", sorted(set(REFUSED) - {"state-not-floating"}))
def test_what_the_engine_refuses_is_refused_here_with_the_same_code(code: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=rf"\[{code}\]$"):
        load(save(REFUSED[code](), tmp_path / "bad.pt"))


@pytest.mark.parametrize(("module", "code"), [(files.TensorCounter, "state-not-floating"), (files.Decides, "not-rec")])
def test_more_refusals(module: type[torch.nn.Module], code: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=code):
        load(save(module(), tmp_path / "bad.pt"))


def test_named_buffers_are_the_state_and_nothing_else(tmp_path: Path) -> None:
    path = save(files.LearnsAlways(), tmp_path / "learns.pt")
    policy = load(path, state_names=["hidden_state"])
    pilot = ganglion.load(path, state={"hidden_state": "hidden_state"})
    hidden = policy.init_hidden()
    for observation in observations(50):
        action, hidden = policy(torch.from_numpy(observation), hidden)
        np.testing.assert_allclose(action.numpy(), pilot.step(observation), rtol=1e-5, atol=1e-5)
    assert load(path, state_names=[]).hidden_size == 0  # a word, unlike None: without memory
    with pytest.raises(ExportError, match=r"no buffer 'h'.*running_mean \[state-buffer-unknown\]"):
        load(path, state_names=["h"])


def test_a_file_that_is_no_torchscript(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2)}, checkpoint)
    with pytest.raises(ArtifactError, match="no TorchScript file"):
        load(checkpoint)
    with pytest.raises(ArtifactError, match="cannot read"):
        load(tmp_path / "missing.pt")


def test_torch_itself_is_left_as_it_was(tmp_path: Path) -> None:
    layer = torch.nn.GRU(3, 4)
    x = torch.randn(1, 1, 3)
    before, random = layer(x)[0], torch.get_rng_state()
    load(write(tmp_path / "a.pt", "rsl_rl-gru-1"))
    torch.set_rng_state(random)
    torch.testing.assert_close(layer(x)[0], before, rtol=0.0, atol=0.0)
    assert torch.backends.mkldnn.enabled
