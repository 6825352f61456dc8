"""A log against a profile: single faults of a walking robot named first, healthy logs left alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from walking_motion import NAMES, walking, walking_contract

import ganglion
from ganglion.contract import TensorSpec
from ganglion.errors import ArtifactError
from ganglion.wiring.assignment import assign
from ganglion.wiring.unpaired.layouts import history_of
from ganglion.wiring.unpaired.terms import terms

POSITION, VELOCITY, ACTION = np.arange(9, 21), np.arange(21, 33), np.arange(33, 45)
LEG = np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8])
"""Left for right."""


@pytest.fixture(scope="module")
def contract():
    return walking_contract(6000)


@pytest.fixture(scope="module")
def log():
    return walking(2)


def compared(contract, log, **changes):
    return ganglion.wiring(policy=contract, found=log | changes)


def late(values, steps):
    return np.concatenate([values[:1]] * steps + [values[:-steps]])


FAULTS = {
    "permutation of joints": ("permutation", POSITION, lambda x: x[:, POSITION[LEG]]),
    "order of all joint terms": (
        "permutation",
        np.concatenate([POSITION, VELOCITY, ACTION]),
        lambda x: x[:, np.concatenate([POSITION[LEG], VELOCITY[LEG], ACTION[LEG]])],
    ),
    "two terms": (
        "permutation",
        np.concatenate([POSITION, VELOCITY]),
        lambda x: x[:, np.concatenate([VELOCITY, POSITION])],
    ),
    "sign of a motor": ("sign", np.array([10, 22, 34]), lambda x: -x[:, [10, 22, 34]]),
    "sign of a term": ("sign", VELOCITY, lambda x: -x[:, VELOCITY]),
    "scale twice": ("scale", VELOCITY, lambda x: 0.05 * x[:, VELOCITY]),
    "scale never": ("scale", np.arange(3), lambda x: 4.0 * x[:, :3]),
    "degrees": ("unit", POSITION, lambda x: x[:, POSITION] * 180.0 / np.pi),
    "default pose": ("offset", POSITION, lambda x: x[:, POSITION] + np.tile([0.3, 0.8, -1.5], 4)),
    "gravity up": ("frame", np.arange(3, 6), lambda x: -x[:, 3:6]),
    "previous action late": ("lag", ACTION, lambda x: late(x[:, ACTION], 1)),
    "offset of one encoder": ("offset", POSITION[4:5], lambda x: x[:, POSITION[4:5]] + 0.1),
    "offsets of two encoders": ("offset", POSITION[[1, 8]], lambda x: x[:, POSITION[[1, 8]]] + [0.12, -0.15]),
    "a scale near to 1": ("scale", VELOCITY, lambda x: 1.2 * x[:, VELOCITY]),
    "scale of one element": ("scale", VELOCITY[3:4], lambda x: 0.8 * x[:, VELOCITY[3:4]]),
    "two joints swapped": ("permutation", POSITION[[2, 5]], lambda x: x[:, POSITION[[5, 2]]]),
    "differences of positions": ("lag", VELOCITY, lambda x: differences(x)),
    "gyroscope mounted askew": ("frame", np.arange(3), lambda x: x[:, :3] @ turned().T),
}


def differences(x):
    return np.diff(x[:, POSITION], axis=0, prepend=x[:1, POSITION]) * (0.05 / 0.02)


def turned():
    axis, angle = np.array([0.6, 0.0, 0.8]), 0.8
    skew = np.cross(np.eye(3), axis)
    return np.eye(3) - np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.deep
def test_a_fault_is_named_first(contract, log, name):
    kind, elements, plant = FAULTS[name]
    values = log["observation"].copy()
    values[:, elements] = plant(log["observation"])
    report = compared(contract, log, observation=values)
    first = report.edits[0]
    assert (first.kind, first.elements) == (kind, tuple(elements)), report.edits
    assert not report.equal and len(report.edits) == 1, report.edits
    assert first.confidence is not None and first.confidence > 0.5
    assert first.names == tuple(NAMES[element] for element in elements)
    if kind in ("permutation", "sign"):
        np.testing.assert_allclose(report.corrected, log["observation"], atol=1e-5)
    document = json.loads(report.to_json())
    assert document["edits"][0]["confidence"] == first.confidence and not document["equal"]


def test_a_clip_is_named_with_its_bound(contract, log):
    values = log["observation"].copy()
    values[:, ACTION] = values[:, ACTION].clip(-1.0, 1.0)
    often = np.flatnonzero((values != log["observation"]).mean(0) > 0.02)
    first = compared(contract, log, observation=values).edits[0]
    assert first.kind == "clip" and set(often) <= set(first.elements) <= set(ACTION)
    assert first.value == {"low": -1.0, "high": 1.0, "of": "found"}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(2, 6))
def test_another_healthy_run_raises_no_alarm(contract, seed, named):
    run = walking(seed)
    noise = np.random.default_rng(seed).normal(0.0, 0.01, run["observation"].shape)
    given = contract if named else dataclasses.replace(contract, inputs=(TensorSpec("obs", 45),))
    report = compared(given, run, observation=(run["observation"] + noise).astype(np.float32))
    assert report.equal and not report.edits
    assert report.verdict.startswith("nothing speaks against it: 3,000 rows of 45 elements")


def test_a_robot_that_stands_still_tells_nothing_and_is_told_to_move(contract, log):
    still = np.repeat(log["observation"][300:301], 3000, axis=0)
    still[:, POSITION] = still[:, POSITION[LEG]]
    report = compared(contract, log, observation=still, action=np.zeros((3000, 12), np.float32))
    assert report.equal
    silent = {element for one in report.cannot_tell for element in one.elements}
    assert silent >= set(range(45)) and "move each leg once" in report.cannot_tell[0].sentence


def test_without_actions_it_says_that_a_delay_cannot_be_seen(contract, log):
    report = compared(contract, {"observation": log["observation"], "reset": log["reset"]})
    assert report.equal and "a delay cannot be seen" in report.notes[0]


def test_what_nothing_explains_is_said_so(contract, log):
    values = log["observation"].copy()
    rng = np.random.default_rng(0)
    values[:, POSITION] = rng.normal(3.0, 5.0, (3000, 12)) ** 3
    report = compared(contract, log, observation=values)
    assert not report.equal


def test_bad_input_is_a_sentence(contract, log):
    with pytest.raises(ArtifactError, match=r"has no observation profile.*ganglion profile POLICY"):
        compared(dataclasses.replace(contract, observation_profile=None), log)
    with pytest.raises(ArtifactError, match="44 elements, the profile of the contract 45"):
        compared(contract, {"observation": log["observation"][:, 1:]})
    with pytest.raises(ArtifactError, match="1 row, and only statistics speak"):
        compared(contract, {"observation": log["observation"][:1]})
    with pytest.raises(ArtifactError, match="not finite"):
        compared(contract, {"observation": np.full((300, 45), np.nan)})
    with pytest.raises(TypeError, match="or policy"):
        ganglion.wiring(found=log)


def test_the_assignment_is_the_best_one():
    import itertools

    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 6):
        cost = rng.normal(size=(size, size))
        rows = np.arange(size)
        best = min(cost[rows, list(order)].sum() for order in itertools.permutations(range(size)))
        assert cost[rows, assign(cost)].sum() == pytest.approx(best)
        assert sorted(assign(cost)) == list(range(size))


def test_terms_are_read_from_names():
    found = terms(NAMES, 45)
    assert [len(term) for term in found.terms] == [3, 3, 3, 12, 12, 12] and found.frames == 1
    frame_major = [f"{name}@-{age}" for age in (2, 1, 0) for name in NAMES]
    found = terms(frame_major, 135)
    assert found.frames == 3 and found.frame_major and found.terms[0].tolist() == [0, 1, 2, 45, 46, 47, 90, 91, 92]
    term_major = [f"{name}_t-{age}" for part in (NAMES[:3], NAMES[3:6]) for age in (1, 0) for name in part]
    found = terms(term_major, 12)
    assert found.frames == 2 and not found.frame_major and [len(term) for term in found.terms] == [6, 6]
    assert len(terms((), 7).terms) == 1


def test_a_permutation_that_is_another_layout_of_a_history_is_called_so():
    widths, frames = (3, 2, 4), 3
    order, at = [], 0
    for width in widths:
        order.append(np.arange(frames * width).reshape(frames, width) + at)
        at += frames * width
    source = np.concatenate([block[frame] for frame in range(frames) for block in order])
    kind, value, whole = history_of(source)
    assert kind == "history_layout" and value == {"frames": 3, "trained": "term_major", "found": "frame_major"}
    assert whole.tolist() == source.tolist()
    kind, value, whole = history_of(np.argsort(source))
    assert value["found"] == "term_major" and whole.tolist() == np.argsort(source).tolist()
    assert history_of(np.random.default_rng(0).permutation(27)) is None
