"""Observation vectors as deployed policies have them, made from raw states by adapter code with settings.

`observe` is the adapter of the bench: what training did, and what a robot's side does wrong, are settings of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .motion import ACTION_SCALE, PERIOD_S, Raw, body_to_world, world_to_body
from .robots import Joint, default_pose, load

VECTORS = ("base_lin_vel", "base_ang_vel", "projected_gravity")
JOINTS = ("joint_pos", "joint_vel", "previous_action")


@dataclass(frozen=True)
class Term:
    """One part of an observation and how it is made.

    Attributes:
        name: what is observed.
        scale: a factor, or one for each element.
        clip: then limited to +- this.
        world: velocities in the world's frame, not the base's.
        negated: gravity points up.
        turned: a fixed rotation of a vector, `[3, 3]`.
        scalar_last: a quaternion as x, y, z, w.
        conjugate: a quaternion of the way back.
        cover: which of q and -q: `"continuous"`, `"positive"` (w >= 0) or `"flipped"` (-q).
        defaults: how often the default pose is taken from joint positions.
        unsorted: the default pose is taken before joints are put in order, in the order they have behind it.
        added: an encoder's error, one for each element.
        factor: of a unit.
        sign: one for each element.
        order: which element stands where.
        difference: joint velocities are differences of positions.
        action: the previous action `"raw"`, `"scaled"` (joint offsets), or as `"targets"` of joints.
        late: steps of delay.
    """

    name: str
    scale: float | tuple[float, ...] = 1.0
    clip: float | None = None
    world: bool = False
    negated: bool = False
    turned: tuple[tuple[float, ...], ...] | None = None
    scalar_last: bool = False
    conjugate: bool = False
    cover: str = "continuous"
    defaults: int = 1
    unsorted: bool = False
    added: tuple[float, ...] | None = None
    factor: float = 1.0
    sign: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None
    difference: bool = False
    action: str = "raw"
    late: int = 0


@dataclass(frozen=True)
class Layout:
    """A whole observation.

    Attributes:
        robot: whose.
        terms: in order.
        joints: the policy's order of the joints, indices into MuJoCo's.
        frames: of history, 1 for none.
        major: `"term"`: all frames of a term stand together; `"frame"`: all terms of a frame do.
        newest_first: order of the frames.
        stride: steps between frames.
        prefill: what missing frames hold behind a reset: `"repeat"`, `"zeros"`, or `"partly"` zeros.
        extra: frames too many.
        normaliser: mean and standard deviation that are applied at the end.
    """

    robot: str
    terms: tuple[Term, ...]
    joints: tuple[int, ...]
    frames: int = 1
    major: str = "term"
    newest_first: bool = False
    stride: int = 1
    prefill: str = "repeat"
    extra: int = 0
    normaliser: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def term(self, name: str) -> Term | None:
        """The term of this name."""
        return next((one for one in self.terms if one.name == name), None)

    def with_term(self, name: str, **changes: object) -> Layout:
        """The same with another setting of one term."""
        return replace(self, terms=tuple(replace(one, **changes) if one.name == name else one for one in self.terms))  # type: ignore[arg-type]

    @property
    def default(self) -> np.ndarray:
        """The default pose in the policy's order."""
        return default_pose(_joints(self.robot))[list(self.joints)]

    def elements(self, term: Term) -> list[str]:
        """Names of a term's elements."""
        if term.name in VECTORS:
            parts = ["x", "y", "z"]
        elif term.name == "base_quat":
            parts = ["w", "x", "y", "z"]
        elif term.name == "command":
            parts = ["vx", "vy", "yaw_rate"]
        elif term.name == "phase":
            parts = ["sin", "cos"]
        elif term.name == "base_height":
            parts = ["z"]
        else:
            parts = [_joints(self.robot)[place].name for place in self.joints]
        return [f"{term.name}/{part}" for part in parts]

    @property
    def names(self) -> list[str]:
        """Names of all elements; a frame's age in steps stands behind @."""
        frames = self.frames + self.extra
        ages = [age * self.stride for age in (range(frames) if self.newest_first else reversed(range(frames)))]
        tails = [f"@-{age}" if age else "" for age in ages] if frames > 1 else [""]
        if self.major == "term":
            return [name + tail for term in self.terms for tail in tails for name in self.elements(term)]
        return [name + tail for tail in tails for term in self.terms for name in self.elements(term)]

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        """Name, first element and size of each term in one frame."""
        made, at = [], 0
        for term in self.terms:
            size = len(self.elements(term))
            made.append((term.name, at, size))
            at += size
        return made


