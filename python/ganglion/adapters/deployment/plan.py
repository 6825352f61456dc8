"""Which number goes where: a description as plain index and parameter vectors, before any graph is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganglion._foundation import frame_windows
from ganglion._foundation.frame_windows import FrameWindow, FrameWindows
from ganglion.contract import StateSlot, TensorSpec
from ganglion.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ganglion._foundation.frame_windows import Index, KeptFrames
    from ganglion.adapters.deployment.description import ActionTerm, Description, ObservationTerm, Range

    Floats = NDArray[np.float64]

OBSERVATION, ACTION, LAST_ACTION, STARTED = "obs", "actions", "last_action", "history_started"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class History:
    """The older frames of a term.

    Attributes:
        slot: `<term>_history`, `[(history_length - 1) * size]`, oldest frame first.
        kept: how it is filled.
    """

    slot: StateSlot
    kept: KeptFrames


@dataclass(frozen=True)
class Plan:
    """What the graph computes, in order.

    Attributes:
        observation: the raw sensor vector.
        frame: places of the frame's elements in the raw vector followed by the last action.
        limits, offset, scale_first, clip, scale: what happens to the elements of the frame, in this order; limits and
            clip are a lower and an upper vector.
        histories: the terms that have one.
        inputs: for each input of the network the places of its elements in the pool, which is the frame followed by
            the older frames of all histories.
        needs_last_action: whether a term shows the last action.
        starts_with_zeros: whether a reset leaves zeros in the history, instead of the first frame.
        action: the joint targets.
        action_scale, action_offset, action_clip: per element of the network's action.
        robot_order: for each target its place in the network's action.
    """

    observation: TensorSpec
    frame: Index
    limits: tuple[Floats, Floats]
    offset: Floats
    scale_first: Floats
    clip: tuple[Floats, Floats]
    scale: Floats
    histories: tuple[History, ...]
    inputs: Mapping[str, Index]
    needs_last_action: bool
    starts_with_zeros: bool
    action: TensorSpec
    action_scale: Floats
    action_offset: Floats
    action_clip: tuple[Floats, Floats]
    robot_order: Index


def plan(description: Description, robot_joint_names: Sequence[str] | None = None) -> Plan:
    """Works a description out.

    Args:
        description: what the numbers mean.
        robot_joint_names: the joints in the order in which the controller gives and takes them; None for the order that
            the description knows, else the training order.

    Raises:
        ExportError: a term cannot be computed from what the file says, or only zeros or the raw last action are left.
        ValueError: `robot_joint_names` misses a joint, has one that is not used, or names one twice.
    """
    both: list[ObservationTerm | ActionTerm] = [*description.observations, *description.actions]
    for unknown in (entry for entry in both if entry.unsupported):
        raise ExportError(f"the term '{unknown.name}' cannot be put into the function: {unknown.unsupported}")
    robot = robot_order(description, robot_joint_names)
    place = {name: i for i, name in enumerate(robot)}
    terms = description.observations
    sensors = [term for term in terms if term.action_columns is None]
    if not sensors:
        raise ExportError("every observation term is the last action; a sensor is needed")
    groups = description.groups()
    prefixed = len(groups) > 1
    orders = {id(term): sorted(range(term.size), key=lambda i: _rank(term, i, place)) for term in sensors}
    observation = _raw_vector(sensors, orders, prefixed)

    frame: list[int] = []
    first_raw = 0
    for term in terms:
        if term.action_columns is not None:
            frame += [observation.size + column for column in term.action_columns]
            continue
        where = {element: first_raw + i for i, element in enumerate(orders[id(term)])}
        frame += [where[element] for element in range(term.size)]
        first_raw += term.size

    every = FrameWindows(_windows(terms))
    clips = [(term.clip or (-np.inf, np.inf),) * term.size for term in terms]
    low, high = _limits([pair for pairs in clips for pair in pairs])
    scales = [(np.asarray(term.scale or (1.0,) * term.size), term.scale_first) for term in terms]
    action, action_clip, order = _action(description, place)
    return Plan(
        observation=observation,
        frame=np.asarray(frame, np.int64),
        limits=_limits([pair for term in terms for pair in term.limits or ((-np.inf, np.inf),) * term.size]),
        offset=np.concatenate([term.offset or (0.0,) * term.size for term in terms]),
        scale_first=np.concatenate([scale if first else np.ones_like(scale) for scale, first in scales]),
        clip=(low, high),
        scale=np.concatenate([np.ones_like(scale) if first else scale for scale, first in scales]),
        histories=_histories(terms, every, prefixed),
        inputs={name: _network_input(description, group, every) for name, group in groups.items()},
        needs_last_action=len(sensors) < len(terms),
        starts_with_zeros=description.history_prefill == "zeros",
        action=action,
        action_scale=np.concatenate([term.scale or (1.0,) * term.size for term in description.actions]),
        action_offset=np.concatenate([term.offset or (0.0,) * term.size for term in description.actions]),
        action_clip=action_clip,
        robot_order=order,
    )


def robot_order(description: Description, names: Sequence[str] | None) -> list[str]:
    """The joints that the description uses, in the robot's order.

    Raises:
        ValueError: a given name is missing, unknown or doubled; both sides are listed.
    """
    every: list[ObservationTerm | ActionTerm] = [*description.observations, *description.actions]
    used = list(dict.fromkeys(name for term in every for name in term.joint_names))
    if names is None:
        known = description.robot_joint_names or tuple(joint.name for joint in description.joints)
        return [name for name in known if name in used] if set(used) <= set(known) else used
    given = list(names)
    problems = [
        (label, found)
        for label, found in (
            ("named twice", sorted({name for name in given if given.count(name) > 1})),
            ("missing", sorted(set(used) - set(given))),
            ("not in the description", sorted(set(given) - set(used))),
        )
        if found
    ]
    if problems:
        found = "; ".join(f"{label}: {names}" for label, names in problems)
        raise ValueError(
            f"the robot's joints do not fit those of the description: {found}. The robot has {given}; the description "
            f"has {used}"
        )
    return given


def input_size(terms: Sequence[ObservationTerm]) -> int:
    """Number of elements that the network sees of a group."""
    return sum(term.size * term.history_length for term in terms)


def describe_sizes(terms: Sequence[ObservationTerm]) -> str:
    """The terms with their sizes, for messages."""
    parts = (
        f"{term.name} {term.size}" + (f" x {term.history_length}" if term.history_length > 1 else "") for term in terms
    )
    return f"{', '.join(parts)} = {input_size(terms)}"


def frames(description: Description, terms: Sequence[ObservationTerm]) -> list[tuple[ObservationTerm, int]]:
    """Terms and ages of their frames (0 for the newest) in the order in which the network sees them."""
    seen = frame_windows.frames(_windows(terms), description.history_order, description.history_layout)
    return [(terms[number], age) for number, age in seen]


def _windows(terms: Sequence[ObservationTerm]) -> list[FrameWindow]:
    return [FrameWindow(term.size, term.history_length) for term in terms]


def _rank(term: ObservationTerm, element: int, place: Mapping[str, int]) -> int:
    return place[term.joint_names[element]] if term.joint_names else element


def _raw_vector(sensors: Sequence[ObservationTerm], orders: Mapping[int, Sequence[int]], prefixed: bool) -> TensorSpec:
    names, units, limits = [], [], []
    for term in sensors:
        for i in orders[id(term)]:
            names.append(f"{term.group}.{term.element_names[i]}" if prefixed else term.element_names[i])
            units.append(term.units[i] if term.units else "")
            limits.append(term.limits[i] if term.limits else (-np.inf, np.inf))
    return TensorSpec(OBSERVATION, len(names), tuple(names), tuple(units) if any(units) else (), *_bounds(limits))


def _bounds(ranges: Sequence[Range]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not np.isfinite(ranges).any():
        return (), ()
    return tuple(float(low) for low, _ in ranges), tuple(float(high) for _, high in ranges)


def _limits(ranges: Sequence[Range]) -> tuple[Floats, Floats]:
    # The native program holds finite numbers only; no float32 lies beyond its largest one.
    limits = np.clip(np.asarray(ranges, np.float64), -_LARGEST, _LARGEST)
    return limits[:, 0], limits[:, 1]


def _histories(terms: Sequence[ObservationTerm], every: FrameWindows, prefixed: bool) -> tuple[History, ...]:
    named = ((f"{terms[kept.window].group}." if prefixed else "", terms[kept.window].name, kept) for kept in every.kept)
    return tuple(History(StateSlot(f"{group}{name}_history", (kept.size,)), kept) for group, name, kept in named)


def _network_input(description: Description, group: Sequence[ObservationTerm], every: FrameWindows) -> Index:
    numbers = {id(term): number for number, term in enumerate(description.observations)}
    seen = frames(description, group)
    return np.concatenate([every.place(numbers[id(term)], age) for term, age in seen])


def _action(description: Description, place: Mapping[str, int]) -> tuple[TensorSpec, tuple[Floats, Floats], Index]:
    joints = [name for term in description.actions for name in term.joint_names]
    units = [term.unit for term in description.actions for _ in range(term.size)]
    ranges = [pair for term in description.actions for pair in term.clip or ((-np.inf, np.inf),) * term.size]
    order = sorted(range(len(joints)), key=lambda i: place[joints[i]])
    spec = TensorSpec(
        ACTION,
        len(joints),
        tuple(joints[i] for i in order),
        tuple(units[i] for i in order),
        *_bounds([ranges[i] for i in order]),
    )
    return spec, _limits(ranges), np.asarray(order, np.int64)
