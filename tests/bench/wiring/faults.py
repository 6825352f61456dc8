"""Every fault of the family, as a setting of the adapter that is not the one of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .layouts import JOINTS, VECTORS, Layout, Term, bite, observe
from .motion import ACTION_SCALE, Raw
from .robots import load

if TYPE_CHECKING:
    from numpy.random import Generator

Planted = tuple[Layout, dict[str, Any]]
"""The layout with the fault, and what was done, as JSON."""
Plant = Callable[["Generator", Layout, Raw], "Planted | None"]


@dataclass(frozen=True)
class Fault:
    """One way to be wrong.

    Attributes:
        name: of the variant, for the table.
        kinds: what a report must call it, by `ganglion.wiring.KINDS`.
        plant: makes it; None where the layout has no place for it.
        group: faults of one group on the same elements are one fault for everybody who looks at numbers.
        quaternion: it needs the base's orientation in the observation.
        frames: it needs a history (True), or one of none (False); None for either.
    """

    name: str
    kinds: tuple[str, ...]
    plant: Plant
    group: str = ""
    quaternion: bool = False
    frames: bool | None = None


def _pick(rng: Generator, layout: Layout, names: tuple[str, ...] | None = None, wide: int = 1, clipped: bool = True) -> Term | None:
    """A random term among those with these names and at least so many elements; `clipped`: also one that is clipped.

    A clip comes last: another scale before it is no scale behind it, and would be two faults.
    """
    fit = [one for one in layout.terms if (names is None or one.name in names) and len(layout.elements(one)) >= wide]
    fit = [one for one in fit if clipped or one.clip is None]
    return fit[rng.integers(len(fit))] if fit else None


def _some(rng: Generator, size: int, most: int = 3) -> list[int]:
    return sorted(rng.choice(size, size=rng.integers(1, min(size, most) + 1), replace=False).tolist())


# Orders.


def _swap(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = _pick(rng, layout, (*VECTORS, "command", *JOINTS, "phase"), 2)
    if term is None:
        return None
    size = len(layout.elements(term))
    moved = rng.choice(size, size=min(size, int(rng.integers(2, 5))), replace=False)
    order = np.arange(size)
    order[moved] = np.roll(moved, 1)
    return layout.with_term(term.name, order=tuple(order.tolist())), {"term": term.name, "order": order.tolist()}


def _joint_order(which: str) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        joints = load(layout.robot)[1]
        names = [joints[place].name for place in layout.joints]
        if which == "alphabetical":
            order = sorted(range(len(names)), key=lambda place: names[place])
        elif which == "tree":  # Breadth-first for depth-first, or the other way.
            depth_first = sorted(range(len(names)), key=lambda place: layout.joints[place])
            order = sorted(depth_first, key=lambda place: joints[layout.joints[place]].depth)
            order = depth_first if order == list(range(len(names))) else order
        elif which == "sides":  # The other side first, as Unitree's SDK has it.
            stems = [(joints[place].stem, joints[place].side) for place in layout.joints]
            partner = {}
            for place, (stem, side) in enumerate(stems):
                ahead = [other for other, (s, d) in enumerate(stems) if s == stem and d == -side and other not in partner.values()]
                partner[place] = ahead[0] if side and ahead else place
            order = [partner[place] for place in range(len(names))]
        else:
            order = rng.permutation(len(names)).tolist()
        if sorted(order) != list(range(len(names))) or order == list(range(len(names))):
            return None
        terms = JOINTS if rng.uniform() < 0.6 else (JOINTS[rng.integers(3)],)
        terms = tuple(name for name in terms if layout.term(name) is not None)
        for name in terms:
            layout = layout.with_term(name, order=tuple(order))
        return layout, {"terms": list(terms), "order": order}

    return plant


def _terms_swapped(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    one, other = rng.choice(len(layout.terms), size=2, replace=False)
    terms = list(layout.terms)
    terms[one], terms[other] = terms[other], terms[one]
    return replace(layout, terms=tuple(terms)), {"terms": [layout.terms[one].name, layout.terms[other].name]}


def _default_unsorted(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    """Joints in another order, and the default pose taken before they are put in order."""
    planted = _joint_order("random" if rng.uniform() < 0.5 else "tree")(rng, layout, raw)
    term = None if planted is None else planted[0].term("joint_pos")
    if planted is None or term is None or term.order is None:
        return None
    return planted[0].with_term("joint_pos", unsorted=True), planted[1] | {"default": "of another joint"}


# Signs, scales, units, offsets, clips.


def _sign_joint(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    """A motor that turns the other way: position, velocity and action."""
    size = len(layout.joints)
    places = _some(rng, size)
    sign = [-1 if place in places else 1 for place in range(size)]
    for name in JOINTS:
        layout = layout.with_term(name, sign=tuple(sign))
    return layout, {"terms": list(JOINTS), "places": places}


def _sign_some(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = _pick(rng, layout, ("base_lin_vel", "base_ang_vel", "command", *JOINTS, "phase"))
    if term is None:
        return None
    size = len(layout.elements(term))
    places = _some(rng, size)
    sign = tuple(-1 if place in places else 1 for place in range(size))
    return layout.with_term(term.name, sign=sign), {"term": term.name, "places": places}


def _scaled(how: str) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        scaled = tuple(one.name for one in layout.terms if one.scale != 1.0)
        term = _pick(rng, layout, scaled if how in ("never", "twice") else None, clipped=False)
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


def _scale_one(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = _pick(rng, layout, (*JOINTS, "command", "base_lin_vel", "base_ang_vel"), clipped=False)
    if term is None:
        return None
    size = len(layout.elements(term))
    places = _some(rng, size)
    factor = float(np.exp(rng.uniform(0.15, 1.2) * rng.choice([-1, 1])))
    scale = np.ones(size) * np.array(term.scale)
    scale[places] *= factor
    return layout.with_term(term.name, scale=tuple(scale.tolist())), {"term": term.name, "places": places, "factor": factor}


def _unit(back: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        term = _pick(rng, layout, ("joint_pos", "joint_vel", "base_ang_vel"), clipped=False)
        if term is None:
            return None
        factor = np.pi / 180 if back else 180 / np.pi
        return layout.with_term(term.name, factor=float(factor)), {"term": term.name, "factor": float(factor)}

    return plant


def _default(count: int) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        return layout.with_term("joint_pos", defaults=count), {"term": "joint_pos", "default": ["missing", "", "doubled"][count]}

    return plant


def _encoder(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    size = len(layout.joints)
    places = _some(rng, size)
    added = np.zeros(size)
    added[places] = rng.uniform(0.08, 0.5, size=len(places)) * rng.choice([-1, 1], size=len(places))
    return layout.with_term("joint_pos", added=tuple(added.tolist())), {"term": "joint_pos", "places": places, "added": added[places].tolist()}


def _no_clip(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = _pick(rng, layout, tuple(one.name for one in layout.terms if one.clip is not None))
    if term is None:
        return None
    return layout.with_term(term.name, clip=None), {"term": term.name, "missing": term.clip}


def _more_clip(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    term = _pick(rng, layout, ("joint_vel", "base_ang_vel", "base_lin_vel", "previous_action", "joint_pos"))
    if term is None or term.clip is not None:
        return None
    clip = bite(raw, layout, term, rng)
    return layout.with_term(term.name, clip=clip), {"term": term.name, "added": clip}


# Quaternions and frames.


def _quaternion(**changes: object) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        return (layout.with_term("base_quat", **changes), dict(changes)) if layout.term("base_quat") else None

    return plant


def _mounted(quarter: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        """The IMU sits turned in the robot: all of its vectors, or one."""
        terms = tuple(n for n in ("base_ang_vel", "projected_gravity") if layout.term(n)) if rng.uniform() < 0.5 else None
        one = _pick(rng, layout, VECTORS, clipped=False)
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


def _other_frame(known: bool) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        if known != (layout.term("base_quat") is not None):
            return None
        term = _pick(rng, layout, ("base_lin_vel", "base_ang_vel"), clipped=False)
        if term is None or (not known and layout.term("projected_gravity") is None):
            return None
        how = "body_for_world" if term.world else "world_for_body"
        return layout.with_term(term.name, world=not term.world), {"term": term.name, "frame": how}

    return plant


def _up(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    if layout.term("projected_gravity") is None:
        return None
    return layout.with_term("projected_gravity", negated=True), {"frame": "negated_gravity"}


# Time.


def _late(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    steps = int(rng.integers(1, 5))
    names = [one.name for one in layout.terms if one.name not in ("previous_action", "phase")]
    chosen = names if rng.uniform() < 0.3 else [names[rng.integers(len(names))]]
    for name in chosen:
        layout = layout.with_term(name, late=steps)
    return layout, {"terms": chosen, "steps": steps}


def _action_late(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    return layout.with_term("previous_action", late=1), {"term": "previous_action", "steps": 1}


def _action_as(what: str) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        term = layout.term("previous_action")
        if term is None or term.clip is not None:
            return None
        return layout.with_term("previous_action", action=what), {"term": "previous_action", "as": what, "factor": ACTION_SCALE}

    return plant


def _action_clipped(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    term = layout.term("previous_action")
    if term is None or term.clip is not None:
        return None
    clip = 1.0 if rng.uniform() < 0.5 else bite(raw, layout, term, rng)
    return layout.with_term("previous_action", clip=clip), {"term": "previous_action", "clip": clip}


def _difference(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    term = layout.term("joint_vel")
    if term is None or term.clip is not None:
        return None
    return layout.with_term("joint_vel", difference=True), {"term": "joint_vel", "of": "finite_difference"}


# History.


def _history(what: str) -> Plant:
    def plant(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
        if layout.frames < 2:
            return None
        if what == "order":
            changes: dict[str, Any] = {"newest_first": not layout.newest_first}
        elif what == "layout":
            changes = {"major": "frame" if layout.major == "term" else "term"}
        elif what == "stride":
            changes = {"stride": int(rng.integers(2, 4))}
        elif what == "extra":
            changes = {"extra": 1}
        elif what == "partly":
            if layout.prefill != "repeat" or layout.frames < 3:
                return None
            changes = {"prefill": "partly"}
        else:
            changes = {"prefill": "zeros" if layout.prefill == "repeat" else "repeat"}
        return replace(layout, **changes), changes | {"frames": layout.frames, "major": layout.major}

    return plant


def _normalised(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    """A running normaliser that saw other steps than these, near to them; spread of nothing is 1, as it begins."""
    values = observe(raw, layout).astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    mean += rng.normal(scale=0.05, size=len(mean)) * std
    std = np.where(std < 1e-3, 1.0, std * np.exp(rng.normal(scale=0.05, size=len(std))))
    return replace(layout, normaliser=(tuple(mean.tolist()), tuple(std.tolist()))), {"mean": mean.tolist(), "std": std.tolist()}


FAULTS = (
    Fault("elements of a term swapped", ("permutation",), _swap, "order"),
    Fault("joints: random order", ("permutation",), _joint_order("random"), "order"),
    Fault("joints: alphabetical", ("permutation",), _joint_order("alphabetical"), "order"),
    Fault("joints: breadth-first / depth-first", ("permutation",), _joint_order("tree"), "order"),
    Fault("joints: other side first", ("permutation",), _joint_order("sides"), "order"),
    Fault("two terms swapped", ("permutation",), _terms_swapped, "order"),
    Fault("sign of a motor", ("sign",), _sign_joint, "affine"),
    Fault("sign of elements", ("sign",), _sign_some, "affine"),
    Fault("scale never", ("scale",), _scaled("never"), "affine"),
    Fault("scale twice", ("scale",), _scaled("twice"), "affine"),
    Fault("scale, known factor", ("scale",), _scaled("known"), "affine"),
    Fault("scale, unknown factor", ("scale",), _scaled("unknown"), "affine"),
    Fault("scale of elements", ("scale",), _scale_one, "affine"),
    Fault("degrees for radians", ("unit",), _unit(False), "affine"),
    Fault("radians taken for degrees", ("unit",), _unit(True), "affine"),
    Fault("default pose missing", ("offset",), _default(0), "offset"),
    Fault("default pose doubled", ("offset",), _default(2), "offset"),
    Fault("encoder offset", ("offset",), _encoder, "offset"),
    Fault("clip missing", ("clip",), _no_clip, "clip"),
    Fault("clip added", ("clip",), _more_clip, "clip"),
    Fault("quaternion xyzw", ("quaternion_order",), _quaternion(scalar_last=True), "quaternion", quaternion=True),
    Fault("quaternion conjugate", ("quaternion_conjugate",), _quaternion(conjugate=True), "quaternion", quaternion=True),
    Fault("quaternion w >= 0", ("sign",), _quaternion(cover="positive"), "quaternion", quaternion=True),
    Fault("quaternion negated", ("sign",), _quaternion(cover="flipped"), "quaternion", quaternion=True),
    Fault("fixed rotation, quarter turns", ("frame",), _mounted(True), "frame"),
    Fault("fixed rotation, any", ("frame",), _mounted(False), "frame"),
    Fault("world and body frame, orientation observed", ("frame",), _other_frame(True), "frame", quaternion=True),
    Fault("world and body frame, orientation not observed", ("frame",), _other_frame(False), "frame"),
    Fault("gravity negated", ("frame",), _up, "frame"),
    Fault("late by steps", ("lag",), _late, "lag"),
    Fault("previous action late", ("lag",), _action_late, "lag"),
    Fault("previous action scaled", ("scale",), _action_as("scaled"), "affine"),
    Fault("previous action as joint targets", ("scale", "offset"), _action_as("targets"), "affine"),
    Fault("previous action clipped", ("clip",), _action_clipped, "clip"),
    Fault("finite-difference velocity", ("lag",), _difference, "lag"),
    Fault("history newest first", ("history_order",), _history("order"), "history", frames=True),
    Fault("history frame-major / term-major", ("history_layout",), _history("layout"), "history", frames=True),
    Fault("history stride", ("history_layout",), _history("stride"), "history", frames=True),
    Fault("history one frame too many", ("history_layout",), _history("extra"), "history", frames=True),
    Fault("prefill zeros / first frame", ("prefill",), _history("prefill"), "history", frames=True),
    Fault("prefill partly", ("prefill",), _history("partly"), "history", frames=True),
    Fault("normaliser twice", ("double_normalised",), _normalised, "affine"),
)
COMPOUND = (Fault("joint order, default pose of another joint", ("permutation", "offset"), _default_unsorted, "order"),)
"""Two faults that come together; they count among the pairs."""
