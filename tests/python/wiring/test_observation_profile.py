"""The observation profile: what is measured, and that a contract keeps it."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest
from walking_motion import NAMES, PERIOD_S, walking

from ganglion.contract import Contract, TensorSpec
from ganglion.errors import ArtifactError
from ganglion.observation_profile import MOST_PAIRED, ObservationProfile
from ganglion.observation_profile.statistics import measured


def lengths_of(reset):
    return np.diff(np.flatnonzero(np.append(reset, True)))


@pytest.fixture(scope="module")
def profile():
    run = walking(1, 2400)
    return measured(run["observation"], lengths_of(run["reset"]), run["action"])


def contract_of(profile, **changes):
    return Contract(
        inputs=(TensorSpec("obs", profile.size, NAMES[: profile.size]),),
        outputs=(TensorSpec("actions", profile.actions or 1),),
        period_s=PERIOD_S,
        observation_profile=profile,
        **changes,
    )


def test_statistics_are_those_of_numpy(profile):
    run = walking(1, 2400)
    values, action = run["observation"].astype(np.float64), run["action"].astype(np.float64)
    np.testing.assert_allclose(profile.mean, values.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(profile.spread, values.std(0), rtol=1e-5)
    np.testing.assert_allclose(profile.quantiles[[0, 5, -1]], np.quantile(values, [0, 0.5, 1], axis=0), atol=1e-6)
    np.testing.assert_allclose(profile.correlation, np.corrcoef(values.T), atol=1.0 / 32767)
    # Of the change and of what answers to an action, steps beside a reset count for nothing.
    inside = ~run["reset"][1:]
    change = np.abs(np.diff(values, axis=0))[inside]
    np.testing.assert_allclose(profile.change[-1], change.max(0), rtol=1e-5)
    place = profile.response_lags.index(1)
    found = np.corrcoef(values[1:][inside][:, 20], action[:-1][inside][:, 3])[0, 1]
    assert profile.response[place, 20, 3] == pytest.approx(found, abs=1e-4)
    # The previous action is the action one step late.
    np.testing.assert_allclose(profile.response[place, 33:45].diagonal(), 1.0, atol=1e-3)


def test_what_is_of_unit_norm_and_what_is_discrete_is_seen():
    rng = np.random.default_rng(0)
    turned = rng.normal(size=(600, 4))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    values = np.column_stack([rng.normal(size=600), turned, rng.integers(0, 3, 600), np.full(600, 0.5)])
    found = measured(values.astype(np.float32), np.array([600]))
    assert [(one.first, one.size) for one in found.unit_norm] == [(1, 4)]
    assert [(one.element, one.values) for one in found.discrete] == [(5, (0.0, 1.0, 2.0)), (6, (0.5,))]
    assert found.spread[6] == 0.0 and found.response is None and found.actions == 0


def test_a_contract_keeps_it_and_all_of_its_numbers(profile):
    contract = contract_of(profile)
    text = contract.to_json()
    assert Contract.from_json(text).observation_profile == profile
    assert Contract.from_json(text).to_json() == text
    assert json.loads(text)["format"] == 2  # a reader of before reads the rest


def test_a_profile_of_300_elements_is_no_larger_than_the_weights_of_a_policy():
    rng = np.random.default_rng(0)
    values, action = rng.normal(size=(512, 300)).astype(np.float32), rng.normal(size=(512, 12)).astype(np.float32)
    text = json.dumps(measured(values, np.array([512]), action).to_document())
    assert len(text) < 600_000


def test_too_many_elements_have_no_correlations():
    values = np.random.default_rng(0).normal(size=(256, MOST_PAIRED + 1)).astype(np.float32)
    found = measured(values, np.array([256]), values[:, :2])
    assert found.correlation is None and found.response is None
    assert ObservationProfile.from_document(found.to_document()) == found


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: d.update(size=44), "holds"),
        (lambda d: d.update(mean="!!!!"), "no base64"),
        (lambda d: d.update(levels=[0.0, 0.5, 0.25, 1.0]), "quantiles holds"),
        (lambda d: d.update(lags=[0, 2, 4, 8, 16]), "lags must ascend"),
        (lambda d: d.update(segments=0, segment_means="", segment_spreads=""), "0 segments"),
        (lambda d: d.update(unit_norm=[[44, 2]]), "unit-norm"),
        (lambda d: d.update(discrete=[{"element": 45, "values": [1.0]}]), "discrete"),
        (lambda d: d.pop("change"), "field 'change' is missing"),
        (lambda d: d.update(steps=2.5), "wrong kind"),
        (lambda d: d.pop("response"), "has no response"),
        (lambda d: d.update(mean=base64.b64encode(np.full(45, np.nan, "<f4")).decode()), "not finite"),
        (lambda d: d.update(spread=base64.b64encode(np.full(45, -1, "<f4")).decode()), "negative"),
    ],
)
def test_damage_is_refused(profile, damage, says):
    document = profile.to_document()
    damage(document)
    text = contract_of(profile).to_json()
    changed = json.loads(text)
    changed["observation_profile"] = document
    changed["format"] = 1  # of which the digest is not asked for
    del changed["contract_sha256"]
    with pytest.raises(ArtifactError, match=says):
        Contract.from_json(json.dumps(changed))


def test_a_profile_of_another_policy_is_refused(profile):
    contract = contract_of(profile)
    with pytest.raises(ArtifactError, match="of another policy"):
        dataclasses.replace(contract, inputs=(TensorSpec("obs", 44),))
    with pytest.raises(ArtifactError, match="of another policy"):
        dataclasses.replace(contract, outputs=(TensorSpec("actions", 11),))


def test_few_steps_are_no_profile():
    with pytest.raises(ArtifactError, match="255 recorded steps are too few"):
        measured(np.zeros((255, 3), np.float32), np.array([255]))
