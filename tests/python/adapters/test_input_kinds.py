"""Observations that are no one vector: images, bytes, nothing at all, several by name; and time beside the batch."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
import small_onnx
from onnx import TensorProto, helper

import ganglion
from ganglion.errors import StepError

UNITS, WIDTH = 5, 4
IMAGE = (3, 6, 6)
ENGINES = ("onnxruntime", "native")


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sequence_gru(path, observation, state, *, batch_first=False):
    """A GRU over `[time, batch, n]`, or `[batch, time, n]`; the axes as a file would call them."""
    swap = {"perm": [1, 0, 2]}
    nodes = [
        *([helper.make_node("Transpose", ["obs"], ["x"], **swap)] if batch_first else []),
        helper.make_node(
            "GRU",
            ["x" if batch_first else "obs", "w", "r", "b", "", "h_in"],
            ["y", "h_out"],
            hidden_size=UNITS,
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", ["y", "direction"], ["units"]),
        *([helper.make_node("Transpose", ["units"], ["first"], **swap)] if batch_first else []),
        helper.make_node("MatMul", ["first" if batch_first else "units", "head"], ["actions"]),
    ]
    weights = {
        "w": random(1, 3 * UNITS, WIDTH),
        "r": random(1, 3 * UNITS, UNITS, seed=1),
        "b": random(1, 6 * UNITS, seed=2),
        "head": random(UNITS, 2, seed=3),
        "direction": np.array([1]),
    }
    inputs = {"obs": [*observation, WIDTH], "h_in": [1, state, UNITS]}
    return small_onnx.write(path, nodes, inputs, {"actions": [*observation, 2], "h_out": [1, state, UNITS]}, weights)


def convolution(path, image=IMAGE, kind=TensorProto.FLOAT, batch="batch", nothing=False):
    """An image in, two actions out; with an input that has no elements, on request."""
    nodes = [
        helper.make_node("Cast", ["camera"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "w"], ["seen"], strides=[2, 2]),
        helper.make_node("Flatten", ["seen"], ["flat"]),
        *([helper.make_node("Concat", ["obs", "flat"], ["all"], axis=1)] if nothing else []),
        helper.make_node("MatMul", ["all" if nothing else "flat", "head"], ["actions"]),
    ]
    side = (image[1] - 3) // 2 + 1
    weights = {"w": random(2, image[0], 3, 3), "head": random(2 * side * side, 2, seed=1)}
    inputs = ({"obs": [batch, 0]} if nothing else {}) | {"camera": (kind, [batch, *image])}
    return small_onnx.write(path, nodes, inputs, {"actions": [batch, 2]}, weights)


def two_vectors(path):
    nodes = [
        helper.make_node("Concat", ["a_vec", "b_vec"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["actions"]),
    ]
    inputs = {"a_vec": ["batch", 4], "b_vec": ["batch", 3]}
    return small_onnx.write(path, nodes, inputs, {"actions": ["batch", 2]}, {"w": random(7, 2)})


def quiet_load(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ganglion.load(*arguments, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("observation", "state", "batch_first"),
    [
        (("time", "batch"), "batch", False),
        (("seq_len", "num_envs"), "num_envs", False),
        (("s0", "s1"), "s1", False),  # what PyTorch's newer exporter calls them
        (("obs_dynamic_axes_1", "obs_dynamic_axes_2"), "h_in_dynamic_axes_1", False),
        (("T", "N"), "N", False),
        (("batch", "time"), "batch", True),
        (("s7", "s1"), "s7", True),
    ],
)
def test_the_batch_is_told_from_time(tmp_path, engine, observation, state, batch_first):
    path = sequence_gru(tmp_path / "gru.onnx", observation, state, batch_first=batch_first)
    assert ganglion.inspect(path).batch is None
    three = quiet_load(path, engine=engine, batch=3)
    alone = [quiet_load(path, engine=engine) for _ in range(3)]
    for step in range(5):
        seen = random(3, WIDTH, seed=step)
        actions = [pilot.step(row) for pilot, row in zip(alone, seen, strict=True)]
        np.testing.assert_allclose(three.step(seen), actions, atol=1e-6)


@pytest.mark.parametrize(("observation", "batch_first"), [(("time", 1), False), ((1, "time"), True)])
def test_time_alone_is_no_batch(tmp_path, observation, batch_first):
    path = sequence_gru(tmp_path / "gru.onnx", observation, 1, batch_first=batch_first)
    assert ganglion.inspect(path).batch == 1
    for engine in ENGINES:
        assert quiet_load(path, engine=engine).step(np.zeros(WIDTH)).shape == (2,)


def test_a_state_of_one_row_makes_the_file_one_of_one_row(tmp_path):
    path = sequence_gru(tmp_path / "gru.onnx", ("time", "batch"), 1)
    assert ganglion.inspect(path).batch == 1
    assert ganglion.verify(path, steps=20).ok
    ganglion.compile(path, tmp_path / "gru.ganglion")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_image_is_taken_in_its_own_shape(tmp_path, engine):
    path = convolution(tmp_path / "camera.onnx")
    assert ganglion.inspect(path).inputs[0].shape == IMAGE
    image = random(2, *IMAGE)
    one, two = quiet_load(path, engine=engine), quiet_load(path, engine=engine, batch=2)
    action = one.step(image[0])
    assert action.shape == (2,)
    np.testing.assert_array_equal(one.step(image[0].ravel()), action)
    np.testing.assert_array_equal(one.step(image[:1]), [action])
    np.testing.assert_array_equal(one.step({"camera": image[0]}), action)
    np.testing.assert_allclose(two.step(image), two.step(image.reshape(2, -1)))
    np.testing.assert_allclose(two.step(image)[0], action, atol=1e-5)
    with pytest.raises(StepError, match=r"shape \(6, 6, 3\); .*\(3, 6, 6\).* is needed"):
        one.step(image[0].transpose(1, 2, 0))


def test_the_shape_goes_into_a_compiled_file(tmp_path):
    path = convolution(tmp_path / "camera.onnx")
    ganglion.compile(path, tmp_path / "camera.ganglion")
    assert ganglion.inspect(tmp_path / "camera.ganglion").inputs[0].shape == IMAGE
    image = random(*IMAGE)
    np.testing.assert_allclose(
        ganglion.load(tmp_path / "camera.ganglion").step(image), quiet_load(path).step(image), atol=1e-5
    )


def test_several_inputs_are_taken_by_name(tmp_path):
    one, two = quiet_load(two_vectors(tmp_path / "two.onnx")), quiet_load(tmp_path / "two.onnx", batch=2)
    a, b = random(2, 4), random(2, 3, seed=1)
    action = one.step({"b_vec": b[0], "a_vec": a[0]})
    np.testing.assert_array_equal(action, one.step(np.concatenate([a[0], b[0]])))
    np.testing.assert_array_equal(one.step({"a_vec": a[:1], "b_vec": b[0]}), [action])
    np.testing.assert_allclose(two.step({"a_vec": a, "b_vec": b})[0], action, atol=1e-6)
    out = np.empty(2, np.float32)
    assert one.step({"a_vec": a[0], "b_vec": b[0]}, out=out) is out
    for wrong in ({"a_vec": a[0]}, {"a_vec": a[0], "b_vec": b[0], "c_vec": b[0]}, {"a": a[0], "b_vec": b[0]}):
        with pytest.raises(StepError, match=r"the policy takes \['a_vec', 'b_vec'\]"):
            one.step(wrong)
    with pytest.raises(StepError, match=r"the input 'b_vec' has shape \(4,\); \(3,\) or \(1, 3\) is needed"):
        one.step({"a_vec": a[0], "b_vec": a[0]})


@pytest.mark.parametrize("batch", ["batch", 1])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_without_elements_is_fed_nothing(tmp_path, engine, batch):
    path = convolution(tmp_path / "camera.onnx", nothing=True, batch=batch)
    reading = ganglion.explain(path)
    assert [spec.name for spec in reading.contract.inputs] == ["camera"]
    assert any("input obs" in note and "has no elements" in note for note in reading.notes)
    image = random(*IMAGE)
    expected = quiet_load(convolution(tmp_path / "plain.onnx")).step(image)
    np.testing.assert_allclose(quiet_load(path, engine=engine).step(image), expected, atol=1e-5)


def test_nothing_but_an_input_without_elements_is_refused(tmp_path):
    nodes = [helper.make_node("ReduceSum", ["obs"], ["actions"], keepdims=1)]
    path = small_onnx.write(tmp_path / "nothing.onnx", nodes, {"obs": [1, 0]}, {"actions": [1, 1]})
    with pytest.raises(ganglion.GanglionError, match=r"nothing to observe \[shape\]"):
        ganglion.load(path)


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_of_a_camera(tmp_path, engine):
    path = convolution(tmp_path / "camera.onnx", kind=TensorProto.UINT8)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *IMAGE)).astype(np.uint8)
    expected = quiet_load(convolution(tmp_path / "floats.onnx")).step(pixels[0].astype(np.float32))
    with pytest.warns(UserWarning, match="observation-of-bytes"):
        pilot = ganglion.load(path, engine=engine)
    np.testing.assert_allclose(pilot.step(pixels[0]), expected, rtol=1e-5)
    two = quiet_load(path, engine=engine, batch=2)
    np.testing.assert_allclose(two.step(pixels)[0], expected, rtol=1e-5)
    # What is no byte goes the same way on every engine: cut off, and to the nearest.
    np.testing.assert_allclose(pilot.step(pixels[0] + np.float32(0.75)), expected, rtol=1e-5)
    beyond = np.where(pixels[0] > 127, 1e6, -3.5).astype(np.float32)
    nearest = np.where(pixels[0] > 127, 255, 0).astype(np.uint8)
    np.testing.assert_allclose(pilot.step(beyond), pilot.step(nearest), rtol=1e-5)
    contract = pilot.contract.inputs[0]
    assert set(contract.low) == {0.0}
    assert set(contract.high) == {255.0}


def test_bytes_are_verified_and_compiled(tmp_path):
    path = convolution(tmp_path / "camera.onnx", kind=TensorProto.UINT8)
    assert ganglion.verify(path, steps=20).ok
    ganglion.compile(path, tmp_path / "camera.ganglion")
    assert "observation-of-bytes" in {f.code for f in ganglion.explain(tmp_path / "camera.ganglion").findings}


def test_the_shape_of_a_tensor_must_hold_its_elements():
    with pytest.raises(ganglion.GanglionError, match="does not hold 7 elements"):
        ganglion.TensorSpec("camera", 7, shape=(3, 2))
    contract = ganglion.Contract((ganglion.TensorSpec("camera", 6, shape=(3, 2)),), (ganglion.TensorSpec("a", 1),))
    assert ganglion.Contract.from_json(contract.to_json()) == contract


def test_a_float16_input_is_refused_by_name(tmp_path):
    path = convolution(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    with pytest.raises(ganglion.GanglionError, match="camera"):
        ganglion.load(path)


@pytest.mark.whole
@pytest.mark.deep
def test_large_images_compile(tmp_path):
    # The golden trajectory is text in the file, which has a limit: fewer steps of them are recorded.
    path = convolution(tmp_path / "camera.onnx", image=(12, 84, 84))
    ganglion.compile(path, tmp_path / "camera.ganglion")
    golden = ganglion.inspect(tmp_path / "camera.ganglion").golden
    assert golden.rows == 1
    assert 8 <= golden.steps < 64
    assert golden.reset[golden.steps // 2 :].any()
    assert (tmp_path / "camera.ganglion").stat().st_size < 50e6
