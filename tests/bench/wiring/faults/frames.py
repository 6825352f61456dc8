"""Quaternions and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..layouts import VECTORS, Layout
from .base import Plant, Planted, pick

if TYPE_CHECKING:
    from numpy.random import Generator

    from ..motion import Raw


def quaternion(**changes: object) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        return (layout.with_term("base_quat", **changes), dict(changes)) if layout.term("base_quat") else None

    return plant


def mounted(quarter: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        """The IMU sits turned in the robot: all of its vectors, or one."""
        terms = (
            tuple(n for n in ("base_ang_vel", "projected_gravity") if layout.term(n)) if rng.uniform() < 0.5 else None
        )
        one = pick(rng, layout, VECTORS, clipped=False)
        terms = terms or ((one.name,) if one else ())
        if any(term.clip is not None for term in layout.terms if term.name in terms):
            return None
        if quarter:
            axis, angle = np.eye(3)[rng.integers(3)] * rng.choice([-1, 1]), np.pi / 2 * rng.integers(1, 3)
        else:
            axis, angle = rng.normal(size=3), rng.uniform(0.3, 2.8)
        axis = axis / np.linalg.norm(axis)
        skew = np.cross(np.eye(3), axis)
        matrix = np.eye(3) - np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
        for name in terms:
            layout = layout.with_term(name, turned=tuple(map(tuple, np.round(matrix, 12).tolist())))
        return layout, {"terms": list(terms), "matrix": np.round(matrix, 12).tolist()}

    return plant


def other_frame(known: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        if known != (layout.term("base_quat") is not None):
            return None
        term = pick(rng, layout, ("base_lin_vel", "base_ang_vel"), clipped=False)
        if term is None or (not known and layout.term("projected_gravity") is None):
            return None
        how = "body_for_world" if term.world else "world_for_body"
        return layout.with_term(term.name, world=not term.world), {"term": term.name, "frame": how}

    return plant


def up(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    if layout.term("projected_gravity") is None:
        return None
    return layout.with_term("projected_gravity", negated=True), {"frame": "negated_gravity"}
