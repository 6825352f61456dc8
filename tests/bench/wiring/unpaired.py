"""Settings without pairs: some runs of training, and the log of another run that an adapter with a fault wrote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .cases import FOLDER, RUNS, Planted, _generator, plant, robots_of
from .draws import draw_layout
from .faults import FAULTS, Fault
from .layouts import Layout, observe
from .motion import Raw, recorded

LAYOUTS = ("plain", "quaternion", "history")
"""One of each for every robot."""
LONGEST = 260
"""Elements of a history, so that the bench ends in time."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A policy's training.

    Attributes:
        robot: whose.
        layout: of its observations.
        observation: of three runs of 60 s, `[9000, n]`.
        action: the same, `[9000, m]`, in the policy's order.
        reset: `[9000]`.
    """

    half: str
    robot: str
    which: str
    layout: Layout
    observation: np.ndarray
    action: np.ndarray
    reset: np.ndarray
    log: int

    @property
    def label(self) -> str:
        """A file's name."""
        return f"{self.robot}-{self.which}-{self.log}"


@dataclass(frozen=True, eq=False)
class Log:
    """60 s of a robot: `planted` is None for a healthy adapter, and `healthy` what that would have seen."""

    setting: Setting
    planted: Planted | None
    healthy: np.ndarray
    observation: np.ndarray
    action: np.ndarray
    reset: np.ndarray
    adapter: Layout


@lru_cache(maxsize=4)
def setting(half: str, robot: str, which: str, log: int) -> Setting:
    """A random layout of a kind; `log`, 0 to 3, says which of the four runs is kept from training."""
    rng = _generator(half, f"setting {robot} {which}", log)
    runs = [raw for place, raw in enumerate(_runs(half, robot)) if place != log]
    layout = draw_layout(robot, runs[0], rng, which == "quaternion", which == "history", LONGEST)
    return Setting(
        half, robot, which, layout, np.concatenate([observe(raw, layout) for raw in runs]),
        np.concatenate([_action(raw, layout) for raw in runs]), np.concatenate([raw.reset for raw in runs]), log,
    )  # fmt: skip


def flown(made: Setting, fault: Fault | None, seed: int) -> Log | None:
    """The log of the run that training did not see; None where the fault has no place in the layout."""
    raw = _runs(made.half, made.robot)[made.log]
    rng = _generator(made.half, f"log {made.label} {fault.name if fault else ''}", seed)
    adapter, planted = made.layout, None
    if fault is not None:
        done = plant(made.layout, raw, (fault,), rng)
        if done is None:
            return None
        adapter, (planted,) = done
    healthy, action = observe(raw, made.layout), _action(raw, made.layout)
    return Log(made, planted, healthy, observe(raw, adapter), action, raw.reset.copy(), adapter)


def settings(half: str) -> list[tuple[str, str, int]]:
    """Every robot with every kind of layout, and the run that is kept from training."""
    return [
        (robot, which, (place + number) % 4)
        for place, robot in enumerate(robots_of(half))
        for number, which in enumerate(LAYOUTS)
    ]


def possible(made: Setting) -> list[Fault]:
    """Faults that the layout has a place for."""
    return [fault for fault in FAULTS if flown(made, fault, 0) is not None]


def _runs(half: str, robot: str) -> list[Raw]:
    return [recorded(robot, seed, FOLDER) for seed in RUNS[half]]


def _action(raw: Raw, layout: Layout) -> np.ndarray:
    return raw.action[:, list(layout.joints)].astype(np.float32)
