"""Writes the shipped policy as headers, and prints what `06_header.cpp` and `06_header.c`, compiled with them, print.

python export_examples/06_header.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import cartpole_policy
import torch

import ganglion


def main() -> None:
    """Exports the policy to the folder on the command line and runs it in PyTorch."""
    policy, contract = cartpole_policy.load_policy()
    for name in ("policy.hpp", "policy.h"):
        contract = ganglion.export(policy, Path(sys.argv[1]) / name, contract=contract)

    observation = torch.full((contract.observation_size,), 0.1)
    hidden = policy.eval().init_hidden()
    with torch.inference_mode():
        for _ in range(5):  # the same observation every time: what changes is the memory
            action, hidden = policy(observation, hidden)
            print(f"{action[0].item():.6f} {contract.outputs[0].units[0]}")


if __name__ == "__main__":
    main()
