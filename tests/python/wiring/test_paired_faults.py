"""Each fault alone and in pairs: named as what was done, and put right by the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from walking_observations import DEFAULT, NAMES, PERIOD_S, TERMS, Walk, late

from ganglion.wiring import KINDS, WiringReport, wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

WALK = Walk()
T = WALK.observation.astype(np.float64)
ORDER = np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8])
ANGLE = 0.7
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0.0], [np.sin(ANGLE), np.cos(ANGLE), 0.0], [0.0, 0.0, 1.0]])
TURN = TURN @ np.array([[1.0, 0.0, 0.0], [0.0, np.cos(0.4), -np.sin(0.4)], [0.0, np.sin(0.4), np.cos(0.4)]])


def compare(found: Doubles, trained: Doubles = T, **more: Any) -> WiringReport:
    arrays = [WALK.arrays(np.asarray(values, np.float32)) for values in (trained, found)]
    report: WiringReport = wiring(*arrays, **more)
    return report


def elements(term: str) -> tuple[int, ...]:
    return tuple(range(TERMS[term].start, TERMS[term].stop))


def set_to(term: str, values: Callable[[Doubles], Doubles]) -> Callable[[Doubles], None]:
    def change(found: Doubles) -> None:
        found[:, TERMS[term]] = values(found[:, TERMS[term]])

    return change


def permuted(found: Doubles) -> None:
    for term in ("position", "velocity", "action"):
        found[:, TERMS[term]] = found[:, TERMS[term]][:, ORDER]


def swapped_terms(found: Doubles) -> None:
    found[:, 16:40] = np.concatenate([found[:, TERMS["velocity"]], found[:, TERMS["position"]]], axis=1)


def conjugate(values: Doubles) -> Doubles:
    return values * [1.0, -1.0, -1.0, -1.0]


def positive(values: Doubles) -> Doubles:
    return np.where(values[:, 3:] < 0.0, -values, values)


JOINT_ELEMENTS = tuple(j for term in ("position", "velocity", "action") for j in elements(term))
WORLD = np.einsum("nij,nj->ni", WALK.rotation, T[:, TERMS["lin_vel"]])
DIFFERENCE = (WALK.position - late(WALK.position, WALK.reset, 1)) / PERIOD_S * 0.05

# name: what is done, kind, elements, value
FAULTS: dict[str, tuple[Callable[[Doubles], None], str, tuple[int, ...], Any]] = {
    "joint order": (permuted, "permutation", JOINT_ELEMENTS, [16 + 12 * k + int(i) for k in range(3) for i in ORDER]),
    "terms swapped": (swapped_terms, "permutation", tuple(range(16, 40)), [*range(28, 40), *range(16, 28)]),
    "sign": (set_to("command", lambda v: v * [1, -1, 1]), "sign", (14,), -1),
    "scale twice": (set_to("velocity", lambda v: 0.05 * v), "scale", elements("velocity"), 0.05),
    "scale missing": (set_to("ang_vel", lambda v: 4.0 * v), "scale", elements("ang_vel"), 4.0),
    "scale of its own": (set_to("command", lambda v: 1.37 * v), "scale", elements("command"), 1.37),
    "degrees": (
        set_to("position", np.degrees),
        "unit",
        elements("position"),
        {"from": "rad", "to": "deg", "factor": 180.0 / np.pi},
    ),
    "default pose": (set_to("position", lambda v: v + DEFAULT), "offset", elements("position"), list(DEFAULT)),
    "clip added": (
        set_to("action", lambda v: np.clip(v, -0.6, 0.6)),
        "clip",
        elements("action"),
        {"low": -0.6, "high": 0.6, "of": "found"},
    ),
    "xyzw": (
        set_to("quaternion", lambda v: v[:, [1, 2, 3, 0]]),
        "quaternion_order",
        elements("quaternion"),
        {"trained": "wxyz", "found": "xyzw"},
    ),
    "conjugate": (set_to("quaternion", conjugate), "quaternion_conjugate", (10, 11, 12), "conjugate"),
    "double cover": (
        set_to("quaternion", positive),
        "sign",
        elements("quaternion"),
        {"double_cover": int((T[:, 12] < 0.0).sum())},
    ),
    "mounted": (set_to("ang_vel", lambda v: v @ TURN.T), "frame", elements("ang_vel"), None),
    "world": (
        set_to("lin_vel", lambda _: WORLD),
        "frame",
        elements("lin_vel"),
        {"kind": "world_for_body", "quaternion": [9, 10, 11, 12]},
    ),
    "gravity up": (set_to("gravity", lambda v: -v), "frame", elements("gravity"), {"kind": "negated_gravity"}),
    "late": (
        set_to("velocity", lambda v: late(v, WALK.reset, 2)),
        "lag",
        elements("velocity"),
        {"steps": 2, "of": "observation"},
    ),
    "action late": (
        set_to("action", lambda v: late(v, WALK.reset, 1)),
        "lag",
        elements("action"),
        {"steps": 1, "of": "previous_action"},
    ),
    "difference": (set_to("velocity", lambda _: DIFFERENCE), "lag", elements("velocity"), None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault(name: str) -> None:
    change, kind, where, value = FAULTS[name]
    found = T.copy()
    change(found)
    report = compare(found)
    (edit,) = report.edits
    assert (edit.kind, edit.elements) == (kind, where) and not report.equal
    if value is not None:
        said = edit.value
        numbers = isinstance(value, (list, float))
        assert np.allclose(said, value, atol=1e-6) if numbers else said == value, said
    assert np.isfinite(edit.residual) and edit.residual < 1e-4


def test_values_that_are_matrices_and_positions() -> None:
    for name, check in (
        ("mounted", lambda value: np.allclose(value["matrix"], TURN, atol=1e-5)),
        ("difference", lambda value: value["position"] == list(elements("position"))),
        ("difference", lambda value: value["factor"] == pytest.approx(0.05 / PERIOD_S, rel=1e-4)),
    ):
        found = T.copy()
        FAULTS[name][0](found)
        (edit,) = compare(found).edits
        assert check(edit.value), (name, edit.value)


LOSES = {"clip added", "late", "action late", "difference", "double cover"}


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in LOSES])
def test_the_correction_gives_trained(name: str) -> None:
    found = T.copy()
    FAULTS[name][0](found)
    report = compare(found)
    assert not report.correction.lost
    made = report.correction.apply(found.astype(np.float32), WALK.reset)
    np.testing.assert_allclose(made, T, atol=2e-6 * max(1.0, np.abs(report.correction.scale).max()))
    np.testing.assert_array_equal(made, report.corrected)


@pytest.mark.parametrize("name", sorted(LOSES))
def test_what_cannot_be_undone_is_said(name: str) -> None:
    found = T.copy()
    FAULTS[name][0](found)
    assert compare(found).correction.lost


def test_a_delay_is_undone_in_a_log() -> None:
    found = T.copy()
    FAULTS["late"][0](found)
    made = compare(found).corrected[:, TERMS["velocity"]]
    there = np.isfinite(made).all(axis=1)
    assert there.sum() == len(T) - 2 * 4
    np.testing.assert_allclose(made[there], T[there, TERMS["velocity"]], atol=1e-6)


PAIRS = [
    ("joint order", "gravity up"),
    ("joint order", "scale twice"),
    ("joint order", "late"),
    ("degrees", "joint order"),
    ("default pose", "xyzw"),
    ("clip added", "sign"),
    ("mounted", "degrees"),
    ("scale missing", "world"),
    ("conjugate", "terms swapped"),
    ("action late", "default pose"),
    ("double cover", "sign"),
    ("scale twice", "difference"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_faults(one: str, other: str) -> None:
    found = T.copy()
    for name in (one, other):
        FAULTS[name][0](found)
    report = compare(found)
    kinds = {FAULTS[one][1], FAULTS[other][1]}
    if (one, other) == ("scale twice", "difference"):  # the second reads the velocity anew
        kinds = {"lag"}
    assert {edit.kind for edit in report.edits} == kinds


def test_faults_on_the_same_elements() -> None:
    found = T.copy()
    found[:, TERMS["ang_vel"]] = late(np.degrees(T[:, TERMS["ang_vel"]]), WALK.reset, 1)
    found[:, 13] = np.clip(-T[:, 13], -0.5, 0.5)
    found[:, TERMS["position"]] = 0.25 * T[:, TERMS["position"]][:, ORDER]
    edits = {edit.kind: edit for edit in compare(found).edits}
    assert set(edits) == {"lag", "unit", "sign", "clip", "scale", "permutation"}
    assert edits["lag"].elements == edits["unit"].elements == (3, 4, 5)
    assert edits["sign"].elements == edits["clip"].elements == (13,)
    assert edits["scale"].elements == edits["permutation"].elements == elements("position")


def test_three_faults_at_once() -> None:
    """Order, sign and scale in one term, another late, gravity negated."""
    found = T.copy()
    place = TERMS["position"]
    found[:, place] = 0.5 * T[:, place][:, ORDER] * ([-1.0] + 11 * [1.0])
    found[:, TERMS["velocity"]] = late(T[:, TERMS["velocity"]], WALK.reset, 1)
    found[:, TERMS["gravity"]] *= -1.0
    edits = {edit.kind: edit for edit in compare(found).edits}
    assert set(edits) == {"permutation", "sign", "scale", "lag", "frame"}
    assert edits["sign"].elements == (16,) and edits["scale"].value == 0.5


def test_a_clip_that_training_has() -> None:
    trained = T.copy()
    trained[:, TERMS["velocity"]] = np.clip(T[:, TERMS["velocity"]], -0.1, 0.1)
    (edit,) = compare(T, trained).edits
    assert edit.kind == "clip" and edit.value == {"low": -0.1, "high": 0.1, "of": "trained"}
    np.testing.assert_allclose(compare(T, trained).corrected, trained, atol=1e-6)


def test_a_normaliser_applied_twice() -> None:
    mean, std = T.mean(axis=0) + 0.05, T.std(axis=0) * 1.1
    report = compare((T - mean) / std)
    (edit,) = report.edits
    assert edit.kind == "double_normalised" and edit.elements == tuple(range(T.shape[1]))
    np.testing.assert_allclose(edit.value["mean"], mean, atol=1e-4)
    np.testing.assert_allclose(edit.value["std"], std, rtol=1e-4)


def test_world_frame_without_an_orientation() -> None:
    """Gravity tells which of both vectors is in the world."""
    kept = [j for j in range(T.shape[1]) if j not in elements("quaternion")]
    found = T.copy()
    found[:, TERMS["lin_vel"]] = WORLD
    for trained_, found_, kind in ((T, found, "world_for_body"), (found, T, "body_for_world")):
        report = compare(found_[:, kept], trained_[:, kept])
        (edit,) = report.edits
        assert edit.kind == "frame" and edit.elements == (0, 1, 2)
        assert edit.value["kind"] == kind and edit.value["known_by"] == "gravity"
        assert report.correction.lost


def test_gravity_of_the_world() -> None:
    found = T.copy()
    found[:, TERMS["gravity"]] = [0.0, 0.0, -1.0]
    (edit,) = compare(found).edits
    assert edit.kind == "frame" and edit.value["kind"] == "world_for_body"


@pytest.mark.parametrize("frame_major", [False, True])
def test_histories(frame_major: bool) -> None:
    trained = WALK.histories(4, frame_major=frame_major)
    width = trained.shape[1]
    (edit,) = compare(WALK.histories(4, frame_major=frame_major, newest_first=True), trained).edits
    assert edit.kind == "history_order" and edit.value == {"frames": 4} and len(edit.elements) == width
    (edit,) = compare(WALK.histories(4, frame_major=not frame_major), trained).edits
    layouts = ("frame_major", "term_major") if frame_major else ("term_major", "frame_major")
    assert edit.kind == "history_layout"
    assert edit.value == {"frames": 4, "trained": layouts[0], "found": layouts[1]}
    (edit,) = compare(WALK.histories(4, frame_major=frame_major, stride=2), trained).edits
    assert edit.kind == "history_layout" and edit.value == {"frames": 4, "stride": 2}
    assert len(edit.elements) == width * 3 // 4
    (edit,) = compare(WALK.histories(4, frame_major=frame_major, zeros=True), trained).edits
    assert edit.kind == "prefill" and edit.value == {"trained": "repeat", "found": "zeros", "rows": 3}
    assert len(edit.elements) == width * 3 // 4
    (edit,) = compare(WALK.histories(5, frame_major=frame_major), trained).edits
    assert edit.kind == "history_layout" and edit.value == {"frames": 4, "extra_frames": 1}


def test_a_permutation_inside_of_a_history() -> None:
    trained = WALK.histories(4)
    found = trained.copy()
    start = 4 * 9  # behind the three vectors; nine joints in each of four frames
    order = np.array([3, 4, 5, 0, 1, 2, 8, 7, 6])
    for frame in range(4):
        at = start + 9 * frame
        found[:, at : at + 9] = trained[:, at + order]
    (edit,) = compare(found, trained).edits
    assert edit.kind == "permutation" and len(edit.elements) == 4 * 8
    late_ = late(found.astype(np.float64), WALK.reset, 1)
    edits = {edit.kind: edit for edit in compare(late_, trained).edits}
    assert set(edits) == {"permutation", "lag"} and edits["lag"].value["steps"] == 1
    assert len(edits["permutation"].elements) == 4 * 8


def test_noise_at_the_tolerance_is_no_difference() -> None:
    rng = np.random.default_rng(1)
    for noise in (rng.uniform(-1.0, 1.0, T.shape), rng.normal(size=T.shape)):
        assert compare(T + 0.01 * noise, tolerance=0.01).equal
        assert not compare(T + 0.01 * noise).equal
        found = T.copy()
        permuted(found)
        found[:, TERMS["gravity"]] *= -1.0
        edits = compare(found + 0.01 * noise, tolerance=0.01).edits
        assert [edit.kind for edit in edits] == ["permutation", "frame"]
        assert all(edit.residual < 0.06 for edit in edits)


def test_what_nothing_explains() -> None:
    found = T.copy()
    found[:, 20] = np.random.default_rng(3).normal(size=len(T))
    found[:, 21] = 7.0
    report = compare(found)
    assert [edit.kind for edit in report.edits] == ["unexplained", "unexplained"] and not report.explained
    assert report.edits[0].value["of"] is not None and report.edits[0].residual > 0.5
    assert "always 7" in report.edits[1].sentence and np.isnan(report.corrected[:, 20]).all()


def test_equal_and_still() -> None:
    trained = T.copy()
    trained[:, 15] = 0.0
    report = compare(trained, trained)
    assert report.equal and report.cannot_tell[0].elements == (15,)
    assert not report.edits and np.array_equal(report.corrected, trained.astype(np.float32))


def test_names_are_told() -> None:
    found = T.copy()
    FAULTS["sign"][0](found)
    (edit,) = compare(found, names=NAMES).edits
    assert edit.names == ("command_sideways",)


def test_every_kind_has_a_sentence() -> None:
    from ganglion.wiring.paired.naming import _ORDER

    assert {*_ORDER, "unexplained"} == set(KINDS)
