"""Walking-like motion: legs driven by a gait that follows random commands, with pushes, noise and resets.

The base hangs in a soft harness (a spring and a damper that hold it up and pull it the way it was told to go), as a
robot does in a laboratory before it can walk. A gait belongs to a robot, as a policy does: the same in each run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from .robots import Joint, base_of, default_pose, load

if TYPE_CHECKING:
    from pathlib import Path

PERIOD_S = 0.02
ACTION_SCALE = 0.25
"""Joint targets are default + ACTION_SCALE * action."""
_BANDWIDTH = 2 * np.pi * 4
"""Of the joints' position control, rad/s."""


@dataclass(frozen=True, eq=False)
class Raw:
    """What the sensors and the controller held at each step: `[N, ...]` each.

    Attributes:
        quaternion: w, x, y, z of the base, body to world.
        linear: velocity of the base in its own frame, m/s.
        angular: the same, rad/s.
        height: of the base, m.
        position: of the driven joints in MuJoCo's order, rad.
        velocity: the same, rad/s.
        command: forward and sideways velocity and yaw rate.
        action: what the policy answered in this step, in MuJoCo's order.
        phase: of the gait, in cycles.
        reset: an episode begins in this row.
    """

    quaternion: np.ndarray
    linear: np.ndarray
    angular: np.ndarray
    height: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    command: np.ndarray
    action: np.ndarray
    phase: np.ndarray
    reset: np.ndarray

    def slice(self, start: int, stop: int) -> Raw:
        """These rows."""
        return Raw(*(getattr(self, one.name)[start:stop] for one in fields(self)))


@dataclass(frozen=True)
class _Gait:
    amplitude: np.ndarray
    second: np.ndarray
    phase: np.ndarray
    turn: np.ndarray
    tilt: np.ndarray
    sway: np.ndarray
    frequency_hz: float


def _gait(robot: str, joints: tuple[Joint, ...]) -> _Gait:
    """Amplitudes by a joint's stem, phases by its leg: a trot of four legs, or left against right."""
    rows = []
    for joint in joints:
        rng = np.random.default_rng([7, *robot.encode(), *joint.stem.encode()])
        reach = min((joint.high - joint.low) / 2, 1.2)
        amplitude = reach * rng.uniform(0.25, 0.6)
        rows.append(
            (
                amplitude, amplitude * rng.uniform(0.1, 0.5), joint.phase + rng.uniform(0, 0.4),
                joint.side * reach * rng.uniform(0.05, 0.2), reach * rng.uniform(-0.5, 0.5),
                reach * rng.uniform(-0.5, 0.5) * (joint.side or 1),
            )
        )  # fmt: skip
    return _Gait(*np.array(rows).T, frequency_hz=float(np.random.default_rng([*robot.encode()]).uniform(1.2, 1.9)))


