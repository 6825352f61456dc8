"""What an edit is and what to do about it, in a sentence."""
# ruff: noqa: ARG001 - one signature for all kinds

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ganglion.wiring.paired import orders
from ganglion.wiring.paired.known import SCALES

if TYPE_CHECKING:
    from ganglion.wiring.observations import Observations

_SHOWN = 6


def sentence(kind: str, elements: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    """The sentence of an edit; see `Edit.value` for what stands in `value`."""
    words = {
        "permutation": _permutation,
        "sign": _sign,
        "scale": _scale,
        "offset": _offset,
        "clip": _clip,
        "unit": _unit,
        "quaternion_order": _quaternion_order,
        "quaternion_conjugate": _conjugate,
        "frame": _frame,
        "lag": _lag,
        "history_order": _history_order,
        "history_layout": _history_layout,
        "prefill": _prefill,
        "double_normalised": _normalised,
        "unexplained": _unexplained,
    }[kind]
    return words(elements, value, found, trained)


def _name(side: Observations, index: int) -> str:
    if index < 0:
        return "nothing of trained"
    return f"'{side.names[index]}'" if side.names else f"element {index}"


def _permutation(elements: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    shown = [
        f"{_name(found, j)} holds {_name(trained, i)}" for j, i in list(zip(elements, value, strict=True))[:_SHOWN]
    ]
    more = f", and {len(elements) - _SHOWN} more" if len(elements) > _SHOWN else ""
    missing = sorted(set(range(trained.size)) - set(value) - (set(range(found.size)) - set(elements)))
    if found.size < trained.size:
        return f"{', '.join(shown)}{more}: put what is missing in, and the rest falls into place"
    order = orders.known_order(elements, value, trained.names)
    told = f" ({order})" if order else ""
    lost = f"; {_name(trained, missing[0])} is in none of them" if missing and found.size == trained.size else ""
    return f"another order{told}: {', '.join(shown)}{more}{lost}; write them in the order of training"


def _sign(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if isinstance(value, dict):
        rows = value["double_cover"]
        where = "in every row" if rows == found.rows else f"in {rows:,} of {found.rows:,} rows"
        return (
            f"the quaternion is negated {where}: the same orientation (double cover), but other numbers for the "
            "policy; choose its sign as training did"
        )
    return "the other sign: multiply with -1"


def _times(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{one:.6g}" for one in value[:_SHOWN]) + (", ..." if len(value) > _SHOWN else "")
    inverse = 1.0 / value
    if any(math.isclose(inverse, one, rel_tol=1e-9) for one in SCALES) and value > 1.0:
        return f"{value:.6g} (1 / {inverse:.6g})"
    return f"{value:.6g}"


def _scale(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if isinstance(value, list):
        return f"a factor each: {_times(value)}; divide by it"
    known = any(math.isclose(value, one, rel_tol=1e-9) for one in SCALES)
    why = ""
    if known:
        why = ": a scale is applied twice" if value < 1.0 else f": a scale of {1.0 / value:.6g} is missing"
        if value in (2.0, 3.0, 1.5):
            why = f": a scale of {value:g} is applied twice"
    return f"found = {_times(value)} * trained{why}; multiply with {1.0 / value:.6g}"


def _offset(elements: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    many = isinstance(value, list)
    why = ": is the default joint position missing, or subtracted twice?" if many and len(elements) > 2 else ""
    return f"{'offsets of their own' if many else f'{value:.6g} is added'}{why}; subtract {'them' if many else 'it'}"


def _clip(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    low = "" if value["low"] is None else f"below at {value['low']:.6g}"
    high = "" if value["high"] is None else f"above at {value['high']:.6g}"
    limits = " and ".join(filter(None, (low, high)))
    if value["of"] == "trained":
        return f"training cuts {limits}, the adapter does not; clip there"
    return f"the adapter cuts {limits}, training does not; take the clip out, for what is beyond is lost"


def _unit(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    return (
        f"another unit: {value['to']} for {value['from']} (times {value['factor']:.6g}); multiply with "
        f"{1.0 / value['factor']:.6g}"
    )


def _quaternion_order(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    return f"the quaternion is {value['found']}, training has {value['trained']}; put w where training has it"


def _conjugate(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    return "the quaternion is the conjugate, the rotation of the way back; negate x, y and z"


def _frame(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if value["kind"] == "negated_gravity":
        return "gravity points the other way, up for down; negate it"
    if value["kind"] == "fixed":
        return "turned by a fixed rotation, as by a sensor that is mounted so; multiply with the transposed matrix"
    to, of = ("world", "body") if value["kind"] == "world_for_body" else ("body", "world")
    back = "inverse of the " if to == "world" else ""
    again = f", {value['times']} times" if value.get("times", 1) > 1 else ""
    if value["quaternion"]:
        return f"in the frame of the {to} for that of the {of}{again}; turn it with the {back}base's orientation"
    known = {
        "gravity": "told by its length and by gravity",
        "constant in found": "the same in every row, and as long as in training",
        "length alone": "its length is right in every row, and nothing in the observation tells the orientation",
    }[value["known_by"]]
    return f"in the frame of the {to} for that of the {of} ({known}); turn it with the {back}base's orientation"


def _lag(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if value["of"] == "finite_difference":
        return (
            f"the change of {_name(trained, value['position'][0])}{' and so on' if len(value['position']) > 1 else ''} "
            f"since the step before, times {value['factor']:.6g}, for the measured velocity; read the velocity"
        )
    steps = value["steps"]
    what = "the previous action" if value["of"] == "previous_action" else "the observation"
    if steps == 0:
        return f"{what} as it is sent, not as training holds it; apply what training does to it"
    how = f"{abs(steps)} step{'s' if abs(steps) != 1 else ''} {'late' if steps > 0 else 'early'}"
    return f"{what} comes {how}; take that of the same step"


def _history_order(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    return f"the {value['frames']} frames of the history stand the other way round; turn their order"


def _history_layout(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if "stride" in value:
        return f"the frames of the history are {value['stride']} steps apart, training's are 1; keep every step"
    if "extra_frames" in value:
        count = value["extra_frames"]
        many = f"{count} frames" if count > 1 else "one frame"
        return f"the history has {many} more than the {value['frames']} of training; keep fewer"
    words = {"frame_major": "frame by frame", "term_major": "term by term"}
    return (
        f"the history of {value['frames']} frames is laid out {words[value['found']]}, training has it "
        f"{words[value['trained']]}; lay it out so"
    )


def _prefill(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    words = {"zeros": "zeros", "repeat": "the first frame again", "other": "something else"}
    return (
        f"up to {value['rows']} rows behind a reset hold {words[value['found']]}, training has "
        f"{words[value['trained']]}; fill the history as training does"
    )


def _normalised(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    return (
        "each element has a mean taken away and is divided by a spread: a normaliser is applied outside of the policy, "
        "which has its own; take it out"
    )


def _unexplained(_: tuple[int, ...], value: Any, found: Observations, trained: Observations) -> str:
    if value["closest"] == "constant":
        return f"is always {value['offset']:.6g}; training's is not: is it filled at all?"
    if value["of"] is None:
        return "no element of training has to do with it"
    return (
        f"no edit explains it; closest is {value['gain']:.6g} * {_name(trained, value['of'])} + {value['offset']:.6g}"
    )
