"""Unitree's deploy.yaml: the loop of unitree_rl_lab's C++ controller, told again in NumPy, beside the changed model."""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path
from typing import Any

import deployment_networks as networks
import numpy as np
import pytest
import yaml

from ganglion.adapters.deployment import apply, read, unitree
from ganglion.errors import ArtifactError

pytestmark = pytest.mark.deep  # exports and flies every layout

GO2_NAMES = [f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")]


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((networks.GOLDEN / name).read_text(encoding="utf-8"))


class ObservationTermCfg:
    """`deploy/include/isaaclab/manager/manager_term_cfg.h`."""

    def __init__(self, func: Any, cfg: dict[str, Any], scale_first: bool) -> None:
        self.func = func
        self.clip, self.scale = cfg["clip"], cfg["scale"]
        self.history_length = cfg.get("history_length", 1)
        self.scale_first = scale_first
        self.buff: deque[np.ndarray] = deque()

    def reset(self, obs: np.ndarray) -> None:
        for _ in range(self.history_length):
            self.add(obs)

    def add(self, obs: np.ndarray) -> None:
        obs = np.asarray(obs, np.float32).copy()
        for j in range(len(obs)):
            if self.scale_first:
                obs[j] *= np.float32(self.scale[j])
            if self.clip is not None:
                obs[j] = min(max(obs[j], np.float32(self.clip[0])), np.float32(self.clip[1]))
            if not self.scale_first:
                obs[j] *= np.float32(self.scale[j])
        self.buff.append(obs)
        if len(self.buff) > self.history_length:
            self.buff.popleft()


class Controller:
    """`ManagerBasedRLEnv` with its observation and action manager and `State_RLBase::run`."""

    def __init__(self, cfg: dict[str, Any], alg: networks.Runner) -> None:
        self.cfg, self.alg = cfg, alg
        self.map = cfg["joint_ids_map"]
        self.action_dim = len(cfg["actions"]["JointPositionAction"]["scale"])
        self.groups: dict[str, list[ObservationTermCfg]] = {}
        self.use_gym_history = False
        observations = cfg["observations"]
        if "params" in next(iter(observations.values())):
            observations = {"obs": observations}
        for name, group in observations.items():
            scale_first, terms = False, []
            for key, entry in group.items():
                if key == "scale_first":
                    scale_first = entry
                elif key == "use_gym_history":
                    self.use_gym_history = entry
                else:
                    terms.append(ObservationTermCfg(lambda k=key, e=entry: self.observe(k, e), entry, scale_first))
            self.groups[name] = terms
        self.action = np.zeros(self.action_dim, np.float32)

    def observe(self, name: str, entry: dict[str, Any]) -> np.ndarray:
        ids = entry.get("params", {}).get("asset_cfg", {}).get("joint_ids") or range(len(self.map))
        if name == "joint_pos_rel":
            return np.array([self.q[i] - np.float32(self.cfg["default_joint_pos"][i]) for i in ids])
        if name == "joint_vel_rel":
            return np.array([self.dq[i] for i in ids])
        if name == "velocity_commands":
            ranges = self.cfg["commands"]["base_velocity"]["ranges"]
            keys = ("lin_vel_x", "lin_vel_y", "ang_vel_z")
            return np.array([np.clip(self.sensors[f"{name}.{key}"], *ranges[key]) for key in keys])
        if name == "last_action":
            return self.action
        return np.array([self.sensors[f"{name}.{axis}"] for axis in "xyz"])

    def update(self, sensors: dict[str, Any]) -> None:
        self.sensors = sensors
        self.q = np.array([sensors["q"][motor] for motor in self.map], np.float32)
        self.dq = np.array([sensors["dq"][motor] for motor in self.map], np.float32)

    def reset(self, sensors: dict[str, Any]) -> None:
        self.update(sensors)
        self.action = np.zeros(self.action_dim, np.float32)
        for terms in self.groups.values():
            for term in terms:
                term.reset(term.func())
        self.alg.reset()

    def step(self, sensors: dict[str, Any]) -> np.ndarray:
        """Targets by motor."""
        self.update(sensors)
        obs = {}
        for name, terms in self.groups.items():
            for term in terms:
                term.add(term.func())
            if self.use_gym_history:
                frames = [term.buff[h] for h in range(terms[0].history_length) for term in terms]
            else:
                frames = [frame for term in terms for frame in term.buff]
            obs[name] = np.concatenate(frames)
        self.action = self.alg.act(**obs)["actions"]
        term = self.cfg["actions"]["JointPositionAction"]
        targets = self.action * np.array(term["scale"], np.float32) + np.array(term["offset"], np.float32)
        if term["clip"] is not None:
            targets = np.clip(targets, *np.array(term["clip"], np.float32).T)
        command = np.full(max(self.map) + 1, np.nan)
        command[self.map] = targets
        return command


def check(cfg: dict[str, Any], kind: str, names: list[str] | None, robot: list[str] | None = None) -> Any:
    description = unitree.parse(cfg, joint_sdk_names=names)
    sizes = {
        group: sum(term.size * term.history_length for term in terms) for group, terms in description.groups().items()
    }
    model, contract = networks.network(kind, sizes, description.action_size)
    deployed = apply(model, description, contract=contract, robot_joint_names=robot)
    controller = Controller(cfg, networks.Runner(model))
    motors = range(max(cfg["joint_ids_map"]) + 1)
    motor_names = [names[motor] if names else f"motor_{motor}" for motor in motors]
    prefixes = [f"{group}." for group in sizes] if len(sizes) > 1 else [""]

    def sense(generator: np.random.Generator) -> dict[str, Any]:
        values: dict[str, Any] = {"q": generator.normal(0.0, 1.0, len(motors))}
        values["dq"] = generator.normal(0.0, 3.0, len(motors))
        for name in ("base_ang_vel", "projected_gravity"):
            values |= {f"{name}.{axis}": generator.normal() for axis in "xyz"}
        values |= {f"velocity_commands.{key}": generator.normal() for key in ("lin_vel_x", "lin_vel_y", "ang_vel_z")}
        for motor in motors:
            values[f"joint_pos.{motor_names[motor]}"] = values["q"][motor]
            values[f"joint_vel.{motor_names[motor]}"] = values["dq"][motor]
        return values | {prefix + name: value for prefix in prefixes for name, value in values.items()}

    def step(values: dict[str, Any]) -> dict[str, float]:
        command = controller.step(values)
        return {motor_names[motor]: command[motor] for motor in cfg["joint_ids_map"]}

    networks.compare(deployed, sense, controller.reset, step)
    return networks.contract_of(deployed)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(("history", "layout"), [(1, "term_major"), (5, "term_major"), (5, "frame_major")])
def test_go2_equals_the_controller(kind: str, history: int, layout: str) -> None:
    cfg = document("unitree_go2.yaml")
    for term in cfg["observations"].values():
        term["history_length"] = history
    if layout == "frame_major":
        # The C++ looks for `params` in the first entry, so a flag cannot stand there.
        cfg["observations"]["use_gym_history"] = True
    contract = check(cfg, kind, GO2_NAMES)
    assert contract.period_s == 0.02
    assert contract.inputs[0].element_names[9:21] == tuple(f"joint_pos.{name}" for name in GO2_NAMES)
    assert contract.inputs[0].units[9:12] == ("rad",) * 3
    assert contract.inputs[0].low[6:9] == (-1.0, -0.4, -1.0)
    assert contract.outputs[0].element_names == tuple(GO2_NAMES)
    assert contract.outputs[0].low[:3] == (-1.0, -0.5, -2.5)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_groups_scale_first_and_whole_frames(kind: str) -> None:
    contract = check(document("unitree_groups.yaml"), kind, None)
    assert contract.outputs[0].element_names == ("motor_0", "motor_2", "motor_5")
    assert [slot.name for slot in contract.state][-8:] == [
        "obs.base_ang_vel_history",
        "obs.joint_pos_rel_history",
        "obs.last_action_history",
        "proprio.projected_gravity_history",
        "proprio.joint_vel_rel_history",
        "proprio.joint_pos_rel_history",
        "last_action",
        "history_started",
    ]


def test_robot_with_an_order_of_its_own() -> None:
    robot = sorted(GO2_NAMES, key=lambda name: name[::-1])
    contract = check(document("unitree_go2.yaml"), "mlp", GO2_NAMES, robot)
    assert list(contract.outputs[0].element_names) == robot


def test_reading() -> None:
    description = read(networks.GOLDEN / "unitree_go2.yaml", joint_sdk_names=GO2_NAMES)
    names = [joint.name for joint in description.joints]
    assert names[:4] == ["FL_hip_joint", "FR_hip_joint", "RL_hip_joint", "RR_hip_joint"]
    # The gains stand in the order of the motors: the last motor is the calf of the leg RL.
    assert {joint.name: joint.stiffness for joint in description.joints}["RL_calf_joint"] == 26.0
    assert description.joints[names.index("RL_calf_joint")].damping == 0.6
    assert description.joints[0].default_position == 0.1
    assert description.robot_joint_names == tuple(GO2_NAMES)
    joint_pos = next(term for term in description.observations if term.name == "joint_pos_rel")
    assert joint_pos.element_names[0] == "joint_pos.FL_hip_joint"
    assert joint_pos.offset[4] == 0.8


def test_flags_hold_for_the_terms_below_them() -> None:
    cfg = document("unitree_go2.yaml")
    terms = list(cfg["observations"].items())
    cfg["observations"] = dict([*terms[:2], ("scale_first", True), *terms[2:]])
    found = [term.scale_first for term in unitree.parse(cfg).observations]
    assert found == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((), ("step_dt", None), r"deploy\.yaml: the key 'step_dt' is missing"),
        (("step_dt",), 0.0, "control period is 0.0"),
        (("joint_ids_map", 1), 3, "joint_ids_map is .*a different number"),
        (("joint_ids_map", 1), 12, r"joint_sdk_names has 12: \['FR_hip_joint'"),
        (("default_joint_pos",), [0.0], "default_joint_pos has 1 numbers; expected 12"),
        (("observations", "base_ang_vel"), ("scale", None), "observations.base_ang_vel: the key 'scale' is missing"),
        (("observations", "base_ang_vel", "scale", 1), float("nan"), r"base_ang_vel\.scale\[1\] is nan"),
        (("observations", "base_ang_vel", "scale", 1), True, r"base_ang_vel\.scale\[1\] is True; expected a finite"),
        (("observations", "base_ang_vel", "clip"), [1.0, -1.0], "lower limit that is not above"),
        (("observations", "base_ang_vel", "history_length"), -2, "history_length is -2; expected at least 1"),
        (("observations", "base_ang_vel", "history_length"), 2.5, "history_length is 2.5; expected a whole number"),
        (("observations", "joint_pos_rel", "scale"), [1.0] * 11, "joint_pos_rel.scale has 11 numbers; expected 12"),
        (
            ("observations", "joint_pos_rel", "params"),
            {"asset_cfg": {"joint_ids": [0] * 12}},
            "joint_pos_rel' names the joint .'FL_hip_joint'. more than once",
        ),
        (
            ("observations", "joint_pos_rel", "params"),
            {"asset_cfg": {"joint_ids": [12]}},
            "joint_ids is .12.; expected numbers from 0 to 11",
        ),
        (("actions", "JointPositionAction", "offset"), [0.0] * 11, "offset has 11 numbers; expected 12"),
        (("actions", "JointPositionAction", "clip", 0), [0.0], r"clip\[0\] has 1 numbers; expected 2"),
        (("actions", "JointPositionAction", "scale", 0), float("inf"), r"scale\[0\] is inf; expected a finite"),
        (("observations",), [], "observations is .*; expected a mapping"),
    ],
)
def test_bad_values_are_named(where: tuple[Any, ...], value: Any, message: str) -> None:
    cfg = copy.deepcopy(document("unitree_go2.yaml"))
    place: Any = cfg
    if isinstance(value, tuple):
        for key in where:
            place = place[key]
        del place[value[0]]
    else:
        for key in where[:-1]:
            place = place[key]
        place[where[-1]] = value
    with pytest.raises(ArtifactError, match=message):
        unitree.parse(cfg, joint_sdk_names=GO2_NAMES)