def record(robot: str, seed: int, seconds: float = 60.0) -> Raw:
    """One run of a robot.

    Args:
        robot: a key of `robots.ROBOTS`.
        seed: of commands, pushes, sensor noise and resets.
        seconds: at 50 steps a second.
    """
    model, joints = load(robot)
    rng = np.random.default_rng([seed, *robot.encode()])
    data, gait, default = mujoco.MjData(model), _gait(robot, joints), default_pose(joints)
    place, dof = np.array([j.position for j in joints]), np.array([j.velocity for j in joints])
    limits = np.array([(j.low, j.high) for j in joints]).T
    steps, substeps = round(seconds / PERIOD_S), round(PERIOD_S / model.opt.timestep)
    harness = _Harness(model, data, default, place)
    inertia = harness.inertia(dof)
    kept: dict[str, list[np.ndarray]] = {one.name: [] for one in fields(Raw)}
    command, wander, phase = np.zeros(3), np.zeros(len(joints)), 0.0
    next_reset = next_command = next_push = 0
    for step in range(steps):
        reset = step == next_reset
        if reset:
            next_reset = step + int(rng.uniform(8, 16) / PERIOD_S)
            harness.reset(rng)
            wander, phase = np.zeros(len(joints)), rng.uniform()
        if step == next_command:
            next_command = step + int(rng.uniform(2, 5) / PERIOD_S)
            command = rng.uniform([-0.6, -0.5, -1.2], [1.2, 0.5, 1.2]) * (rng.uniform() > 0.08)
        if step == next_push:
            next_push = step + int(rng.uniform(1.5, 5) / PERIOD_S)
            harness.push(rng)
        harness.lean(rng)
        sensed = _sense(data, model, rng, place, dof)
        speed = np.clip(0.35 + 0.6 * np.linalg.norm(command[:2]) + 0.25 * abs(command[2]), 0, 1.2) * (
            command.any() or 0.15
        )
        phase += PERIOD_S * gait.frequency_hz * (0.7 + 0.5 * speed)
        wander += PERIOD_S / 0.15 * -wander + np.sqrt(PERIOD_S) * rng.normal(size=len(joints)) * 0.12
        gravity = world_to_body(sensed["quaternion"][None], np.array([[0, 0, -1.0]]))[0]
        cycle = 2 * np.pi * (phase + gait.phase)
        wish = speed * (gait.amplitude * np.sin(cycle) + gait.second * np.cos(2 * cycle)) + gait.turn * command[2]
        wish += gait.tilt * gravity[0] + gait.sway * gravity[1] + 0.05 * gait.tilt * sensed["angular"][1] + wander
        target = np.clip(default + wish, *(limits + 0.02 * np.array([[1], [-1]])))
        action = (target - default) / ACTION_SCALE
        row = sensed | {
            "command": command.copy(),
            "action": action,
            "phase": np.array([phase % 1]),
            "reset": np.array(reset),
        }
        for name, value in row.items():
            kept[name].append(value)
        for _ in range(substeps):
            data.qfrc_applied[:] = 0
            wanted = _BANDWIDTH**2 * (target - data.qpos[place]) - 1.2 * _BANDWIDTH * data.qvel[dof]
            data.qfrc_applied[dof] = inertia @ wanted
            harness.pull(command)
            mujoco.mj_step(model, data)
    raw = Raw(**{name: np.stack(values) for name, values in kept.items()})
    assert np.abs(raw.velocity).max() < 200 and np.abs(raw.linear).max() < 20, (
        f"{robot} seed {seed}: the simulation blew up"
    )
    return raw


@lru_cache(maxsize=24)
def recorded(robot: str, seed: int, folder: Path, seconds: float = 60.0) -> Raw:
    """`record`, kept in a file of `folder`."""
    path = folder / f"{robot}-{seed}-{seconds:g}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        raw = record(robot, seed, seconds)
        temporary = path.with_suffix(f".{np.random.default_rng().integers(1 << 30)}.npz")
        np.savez(temporary, **{one.name: getattr(raw, one.name) for one in fields(Raw)})
        temporary.replace(path)
    with np.load(path) as file:
        return Raw(**{one.name: file[one.name] for one in fields(Raw)})


