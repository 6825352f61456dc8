"""Relations between elements of neighbouring steps: what is found of them, and that a contract keeps them."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest
from walking_motion import walking

from ganglion.contract import Contract, TensorSpec
from ganglion.errors import ArtifactError
from ganglion.observation_profile import MOST_PAIRED, Columns, ObservationProfile
from ganglion.observation_profile.relations import NONE
from ganglion.observation_profile.statistics import measured


def follower(rng, steps=2000):
    """A position that follows an action, its velocity, a copy of it one step late, and a vector that turns."""
    action = np.cumsum(rng.normal(size=(steps, 1)), axis=0) * 0.1
    action -= np.linspace(0.0, 1.0, steps)[:, None] * action[-1]
    position = np.zeros(steps)
    for step in range(1, steps):
        position[step] = 0.6 * position[step - 1] + 0.4 * action[step - 1, 0] + 0.3
    velocity = np.gradient(position) / 0.02
    late = np.concatenate([position[:1], position[:-1]])
    angle = np.cumsum(rng.normal(size=steps)) * 0.1
    turning = np.stack([np.cos(angle), np.sin(angle), np.zeros(steps)], axis=1)
    values = np.column_stack([position, velocity, late, turning, rng.normal(size=steps)])
    return values.astype(np.float32), action.astype(np.float32)


@pytest.fixture(scope="module")
def profile():
    values, action = follower(np.random.default_rng(0))
    return measured(values, np.array([1000, 1000]), action)


def of(profile, element):
    """Terms of each relation of an element: {column: coefficient}."""
    told = profile.relations
    return [
        {
            int(column): float(one)
            for column, one in zip(told.columns[row], told.coefficients[row], strict=True)
            if column != NONE
        }
        for row in np.flatnonzero(told.of == element)
    ]


def test_laws_of_a_motion_are_found(profile):
    n, told = profile.size, profile.relations
    # The velocity is the difference of the positions around it.
    velocity = of(profile, 1)
    assert any(abs(one.get(2 * n, 0.0) - 25.0) < 1.0 and abs(one.get(0, 0.0) + 25.0) < 1.0 for one in velocity), (
        velocity
    )
    # What is one step late is exactly the element of the step before.
    late = np.flatnonzero(told.of == 2)
    assert min(told.residual[late] / profile.spread[2]) < 1e-3
    # Of noise there is no law.
    assert not of(profile, 6)
    # The position follows the action, with an intercept.
    row = next(
        row
        for row in np.flatnonzero(told.of == 0)
        if set(told.columns[row][told.columns[row] != NONE]) <= set(range(3 * n, 3 * n + 3))
    )
    assert told.residual[row] < 0.3 * profile.spread[0] and told.intercept[row] != 0.0


def test_columns_are_those_of_the_page():
    columns = Columns(7, 2, ((0, 4), (4, 3)))
    assert columns.count == 3 * 7 + 3 * 2 + 16 + 3
    assert columns.products[:2] == [(0, 1, True), (0, 2, True)] and columns.products[6] == (0, 0, False)
    assert columns.products[-1] == (5, 6, True)


def test_a_turning_vector_tells_how_it_turns(profile):
    assert [(one.first, one.size) for one in profile.unit_norm] == [(3, 2)]
    values = np.random.default_rng(1).normal(size=(600, 4))
    values = np.cumsum(values, axis=0)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    found = measured(values.astype(np.float32), np.array([600]))
    assert found.columns.groups == ((0, 4),) and found.columns.count == 12 + 16


def test_a_contract_keeps_them(profile):
    text = contract_of(profile).to_json()
    read = Contract.from_json(text).observation_profile
    assert read == profile and read.relations == profile.relations
    assert Contract.from_json(text).to_json() == text
    assert read != dataclasses.replace(profile, relations=None)


def test_a_profile_of_before_is_read(profile):
    document = profile.to_document()
    del document["relations"], document["starts"]
    read = ObservationProfile.from_document(document)
    assert (
        read.relations is None
        and read.starts is None
        and read == dataclasses.replace(profile, relations=None, starts=None)
    )


def test_too_many_elements_have_none():
    values = np.random.default_rng(0).normal(size=(300, MOST_PAIRED + 1)).astype(np.float32)
    assert measured(values, np.array([300])).relations is None


def test_how_episodes_begin_is_kept():
    run = walking(1, 1800)
    lengths = np.diff(np.flatnonzero(np.append(run["reset"], True)))
    found = measured(run["observation"], lengths, run["action"])
    first = run["observation"][run["reset"]]
    np.testing.assert_allclose(found.starts, np.quantile(first, (0.0, 0.5, 1.0), axis=0), rtol=1e-6)
    assert measured(run["observation"], np.array([1800]), run["action"]).starts is None


def contract_of(profile):
    return Contract(
        inputs=(TensorSpec("obs", profile.size),),
        outputs=(TensorSpec("actions", profile.actions or 1),),
        period_s=0.02,
        observation_profile=profile,
    )


def words(*values):
    return base64.b64encode(np.array(values, "<u2").tobytes()).decode()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: d["relations"].update(count=4000), "4000 relations"),
        (lambda d: d["relations"].update(terms=0), "of 0 terms"),
        (lambda d: d["relations"].update(of=words(7, *[0] * (d["relations"]["count"] - 1))), "not there"),
        (lambda d: d["relations"].update(columns=words(*[60000] * (12 * d["relations"]["count"]))), "not there"),
        (lambda d: d["relations"].update(residual="AAAA"), "holds 3 bytes"),
        (lambda d: d["relations"].pop("told"), "field 'told' is missing"),
        (
            lambda d: d.update(starts=base64.b64encode(np.arange(21, 0, -1).astype("<f4").tobytes()).decode()),
            "starts must not",
        ),
        (
            lambda d: d["relations"].update(
                told=base64.b64encode(np.full(d["relations"]["count"], -1, "<f4")).decode()
            ),
            "negative",
        ),
    ],
)
def test_damage_is_refused(profile, damage, says):
    document = profile.to_document()
    damage(document)
    changed = json.loads(contract_of(profile).to_json())
    changed["observation_profile"] = document
    changed["format"] = 1  # of which the digest is not asked for
    del changed["contract_sha256"]
    text = json.dumps(changed)
    with pytest.raises(ArtifactError, match=says):
        Contract.from_json(text)
