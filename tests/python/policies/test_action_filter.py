"""Filters of actions against formulas in float64 and SciPy, for any settings, rows and resets."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from row_by_row import check_files, simplest_and_drawn

from ganglion.policies import ActionFilter, SequentialPolicy

few = settings(max_examples=60, deadline=None)


def smoothed(x, kind, ratio, start):
    """SciPy's answer to `x [steps]` of a filter that rests at `start`; `ratio` is the corner over half of the rate."""
    if kind == "low_pass_hz":
        weight = 1.0 - math.exp(-math.pi * ratio)
        b, a = [weight], [1.0, weight - 1.0]
    else:
        b, a = scipy.signal.butter(2, ratio)
    rest = scipy.signal.lfilter_zi(b, a) * start
    return scipy.signal.lfilter(b, a, x, zi=rest)[0]


def expected(x, settings_, start):
    """The whole filter on `x [steps, n]`, the first of which follows a reset."""
    start = x[0] if start is None else np.broadcast_to(start, x[0].shape)
    y = x.astype(np.float64)
    for kind in ("low_pass_hz", "butterworth_hz"):
        if kind in settings_:
            ratio = settings_[kind] * 2.0 * settings_["period_s"]
            y = np.stack([smoothed(column, kind, ratio, at) for column, at in zip(y.T, start, strict=True)], 1)
    if "rate_limit_per_s" in settings_:
        reach, last, limited = np.asarray(settings_["rate_limit_per_s"]) * settings_["period_s"], start, []
        for row in y:
            last = np.clip(row, last - reach, last + reach)
            limited.append(last)
        y = np.stack(limited)
    late = settings_.get("delay_steps", 0)
    return np.concatenate([np.tile(start, (late, 1)), y])[: len(y)]


@st.composite
def options(draw):
    size = draw(st.integers(1, 3))
    period_s = draw(st.sampled_from([0.001, 0.02, 0.5]))
    chosen = {"period_s": period_s}
    kind = draw(st.sampled_from(["low_pass_hz", "butterworth_hz", None]))
    if kind:
        chosen[kind] = draw(st.floats(0.002, 0.95)) * 0.5 / period_s
    if draw(st.booleans()):
        one = draw(st.floats(0.05, 3.0)) / period_s
        chosen["rate_limit_per_s"] = draw(st.sampled_from([one, [one * (1 + i) for i in range(size)]]))
    late = draw(st.integers(0, 3))
    if late or len(chosen) == 1:
        chosen["delay_steps"] = max(late, 1)
    start = draw(st.sampled_from([None, 0.0, 0.75, [0.5 - i for i in range(size)]]))
    return size, chosen, start


def initial(core, rows):
    return tuple(part.repeat(rows, 1) for part in core.initial_state())


@few
@given(chosen=options(), rows=st.integers(1, 3), steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_every_row_is_filtered_since_its_own_reset(chosen, rows, steps, seed):
    size, given_, start = chosen
    generator = np.random.default_rng(seed)
    part = ActionFilter(size, **given_, start=start)
    x = generator.normal(size=(steps, rows, size)).astype(np.float32)
    resets = generator.random((steps, rows)) < 0.1
    resets[0] = True
    found, state = [], initial(part, rows)
    for frame, flags in zip(x, resets, strict=True):
        mask = torch.from_numpy(flags)[:, None]
        state = tuple(torch.where(mask, a, b) for a, b in zip(initial(part, rows), state, strict=True))
        y, state = part(torch.from_numpy(frame), state)
        assert [t.shape[1] for t in state] == [slot.size for slot in part.state_layout]
        found.append(y.numpy())
    for row in range(rows):
        begins = [*np.flatnonzero(resets[:, row]), steps]
        for begin, end in itertools.pairwise(begins):
            np.testing.assert_allclose(
                np.stack(found[begin:end])[:, row], expected(x[begin:end, row], given_, start), rtol=0, atol=2e-5
            )


@pytest.mark.deep
@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", range(4))
def test_every_engine_filters_every_row(number):
    for size, given_, start in simplest_and_drawn(options(), number):
        check_files(SequentialPolicy([torch.nn.Linear(4, size), ActionFilter(size, **given_, start=start)]), number)


def test_a_slow_corner_does_not_drift():
    """0.1 Hz at 1 kHz: coefficients of a direct form in float32 would be off by far more."""
    part = ActionFilter(1, period_s=0.001, butterworth_hz=0.1, start=0.0)
    state, found = initial(part, 1), []
    for _ in range(6000):
        y, state = part(torch.ones(1, 1), state)
        found.append(float(y))
    assert found[-1] > 0.9
    np.testing.assert_allclose(found, smoothed(np.ones(6000), "butterworth_hz", 2e-4, 0.0), atol=2e-4)


def test_numbers_of_any_kind():
    kinds = [0.5, np.float32(0.5), np.full(2, 0.5), torch.full((2,), 0.5, dtype=torch.float64), [0.5, 0.5]]
    for kind in kinds:
        part = ActionFilter(2, period_s=np.float32(0.125), rate_limit_per_s=kind, start=kind)
        y, _ = part(torch.ones(1, 2), initial(part, 1))
        assert y.tolist() == [[0.5625, 0.5625]] and y.dtype == torch.float32 and part.period_s == 0.125


def test_what_is_within_the_limit_passes_as_it_is():
    part = ActionFilter(2, period_s=0.1, rate_limit_per_s=(1.0, 100.0))
    state = initial(part, 1)
    first, state = part(torch.tensor([[0.3, 0.3]]), state)
    second, state = part(torch.tensor([[0.33, 7.7]]), state)
    third, state = part(torch.tensor([[-5.0, -0.1]]), state)
    assert torch.equal(first, torch.tensor([[0.3, 0.3]])) and torch.equal(second, torch.tensor([[0.33, 7.7]]))
    torch.testing.assert_close(third, torch.tensor([[0.23, -0.1]]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "nothing to do"),
        ({"low_pass_hz": 1.0}, ValueError, "low_pass_hz needs period_s"),
        ({"rate_limit_per_s": 1.0}, ValueError, "rate_limit_per_s needs period_s"),
        ({"period_s": 0.02, "low_pass_hz": 25.0}, ValueError, "below 25 Hz, half of the rate, not 25"),
        ({"period_s": 0.02, "butterworth_hz": -1.0}, ValueError, "butterworth_hz must be positive"),
        ({"period_s": math.nan, "butterworth_hz": 1.0}, ValueError, "period_s must be positive"),
        ({"period_s": 0.02, "butterworth_hz": 1.0, "low_pass_hz": 1.0}, ValueError, "not both"),
        ({"period_s": 0.02, "rate_limit_per_s": [1.0, 2.0]}, ValueError, "2 elements but the action has 3"),
        ({"period_s": 0.02, "rate_limit_per_s": [1.0, 0.0, 1.0]}, ValueError, "rate_limit_per_s must be positive"),
        ({"delay_steps": -1}, ValueError, "delay_steps must be at least 0"),
        ({"delay_steps": 1.0}, TypeError, "delay_steps must be an int"),
        ({"delay_steps": 1, "start": math.inf}, ValueError, "start must be finite"),
    ],
)
def test_filters_that_make_no_sense(arguments, error, message):
    with pytest.raises(error, match=message):
        ActionFilter(3, **arguments)
