"""Recurrent cells that are written out, with no recurrent node: their state is never read as an observation."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from memory_files import ACTIONS, OBSERVATIONS, STEP, UNITS, to_onnx
from onnx import helper
from small_onnx import sums, write
from torch import nn

import ganglion
from ganglion.cli import main

pytestmark = pytest.mark.deep  # exports every kind of cell with every exporter

ENGINES = ("onnxruntime", "native")
ZEROS = torch.zeros(1, UNITS)


def zeros(count):
    """Each its own: the exporters take one tensor that is given twice for one input."""
    return [ZEROS.clone() for _ in range(count)]


class Cell(nn.Module):
    """A cell and a head; `first` gives the carry before the action, as flax does."""

    def __init__(self, kind=nn.LSTMCell, *, first=False):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head, self.first = kind(OBSERVATIONS, UNITS), nn.Linear(UNITS, ACTIONS), first

    def forward(self, obs, *carry):
        carry = self.cell(obs, carry if len(carry) > 1 else carry[0])
        carry = carry if isinstance(carry, tuple) else (carry,)
        action = self.head(carry[0])
        return (*carry, action) if self.first else (action, *carry)


class Written(nn.Module):
    """An LSTM cell in products and sums, as flax and jax2onnx write it: one product for all gates."""

    def __init__(self, inputs, units):
        super().__init__()
        self.gates = nn.Linear(inputs + units, 4 * units)

    def forward(self, obs, carry):
        h, c = carry
        i, f, g, o = self.gates(torch.cat([obs, h], -1)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Gated(nn.Module):
    """A minimal gated unit."""

    def __init__(self, inputs, units):
        super().__init__()
        self.gate, self.new = nn.Linear(inputs + units, units), nn.Linear(inputs, units)

    def forward(self, obs, h):
        gate = torch.sigmoid(self.gate(torch.cat([obs, h], -1)))
        return (1 - gate) * h + gate * torch.tanh(self.new(obs))


def check(path, module, action, state, engine):
    """The file steps as the module does, with these pairs and this action."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pilot = ganglion.load(path, engine=engine)
    assert [(names.input, names.output) for names in pilot.reading.state] == state
    assert pilot.contract.observation_size == OBSERVATIONS
    assert (pilot.contract.outputs[0].name, pilot.contract.action_size) == (action, ACTIONS)
    carry = tuple(ZEROS for _ in state)
    for observation in np.random.default_rng(0).standard_normal((20, OBSERVATIONS)).astype(np.float32):
        with torch.no_grad():
            outputs = module(torch.from_numpy(observation)[None], *carry)
        expected, carry = (outputs[-1], outputs[:-1]) if module.first else (outputs[0], outputs[1:])
        np.testing.assert_allclose(pilot.step(observation), expected[0].numpy(), rtol=1e-4, atol=1e-5)


NAMES = [
    (("h0", "c0"), ("hn", "cn")),
    (("h_0", "c_0"), ("h_n", "c_n")),
    (("hx", "cx"), ("hy", "cy")),
    (("lstm_h", "lstm_c"), ("lstm_h_out", "lstm_c_out")),
    (("m0", "n0"), ("m1", "n1")),
    (("h", "c"), ("new_h", "new_c")),
    (("h", "c"), ("next_h", "next_c")),
    (("h", "c"), ("h_1", "c_1")),
    (("h_prev", "c_prev"), ("h", "c")),
    (("hidden_t", "cell_t"), ("hidden_tp1", "cell_tp1")),
    (("hiddenIn", "cellIn"), ("hiddenOut", "cellOut")),
    (("in_h", "in_c"), ("out_h", "out_c")),
    (("initial_h", "initial_c"), ("final_h", "final_c")),
    (("in_1", "in_2"), ("out_7", "out_3")),
    (("a", "b"), ("c", "d")),
    (("state_a", "state_b"), ("carry", "memory")),
]


@pytest.mark.parametrize("first", [False, True], ids=["action first", "carry first"])
@pytest.mark.parametrize(("ins", "outs"), NAMES, ids=[" ".join(ins) for ins, _ in NAMES])
def test_an_lstm_cell_under_any_name(tmp_path, ins, outs, first):
    module = Cell(first=first).eval()
    outputs = [*outs, "y"] if first else ["y", *outs]
    path = to_onnx(tmp_path / "cell.onnx", module, (*STEP, *zeros(2)), ["x", *ins], outputs)
    check(path, module, "y", list(zip(ins, outs, strict=True)), "onnxruntime")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [Written, Gated, nn.GRUCell, nn.LSTMCell])
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_every_kind_of_cell(tmp_path, kind, engine, dynamo):
    if kind is nn.GRUCell and not dynamo:
        pytest.skip("torch's older exporter does not write a GRUCell")
    module = Cell(kind, first=True).eval()
    count = 2 if kind in (Written, nn.LSTMCell) else 1
    ins, outs = ["in_1", "in_2"][:count], ["p", "q"][:count]
    names = ["in_0", *ins], [*outs, "r"]
    keys = {"dynamo": dynamo, "opset_version": 18} if dynamo else {}
    path = to_onnx(tmp_path / "cell.onnx", module, (*STEP, *zeros(count)), *names, **keys)
    check(path, module, "r", list(zip(ins, outs, strict=True)), engine)


