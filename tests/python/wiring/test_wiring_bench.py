"""The bench of the wiring: faults are planted where it says, and its judge is hard to please."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("gymnasium")

from wiring import cases, limits, page
from wiring.draws import draw_layout
from wiring.faults import COMPOUND, FAULTS
from wiring.layouts import Layout, Term, observe
from wiring.motion import body_to_world, record, world_to_body
from wiring.scoring import judge, score

EVERYTHING = ("base_quat", "base_lin_vel", "base_ang_vel", "projected_gravity", "command", "joint_pos", "joint_vel")


@pytest.fixture(scope="module")
def raw():
    return record("ant", 2, 20.0)  # It turns so far that its quaternion has a w below 0.


def layout_of(frames: int = 1, **settings) -> Layout:
    terms = tuple(Term(name, 0.05 if name == "joint_vel" else 1.0) for name in (*EVERYTHING, "previous_action"))
    return Layout("ant", terms, tuple(range(8)), frames=frames, **settings)


def case_of(raw, layout: Layout, name: str, seed: int = 0) -> cases.Case:
    fault = next(one for one in (*FAULTS, *COMPOUND) if one.name == name)
    adapter, planted = cases.plant(layout, raw, (fault,), np.random.default_rng(seed))
    trained, found = observe(raw, layout), observe(raw, adapter)
    return cases.Case("development", seed, layout, adapter, planted, trained, found, raw.action, raw.reset, True)


def edit(kind: str, elements, value, residual: float = 0.0):
    return SimpleNamespace(kind=kind, elements=tuple(elements), value=value, residual=residual, names=(), sentence="")


def report(*edits, restores=None, lost: tuple[str, ...] = ("not asked",)):
    correction = SimpleNamespace(lost=lost, apply=lambda found, _: found if restores is None else restores)
    return SimpleNamespace(edits=edits, equal=not edits, correction=correction)


def test_robots_move_as_robots_do(raw) -> None:
    assert raw.reset[0] and raw.reset.sum() >= 2
    assert raw.linear.std(axis=0).min() > 0.05 and raw.velocity.std(axis=0).min() > 0.3
    # Velocities are those of the positions, but for noise: sensors of one robot, not numbers.
    moved = np.diff(raw.position, axis=0) / 0.02
    assert np.corrcoef(moved[5:300, 0], raw.velocity[6:301, 0])[0, 1] > 0.8


def test_turning_there_and_back(raw) -> None:
    world = body_to_world(raw.quaternion, raw.linear)
    np.testing.assert_allclose(world_to_body(raw.quaternion, world), raw.linear, atol=1e-12)
    w, x, y, z = raw.quaternion[0]
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
    np.testing.assert_allclose(body_to_world(raw.quaternion[:1], np.array([[1.0, 0, 0]]))[0], first, atol=1e-12)


@pytest.mark.parametrize("fault", [*FAULTS, *COMPOUND], ids=lambda fault: fault.name)
def test_every_fault_changes_what_it_says_and_nothing_else(raw, fault) -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        layout = draw_layout("ant", raw, rng, fault.quaternion, fault.frames)
        planted = cases.plant(layout, raw, (fault,), rng)
        if planted is not None:
            break
    else:
        pytest.fail("no layout has a place for it")
    adapter, (one,) = planted
    trained, found = observe(raw, layout), observe(raw, adapter)
    ((must, may),) = one.elements
    assert must and must <= may
    if trained.shape != found.shape:
        assert fault.name == "history one frame too many"
        return
    changed = set(np.flatnonzero((trained != found).any(axis=0)).tolist())
    assert must <= changed
    assert {place for place in changed if np.abs(trained - found)[:, place].max() > 1e-6} <= may


def test_a_healthy_adapter_differs_by_noise_alone(raw, monkeypatch) -> None:
    monkeypatch.setattr(cases, "recorded", lambda *_: raw)
    monkeypatch.setattr(cases, "robots_of", lambda _: ["ant"])
    monkeypatch.setattr(cases, "ROWS", 300)
    for seed in range(6):
        case = cases.healthy("development", seed, 300)
        noise = np.abs(case.found - case.trained)
        assert 0.4 * case.tolerance < np.sqrt(np.mean(noise**2)) < 0.95 * case.tolerance
        assert noise.max() < 6 * case.tolerance
        again = cases.healthy("development", seed, 300)
        np.testing.assert_array_equal(again.found, case.found)
    one, other = (cases.single(half, FAULTS[0], 1, 300) for half in ("development", "held_out"))
    assert one.layout != other.layout or not np.array_equal(one.found, other.found)


def test_the_right_name_is_exact(raw) -> None:
    case = case_of(raw, layout_of(), "default pose missing")
    elements = sorted(case.planted[0].elements[0][0])
    added = (case.found - case.trained)[0, elements].astype(float).tolist()
    assert judge(case, report(edit("offset", elements, added))).verdict == "exact"
    assert judge(case, report(edit("offset", elements, [1.03 * one for one in added]))).why.startswith("values")
    assert judge(case, report(edit("offset", elements[1:], added[1:]))).verdict != "exact"
    also = edit("sign", [0], -1)
    assert judge(case, report(edit("offset", elements, added), also)).why == "sign was not planted"


def test_a_wrong_name_is_wrong(raw) -> None:
    case = case_of(raw, layout_of(), "default pose missing")
    elements = sorted(case.planted[0].elements[0][0])
    assert judge(case, report(edit("scale", elements, 2.0))).verdict == "wrong"
    assert judge(case, report(edit("unexplained", elements, {}))).verdict == "unexplained"
    assert judge(case, report()).verdict == "silent"
    # Another name whose correction restores training is right in part, not exact.
    restored = report(edit("scale", elements, 2.0), restores=case.trained.astype(float), lost=())
    assert (judge(case, restored).verdict, judge(case, restored).restored) == ("part", True)
    assert judge(case, report(edit("offset", elements, 0.0), lost=())).restored is False


def test_a_false_alarm_is_one(raw) -> None:
    layout = layout_of()
    seen = observe(raw, layout)
    healthy = cases.Case("development", 0, layout, layout, (), seen, seen, raw.action, raw.reset, False, 1e-3)
    assert judge(healthy, report()).verdict == "exact"
    assert judge(healthy, report(edit("sign", [0], -1))).verdict == "wrong"


def test_the_same_change_under_another_name_counts_only_where_it_is_the_same(raw) -> None:
    case = case_of(raw, layout_of(), "gravity negated")
    elements = sorted(case.planted[0].elements[0][0])
    assert judge(case, report(edit("frame", elements, {"kind": "negated_gravity"}))).verdict == "exact"
    assert judge(case, report(edit("sign", elements, -1))).verdict == "exact"
    assert judge(case, report(edit("sign", elements[:2], -1))).verdict != "exact"
    assert judge(case, report(edit("sign", elements, {"double_cover": 900}))).verdict != "exact"
    case = case_of(raw, layout_of(frames=3), "history newest first")
    size = case.trained.shape[1]
    order = [case.layout.names.index(name) for name in case.adapter.names]
    assert judge(case, report(edit("permutation", range(size), order))).verdict != "exact"
    told = edit("history_order", sorted(case.planted[0].elements[0][0]), {"frames": 3})
    assert judge(case, report(told)).verdict == "exact"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("late by steps", lambda d: edit("lag", (), {"steps": d["steps"], "of": "observation"})),
        ("previous action late", lambda _: edit("lag", (), {"steps": 1, "of": "previous_action"})),
        ("quaternion conjugate", lambda _: edit("quaternion_conjugate", (), "conjugate")),
        ("quaternion w >= 0", lambda _: edit("sign", (), {"double_cover": 5})),
        ("fixed rotation, any", lambda d: edit("frame", (), {"kind": "fixed", "matrix": d["matrix"]})),
        ("degrees for radians", lambda d: edit("unit", (), {"from": "rad", "to": "deg", "factor": d["factor"]})),
        (
            "world and body frame, orientation observed",
            lambda _: edit("frame", (), {"kind": "world_for_body", "quaternion": [0, 1, 2, 3]}),
        ),
        ("normaliser twice", lambda d: edit("double_normalised", (), {"mean": d["mean"], "std": d["std"]})),
    ],
)
def test_edits_are_replayed_by_code_of_the_bench(raw, name, make) -> None:
    case = case_of(raw, layout_of(), name, 1)
    told = make(case.planted[0].detail)
    told.elements = tuple(sorted(case.planted[0].elements[0][0]))
    assert judge(case, report(told)).verdict == "exact", judge(case, report(told)).why
    if isinstance(told.value, dict) and "steps" in told.value:
        told.value["steps"] += 1
        assert judge(case, report(told)).verdict != "exact"


def test_an_answer_has_to_come_in_time(raw, monkeypatch) -> None:
    monkeypatch.setattr(limits, "LIMIT_S", 0.05)

    def forever(**_: object) -> None:
        while True:
            pass

    with pytest.raises(limits.TooSlowError):
        score(case_of(raw, layout_of(), "gravity negated"), forever)


def test_the_page_keeps_the_words_about_weak_spots(tmp_path) -> None:
    row = {
        "side": "paired", "half": "held_out", "what": "single", "label": "gravity negated", "robot": "ant",
        "faults": ["gravity negated"], "verdict": "exact", "restored": True, "time_s": 0.1,
    }  # fmt: skip
    speed = {"rows": 10_000, "size": 300, "faulty_s": 1.0, "healthy_s": 1.0}
    results = {"rows": [row, row | {"verdict": "silent", "restored": False}], "wall_s": 60, "jobs": 2, "speed": speed}
    path = tmp_path / "page.md"
    path.write_text(f"old {page.BEGIN}\nGravity is weak.\n{page.END}", encoding="utf-8")
    page.write_page(results, path)
    text = path.read_text(encoding="utf-8")
    assert "Gravity is weak." in text and "{{" not in text and "## Weak spots" in text
    assert "| gravity negated | 2 | - | 50.0 % | 0 | 0 | 0 | 1 | 50 % |" in text
