"""Every operator in every version from opset 11 to 21, and what was another before, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from compiler_graphs import compare, constants, node, shaped

from ganglion.compiler.lowering.elementwise import KEEPS_KIND, SIMPLE, WITH_PARAMETERS

OLDEST, NEWEST = 11, 21
CASES = []


def case(operator, shape=(1, 6), result="y", label="", since=OLDEST, observations=None):
    """Registers a function `(opset) -> (nodes, initializers)` for every version of the operator."""

    def register(build):
        versions = {
            max(schema.since_version, since)
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.domain == "" and schema.name == operator and schema.since_version <= NEWEST
        }
        newest_of_old = max((v for v in versions if v <= OLDEST), default=None)
        for opset in sorted(v for v in versions if v >= OLDEST or v == newest_of_old):
            opset = max(opset, OLDEST)
            name = f"{operator}-{label}-{opset}" if label else f"{operator}-{opset}"
            CASES.append(pytest.param(build, shape, result, opset, observations, id=name))
        return build

    return register


def simple(*operators, shape=(1, 6), **attributes):
    for operator in operators:
        label = "-".join(f"{key}={value}" for key, value in attributes.items())
        case(operator, shape, label=label)(
            lambda opset, operator=operator: ([node(operator, ["x"], ["y"], **attributes)], ())  # noqa: ARG005
        )


simple("Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Softplus", "Tanh", "Sigmoid", "HardSigmoid", "Softsign", "Exp")
simple("HardSwish", "Mish", "Gelu", "Reciprocal", "Sin", "Cos", "Atan", "Tan", "Erf", "Neg", "Abs", "Sign", "Floor")
simple("Ceil", "Round", "Identity", "Shrink", "ThresholdedRelu", "LogSoftmax", "Softmax", "Sinh", shape=(2, 3))
simple("Cosh", "Asinh", "Hardmax", shape=(2, 3))
simple("Selu", alpha=2.0, gamma=3.0)
simple("LeakyRelu", alpha=0.3)
simple("Elu", alpha=0.7)
simple("Celu", alpha=1.7)
simple("HardSigmoid", alpha=0.3, beta=0.4)
simple("Gelu", approximate="tanh")
simple("Softmax", "LogSoftmax", shape=(2, 3, 2), axis=1)
simple("Softmax", "LogSoftmax", shape=(2, 3, 2), axis=-1)
simple("Flatten", shape=(2, 3, 2), axis=2)
simple("ArgMax", "ArgMin", shape=(2, 3, 2), axis=1, keepdims=0)
simple("ArgMax", shape=(2, 3, 2), axis=-1)
simple("Transpose", shape=(2, 3, 2), perm=[2, 0, 1])
simple("Transpose", shape=(2, 3))
simple("GlobalAveragePool", "GlobalMaxPool", shape=(1, 2, 4))
simple("MaxPool", "AveragePool", shape=(1, 2, 7), kernel_shape=[3], strides=[2])
simple("LpNormalization", shape=(2, 3))
simple("MeanVarianceNormalization", shape=(1, 2, 3, 2))
simple("LpNormalization", shape=(2, 3), p=1, axis=0)
simple("LRN", shape=(1, 5, 2, 2), size=3, alpha=0.5)
simple("MaxPool", "AveragePool", "LpPool", shape=(1, 2, 5, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1])
simple("MaxPool", shape=(1, 2, 5, 6), kernel_shape=[2, 2], dilations=[2, 1], ceil_mode=1, strides=[2, 2])
simple("AveragePool", shape=(1, 2, 5, 6), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
simple("AveragePool", shape=(1, 1, 3, 4, 5), kernel_shape=[2, 2, 2], auto_pad="SAME_LOWER")
simple("GlobalLpPool", shape=(1, 2, 3, 4), p=3)

for _name in ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean"):

    @case(_name, label="constant")
    def _(_, operator=_name):
        nodes = [node("Exp", ["x"], ["e"]), node(operator, ["e", "k"], ["y"])]
        return nodes, constants(k=np.float32([[0.5, 1, 2, 3, 2, 1]]))

    @case(_name, label="from-constant")
    def _(_, operator=_name):
        return [node(operator, ["k", "x"], ["y"])], constants(k=np.float32(1.5))

    @case(_name, (2, 3), label="computed")
    def _(_, operator=_name):
        nodes = [node("Abs", ["x"], ["a"]), node("Gather", ["x", "i"], ["r"]), node(operator, ["a", "r"], ["y"])]
        return nodes, constants(i=np.array([1], np.int64))


for _name in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"):

    @case(_name, (2, 3), observations=[[0, 1, 1, 0, 1, 2], [1, 1, 1, 1, 1, 1], [0.5, 0, 0, 0.5, -1, 1]])
    def _(_, operator=_name):
        return [node("Gather", ["x", "i"], ["r"]), node(operator, ["x", "r"], ["y"])], constants(i=np.array([1]))


for _name in ("And", "Or", "Xor"):

    @case(_name)
    def _(_, operator=_name):
        nodes = [
            node("Greater", ["x", "zero"], ["a"]),
            node("Less", ["x", "one"], ["b"]),
            node(operator, ["a", "b"], ["c"]),
            node("Not", ["c"], ["y"]),
        ]
        return nodes, constants(zero=np.float32(0), one=np.float32(1))


@case("Where", (2, 3), label="computed")
def _(_):
    nodes = [node("Greater", ["x", "k"], ["c"]), node("Neg", ["x"], ["n"]), node("Where", ["c", "n", "k"], ["y"])]
    return nodes, constants(k=np.float32([[0.5], [-0.5]]))


@case("Where", (2, 3), label="constant-condition")
def _(_):
    nodes = [node("Neg", ["x"], ["n"]), node("Where", ["c", "n", "x"], ["y"])]
    return nodes, constants(c=np.array([[True, False, True]]))


@case("Clip", label="constant")
def _(_):
    return [node("Clip", ["x", "low", "high"], ["y"])], constants(low=np.float32(-0.5), high=np.float32(1))


@case("Clip", label="one-sided")
def _(_):
    return [node("Clip", ["x", "", "high"], ["y"])], constants(high=np.float32(1))


@case("Clip", label="computed")
def _(_):
    nodes = [node("ReduceMax", ["x"], ["high"], keepdims=0), node("Neg", ["high"], ["low"])]
    return [*nodes, node("Clip", ["x", "low", "high"], ["y"])], ()


@case("PRelu", (2, 3))
def _(_):
    return [node("PRelu", ["x", "s"], ["y"])], constants(s=np.float32([0.1, 0.2, 0.3]))


@case("PRelu", label="one-slope")
def _(_):
    return [node("PRelu", ["x", "s"], ["y"])], constants(s=np.float32([0.1]))


@case("Log")
@case("Sqrt")
def _(_):
    nodes = [node("Abs", ["x"], ["a"]), node("Log", ["a"], ["l"]), node("Sqrt", ["a"], ["s"])]
    return [*nodes, node("Add", ["l", "s"], ["y"])], ()


@case("IsNaN")
@case("IsInf")
def _(_):
    nodes = [node("Log", ["x"], ["l"]), node("IsNaN", ["l"], ["a"]), node("Reciprocal", ["x"], ["r"])]
    return [*nodes, node("IsInf", ["r"], ["b"]), node("Or", ["a", "b"], ["y"])], ()


@case("Cast", observations=[[-1.7, -0.2, 0, 0.9, 1, 2.5], [3, -3, 2.999, -2.999, 0.5, -0.5]])
def _(_):
    nodes = [node("Cast", ["x"], ["i"], to=7), node("Cast", ["i"], ["b"], to=9), node("Cast", ["b"], ["f"], to=1)]
    return [*nodes, node("Cast", ["i"], ["g"], to=1), node("Add", ["f", "g"], ["y"])], ()


@case("Cast", label="double")
def _(_):
    return [node("Cast", ["x"], ["d"], to=11), node("Mul", ["d", "k"], ["y"])], constants(k=np.float64(0.3))


@case("CastLike", since=15)
def _(_):
    nodes = [node("Greater", ["x", "k"], ["b"]), node("CastLike", ["b", "k"], ["f"]), node("Mul", ["f", "x"], ["y"])]
    return nodes, constants(k=np.float32(0.3))


@case("Div", label="integer", observations=[[-7, 7, 8, 9, -9, 0], [5, -5, 16, 3, 2, -1]])
@case("Mod", label="integer", observations=[[-7, 7, 8, 9, -9, 0], [5, -5, 16, 3, 2, -1]])
def _(_):
    nodes = [node("Cast", ["x"], ["i"], to=7), node("Div", ["i", "k"], ["q"]), node("Mod", ["i", "k"], ["m"])]
    nodes += [node("Mul", ["q", "hundred"], ["h"]), node("Add", ["h", "m"], ["y"])]
    return nodes, constants(k=np.int64(3), hundred=np.int64(100))


@case("Mod", label="fmod")
def _(_):
    return [node("Mod", ["x", "k"], ["y"], fmod=1)], constants(k=np.float32(0.7))


for _name in (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSumExp", "ReduceLogSum",
):  # fmt: skip
    for _axes, _keep in (([2], 0), ([1], 1), ([0, -1], 0), (None, 0)):

        @case(_name, (2, 3, 2), label=f"{_axes}-{_keep}")
        def _(opset, operator=_name, axes=_axes, keep=_keep):
            as_input = opset >= (13 if operator == "ReduceSum" else 18)
            first = node("Exp", ["x"], ["e"])
            if axes is None:
                return [first, node(operator, ["e"], ["y"], keepdims=keep)], ()
            if as_input:
                return [first, node(operator, ["e", "axes"], ["y"], keepdims=keep)], constants(axes=np.array(axes))
            return [first, node(operator, ["e"], ["y"], keepdims=keep, axes=axes)], ()


@case("Reshape", (2, 3))
def _(_):
    return [node("Reshape", ["x", "s"], ["r"]), node("Transpose", ["r"], ["y"])], constants(s=np.array([0, -1, 1]))


@case("Squeeze", (1, 3, 1, 2))
@case("Unsqueeze", (1, 3, 1, 2))
def _(opset):
    if opset >= 13:
        nodes = [
            node("Squeeze", ["x", "a"], ["s"]),
            node("Unsqueeze", ["s", "b"], ["u"]),
            node("Squeeze", ["u"], ["y"]),
        ]
        return nodes, constants(a=np.array([-2]), b=np.array([0, -1]))
    return [
        node("Squeeze", ["x"], ["s"], axes=[2]),
        node("Unsqueeze", ["s"], ["u"], axes=[0, 4]),
        node("Squeeze", ["u"], ["y"]),
    ], ()


@case("Concat", (2, 3))
def _(_):
    nodes = [node("Neg", ["x"], ["n"]), node("Concat", ["x", "k", "n"], ["c"], axis=-1)]
    return [*nodes, node("Concat", ["c", "c"], ["y"], axis=0)], constants(k=np.float32([[1], [2]]))


@case("Split", (2, 6))
def _(opset):
    if opset >= 13:
        nodes = [node("Split", ["x", "sizes"], ["a", "b", "c"], axis=1)]
    else:
        nodes = [node("Split", ["x"], ["a", "b", "c"], axis=1, split=[1, 3, 2])]
    return [*nodes, node("Concat", ["c", "b"], ["y"], axis=1)], constants(sizes=np.array([1, 3, 2]))


@case("Split", (2, 6), label="equal")
def _(opset):
    given = {"num_outputs": 3} if opset >= 18 else {}
    return [node("Split", ["x"], ["a", "b", "c"], axis=1, **given), node("Sub", ["c", "a"], ["y"])], ()


@case("Slice", (4, 5), label="steps")
def _(_):
    nodes = [node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"])]
    given = {"starts": [3, -4], "ends": [-100, 2**62], "axes": [0, 1], "steps": [-2, 2]}
    return nodes, constants(**{key: np.array(value, np.int64) for key, value in given.items()})


@case("Slice", (4, 5), label="short")
def _(_):
    return [node("Slice", ["x", "starts", "ends"], ["y"])], constants(starts=np.array([1]), ends=np.array([-1]))


@case("Gather", (3, 4))
def _(_):
    return [node("Gather", ["x", "i"], ["y"], axis=1)], constants(i=np.array([[3, -1], [0, 0]]))


@case("Gather", (2, 4), label="argmax")
def _(_):
    return [node("ArgMax", ["x"], ["i"], axis=1), node("Gather", ["t", "i"], ["y"], axis=0)], constants(
        t=np.arange(12, dtype=np.float32).reshape(4, 3)
    )


@case("Gather", (3, 4), label="computed-table", observations=np.random.default_rng(1).uniform(-3, 3, (20, 12)))
def _(_):
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Clip", ["s", "low", "high"], ["c"]),
        node("Cast", ["c"], ["i"], to=7),
        node("Gather", ["x", "i"], ["y"], axis=1),
    ]
    return nodes, constants(low=np.float32(0), high=np.float32(3))


@case("GatherElements", (2, 3))
def _(_):
    return [node("GatherElements", ["x", "i"], ["y"], axis=1)], constants(i=np.array([[2, 0], [1, -1]]))


@case("GatherND", (2, 3))
def _(_):
    return [node("GatherND", ["x", "i"], ["y"])], constants(i=np.array([[1, 2], [0, 0], [1, -3]]))


@case("ScatterND", (2, 3))
def _(_):
    nodes = [node("Neg", ["x"], ["n"]), node("Gather", ["n", "first"], ["u"])]
    return [*nodes, node("ScatterND", ["x", "i", "u"], ["y"])], constants(first=np.array([0]), i=np.array([[1]]))


@case("ScatterElements", (2, 3))
def _(_):
    return [node("ScatterElements", ["x", "i", "u"], ["y"], axis=1)], constants(
        i=np.array([[2], [0]]), u=np.float32([[5], [6]])
    )


@case("Expand", (2, 1, 3))
def _(_):
    return [node("Expand", ["x", "s"], ["e"]), node("Mul", ["e", "e"], ["y"])], constants(s=np.array([2, 2, 1]))


@case("Tile", (2, 3))
def _(_):
    return [node("Tile", ["x", "r"], ["y"])], constants(r=np.array([2, 3]))


for _mode in ("constant", "reflect", "edge", "wrap"):

    @case("Pad", (2, 4), label=_mode, since=19 if _mode == "wrap" else OLDEST)
    def _(_, mode=_mode):
        return [node("Pad", ["x", "pads"], ["y"], mode=mode)], constants(pads=np.array([0, 2, 0, 1]))


@case("Pad", (2, 4), label="value-and-crop")
def _(_):
    return [node("Pad", ["x", "pads", "v"], ["y"])], constants(pads=np.array([1, -1, 0, 2]), v=np.float32(7))


@case("Trilu", (3, 4), since=14)
def _(_):
    nodes = [node("Trilu", ["x", "k"], ["a"], upper=1), node("Trilu", ["x"], ["b"], upper=0)]
    return [*nodes, node("Sub", ["a", "b"], ["y"])], constants(k=np.int64(1))


@case("OneHot", (2, 4))
def _(_):
    nodes = [node("ArgMax", ["x"], ["i"], axis=1, keepdims=0), node("OneHot", ["i", "depth", "values"], ["y"], axis=0)]
    return nodes, constants(depth=np.int64(5), values=np.float32([-1, 2]))


@case("CumSum", (2, 4))
def _(_):
    nodes = [node("CumSum", ["x", "a"], ["s"]), node("CumSum", ["s", "b"], ["y"], reverse=1, exclusive=1)]
    return nodes, constants(a=np.int64(1), b=np.int64(0))


@case("TopK", (2, 4), since=11)
def _(_):
    nodes = [node("TopK", ["x", "k"], ["v", "i"]), node("Cast", ["i"], ["f"], to=1), node("Add", ["v", "f"], ["y"])]
    return nodes, constants(k=np.array([1]))


@case("Shape", (2, 3))
@case("Size", (2, 3))
def _(_):
    nodes = [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["z"]), node("Size", ["x"], ["n"])]
    nodes += [node("Cast", ["n"], ["f"], to=1), node("Add", ["z", "f"], ["k"]), node("Mul", ["x", "k"], ["y"])]
    return nodes, ()


RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def random(request, monkeypatch):
    """Of every case its own, whatever ran before it."""
    monkeypatch.setitem(globals(), "RANDOM", np.random.default_rng(list(request.node.name.encode())))


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


@case("MatMul", (2, 3, 4), label="right")
def _(_):
    return [node("MatMul", ["x", "w"], ["y"])], constants(w=normal(4, 5))


@case("MatMul", (3, 4), label="left")
def _(_):
    return [node("MatMul", ["w", "x"], ["y"])], constants(w=normal(2, 3))


@case("MatMul", (6,), label="vector")
def _(_):
    return [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["v", "a"], ["y"])], constants(
        w=normal(6, 3), v=normal(4, 3)
    )


@case("MatMul", (2, 3, 4), label="batched-constant")
def _(_):
    return [node("MatMul", ["x", "w"], ["y"])], constants(w=normal(2, 4, 5))


@case("MatMul", (2, 3, 4), label="computed")
def _(_):
    return [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])], ()


for _bias in (None, (5,), (1, 5), (), (2, 1)):

    @case("Gemm", (2, 4), label=f"bias-{_bias}")
    def _(_, bias=_bias):
        if bias is None:
            return [node("Gemm", ["x", "w"], ["y"])], constants(w=normal(4, 5))
        return [node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0)], constants(
            w=normal(5, 4), b=normal(*bias)
        )


@case("Gemm", (4, 2), label="computed")
def _(_):
    nodes = [node("Neg", ["x"], ["n"]), node("Relu", ["x"], ["r"]), node("ReduceMax", ["x"], ["c"])]
    return [*nodes, node("Gemm", ["n", "r", "c"], ["y"], transA=1, alpha=0.5, beta=0.25)], ()


@case("LayerNormalization", (2, 3, 4), since=17)
def _(_):
    return [node("LayerNormalization", ["x", "w", "b"], ["y"], epsilon=1e-3)], constants(w=normal(4), b=normal(4))


@case("LayerNormalization", (2, 3, 4), label="two-axes", since=17)
def _(_):
    return [node("LayerNormalization", ["x", "w"], ["y"], axis=1)], constants(w=normal(3, 4))


@case("LayerNormalization", (2, 4), label="computed-scale", since=17)
def _(_):
    nodes = [node("Gather", ["x", "i"], ["w"]), node("LayerNormalization", ["x", "w", "w"], ["y"])]
    return nodes, constants(i=np.int64(0))


@case("BatchNormalization", (1, 3, 4))
def _(_):
    return [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], constants(
        s=normal(3), b=normal(3), m=normal(3), v=np.abs(normal(3))
    )


@case("InstanceNormalization", (1, 3, 4))
def _(_):
    return [node("InstanceNormalization", ["x", "s", "b"], ["y"])], constants(s=normal(3), b=normal(3))


@case("GroupNormalization", (1, 4, 3), since=21)
def _(_):
    return [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)], constants(s=normal(4), b=normal(4))


for _label, _given in {
    "plain": {},
    "padded": {"pads": [2, 1], "strides": [2]},
    "dilated": {"dilations": [2], "pads": [1, 1]},
    "grouped": {"group": 2},
    "same-upper": {"auto_pad": "SAME_UPPER", "strides": [2]},
    "same-lower": {"auto_pad": "SAME_LOWER"},
    "valid": {"auto_pad": "VALID"},
}.items():

    @case("Conv", (1, 4, 6), label=_label)
    def _(_, given=_given):
        nodes = [node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[2], **given)]
        return nodes, constants(w=normal(6, 4 // given.get("group", 1), 2), b=normal(6))


for _name in ("ArgMax", "ArgMin"):

    @case(_name, (2, 3, 2), since=12, label="last", observations=[np.arange(12) % 4, np.zeros(12), np.arange(12)])
    def _(_, operator=_name):
        return [node(operator, ["x"], ["y"], axis=1, select_last_index=1)], ()


for _label, _given in {
    "image": {},
    "image-padded": {"pads": [1, 0, 2, 3], "strides": [2, 3]},
    "image-dilated": {"dilations": [3, 2], "pads": [2, 2, 2, 2]},
    "image-grouped": {"group": 2, "pads": [1, 1, 1, 1]},
    "image-by-depth": {"group": 4, "strides": [1, 2]},
    "image-same-upper": {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
    "image-same-lower": {"auto_pad": "SAME_LOWER"},
    "image-valid": {"auto_pad": "VALID", "strides": [3, 1]},
}.items():

    @case("Conv", (1, 4, 7, 6), label=_label)
    def _(_, given=_given):
        nodes = [node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[3, 2], **given)]
        return nodes, constants(w=normal(20, 4 // given.get("group", 1), 3, 2) / 3, b=normal(20))


@case("Conv", (1, 2, 4, 5), label="image-after-a-pad")
def _(_):
    nodes = [node("Pad", ["x", "pads"], ["p"]), node("Conv", ["p", "w"], ["y"], pads=[0, 1, 1, 0])]
    return nodes, constants(pads=np.array([0, 0, 1, 2, 0, 0, 3, 0]), w=normal(5, 2, 3, 2))


@case("Conv", (3, 2, 4, 5), label="image-one-by-one")
def _(_):
    return [node("Conv", ["x", "w"], ["y"])], constants(w=normal(5, 2, 1, 1))


@case("Conv", (1, 2, 3, 4, 5), label="three-axes")
def _(_):
    return [node("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 1, 0, 1, 0])], constants(
        w=normal(3, 2, 2, 2, 3) / 4, b=normal(3)
    )


for _label, _given in {
    "plain": {},
    "strided": {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 0]},
    "dilated": {"dilations": [2, 1], "group": 2},
    "shaped": {"strides": [2, 2], "output_shape": [6, 8]},
}.items():

    @case("ConvTranspose", (1, 4, 3, 4), label=_label)
    def _(_, given=_given):
        nodes = [node("ConvTranspose", ["x", "w", "b"], ["y"], kernel_shape=[2, 3], **given)]
        return nodes, constants(w=normal(4, 6 // given.get("group", 1), 2, 3), b=normal(6))


for _label, _given in {
    "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "linear": {"mode": "linear"},
    "corners": {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    "cubic": {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel", "cubic_coeff_a": -0.75},
}.items():

    @case("Resize", (1, 2, 3, 4), label=_label)
    def _(_, given=_given):
        scales = np.float32([1, 1, 2, 1.5])
        return [node("Resize", ["x", "roi", "s"], ["y"], **given)], constants(roi=np.float32([]), s=scales)


@case("GridSample", (1, 2, 3, 4))
def _(_):
    grid = np.random.default_rng(3).uniform(-1.2, 1.2, (1, 2, 5, 2)).astype(np.float32)
    return [node("GridSample", ["x", "g"], ["y"])], constants(g=grid)


for _label, _k, _given in (
    ("largest", 3, {}), ("smallest", 3, {"largest": 0, "axis": 1}), ("all", 5, {"axis": -2}), ("one", 1, {"axis": 1}),
):  # fmt: skip

    @case("TopK", (2, 5, 3), label=_label, observations=[np.tile([2, 1, 2, 0, -1], 6), np.arange(30) % 7])
    def _(_, k=_k, given=_given):
        nodes = [node("TopK", ["x", "k"], ["v", "i"], **given), node("Cast", ["i"], ["f"], to=1)]
        return [*nodes, node("Concat", ["v", "f"], ["y"], axis=0)], constants(k=np.array([k]))


@case("TopK", (1, 4), label="beside-infinity", observations=[[1, 2, 3, 4], [4, 3, 2, 1]])
def _(_):
    nodes = [node("Where", ["kept", "x", "never"], ["m"]), node("TopK", ["m", "k"], ["v", "y"])]
    return nodes, constants(k=np.array([3]), kept=np.array([[True, False, True, False]]), never=np.float32(-np.inf))


@case("LayerNormalization", (2, 3, 4), label="statistics", since=17)
def _(_):
    nodes = [node("LayerNormalization", ["x", "s", "b"], ["n", "mean", "deviation"], axis=1)]
    nodes += [node("Add", ["mean", "deviation"], ["a"]), node("Add", ["n", "a"], ["y"])]
    return nodes, constants(s=normal(3, 4), b=normal(3, 4))


for _reduction in ("add", "mul", "min", "max"):
    _given = {"reduction": _reduction}
    _since = 16 if _reduction in ("add", "mul") else 18

    @case("ScatterND", (4, 3), label=_reduction, since=_since)
    def _(_, given=_given):
        nodes = [node("ScatterND", ["k", "i", "x"], ["y"], **given)]
        return nodes, constants(k=normal(5, 3), i=np.array([[0], [2], [0], [0]]))

    @case("ScatterElements", (4, 3), label=_reduction, since=_since)
    def _(_, given=_given):
        nodes = [node("ScatterElements", ["x", "i", "k"], ["y"], axis=1, **given)]
        return nodes, constants(k=normal(2, 3), i=np.array([[0, 0, 2], [1, -1, 1]]))


PLACES = [[0.0, 1, 2, -1, 0.5, 1, 2, 3], [2.0, 2, -2, 1, 1, 1, 1, 1], [-3.0, 0, 1, 1, 4, 3, 2, 1]]
"""Places, some of them negative or beyond the end, then what is written there."""


def places(shape, low, high):
    """Nodes that make indices `i` of this shape of the first elements of x, and numbers `u` of the last ones."""
    count = int(np.prod(shape))
    nodes = [node("Gather", ["x", "begin"], ["g"], axis=1), node("Clip", ["g", "low", "high"], ["c"])]
    nodes += [node("Cast", ["c"], ["h"], to=7), node("Reshape", ["h", "places"], ["i"])]
    nodes += [node("Gather", ["x", "end"], ["last"], axis=1), node("Reshape", ["last", "shaped"], ["u"])]
    given = {"begin": np.arange(count), "end": np.arange(4, 4 + count), "low": np.float32(low)}
    return nodes, given | {"high": np.float32(high), "places": np.array(shape), "shaped": np.array(shape)}


for _label, _since, _given in (
    ("computed", OLDEST, {}), ("computed-add", 16, {"reduction": "add"}), ("computed-mul", 16, {"reduction": "mul"}),
    ("computed-min", 18, {"reduction": "min"}), ("computed-max", 18, {"reduction": "max"}),
):  # fmt: skip
    # Without a reduction one place is written once: what is right for two is not said.
    _writes = 2 if _given else 1

    @case("ScatterElements", (1, 8), label=_label, since=_since, observations=PLACES)
    def _(_, given=_given, writes=_writes):
        nodes, extra = places([2, writes], -3.0, 2.0)
        nodes.append(node("ScatterElements", ["t", "i", "u"], ["y"], axis=1, **given))
        return nodes, constants(**extra, t=normal(2, 3))

    @case("ScatterElements", (1, 8), label=f"{_label}-other-axis", since=_since, observations=PLACES)
    def _(_, given=_given, writes=_writes):
        """Fewer indices along the other axis than there are elements."""
        nodes, extra = places([writes, 2], -2.0, 1.0)
        nodes += [node("Reshape", ["x", "as"], ["r"]), node("ScatterElements", ["r", "i", "u"], ["y"], axis=0, **given)]
        return nodes, constants(**extra, **{"as": np.array([2, 4])})

    @case("ScatterND", (1, 8), label=_label, since=_since, observations=PLACES)
    def _(_, given=_given, writes=_writes):
        """Rows of a computed table."""
        nodes, extra = places([writes, 1], -4.0, 3.0)
        nodes += [node("Reshape", ["x", "as"], ["r"]), node("Concat", ["u", "u"], ["uu"], axis=1)]
        nodes += [node("ScatterND", ["r", "i", "uu"], ["y"], **given)]
        return nodes, constants(**extra, **{"as": np.array([4, 2])})


@case("ScatterND", (1, 8), label="computed-and-known", observations=PLACES)
def _(_):
    """As `table[rows, index] = values` is written: one axis is known."""
    nodes, extra = places([2, 1], -2.0, 1.0)
    nodes += [node("Concat", ["rows", "i"], ["both"], axis=1), node("Reshape", ["u", "line"], ["v"])]
    nodes += [node("Reshape", ["x", "as"], ["r"]), node("Gather", ["r", "two"], ["t"], axis=1)]
    nodes += [node("ScatterND", ["t", "both", "v"], ["y"])]
    return nodes, constants(
        **extra, rows=np.array([[1], [-1]]), line=np.array([2]), two=np.array([0, 1]), **{"as": np.array([4, 2])}
    )


@case("GatherND", (1, 8), label="computed", observations=PLACES)
def _(_):
    """Of a known table, and of a computed one; places of two axes."""
    nodes, extra = places([2, 2], -2.0, 1.0)
    nodes += [
        node("GatherND", ["t", "i"], ["a"]),
        node("Reshape", ["x", "as"], ["r"]),
        node("GatherND", ["r", "i"], ["b"]),
    ]
    return [*nodes, node("Add", ["a", "b"], ["y"])], constants(
        t=normal(2, 2, 2), **{**extra, "as": np.array([2, 2, 2])}
    )


@case("GatherND", (1, 8), label="computed-batch", since=12, observations=PLACES)
def _(_):
    nodes, extra = places([2, 2, 1], -4.0, 3.0)
    nodes += [node("Reshape", ["x", "as"], ["r"]), node("GatherND", ["r", "i"], ["y"], batch_dims=1)]
    return nodes, constants(**{**extra, "as": np.array([2, 4])})


for _label, _low, _high in (("below", None, 3.0), ("above", 0.0, None), ("both", -2.0, 3.0)):

    @case("Gather", (1, 2), label=f"limited-{_label}", observations=[[0, 1], [2, 3], [1, 3]])
    @case("GatherElements", (1, 2), label=f"limited-{_label}", observations=[[0, 1], [2, 3], [1, 3]])
    def _(_, limits=(_low, _high)):
        names = ["" if limit is None else name for name, limit in zip(("low", "high"), limits, strict=True)]
        given = {name: np.float32(limit) for name, limit in zip(names, limits, strict=True) if name}
        nodes = [node("Clip", ["x", *names], ["c"]), node("Cast", ["c"], ["i"], to=7)]
        nodes += [node("Gather", ["t", "i"], ["a"], axis=1), node("GatherElements", ["t", "i"], ["b"], axis=1)]
        nodes += [node("Reshape", ["a", "shape"], ["r"]), node("Add", ["r", "b"], ["y"])]
        return nodes, constants(t=normal(1, 4), shape=np.array([1, 2]), **given)


@case("Mod", (1, 2), label="wraps-index", observations=[[-4, -1], [0, 3], [-3, 7], [2, -2]])
def _(_):
    nodes = [node("Cast", ["x"], ["i"], to=7), node("Mod", ["i", "size"], ["w"])]
    return [*nodes, node("GatherElements", ["t", "w"], ["y"], axis=1)], constants(t=normal(1, 4), size=np.array([4]))


@case("If", label="computed")
def _(_):
    def branch(name, operator):
        output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 6])
        return onnx.helper.make_graph([node(operator, ["x"], [name])], name, [], [output])

    nodes = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"])]
    nodes.append(node("If", ["c"], ["y"], then_branch=branch("a", "Neg"), else_branch=branch("b", "Tanh")))
    return nodes, constants(zero=np.float32(0))


for _name in sorted((SIMPLE | WITH_PARAMETERS | KEEPS_KIND).keys() - {found.id.partition("-")[0] for found in CASES}):

    @case(_name, label="of-tanh")  # between -1 and 1, where the inverse functions are finite too
    def _(_, operator=_name):
        return [node("Tanh", ["x"], ["t"]), node(operator, ["t"], ["y"])], ()


# Operators whose parameters were attributes before opset 11, and those that are gone, in the operator sets named.
OLD = {
    "Clip": ([node("Clip", ["x"], ["y"], min=-0.5, max=1.0)], (7, 10)),
    "Clip-one-sided": ([node("Clip", ["x"], ["y"], max=1.0)], (7, 10)),
    "Slice": ([node("Slice", ["x"], ["y"], starts=[1, -3], ends=[2, 100], axes=[2, 3])], (7, 9)),
    "Pad": ([node("Pad", ["x"], ["y"], pads=[0, 0, 1, 0, 0, 0, 0, 2], value=1.5)], (7, 10)),
    "Pad-reflect": ([node("Pad", ["x"], ["y"], pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="reflect")], (7, 10)),
    "TopK": ([node("TopK", ["x"], ["y", "i"], k=2)], (7, 9)),
    "Upsample": ([node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0])], (7, 8)),
    "Upsample-input": ([node("Upsample", ["x", "s"], ["y"], mode="linear")], (9,)),
    "Resize": ([node("Resize", ["x", "s"], ["y"])], (10,)),
    "Resize-linear": ([node("Resize", ["x", "s"], ["y"], mode="linear")], (10,)),
    "Scatter": ([node("Scatter", ["x", "i", "k"], ["y"], axis=3)], (9, 10)),
    "Squeeze": ([node("Squeeze", ["x"], ["q"], axes=[0]), node("Unsqueeze", ["q"], ["y"], axes=[3])], (7, 10)),
    "ReduceMean": ([node("ReduceMean", ["x"], ["y"], axes=[1, 3], keepdims=0)], (7, 10)),
    "Softmax": ([node("Softmax", ["x"], ["y"], axis=2)], (7, 10)),
    "Hardmax": ([node("Hardmax", ["x"], ["y"], axis=2)], (7, 10)),
    "MaxPool": ([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])], (7, 10)),
    "AveragePool": ([node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 0, 0])], (7, 10)),
    "Cast": ([node("Cast", ["x"], ["t"], to=9), node("Not", ["t"], ["y"])], (7, 9, 10)),
    "Gemm": ([node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "c"], ["y"], transB=1)], (7, 9, 10)),
    "BatchNormalization": ([node("BatchNormalization", ["x", "p", "b", "b", "p"], ["y"])], (7, 9)),
    "Dropout": ([node("Dropout", ["x"], ["y"], ratio=0.3)], (7, 10)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "opset"), [(name, opset) for name, (_, opsets) in OLD.items() for opset in opsets], ids=str
)
def test_operator_of_an_old_version(name, opset):
    given = constants(
        s=np.float32([1, 1, 2, 2]), i=np.array([[[[0, 2]]]]), k=np.float32([[[[5, 7]]]]), w=normal(3, 24), c=normal(3),
        p=np.float32([1.5, 0.5]), b=normal(2),
    )  # fmt: skip
    nodes = OLD[name][0]
    taken = {source for made in nodes for source in made.input}
    # The flat ends of the policy are nodes that all operator sets have.
    compare(shaped(nodes, (1, 2, 3, 4), "y", [array for array in given if array.name in taken], opset))


@pytest.mark.sampled(200)
@pytest.mark.parametrize(("build", "shape", "result", "opset", "observations"), CASES)
def test_operator(build, shape, result, opset, observations):
    nodes, initializers = build(opset)
    compare(shaped(nodes, shape, result, initializers, opset), observations)