def test_a_quantised_cell_keeps_its_state(tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    module = Cell(first=True).eval()
    path = to_onnx(tmp_path / "cell.onnx", module, (*STEP, *zeros(2)), ["x", "a", "b"], ["p", "q", "r"])
    quantization.quantize_dynamic(str(path), str(tmp_path / "small.onnx"))
    reading = ganglion.explain(tmp_path / "small.onnx")
    assert [(names.input, names.output) for names in reading.state] == [("a", "p"), ("b", "q")]
    assert reading.contract.outputs[0].name == "r"


def test_what_cannot_be_told_is_asked_with_the_very_option(tmp_path, capsys):
    """A tanh cell holds on to nothing: its state might be an observation of the size of an output."""
    module = Cell(nn.RNNCell, first=True).eval()
    names = ["in_0", "in_1"], ["out_0", "out_1"]
    path = to_onnx(tmp_path / "cell.onnx", module, (*STEP, ZEROS), *names)
    with pytest.raises(ganglion.ArtifactError, match="state-ambiguous") as error:
        ganglion.load(path)
    assert "--state in_1:out_0, or, where there is no state, --state none" in str(error.value)
    assert main(["inspect", str(path), "--state", "in_1:out_0"]) == 0
    assert "in_1 pairs with output out_0 (as you said)" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", str(path), "--state", "none"]) == 0
    assert "in_1 [1, 16] is an observation of 16 elements" in " ".join(capsys.readouterr().out.split())
    assert ganglion.load(path, state={}).contract.observation_size == OBSERVATIONS + UNITS
    (tmp_path / "cell.onnx.yaml").write_text("state:\n  in_1: out_0\n")
    check(path, module, "out_1", [("in_1", "out_0")], "onnxruntime")


def test_a_wrong_size_is_explained(tmp_path):
    module = Cell(nn.RNNCell).eval()
    path = to_onnx(tmp_path / "cell.onnx", module, (*STEP, ZEROS), ["obs", "h0"], ["actions", "hn"])
    pilot = ganglion.load(path, state={})
    with pytest.raises(ganglion.StepError, match=r"22 = obs 6 \+ h0 16; one of them that is a state is named at load"):
        pilot.step(np.zeros(6))
    own = ganglion.load(ganglion.compile(path, tmp_path / "cell.ganglion", state={}).path)
    with pytest.raises(ganglion.StepError, match=r"\(1, 22\) is needed: 22 = obs 6 \+ h0 16$"):
        own.step(np.zeros(6))


@pytest.mark.parametrize(("name", "value"), [("dones", 0.0), ("terminals", 0.0), ("is_last", 0.0), ("masks", 1.0)])
@pytest.mark.parametrize("shape", [[1], [1, 1], []])
def test_a_flag_of_the_episode_is_no_observation(tmp_path, name, value, shape):
    nodes = [helper.make_node("Mul", ["h_in", name], ["h"]), *sums(("obs", "h", "actions"), ("obs", "h", "h_out"))]
    inputs = {"obs": [1, 3], "h_in": [1, 3], name: shape}
    path = write(tmp_path / "flag.onnx", nodes, inputs, {"actions": [1, 3], "h_out": [1, 3]})
    reading = ganglion.explain(path)
    assert (dict(reading.constants), reading.contract.observation_size) == ({name: value}, 3)


def matmul(a, w, y):
    return helper.make_node("MatMul", [a, w], [y])


NO_STATE = {
    # name: nodes, inputs, outputs, the inputs that are observations, the action
    "an action before": (
        [*sums(("obs", "prev_action", "out"), ("obs", "prev_action", "values"))],
        {"obs": [1, 3], "prev_action": [1, 3]},
        {"out": [1, 3], "values": [1, 3]},
        "out",
    ),
    "a critic beside": (
        [*sums(("in_0", "in_1", "out_0")), helper.make_node("ReduceSum", ["out_0", "axis"], ["value"])],
        {"in_0": [1, 3], "in_1": [1, 3]},
        {"out_0": [1, 3], "value": [1, 1]},
        "out_0",
    ),
    "one output": ([*sums(("x", "x2", "x_out"))], {"x": [1, 3], "x2": [1, 3]}, {"x_out": [1, 3]}, "x_out"),
    "the next observation": (
        [*sums(("obs", "goal", "actions"), ("obs", "goal", "next_obs"))],
        {"obs": [1, 3], "goal": [1, 3]},
        {"actions": [1, 3], "next_obs": [1, 3]},
        "actions",
    ),
    "a spread": (
        [*sums(("a", "b", "mu"), ("a", "b", "log_std"))],
        {"a": [1, 3], "b": [1, 3]},
        {"mu": [1, 3], "log_std": [1, 3]},
        "mu",
    ),
}


@pytest.mark.parametrize("name", NO_STATE)
def test_what_is_no_state_stays_an_observation(tmp_path, name):
    nodes, inputs, outputs, action = NO_STATE[name]
    path = write(tmp_path / "policy.onnx", nodes, inputs, outputs, {"axis": np.array([1])})
    reading = ganglion.explain(path)
    assert reading.state == ()
    assert [spec.name for spec in reading.contract.inputs] == list(inputs)
    assert (reading.contract.outputs[0].name, reading.findings) == (action, ())


def test_the_only_input_is_the_observation_whatever_its_name(tmp_path):
    path = write(tmp_path / "policy.onnx", sums(("state", "state", "y")), {"state": [1, 3]}, {"y": [1, 3]})
    reading = ganglion.explain(path)
    assert ([spec.name for spec in reading.contract.inputs], reading.state) == (["state"], ())


def test_layers_are_told_apart(tmp_path):
    """h_0 of two layers goes to h_0_out, not to h_1_out."""
    nodes = [
        *sums(("x", "h_0", "s"), ("s", "h_1", "y")),
        *[helper.make_node("Tanh", [a], [b]) for a, b in (("s", "h_0_out"), ("y", "h_1_out"))],
    ]
    ports = {"x": [1, 3], "h_0": [1, 3], "h_1": [1, 3]}, {"h_1_out": [1, 3], "h_0_out": [1, 3], "actions": [1, 3]}
    nodes.append(helper.make_node("Neg", ["y"], ["actions"]))
    reading = ganglion.explain(write(tmp_path / "two.onnx", nodes, *ports))
    assert {names.input: names.output for names in reading.state} == {"h_0": "h_0_out", "h_1": "h_1_out"}


ZERO_ACTION = {
    "times zero": [helper.make_node("Mul", ["obs", "zero"], ["first"])],
    "plus a constant": [helper.make_node("Mul", ["obs", "zero"], ["z"]), *sums(("z", "three", "first"))],
    "minus itself": [helper.make_node("Sub", ["obs", "obs"], ["first"])],
    "a matrix of zeros": [helper.make_node("Gemm", ["obs", "zeros", "three"], ["first"])],
}


@pytest.mark.parametrize("name", ZERO_ACTION)
def test_an_output_of_zeros_is_not_the_action(tmp_path, name):
    weights = {
        "zero": np.float32(0.0),
        "three": np.full(3, 3.0, np.float32),
        "zeros": np.zeros((3, 3), np.float32),
        "w": np.eye(3, dtype=np.float32),
    }
    nodes, shape = [*ZERO_ACTION[name], matmul("obs", "w", "second")], {"obs": [1, 3]}
    path = write(tmp_path / "two.onnx", nodes, shape, {"first": [1, 3], "second": [1, 3]}, weights)
    reading = ganglion.explain(path)
    assert (reading.contract.outputs[0].name, reading.findings) == ("second", ())
    path = write(tmp_path / "one.onnx", ZERO_ACTION[name], shape, {"first": [1, 3]}, weights)
    assert [finding.code for finding in ganglion.explain(path).findings] == ["action-constant"]


@pytest.mark.parametrize("critic", ["value", "values", "state_value", "critic", "q_values", "log_std", "vf_preds"])
def test_a_critic_is_not_commanded_silently(tmp_path, critic):
    weights = {"w": np.ones((3, 2), np.float32), "v": np.ones((3, 1), np.float32)}
    nodes = [matmul("obs", "v", critic), matmul("obs", "w", "net_17")]
    path = write(tmp_path / "both.onnx", nodes, {"obs": [1, 3]}, {critic: [1, 1], "net_17": [1, 2]}, weights)
    reading = ganglion.explain(path)
    assert (reading.contract.outputs[0].name, reading.findings) == ("net_17", ())
    path = write(tmp_path / "alone.onnx", nodes[:1], {"obs": [1, 3]}, {critic: [1, 1]}, weights)
    with pytest.warns(UserWarning, match="action-critic"):
        ganglion.load(path)
    assert ganglion.explain(path, action=critic).findings == ()


@pytest.mark.parametrize(("ratio", "training", "draws"), [(0.5, True, True), (0.5, False, False), (0.0, True, False)])
def test_a_dropout_that_is_switched_on(tmp_path, ratio, training, draws):
    """Since opset 12 an input says whether it drops."""
    weights = {"ratio": np.float32(ratio), "training": np.bool_(training)}
    nodes = [helper.make_node("Dropout", ["obs", "ratio", "training"], ["actions"])]
    path = write(tmp_path / "drop.onnx", nodes, {"obs": [1, 3]}, {"actions": [1, 3]}, weights, opset=12)
    assert [finding.code for finding in ganglion.explain(path).findings] == (["random-node"] if draws else [])
    assert onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
