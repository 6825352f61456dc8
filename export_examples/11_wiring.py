"""A four-legged robot whose adapter has three faults, put right from the report alone.

    python export_examples/11_wiring.py RUN.npz
    python export_examples/11_wiring.py RUN.npz ADAPTER.npz

The first line moves gymnasium's Ant, and records its states beside what its policy would see. The second one compares
that with what an adapter made of the states: one that is written there, such as by `11_wiring.cpp`, or, where there is
no such file, the same adapter in Python. What the report says is wrong is then undone with its correction.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
from rich.console import Console

import ganglion.wiring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganglion.wiring import RawState

STEPS = 1000
BUS = [2, 3, 0, 1, 6, 7, 4, 5]
"""The legs as the bus of the motors has them."""


def move(out: Path) -> None:
    """Every joint swings at a rate of its own, so that no two of them look alike."""
    env = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False, max_episode_steps=250)
    rate, phase = np.linspace(0.7, 1.6, 8), np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, 8)
    with ganglion.wiring.record(env, out):
        env.reset(seed=0)
        for step in range(STEPS):
            action = 0.6 * np.sin(2.0 * np.pi * rate * step * 0.05 + phase)
            *_, fallen, over, _ = env.step(action.astype(np.float32))
            if fallen or over:
                env.reset()


def adapter(raw: RawState) -> NDArray[np.float64]:
    """The robot's: joints in the bus's order, their speed in degrees, angular velocity in the frame of the world."""
    qpos, qvel = raw["qpos"], raw["qvel"]
    w, axis, rate = qpos[3], qpos[4:7], qvel[3:6]
    once = np.cross(axis, rate)
    turned = rate + 2.0 * (w * once + np.cross(axis, once)) / (qpos[3:7] @ qpos[3:7])
    return np.concatenate([qpos[2:7], qpos[7:][BUS], qvel[:3], turned, np.rad2deg(qvel[6:][BUS])])


def main() -> None:
    """Records, or compares and corrects."""
    parser = argparse.ArgumentParser(description="Find what is wrong with the adapter of a four-legged robot.")
    parser.add_argument("run", type=Path, help="the recording, to be written or read")
    parser.add_argument("adapter", type=Path, nargs="?", help="what the adapter made of it; none: record")
    arguments = parser.parse_args()
    if arguments.adapter is None:
        move(arguments.run)
        print(f"{arguments.run}: {STEPS} steps")
        return
    if not arguments.adapter.exists():
        ganglion.wiring.check_adapter(arguments.run, adapter, arguments.adapter)

    report = ganglion.wiring(trained=arguments.run, found=arguments.adapter)
    Console().print(report)
    report.save(arguments.adapter.with_suffix(".html"))
    with np.load(arguments.adapter) as found:
        put_right = report.correction.apply(found["observation"], found["reset"])
        again = ganglion.wiring(
            trained=arguments.run, found={"observation": put_right, "reset": found["reset"]}, tolerance=1e-5
        )
    print(f"with the correction: {again.verdict}")
    sys.exit(0 if again.equal else 1)


if __name__ == "__main__":
    main()
