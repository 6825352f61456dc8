"""Which output of another exporter's file is the action."""

from __future__ import annotations

import json
import warnings

import mlagents_files
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from real_files import real
from small_onnx import two_states, write

import ganglion
from ganglion.cli import main

ENGINES = ("onnxruntime", "native")


def observations(size, steps=40):
    return np.random.default_rng(1).standard_normal((steps, size)).astype(np.float32)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("engine", ENGINES)
def test_constants_and_draws_are_not_the_action(tmp_path, engine):
    path = mlagents_files.continuous(tmp_path / "agent.onnx")
    pilot, origin = ganglion.load(path, engine=engine), session(path)
    assert [spec.name for spec in pilot.contract.outputs] == ["deterministic_continuous_actions"]
    assert (pilot.reading.dialect, pilot.reading.findings) == ("mlagents", ())
    assert "output version_number is the constant 3 and is not read" in pilot.reading.notes
    assert any("continuous_actions is drawn anew" in note for note in pilot.reading.notes)
    for observation in observations(8):
        (expected,) = origin.run(["deterministic_continuous_actions"], {"obs_0": observation[None]})
        np.testing.assert_allclose(pilot.step(observation), expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_discrete_actions_are_indices(tmp_path, engine):
    path = mlagents_files.discrete(tmp_path / "agent.onnx")
    pilot, origin = ganglion.load(path, engine=engine), session(path)
    assert [spec.name for spec in pilot.contract.inputs] == ["obs_0"]
    assert dict(pilot.reading.constants) == {"action_masks": 1.0}
    assert pilot.contract.outputs[0].name == "discrete_actions"
    memory, seen = np.zeros((1, 1, 32), np.float32), set()
    for observation in observations(8):
        feeds = {"obs_0": observation[None], "action_masks": np.ones((1, 5), np.float32), "recurrent_in": memory}
        index, memory = origin.run(["discrete_actions", "recurrent_out"], feeds)
        assert pilot.step(observation) == index[0]
        seen.add(int(index[0, 0]))
    assert len(seen) > 1


def test_every_command_runs_them(tmp_path, capsys):
    for make in (mlagents_files.continuous, mlagents_files.discrete):
        path = make(tmp_path / f"{make.__name__}.onnx")
        compiled = tmp_path / "agent.ganglion"
        for command in (
            ["inspect", path],
            ["verify", path, "--steps", "50", "--engine", "onnxruntime", "--engine", "native"],
            ["compile", path, "-o", compiled],
            [
                "bench",
                path,
                "--steps",
                "5",
                "--rounds",
                "1",
                *[word for name in ENGINES for word in ("--engine", name)],
            ],
        ):
            status = main([*map(str, command), "--json"])
            answer = capsys.readouterr()
            assert status == 0, answer.out + answer.err
        assert ganglion.load(compiled).contract.outputs[0].name == ganglion.explain(path).contract.outputs[0].name


def two_heads(path, names=("first", "second")):
    """Both outputs depend on the observation; the names say nothing."""
    nodes = [helper.make_node("Neg", ["obs"], [names[0]]), helper.make_node("Abs", ["obs"], [names[1]])]
    return write(path, nodes, {"obs": [1, 3]}, {name: [1, 3] for name in names})


@pytest.mark.parametrize("engine", ENGINES)
def test_the_user_says_which_output_it_is(tmp_path, engine):
    path = two_heads(tmp_path / "two.onnx")
    np.testing.assert_array_equal(ganglion.load(path, engine=engine).step([1.0, -2.0, 3.0]), [-1.0, 2.0, -3.0])
    pilot = ganglion.load(path, engine=engine, action="second")
    np.testing.assert_array_equal(pilot.step([1.0, -2.0, 3.0]), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(pilot.output("first"), [-1.0, 2.0, -3.0])
    assert "output second is the action, 3 elements, as you said" in pilot.reading.notes
    (tmp_path / "two.onnx.yaml").write_text("action: second\n")
    np.testing.assert_array_equal(ganglion.load(path, engine=engine).step([1.0, -2.0, 3.0]), [1.0, 2.0, 3.0])
    # What a program says goes before the file.
    first = ganglion.load(path, engine=engine, action="first")
    np.testing.assert_array_equal(first.step([1.0, -2.0, 3.0]), [-1.0, 2.0, -3.0])


def test_every_command_can_be_told(tmp_path, capsys):
    path, compiled = two_heads(tmp_path / "two.onnx"), tmp_path / "two.ganglion"

    def run(*arguments):
        status = main([*map(str, arguments), "--action", "second", "--json"])
        answer = capsys.readouterr()
        assert status == 0, answer.out + answer.err
        return json.loads(answer.out)

    assert run("inspect", path)["contract"]["outputs"][0]["name"] == "second"
    report = run("verify", path, "--steps", 20, "--engine", "onnxruntime", "--engine", "native")
    assert [tensor["name"] for tensor in report["comparisons"][0]["outputs"]] == ["second", "first"]
    engines = [word for name in ENGINES for word in ("--engine", name)]
    assert len(run("bench", path, "--steps", 5, "--rounds", 1, *engines)["results"]) == 2
    assert run("compile", path, "-o", compiled)["contract"]["outputs"][0]["name"] == "second"
    # A file with a contract says it itself.
    assert main(["inspect", str(compiled), "--action", "first"]) == 1
    assert "the action of this file is 'second'" in capsys.readouterr().err


def test_an_action_that_is_not_there_is_refused(tmp_path):
    path = two_heads(tmp_path / "two.onnx")
    with pytest.raises(
        ganglion.ArtifactError, match=r"'third' names an output that is not there; .* 'first', 'second'"
    ):
        ganglion.load(path, action="third")
    states = two_states(tmp_path / "states.onnx")
    with pytest.raises(ganglion.ArtifactError, match=r"'x' is the next value of a state; .*\[action-unknown\]"):
        ganglion.load(states, state={"a_state": "x", "b_state": "y"}, action="x")
    with pytest.raises(ganglion.GanglionError, match="'one'"):
        ganglion.load(ganglion_file(tmp_path), action="one")
    with pytest.raises(ganglion.GanglionError, match="'one'"):
        ganglion.load(ganglion_file(tmp_path, "p.onnx"), engine="native", action="one")


def ganglion_file(folder, name="p.ganglion"):
    import gymnasium as gym

    from ganglion.policies import EnvSpec, GRUPolicy

    box = gym.spaces.Box(-1.0, 1.0, (2,))
    path = folder / name
    ganglion.export(GRUPolicy(EnvSpec(box, box), hidden_size=2, num_recurrent_layers=1).eval(), path)
    return path


def test_a_constant_action_is_found(tmp_path):
    nodes = [helper.make_node("Identity", ["v"], ["version_number"]), helper.make_node("Abs", ["obs"], ["hidden_2"])]
    path = write(
        tmp_path / "p.onnx",
        nodes,
        {"obs": [1, 3]},
        {"version_number": [1], "hidden_2": [1, 3]},
        {"v": np.float32([3.0])},
    )
    assert ganglion.explain(path).contract.outputs[0].name == "hidden_2"
    with pytest.warns(UserWarning, match="action-constant"):
        pilot = ganglion.load(path, action="version_number")
    (finding,) = pilot.reading.findings
    assert "'version_number' is the constant 3" in finding.sentence and "'hidden_2'" in finding.sentence
    # Zeros for as many rows as there are observations are no less constant.
    nodes = [
        helper.make_node("Shape", ["obs"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Identity", ["zeros"], ["actions"]),
    ]
    path = write(tmp_path / "zeros.onnx", nodes, {"obs": [1, 3]}, {"actions": [1, 3]})
    assert [finding.code for finding in ganglion.explain(path).findings] == ["action-constant"]


def test_what_moves_by_itself_is_no_constant(tmp_path):
    """A clock drives the joints: open loop, and right."""
    nodes = [helper.make_node("Add", ["t_in", "dt"], ["t_out"]), helper.make_node("Sin", ["t_out"], ["actions"])]
    nodes.append(helper.make_node("Abs", ["obs"], ["seen"]))
    ports = {"obs": [1, 3], "t_in": [1, 1]}, {"actions": [1, 1], "t_out": [1, 1], "seen": [1, 3]}
    path = write(tmp_path / "clock.onnx", nodes, *ports, {"dt": np.float32([[0.1]])})
    reading = ganglion.explain(path)
    assert reading.contract.outputs[0].name == "actions"
    assert "action-constant" not in [finding.code for finding in reading.findings]


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_an_index_where_there_is_nothing_else(tmp_path, kind):
    nodes = [helper.make_node("ArgMax", ["obs"], ["i"], axis=1), helper.make_node("Cast", ["i"], ["choice"], to=kind)]
    path = write(tmp_path / "p.onnx", nodes, {"obs": ["batch", 3]}, {"choice": (kind, ["batch", 1])})
    for engine in ENGINES:
        pilot = ganglion.load(path, engine=engine, batch=2)
        np.testing.assert_array_equal(pilot.step([[0.0, 2.0, 1.0], [0.0, 1.0, 3.0]]), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("name", "action", "inputs"),
    [
        ("ai_2048__TFModels__3DBallHard.onnx", "deterministic_continuous_actions", ["obs_0", "obs_1"]),
        ("ai_2048__TFModels__PushBlock.onnx", "deterministic_discrete_actions", ["obs_0", "obs_1"]),
    ],
)
def test_public_files_of_ml_agents(name, action, inputs):
    path = real(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pilot = ganglion.load(path)
    assert [spec.name for spec in pilot.contract.outputs] == [action]
    assert [spec.name for spec in pilot.contract.inputs] == inputs
    origin = session(path)
    masks = {"action_masks": np.ones((1, 7), np.float32)} if "PushBlock" in name else {}
    for observation in observations(pilot.contract.observation_size):
        parts = np.split(observation[None], np.cumsum([spec.size for spec in pilot.contract.inputs])[:-1], axis=1)
        (expected,) = origin.run([action], dict(zip(inputs, parts, strict=True)) | masks)
        np.testing.assert_allclose(pilot.step(observation), expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [mlagents_files.continuous, mlagents_files.discrete])
def test_outputs_that_nothing_makes_are_left_out(tmp_path, make, engine):
    """ML-Agents leaves their names behind, of any length, in any place; ONNX Runtime refuses the file as it is."""
    whole, path = make(tmp_path / "whole.onnx"), tmp_path / "agent.onnx"
    model = onnx.load(whole)
    for place, name in enumerate(("forgotten", "x" * 300, "is_continuous_control")):
        model.graph.output.insert(2 * place, helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(Exception, match="does not exist in the graph"):
        session(path)
    pilot, origin = ganglion.load(path, engine=engine), ganglion.load(whole, engine=engine)
    assert pilot.contract == origin.contract
    assert "output forgotten is made by no node and is not read" in pilot.reading.notes
    for observation in observations(8):
        np.testing.assert_array_equal(pilot.step(observation), origin.step(observation))
    assert ganglion.verify(path, steps=100).ok


def test_a_graph_that_makes_none_of_its_outputs_is_refused(tmp_path):
    path = write(tmp_path / "empty.onnx", [], {"obs": [1, 3]}, {"actions": [1, 3]})
    with pytest.raises(ganglion.GanglionError):
        ganglion.load(path)


def test_public_files_with_outputs_that_nothing_makes():
    path = real("ai_2048__TestModels__deterContinuous2vis8vec2action_v2_0.onnx")
    pilots = [ganglion.load(path, engine=engine) for engine in ENGINES]
    assert [spec.name for spec in pilots[0].contract.outputs] == ["deterministic_continuous_actions"]
    for observation in observations(8):
        found = [pilot.step(observation) for pilot in pilots]
        np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
    path = real("ai_2048__TestModels__hybrid0vis53vec_3c_2daction_v1_0.onnx")
    with pytest.warns(UserWarning, match="'RandomNormalLike_20'"):
        pilot = ganglion.load(path)
    assert [spec.name for spec in pilot.contract.outputs] == ["continuous_actions", "discrete_actions"]
    pilot.step(np.zeros(53, np.float32))
    assert np.isfinite(pilot.output(1)).all()
