"""The verdict of the demo, on flights that never took place."""

from __future__ import annotations

import cartpole
import demo
import flight_pictures
import numpy as np
import pytest


def _trace(pole_angle=0.0):
    time_s = np.arange(0.0, cartpole.FLIGHT_S, 0.05)
    count = len(time_s)
    return cartpole.Trace(
        flight=np.zeros(count, dtype=np.int64),
        time_s=time_s,
        observation=np.zeros((count, 2), dtype=np.float32),
        force=np.zeros(count, dtype=np.float32),
        pole_angle=np.full(count, pole_angle),
        step_ns=np.arange(count),
    )


def _flights(trace, difference):
    apart = np.zeros(len(trace.pole_angle))
    apart[-1] = difference
    together = demo.Flight("pytorch", "Python", _trace(), np.zeros(len(apart)))
    return [together] * (2 * len(demo.ENGINES)) + [demo.Flight("onnxruntime", "C++", trace, apart)]


@pytest.mark.parametrize(
    ("pole_angle", "difference", "good"),
    [
        (0.0, 0.5 * demo.TOLERANCE_RAD, True),
        (0.0, 2.0 * demo.TOLERANCE_RAD, False),
        (2.0 * cartpole.SETTLED_ANGLE_RAD, 0.0, False),
        (2.0 * cartpole.FALLEN_ANGLE_RAD, 0.0, False),
    ],
    ids=["good", "apart", "unsettled", "fallen"],
)
def test_verdict_needs_balance_and_equality(monkeypatch, pole_angle, difference, good):
    monkeypatch.setattr(flight_pictures, "rendered", lambda _: ([], "not asked for"))
    flights = _flights(_trace(pole_angle), difference)
    assert [flight.ok for flight in flights] == [True] * (len(flights) - 1) + [good]
    page = demo.render_page(flights, _trace(), [])
    assert ("Every pole stayed up" in page) == good
    assert ("Something is not as it should be" in page) != good
    assert ('<span class="mark bad">NO</span>' in page) == (pole_angle != 0.0)


def test_curve_without_memory_ends_at_the_fall_and_begins_again_after_the_reset():
    angle = np.zeros(400)
    angle[100:] = 1.0  # falls after 5 s, and the second leg starts upright
    angle[200:300] = 0.0
    trace = _trace(angle)
    shown = demo.until_fall(trace)
    np.testing.assert_array_equal(np.isnan(shown), angle > 0.0)