def test_whole_frames_need_one_history_length() -> None:
    cfg = document("unitree_groups.yaml")
    cfg["observations"]["obs"]["last_action"]["history_length"] = 4
    with pytest.raises(ArtifactError, match=r"same history length; found .*'last_action': 4"):
        unitree.parse(cfg)


SLICES = {
    "!!python/object/apply:builtins.slice [null, null, null]": slice(None),
    "!!python/object/apply:builtins.slice [2, 8, 3]": slice(2, 8, 3),
    "!!python/object/apply:builtins.slice [null, null, -1]": slice(None, None, -1),
    "!!python/object/apply:builtins.slice {args: [1, 12]}": slice(1, 12),
    "!!python/object/apply:__builtin__.slice [-4, null, null]": slice(-4, None),
    "slice(None, 6, None)": slice(6),
    "!!python/tuple [3, 1]": (3, 1),
}


@pytest.mark.parametrize("text", SLICES)
def test_slices_of_joints_are_read_as_data(text: str, tmp_path: Path) -> None:
    cfg = document("unitree_go2.yaml")
    chosen = SLICES[text]
    places = list(range(12)[chosen]) if isinstance(chosen, slice) else list(chosen)
    action = cfg["actions"]["JointPositionAction"]
    action.update({"scale": action["scale"][: len(places)], "offset": action["offset"][: len(places)], "clip": None})
    terms = cfg["observations"]
    terms["joint_pos_rel"]["scale"] = terms["joint_pos_rel"]["scale"][: len(places)]
    terms["last_action"]["scale"] = terms["last_action"]["scale"][: len(places)]

    def parsed(ids: object) -> Any:
        action["joint_ids"] = ids
        terms["joint_pos_rel"]["params"] = {"asset_cfg": {"joint_ids": ids}}
        path = tmp_path / "deploy.yaml"
        path.write_text(yaml.safe_dump(cfg).replace("'HERE'", text).replace("HERE", text))
        return read(path, joint_sdk_names=GO2_NAMES)

    written, listed = parsed("HERE"), parsed(places)
    assert written.actions == listed.actions and written.observations == listed.observations
    assert len(written.actions[0].joint_names) == len(places)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!python/object/apply:os.system ['touch ran']", "tag .*os.system.*only plain data is read"),
        ("!!python/object/apply:builtins.eval ['1']", "only plain data is read"),
        ("!!python/object/apply:builtins.slice [a, b, c]", "line 2: a slice is three whole numbers or null"),
        ("!!python/object/apply:builtins.slice [!!python/object/apply:os.getcwd []]", "only plain data is read"),
        ("!!python/object/apply:builtins.slice {args: [1], state: {a: 1}}", "a slice is three whole numbers or null"),
        ("!!python/object/new:builtins.slice [1, 2, 3]", "only plain data is read"),
        ("2024-99-99", "is no YAML: month must be in"),
        ("{[1]: 2}", "only plain data is read"),
        ("!!binary x", "only plain data|is no YAML"),
    ],
)
def test_other_tags_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "deploy.yaml"
    path.write_text(f"step_dt: 0.02\njoint_ids_map: {text}\n")
    with pytest.raises(ArtifactError, match=said):
        read(path)
    assert not Path("ran").exists()


def test_aliases_that_unfold_to_too_much_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "deploy.yaml").write_text("\n".join([*lines, "step_dt: 0.02", "joint_ids_map: *a11", ""]))
    with pytest.raises(ArtifactError, match="unfolds to more than 1,000,000 values by its aliases"):
        read(tmp_path / "deploy.yaml")


@pytest.mark.parametrize("text", ["slice(0, 6, 0)", "all of them"])
def test_what_names_no_joints_is_refused(text: str) -> None:
    cfg = document("unitree_go2.yaml")
    cfg["actions"]["JointPositionAction"]["joint_ids"] = text
    with pytest.raises(ArtifactError, match=r"joint_ids is .*expected a"):
        unitree.parse(cfg)
