"""What the native engine cannot run is refused when it is compiled, by name and with advice."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from compiler_graphs import constants, model, node
from onnx import TensorProto, helper

from ganglion.compiler import compile_onnx
from ganglion.errors import ArtifactError, ExportError


def refused(made, *parts, error=ExportError, **given):
    with pytest.raises(error) as caught:
        compile_onnx(made, **given)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def policy(nodes, shape=(1, 4), initializers=(), opset=18):
    """A policy around `nodes`, from `x` of some shape to `y` of the same; nothing is run to make it."""
    around = [
        node("Reshape", ["obs", "shape_of_x"], ["x"]),
        *nodes,
        node("Reshape", ["y", "flat"], ["actions"]),
    ]
    size = int(np.prod(shape))
    extra = constants(shape_of_x=np.array(shape), flat=np.array([1, -1]))
    return model(around, {"obs": [1, size]}, {"actions": [1, size]}, [*initializers, *extra], opset)


def test_unknown_operator_names_node_and_operator():
    made = policy([helper.make_node("Det", ["x"], ["y"], name="layer/det")], (2, 2))
    refused(made, "node 'layer/det' (Det)", "does not know", "onnxruntime")


def test_a_node_without_a_name_is_named_by_its_output():
    refused(policy([node("Det", ["x"], ["y"])], (2, 2)), "node 'y' (Det)")


def test_custom_domain():
    made = policy([node("Relu", ["x"], ["y"])])
    made.graph.node[1].domain = "com.microsoft"
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(made, "(Relu)", "domain 'com.microsoft'")


def test_random_numbers():
    refused(policy([node("RandomNormalLike", ["x"], ["n"]), node("Add", ["x", "n"], ["y"])]), "draws random numbers")


@pytest.mark.parametrize(
    ("operator", "attributes", "shapes", "message"),
    [
        ("LSTM", {}, {"sequence": 3}, "sequence of length 3"),
        ("GRU", {}, {"sequence": 2}, "sequence of length 2"),
        ("RNN", {}, {"sequence": 2}, "sequence of length 2"),
        ("LSTM", {"direction": "bidirectional"}, {"directions": 2}, "bidirectional"),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, {}, "activations"),
        ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, {}, "activations"),
        ("RNN", {"activations": ["Sigmoid"]}, {}, "activation Sigmoid"),
        ("LSTM", {"clip": 3.0}, {}, "'clip'"),
        ("LSTM", {"input_forget": 1}, {}, "input_forget"),
        ("LSTM", {}, {"peephole": True}, "peephole weight has 10 elements; 9 are needed"),
        ("LSTM", {}, {"lengths": [0]}, "sequence_lens"),
    ],
)
def test_recurrent_layers(operator, attributes, shapes, message):
    hidden, gates = 3, {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    directions, sequence = shapes.get("directions", 1), shapes.get("sequence", 1)
    weights = {
        "w": np.ones((directions, gates * hidden, 4), np.float32),
        "r": np.ones((directions, gates * hidden, hidden), np.float32),
    }
    inputs = ["x", "w", "r", "", "", ""]
    if "peephole" in shapes:
        weights["p"] = np.ones((1, 3 * hidden + 1), np.float32)
        inputs += ["", "p"]
    if "lengths" in shapes:
        weights["lengths"] = np.array(shapes["lengths"], np.int32)
        inputs[4] = "lengths"
    nodes = [
        node("Reshape", ["obs", "shape"], ["x"]),
        helper.make_node(operator, inputs, ["", "h"], name="core", hidden_size=hidden, **attributes),
        node("Reshape", ["h", "flat"], ["actions"]),
    ]
    extra = constants(shape=np.array([sequence, 1, 4]), flat=np.array([1, -1]), **weights)
    made = model(nodes, {"obs": [1, 4 * sequence]}, {"actions": [1, hidden * directions]}, extra)
    refused(made, "node 'core'", message)


def test_projection_is_refused_by_name():
    nodes = [
        node("Reshape", ["obs", "shape"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], name="core", hidden_size=3),
        node("Reshape", ["h", "flat"], ["actions"]),
    ]
    extra = constants(
        shape=np.array([1, 1, 4]), flat=np.array([1, -1]), w=np.ones((1, 12, 4), np.float32),
        r=np.ones((1, 12, 2), np.float32),
    )  # fmt: skip
    refused(model(nodes, {"obs": [1, 4]}, {"actions": [1, 3]}, extra), "node 'core'", "proj_size=0")


@pytest.mark.parametrize(
    ("nodes", "initializers", "message"),
    [
        ([node("Gather", ["t", "i"], ["y"])], {"t": np.ones((5, 1), np.float32)}, "torch.clamp(index, 0, 4)"),
        ([node("Reshape", ["x", "i"], ["y"])], {}, "shape is computed from the observation"),
        ([node("NonZero", ["x"], ["n"]), node("Cast", ["n"], ["y"], to=1)], {}, "fixed sizes"),
        ([node("Cast", ["x"], ["h"], to=10), node("Cast", ["h"], ["y"], to=1)], {}, "element type 10"),
        ([node("Loop", ["n", "", "x"], ["y"], body=None)], {"n": np.int64(3)}, "(Loop)"),
        ([node("TopK", ["x", "k"], ["y", "places"])], {"k": np.array([5])}, "the 5 largest of 4 elements"),
        ([node("Mul", ["x", "big"], ["y"])], {"big": np.float32([np.nan])}, "is NaN"),
        ([node("MatMul", ["x", "big"], ["y"])], {"big": np.full((4, 4), np.inf, np.float32)}, "is infinite"),
    ],
)
def test_nodes(nodes, initializers, message):
    nodes = list(nodes)
    if nodes[0].op_type == "Loop":
        infos = [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                 helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                 helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 4])]  # fmt: skip
        body = helper.make_graph([node("Identity", ["c"], ["d"]), node("Neg", ["v"], ["w"])], "body", infos, [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4])])  # fmt: skip
        nodes = [node("Loop", ["n", "", "x"], ["y"], body=body)]
    first = [node("Cast", ["x"], ["i"], to=7)] if any("i" in n.input for n in nodes) else []
    refused(policy([*first, *nodes], initializers=constants(**initializers)), message)


def test_inputs_that_are_not_float():
    made = policy([node("Relu", ["x"], ["y"])])
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    refused(made, "'obs' is int64, not float32", "[input-type]")


def test_dynamic_shape():
    made = policy([node("Relu", ["x"], ["y"])])
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    refused(made, "'obs'", "only batch and time may be dynamic", "[shape]")


def test_external_data(tmp_path):
    made = policy([node("MatMul", ["x", "w"], ["y"])], initializers=constants(w=np.eye(4, dtype=np.float32)))
    path = tmp_path / "policy.onnx"
    onnx.save_model(made, path, save_as_external_data=True, location="policy.onnx.data", size_threshold=0)
    assert compile_onnx(path)[1].action_size == 4  # beside the model: read
    (tmp_path / "policy.onnx.data").unlink()
    with pytest.raises(ArtifactError, match=r"beside the model.*\[weights-missing\]"):
        compile_onnx(path)


def test_external_data_in_a_constant_node():
    tensor = TensorProto(dims=[4, 4], data_type=1, data_location=TensorProto.EXTERNAL, name="hidden")
    tensor.external_data.add(key="location", value="elsewhere.bin")
    made = policy([node("Identity", ["x"], ["y"])])
    made.graph.node.append(node("Constant", [], ["w"], value=tensor))
    refused(made, "hidden", "elsewhere.bin")


def test_old_opset():
    made = policy([node("Relu", ["x"], ["y"])], opset=18)
    made.opset_import[0].version = 6
    refused(made, "opset 6 is too old")


def test_state_that_is_never_fed_back():
    made = model([node("Add", ["obs", "h_in"], ["actions"])], {"obs": [1, 3], "h_in": [1, 3]}, {"actions": [1, 3]})
    refused(made, "'h_in' looks like a state, but there is no output 'h_out'", "[state-not-fed]")


def test_rows_that_are_mixed_are_found():
    nodes = [node("ReduceMean", ["obs", "axes"], ["m"]), node("Sub", ["obs", "m"], ["actions"])]
    made = model(nodes, {"obs": ["batch", 3]}, {"actions": ["batch", 3]}, constants(axes=np.array([0])))
    refused(made, "mixes the rows of a batch")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100, b"PK\x03\x04"])
def test_no_model_at_all(tmp_path, content):
    path = tmp_path / "policy.onnx"
    path.write_bytes(content)
    refused(path, "is no ONNX model", error=ArtifactError)


def test_missing_file(tmp_path):
    refused(tmp_path / "nobody.onnx", "cannot read", error=ArtifactError)


def test_invalid_model():
    made = policy([node("Relu", ["x"], ["y"])])
    made.graph.node[1].input[0] = "nobody"
    refused(made, "no valid ONNX model")
