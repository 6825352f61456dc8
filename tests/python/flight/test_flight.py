"""Cadence, tick monitor and action guard from Python. What they do is tested in C++ (flight_test.cpp)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import ganglion
from ganglion.contract import Contract, TensorSpec
from ganglion.flight import GuardStatus

MS = 1_000_000


def contract(period_s: float | None = 0.02, **action: object) -> Contract:
    plain = Contract(inputs=(TensorSpec("obs", 1),), outputs=(TensorSpec("actions", 2),), state=(), batch=1)
    named = dataclasses.replace(plain.outputs[0], **action)
    return dataclasses.replace(plain, outputs=(named,), period_s=period_s)


def test_a_cadence_says_when_and_what() -> None:
    cadence = ganglion.Cadence(contract(), 0.001, between="linear")
    assert cadence.period_s == pytest.approx(0.02)
    assert cadence.action(0) is None
    assert [i for i in range(50) if cadence.due(i * MS)] == [0, 20, 40]
    cadence.take([1.0, -1.0])
    assert cadence.due(60 * MS)
    cadence.take(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(cadence.action(70 * MS), np.float32([1.5, 1.0]))
    assert cadence.due(140 * MS) and cadence.skipped == 3
    cadence.reset()
    assert cadence.action(0) is None and cadence.due(0)
    rows = ganglion.Cadence(contract(), 0.001, period_s=0.01, rows=3)
    rows.take(np.ones((3, 2)))
    assert rows.action(0).shape == (3, 2) and rows.period_s == pytest.approx(0.01)


def test_a_cadence_refuses_what_is_none() -> None:
    with pytest.raises(ganglion.GanglionError, match="period"):
        ganglion.Cadence(contract(None), 0.001)
    with pytest.raises(ganglion.GanglionError, match="too seldom"):
        ganglion.Cadence(contract(), 0.1)
    for period in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ganglion.GanglionError, match="positive number"):
            ganglion.Cadence(contract(), period)
    with pytest.raises(ValueError, match="'hold' or 'linear'"):
        ganglion.Cadence(contract(), 0.001, between="spline")  # type: ignore[arg-type]
    cadence = ganglion.Cadence(contract(), 0.001)
    for action, status in (([1.0], "bad_size"), ([[1.0, 2.0]], "bad_size"), ([1.0, math.nan], "non_finite_action")):
        with pytest.raises(ganglion.StepError) as caught:
            cadence.take(action)
        assert caught.value.status == status
    assert cadence.action(0) is None


def test_a_monitor_counts_and_finds_another_period() -> None:
    monitor = ganglion.TickMonitor(contract())
    assert [monitor.tick(at * MS) for at in (0, 20, 35, 60, 120, 100)] == [
        "on_time", "on_time", "early", "late", "missed", "clock_set_back",
    ]  # fmt: skip
    found = monitor.statistics
    assert (found.ticks, found.early, found.late, found.missed, found.longest_run) == (6, 1, 1, 2, 4)
    assert (found.shortest_s, found.longest_s) == (pytest.approx(0.015), pytest.approx(0.06))
    assert sum(found.off_ns) == 4 and monitor.mismatch is None
    monitor.reset()
    for i in range(65):
        assert monitor.mismatch is None
        monitor.tick(i * MS)
    assert monitor.mismatch is not None and "1000 Hz" in monitor.mismatch and "50 Hz" in monitor.mismatch
    with pytest.raises(ganglion.GanglionError, match="period_s"):
        ganglion.TickMonitor(contract(None))
    with pytest.raises(ganglion.GanglionError, match="positive number"):
        ganglion.TickMonitor(0.0)


def test_a_guard_begins_where_the_robot_is_and_keeps_its_rate() -> None:
    guard = ganglion.ActionGuard(contract(low=(-1.0, -1.0), high=(1.0, 1.0)), rate=[1.0, 2.0], blend_s=0.0)
    guard.engage([0.5, -0.5])
    command, status = guard.apply([9.0, 9.0], 0)
    np.testing.assert_array_equal(command, np.float32([0.5, -0.5]))
    assert status == GuardStatus("limited", 0)
    last = command
    for i in range(1, 200):
        command, status = guard.apply([9.0, 9.0], i * 20 * MS)
        assert (np.abs(command.astype(float) - last.astype(float)) <= np.array([0.02, 0.04])).all()
        last = command
    np.testing.assert_array_equal(last, np.float32([1.0, 1.0]))
    assert status == GuardStatus("clamped", 0)
    command, status = guard.apply([0.0, math.nan], 200 * 20 * MS)
    assert status == GuardStatus("holding", 1) and (command == last).all()
    assert [guard.hold(i * 20 * MS)[1].reason for i in range(201, 208)] == ["holding"] * 4 + ["expired"] * 3


def test_a_guard_takes_its_own_bounds_and_damping() -> None:
    guard = ganglion.ActionGuard(
        contract(None), rate=100.0, low=-2.0, high=[0.25, 0.5], blend_s=0.0, damping=0.0, longest_hold_s=0.0,
        longest_tick_s=1.0,
    )  # fmt: skip
    guard.engage([0.0, 0.0])
    guard.apply([1.0, 1.0], 0)
    command, status = guard.apply([1.0, 1.0], 500 * MS)
    np.testing.assert_array_equal(command, np.float32([0.25, 0.5]))
    assert status.reason == "clamped"
    command, status = guard.hold(1000 * MS)
    np.testing.assert_array_equal(command, np.float32([0.0, 0.0]))
    assert status.reason == "expired"


def test_a_guard_refuses_what_would_let_it_jump() -> None:
    for arguments, says in (
        ({"rate": 0.0}, "GuardOptions::rate of element 0"),
        ({"rate": [1.0, 1.0, 1.0]}, "3 numbers and the action has 2"),
        ({"rate": 1.0, "low": 2.0, "high": 1.0}, "lower bound"),
        ({"rate": 1.0, "blend_s": math.nan}, "blend_s"),
    ):
        with pytest.raises(ganglion.GanglionError, match=says):
            ganglion.ActionGuard(contract(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ganglion.GanglionError, match="longest_tick_s"):
        ganglion.ActionGuard(contract(None), rate=1.0)
    guard = ganglion.ActionGuard(contract(), rate=1.0)
    with pytest.raises(ValueError, match="not_engaged"):
        guard.apply([0.0, 0.0], 0)
    for position in ([0.0], [0.0, math.inf]):
        with pytest.raises(ValueError, match="finite numbers"):
            guard.engage(position)
    guard.engage([0.0, 0.0])
    with pytest.raises(ValueError, match="bad_size"):
        guard.apply([0.0], 0)
    guard.disengage()
    with pytest.raises(ValueError, match="not_engaged"):
        guard.hold(0)
