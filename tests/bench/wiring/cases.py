"""Cases: a robot, a run, a layout of training and an adapter with no, one or two faults, all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .draws import draw_layout
from .faults import COMPOUND, FAULTS, Fault
from .layouts import Layout, observe
from .motion import Raw, recorded
from .robots import ROBOTS

ROWS = 1500
TOLERANCE = 1e-3
"""Of the cases with noise: it is uniform inside of it, or normal with 0.9 of it as its spread. A call takes a
tolerance as the root mean square of noise, so what is smaller than 8 times it need not be told."""
RUNS = {"development": range(1, 5), "held_out": range(101, 105)}
"""Seeds of the runs; no run is in both halves."""
_OFFSET = {"development": 0, "held_out": 1_000_000}
FOLDER = Path("build/wiring-bench/runs")


@dataclass(frozen=True)
class Planted:
    """One fault of a case.

    Attributes:
        fault: what.
        detail: how, as JSON.
        elements: pairs of sets: elements that a report has to name, and those that it may name, as a vector has
            more elements than a half turn changes. In found, and where the other fault of a pair moves elements, also
            before that; either names it.
    """

    fault: Fault
    detail: dict[str, Any]
    elements: tuple[tuple[frozenset[int], frozenset[int]], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One comparison to make.

    Attributes:
        half: `"development"` or `"held_out"`.
        layout: of training, `adapter`: of the robot's side.
        planted: none for a healthy adapter.
        tolerance: what the call is given; None where numbers differ by rounding alone.
    """

    half: str
    seed: int
    layout: Layout
    adapter: Layout
    planted: tuple[Planted, ...]
    trained: np.ndarray
    found: np.ndarray
    action: np.ndarray
    reset: np.ndarray
    named: bool
    tolerance: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The faults' names."""
        return " + ".join(sorted(one.fault.name for one in self.planted)) or "healthy"

    def truth(self) -> dict[str, Any]:
        """What was planted, as JSON."""
        return {
            "robot": self.layout.robot, "half": self.half, "seed": self.seed, "size": self.trained.shape[1],
            "frames": self.layout.frames, "major": self.layout.major, "prefill": self.layout.prefill,
            "tolerance": self.tolerance, "named": self.named, "spans_of_a_frame": self.layout.spans,
            "planted": [
                {
                    "fault": one.fault.name, "kinds": list(one.fault.kinds), "detail": one.detail,
                    "elements": [{"must": sorted(must), "may": sorted(may)} for must, may in one.elements],
                }
                for one in self.planted
            ],
        }  # fmt: skip


def robots_of(half: str) -> list[str]:
    """Development never sees the robots that are held out; the other half sees all."""
    return [name for name, robot in ROBOTS.items() if half == "held_out" or not robot.held_out]


