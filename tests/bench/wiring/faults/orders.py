"""Elements, joints and terms in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..layouts import JOINTS, VECTORS, Layout
from ..robots import load
from .base import Plant, Planted, pick

if TYPE_CHECKING:
    from numpy.random import Generator

    from ..motion import Raw


def swap(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    term = pick(rng, layout, (*VECTORS, "command", *JOINTS, "phase"), 2)
    if term is None:
        return None
    size = len(layout.elements(term))
    moved = rng.choice(size, size=min(size, int(rng.integers(2, 5))), replace=False)
    order = np.arange(size)
    order[moved] = np.roll(moved, 1)
    return layout.with_term(term.name, order=tuple(order.tolist())), {"term": term.name, "order": order.tolist()}


def joint_order(which: str) -> Plant:
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
                ahead = [
                    other
                    for other, (s, d) in enumerate(stems)
                    if s == stem and d == -side and other not in partner.values()
                ]
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


def terms_swapped(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    one, other = rng.choice(len(layout.terms), size=2, replace=False)
    terms = list(layout.terms)
    terms[one], terms[other] = terms[other], terms[one]
    return replace(layout, terms=tuple(terms)), {"terms": [layout.terms[one].name, layout.terms[other].name]}


def default_unsorted(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    """Joints in another order, and the default pose taken before they are put in order."""
    planted = joint_order("random" if rng.uniform() < 0.5 else "tree")(rng, layout, raw)
    term = None if planted is None else planted[0].term("joint_pos")
    if planted is None or term is None or term.order is None:
        return None
    return planted[0].with_term("joint_pos", unsorted=True), planted[1] | {"default": "of another joint"}
