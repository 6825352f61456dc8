"""The observation monitor in Python: the C++ class, and what Python adds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from walking_motion import NAMES, walking, walking_contract

import ganglion
from ganglion.errors import GanglionError


@pytest.fixture(scope="module")
def contract():
    return walking_contract(2400)


def test_another_healthy_run_is_plausible_and_degrees_are_not(contract):
    run = walking(5, 600)
    monitor = ganglion.ObservationMonitor(contract)
    assert {monitor.check(row) for row in run["observation"][:100]} == {"plausible"}
    assert monitor.plausible(2.0) and not monitor.plausible(2.1)
    assert monitor.worst is None and monitor.checks == 100
    wrong = run["observation"][100].copy()
    wrong[9:21] *= 180.0 / np.pi
    assert monitor.check(wrong) == "outside"
    worst = monitor.worst
    assert worst is not None and 9 <= worst.element < 21 and worst.name == NAMES[worst.element]
    assert worst.counts.total >= 1 and worst.name in worst.sentence
    assert not monitor.plausible(0.0)
    assert len(monitor.counts) == 45 and monitor.counts[worst.element] == worst.counts


def test_rows_and_resets(contract):
    monitor = ganglion.ObservationMonitor(dataclasses.replace(contract, batch=2))
    rows = walking(5, 2)["observation"]
    assert monitor.check(rows) == "plausible"
    assert monitor.check(rows[0]) == "bad_size"
    with pytest.raises(ValueError, match="one flag for each of 2 rows"):
        monitor.reset([True])
    monitor.reset([True, False])
    assert monitor.check(np.full((2, 45), np.nan)) == "not_finite"
    monitor.reset()
    assert monitor.checks == 0 and monitor.worst is None


def test_without_a_profile_there_is_none(contract):
    with pytest.raises(GanglionError, match="no observation profile"):
        ganglion.ObservationMonitor(dataclasses.replace(contract, observation_profile=None))
    with pytest.raises(GanglionError, match="margin is -1"):
        ganglion.ObservationMonitor(contract, margin=-1.0)
