"""mjlab's metadata in an ONNX file: its managers, told again in NumPy, beside the changed model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import deployment_networks as networks
import numpy as np
import onnx
import pytest

from ganglion.adapters.deployment import apply, mjlab, read
from ganglion.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [3, 3, 3, 12, 12, 12, 3]


def metadata(name: str = "mjlab_go1.json") -> dict[str, str]:
    return json.loads((networks.GOLDEN / name).read_text(encoding="utf-8"))


def histories(meta: dict[str, str]) -> list[int]:
    text = meta.get("observation_terms_history_length", ",".join(["0"] * len(SIZES)))
    return [max(int(float(part)), 1) for part in text.split(",")]


def with_metadata(meta: dict[str, str], kind: str = "mlp", size: int | None = None) -> tuple[Any, Any]:
    size = size or sum(n * h for n, h in zip(SIZES, histories(meta), strict=True))
    model, contract = networks.network(kind, {"obs": size}, 12)
    for key, value in meta.items():
        model.metadata_props.add(key=key, value=value)
    return model, contract


class Environment:
    """`mjlab/managers/observation_manager.py`, `compute_group`, and `JointPositionAction`; each list entry a term."""

    def __init__(self, meta: dict[str, str], policy: networks.Runner) -> None:
        self.policy = policy
        self.names = meta["observation_names"].split(",")
        self.joints = meta["joint_names"].split(",")
        self.default = np.array(meta["default_joint_pos"].split(","), np.float32)
        self.action_scale = np.array(meta["action_scale"].split(","), np.float32)
        self.histories = histories(meta)
        ones, unbounded = ",".join(["1"] * len(SIZES)), ",".join(["-inf;inf"] * len(SIZES))
        scales = meta.get("observation_terms_scale", ones).split(",")
        self.scales = [np.array(part.split(";"), np.float32) for part in scales]
        clips = meta.get("observation_terms_clip", unbounded).split(",")
        self.clips = [np.array(part.split(";"), np.float32) for part in clips]

    def reset(self, _: dict[str, float]) -> None:
        self.action = np.zeros(12, np.float32)
        self.buffers: list[list[np.ndarray]] = [[] for _ in self.names]
        self.policy.reset()

    def step(self, sensors: dict[str, float]) -> dict[str, float]:
        parts = []
        for i, name in enumerate(self.names):
            if name == "actions":
                obs = self.action
            elif name.startswith("joint"):
                obs = np.array([sensors[f"{name}.{joint}"] for joint in self.joints], np.float32)
                obs = obs - self.default if name == "joint_pos" else obs
            else:
                axes = "012" if name == "command" else "xyz"
                obs = np.array([sensors[f"{name}.{axis}"] for axis in axes], np.float32)
            obs = obs.clip(*self.clips[i]) * self.scales[i]
            past = self.buffers[i] or [obs] * self.histories[i]
            self.buffers[i] = [*past, obs][-self.histories[i] :]
            parts += self.buffers[i]
        self.action = self.policy.act(obs=np.concatenate(parts))["actions"]
        return dict(zip(self.joints, self.action * self.action_scale + self.default, strict=True))


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize("name", ["mjlab_go1.json", "mjlab_go1_old.json"])
def test_go1_equals_the_managers(kind: str, name: str, tmp_path: Path) -> None:
    meta = metadata(name)
    model, contract = with_metadata(meta, kind)
    onnx.save(model, tmp_path / "policy.onnx")
    description = read(tmp_path / "policy.onnx")
    robot = description.actions[0].joint_names[::-1]
    deployed = apply(model, description, contract=contract, robot_joint_names=robot)
    environment = Environment(meta, networks.Runner(model))
    names = networks.contract_of(deployed).inputs[0].element_names
    assert names[9] == "joint_pos.RL_calf_joint"

    def sense(generator: np.random.Generator) -> dict[str, float]:
        return {name: generator.normal(0.0, 2.0) for name in sorted(names)}

    networks.compare(deployed, sense, environment.reset, environment.step)
    assert {entry.key: entry.value for entry in deployed.metadata_props}["joint_names"] == meta["joint_names"]


def test_reading() -> None:
    model, _ = with_metadata(metadata())
    description = mjlab.from_model(model)
    assert [term.size for term in description.observations] == SIZES
    assert [term.history_length for term in description.observations] == [1, 5, 1, 3, 3, 2, 1]
    assert description.observations[1].scale == (0.25, 0.25, 0.5)
    assert description.observations[1].clip == (-0.75, 1.0)
    assert description.observations[0].clip is None
    assert description.actions[0].scale[:3] == (0.373, 0.373, 0.248)
    assert description.joints[2].stiffness == 27.0
    assert description.joints[2].damping == 1.7
    assert json.loads(description.original) == metadata()
    assert any("rounded" in sentence for sentence in description.assumptions)


def test_several_terms_of_unknown_size_must_be_given() -> None:
    meta = metadata("mjlab_go1_old.json")
    meta["observation_names"] += ",height_scan"
    model, _ = with_metadata(meta, size=65)
    with pytest.raises(
        ArtifactError, match=r"\['command', 'height_scan'\] have \(network input: 65; known: .*term_sizes"
    ):
        mjlab.from_model(model)
    description = mjlab.from_model(model, term_sizes={"command": 3})
    assert description.observations[-1].size == 17
    assert "the term 'height_scan' has 17 elements, what is left of the network's input" in description.assumptions
    with pytest.raises(ArtifactError, match=r"term_sizes names \['heights'\]; the terms are"):
        mjlab.from_model(model, term_sizes={"heights": 3})


def test_joints_without_actuator() -> None:
    meta = metadata()
    meta["joint_names"] += ",tail"
    meta["default_joint_pos"] += ",0.000"
    longer = sum(histories(meta)[i] for i in (3, 4))
    model, contract = with_metadata(meta, size=sum(n * h for n, h in zip(SIZES, histories(meta), strict=True)) + longer)
    description = mjlab.from_model(model)
    with pytest.raises(ExportError, match="it moves 12 of 13 joints, and the metadata does not say which"):
        apply(model, description, contract=contract)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("joint_names", None, r"the model: the key 'joint_names' is missing; found \['action_scale'"),
        ("joint_names", "a,a,b", "default_joint_pos has 12 numbers; expected 3"),
        ("joint_names", ",".join(["a"] * 12), "names the joint .'a'. more than once"),
        ("default_joint_pos", ",".join(["nan"] * 12), r"default_joint_pos\[0\] is 'nan'; expected a finite"),
        ("action_scale", "0.5,0.5", "action_scale has 2 numbers; expected 12"),
        ("action_scale", "fast", r"action_scale\[0\] is 'fast'; expected a number"),
        ("observation_terms_scale", "1,nan,1,1,1,1,1", r"observation_terms_scale\[1\]\[0\] is 'nan'"),
        ("observation_terms_scale", "1,1;2,1,1,1,1,1", r"observation_terms_scale\[1\] has 2 numbers; expected 3"),
        ("observation_terms_scale", "1,1", "observation_terms_scale has 2 entries for 7 terms"),
        ("observation_terms_clip", "2;1,0;1,0;1,0;1,0;1,0;1,0;1", "lower limit that is not above"),
        ("observation_terms_history_length", "0,-1,0,0,0,0,0", r"history_length\[1\] is '-1'; expected 0"),
        ("observation_names", "a,a,b,c,d,e,f", "does not say how many elements"),
    ],
)
def test_bad_values_are_named(key: str, value: str | None, message: str) -> None:
    meta = metadata()
    model, _ = with_metadata(meta)
    for entry in list(model.metadata_props):
        if entry.key == key:
            model.metadata_props.remove(entry)
    if value is not None:
        model.metadata_props.add(key=key, value=value)
    with pytest.raises(ArtifactError, match=message):
        mjlab.from_model(model)


def test_history_that_is_not_flattened() -> None:
    meta = metadata() | {"observation_terms_flatten_history_dim": "1.000,0.000,1.000,1.000,1.000,1.000,1.000"}
    model, contract = with_metadata(meta)
    with pytest.raises(ExportError, match="'base_ang_vel' cannot be put into the function: its history"):
        apply(model, mjlab.from_model(model), contract=contract)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ArtifactError, match="is no ONNX model"):
        read(path)
    model, _ = networks.network("mlp", {"obs": 4}, 2)
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="the key 'joint_names' is missing"):
        read(path)