class _Harness:
    """Holds the base up, softly, and pulls it the way of the command."""

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        default: np.ndarray,
        place: np.ndarray,
    ) -> None:
        self.model, self.data, self.base, self.default, self.place = model, data, base_of(model), default, place
        self.planar = model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE
        self.mass = float(model.body_subtreemass[self.base])
        self.height = self._stand()
        self.slope = np.zeros(2)
        self.upright = data.xmat[self.base].reshape(3, 3).T.copy()  # The world's axes in the base's, where it stands.
        full = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, full)
        self.turn_inertia = full[2, 2] if self.planar else np.diag(full)[3:6].mean()

    def inertia(self, dof: np.ndarray) -> np.ndarray:
        """Of the driven joints in the standing pose, `[n, n]`, where everything else moves freely."""
        full = np.zeros((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, self.data, full)
        return np.linalg.inv(np.linalg.inv(full)[np.ix_(dof, dof)])

    def _stand(self) -> float:
        """The height of the base where its lowest geom touches the floor."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self.place] = self.default
        mujoco.mj_forward(self.model, self.data)
        low = np.inf
        for geom in range(self.model.ngeom):
            if self.model.geom_bodyid[geom] != 0 and self.model.geom_contype[geom] | self.model.geom_conaffinity[geom]:
                low = min(low, self._lowest(geom))
        return float(self.data.xpos[self.base][2] - low) * 0.98

    def _lowest(self, geom: int) -> float:
        center, half = self.model.geom_aabb[geom][:3], self.model.geom_aabb[geom][3:]
        corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * half + center
        return float((self.data.geom_xpos[geom] + corners @ self.data.geom_xmat[geom].reshape(3, 3).T)[:, 2].min())

    def lean(self, rng: np.random.Generator) -> None:
        """The ground's slope wanders, about 5 degrees."""
        self.slope += PERIOD_S / 1.5 * -self.slope + np.sqrt(2 * PERIOD_S / 1.5) * rng.normal(size=2) * 0.09

    def reset(self, rng: np.random.Generator) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self.place] = self.default + rng.normal(scale=0.08, size=len(self.default))
        if self.planar:
            mujoco.mj_forward(self.model, self.data)
            self.data.qpos[1] += self.height * 1.03 - self.data.xpos[self.base][2]
            self.data.qpos[2] = rng.normal(scale=0.1)
        else:
            yaw, tilt = rng.uniform(-np.pi, np.pi), rng.normal(scale=0.08, size=2)
            turned = np.zeros(4)
            mujoco.mju_euler2Quat(turned, np.array([yaw, *tilt]), "ZYX")
            standing = self.data.qpos[3:7].copy()
            mujoco.mju_mulQuat(self.data.qpos[3:7], turned, standing)
            self.data.qpos[2] = self.height * 1.03
        self.data.qvel[: 3 if self.planar else 6] = rng.normal(scale=0.1, size=3 if self.planar else 6)
        mujoco.mj_forward(self.model, self.data)

    def push(self, rng: np.random.Generator) -> None:
        self.data.qvel[:2] += rng.normal(scale=0.4, size=2)
        if not self.planar:
            self.data.qvel[3:6] += rng.normal(scale=1.0, size=3)

    def pull(self, command: np.ndarray) -> None:
        turned = self.data.xmat[self.base].reshape(3, 3)
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_BODY, self.base, velocity, 0)
        ahead = (turned @ self.upright[:, 0]) * [1, 1, 0]
        ahead /= max(1e-6, np.linalg.norm(ahead))
        wanted = command[0] * ahead + command[1] * np.array([-ahead[1], ahead[0], 0])
        w = 2 * np.pi * 1.2
        force = self.mass * 6.0 * (wanted - velocity[3:])
        force[2] = self.mass * (
            w * w * (self.height - self.data.xpos[self.base][2]) - 0.6 * w * velocity[5] + 0.6 * 9.81
        )
        up = np.cross(turned @ self.upright[:, 2], [*self.slope, 1] / np.sqrt(1 + self.slope @ self.slope))
        torque = self.turn_inertia * (0.5 * w * w * up - 0.6 * w * velocity[:3])
        torque[2] = self.turn_inertia * 6.0 * (command[2] - velocity[2])
        self.data.xfrc_applied[self.base] = [*force, *torque]


def _sense(
    data: mujoco.MjData, model: mujoco.MjModel, rng: np.random.Generator, place: np.ndarray, dof: np.ndarray
) -> dict[str, np.ndarray]:
    """Noisy sensors; the quaternion is that of an estimator, whose error is a small rotation."""
    base = base_of(model)
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, base, velocity, 1)
    planar = model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE
    error = rng.normal(scale=0.004, size=3) * ([0, 1, 0] if planar else [1, 1, 1])
    free = np.array([0, 1, 0]) if planar else np.ones(3)
    quaternion = multiplied(data.xquat[base][None], np.array([[1.0, *error / 2]]))[0]
    return {
        "quaternion": quaternion / np.linalg.norm(quaternion),
        "linear": velocity[3:] + rng.normal(scale=0.02, size=3) * ([1, 0, 1] if planar else [1, 1, 1]),
        "angular": velocity[:3] + rng.normal(scale=0.03, size=3) * free,
        "height": np.array([data.xpos[base][2] + rng.normal(scale=0.003)]),
        "position": data.qpos[place] + rng.normal(scale=0.003, size=len(place)),
        "velocity": data.qvel[dof] + rng.normal(scale=0.05, size=len(dof)),
    }


def multiplied(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products `[N, 4]` of quaternions w, x, y, z."""
    w, x, y, z = a.T
    p, q, r, s = b.T
    return np.stack(
        [
            w * p - x * q - y * r - z * s,
            w * q + x * p + y * s - z * r,
            w * r - x * s + y * p + z * q,
            w * s + x * r - y * q + z * p,
        ],
        axis=1,
    )


def body_to_world(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """`vector` `[N, 3]` turned by `quaternion` `[N, 4]`: v + 2 w (u x v) + 2 u x (u x v)."""
    w, u = quaternion[:, :1], quaternion[:, 1:]
    once = np.cross(u, vector)
    return vector + 2 * (w * once + np.cross(u, once))


def world_to_body(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The way back."""
    return body_to_world(quaternion * [1, -1, -1, -1], vector)
