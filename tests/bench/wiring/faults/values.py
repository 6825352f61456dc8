"""Signs, scales, units, offsets and clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..draws import bite
from ..layouts import JOINTS, Layout
from .base import Plant, Planted, pick, some

if TYPE_CHECKING:
    from numpy.random import Generator

    from ..motion import Raw


def sign_joint(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    """A motor that turns the other way: position, velocity and action."""
    size = len(layout.joints)
    places = some(rng, size)
    sign = [-1 if place in places else 1 for place in range(size)]
    for name in JOINTS:
        layout = layout.with_term(name, sign=tuple(sign))
    return layout, {"terms": list(JOINTS), "places": places}


def sign_elements(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = pick(rng, layout, ("base_lin_vel", "base_ang_vel", "command", *JOINTS, "phase"))
    if term is None:
        return None
    size = len(layout.elements(term))
    places = some(rng, size)
    sign = tuple(-1 if place in places else 1 for place in range(size))
    return layout.with_term(term.name, sign=sign), {"term": term.name, "places": places}


def scaled(how: str) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        scaled = tuple(one.name for one in layout.terms if one.scale != 1.0)
        term = pick(rng, layout, scaled if how in ("never", "twice") else None, clipped=False)
        if term is None or (term.name == "base_quat" and how != "never"):
            return None
        scale = np.array(term.scale)
        if how == "never":
            new = np.ones_like(scale)
        elif how == "twice":
            new = scale * scale
        elif how == "known":
            new = scale * rng.choice([f for f in (0.25, 0.05, 2.0, 0.5, 0.1, 10.0, 4.0, 20.0) if f != term.scale])
        else:
            new = scale * np.exp(rng.uniform(0.15, 1.2) * rng.choice([-1, 1]))
        value = float(new) if new.ndim == 0 else tuple(new.tolist())
        return layout.with_term(term.name, scale=value), {"term": term.name, "factor": (new / scale).tolist()}

    return plant


def scale_one(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = pick(rng, layout, (*JOINTS, "command", "base_lin_vel", "base_ang_vel"), clipped=False)
    if term is None:
        return None
    size = len(layout.elements(term))
    places = some(rng, size)
    factor = float(np.exp(rng.uniform(0.15, 1.2) * rng.choice([-1, 1])))
    scale = np.ones(size) * np.array(term.scale)
    scale[places] *= factor
    return layout.with_term(term.name, scale=tuple(scale.tolist())), {
        "term": term.name,
        "places": places,
        "factor": factor,
    }


def unit(back: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        term = pick(rng, layout, ("joint_pos", "joint_vel", "base_ang_vel"), clipped=False)
        if term is None:
            return None
        factor = np.pi / 180 if back else 180 / np.pi
        return layout.with_term(term.name, factor=float(factor)), {"term": term.name, "factor": float(factor)}

    return plant


def default(count: int) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        return layout.with_term("joint_pos", defaults=count), {
            "term": "joint_pos",
            "default": ["missing", "", "doubled"][count],
        }

    return plant


def encoder(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    size = len(layout.joints)
    places = some(rng, size)
    added = np.zeros(size)
    added[places] = rng.uniform(0.08, 0.5, size=len(places)) * rng.choice([-1, 1], size=len(places))
    return layout.with_term("joint_pos", added=tuple(added.tolist())), {
        "term": "joint_pos",
        "places": places,
        "added": added[places].tolist(),
    }


def no_clip(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = pick(rng, layout, tuple(one.name for one in layout.terms if one.clip is not None))
    if term is None:
        return None
    return layout.with_term(term.name, clip=None), {"term": term.name, "missing": term.clip}


def more_clip(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    term = pick(rng, layout, ("joint_vel", "base_ang_vel", "base_lin_vel", "previous_action", "joint_pos"))
    if term is None or term.clip is not None:
        return None
    clip = bite(raw, layout, term, rng)
    return layout.with_term(term.name, clip=clip), {"term": term.name, "added": clip}
