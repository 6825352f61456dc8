"""A flight of the cart-pole that is recorded, had again bit for bit from its file alone, and drawn.

    python export_examples/09_record_and_replay.py OUT.mcap policy.ganglion [--seconds 20]
    python export_examples/09_record_and_replay.py OUT.mcap

The first line flies: MuJoCo runs at 1 kHz, the policy at its 500 Hz, and half-way the cart goes to another start and
the policy forgets. The second one takes a recording that is there, such as one of `09_record_and_replay.cpp`. Both
replay it, and write a page beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cartpole
import mujoco
import numpy as np
from rich.console import Console

import ganglion

PHYSICS_S = 0.001


def fly(artifact: Path, out: Path, seconds: float) -> None:
    """Flies a policy, with everything that happens to it recorded."""
    model = cartpole.load_model()
    model.opt.timestep = PHYSICS_S
    data = mujoco.MjData(model)
    starts = cartpole.read_starts(cartpole.STARTS_FILE)
    pilot = ganglion.load(artifact)
    cadence = ganglion.Cadence(pilot.contract, loop_period_s=PHYSICS_S)
    with ganglion.FlightRecorder.open(out, overwrite=True, snapshot_s=5.0) as recorder:
        pilot.attach(recorder)
        state = recorder.channel("cart_state", 4)
        ticks = round(seconds / PHYSICS_S)
        for tick in range(ticks):
            now_ns = round(tick * PHYSICS_S * 1e9)
            recorder.set_time(now_ns)  # simulated; on a robot the recorder takes the time itself
            if tick % (ticks // 2) == 0:
                start = starts[tick // (ticks // 2) % len(starts)]
                mujoco.mj_resetData(model, data)
                data.qpos[:], data.qvel[:] = start[:2], start[2:]
                pilot.reset()
            if cadence.due(now_ns):
                data.ctrl[0] = pilot.step(data.qpos.astype(np.float32))[0]
                state.record(np.concatenate([data.qpos, data.qvel]))
            if tick % 1000 == 999:
                recorder.flush()  # a simulation can be faster than the disk
            mujoco.mj_step(model, data)


def main() -> None:
    """Flies, replays, draws."""
    parser = argparse.ArgumentParser(description="Record a flight of the cart-pole, and have it again.")
    parser.add_argument("recording", type=Path, help="the recording, to be written or read")
    parser.add_argument("artifact", type=Path, nargs="?", help="exported policy to fly; none: the recording is there")
    parser.add_argument("--seconds", type=float, default=20.0, help="of simulated flight")
    arguments = parser.parse_args()
    if arguments.artifact is not None:
        fly(arguments.artifact, arguments.recording, arguments.seconds)

    report = ganglion.replay(arguments.recording)  # the policy comes out of the recording
    Console().print(report)
    flight = ganglion.flight.read(arguments.recording)
    angle = flight.policy().observation[:, 0, 1]
    print(f"pole angle: {np.abs(angle).max():.4f} rad at most, {np.abs(angle[-1]):.4f} rad at the end")
    page = arguments.recording.with_suffix(".html")
    ganglion.flight.report(arguments.recording, page)
    print(f"page: {page}")
    sys.exit(0 if report.ok and np.abs(angle[-1]) < cartpole.SETTLED_ANGLE_RAD else 1)


if __name__ == "__main__":
    main()
