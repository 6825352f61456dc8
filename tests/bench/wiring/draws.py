"""Random layouts of training, after those that are deployed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .layouts import Layout, Term, term_of
from .robots import breadth_first, load

if TYPE_CHECKING:
    from .motion import Raw

_STYLES = (
    # legged_gym: velocities with scales of 2 and 0.25, joint velocities with 0.05.
    (
        (("base_lin_vel", 2.0), ("base_ang_vel", 0.25), ("projected_gravity", 1.0), ("command", (2.0, 2.0, 0.25)),
         ("joint_pos", 1.0), ("joint_vel", 0.05), ("previous_action", 1.0)), 0.6,
    ),
    # Isaac Lab's velocity task, without scales.
    (
        (("base_lin_vel", 1.0), ("base_ang_vel", 1.0), ("projected_gravity", 1.0), ("command", 1.0),
         ("joint_pos", 1.0), ("joint_vel", 1.0), ("previous_action", 1.0)), 1.0,
    ),
    # unitree_rl_gym: no linear velocity, a phase.
    (
        (("base_ang_vel", 0.25), ("projected_gravity", 1.0), ("command", (2.0, 2.0, 0.25)),
         ("joint_pos", 1.0), ("joint_vel", 0.05), ("previous_action", 1.0), ("phase", 1.0)), 0.3,
    ),
    # gymnasium: height and quaternion, velocities as MuJoCo has them.
    (
        (("base_height", 1.0), ("base_quat", 1.0), ("joint_pos", 1.0), ("base_lin_vel", 1.0), ("base_ang_vel", 1.0),
         ("joint_vel", 1.0), ("command", 1.0), ("previous_action", 1.0)), 0.0,
    ),
    # An estimator's quaternion beside everything else.
    (
        (("base_quat", 1.0), ("base_lin_vel", 2.0), ("base_ang_vel", 0.25), ("projected_gravity", 1.0),
         ("joint_pos", 1.0), ("joint_vel", 0.05), ("command", 1.0), ("previous_action", 1.0), ("phase", 1.0)), 0.4,
    ),
)  # fmt: skip


def draw_layout(
    robot: str,
    raw: Raw,
    rng: np.random.Generator,
    quaternion: bool = False,
    frames: bool | None = None,
    longest: int = 420,
) -> Layout:
    """A random layout of training.

    Args:
        robot: whose.
        raw: any run of it; where clips lie is taken from it.
        rng: what is drawn with.
        quaternion: only layouts with the base's orientation.
        frames: only with a history, only without one, or either.
        longest: a history takes no more elements.
    """
    styles = _STYLES[3:] if quaternion else _STYLES
    terms, world_share = styles[rng.integers(len(styles))]
    made = [Term(name, scale) for name, scale in terms]
    if rng.uniform() < 0.3:
        made = [made[place] for place in rng.permutation(len(made))]
    has_quaternion = any(one.name == "base_quat" for one in made)
    if has_quaternion and rng.uniform() > world_share:
        made = [replace(one, world=True) if one.name == "base_lin_vel" else one for one in made]
    joints = list(range(len(load(robot)[1])))
    if rng.uniform() < 0.4:
        joints = breadth_first(load(robot)[1])
    layout = Layout(robot, tuple(made), tuple(joints))
    size = len(layout.names)
    most = min(6, longest // size)
    if frames or (frames is None and most > 1 and rng.uniform() < 0.4):
        layout = replace(
            layout, frames=int(rng.integers(3, most + 1)) if most >= 3 else 2,
            major=str(rng.choice(["term", "frame"])), prefill=str(rng.choice(["repeat", "repeat", "zeros"])),
        )  # fmt: skip
    for name in ("joint_vel", "base_ang_vel", "previous_action"):
        term = layout.term(name)
        if term is not None and rng.uniform() < 0.25:
            layout = layout.with_term(name, clip=bite(raw, layout, term, rng))
    return layout


def bite(raw: Raw, layout: Layout, term: Term, rng: np.random.Generator) -> float:
    """A clip of two digits that cuts a share of a term's values."""
    values = np.abs(term_of(raw, layout, replace(term, clip=None)))
    return float(f"{np.quantile(values, rng.uniform(0.9, 0.98)):.2g}") or 0.01
