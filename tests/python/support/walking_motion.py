"""A four-legged robot that walks, as numbers: what its policy sees, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganglion.contract import Contract, TensorSpec
from ganglion.observation_profile.statistics import measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEGS = ("FL", "FR", "RL", "RR")
JOINTS = tuple(f"{leg}_{joint}" for leg in LEGS for joint in ("hip", "thigh", "calf"))
NAMES = (
    *(f"ang_vel_{axis}" for axis in "xyz"),
    *(f"gravity_{axis}" for axis in "xyz"),
    *(f"command_{axis}" for axis in "xyz"),
    *(f"{term}:{joint}" for term in ("position", "velocity", "action") for joint in JOINTS),
)
PERIOD_S = 0.02


def walking(seed: int, steps: int = 3000) -> dict[str, NDArray[np.generic]]:
    """One run: `observation [steps, 45]`, `action [steps, 12]`, `reset [steps]`.

    The gait is the same in all runs; commands, noise and resets are of the seed.
    """
    gait = np.random.default_rng(7)
    reach, phase = gait.uniform(0.2, 0.7, 12), gait.uniform(0.0, 6.28, 12)
    second, rest = gait.uniform(0.1, 0.5, 12), np.tile([0.1, 0.8, -1.5], 4)
    turn, sway = gait.uniform(-0.3, 0.3, 12), gait.normal(0.0, 0.4, (12, 3))
    shake = gait.normal(0.0, 0.35, (3, 12))
    rng = np.random.default_rng([seed, 1])
    command, tilt, wander = np.zeros(3), np.zeros(2), np.zeros(12)
    position, velocity, action, clock = rest.copy(), np.zeros(12), np.zeros(12), 0.0
    rows, answers, resets = [], [], []
    for step in range(steps):
        reset = step % 600 == 0
        if reset:
            position, velocity, action = rest + rng.normal(0.0, 0.05, 12), np.zeros(12), np.zeros(12)
            clock, tilt = rng.uniform(0.0, 6.28), rng.normal(0.0, 0.05, 2)
        if step % 150 == 0:
            command = rng.uniform([-0.6, -0.4, -1.0], [1.2, 0.4, 1.0])
        speed = 0.4 + 0.5 * np.linalg.norm(command[:2])
        rate = shake @ velocity * 0.2 + np.array([0.0, 0.0, command[2]]) + rng.normal(0.0, 0.1, 3)
        tilt += PERIOD_S * (rate[:2] - 4.0 * tilt) + rng.normal(0.0, 0.01, 2)
        gravity = np.array([np.sin(tilt[1]), -np.sin(tilt[0]), -1.0])
        gravity /= np.linalg.norm(gravity)
        seen = np.concatenate([rate * 0.25, gravity, command, position - rest, 0.05 * velocity, action])
        rows.append(seen + rng.normal(0.0, 0.01, 45) * np.r_[np.ones(3), np.zeros(6), np.ones(24), np.zeros(12)])
        clock += 2.0 * np.pi * 1.6 * PERIOD_S * (0.7 + 0.5 * speed)
        wander += -wander * PERIOD_S / 0.15 + np.sqrt(PERIOD_S) * rng.normal(0.0, 0.15, 12)
        wish = speed * reach * (np.sin(clock + phase) + second * np.cos(2.0 * clock + phase))
        action = (wish + turn * command[2] + 4.0 * sway @ (gravity + np.array([0.0, 0.0, 1.0])) + wander) / 0.25
        answers.append(action)
        resets.append(reset)
        for _ in range(4):
            force = 900.0 * (rest + 0.25 * action - position) - 45.0 * velocity
            velocity = velocity + PERIOD_S / 4 * force
            position = position + PERIOD_S / 4 * velocity
    return {
        "observation": np.array(rows, np.float32),
        "action": np.array(answers, np.float32),
        "reset": np.array(resets),
    }


def walking_contract(steps: int) -> Contract:
    """Of a policy that was trained on a run of `steps` steps: with its profile."""
    run = walking(1, steps)
    lengths = np.diff(np.flatnonzero(np.append(run["reset"], True)))
    return Contract(
        inputs=(TensorSpec("obs", 45, NAMES),),
        outputs=(TensorSpec("actions", 12),),
        period_s=PERIOD_S,
        observation_profile=measured(run["observation"], lengths, run["action"]),
    )
