"""What the tests of `make dist-test` share: the packages that `make dist` made, and a flight of the demo's policy."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cartpole
import pytest

import ganglion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "dist-test"
for _folder in (ROOT / "packages", ROOT / "tests" / "packages"):
    sys.path.insert(0, str(_folder))


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that `make dist` fills."""
    folder = Path(os.environ.get("GANGLION_DIST", ROOT / "dist"))
    assert list(folder.glob("*.whl")), f"{folder} has no packages: make dist"
    return folder


@dataclass(frozen=True)
class Flight:
    """The demo's policy and one of its flights, of 10,000 steps, as it went in this checkout's own build.

    Attributes:
        folder: has policy.ganglion, observations.csv (for ganglion-run) and actions.csv, what ganglion-run answers.
        forces: `[10000]` in newtons, what Python's runtime answered in the simulation.
    """

    folder: Path
    forces: NDArray[np.float32]


@pytest.fixture(scope="session")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Flight:
    folder = tmp_path_factory.mktemp("flight")
    policy = folder / "policy.ganglion"
    exported = [sys.executable, "-m", "ganglion", "export", ROOT / "export_examples/cartpole_policy.py", "-o", policy]
    subprocess.run(exported, check=True, capture_output=True)
    pilot = ganglion.load(policy)
    trace = cartpole.fly(cartpole.load_model(), lambda seen: float(pilot.step(seen)[0]), pilot.reset,
                         cartpole.read_starts(cartpole.STARTS_FILE)[:1])  # fmt: skip
    half = len(trace.force) // 2
    rows = [f"{int(i % half == 0)},{x:.9g},{angle:.9g}\n" for i, (x, angle) in enumerate(trace.observation)]
    (folder / "observations.csv").write_text("reset,cart_position,pole_angle\n" + "".join(rows), encoding="utf-8")
    run = Path(ganglion.__file__).parent / "bin" / "ganglion-run"
    if not run.exists():  # an editable install keeps what is built elsewhere
        run = ROOT / "build" / "python" / "cpp" / "tools" / "ganglion-run"
    subprocess.run([run, "--state", policy, folder / "observations.csv", folder / "actions.csv"], check=True)
    return Flight(folder, trace.force)
