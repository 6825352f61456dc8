"""A log against a profile: quaternions, frames of reference, and what a history holds, of a robot that turns."""

from __future__ import annotations

import numpy as np
import pytest

import ganglion
from ganglion.contract import Contract, TensorSpec
from ganglion.observation_profile.statistics import measured

PERIOD_S, EPISODE, FRAMES = 0.02, 500, 3
NAMES = (
    *(f"quat/{part}" for part in "wxyz"),
    *(f"lin_vel/{axis}" for axis in "xyz"),
    *(f"gyro/{axis}" for axis in "xyz"),
    *(f"command/{axis}" for axis in ("vx", "vy", "yaw")),
    *(f"joint/{joint}" for joint in range(4)),
    *(f"action/{joint}" for joint in range(4)),
)
QUATERNION, VELOCITY = np.arange(4), np.arange(4, 7)


def multiplied(a, b):
    w, x, y, z = a
    p, q, r, s = b
    return np.array(
        [
            w * p - x * q - y * r - z * s,
            w * q + x * p + y * s - z * r,
            w * r - x * s + y * p + z * q,
            w * s + x * r - y * q + z * p,
        ]
    )


def moved(seed, steps=3000):
    """`observation [steps, 21]`, `action`, `reset`: a base that turns to all sides, as fast as it is told to."""
    rng = np.random.default_rng(seed)
    rows, answers, resets = [], [], []
    for step in range(steps):
        reset = step % EPISODE == 0
        if reset:
            yaw = rng.uniform(-np.pi, np.pi)
            quaternion = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
            tilt, command = np.zeros(2), np.zeros(3)
            velocity, rate, joints, action, clock = (
                np.zeros(3),
                np.zeros(3),
                np.zeros(4),
                np.zeros(4),
                rng.uniform(0, 6),
            )
        if step % 120 == 0:
            command = rng.uniform([-0.5, -0.8, -1.5], [1.2, 0.8, 1.5])
        tilt += PERIOD_S * (-2.0 * tilt + rng.normal(size=2) * 6.0)
        rate = np.array([tilt[0], tilt[1], 0.0]) + np.array([0.0, 0.0, 0.2 * (command[2] - rate[2]) + rate[2]])
        quaternion = multiplied(quaternion, np.array([1.0, *(0.5 * PERIOD_S * rate)]))
        quaternion /= np.linalg.norm(quaternion)
        velocity += 0.1 * (np.array([command[0], command[1], 0.0]) - velocity) + rng.normal(size=3) * 0.02
        joints = joints + 0.3 * (action - joints)
        noise = rng.normal(size=3) * 0.02
        seen = np.concatenate([quaternion, velocity + noise, rate + rng.normal(size=3) * 0.02, command])
        rows.append(np.concatenate([seen, joints + rng.normal(size=4) * 0.005, action]))
        clock += 2.0 * np.pi * PERIOD_S * (1.0 + 0.4 * command[0])
        action = (
            np.sin(clock + np.arange(4) * 1.7) + 0.5 * command[1] * np.array([1, -1, 1, -1]) + rng.normal(size=4) * 0.1
        )
        answers.append(action)
        resets.append(reset)
    return {
        "observation": np.array(rows, np.float32),
        "action": np.array(answers, np.float32),
        "reset": np.array(resets),
    }


def framed(run, stride=1, zeros=False):
    """The same with a history, the oldest frame first."""
    values, rows = run["observation"], np.arange(len(run["reset"]))
    since = rows - np.maximum.accumulate(np.where(run["reset"], rows, 0))
    frames = []
    for age in (2 * stride, stride, 0):
        frame = values[rows - np.minimum(age, since)]
        frames.append(np.where((since < age)[:, None], 0.0, frame) if zeros else frame)
    return run | {"observation": np.concatenate(frames, axis=1).astype(np.float32)}


def contract_of(run, names):
    lengths = np.diff(np.flatnonzero(np.append(run["reset"], True)))
    return Contract(
        inputs=(TensorSpec("obs", len(names), names),),
        outputs=(TensorSpec("actions", 4),),
        period_s=PERIOD_S,
        observation_profile=measured(run["observation"], lengths, run["action"]),
    )


@pytest.fixture(scope="module")
def training():
    return moved(1, 6000)


