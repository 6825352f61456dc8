"""Robots whose models ship in PyPI packages, as MuJoCo models with a floor and no actuators of their own."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mujoco
import numpy as np


@dataclass(frozen=True)
class Robot:
    """Where a robot's model is, and how the bench uses it.

    Attributes:
        package: the Python package that ships the model; it is read, never imported.
        file: the model inside it.
        task: whose model it is, as its users call it.
        held_out: kept out of development whole.
        left_out: joints that no policy would drive, a regular expression.
        spread: how far joints swing, as a share of their range.
    """

    package: str
    file: str
    task: str
    held_out: bool = False
    left_out: str = "^$"
    spread: float = 0.25


ROBOTS = {
    "ant": Robot("gymnasium", "envs/mujoco/assets/ant.xml", "gymnasium Ant-v5"),
    "humanoid": Robot("gymnasium", "envs/mujoco/assets/humanoid.xml", "gymnasium Humanoid-v5"),
    "walker2d": Robot("gymnasium", "envs/mujoco/assets/walker2d_v5.xml", "gymnasium Walker2d-v5"),
    "quadruped": Robot("dm_control", "suite/quadruped.xml", "dm_control quadruped"),
    "dog": Robot("dm_control", "suite/dog.xml", "dm_control dog", left_out="^(Ca_|C_|mandible|skull|atlas|.*sternum)"),
    "go1": Robot("mjlab", "asset_zoo/robots/unitree_go1/xmls/go1.xml", "mjlab Unitree Go1"),
    "humanoid_cmu": Robot("dm_control", "suite/humanoid_CMU.xml", "dm_control humanoid_CMU", held_out=True),
    "g1": Robot("mjlab", "asset_zoo/robots/unitree_g1/xmls/g1.xml", "mjlab Unitree G1", held_out=True),
}

_SIDES = (
    (re.compile(r"^(FL|fl)_|_front_left"), 0.0, 1),
    (re.compile(r"^(FR|fr)_|_front_right"), 0.5, -1),
    (re.compile(r"^(RL|rl|HL)_|_back_left"), 0.5, 1),
    (re.compile(r"^(RR|rr|HR)_|_back_right"), 0.0, -1),
    (
        re.compile(
            r"^left_|_left(?=_|$)|_L(?=_|$)|^l(?=femur|tibia|foot|toes|clav|humer|radius|wrist|hand|thumb|finger)"
        ),
        0.0,
        1,
    ),
    (
        re.compile(
            r"^right_|_right(?=_|$)|_R(?=_|$)|^r(?=femur|tibia|foot|toes|clav|humer|radius|wrist|hand|thumb|finger)"
        ),
        0.5,
        -1,
    ),
    (re.compile(r"_[13]$"), 0.0, 1),
    (re.compile(r"_[24]$"), 0.5, -1),
)
_ONE_SIDED = (re.compile(r"^(thigh|leg|foot)_joint$"), 0.5, -1)


@dataclass(frozen=True)
class Joint:
    """A driven joint: where it stands in the state, and its part in a gait.

    Attributes:
        stem: its name without its side, the same for all legs.
        phase: of its leg, in cycles.
        side: 1 left, -1 right, 0 in the middle.
        depth: bodies between it and the base.
    """

    name: str
    position: int
    velocity: int
    low: float
    high: float
    stem: str
    phase: float
    side: int
    depth: int


@cache
def load(robot: str) -> tuple[mujoco.MjModel, tuple[Joint, ...]]:
    """The model of a robot and its driven joints in MuJoCo's order (depth-first)."""
    made = ROBOTS[robot]
    found = importlib.util.find_spec(made.package)
    assert found is not None and found.origin is not None, f"{made.package} is not installed: make wiring-bench does"
    spec = mujoco.MjSpec.from_file(str(Path(found.origin).parent / made.file))
    if not any(geom.type == mujoco.mjtGeom.mjGEOM_PLANE for geom in spec.worldbody.geoms):
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1])
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for key in list(spec.keys):
        spec.delete(key)
    model = spec.compile()
    full, data = np.zeros((model.nv, model.nv)), mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    mujoco.mj_fullM(model, data, full)
    driven = model.jnt_dofadr[model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE]
    model.dof_armature[driven] = np.maximum(
        model.dof_armature[driven], 0.05 * np.diag(full)[driven]
    )  # Motors have inertia.
    model.opt.timestep = 0.005 if model.opt.timestep > 0.003 else 0.0025
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    floor = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE  # Nothing but the floor is touched.
    model.geom_contype[:], model.geom_conaffinity[:] = floor, (model.geom_contype | model.geom_conaffinity) & ~floor & 1
    joints = []
    for index in range(model.njnt):
        joint = model.joint(index)
        if joint.type[0] != mujoco.mjtJoint.mjJNT_HINGE or re.search(made.left_out, joint.name) or _is_root(joint.name):
            continue
        low, high = joint.range if model.jnt_limited[index] else (-1.0, 1.0)
        stem, phase, side = _part(joint.name)
        joints.append(
            Joint(
                joint.name, int(joint.qposadr[0]), int(joint.dofadr[0]), float(low), float(high), stem, phase, side,
                _depth(model, int(joint.bodyid[0])),
            )
        )  # fmt: skip
    return model, tuple(joints)


def base_of(model: mujoco.MjModel) -> int:
    """The body that a robot's root joint moves."""
    return int(model.jnt_bodyid[0])


def breadth_first(joints: tuple[Joint, ...]) -> list[int]:
    """Isaac's order of the joints: by depth in the tree, as MuJoCo has them inside a depth."""
    return sorted(range(len(joints)), key=lambda place: joints[place].depth)


def default_pose(joints: tuple[Joint, ...], seed: int = 0) -> np.ndarray:
    """A standing pose: the same for every leg, none of its joints in the middle of nothing."""
    pose = []
    for joint in joints:
        rng = np.random.default_rng([seed, *joint.stem.encode()])
        middle, half = (joint.low + joint.high) / 2, (joint.high - joint.low) / 2
        if joint.low < 0 < joint.high:
            middle = np.clip(0.3 * middle, joint.low + 0.2 * half, joint.high - 0.2 * half)
        pose.append(middle + rng.choice([-1, 1]) * rng.uniform(0.05, 0.3) * min(half, 1.0))
    return np.array(pose)


def _part(name: str) -> tuple[str, float, int]:
    if _ONE_SIDED[0].search(name):  # Walker2d's right leg has no side in its names.
        return name.replace("_joint", ""), _ONE_SIDED[1], _ONE_SIDED[2]
    for pattern, phase, side in _SIDES:
        if pattern.search(name):
            return pattern.sub("", name, count=1).replace("_joint", ""), phase, side
    return name, 0.0, 0


def _is_root(name: str) -> bool:
    return name in ("root", "rootx", "rootz", "rooty", "floating_base_joint")


def _depth(model: mujoco.MjModel, body: int) -> int:
    depth = 0
    while body != base_of(model) and body != 0:
        body, depth = int(model.body_parentid[body]), depth + 1
    return depth
