"""Delays, previous actions, finite differences, histories, normalisers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draws import bite
from ..layouts import Layout, observe
from ..motion import ACTION_SCALE, Raw

if TYPE_CHECKING:
    from numpy.random import Generator

    from .base import Plant, Planted


def late(rng: Generator, layout: Layout, _: Raw) -> Planted | None:
    steps = int(rng.integers(1, 5))
    names = [one.name for one in layout.terms if one.name not in ("previous_action", "phase")]
    chosen = names if rng.uniform() < 0.3 else [names[rng.integers(len(names))]]
    for name in chosen:
        layout = layout.with_term(name, late=steps)
    return layout, {"terms": chosen, "steps": steps}


def action_late(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    return layout.with_term("previous_action", late=1), {"term": "previous_action", "steps": 1}


def action_as(what: str) -> Plant:
    def plant(_: Generator, layout: Layout, __: Raw) -> Planted | None:
        term = layout.term("previous_action")
        if term is None or term.clip is not None:
            return None
        return layout.with_term("previous_action", action=what), {
            "term": "previous_action",
            "as": what,
            "factor": ACTION_SCALE,
        }

    return plant


def action_clipped(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    term = layout.term("previous_action")
    if term is None or term.clip is not None:
        return None
    clip = 1.0 if rng.uniform() < 0.5 else bite(raw, layout, term, rng)
    return layout.with_term("previous_action", clip=clip), {"term": "previous_action", "clip": clip}


def difference(_: Generator, layout: Layout, __: Raw) -> Planted | None:
    term = layout.term("joint_vel")
    if term is None or term.clip is not None:
        return None
    return layout.with_term("joint_vel", difference=True), {"term": "joint_vel", "of": "finite_difference"}


def history(what: str) -> Plant:
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


def normalised(rng: Generator, layout: Layout, raw: Raw) -> Planted | None:
    """A running normaliser that saw other steps than these, near to them; spread of nothing is 1, as it begins."""
    values = observe(raw, layout).astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    mean += rng.normal(scale=0.05, size=len(mean)) * std
    std = np.where(std < 1e-3, 1.0, std * np.exp(rng.normal(scale=0.05, size=len(std))))
    return replace(layout, normaliser=(tuple(mean.tolist()), tuple(std.tolist()))), {
        "mean": mean.tolist(),
        "std": std.tolist(),
    }
