"""The TorchScript file in plain PyTorch, without ganglion: forward() steps, reset() starts over.

python export_examples/05_plain_libtorch.py FOLDER

writes FOLDER/policy.pt and prints what `05_plain_libtorch FOLDER/policy.pt` prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cartpole_policy
import torch

import ganglion


def main() -> None:
    """Exports the shipped policy to the folder on the command line and runs the file."""
    artifact = Path(sys.argv[1]) / "policy.pt"
    policy, contract = cartpole_policy.load_policy()
    ganglion.export(policy, artifact, contract=contract)

    scripted = torch.jit.load(artifact)
    observation = torch.full((scripted.input_size,), 0.1)
    for _ in range(2):  # the second run repeats the first: reset() forgets everything
        scripted.reset()
        with torch.inference_mode():
            for _ in range(5):
                print(f"{scripted(observation)[0].item():.9g}")


if __name__ == "__main__":
    main()
