"""What holds for every format: names, layouts, batches, contracts, the C++ runtime, and refusals."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import deployment_networks as networks
import gymnasium
import numpy as np
import onnx
import pytest
import torch

import ganglion
from ganglion.adapters.deployment import ActionTerm, Description, ObservationTerm, annotate, apply, read
from ganglion.compiler import compile_onnx
from ganglion.compiler.file import to_bytes
from ganglion.compiler.interpreter import Interpreter
from ganglion.contract import Contract
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import ObservationStack, StackTerm
from ganglion.policies.layered import LayeredPolicy

if TYPE_CHECKING:
    from pathlib import Path

JOINTS = ("knee", "hip", "ankle")


def description(**changes: Any) -> Description:
    """Three joints, a gyroscope and a command; network input 3*3 + 2*2 + 1 + 3*2 = 20, action 3."""
    terms = (
        ObservationTerm("joint_pos", tuple(f"q.{j}" for j in JOINTS), ("rad",) * 3, JOINTS, history_length=3),
        ObservationTerm("gyro", ("gyro.x", "gyro.y"), scale=(2.0, 0.5), clip=(-0.5, 0.75), history_length=2),
        ObservationTerm("command", ("speed",), ("m/s",), limits=((-0.5, 1.0),)),
        ObservationTerm("last", ("a.0", "a.1", "a.2"), action_columns=(0, 1, 2), history_length=2),
    )
    action = ActionTerm("legs", "position", 3, JOINTS, (0.5, 1.0, 2.0), (0.1, 0.2, 0.3), ((-0.1, 0.1),) * 3)
    made = Description("unitree", terms, (action,), period_s=0.02)
    return dataclasses.replace(made, **changes)


def changed(term: int, **changes: Any) -> Description:
    terms = list(description().observations)
    terms[term] = dataclasses.replace(terms[term], **changes)
    return description(observations=tuple(terms))


def echo(size: int, picks: list[int]) -> tuple[Any, Contract]:
    """A network whose action is three of its inputs and whose second output is the whole input."""
    constant = onnx.numpy_helper.from_array(np.array(picks, np.int64), "picks")
    nodes = [
        onnx.helper.make_node("Gather", ["obs", "picks"], ["actions"], axis=1),
        onnx.helper.make_node("Identity", ["obs"], ["seen"]),
    ]
    values = {n: networks._value(n, [1, s]) for n, s in (("obs", size), ("actions", len(picks)), ("seen", size))}
    graph = onnx.helper.make_graph(nodes, "echo", [values["obs"]], [values["actions"], values["seen"]], [constant])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    _, contract = networks.network("mlp", {"obs": size}, len(picks))
    second = dataclasses.replace(contract.outputs[0], name="seen", size=size)
    return model, dataclasses.replace(contract, outputs=(*contract.outputs, second))


def seen(made: Description, frames: list[list[float]], picks: list[int] | None = None) -> list[list[float]]:
    """What the network sees in each of a few steps after a reset."""
    model, contract = echo(20, picks or [0, 1, 2])
    runner = networks.Runner(apply(model, made, contract=contract))
    return [[round(float(x), 4) for x in runner.act(obs=np.array(frame, np.float32))["seen"]] for frame in frames]


# raw order is that of the terms, joints in training order: knee, hip, ankle, gyro x, gyro y, speed
FRAMES = [[1, 2, 3, 0.1, 9, 9], [4, 5, 6, 0.2, -9, 0.5], [7, 8, 9, 0.3, 0, -9]]


def test_layouts_and_orders_by_hand() -> None:
    oldest = seen(description(), FRAMES)
    assert oldest[0] == [1, 2, 3] * 3 + [0.2, 0.375] * 2 + [1.0] + [0, 0, 0] * 2
    # The network's action is the first three elements that it sees: the oldest frame of the joints.
    assert oldest[1] == [1, 2, 3, 1, 2, 3, 4, 5, 6, 0.2, 0.375, 0.4, -0.25, 0.5, 0, 0, 0, 1, 2, 3]
    assert oldest[2] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0.4, -0.25, 0.6, 0, -0.5, 1, 2, 3, 1, 2, 3]
    newest = seen(description(history_order="newest_first"), FRAMES)
    assert newest[2] == [7, 8, 9, 4, 5, 6, 1, 2, 3, 0.6, 0, 0.4, -0.25, -0.5, 4, 5, 6, 1, 2, 3]
    zeros = seen(description(history_prefill="zeros"), FRAMES)
    assert zeros[0] == [0] * 6 + [1, 2, 3, 0, 0, 0.2, 0.375, 1.0] + [0] * 6
    assert zeros[1][:9] == [0, 0, 0, 1, 2, 3, 4, 5, 6]


def test_whole_frames_by_hand() -> None:
    terms = description().observations[:2]
    same = tuple(dataclasses.replace(term, history_length=4) for term in terms)
    for order, expected in (
        ("oldest_first", [1, 2, 3, 0.2, 0.375] * 2 + [4, 5, 6, 0.4, -0.25, 7, 8, 9, 0.6, 0]),
        ("newest_first", [7, 8, 9, 0.6, 0, 4, 5, 6, 0.4, -0.25] + [1, 2, 3, 0.2, 0.375] * 2),
    ):
        made = description(observations=same, history_layout="frame_major", history_order=order)
        assert seen(made, [frame[:5] for frame in FRAMES])[2] == expected


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("layout", ["term_major", "frame_major"])
@pytest.mark.parametrize("prefill", ["repeat_first", "zeros"])
def test_a_description_is_the_part_that_policies_have(order: Any, layout: Any, prefill: Any) -> None:
    """The stack beside the graph that a description becomes: the same bits, in the same slots."""
    terms = description().observations[:3]
    if layout == "frame_major":
        terms = tuple(dataclasses.replace(term, history_length=4) for term in terms)
    made = description(observations=terms, history_order=order, history_layout=layout, history_prefill=prefill)
    stack = ObservationStack(
        [StackTerm(term.name, term.size, term.history_length) for term in terms],
        order=order, layout=layout, prefill=prefill,
    )  # fmt: skip
    model, contract = echo(stack.output_size, [0, 1, 2])
    deployed = apply(model, made, contract=contract)
    assert networks.contract_of(deployed).state == stack.state_layout
    runner, state = networks.Runner(deployed), tuple(part.unsqueeze(0) for part in stack.initial_state())
    for index, raw in enumerate(np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)):
        if index == 7:
            runner.reset()
            state = tuple(part.unsqueeze(0) for part in stack.initial_state())
        frame = np.concatenate(
            [raw[:3], np.clip(raw[3:5], -0.5, 0.75) * np.float32([2.0, 0.5]), np.clip(raw[5:], -0.5, 1.0)]
        )
        found, state = stack(torch.from_numpy(frame)[None], state)
        np.testing.assert_array_equal(runner.act(obs=raw)["seen"], found[0].numpy())


def test_contract_of_the_new_model() -> None:
    model, contract = networks.network("lstm", {"obs": 20}, 3)
    before = model.SerializeToString()
    deployed = apply(model, description(), contract=contract, robot_joint_names=("hip", "ankle", "knee"))
    assert model.SerializeToString() == before
    found = networks.contract_of(deployed)
    assert [(slot.name, slot.shape) for slot in found.state] == [
        ("h", (1, networks.HIDDEN)),
        ("c", (1, networks.HIDDEN)),
        ("joint_pos_history", (6,)),
        ("gyro_history", (2,)),
        ("last_history", (3,)),
        ("last_action", (3,)),
        ("history_started", (1,)),
    ]
    assert found.inputs[0].element_names == ("q.hip", "q.ankle", "q.knee", "gyro.x", "gyro.y", "speed")
    assert found.inputs[0].units == ("rad", "rad", "rad", "", "", "m/s")
    assert (found.inputs[0].low[-1], found.inputs[0].high[-1]) == (-0.5, 1.0)
    assert found.outputs[0].element_names == ("hip", "ankle", "knee")
    assert (found.outputs[0].name, found.outputs[0].units, found.outputs[0].high) == (
        "actions",
        ("rad",) * 3,
        (0.1,) * 3,
    )
    assert found.period_s == 0.02
    assert found.golden is None
    with pytest.raises(ExportError, match="inside already"):
        apply(deployed, description())


@pytest.mark.parametrize("rows", [2, "batch"])
def test_rows_reset_one_by_one(rows: int | str) -> None:
    model, contract = networks.network("lstm", {"obs": 20}, 3, rows=rows)
    single, single_contract = networks.network("lstm", {"obs": 20}, 3)
    program, compiled = compile_onnx(apply(model, description(), contract=contract))
    runners = [networks.Runner(apply(single, description(), contract=single_contract)) for _ in range(2)]
    interpreter, generator = Interpreter(program), np.random.default_rng(0)
    initial = np.asarray(compiled.initial_state, np.float32)
    state = np.tile(initial, (2, 1))
    for step in range(40):
        raw = generator.normal(size=(2, 6)).astype(np.float32)
        if step == 7:
            state[1] = initial
            runners[1].reset()
        actions, state = interpreter.step(raw, state)
        for row, runner in enumerate(runners):
            np.testing.assert_allclose(actions[row], runner.act(obs=raw[row])["actions"], atol=1e-6)


def test_our_own_export_and_the_runtime(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spaces = (gymnasium.spaces.Box(-math.inf, math.inf, (size,)) for size in (20, 3))
    spec = EnvSpec(*spaces)
    policy = LayeredPolicy(spec, torch.nn.Linear(6, 3), torch.nn.GRU(20, 6))
    ganglion.export(policy, tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    deployed = apply(model, description(), robot_joint_names=("hip", "ankle", "knee"))
    onnx.save(deployed, tmp_path / "deployed.onnx")
    (tmp_path / "deployed.ganglion").write_bytes(to_bytes(*compile_onnx(deployed))[0])
    network = networks.Runner(model)
    pilots = [ganglion.load(tmp_path / f"deployed.{suffix}") for suffix in ("onnx", "ganglion")]
    generator = np.random.default_rng(1)
    histories: dict[str, list[np.ndarray]] = {}
    for flag in networks.resets(200):
        hip, ankle, knee, *rest = raw = generator.normal(size=6).astype(np.float32)
        if flag:
            network.reset()
            action, histories = np.zeros(3, np.float32), {}
            for pilot in pilots:
                pilot.reset()
        frame = {
            "joint_pos": np.array([knee, hip, ankle]),
            "gyro": np.clip(rest[:2], -0.5, 0.75) * np.array([2.0, 0.5], np.float32),
            "command": np.clip(rest[2:], -0.5, 1.0),
            "last": action,
        }
        for name, frames in (("joint_pos", 3), ("gyro", 2), ("command", 1), ("last", 2)):
            histories[name] = [*histories.get(name, [frame[name]] * frames), frame[name]][-frames:]
        obs = np.concatenate([part for parts in histories.values() for part in parts])
        action = network.act(obs=obs)["actions"]
        target = np.clip(action * [0.5, 1.0, 2.0] + [0.1, 0.2, 0.3], -0.1, 0.1)[[1, 2, 0]]
        for pilot in pilots:
            np.testing.assert_allclose(pilot.step(raw), target, atol=1e-5)


def test_inputs_that_the_description_does_not_know_are_passed_through() -> None:
    model, contract = networks.network("mlp", {"obs": 20, "time_step": 2}, 3)
    unclipped = dataclasses.replace(description().actions[0], clip=())
    deployed = apply(model, description(actions=(unclipped,)), contract=contract)
    assert [tensor.name for tensor in networks.contract_of(deployed).inputs] == ["obs", "time_step"]
    found = networks.Runner(deployed).act(obs=np.ones(6), time_step=np.ones(2))["actions"]
    assert not np.array_equal(found, networks.Runner(deployed).act(obs=np.ones(6), time_step=np.zeros(2))["actions"])


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_a_network_without_a_contract(kind: str) -> None:
    model, contract = networks.network(kind, {"obs": 20}, 3)
    known, recognised = apply(model, description(), contract=contract), apply(model, description())
    assert networks.contract_of(recognised).state == networks.contract_of(known).state
    assert networks.contract_of(recognised).outputs == networks.contract_of(known).outputs
    runners = [networks.Runner(known), networks.Runner(recognised)]
    for raw in np.random.default_rng(0).normal(size=(20, 6)):
        first, second = (runner.act(obs=raw)["actions"] for runner in runners)
        np.testing.assert_array_equal(first, second)


def test_annotate() -> None:
    _, contract = networks.network("lstm", {"obs": 20}, 3)
    found = annotate(contract, description())
    tensor = found.inputs[0]
    assert tensor.element_names[:4] == (
        "joint_pos.knee[t-2]",
        "joint_pos.hip[t-2]",
        "joint_pos.ankle[t-2]",
        "joint_pos.knee[t-1]",
    )
    assert tensor.element_names[9:14] == ("gyro.x[t-1]", "gyro.y[t-1]", "gyro.x", "gyro.y", "command.speed")
    assert (tensor.low[9:14], tensor.high[9:14]) == ((-1.0, -0.25, -1.0, -0.25, -0.5), (1.5, 0.375, 1.5, 0.375, 1.0))
    assert tensor.units[6:14] == ("rad", "rad", "rad", "", "", "", "", "m/s")
    assert found.outputs[0].element_names == JOINTS
    assert found.state == contract.state
    assert found.period_s == 0.02
    assert Contract.from_json(found.to_json()) == found
    first = changed(1, scale_first=True, scale=(-2.0, 0.0))
    bounds = annotate(contract, first).inputs[0]
    assert (bounds.low[9:11], bounds.high[9:11]) == ((-0.5, 0.0), (0.75, 0.0))


@pytest.mark.parametrize("name", ["unitree_go2.yaml", "isaac_lab_anymal_c.yaml"])
def test_annotation_loses_nothing(name: str) -> None:
    import yaml

    made = read(networks.GOLDEN / name)
    size = sum(term.size * term.history_length for term in made.observations)
    _, contract = networks.network("mlp", {"obs": size}, 12)
    provenance = annotate(contract, made).provenance
    original = yaml.safe_load((networks.GOLDEN / name).read_text(encoding="utf-8"))
    assert json.loads(provenance["deployment.original"]) == original
    joints = json.loads(provenance["deployment.joints"])
    assert joints == [dataclasses.asdict(joint) for joint in made.joints]
    terms = json.loads(provenance["deployment.observations"])
    assert [tuple(term["scale"]) for term in terms] == [term.scale for term in made.observations]
    assert provenance["deployment.source"] == made.source


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        (
            ("hip", "knee"),
            r"missing: \['ankle'\]\. The robot has \['hip', 'knee'\]; the description has \['knee', 'hip'",
        ),
        (("hip", "knee", "ankle", "hip"), r"named twice: \['hip'\]\. The robot has"),
        (("hip", "knee", "ankle", "toe"), r"not in the description: \['toe'\]\. The robot has"),
        (("hip", "knee", "toe"), r"missing: \['ankle'\]; not in the description: \['toe'\]"),
    ],
)
def test_joints_that_do_not_fit(robot: tuple[str, ...], message: str) -> None:
    model, contract = networks.network("mlp", {"obs": 20}, 3)
    with pytest.raises(ValueError, match=message):
        apply(model, description(), contract=contract, robot_joint_names=robot)


def test_sizes_that_do_not_add_up() -> None:
    model, contract = networks.network("mlp", {"obs": 21}, 3)
    expected = r"'obs' has 21 elements; .* 20: joint_pos 3 x 3, gyro 2 x 2, command 1, last 3 x 2 = 20"
    for use in (lambda: apply(model, description(), contract=contract), lambda: annotate(contract, description())):
        with pytest.raises(ArtifactError, match=expected):
            use()
    model, contract = networks.network("mlp", {"obs": 20}, 4)
    with pytest.raises(ArtifactError, match=r"'actions' has 4 elements; .* 3: legs 3"):
        apply(model, description(), contract=contract)
    model, contract = networks.network("mlp", {"left": 10, "right": 10}, 3)
    with pytest.raises(ArtifactError, match=r"the inputs \['left', 'right'\]; the description has one, 'obs'"):
        apply(model, description(), contract=contract)


def test_periods_that_differ() -> None:
    model, contract = networks.network("mlp", {"obs": 20}, 3)
    with pytest.raises(ArtifactError, match=r"period of 0\.01 s, the description 0\.02 s"):
        apply(model, description(), contract=dataclasses.replace(contract, period_s=0.01))


def test_a_slot_of_the_network_with_a_name_that_is_needed() -> None:
    model, contract = networks.network("lstm", {"obs": 20}, 3)
    text = model.SerializeToString().replace(b"h_in", b"x_in").replace(b"h_out", b"x_out")
    model = onnx.load_model_from_string(text)
    state = (dataclasses.replace(contract.state[0], name="x"), contract.state[1])
    contract = dataclasses.replace(contract, state=state)
    terms = (dataclasses.replace(description().observations[0], name="x_in"), *description().observations[1:])
    apply(model, description(observations=terms), contract=contract)
    renamed = tuple(dataclasses.replace(term) for term in terms)
    model, contract = networks.network("mlp", {"obs": 20, "last_action_in": 2}, 3)
    with pytest.raises(ExportError, match=r"names that the deployment needs: \['last_action_in'\]"):
        apply(model, description(observations=renamed), contract=contract)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed(0, scale=(1.0, math.nan, 1.0)), "'joint_pos': element 1 of its scale is nan"),
        (lambda: changed(0, offset=(math.inf, 0.0, 0.0)), "element 0 of its offset is inf"),
        (lambda: changed(0, history_length=-1), "a history of -1 frames"),
        (lambda: changed(0, joint_names=("hip", "hip", "knee")), r"names the joint \['hip'\] more than once"),
        (lambda: changed(0, units=("rad",)), "has 3 elements but 1 units"),
        (lambda: changed(1, clip=(math.nan, 1.0)), "limited from nan to 1.0"),
        (lambda: changed(3, action_columns=(1, 2, 3)), "the action has 3"),
        (lambda: changed(1, name="joint_pos"), r"names the term \['joint_pos'\] more than once"),
        (lambda: description(period_s=math.nan), "period is nan"),
        (lambda: description(observations=()), "0 observation"),
    ],
)
def test_descriptions_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        make()


def test_files_that_are_no_description(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"line 7.*python/object.*remove the tag"):
        read(networks.GOLDEN / "hostile.yaml")
    path = tmp_path / "deploy.yaml"
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"its top level is list; Isaac Lab's IO_descriptors\.yaml has"):
        read(path)
    with pytest.raises(ArtifactError, match="cannot read"):
        read(tmp_path / "missing.yaml")
    with pytest.raises(ValueError, match="term_sizes does not go with this file"):
        read(networks.GOLDEN / "unitree_go2.yaml", term_sizes={"a": 1})
    with pytest.raises(ValueError, match="joint_sdk_names does not go with this file"):
        read(networks.GOLDEN / "isaac_lab_anymal_c.yaml", joint_sdk_names=["a"])
