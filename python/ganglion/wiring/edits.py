"""The family of faults that an adapter can have, and one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KINDS = (
    "permutation",
    "sign",
    "scale",
    "offset",
    "clip",
    "unit",
    "quaternion_order",
    "quaternion_conjugate",
    "frame",
    "lag",
    "history_order",
    "history_layout",
    "prefill",
    "double_normalised",
    "unexplained",
)
"""What an edit can be."""


@dataclass(frozen=True)
class Edit:
    """One change of `trained` that makes `found`.

    What `value` holds, by kind; a list has one entry for each of `elements`:

    | kind | value |
    |---|---|
    | `permutation` | list: the element of `trained` that each of `elements` holds; -1 for one of none |
    | `sign` | `-1`; `{"double_cover": rows}` of a quaternion that is negated in so many rows, or in all |
    | `scale` | the factor, or a list of factors: found = factor * trained |
    | `offset` | what was added, in units of found, or a list |
    | `clip` | `{"low": number or null, "high": ..., "of": "found" or "trained"}`: whose values are cut there, and |
    | | not the other's; in its units |
    | `unit` | `{"from": "rad", "to": "deg", "factor": number}` |
    | `quaternion_order` | `{"trained": "wxyz", "found": "xyzw"}`, or the other way |
    | `quaternion_conjugate` | `"conjugate"`; `elements` are x, y and z |
    | `frame` | of whole vectors: `{"kind": "fixed", "matrix": [[...]]}` (found = matrix * trained), |
    | | `{"kind": "world_for_body"}`, `{"kind": "body_for_world"}`, |
    | | `{"kind": "negated_gravity"}`; `"quaternion": [four elements of trained]` |
    | `lag` | `{"steps": n, "of": "observation" or "previous_action"}`: found[t] = trained[t - n]; |
    | | `{"of": "finite_difference", "position": [elements of trained], "factor": 1 / dt}` |
    | `history_order` | `{"frames": n}`: the oldest for the newest |
    | `history_layout` | `{"frames": n, "trained": "term_major", "found": "frame_major"}`, or the other way; |
    | | `{"frames": n, "stride": steps}`, `{"frames": n, "extra_frames": n}`; behind a stride, elements of |
    | | trained in the edits that follow are those of the frames that it made |
    | `prefill` | `{"trained": "repeat", "found": "zeros", "rows": n}`: rows behind a reset; also `"other"`. It comes |
    | | before signs, factors and offsets where these were applied to what was filled in |
    | `double_normalised` | `{"mean": [...], "std": [...]}`: found = (trained - mean) / std |
    | `unexplained` | `{"closest": an edit's kind, "of": element of trained, "gain": number, "offset": number}` |

    Attributes:
        kind: one of `KINDS`.
        elements: indices in `found` that it changes, rising.
        names: names of these elements, or empty.
        value: what was done to `trained`, as JSON. Edits are made in the order of the report.
        residual: the largest |difference| that is left in these elements when all edits are undone, in units of
            `found`.
        sentence: what it is and what to do about it.
        confidence: from 0 to 1, of an explanation that statistics alone speak for (its `residual` is the mean distance
            of these elements from the profile that is left, as half a square of deviations); None where it was found
            on the same moments.
    """

    kind: str
    elements: tuple[int, ...]
    names: tuple[str, ...]
    value: Any
    residual: float
    sentence: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind

    def to_json(self) -> dict[str, Any]:
        """The edit as an object of `WiringReport.to_json`."""
        return asdict(self) | {"elements": list(self.elements), "names": list(self.names)}
