"""What the numbers around a network mean: the common form of all deployment descriptions."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ganglion.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion._foundation.frame_windows import Layout, Order, Prefill

Range = tuple[float, float]


@dataclass(frozen=True)
class ObservationTerm:
    """A part of the observation, and how the raw sensor values become the numbers that the network sees.

    The value of one step is `clip(raw - offset) * scale`, or `clip((raw - offset) * scale)` where `scale_first` is set.

    Attributes:
        name: name of the term, unique in its group.
        element_names: one name per raw element, in training order.
        units: one unit per raw element (`""` where unknown), or empty.
        joint_names: one joint per element, in training order, where the elements belong to joints; else empty.
        limits: one range per raw element that the deployment clamps to before anything else, or empty.
        offset: one number per element that is subtracted from the raw value, for example the default joint positions.
        scale: one factor per element.
        clip: lowest and highest value of every element, or None.
        scale_first: whether the scale comes before the clip.
        history_length: number of frames that the network sees, the newest included; 1 for no history.
        action_columns: for the last action: which elements of the network's action; None for a sensor.
        group: name of the network's input that the term belongs to.
        unsupported: why the term cannot be computed from what the file says, or empty.
    """

    name: str
    element_names: tuple[str, ...]
    units: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    limits: tuple[Range, ...] = ()
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    clip: Range | None = None
    scale_first: bool = False
    history_length: int = 1
    action_columns: tuple[int, ...] | None = None
    group: str = "obs"
    unsupported: str = ""

    def __post_init__(self) -> None:
        where = f"observation term '{self.name}'"
        if self.size < 1:
            raise ArtifactError(f"{where} has no elements")
        columns = self.action_columns
        for label, given in (
            ("units", self.units),
            ("joint names", self.joint_names),
            ("limits", self.limits),
            ("offsets", self.offset),
            ("scales", self.scale),
            ("action columns", columns or ()),
        ):
            if given and len(given) != self.size:
                raise ArtifactError(f"{where} has {self.size} elements but {len(given)} {label}")
        _check_finite(where, "offset", self.offset)
        _check_finite(where, "scale", self.scale)
        _check_ranges(where, (*self.limits, *(() if self.clip is None else (self.clip,))))
        check_unique(where, self.joint_names)
        if self.history_length < 1:
            raise ArtifactError(f"{where} has a history of {self.history_length} frames; at least 1 is needed")

    @property
    def size(self) -> int:
        """Number of elements of one frame."""
        return len(self.element_names)


@dataclass(frozen=True)
class ActionTerm:
    """A part of the action: joint targets are `clip(action * scale + offset)`.

    Attributes:
        name: name of the term.
        kind: what the targets are; `"other"` where they are no joint targets.
        size: number of elements of the network's action.
        joint_names: one joint per element, in training order; empty where unknown.
        scale: one factor per element.
        offset: one number per element.
        clip: one range per element, or empty.
        unsupported: why the targets cannot be computed from what the file says, or empty.
    """

    name: str
    kind: Literal["position", "velocity", "effort", "other"]
    size: int
    joint_names: tuple[str, ...] = ()
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    clip: tuple[Range, ...] = ()
    unsupported: str = ""

    def __post_init__(self) -> None:
        where = f"action term '{self.name}'"
        if self.size < 1:
            raise ArtifactError(f"{where} has no elements")
        for label, given in (
            ("joint names", self.joint_names),
            ("scales", self.scale),
            ("offsets", self.offset),
            ("clips", self.clip),
        ):
            if given and len(given) != self.size:
                raise ArtifactError(f"{where} has {self.size} elements but {len(given)} {label}")
        _check_finite(where, "scale", self.scale)
        _check_finite(where, "offset", self.offset)
        _check_ranges(where, self.clip)
        check_unique(where, self.joint_names)

    @property
    def unit(self) -> str:
        """Unit of the targets."""
        return {"position": "rad", "velocity": "rad/s", "effort": "N.m"}.get(self.kind, "")


@dataclass(frozen=True)
class Joint:
    """A joint as it was trained.

    Attributes:
        name: its name.
        default_position: rad, or None where unknown.
        stiffness: position gain in N.m/rad, or None where unknown.
        damping: velocity gain in N.m.s/rad, or None where unknown.
    """

    name: str
    default_position: float | None = None
    stiffness: float | None = None
    damping: float | None = None


@dataclass(frozen=True)
class Description:
    """A deployment description.

    Attributes:
        source: who wrote it: `"isaac_lab"`, `"unitree"` or `"mjlab"`.
        observations: terms in the order in which the network sees them.
        actions: terms in the order of the network's action.
        period_s: control period, or None where the file does not say.
        joints: the robot's joints in training order, with their gains.
        robot_joint_names: the joints in the order of the robot's own interface, where the file knows it; else empty.
        history_layout: as `ganglion.policies.ObservationStack` has it, like the two below.
        history_order: which frame of a history comes first.
        history_prefill: what a reset puts into the history: the first frame, or zeros.
        assumptions: sentences on what the file does not say and was taken as usual.
        original: the whole document as JSON, nothing left out.
    """

    source: str
    observations: tuple[ObservationTerm, ...]
    actions: tuple[ActionTerm, ...]
    period_s: float | None = None
    joints: tuple[Joint, ...] = ()
    robot_joint_names: tuple[str, ...] = ()
    history_layout: Layout = "term_major"
    history_order: Order = "oldest_first"
    history_prefill: Prefill = "repeat_first"
    assumptions: tuple[str, ...] = ()
    original: str = "{}"

    def __post_init__(self) -> None:
        if not self.observations or not self.actions:
            raise ArtifactError(
                f"the description has {len(self.observations)} observation and {len(self.actions)} action terms; at "
                "least one of each is needed"
            )
        if self.period_s is not None and not (math.isfinite(self.period_s) and self.period_s > 0.0):
            raise ArtifactError(f"the control period is {self.period_s} s; it must be positive and finite")
        check_unique("the robot", self.robot_joint_names)
        check_unique("the list of joints", [joint.name for joint in self.joints])
        check_unique("the action", [name for term in self.actions for name in term.joint_names])
        for group, terms in self.groups().items():
            check_unique(f"group '{group}'", [term.name for term in terms], "term")
            lengths = {term.name: term.history_length for term in terms}
            if self.history_layout == "frame_major" and len(set(lengths.values())) > 1:
                raise ArtifactError(
                    f"whole frames are kept in the history of group '{group}', so all terms need the same history "
                    f"length; found {lengths}"
                )
        for term in self.observations:
            if any(not 0 <= column < self.action_size for column in term.action_columns or ()):
                raise ArtifactError(
                    f"observation term '{term.name}' is the last action with the elements {term.action_columns}; the "
                    f"action has {self.action_size}"
                )

    @property
    def action_size(self) -> int:
        """Number of elements of the network's action."""
        return sum(term.size for term in self.actions)

    def groups(self) -> dict[str, tuple[ObservationTerm, ...]]:
        """The observation terms by the network's input that they belong to."""
        names = dict.fromkeys(term.group for term in self.observations)
        return {name: tuple(term for term in self.observations if term.group == name) for name in names}

    def provenance(self) -> dict[str, str]:
        """Everything that is known, as text under stable keys; JSON with numbers of full precision."""
        history = {"layout": self.history_layout, "order": self.history_order, "prefill": self.history_prefill}
        return {
            "deployment.source": self.source,
            "deployment.observations": to_json([dataclasses.asdict(term) for term in self.observations]),
            "deployment.actions": to_json([dataclasses.asdict(term) for term in self.actions]),
            "deployment.joints": to_json([dataclasses.asdict(joint) for joint in self.joints]),
            "deployment.robot_joint_names": to_json(list(self.robot_joint_names)),
            "deployment.history": to_json(history),
            "deployment.assumptions": to_json(list(self.assumptions)),
            "deployment.original": self.original,
        }


def to_json(value: Any) -> str:
    """Strict JSON; the numbers that it does not have become the texts `"inf"`, `"-inf"` and `"nan"`."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # YAML also knows dates and bytes.
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def check_unique(where: str, names: Sequence[str], what: str = "joint") -> None:
    """Refuses a name that appears twice.

    Raises:
        ArtifactError: one does; all names are listed.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ArtifactError(f"{where} names the {what} {repeated} more than once: {list(names)}")


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, with `_2`, `_3` and so on where one comes again."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def numbered(name: str, size: int) -> tuple[str, ...]:
    """Element names `name.0`, `name.1` and so on."""
    return tuple(f"{name}.{i}" for i in range(size))


def _check_finite(where: str, label: str, values: Sequence[float]) -> None:
    for i, value in enumerate(values):
        if not math.isfinite(value):
            raise ArtifactError(f"{where}: element {i} of its {label} is {value}; it must be finite")


def _check_ranges(where: str, ranges: Sequence[Range]) -> None:
    for low, high in ranges:
        if not low <= high:
            raise ArtifactError(f"{where} is limited from {low} to {high}; the lower limit must not be above the upper")