@pytest.fixture(scope="module")
def contract(training):
    return contract_of(training, NAMES)


@pytest.fixture(scope="module")
def log():
    return moved(2)


def turned(quaternion, vector):
    w, u = quaternion[:, :1], quaternion[:, 1:]
    once = np.cross(u, vector)
    return vector + 2.0 * (w * once + np.cross(u, once))


def first_of(contract, log, elements, values):
    observation = log["observation"].copy()
    observation[:, elements] = values
    report = ganglion.wiring(policy=contract, found=log | {"observation": observation})
    assert report.edits, report.cannot_tell
    return report.edits[0], report


def test_a_healthy_log_raises_no_alarm(contract):
    for seed in (2, 3, 4):
        report = ganglion.wiring(policy=contract, found=moved(seed))
        assert report.equal, report.edits


def test_the_other_one_of_a_quaternions_pair_is_told_by_where_episodes_begin(contract, log):
    edit, _ = first_of(contract, log, QUATERNION, -log["observation"][:, :4])
    assert (edit.kind, edit.elements, edit.value) == ("sign", (0, 1, 2, 3), -1)


def test_a_quaternion_with_w_above_zero_jumps(contract, log):
    quaternion = log["observation"][:, :4]
    negative = quaternion[:, 0] < 0.0
    assert negative.any()
    edit, report = first_of(contract, log, QUATERNION, np.where(negative[:, None], -quaternion, quaternion))
    assert (edit.kind, edit.elements) == ("sign", (0, 1, 2, 3))
    assert edit.value == {"double_cover": int(negative.sum())}
    assert "from step to step" in report.correction.lost[0]


def test_a_conjugate_turns_the_other_way(contract, log):
    edit, report = first_of(contract, log, QUATERNION, log["observation"][:, :4] * [1.0, -1.0, -1.0, -1.0])
    assert (edit.kind, edit.elements) == ("quaternion_conjugate", (1, 2, 3))
    np.testing.assert_allclose(report.corrected, log["observation"], atol=1e-5)


def test_the_frame_of_the_world_is_told_with_the_orientation(contract, log):
    world = turned(log["observation"][:, :4].astype(np.float64), log["observation"][:, 4:7].astype(np.float64))
    edit, report = first_of(contract, log, VELOCITY, world)
    assert (edit.kind, edit.elements) == ("frame", (4, 5, 6))
    assert edit.value == {"kind": "world_for_body", "quaternion": [0, 1, 2, 3]}
    np.testing.assert_allclose(report.corrected, log["observation"], atol=1e-4)


def test_the_frame_of_the_world_is_told_without_the_orientation(training, log):
    world = turned(log["observation"][:, :4].astype(np.float64), log["observation"][:, 4:7].astype(np.float64))
    less = {name: run | {"observation": run["observation"][:, 4:]} for name, run in (("t", training), ("l", log))}
    edit, report = first_of(contract_of(less["t"], NAMES[4:]), less["l"], np.arange(3), world)
    assert (edit.kind, edit.elements, edit.value["kind"]) == ("frame", (0, 1, 2), "world_for_body")
    assert "nothing in the observation tells the orientation" in report.correction.lost[0]


@pytest.fixture(scope="module")
def history(training):
    names = tuple(name + tail for tail in ("@-2", "@-1", "") for name in NAMES)
    return contract_of(framed(training), names)


def test_a_history_without_a_fault_raises_no_alarm(history, log):
    report = ganglion.wiring(policy=history, found=framed(log))
    assert report.equal, report.edits


def test_frames_of_another_stride_are_told(history, log):
    edit = ganglion.wiring(policy=history, found=framed(log, stride=2)).edits[0]
    assert (edit.kind, edit.value) == ("history_layout", {"frames": 3, "stride": 2})
    assert edit.elements == tuple(range(2 * len(NAMES)))


def test_another_filling_behind_a_reset_is_told(history, log):
    edit = ganglion.wiring(policy=history, found=framed(log, zeros=True)).edits[0]
    assert (edit.kind, edit.value) == ("prefill", {"trained": "repeat", "found": "zeros", "rows": 2})
    actions = {place for place in range(3 * len(NAMES)) if place % len(NAMES) >= 17}
    assert not set(edit.elements) & actions and len(edit.elements) > 20
