"""What is recognised, what is refused, and with which code: small graphs made for one question each."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_onnx import sums, two_states, write

import ganglion


def refused(path, code, *says, **options):
    with pytest.raises(ganglion.ArtifactError) as error:
        ganglion.explain(path, **options)
    for text in (str(path), f"[{code}]", *says):
        assert text in str(error.value)


def test_an_ambiguous_file_is_refused_with_both_readings(tmp_path):
    path = two_states(tmp_path / "two.onnx")
    refused(path, "state-ambiguous", "a_state:x", "a_state:y", "--state")
    for load in (ganglion.load, lambda path: ganglion.load(path, engine="native")):
        with pytest.raises(ganglion.GanglionError, match="state-ambiguous"):
            load(path)


def step_twice(pilot):
    pilot.step([1.0, 2.0, 3.0])
    return pilot.step([0.5, 0.0, -1.0]), pilot.state()


@pytest.mark.parametrize("engine", ["onnxruntime", "native"])
def test_the_user_says_which_one_holds(tmp_path, engine):
    path = two_states(tmp_path / "two.onnx")
    straight = {"a_state": "x", "b_state": "y"}
    crossed = {"a_state": "y", "b_state": "x"}
    assert [(n.input, n.output) for n in ganglion.explain(path, state=straight).state] == list(straight.items())
    for state, expected in ((straight, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), (crossed, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0])):
        pilot = ganglion.load(path, engine=engine, state=state)
        pilot.step([1.0, 2.0, 3.0])
        np.testing.assert_allclose(pilot.state(), expected)
        pilot.set_state([1.0, 1.0, 1.0, 4.0, 4.0, 4.0])
        pilot.step([0.0, 0.0, 0.0])
        sum_and_difference = [5.0] * 3, [-3.0] * 3
        first, second = sum_and_difference if state is straight else sum_and_difference[::-1]
        np.testing.assert_allclose(pilot.state(), [*first, *second])


@pytest.mark.parametrize("engine", ["onnxruntime", "native"])
def test_a_file_beside_the_policy_says_the_same(tmp_path, engine):
    path = two_states(tmp_path / "two.onnx")
    (tmp_path / "two.onnx.yaml").write_text("# crossed\nstate:\n  a_state: y\n  'b_state': \"x\"\n")
    pilot = ganglion.load(path, engine=engine)
    pilot.set_state([1.0, 1.0, 1.0, 4.0, 4.0, 4.0])
    pilot.step([0.0, 0.0, 0.0])
    np.testing.assert_allclose(pilot.state(), [-3.0] * 3 + [5.0] * 3)
    assert "as you said" in " ".join(ganglion.explain(path).notes)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("state:\n  a_state\n", 2, "no 'name: value'"),
        ("states:\n  a: b\n", 1, "unknown entry"),
        ("  a: b\n", 1, "before the first map"),
        ("state: !!python/object:os.system\n", 1, "tags are not read"),
        ("constants:\n  obs: high\n", 2, "'high' is no number"),
    ],
)
def test_a_bad_file_beside_the_policy_is_named_with_its_line(tmp_path, text, line, says):
    path = two_states(tmp_path / "two.onnx")
    (tmp_path / "two.onnx.yaml").write_text(text)
    with pytest.raises(ganglion.GanglionError, match=f"two.onnx.yaml', line {line}: .*{says}"):
        ganglion.explain(path)


def test_a_state_that_is_not_there_is_named(tmp_path):
    refused(two_states(tmp_path / "two.onnx"), "state-unknown", "'a:x'", "'a_state'", "'actions'", state={"a": "x"})


def test_names_against_connections(tmp_path):
    """h_in starts the cell whose next state is called c_out: one of the two is wrong."""
    rng = np.random.default_rng(0)
    weights = {"W": (1, 12, 3), "R": (1, 12, 3)}
    nodes = [
        helper.make_node("Unsqueeze", ["obs", "axis"], ["x"]),
        helper.make_node("LSTM", ["x", "W", "R", "", "", "h_in", "c_in"], ["Y", "c_out", "h_out"], hidden_size=3),
        helper.make_node("Squeeze", ["Y", "axes"], ["actions"]),
    ]
    state = [1, 1, 3]
    path = write(
        tmp_path / "crossed.onnx",
        nodes,
        {"obs": [1, 3], "h_in": state, "c_in": state},
        {"actions": [1, 3], "h_out": state, "c_out": state},
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
        | {"axis": np.array([0]), "axes": np.array([0, 1])},
    )
    refused(path, "state-ambiguous", "h_in:h_out by the names", "h_in:c_out by the connections")


def test_defects_have_codes(tmp_path):
    nodes = [*sums(("mean", "obs", "m")), helper.make_node("Div", ["m", "std"], ["actions"])]
    ports = {"obs": [1, 3]}, {"actions": [1, 3]}
    mean = np.zeros(3, np.float32)
    flat = write(tmp_path / "flat.onnx", nodes, *ports, {"mean": mean, "std": np.float32([1.0, 0.0, 2.0])})
    (finding,) = ganglion.explain(flat).findings
    assert finding.code == "normaliser-zero-variance"
    assert "'std'" in finding.sentence
    assert "(1)" in finding.sentence
    bad = write(tmp_path / "nan.onnx", nodes, *ports, {"mean": mean, "std": np.float32([1.0, np.nan, 2.0])})
    refused(bad, "weights-not-finite", "element 1 of 'std' is NaN")
    good = write(tmp_path / "good.onnx", nodes, *ports, {"mean": mean, "std": np.ones(3, np.float32)})
    assert ganglion.explain(good).findings == ()


def test_a_state_that_remembers_nothing_is_found(tmp_path):
    nodes = [*sums(("obs", "h_in", "actions")), helper.make_node("Identity", ["h_in"], ["h_out"])]
    path = write(tmp_path / "same.onnx", nodes, {"obs": [1, 3], "h_in": [1, 3]}, {"actions": [1, 3], "h_out": [1, 3]})
    assert [finding.code for finding in ganglion.explain(path).findings] == ["state-constant"]
    with pytest.warns(UserWarning, match="state-constant"):
        ganglion.load(path)


def test_external_weights(tmp_path):
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    weight = {"w": np.eye(3, dtype=np.float32)}
    path = write(tmp_path / "policy.onnx", nodes, {"obs": [1, 3]}, {"actions": [1, 3]}, weight)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="policy.data", size_threshold=0)
    for engine in ("onnxruntime", "native"):
        np.testing.assert_allclose(ganglion.load(path, engine=engine).step([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0])
    (tmp_path / "policy.data").unlink()
    refused(path, "weights-missing", "'w'", "'policy.data'")
    # A file that reaches out of its folder is refused before anything of it is opened.
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../policy.data"
    path.write_bytes(model.SerializeToString())
    refused(path, "weights-outside", "'../policy.data'")


def test_a_gru_without_its_reset_gate_is_reported(tmp_path):
    import dialect_files

    good, dropped = dialect_files.gru_without_linear_before_reset(tmp_path)
    assert ganglion.explain(good.path).findings == ()
    (finding,) = ganglion.explain(dropped.path).findings
    assert finding.code == "gru-linear-before-reset"


def test_inputs_that_nothing_is_known_of(tmp_path):
    nodes = [helper.make_node("Cast", ["mode"], ["m"], to=TensorProto.FLOAT), *sums(("obs", "m", "actions"))]
    path = write(
        tmp_path / "mode.onnx", nodes, {"obs": [1, 3], "mode": (TensorProto.INT64, [1, 3])}, {"actions": [1, 3]}
    )
    refused(path, "input-type", "'mode' is int64")
    (tmp_path / "mode.onnx.yaml").write_text("constants:\n  mode: 2\n")
    for engine in ("onnxruntime", "native"):
        np.testing.assert_allclose(ganglion.load(path, engine=engine).step([1.0, 2.0, 3.0]), [3.0, 4.0, 5.0])


def test_damaged_files_are_refused_and_never_crash(tmp_path):
    data = two_states(tmp_path / "two.onnx", next_names=("a_next", "b_next")).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
        for position in rng.integers(0, len(damaged), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            ganglion.explain(path)
        except ganglion.GanglionError as error:
            assert str(path) in str(error)
