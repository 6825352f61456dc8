"""Whole models: contracts, batches, recurrent operators, branches, functions, and how weights are stored."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiler_graphs import compare, constants, kinds, model, node
from onnx import helper
from real_files import real

import ganglion
from ganglion.compiler import compile_onnx
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.quantise import quantised, worst_error
from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.errors import ExportError

pytestmark = pytest.mark.deep  # exports and compiles every model

ARTIFACTS = Path(__file__).parents[2] / "golden" / "artifacts"
FLOAT = np.float32


def recurrent(operator, *, batch=1, linear_before_reset=1, bias=True, layout=0, opset=18, seed=0):
    """A layer of each kind with all its states, written by hand."""
    generator = np.random.default_rng(seed)
    hidden, gates = 5, {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    arrays = {
        "w": generator.normal(size=(1, gates * hidden, 3)).astype(FLOAT),
        "r": generator.normal(size=(1, gates * hidden, hidden)).astype(FLOAT),
        "b": generator.normal(size=(1, 2 * gates * hidden)).astype(FLOAT),
        "axis": np.array([layout]),
    }
    states = ["h", "c"] if operator == "LSTM" else ["h"]
    given = {"linear_before_reset": linear_before_reset} if operator == "GRU" else {}
    if layout:
        given["layout"] = layout
    turned = [node("Transpose", [f"{s}_in"], [f"{s}_turned"], perm=[1, 0, 2]) for s in states] if layout else []
    back = [node("Transpose", [f"{s}_new"], [f"{s}_out"], perm=[1, 0, 2]) for s in states] if layout else []
    entering = [f"{s}_turned" if layout else f"{s}_in" for s in states]
    leaving = [f"{s}_new" if layout else f"{s}_out" for s in states]
    nodes = [
        node("Unsqueeze", ["obs", "axis"], ["x"]),
        *turned,
        node(
            operator, ["x", "w", "r", "b" if bias else "", "", *entering], ["y", *leaving], hidden_size=hidden, **given
        ),
        *back,
        node("Reshape", ["y", "flat"], ["actions"]),
    ]
    shapes = {"obs": [batch, 3], **{f"{s}_in": [1, batch, hidden] for s in states}}
    results = {"actions": [batch, hidden], **{f"{s}_out": [1, batch, hidden] for s in states}}
    return model(nodes, shapes, results, constants(**arrays, flat=np.array([-1, hidden])), opset)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_recurrent_operators(operator, bias):
    program = compare(recurrent(operator, bias=bias), steps=200)
    assert kinds(program) == [operator.lower()]


def test_gru_before_reset():
    program = compare(recurrent("GRU", linear_before_reset=0), steps=200)
    assert program.ops[0].attributes["linear_before_reset"] is False


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_batchwise_layout(operator):
    # onnxruntime does not run it; the reference evaluator of onnx proves it.
    program, contract = compile_onnx(recurrent(operator, layout=1))
    plain, _ = compile_onnx(recurrent(operator))
    golden = contract.golden
    found, expected = (
        Interpreter(made).run(contract.initial_state, golden.observation, golden.reset) for made in (program, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_peepholes(batch):
    made = recurrent("LSTM", batch=batch)
    made.graph.initializer.append(constants(p=np.random.default_rng(1).normal(size=(1, 15)).astype(FLOAT))[0])
    layer = next(found for found in made.graph.node if found.op_type == "LSTM")
    layer.input.append("p")
    if batch == 1:
        assert "lstm" not in kinds(compare(made, steps=200))
    else:
        assert compile_onnx(made)[1].batch == 3


def test_operators_that_onnxruntime_does_not_know_are_proved_by_the_reference_evaluator():
    newest = onnx.defs.onnx_opset_version()
    made = model([node("Tanh", ["obs"], ["actions"])], {"obs": [1, 3]}, {"actions": [1, 3]}, opset=newest)
    golden = compile_onnx(made)[1].golden
    np.testing.assert_allclose(golden.outputs, np.tanh(golden.observation), atol=1e-6)


@pytest.mark.parametrize("operator", ["Log", "Acos", "Acosh", "Atanh"])
def test_functions_of_some_numbers_are_recorded_over_these(operator):
    made = model([node(operator, ["obs"], ["actions"])], {"obs": [1, 3]}, {"actions": [1, 3]})
    assert np.isfinite(compile_onnx(made)[1].golden.outputs).all()


@pytest.mark.parametrize("operator", ["Add", "Where"])
def test_masks_of_minus_infinity(operator):
    mask = np.triu(np.full((3, 3), -np.inf, FLOAT), 1)
    nodes = [
        node("MatMul", ["obs", "w"], ["flat"]),
        node("Reshape", ["flat", "square"], ["scores"]),
        node("Add", ["scores", "mask"], ["masked"])
        if operator == "Add"
        else node("Where", ["kept", "scores", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["chances"], axis=-1),
        node("Reshape", ["chances", "line"], ["actions"]),
    ]
    given = {
        "w": np.random.default_rng(0).normal(size=(4, 9)).astype(FLOAT), "mask": mask, "kept": mask == 0,
        "square": np.array([-1, 3, 3]), "line": np.array([-1, 9]),
    }  # fmt: skip
    made = model(nodes, {"obs": ["n", 4]}, {"actions": ["n", 9]}, constants(**given))
    golden = compile_onnx(made)[1].golden
    assert (golden.outputs[..., [1, 2, 5]] == 0).all()
    made.graph.node.append(node("Sub", ["flat", "mask"], ["unread"]))  # only a mask may have them
    with pytest.raises(ExportError, match="weights-not-finite"):
        compile_onnx(made)


@pytest.mark.parametrize("batch", ["batch", 1, 2, 5])
@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_batches(operator, batch):
    program, contract = compile_onnx(recurrent(operator, batch=batch))
    assert kinds(program) == [operator.lower()]
    assert contract.batch == (None if batch == "batch" else batch)
    assert contract.golden is not None and contract.golden.rows == min(3, 3 if batch == "batch" else batch)


def test_fixed_batches_in_shapes():
    nodes = [
        node("Reshape", ["obs", "first"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[1, 0, 2]),
        node("Relu", ["t"], ["r"]),
        node("Transpose", ["r"], ["u"], perm=[1, 0, 2]),
        node("Expand", ["k", "rows"], ["wide"]),
        node("Reshape", ["u", "second"], ["v"]),
        node("Add", ["v", "wide"], ["s"]),
        node("Concat", ["wide", "s"], ["actions"], axis=1),
    ]
    shapes = {"obs": [4, 8]}, {"actions": [4, 16]}
    given = {"first": np.array([4, 2, 4]), "second": np.array([4, -1]), "rows": np.array([4, 8])}
    program, contract = compile_onnx(model(nodes, *shapes, constants(**given, k=np.arange(8, dtype=FLOAT))))
    assert contract.batch == 4 and program.values[program.outputs[0]].size == 16
    # A constant that is another one for each row: no program of one row can do that.
    with pytest.raises(ExportError):
        compile_onnx(model(nodes, *shapes, constants(**given, k=np.arange(4, dtype=FLOAT)[:, None])))


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_fixed_batches_in_one_axis_with_others(batch):
    """Rows and features on one axis, a batch of the size of another axis, a result that is known, one state a layer."""
    nodes = [
        node("Concat", ["obs", "h_in__row"], ["both"], axis=1),
        node("Reshape", ["both", "line"], ["all"]),
        node("Tanh", ["all"], ["bent"]),
        node("Reshape", ["bent", "rows"], ["r"]),
        node("Softmax", ["r"], ["s"], axis=2),
        node("MatMul", ["s", "w"], ["m"]),
        node("Reshape", ["m", "flat"], ["actions"]),
        node("Expand", ["k", "shape_k"], ["log_std"]),
        node("Gather", ["h_in", "zero"], ["h_in__row"], axis=0),
        node("Add", ["h_in", "mean"], ["h_out"]),
        node("ReduceMean", ["r", "axes"], ["mean"], keepdims=0),
    ]
    nodes = [nodes[8], *nodes[:8], nodes[10], nodes[9]]
    given = {
        "line": np.array([batch * 6]), "rows": np.array([batch, 2, 3]), "flat": np.array([batch, 6]),
        "w": np.random.default_rng(0).normal(size=(3, 3)).astype(FLOAT), "k": np.float32([[0.5, -1.0]]),
        "shape_k": np.array([batch, 2]), "zero": np.array(0), "axes": np.array([1]),
    }  # fmt: skip
    made = model(
        nodes,
        {"obs": [batch, 3], "h_in": [2, batch, 3]},
        {"actions": [batch, 6], "log_std": [batch, 2], "h_out": [2, batch, 3]},
        constants(**given),
    )
    program, contract = compile_onnx(made)
    assert contract.batch == batch and [program.values[value].size for value in program.outputs] == [6, 2]
    golden = contract.golden
    assert golden.rows == min(batch, 3)  # what onnxruntime gave for each row
    found = Interpreter(program).run(contract.initial_state, golden.observation, golden.reset)
    np.testing.assert_allclose(found, golden.outputs, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_of_a_fixed_batch_that_see_each_other_are_found(axis):
    nodes = [node("ReduceMax", ["obs"], ["m"], axes=[axis]), node("Sub", ["obs", "m"], ["actions"])]
    made = model(nodes, {"obs": [3, 3]}, {"actions": [3, 3]}, opset=13)
    if axis == 1:
        assert compile_onnx(made)[1].batch == 3
        return
    with pytest.raises(ExportError, match="depends on 'obs' of another row: it mixes the rows of a batch"):
        compile_onnx(made)


def history(state, rows, inner):
    """The last observations as a state of any shape `[rows, ...]`, the newest at its end."""
    nodes = [
        node("Slice", ["memory_in", "one", "far", "steps"], ["older"]),
        node("Reshape", ["obs", "newest"], ["now"]),
        node("Concat", ["older", "now"], ["memory_out"], axis=len(state) - 2),
        node("Flatten", ["memory_out"], ["all"]),
        node("MatMul", ["all", "w"], ["actions"]),
    ]
    size = int(np.prod(state[1:]))
    given = {
        "one": np.array([1]), "far": np.array([1000]), "steps": np.array([len(state) - 2]), "newest": np.array(inner),
        "w": np.random.default_rng(0).normal(size=(size, 2)).astype(FLOAT) / size,
    }  # fmt: skip
    return model(
        nodes,
        {"obs": [rows, 6], "memory_in": list(state)},
        {"actions": [rows, 2], "memory_out": list(state)},
        constants(**given),
    )


@pytest.mark.parametrize("rows", [1, "batch"])
@pytest.mark.parametrize("kind", ["history", "cache"])
def test_a_state_with_more_axes_behind_the_batch(rows, kind, tmp_path):
    """A window of observations `[batch, steps, n]`, keys and values `[batch, heads, steps, n]`."""
    state, inner = ([rows, 4, 6], [-1, 1, 6]) if kind == "history" else ([rows, 2, 4, 3], [-1, 2, 1, 3])
    made = history(state, rows, inner)
    _, contract = compile_onnx(made, state={"memory_in": "memory_out"})
    assert [slot.size for slot in contract.state] == [24] and contract.batch == (None if rows == "batch" else 1)
    path = tmp_path / "history.onnx"
    onnx.save(made, path)
    observations = np.random.default_rng(1).normal(size=(8, 6)).astype(FLOAT)
    pilots = [ganglion.load(path, engine=name, state={"memory_in": "memory_out"}) for name in ("native", "onnxruntime")]
    for observation in observations:
        first, second = (pilot.step(observation) for pilot in pilots)
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    weight = next(array for array in made.graph.initializer if array.name == "w")
    seen = observations[-4:] if kind == "history" else observations[-4:].reshape(4, 2, 3).transpose(1, 0, 2)
    expected = seen.reshape(1, 24) @ onnx.numpy_helper.to_array(weight)
    np.testing.assert_allclose(first, expected[0], rtol=1e-5, atol=1e-6)


def test_rows_are_fixed_where_one_input_fixes_them():
    made = recurrent("GRU", batch=1)
    for values in (made.graph.input, made.graph.output):
        for value in values:
            if value.name in ("obs", "actions"):
                value.type.tensor_type.shape.dim[0].dim_param = "batch"
    assert compile_onnx(made)[1].batch == 1
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    with pytest.raises(ExportError, match="rows"):
        compile_onnx(made)


def test_outputs_that_no_node_gives():
    """ML-Agents writes weights as outputs, and outputs whose weights the exporter has dropped."""
    nodes = [node("Tanh", ["obs"], ["actions"])]
    made = model(nodes, {"obs": [1, 3]}, {"actions": [1, 3]}, constants(version_number=np.float32([3.0])))
    given = (("version_number", [1]), ("memory_size", [1]))
    made.graph.output.extend(helper.make_tensor_value_info(name, 1, shape) for name, shape in given)
    _, contract = compile_onnx(made, action="actions")
    assert "memory_size" not in {spec.name for spec in contract.outputs}


@pytest.mark.parametrize(
    "name",
    [
        "ai_2048__TFModels__3DBallHard.onnx",
        "ai_2048__TFModels__PushBlock.onnx",
        "ai_2048__TestModels__deterContinuous2vis8vec2action_v2_0.onnx",
        "mujoco_playground__onnx__go1_policy.onnx",
    ],
)
def test_public_files_of_old_operator_sets(name):
    program, contract = compile_onnx(real(name))
    assert contract.golden is not None and program.ops


@pytest.mark.parametrize("name", ["lstm", "gru_batch4", "rnn_any"])
def test_our_own_files(name):
    program, contract = compile_onnx(ARTIFACTS / f"{name}.onnx")
    assert contract.golden is not None
    outputs = Interpreter(program).run(contract.initial_state, contract.golden.observation, contract.golden.reset)
    np.testing.assert_allclose(outputs, contract.golden.outputs, atol=1e-6)
    assert contract.provenance["weights"] == "float32" and "weights_error" not in contract.provenance


@pytest.mark.parametrize("name", ["rsl_rl_lstm", "rsl_rl_gru"])
def test_files_of_rsl_rl(name):
    program, contract = compile_onnx(ARTIFACTS / f"{name}.onnx")
    assert [spec.name for spec in contract.inputs] == ["obs"] and contract.outputs[0].name == "actions"
    rows = np.array(np.genfromtxt(ARTIFACTS / f"{name}.csv", delimiter=",", names=True).tolist(), FLOAT)
    observation, reset = rows[:, None, 1:6], rows[:, None, 0] != 0
    outputs = Interpreter(program).run(contract.initial_state, observation, reset)
    np.testing.assert_allclose(outputs[:, 0], rows[:, 6:], atol=1e-6)
    assert [kind for kind in kinds(program) if kind != "gather"] == [name[-4:].strip("_")] * 2 + ["affine"] * 2


def test_any_slots_are_recognised():
    nodes = [
        node("Add", ["memory_in", "obs"], ["memory_out"]),
        node("Concat", ["memory_out", "flag_in"], ["value"], axis=1),
        node("Tanh", ["obs"], ["actions"]),
        node("Neg", ["flag_in"], ["flag_out"]),
    ]
    shapes = {"obs": ["n", 2], "memory_in": ["n", 2], "flag_in": ["n", 1]}
    program = compare(
        model(
            nodes,
            {key: [1, shape[1]] for key, shape in shapes.items()},
            {"value": [1, 3], "actions": [1, 2], "flag_out": [1, 1], "memory_out": [1, 2]},
        )
    )
    assert [program.values[index].size for index in program.outputs] == [2, 3]
    _, contract = compile_onnx(
        model(nodes, shapes, {"value": ["n", 3], "actions": ["n", 2], "flag_out": ["n", 1], "memory_out": ["n", 2]})
    )
    assert contract.batch is None
    assert contract.state == (StateSlot("memory", (2,)), StateSlot("flag", (1,)))
    assert [spec.name for spec in contract.outputs] == ["actions", "value"]


def test_a_given_contract_wins():
    made = recurrent("RNN")
    contract = Contract(
        inputs=(TensorSpec("obs", 3, low=(-1.0,) * 3, high=(1.0,) * 3),),
        outputs=(TensorSpec("actions", 5),),
        state=(StateSlot("h", (1, 5)),),
        initial_state=(0.5,) * 5,
        period_s=0.02,
    )
    _, written = compile_onnx(made, contract=contract)
    assert written.period_s == 0.02 and written.initial_state == (0.5,) * 5
    assert written.golden is not None and np.abs(written.golden.observation).max() <= 1.0
    for wrong in (
        dataclasses.replace(contract, inputs=(TensorSpec("observation", 3),)),
        dataclasses.replace(contract, inputs=(TensorSpec("obs", 4),)),
        dataclasses.replace(contract, outputs=(TensorSpec("actions", 4),)),
        dataclasses.replace(contract, state=(), initial_state=()),
    ):
        with pytest.raises(ExportError):
            compile_onnx(made, contract=wrong)


def test_state_and_outputs_may_be_anything():
    nodes = [
        node("Identity", ["obs"], ["h_out"]),
        node("Identity", ["h_in"], ["actions"]),
        node("Identity", ["k"], ["extra"]),
    ]
    made = model(nodes, {"obs": [1, 2], "h_in": [1, 2]}, {"actions": [1, 2], "extra": [1, 3], "h_out": [1, 2]},
                 constants(k=FLOAT([[1, 2, 3]])))  # fmt: skip
    assert kinds(compare(made)) == []


def test_functions_of_the_model_are_written_out():
    body = [node("Mul", ["a", "a"], ["s"]), node("Add", ["s", "a"], ["b"])]
    function = helper.make_function("mine", "SquarePlus", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    made = model([node("Relu", ["obs"], ["actions"])], {"obs": [1, 3]}, {"actions": [1, 3]})
    made.graph.node[0].op_type, made.graph.node[0].domain = "SquarePlus", "mine"
    made.opset_import.append(helper.make_opsetid("mine", 1))
    made.functions.append(function)
    assert kinds(compare(made)) == ["binary", "binary"]


def test_a_constant_branch_is_taken():
    def branch(name, operator):
        output = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3])
        return helper.make_graph([node(operator, ["obs"], [name])], name, [], [output])

    # The branch that is not taken may have what the native engine does not know.
    nodes = [node("If", ["c"], ["actions"], then_branch=branch("a", "Sinh"), else_branch=branch("b", "Tanh"))]
    made = model(nodes, {"obs": [1, 3]}, {"actions": [1, 3]}, constants(c=np.array(False)))
    assert [op.attributes["function"] for op in compare(made).ops] == ["tanh"]


def test_one_file_holds_shared_weights_once():
    nodes = [
        node("Reshape", ["obs", "s"], ["x"]),
        node("MatMul", ["x", "w"], ["y"]),
        node("Reshape", ["y", "f"], ["actions"]),
    ]
    weight = np.random.default_rng(0).normal(size=(3, 2)).astype(FLOAT)
    extra = constants(s=np.array([1, 4, 3]), w=weight, f=np.array([1, -1]))
    made = model(nodes, {"obs": [1, 12]}, {"actions": [1, 8]}, extra)
    program = compare(made)
    assert kinds(program).count("affine") == 4
    assert sum(tensor.ndim == 2 for tensor in program.tensors.values()) == 1


def big_lstm():
    return recurrent("LSTM", seed=3)


@pytest.mark.parametrize(
    ("weights", "dtype", "most"),
    [("float16", np.float16, 5e-3), ("int8x16", np.int8, 5e-2), ("int8x8", np.int8, 1e-1)],
)
def test_weights_are_stored_small(weights, dtype, most):
    reference, plain = compile_onnx(big_lstm())
    program, contract = compile_onnx(big_lstm(), weights=weights, tolerance=0.1)
    assert program.scheme == weights and program.tensors["lstm0.weight"].dtype == dtype
    assert ("scale" in program.ops[0].tensors) == (weights != "float16")
    assert plain.golden is not None and contract.golden is not None
    error = worst_error(program, reference, plain, [(plain.golden.observation, plain.golden.reset)])
    assert 0 < error < most
    assert contract.provenance["weights"] == weights
    assert contract.provenance["weights_error"] == f"{error:.1e}"
    # A load replays the golden trajectory and must accept what was accepted here.
    assert contract.golden.tolerance == pytest.approx(0.1 + plain.golden.tolerance)
    np.testing.assert_array_equal(contract.golden.outputs, plain.golden.outputs)


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_a_tolerance_that_is_missed_is_refused_with_what_was_reached(weights):
    with pytest.raises(ExportError, match=rf"{weights} weights change an output by up to \d\.\d\de-\d\d"):
        compile_onnx(big_lstm(), weights=weights, tolerance=1e-7)


def test_int8_takes_the_fastest_scheme_that_holds_the_tolerance():
    errors = {}
    for scheme in ("int8x8", "int8x16"):
        _, contract = compile_onnx(big_lstm(), weights=scheme, tolerance=1.0)
        errors[scheme] = float(contract.provenance["weights_error"])
    assert errors["int8x16"] < errors["int8x8"]
    for tolerance, scheme in ((errors["int8x8"] * 1.1, "int8x8"), (errors["int8x16"] * 1.1, "int8x16")):
        program, contract = compile_onnx(big_lstm(), weights="int8", tolerance=tolerance)
        assert program.scheme == contract.provenance["weights"] == scheme
    with pytest.raises(ExportError, match=r"\(int8x8\), .* \(int8x16\), .* \(int8\)"):
        compile_onnx(big_lstm(), weights="int8", tolerance=errors["int8x16"] / 10)


def test_inputs_are_rounded_to_the_steps_of_the_scheme():
    reference, _ = compile_onnx(big_lstm())
    observation, state = np.full((3, 3), 0.37, FLOAT) * FLOAT([[1], [0], [1e-30]]), np.zeros((3, 10), FLOAT)
    exact = Interpreter(quantised(reference, "int8")).step(observation, state)[0]
    fine = Interpreter(quantised(reference, "int8x16")).step(observation, state)[0]
    np.testing.assert_allclose(fine, exact, atol=1e-6)
    assert np.isfinite(fine).all()


def test_a_recording_counts_too():
    weight = np.random.default_rng(0).normal(size=(3, 2)).astype(FLOAT)
    made = model([node("MatMul", ["obs", "w"], ["actions"])], {"obs": [1, 3]}, {"actions": [1, 2]}, constants(w=weight))
    observation, reset = np.full((4, 1, 3), 30.0, FLOAT), np.zeros((4, 1), np.bool_)
    _, calm = compile_onnx(made, weights="int8x16", tolerance=1.0)
    _, wild = compile_onnx(made, weights="int8x16", tolerance=1.0, recording=(observation, reset))
    assert float(wild.provenance["weights_error"]) > 2 * float(calm.provenance["weights_error"])
    for wrong in ((observation[:, :, :2], reset), (observation, reset[:3]), (observation * np.nan, reset)):
        with pytest.raises(ValueError, match="recorded"):
            compile_onnx(made, weights="int8", recording=wrong)


def test_rows_of_zeros_and_huge_weights():
    weight = np.array([[0.0, 0.0], [1e-45, 0.0], [70000.0, -1.0]], FLOAT).T
    made = model([node("MatMul", ["obs", "w"], ["actions"])], {"obs": [1, 2]}, {"actions": [1, 3]}, constants(w=weight))
    program, _ = compile_onnx(made)
    small = quantised(program, "int8")
    assert (small.tensors["affine0.scale"] > 0).all()
    assert small.tensors["affine0.weight"].min() >= -127
    with pytest.raises(ExportError, match=r"65,504"):
        quantised(program, "float16")
    with pytest.raises(ValueError, match="int4"):
        compile_onnx(made, weights="int4")
    for tolerance in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="tolerance"):
            compile_onnx(made, weights="int8", tolerance=tolerance)


def test_int8_is_within_half_a_step_of_each_weight():
    program, _ = compile_onnx(big_lstm())
    small = quantised(program, "int8")
    weight, scale = program.tensors["lstm0.weight"], small.tensors["lstm0.scale"]
    difference = np.abs(small.tensors["lstm0.weight"].astype(FLOAT) * scale[:, None] - weight)
    assert (difference <= 0.5001 * scale[:, None]).all()
    assert (np.abs(small.tensors["lstm0.weight"]).max(axis=1) == 127).all()


def test_without_onnxruntime_the_reference_evaluator_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    _, contract = compile_onnx(recurrent("GRU", batch="batch"))
    monkeypatch.undo()
    _, expected = compile_onnx(recurrent("GRU", batch="batch"))
    assert contract.golden is not None and expected.golden is not None
    np.testing.assert_allclose(contract.golden.outputs, expected.golden.outputs, atol=1e-6)


@pytest.mark.parametrize("order", ["(x * half) * rest", "(x * rest) * half", "(half * rest) * x", "x * (rest * half)"])
def test_gelu_written_out_in_any_order(order):
    arrays = constants(root=FLOAT(2.0**0.5), one=FLOAT(1.0), half=FLOAT(0.5), w=np.eye(3, dtype=FLOAT))
    first, second, third = (name for name in order.replace("(", "").replace(")", "").split(" * "))
    products = (
        [node("Mul", [first, second], ["inner"]), node("Mul", ["inner", third], ["actions"])]
        if order.startswith("(")
        else [node("Mul", [second, third], ["inner"]), node("Mul", [first, "inner"], ["actions"])]
    )
    nodes = [
        node("MatMul", ["obs", "w"], ["x"]),
        node("Div", ["x", "root"], ["divided"]),
        node("Erf", ["divided"], ["erf"]),
        node("Add", ["erf", "one"], ["rest"]),
        *products,
    ]
    program = compare(model(nodes, {"obs": [1, 3]}, {"actions": [1, 3]}, arrays))
    assert [op.attributes["activation"] for op in program.ops] == [{"name": "gelu"}]


def test_long_chains():
    count = 3000
    nodes = [node("Abs" if i % 2 else "Neg", [f"t{i}" if i else "obs"], [f"t{i + 1}"]) for i in range(count)]
    nodes += [node("Cast", [f"t{count}"], ["i"], to=7), node("Cast", ["i"], ["f"], to=1)]
    nodes += [node("Add", ["f", "f" if i == 0 else f"s{i - 1}"], [f"s{i}"]) for i in range(30)]
    nodes += [node("Add", ["s29", "s29"], ["actions"])]
    assert len(compare(model(nodes, {"obs": [1, 3]}, {"actions": [1, 3]}), steps=2).ops) > count
