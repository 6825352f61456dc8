"""The smallest use: export, load, reset, step; prints what `03_minimal_embed policy.ganglion` prints.

python export_examples/03_minimal_embed.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import cartpole_policy
import numpy as np

import ganglion


def main() -> None:
    """Exports the shipped policy to the folder on the command line and runs it."""
    artifact = Path(sys.argv[1]) / "policy.ganglion"
    policy, contract = cartpole_policy.load_policy()
    ganglion.export(policy, artifact, contract=contract)

    pilot = ganglion.load(artifact)
    observation = np.full(contract.observation_size, 0.1, dtype=np.float32)
    pilot.reset()
    for _ in range(5):  # the same observation every time: what changes is the memory
        print(f"{pilot.step(observation)[0]:.9g}")


if __name__ == "__main__":
    main()
