"""Faults beside others in histories of other lengths and layouts: told as what was done, and as no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from walking_observations import PERIOD_S, TERMS, Walk, late, stacked

from ganglion.wiring import WiringReport, wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Frame = dict[str, Doubles]

WALK = Walk(3)
SPEED = np.diff(WALK.position, axis=0, prepend=WALK.position[:1]) / PERIOD_S
SPEED[WALK.reset] = 0.0
VELOCITY = SPEED + 0.05 * np.random.default_rng(1).normal(size=SPEED.shape)
ORDER = [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]
QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])


def frame() -> Frame:
    """One frame: the velocity is that of the position, with noise of its own."""
    own = {
        name: WALK.observation[:, TERMS[name]].astype(np.float64)
        for name in ("lin_vel", "quaternion", "gravity", "command", "position", "action")
    }
    return own | {"velocity": 0.05 * VELOCITY}


def permuted(own: Frame) -> None:
    for name in ("position", "velocity", "action"):
        own[name] = own[name][:, ORDER]


def world(own: Frame) -> None:
    own["lin_vel"] = np.einsum("nij,nj->ni", WALK.rotation, own["lin_vel"])


def differences(own: Frame) -> None:
    own["velocity"] = 0.05 * SPEED


def normalised(own: Frame) -> None:
    for name, values in own.items():
        own[name] = (values - values.mean(axis=0) - 0.03) / (0.9 * values.std(axis=0))


def changed(name: str, change: Callable[[Doubles], Doubles]) -> Callable[[Frame], None]:
    def make(own: Frame) -> None:
        own[name] = change(own[name])

    return make


FAULTS: dict[str, tuple[Callable[[Frame], None], str]] = {
    "joint order": (permuted, "permutation"),
    "one term late": (changed("velocity", lambda v: late(v, WALK.reset, 3)), "lag"),
    "world": (world, "frame"),
    "mounted": (changed("gravity", lambda v: v @ TURN.T), "frame"),
    "mounted by a quarter": (changed("gravity", lambda v: v @ QUARTER.T), "frame"),
    "differences": (differences, "lag"),
    "degrees": (changed("position", np.degrees), "unit"),
    "clip": (changed("action", lambda v: np.clip(v, -0.6, 0.6)), "clip"),
    "offset": (changed("position", lambda v: v + np.linspace(-0.5, 0.4, 12)), "offset"),
    "xyzw": (changed("quaternion", lambda v: v[:, [1, 2, 3, 0]]), "quaternion_order"),
    "double cover": (changed("quaternion", lambda v: np.where(v[:, :1] < 0.0, -v, v)), "sign"),
    "normalised": (normalised, "double_normalised"),
}
HISTORIES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "newest first": ({"newest_first": True}, "history_order", {}),
    "other layout": ({"other_layout": True}, "history_layout", {}),
    "stride": ({"stride": 2}, "history_layout", {"stride": 2}),
    "zeros": ({"zeros": True}, "prefill", {"trained": "repeat", "found": "zeros"}),
}


def compare(found: Frame, frames: int, frame_major: bool, *, other_layout: bool = False, **how: Any) -> WiringReport:
    how = how | {"frame_major": frame_major != other_layout}
    sides = [
        stacked(list(own.values()), WALK.reset, frames, **settings)
        for own, settings in ((frame(), {"frame_major": frame_major}), (found, how))
    ]
    report: WiringReport = wiring(*(WALK.arrays(values) for values in sides))
    return report


SETTINGS = [("newest first", 3, False), ("other layout", 4, True), ("stride", 3, True), ("zeros", 4, True),
            ("newest first", 4, True), ("other layout", 3, False), ("stride", 2, False)]  # fmt: skip
CASES = [(fault, *SETTINGS[(3 * k + more) % 7]) for k, fault in enumerate(FAULTS) for more in (0, 4)]


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("fault", "history", "frames", "frame_major"), CASES)
def test_a_fault_beside_one_of_the_history(fault: str, history: str, frames: int, frame_major: bool) -> None:
    change, kind = FAULTS[fault]
    how, of_history, value = HISTORIES[history]
    found = frame()
    change(found)
    report = compare(found, frames, frame_major, **how)
    assert {edit.kind for edit in report.edits} == {kind, of_history}, [e.sentence for e in report.edits]
    told = next(edit for edit in report.edits if edit.kind == of_history)
    assert all(told.value[key] == one for key, one in value.items())
    assert all(edit.residual < 1e-3 for edit in report.edits)
    assert max(value.get("steps", 0) for edit in report.edits if isinstance(value := edit.value, dict)) <= 3


def test_a_delay_of_all_terms_is_one_delay() -> None:
    """Of all frames, whichever way they stand: no element of a frame is called that of another."""
    found = {name: late(own, WALK.reset, 2) for name, own in frame().items()}
    size = sum(own.shape[1] for own in found.values())
    for frame_major, newest_first in ((False, True), (True, False)):
        edits = compare(found, 4, frame_major, newest_first=newest_first).edits
        late_ = [edit for edit in edits if edit.kind == "lag"]  # of the observation, and of the previous action
        assert all(edit.value["steps"] == 2 for edit in late_)
        assert sorted(j for edit in late_ for j in edit.elements) == list(range(4 * size))
        assert {edit.kind for edit in edits} == {"lag", "history_order"} if newest_first else {"lag"}


def test_terms_of_other_widths_swapped_in_a_history() -> None:
    """Blocks of frames move by a term's width; newest first beside it is still one order."""
    own = frame()
    found = {name: own[name] for name in ("quaternion", "lin_vel", *list(own)[2:])}
    (edit,) = compare(found, 3, False).edits
    assert edit.kind == "permutation" and edit.elements == tuple(range(3 * 7))
    edits = compare(found, 3, False, newest_first=True).edits
    assert [edit.kind for edit in edits] == ["history_order", "permutation"]
    assert edits[1].elements == tuple(range(3 * 7))


