"""Histories against lists of frames, for any terms, rows and resets."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from row_by_row import check_files, simplest_and_drawn

from ganglion.policies import ObservationHistory, ObservationStack, SequentialPolicy, StackTerm

few = settings(max_examples=60, deadline=None)


@st.composite
def stacks(draw):
    layout = draw(st.sampled_from(["term_major", "frame_major"]))
    alike = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    terms = [
        StackTerm(
            f"t{number}",
            draw(st.integers(1, 4)),
            *(alike if layout == "frame_major" else (draw(st.integers(1, 5)), draw(st.integers(1, 3)))),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    return ObservationStack(
        terms,
        order=draw(st.sampled_from(["oldest_first", "newest_first"])),
        layout=layout,
        prefill=draw(st.sampled_from(["repeat_first", "zeros"])),
    )


def seen(stack, frames):
    """What a network sees behind the last of some frames `[steps, n]`, the first of which follows a reset."""
    ends = np.cumsum([term.size for term in stack.terms])
    starts = ends - [term.size for term in stack.terms]

    def piece(number, frame):
        age = frame * stack.terms[number].stride
        if age >= len(frames) and stack.prefill == "zeros":
            return np.zeros(stack.terms[number].size, np.float32)
        return frames[max(len(frames) - 1 - age, 0)][starts[number] : ends[number]]

    def ordered(length):
        return range(length) if stack.order == "newest_first" else reversed(range(length))

    numbers = range(len(stack.terms))
    if stack.layout == "frame_major":
        pieces = [piece(number, frame) for frame in ordered(stack.terms[0].length) for number in numbers]
    else:
        pieces = [piece(number, frame) for number in numbers for frame in ordered(stack.terms[number].length)]
    return np.concatenate(pieces)


def initial(core, rows):
    return tuple(part.repeat(rows, 1) for part in core.initial_state())


@few
@given(stack=stacks(), rows=st.integers(1, 4), steps=st.integers(1, 20), seed=st.integers(0, 1000))
def test_every_row_sees_its_own_frames_since_its_own_reset(stack, rows, steps, seed):
    generator = np.random.default_rng(seed)
    state = initial(stack, rows)
    histories = [[] for _ in range(rows)]
    for _ in range(steps):
        for row in np.flatnonzero(generator.random(rows) < 0.15):
            histories[row] = []
            state = tuple(
                torch.where((torch.arange(rows) == row)[:, None], first, part)
                for part, first in zip(state, initial(stack, rows), strict=True)
            )
        frame = generator.normal(size=(rows, stack.input_size)).astype(np.float32)
        for row, history in enumerate(histories):
            history.append(frame[row])
        found, state = stack(torch.from_numpy(frame), state)
        assert [part.shape[1] for part in state] == [slot.size for slot in stack.state_layout]
        np.testing.assert_array_equal(found.numpy(), [seen(stack, history) for history in histories])


@few
@given(stack=stacks(), rows=st.integers(1, 3), steps=st.integers(1, 9), before=st.integers(0, 5))
def test_a_sequence_is_its_steps(stack, rows, steps, before):
    x = torch.randn(before + steps, rows, stack.input_size)
    state = initial(stack, rows)
    for frame in x[:before]:
        _, state = stack(frame, state)
    whole, end = stack.sequence(x[before:], state)
    for step, frame in enumerate(x[before:]):
        found, state = stack(frame, state)
        assert torch.equal(found, whole[step])
    assert all(torch.equal(*pair) for pair in zip(state, end, strict=True))


@pytest.mark.deep
@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", range(4))
def test_every_engine_keeps_the_histories_of_every_row(number):
    for stack in simplest_and_drawn(stacks(), number):
        check_files(SequentialPolicy([stack, torch.nn.Linear(stack.output_size, 2)]), number)


def test_a_history_is_a_stack_of_terms_with_one_history():
    history = ObservationHistory({"gyro": 3, "joints": 2}, 4, 2, order="newest_first", layout="frame_major")
    stack = ObservationStack(
        [StackTerm("gyro", 3, 4, 2), StackTerm("joints", 2, 4, 2)], order="newest_first", layout="frame_major"
    )
    assert history.state_layout == stack.state_layout
    assert [(slot.name, slot.shape) for slot in stack.state_layout] == [
        ("gyro_history", (18,)),
        ("joints_history", (12,)),
        ("history_started", (1,)),
    ]
    x = torch.randn(6, 2, 5)
    assert torch.equal(history.sequence(x, initial(history, 2))[0], stack.sequence(x, initial(stack, 2))[0])
    whole = ObservationHistory(5, 3)
    assert [slot.name for slot in whole.state_layout] == ["obs_history", "history_started"]
    assert ObservationHistory(5, 1).state_layout == () and whole.output_size == 15
    assert [slot.name for slot in ObservationHistory(5, 3, prefill="zeros").state_layout] == ["obs_history"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StackTerm("gyro", 0), ValueError, "'gyro': size must be at least 1, not 0"),
        (lambda: StackTerm("gyro", 3, 1.0), TypeError, "'gyro': length must be an int"),
        (lambda: StackTerm("gyro", 3, True), TypeError, "'gyro': length must be an int"),
        (lambda: StackTerm("", 3), ValueError, "needs a name"),
        (lambda: ObservationHistory(3, 2, 0), ValueError, "stride must be at least 1"),
        (
            lambda: ObservationHistory(3, 2, order="newest"),
            ValueError,
            "'oldest_first' or 'newest_first', not 'newest'",
        ),
        (lambda: ObservationHistory(3, 2, layout="x"), ValueError, "'term_major' or 'frame_major'"),
        (lambda: ObservationHistory(3, 2, prefill="x"), ValueError, "'repeat_first' or 'zeros'"),
        (lambda: ObservationHistory({}, 2), ValueError, "at least one term"),
        (lambda: ObservationStack([("gyro", 3)]), TypeError, "must be a StackTerm, not tuple"),
        (lambda: ObservationStack([StackTerm("a", 1), StackTerm("a", 2)]), ValueError, "a name of its own"),
        (
            lambda: ObservationStack([StackTerm("a", 1, 2), StackTerm("b", 1)], layout="frame_major"),
            ValueError,
            r"one length and one stride for all terms; found \{'a': \(2, 1\), 'b': \(1, 1\)\}",
        ),
    ],
)
def test_histories_that_make_no_sense(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_frame_of_another_size():
    stack = ObservationHistory(3, 2)
    for call in (stack, lambda x, state: stack.sequence(x[None], state)):
        with pytest.raises(ValueError, match="3"):
            call(torch.zeros(1, 4), initial(stack, 1))