def observe(raw: Raw, layout: Layout) -> np.ndarray:
    """`[N, n]`, float32: what the adapter makes of raw states."""
    blocks = [term_of(raw, layout, term) for term in layout.terms]
    if layout.frames + layout.extra > 1:
        ages = [age * layout.stride for age in range(layout.frames + layout.extra)]
        if not layout.newest_first:
            ages = ages[::-1]
        framed = [[_frame(block, raw.reset, age, ages, layout.prefill) for age in ages] for block in blocks]
        if layout.major == "frame":
            framed = [list(frame) for frame in zip(*framed, strict=True)]
        blocks = [part for group in framed for part in group]
    made = np.concatenate(blocks, axis=1)
    if layout.normaliser is not None:
        made = (made - np.array(layout.normaliser[0])) / np.array(layout.normaliser[1])
    return made.astype(np.float32)


def term_of(raw: Raw, layout: Layout, term: Term) -> np.ndarray:
    """`[N, k]`: one term in one frame."""
    made = _quantity(raw, layout, term)
    if term.negated:
        made = -made
    if term.turned is not None:
        made = made @ np.array(term.turned).T
    if term.conjugate:
        made = made * [1, -1, -1, -1]
    if term.cover == "flipped":
        made = -made
    elif term.cover == "positive":
        made = np.where(made[:, :1] < 0, -made, made)
    if term.scalar_last:
        made = made[:, [1, 2, 3, 0]]
    if term.added is not None:
        made = made + np.array(term.added)
    made = made * term.factor * np.array(term.scale)
    if term.sign is not None:
        made = made * np.array(term.sign)
    if term.order is not None:
        made = made[:, list(term.order)]
    if term.unsorted:
        made = made + (layout.default[list(term.order or range(made.shape[1]))] - layout.default) * term.scale
    if term.clip is not None:
        made = np.clip(made, -term.clip, term.clip)
    return _late(made, raw.reset, term.late)


def _quantity(raw: Raw, layout: Layout, term: Term) -> np.ndarray:
    joints = list(layout.joints)
    if term.name in ("base_lin_vel", "base_ang_vel"):
        body = raw.linear if term.name == "base_lin_vel" else raw.angular
        return body_to_world(raw.quaternion, body) if term.world else body
    if term.name == "projected_gravity":
        return world_to_body(raw.quaternion, np.tile([0.0, 0.0, -1.0], (len(raw.reset), 1)))
    if term.name == "base_quat":
        return _continuous(raw)
    if term.name == "joint_pos":
        return raw.position[:, joints] - term.defaults * layout.default
    if term.name == "joint_vel":
        if not term.difference:
            return raw.velocity[:, joints]
        position = raw.position[:, joints]
        return (position - _late(position, raw.reset, 1)) / PERIOD_S
    if term.name == "previous_action":
        action = raw.action[:, joints]
        before = np.where(raw.reset[:, None], 0.0, np.roll(action, 1, axis=0))
        if term.action == "raw":
            return before
        return ACTION_SCALE * before + (layout.default if term.action == "targets" else 0.0)
    if term.name == "phase":
        return np.concatenate([np.sin(2 * np.pi * raw.phase), np.cos(2 * np.pi * raw.phase)], axis=1)
    return raw.command if term.name == "command" else raw.height


def _continuous(raw: Raw) -> np.ndarray:
    """The base's quaternion without jumps between q and -q inside an episode; it begins with w >= 0."""
    made = raw.quaternion.copy()
    for row in range(len(made)):
        if made[row, 0] < 0 if raw.reset[row] or row == 0 else made[row] @ made[row - 1] < 0:
            made[row] *= -1
    return made


def _since(reset: np.ndarray) -> np.ndarray:
    rows = np.arange(len(reset))
    return rows - np.maximum.accumulate(np.where(reset, rows, 0))


def _late(block: np.ndarray, reset: np.ndarray, steps: int) -> np.ndarray:
    """Row t - steps in row t; behind a reset the first row of the episode."""
    since = _since(reset)
    return block[np.arange(len(block)) - np.minimum(steps, since)]


def _frame(block: np.ndarray, reset: np.ndarray, age: int, ages: list[int], prefill: str) -> np.ndarray:
    made = _late(block, reset, age)
    missing = _since(reset) < age
    if prefill == "zeros" or (prefill == "partly" and age > max(ages) / 2):
        made = np.where(missing[:, None], 0.0, made)
    return made


def _joints(robot: str) -> tuple[Joint, ...]:
    return load(robot)[1]
