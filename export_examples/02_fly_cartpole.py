"""The flights of `02_fly_cartpole.cpp` from Python: `ganglion.load` for a file, PyTorch where no file is given.

    python export_examples/02_fly_cartpole.py OUT.csv policy.ganglion [--engine native]
    python export_examples/02_fly_cartpole.py OUT.csv

Both fly the same starts, and both write the same CSV as the C++ program.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cartpole
import cartpole_policy
import torch

import ganglion


def main() -> None:
    """Flies, writes the trace, prints one line."""
    parser = argparse.ArgumentParser(description="Fly the cart-pole policy from Python.")
    parser.add_argument("out", type=Path, help="CSV file to write")
    parser.add_argument("artifact", type=Path, nargs="?", help="exported policy; none: the policy itself, in PyTorch")
    parser.add_argument("--starts", type=Path, default=cartpole.STARTS_FILE)
    parser.add_argument("--engine", default="automatic")
    arguments = parser.parse_args()

    model = cartpole.load_model()
    starts = cartpole.read_starts(arguments.starts)
    if arguments.artifact is None:
        torch.set_num_threads(1)
        policy, _ = cartpole_policy.load_policy()
        controller = cartpole_policy.TorchController(policy, rows=1)
        trace = cartpole.fly(model, lambda seen: float(controller(seen[None])[0]), controller.reset, starts)
        name = "pytorch"
    else:
        pilot = ganglion.load(arguments.artifact, engine=arguments.engine)
        trace = cartpole.fly(model, lambda seen: float(pilot.step(seen)[0]), pilot.reset, starts)
        name = pilot.engine
    trace.save(arguments.out)
    print(f"{name}: {trace.summary()}")
    sys.exit(0 if trace.balanced else 1)


if __name__ == "__main__":
    main()
