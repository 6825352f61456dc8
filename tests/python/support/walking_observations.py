"""Observations like those of a walking robot, made of a few oscillators: nothing is simulated, but nothing is alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

JOINTS = [f"{leg}_{part}" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh", "calf")]
DEFAULT = np.array([0.1, 0.8, -1.5, -0.1, 0.8, -1.5, 0.1, 1.0, -1.5, -0.1, 1.0, -1.5])
PERIOD_S = 0.02
ROWS, EPISODE = 1200, 300
TERMS = {
    "lin_vel": slice(0, 3),
    "ang_vel": slice(3, 6),
    "gravity": slice(6, 9),
    "quaternion": slice(9, 13),
    "command": slice(13, 16),
    "position": slice(16, 28),
    "velocity": slice(28, 40),
    "action": slice(40, 52),
}
NAMES = [
    *(f"{name}_{axis}" for name in ("lin_vel", "ang_vel", "gravity") for axis in "xyz"),
    *(f"quaternion_{part}" for part in "wxyz"),
    *("command_forward", "command_sideways", "command_turn"),
    *(f"{name}_{joint}" for name in ("position", "velocity", "action") for joint in JOINTS),
]


class Walk:
    """One recording.

    Attributes:
        observation: `[1200, 52]`, float32, by `TERMS`.
        action: `[1200, 12]`.
        reset: `[1200]`: every 300 rows.
        rotation: `[1200, 3, 3]`, body to world.
        position: `[1200, 12]` of the joints, with the default pose in it.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        time = np.arange(ROWS) * PERIOD_S
        self.reset = np.arange(ROWS) % EPISODE == 0
        self.action = _wander(rng, 12, time) + 0.2 * rng.normal(size=(ROWS, 12))
        self.position = DEFAULT + 0.25 * _wander(rng, 12, time) + 0.003 * rng.normal(size=(ROWS, 12))
        velocity = 2.0 * _wander(rng, 12, time) + 0.1 * rng.normal(size=(ROWS, 12))
        roll, pitch = 0.2 * _wander(rng, 2, time).T
        yaw = np.cumsum(rng.normal(size=ROWS)) * 0.1
        quaternion = _quaternion(roll, pitch, yaw)
        self.rotation = _matrices(quaternion)
        gravity = np.einsum("nij,i->nj", self.rotation, [0.0, 0.0, -1.0])
        body = _wander(rng, 6, time) * [0.8, 0.3, 0.1, 0.5, 0.5, 0.9] + 0.02 * rng.normal(size=(ROWS, 6))
        command = np.repeat(rng.uniform(-1.0, 1.0, (ROWS // 100, 3)), 100, axis=0)
        before = late(self.action, self.reset, 1)
        before[self.reset] = 0.0
        parts = (body, gravity, quaternion, command, self.position - DEFAULT, 0.05 * velocity, before)
        self.observation = np.concatenate(parts, axis=1).astype(np.float32)

    def arrays(self, observation: NDArray[np.float32] | None = None) -> dict[str, object]:
        """What a `.npz` file of a side holds."""
        own = self.observation if observation is None else observation
        return {"observation": own, "reset": self.reset, "action": self.action}

    def histories(self, frames: int, *, newest_first: bool = False, frame_major: bool = False, **more: Any) -> Doubles:
        """`[1200, 3 * 18]`, the first 18 elements with a history.

        Args:
            frames: how many.
            newest_first: order of the frames.
            frame_major: all of a frame beside each other, and not all of a term.
            **more: `stride`, steps between frames; `zeros`, in place of the first frame before there are others.
        """
        blocks = [self.observation[:, term] for term in (slice(0, 3), slice(3, 6), slice(6, 9), slice(16, 25))]
        return stacked(blocks, self.reset, frames, newest_first=newest_first, frame_major=frame_major, **more)


def stacked(
    blocks: list[Doubles] | list[NDArray[np.float32]],
    reset: NDArray[np.bool_],
    frames: int,
    *,
    newest_first: bool = False,
    frame_major: bool = False,
    stride: int = 1,
    zeros: bool = False,
) -> Doubles:
    """Terms `[N, k]` with a history, `[N, frames * n]`; see `Walk.histories`."""
    ages = [age * stride for age in range(frames)]
    ages = ages if newest_first else ages[::-1]
    rows = np.arange(len(reset))
    since = rows - np.maximum.accumulate(np.where(reset, rows, 0))
    made = []
    for block in blocks:
        own = block.astype(np.float64)
        made.append([np.where(zeros & (since < age)[:, None], 0.0, late(own, reset, age)) for age in ages])
    ordered = zip(*made, strict=True) if frame_major else made
    return np.concatenate([part for some in ordered for part in some], axis=1).astype(np.float32)


def late(values: Doubles, reset: NDArray[np.bool_], steps: int) -> Doubles:
    """Row t - steps in row t; behind a reset the first row of the episode."""
    rows = np.arange(len(values))
    since = rows - np.maximum.accumulate(np.where(reset, rows, 0))
    return values[rows - np.minimum(steps, since)]


def _wander(rng: np.random.Generator, size: int, time: Doubles) -> Doubles:
    values = np.zeros((len(time), size))
    for _ in range(4):
        frequency_hz, phase = rng.uniform(0.2, 3.0, size), rng.uniform(0.0, 2 * np.pi, size)
        values += rng.uniform(0.2, 0.6, size) * np.sin(2 * np.pi * frequency_hz * time[:, None] + phase)
    return values


def _quaternion(roll: Doubles, pitch: Doubles, yaw: Doubles) -> Doubles:
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a / 2), np.sin(a / 2)) for a in (roll, pitch, yaw))
    return np.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=1,
    )


def _matrices(quaternion: Doubles) -> Doubles:
    """By v + 2 w (u x v) + 2 u x (u x v), of the axes."""
    w, u = quaternion[:, :1], quaternion[:, 1:]
    columns = []
    for axis in np.eye(3):
        once = np.cross(u, axis)
        columns.append(axis + 2 * (w * once + np.cross(u, once)))
    return np.stack(columns, axis=2)
