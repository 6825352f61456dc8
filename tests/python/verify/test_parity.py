from types import SimpleNamespace

import numpy as np
import pytest

from ganglion.contract import Contract, StateSlot, TensorSpec
from ganglion.errors import ArtifactError, GanglionError, StepError
from ganglion.verify.parity import compare
from ganglion.verify.steppers.base import Run, run
from ganglion.verify.trajectory import draw_trajectory

CONTRACT = Contract(
    inputs=(TensorSpec("obs", 2),),
    outputs=(TensorSpec("actions", 2, element_names=("left", "right")), TensorSpec("value", 1)),
    state=(StateSlot("h", (1, 2)), StateSlot("c", (1,))),
    initial_state=(0.5, 0.0, -1.0),
)
STEPS, ROWS = 60, 3


class FakeStepper:
    """A leaky sum of the observation; `spoil(answer)` may change its `step`'s `outputs` and `state`."""

    action_only = False
    engine = "fake"

    def __init__(self, name="fake", spoil=None, ignore_mask=False):
        self.name = name
        self._spoil = spoil
        self._ignore_mask = ignore_mask
        self._initial = np.tile(np.asarray(CONTRACT.initial_state, dtype=np.float32), (ROWS, 1))
        self._state = self._initial.copy()
        self._count = 0

    def reset(self, rows):
        if self._ignore_mask:
            rows = np.ones_like(rows)
        self._state = np.where(rows[:, None], self._initial, self._state)

    def step(self, observation):
        self._state = 0.9 * self._state
        self._state[:, :2] += observation
        outputs = [2.0 * self._state[:, :2], self._state[:, 2:] + 3.0]
        state = self._state.copy()
        if self._spoil is not None:
            self._spoil(SimpleNamespace(step=self._count, outputs=outputs, state=state))
        self._count += 1
        return outputs, state


TRAJECTORY = draw_trajectory(CONTRACT, steps=STEPS, batch=ROWS, seed=0)


def compared(spoil=None, tolerance=1e-5, **options):
    reference = run(FakeStepper("reference"), CONTRACT, TRAJECTORY)
    return compare(
        reference, run(FakeStepper("fake", spoil, **options), CONTRACT, TRAJECTORY), CONTRACT, tolerance=tolerance
    )


def test_equal_runs_are_equal():
    comparison = compared()
    assert comparison.ok and comparison.first_divergence is None
    assert [tensor.name for tensor in comparison.tensors] == ["actions", "value", "state"]
    assert all(tensor.max_error == 0.0 == tensor.max_relative_error for tensor in comparison.tensors)


def test_one_perturbed_element_is_found_where_it_is():
    def spoil(answer):
        if answer.step in (37, 50):
            answer.outputs[0][1, 1] += 0.25

    comparison = compared(spoil)
    assert not comparison.ok
    first = comparison.first_divergence
    assert (first.engine, first.output, first.step, first.row, first.element) == ("fake", "actions", 37, 1, 1)
    assert first.element_name == "right"
    assert first.found - first.expected == pytest.approx(0.25, abs=1e-6)
    actions, value, state = comparison.tensors
    assert actions.max_absolute_error == pytest.approx(0.25, abs=1e-6)
    assert np.flatnonzero(actions.error_per_step).tolist() == [37, 50]
    assert value.first_divergence is None and state.first_divergence is None
    assert "actions[1] (right) differs first at step 37, row 1" in str(first)


def test_a_state_that_differs_is_not_equal_and_names_the_slot():
    def spoil(answer):
        if answer.step >= 20:
            answer.state[2, 2] += 1.0

    comparison = compared(spoil)
    assert not comparison.ok and all(tensor.first_divergence is None for tensor in comparison.outputs)
    first = comparison.first_divergence
    assert (first.output, first.step, first.row, first.element, first.element_name) == ("state", 20, 2, 2, "c[0]")


