"""Isaac Lab's IO_descriptors.yaml: its managers, told again in NumPy, beside the changed model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import deployment_networks as networks
import numpy as np
import pytest
import yaml

from ganglion.adapters.deployment import apply, isaac_lab, read
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # exports and flies every layout

AXES = {"base_lin_vel": "xyz", "base_ang_vel": "xyz", "projected_gravity": "xyz", "generated_commands": "012"}


def document() -> dict[str, Any]:
    return yaml.safe_load((networks.GOLDEN / "isaac_lab_anymal_c.yaml").read_text(encoding="utf-8"))


class CircularBuffer:
    """`isaaclab/utils/buffers/circular_buffer.py` for one environment."""

    def __init__(self, max_len: int) -> None:
        self.frames: list[np.ndarray] = []
        self.max_len = max_len

    def append(self, data: np.ndarray) -> None:
        if not self.frames:
            self.frames = [data] * self.max_len
        self.frames = [*self.frames, data][-self.max_len :]


class Environment:
    """`ObservationManager.compute_group` and `JointAction.process_actions`."""

    def __init__(self, doc: dict[str, Any], policy: networks.Runner) -> None:
        self.doc, self.policy = doc, policy
        self.terms = doc["observations"]["policy"]
        self.dimension = sum(term["shape"][0] for term in doc["actions"])

    def reset(self, _: dict[str, float]) -> None:
        self.action = np.zeros(self.dimension, np.float32)
        self.buffers = [CircularBuffer(max(term["overloads"]["history_length"], 1)) for term in self.terms]
        self.policy.reset()

    def step(self, sensors: dict[str, float]) -> dict[str, float]:
        parts = []
        for term, buffer in zip(self.terms, self.buffers, strict=True):
            obs = np.array(self.observe(term, sensors), np.float32)
            if term["overloads"]["clip"]:
                obs = obs.clip(*np.array(term["overloads"]["clip"], np.float32))
            if term["overloads"]["scale"] is not None:
                obs = obs * np.array(term["overloads"]["scale"], np.float32)
            buffer.append(obs)
            parts += buffer.frames
        self.action = self.policy.act(obs=np.concatenate(parts))["actions"]
        targets, first = {}, 0
        for term in self.doc["actions"]:
            raw = self.action[first : first + term["shape"][0]]
            first += term["shape"][0]
            processed = raw * np.array(term["scale"], np.float32) + np.array(term["offset"], np.float32)
            if term["clip"] is not None:
                processed = np.clip(processed, *np.array(term["clip"], np.float32).T)
            targets |= dict(zip(term["joint_names"], processed, strict=True))
        return targets

    def observe(self, term: dict[str, Any], sensors: dict[str, float]) -> Any:
        name = term["name"]
        if name == "last_action":
            return self.action
        if name in ("joint_pos_rel", "joint_vel_rel"):
            kind = name.removesuffix("_rel")
            raw = [np.float32(sensors[f"{kind}.{joint}"]) for joint in term["joint_names"]]
            return np.array(raw) - np.array(term[f"{kind}_offsets"], np.float32)
        return [sensors[f"{name}.{axis}"] for axis in AXES[name]]


def check(doc: dict[str, Any], kind: str, robot: list[str] | None = None) -> Any:
    description = isaac_lab.parse(doc)
    size = sum(term.size * term.history_length for term in description.observations)
    model, contract = networks.network(kind, {"obs": size}, description.action_size)
    deployed = apply(model, description, contract=contract, robot_joint_names=robot)
    environment = Environment(doc, networks.Runner(model))
    names = networks.contract_of(deployed).inputs[0].element_names

    def sense(generator: np.random.Generator) -> dict[str, float]:
        return {name: generator.normal(0.0, 2.0) for name in sorted(names)}

    networks.compare(deployed, sense, environment.reset, environment.step)
    return networks.contract_of(deployed)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize("history", [None, 0, 5])
def test_anymal_equals_the_managers(kind: str, history: int | None) -> None:
    doc = document()
    if history is not None:
        for term in doc["observations"]["policy"]:
            term["overloads"]["history_length"] = history
    joints = doc["articulations"]["robot"]["joint_names"]
    robot = [joints[i] for i in np.random.default_rng(5).permutation(12)]
    contract = check(doc, kind, robot)
    assert list(contract.outputs[0].element_names) == robot
    assert contract.outputs[0].units == ("rad",) * 12
    assert contract.inputs[0].element_names[:3] == ("base_lin_vel.x", "base_lin_vel.y", "base_lin_vel.z")
    assert contract.inputs[0].units[3] == "rad/s"
    assert contract.period_s == 0.02
    assert ("history_started" in [slot.name for slot in contract.state]) == (history != 0)


def test_several_action_terms_and_the_last_action_of_one() -> None:
    doc = document()
    wheels = copy.deepcopy(doc["actions"][0])
    names = wheels["joint_names"]
    doc["actions"][0] |= {"joint_names": names[:8], "shape": [8], "offset": wheels["offset"][:8]}
    doc["actions"][0]["clip"] = [[-0.25 * i, 0.5] for i in range(8)]
    doc["actions"].append(
        wheels
        | {
            "full_path": "isaaclab.envs.mdp.actions.joint_actions.JointVelocityAction",
            "joint_names": names[:7:-1],
            "shape": [4],
            "offset": 0.0,
            "scale": [1.0, 2.0, 3.0, 4.0],
        }
    )
    contract = check(doc, "lstm", names[::-1])
    assert contract.outputs[0].units == ("rad/s",) * 4 + ("rad",) * 8
    assert contract.outputs[0].high[:4] == (np.inf,) * 4

    doc["observations"]["policy"][-1]["shape"] = [4]
    assert isaac_lab.parse(doc).observations[-1].action_columns == (8, 9, 10, 11)
    doc["observations"]["policy"][-1]["shape"] = [5]
    description = isaac_lab.parse(doc)
    model, contract = networks.network(
        "mlp", {"obs": sum(t.size * t.history_length for t in description.observations)}, 12
    )
    with pytest.raises(ExportError, match="last action with 5 elements, and the file does not say of which term"):
        apply(model, description, contract=contract)


def test_reading() -> None:
    description = read(networks.GOLDEN / "isaac_lab_anymal_c.yaml")
    assert [term.history_length for term in description.observations] == [1, 3, 1, 1, 5, 2, 2]
    assert description.observations[1].clip == (-0.5, 1.0)
    assert description.observations[3].scale == (2.0, 2.0, 0.25)
    assert description.observations[5].offset[-1] == 0.125
    assert description.joints[-1].damping == 2.5
    assert description.joints[4].default_position == 0.4000000059604645
    assert description.actions[0].scale == (0.5,) * 12


def test_terms_of_one_function_get_different_names() -> None:
    doc = document()
    doc["observations"]["policy"].append(copy.deepcopy(doc["observations"]["policy"][3]))
    names = [term.name for term in isaac_lab.parse(doc).observations]
    assert (names[3], names[-1]) == ("generated_commands", "generated_commands_2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["actions"][0].update(full_path="a.b.BinaryJointAction"), "BinaryJointAction is more than scale"),
        (lambda d: d["observations"]["policy"][1]["extras"].update(modifiers=[{"a": 1}]), "it has modifiers"),
        (
            lambda d: d["observations"]["policy"][1]["overloads"].update(flatten_history_dim=False),
            "its history is not flattened",
        ),
    ],
)
def test_what_is_no_formula_is_refused(change: Any, message: str) -> None:
    doc = document()
    change(doc)
    description = isaac_lab.parse(doc)
    size = sum(term.size * term.history_length for term in description.observations)
    model, contract = networks.network("mlp", {"obs": size}, 12)
    with pytest.raises(ExportError, match=message):
        apply(model, description, contract=contract)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["scene"].pop("dt"), r"scene: the key 'dt' is missing; found \['decimation', 'physics_dt'\]"),
        (lambda d: d["observations"].pop("policy"), "observations: the key 'policy' is missing"),
        (lambda d: d["observations"]["policy"][2].pop("shape"), r"policy\[2\]: the key 'shape' is missing"),
        (lambda d: d["observations"]["policy"][2].update(shape=[4, 4]), r"\[4, 4\]; expected the size of a vector"),
        (lambda d: d["observations"]["policy"][0]["overloads"].update(history_length=-1), "history_length is -1"),
        (lambda d: d["observations"]["policy"][0]["overloads"].update(scale=float("nan")), "scale is nan"),
        (lambda d: d["observations"]["policy"][4].update(joint_names=["LF_HAA"] * 12), "names the joint .'LF_HAA'"),
        (lambda d: d["observations"]["policy"][4].update(joint_pos_offsets=[0.0]), "joint_pos_offsets has 1 numbers"),
        (
            lambda d: d["observations"]["policy"][4].update(joint_names=["LF_HAA"]),
            "joint_names has 1 names; the shape says 12",
        ),
        (lambda d: d["actions"][0].update(joint_names=["LF_HAA"] * 12), "names the joint .'LF_HAA'. more than once"),
        (lambda d: d["actions"][0].update(scale="fast"), r"actions\[0\].scale is 'fast'; expected a number"),
        (lambda d: d["actions"].append(copy.deepcopy(d["actions"][0])), "the action names the joint .* more than once"),
        (lambda d: d["actions"].clear(), "0 action terms"),
        (lambda d: d["articulations"]["robot"].pop("joint_names"), "articulations.robot: the key 'joint_names'"),
    ],
)
def test_bad_values_are_named(change: Any, message: str) -> None:
    doc = document()
    change(doc)
    with pytest.raises(ArtifactError, match=message):
        isaac_lab.parse(doc)


def test_an_unknown_top_level_is_refused(tmp_path: Path) -> None:
    doc = document()
    del doc["scene"]
    path = tmp_path / "IO_descriptors.yaml"
    path.write_text(yaml.safe_dump(doc), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"\['actions', 'articulations', 'observations'\]; Isaac Lab's"):
        read(path)