def _generator(half: str, kind: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([_OFFSET[half] + seed, *kind.encode()])


def _run(half: str, rng: np.random.Generator, rows: int | None) -> tuple[str, Raw]:
    names = robots_of(half)
    robot = names[rng.integers(len(names))]
    raw = recorded(robot, int(rng.choice(list(RUNS[half]))), FOLDER)
    if rows is None:
        return robot, raw
    begins = np.flatnonzero(raw.reset)
    start = int(rng.choice(begins[begins <= len(raw.reset) - rows]))
    return robot, raw.slice(start, start + rows)


def plant(
    layout: Layout, raw: Raw, faults: tuple[Fault, ...], rng: np.random.Generator, hidden: float = 1e-5
) -> tuple[Layout, tuple[Planted, ...]] | None:
    """The adapter with these faults, and where they show; None where one has no place or does not show.

    Changes below `hidden` need not be seen.
    """
    singles, adapter, details = [], layout, []
    for fault in faults:
        state = rng.bit_generator.state
        alone = fault.plant(rng, layout, raw)
        rng.bit_generator.state = state
        made = fault.plant(rng, adapter, raw)
        if alone is None or made is None:
            return None
        singles.append(alone[0])
        adapter = made[0]
        details.append(made[1])
    trained, found = observe(raw, layout), observe(raw, adapter)
    planted = []
    for place, fault in enumerate(faults):
        others = singles[1 - place] if len(faults) == 2 else layout
        sets = [_elements(fault, adapter, observe(raw, others), found, hidden)]
        if len(faults) == 2:
            sets += [_elements(fault, singles[place], trained, observe(raw, singles[place]), hidden)]
        if any(not must for must, _ in sets):
            return None
        planted.append(Planted(fault, details[place], tuple(dict.fromkeys(sets))))
    if len(faults) == 2 and _merged(faults, planted):
        return None
    return adapter, tuple(planted)


WHOLE = (
    "frame",
    "quaternion_order",
    "quaternion_conjugate",
    "history_order",
    "history_layout",
    "double_normalised",
    "prefill",
)
"""Kinds that are of whole terms, whatever of them can be seen."""


def _elements(
    fault: Fault, layout: Layout, before: np.ndarray, found: np.ndarray, hidden: float
) -> tuple[frozenset[int], frozenset[int]]:
    """Elements that differ by more than `hidden`; and those that do at all, or lie beside them."""
    if before.shape != found.shape:
        return frozenset([found.shape[1] - 1]), frozenset(range(found.shape[1]))
    size, change = np.maximum(1, np.abs(found).max(axis=0)), np.abs(found - before).max(axis=0)
    must, may = np.flatnonzero(change > hidden * size), set(np.flatnonzero(change > 1e-7).tolist())
    may |= set(np.flatnonzero(np.ptp(found, axis=0) == 0).tolist())
    if set(fault.kinds) & set(WHOLE) or fault.group == "quaternion":
        names = [name.split("/")[0] for name in layout.names]
        touched = {names[place] for place in must}
        may |= {place for place, name in enumerate(names) if name in touched}
    return frozenset(must.tolist()), frozenset(may)


def _merged(faults: tuple[Fault, ...], planted: list[Planted]) -> bool:
    """Two faults that are one for everybody who looks at numbers, or of which one hides the other."""
    both = planted[0].elements[0][0] & planted[1].elements[0][0]
    names = {fault.name for fault in faults}
    if faults[0].group == faults[1].group and (both or faults[0].group in ("order", "quaternion", "history")):
        return True
    affine = {fault.group for fault in faults} <= {"affine", "offset", "frame"}
    return bool("normaliser twice" in names and affine) or bool(
        "history one frame too many" in names and len(names) == 2
    )


def single(half: str, fault: Fault, seed: int, rows: int | None = ROWS) -> Case:
    """A case with one fault, or a compound one."""
    return _case(half, f"single {fault.name}", seed, rows, lambda _: (fault,))


def pair(half: str, seed: int) -> Case:
    """A case with two faults."""
    if seed % 12 == 0:
        return _case(half, "pair", seed, ROWS, lambda _: (COMPOUND[0],))

    def two(rng: np.random.Generator) -> tuple[Fault, ...]:
        one, other = rng.choice(len(FAULTS), size=2, replace=False)
        return FAULTS[one], FAULTS[other]

    return _case(half, "pair", seed, ROWS, two)


def healthy(half: str, seed: int, rows: int | None = ROWS) -> Case:
    """An adapter without a fault; its sensors' noise is at the tolerance."""
    return _case(half, "healthy", seed, rows, lambda _: ())


def _case(half: str, kind: str, seed: int, rows: int | None, choose: Any) -> Case:
    rng = _generator(half, kind, seed)
    noisy = kind == "healthy" or rng.uniform() < 0.25
    for _ in range(500):
        faults = choose(rng)
        robot, raw = _run(half, rng, rows)
        wanted = {fault.frames for fault in faults} - {None}
        quaternion = any(fault.quaternion for fault in faults)
        layout = draw_layout(robot, raw, rng, quaternion, next(iter(wanted)) if wanted else None)
        made = plant(layout, raw, faults, rng, 8 * TOLERANCE if noisy else 1e-5)
        if made is not None:
            break
    else:
        raise AssertionError(f"{kind} {seed}: no place for {[fault.name for fault in faults]} in 500 draws")
    adapter, planted = made
    trained, found = observe(raw, layout), observe(raw, adapter)
    if noisy:
        even = rng.uniform() < 0.5
        noise = rng.uniform(-0.999, 0.999, size=found.shape) if even else rng.normal(scale=0.9, size=found.shape)
        found = (found + TOLERANCE * noise).astype(np.float32)
    action = raw.action[:, list(layout.joints)].astype(np.float32)
    return Case(
        half, seed, layout, adapter, planted, trained, found, action, raw.reset.copy(), bool(rng.uniform() < 0.5),
        TOLERANCE if noisy else None,
    )  # fmt: skip