def test_frames_of_a_robot_in_a_plane() -> None:
    """What does not move goes along with its frame."""
    own = frame()
    for name, still in (("lin_vel", [1]), ("gravity", [1]), ("quaternion", [1, 3]), ("command", [1])):
        own[name][:, still] = 0.0
    found = {name: late(values, WALK.reset, 1) if name == "lin_vel" else values for name, values in own.items()}
    sides = [
        stacked(list(some.values()), WALK.reset, 4, newest_first=turned)
        for some, turned in ((own, False), (found, True))
    ]
    edits = wiring(*(WALK.arrays(values) for values in sides)).edits
    assert [(edit.kind, len(edit.elements)) for edit in edits] == [
        ("history_order", sides[0].shape[1]), ("lag", 4 * 2)
    ]  # fmt: skip


def test_differences_of_other_joints_with_another_factor() -> None:
    found = frame()
    differences(found)
    permuted(found)
    found["velocity"] = np.degrees(found["velocity"]) * ([-1.0] + 11 * [1.0])
    edits = {edit.kind: edit for edit in compare(found, 1, False).edits}
    assert set(edits) == {"lag", "permutation", "unit", "sign"}
    velocities = tuple(range(37, 49))
    assert edits["lag"].elements == edits["unit"].elements == velocities
    assert edits["lag"].value["position"] == [13 + k for k in ORDER]
    assert edits["lag"].value["factor"] == pytest.approx(0.05 / PERIOD_S, rel=1e-4)
    assert set(velocities) < set(edits["permutation"].elements) and edits["sign"].elements == (37,)


def test_a_history_that_nothing_explains_ends_in_time() -> None:
    """Noise in the place of a term: no search over all elements, delays and turns of a history."""
    found = frame()
    found["velocity"] = np.random.default_rng(2).normal(size=VELOCITY.shape)
    begin = time.process_time()
    report = compare(found, 5, True, newest_first=True)
    assert time.process_time() - begin < 10.0
    assert {edit.kind for edit in report.edits} == {"history_order", "unexplained"}
    assert sum(edit.kind == "unexplained" for edit in report.edits) == 5 * 12
