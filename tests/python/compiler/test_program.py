"""A program says no to everything that does not fit together, and its JSON is exact."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from one_operation import CONV, GOOD, IMAGE, KERNEL, PATCH, one_op

from ganglion.compiler import vocabulary
from ganglion.compiler.interpreter import Interpreter
from ganglion.compiler.program import Op, Program, StatePort, Value
from ganglion.errors import ArtifactError

FLOAT = np.float32


def gru_program():
    generator = np.random.default_rng(0)
    tensors = {
        "w": generator.normal(size=(9, 5)).astype(FLOAT),
        "b": generator.normal(size=9).astype(FLOAT),
        "head": generator.normal(size=(4, 3)).astype(FLOAT),
        "half": np.full(4, 0.5, FLOAT),
        "index": np.array([3, 0, 4], np.int32),
    }
    return Program(
        values=(Value(2), Value(3), Value(4, "half"), Value(3), Value(4), Value(4), Value(3)),
        inputs=(0,),
        state=(StatePort(1, 3),),
        outputs=(5, 6),
        ops=(
            Op("gru", (0, 1), (3,), {"weight": "w", "bias": "b"}, {"linear_before_reset": True}),
            Op("affine", (3,), (4,), {"weight": "head"}, {"activation": {"name": "elu", "alpha": 0.5}}),
            Op("binary", (4, 2), (5,), {}, {"function": "mul"}),
            Op("gather", (2, 3), (6,), {"index": "index"}),
        ),
        tensors=tensors,
    )


def test_json_is_exact():
    program = gru_program()
    again = Program.from_json(program.to_json(), program.tensors)
    assert again.to_json() == program.to_json()
    observation, state = np.ones((2, 2), FLOAT), np.zeros((2, 3), FLOAT)
    for found, expected in zip(
        Interpreter(again).step(observation, state), Interpreter(program).step(observation, state), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_cell_is_the_one_of_pytorch():
    import torch

    program = gru_program()
    cell = torch.nn.GRUCell(2, 3)
    weight, bias = program.tensors["w"], program.tensors["b"]
    with torch.no_grad():
        cell.weight_ih.copy_(torch.from_numpy(weight[:, :2].copy()))
        cell.weight_hh.copy_(torch.from_numpy(weight[:, 2:].copy()))
        cell.bias_ih.copy_(torch.from_numpy(bias))
        cell.bias_hh.zero_()
        x, h = np.random.default_rng(1).normal(size=(4, 5)).astype(FLOAT)[:, [0, 1]], np.full((4, 3), 0.3, FLOAT)
        expected = cell(torch.from_numpy(x.copy()), torch.from_numpy(h)).numpy()
    np.testing.assert_allclose(Interpreter(program).step(x, h)[1], expected, atol=1e-6)


def broken(change):
    document = json.loads(gru_program().to_json())
    change(document)
    return json.dumps(document)


BREAKS = {
    "format": (lambda d: d.update(format=2), "newer"),
    "format-kind": (lambda d: d.update(format=True), "positive integer"),
    "no-format": (lambda d: d.pop("format"), "positive integer"),
    "scheme": (lambda d: d.update(scheme="int4"), "scheme 'int4'"),
    "missing-key": (lambda d: d.pop("state"), "'state' is missing"),
    "unknown-key": (lambda d: d.update(extra=1), "'extra' is unknown"),
    "unknown-value-key": (lambda d: d["values"][0].update(extra=1), "'extra' is unknown"),
    "not-a-list": (lambda d: d.update(values={}), "not a list"),
    "value-not-an-object": (lambda d: d["values"].__setitem__(0, 3), "not an object"),
    "no-inputs": (lambda d: d.update(inputs=[]), "at least one input"),
    "size-zero": (lambda d: d["values"][0].update(size=0), "size 0"),
    "size-huge": (lambda d: d["values"][0].update(size=2**40), "size 1099511627776"),
    "size-text": (lambda d: d["values"][0].update(size="2"), "not an integer"),
    "size-bool": (lambda d: d["values"][0].update(size=True), "not an integer"),
    "constant-size": (lambda d: d["values"][2].update(size=3), "tensor 'half'"),
    "constant-missing": (lambda d: d["values"][2].update(constant="nobody"), "not there"),
    "constant-kind": (lambda d: d["values"][2].update(constant="index"), "tensor 'index'"),
    "input-twice": (lambda d: d.update(inputs=[0, 0]), "written before"),
    "input-negative": (lambda d: d.update(inputs=[-1]), "names value -1"),
    "input-constant": (lambda d: d.update(inputs=[2]), "constant"),
    "output-outside": (lambda d: d.update(outputs=[70]), "value 70"),
    "output-bool": (lambda d: d.update(outputs=[True]), "not an integer"),
    "state-size": (lambda d: d["state"][0].update(out=4), "enters with 3"),
    "read-early": (lambda d: d["ops"].reverse(), "before anything has written"),
    "read-outside": (lambda d: d["ops"][0].update({"in": [0, 99]}), "reads value 99"),
    "write-twice": (lambda d: d["ops"][1].update(out=[3]), "written before"),
    "never-written": (lambda d: d["values"].append({"size": 1}), "nothing writes value 7"),
    "unknown-op": (lambda d: d["ops"][0].update(op="transformer"), "does not know operation 'transformer'"),
    "op-without-in": (lambda d: d["ops"][0].pop("in"), "'in' is missing"),
    "op-without-tensors": (lambda d: d["ops"][2].pop("tensors"), "'tensors' is missing"),
    "ports": (lambda d: d["ops"][0].update({"in": [0]}), "1 inputs and 1 outputs"),
    "unknown-role": (lambda d: d["ops"][1]["tensors"].update(peephole="b"), "'peephole' is unknown"),
    "unknown-attribute": (lambda d: d["ops"][1].update(reverse=True), "'reverse' is unknown"),
    "missing-tensor": (lambda d: d["ops"][0]["tensors"].update(weight="nobody"), "not there"),
    "missing-weight": (lambda d: d["ops"][0]["tensors"].pop("weight"), "'weight' is missing"),
    "weight-shape": (lambda d: d["ops"][0]["tensors"].update(weight="head"), "[9, 5] is needed"),
    "bias-shape": (lambda d: d["ops"][0]["tensors"].update(bias="half"), "'bias' is float32 [4]"),
    "scale-of-float": (lambda d: d["ops"][1]["tensors"].update(scale="half"), "needs a tensor 'scale'"),
    "unused-tensor": (lambda d: d["ops"][0]["tensors"].pop("bias"), "'b' is not used"),
    "linear-kind": (lambda d: d["ops"][0].update(linear_before_reset=1), "not true or false"),
    "activation": (lambda d: d["ops"][1].update(activation={"name": "quux"}), "activation"),
    "activation-parameter": (lambda d: d["ops"][1].update(activation={"name": "elu"}), "parameters"),
    "activation-infinite": (lambda d: d["ops"][1].update(activation={"name": "elu", "alpha": 1e39}), "no float32"),
    "activation-null": (lambda d: d["ops"][1].update(activation={"name": "elu", "alpha": None}), "finite number"),
    "function": (lambda d: d["ops"][2].update(function="plus"), "function 'plus'"),
    "broadcast": (lambda d: d["ops"][2].update({"in": [4, 3]}), "1 or 4 are possible"),
    "index-shape": (lambda d: d["ops"][3].update({"tensors": {"index": "half"}}), "not int32 [3]"),
    "index-range": (lambda d: d["ops"][3].update({"in": [2]}), "the index runs from 0 to 4"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ArtifactError) as caught:
        Program.from_json(broken(change), gru_program().tensors)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"format": NaN}', "[" * 100_000])
def test_no_program_at_all(text):
    with pytest.raises(ArtifactError):
        Program.from_json(text, {})


def test_tensors_are_checked():
    program = gru_program()
    for name, tensor, message in (
        ("w", np.full((9, 5), np.nan, FLOAT), "NaN"),
        ("w", np.full((9, 5), np.inf, FLOAT), "not finite"),
        ("w", np.zeros((9, 5), np.float64), "float64"),
        ("w", np.zeros((9, 5), np.int8), "needs a tensor 'scale'"),
        ("b", np.zeros(9, np.float16), "float32 [9] is needed"),
        ("index", np.array([0, 1, -1], np.int32), "runs from -1"),
        ("index", np.array([0, 1], np.int32), "int32 [3]"),
        ("half", np.zeros(0, FLOAT), "no elements"),
    ):
        with pytest.raises(ArtifactError) as caught:
            dataclasses.replace(program, tensors={**program.tensors, name: tensor})
        assert message in str(caught.value), name


@pytest.mark.parametrize("kind", GOOD)
def test_every_operation_checks_its_sizes(kind):
    inputs, outputs, tensors, attributes = GOOD[kind]
    program = one_op(kind, inputs, outputs, tensors, **attributes)
    rows = Interpreter(program).step(np.ones((2, sum(inputs)), FLOAT), np.zeros((2, 0), FLOAT))[0]
    assert rows.shape == (2, sum(outputs))
    for key in attributes:
        with pytest.raises(ArtifactError):
            one_op(kind, inputs, outputs, tensors, **{k: v for k, v in attributes.items() if k != key})
        with pytest.raises(ArtifactError):
            one_op(kind, inputs, outputs, tensors, **{**attributes, key: "?"})
    with pytest.raises(ArtifactError):
        one_op(kind, inputs, outputs, tensors, **attributes, other=1)
    with pytest.raises(ArtifactError):
        one_op(kind, inputs, (*outputs, 1), tensors, **attributes)
    for place in range(len(inputs)):
        changed = tuple(size + 1 if i == place else size for i, size in enumerate(inputs))
        with pytest.raises(ArtifactError):
            one_op(kind, changed, outputs, tensors, **attributes)


def test_conv_limits():
    for change in (
        {"groups": 3}, {"stride": 0}, {"dilation": 9}, {"out_length": 6}, {"padding": "reflect"}, {"pad_left": 6},
        {"length": 2**30}, {"pad_right": 0}, {"in_channels": 2.0},
    ):  # fmt: skip
        with pytest.raises(ArtifactError):
            one_op("conv1d", (10,), (20,), KERNEL, **{**CONV, **change})


def test_limits_of_a_convolution_of_images():
    for change in (
        {"groups": 3}, {"stride_height": 0}, {"dilation_height": 5}, {"dilation_width": 9}, {"out_height": 3},
        {"out_width": 4}, {"pad_top": 2}, {"pad_bottom": 3}, {"pad_right": 9}, {"pad_left": -1}, {"height": 4},
        {"width": 2**30}, {"padding": "zeros"},
        # Products of these are as large as the right ones modulo 2^64.
        {"in_channels": 2**22, "height": 2**21, "width": 2**21}, {"out_height": 2**24, "out_width": 2**24},
        # Padding that no place of the kernel sees still is memory.
        {"pad_bottom": 2**24 - 4, "stride_height": 2**24, "out_height": 1, "pad_right": 2**23},
    ):  # fmt: skip
        with pytest.raises(ArtifactError):
            one_op("conv2d", (30,), (40,), PATCH, **{**IMAGE, **change})
    for weight in (np.ones((4, 1, 6), FLOAT), np.ones((4, 2, 2, 3), FLOAT), np.ones((4, 1, 3, 2), FLOAT)):
        with pytest.raises(ArtifactError):
            one_op("conv2d", (30,), (40,), {"weight": weight}, **IMAGE)


def test_what_a_large_image_needs_is_refused_by_name():
    large = {**IMAGE, "pad_bottom": 2**24 - 4, "stride_height": 2**24, "out_height": 1}
    with pytest.raises(ArtifactError, match="padded input, or its output, has more than 16777216 elements"):
        one_op("conv2d", (30,), (20,), PATCH, **large)


def test_every_function_is_known_to_the_interpreter():
    x = np.linspace(0.1, 0.9, 6, dtype=FLOAT)[None]  # where asin and log are finite, too
    for function, names in vocabulary.UNARY.items():
        parameters = dict.fromkeys(names, 1.0)
        program = one_op("unary", (6,), (6,), {}, function=function, **parameters)
        assert np.isfinite(Interpreter(program).step(x, x[:, :0])[0]).all()
    for function in vocabulary.BINARY:
        program = one_op("binary", (3, 3), (3,), {}, function=function)
        assert np.isfinite(Interpreter(program).step(x, x[:, :0])[0]).all()
    for function in vocabulary.REDUCE:
        program = one_op("reduce", (6,), (2,), {}, function=function, rows=2, columns=3)
        assert np.isfinite(Interpreter(program).step(x, x[:, :0])[0]).all()


def test_lookup_is_guarded():
    program = one_op("lookup", (6, 1), (3,), {}, rows=2, columns=3)
    table = np.arange(6, dtype=FLOAT)
    for wanted, first in ((-5, 0), (0, 0), (1, 3), (9, 3), (np.nan, 0), (np.inf, 3)):
        row = np.append(table, FLOAT(wanted))[None]
        assert Interpreter(program).step(row, row[:, :0])[0][0, 0] == first
