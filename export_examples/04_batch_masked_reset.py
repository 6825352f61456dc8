"""One artifact steers eight robots. Three of them start over; the others never notice.

python export_examples/04_batch_masked_reset.py FOLDER

writes FOLDER/robots.ganglion and prints what `04_batch_masked_reset FOLDER/robots.ganglion` prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cartpole_policy
import numpy as np

import ganglion

ROBOTS = 8
STEPS_BEFORE, STEPS_AFTER = 50, 5


def main() -> None:
    """Exports a batch artifact to the folder on the command line, and resets some of its rows in flight."""
    artifact = Path(sys.argv[1]) / "robots.ganglion"
    policy, _ = cartpole_policy.load_policy()
    ganglion.export(policy, artifact, contract=cartpole_policy.cartpole_contract(policy, batch=ROBOTS))

    pilot = ganglion.load(artifact)
    undisturbed = pilot.clone()  # the same weights with a state of its own, for comparison
    starts_over = np.arange(ROBOTS) % 3 == 1
    forces = expected = np.zeros((ROBOTS, 1), dtype=np.float32)
    for step in range(STEPS_BEFORE + STEPS_AFTER):
        if step == STEPS_BEFORE:
            pilot.reset(starts_over)
        seen = np.float32(0.001) * np.arange(1, ROBOTS + 1, dtype=np.float32) * np.float32(step % 20)
        observations = np.repeat(seen[:, None], 2, axis=1)
        forces = pilot.step(observations)
        expected = undisturbed.step(observations)

    continued = forces[:, 0] == expected[:, 0]
    for row in range(ROBOTS):
        what = "continued" if continued[row] else "started over"
        print(f"robot {row} {what} force {forces[row, 0]:.9g} N")
    if not np.array_equal(continued, ~starts_over):
        sys.exit("a masked reset touched other rows, or left its own")


if __name__ == "__main__":
    main()