def test_the_earliest_divergence_of_all_tensors_is_the_first():
    def spoil(answer):
        if answer.step >= 30:
            answer.outputs[0] += 1.0
        if answer.step >= 12:
            answer.outputs[1] += 1.0

    first = compared(spoil).first_divergence
    assert (first.output, first.step, first.row, first.element) == ("value", 12, 0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_diverges_on_either_side_and_on_both(value):
    def spoil(answer):
        if answer.step == 9:
            answer.outputs[1][0, 0] = value

    fine, spoiled = (run(FakeStepper(spoil=s), CONTRACT, TRAJECTORY) for s in (None, spoil))
    for reference, candidate in ((fine, spoiled), (spoiled, fine), (spoiled, spoiled)):
        comparison = compare(reference, candidate, CONTRACT, tolerance=1e30)
        assert (comparison.first_divergence.output, comparison.first_divergence.step) == ("value", 9)
        assert comparison.outputs[1].max_absolute_error == np.inf


def test_the_tolerance_is_relative_above_one_and_absolute_below():
    def run_of(value):
        outputs = {"actions": np.full((1, 1, 2), value, np.float32), "value": np.zeros((1, 1, 1), np.float32)}
        return Run("fake", outputs, None)

    assert compare(run_of(1000.0), run_of(1000.5), CONTRACT, tolerance=1e-3).ok
    assert not compare(run_of(1000.0), run_of(1001.5), CONTRACT, tolerance=1e-3).ok
    assert compare(run_of(0.01), run_of(0.0105), CONTRACT, tolerance=1e-3).ok
    small = compare(run_of(0.01), run_of(0.015), CONTRACT, tolerance=1e-3)
    assert not small.ok and small.outputs[0].max_relative_error == pytest.approx(0.5, rel=1e-4)


def test_an_engine_that_resets_all_rows_for_one_is_caught_at_the_masked_reset():
    masked = np.flatnonzero(TRAJECTORY.reset.any(axis=1) & ~TRAJECTORY.reset.all(axis=1))[0]
    first = compared(ignore_mask=True).first_divergence
    assert first.step == masked and not TRAJECTORY.reset[masked, first.row]


def test_the_growth_of_an_error_is_kept_in_order_of_time():
    def spoil(answer):
        answer.outputs[0][0, 0] += 1e-7 * answer.step**2

    growth = compared(spoil).outputs[0].growth(6)
    assert len(growth) == 6 and growth == sorted(growth) and growth[-1] > 10 * growth[0]
    assert len(compared().outputs[0].growth(1000)) == STEPS


def test_a_refused_step_ends_the_run_and_diverges_there():
    def spoil(answer):
        if answer.step == 25:
            raise StepError("non_finite_action", "an action is not finite")

    comparison = compared(spoil)
    assert not comparison.ok and "step 25 was refused: non_finite_action" in comparison.failure
    assert comparison.first_divergence.step == 25 and np.isnan(comparison.first_divergence.found)


def test_a_hidden_state_is_not_compared():
    reference = run(FakeStepper("reference"), CONTRACT, TRAJECTORY)
    hiding = Run("fake", reference.outputs, None)
    assert compare(reference, hiding, CONTRACT, tolerance=1e-5).state is None


def test_answers_of_another_shape_are_refused():
    def narrow(answer):
        answer.outputs[0] = answer.outputs[0][:, :1]

    def fewer(answer):
        del answer.outputs[1]

    with pytest.raises(ArtifactError, match=r"fake: output 'actions' has shape \[3, 1\]; .* \[3, 2\]"):
        compared(narrow)
    with pytest.raises(ArtifactError, match="1 outputs, but the contract names 2: actions, value"):
        compared(fewer)


def test_an_exception_of_an_engine_names_the_step():
    def spoil(answer):
        if answer.step == 4:
            raise RuntimeError("\n  out of order\n")

    with pytest.raises(GanglionError, match="fake: step 4 raised RuntimeError: out of order"):
        compared(spoil)


def test_progress_reaches_the_last_step():
    seen = []
    run(FakeStepper(), CONTRACT, TRAJECTORY, seen.append)
    assert seen == [50, 60]
