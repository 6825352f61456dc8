"""The simulation that the examples share, and the policy that ships with them."""

from __future__ import annotations

import cartpole
import cartpole_policy
import numpy as np
import pytest

pytestmark = pytest.mark.deep  # flies


class _StateFeedback:
    def __init__(self, gain):
        self._gain = gain

    def reset(self):
        pass

    def __call__(self, state):
        return np.clip(-state @ self._gain, -cartpole_policy.FORCE_LIMIT_N, cartpole_policy.FORCE_LIMIT_N)


@pytest.fixture(scope="module")
def model():
    return cartpole.load_model()


@pytest.fixture(scope="module")
def shipped():
    return cartpole_policy.load_policy()


def test_one_physics_step_is_the_control_period_of_the_contract(model, shipped):
    assert model.opt.timestep == cartpole_policy.CONTROL_PERIOD_S == shipped[1].period_s


def test_motor_limit_of_the_model_is_the_limit_of_the_policy(model, shipped):
    limit = cartpole_policy.FORCE_LIMIT_N
    assert model.actuator_ctrlrange.tolist() == [[-limit, limit]]
    assert (shipped[1].outputs[0].low, shipped[1].outputs[0].high) == ((-limit,), (limit,))


def test_contract_names_what_it_steers(shipped):
    contract = shipped[1]
    assert contract.inputs[0].element_names == ("cart_position", "pole_angle")
    assert contract.inputs[0].units == ("m", "rad")
    assert contract.outputs[0].element_names == ("cart_force",)
    assert contract.outputs[0].units == ("N",)
    assert "01_train_cartpole.py" in contract.provenance["trainer"]


def test_observation_holds_no_velocity(model):
    starts = cartpole.perturbed_starts(3, seed=0)
    faster = starts + np.array([0.0, 0.0, 0.5, 0.5])
    seen = cartpole.CartPoles(model, starts).observation
    assert seen.shape == (3, 2)
    np.testing.assert_array_equal(seen, cartpole.CartPoles(model, faster).observation)
    np.testing.assert_array_equal(seen, starts[:, :2].astype(np.float32))


def test_starts_are_seeded_and_survive_the_file(tmp_path):
    starts = cartpole.perturbed_starts(20, seed=7)
    np.testing.assert_array_equal(starts, cartpole.perturbed_starts(20, seed=7))
    assert not np.array_equal(starts, cartpole.perturbed_starts(20, seed=8))
    assert (np.abs(starts) <= cartpole.START_SPREAD).all()
    cartpole.write_starts(tmp_path / "starts.csv", starts)
    np.testing.assert_array_equal(cartpole.read_starts(tmp_path / "starts.csv"), starts)


def test_restart_touches_only_its_rows(model):
    carts = cartpole.CartPoles(model, cartpole.perturbed_starts(4, seed=0))
    carts.step(np.full(4, 0.5))
    before = carts.state.copy()
    carts.restart(np.array([False, True, False, True]), np.zeros((2, 4)))
    np.testing.assert_array_equal(carts.state[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(carts.state[[1, 3]], 0.0)


def test_carts_side_by_side_move_like_one_alone(model):
    starts = cartpole.perturbed_starts(3, seed=1)
    together, alone = cartpole.CartPoles(model, starts), cartpole.CartPoles(model, starts[1:2])
    for step in range(50):
        force = 0.3 * np.sin(0.1 * step + np.arange(3))
        together.step(force)
        alone.step(force[1:2])
    np.testing.assert_allclose(together.state[1], alone.state[0], rtol=0.0, atol=1e-12)


def test_teacher_balances_and_positions_alone_do_not(model):
    starts = cartpole.perturbed_starts(10, seed=5)
    gain = cartpole.lqr_gain(model)
    assert cartpole.survey(model, _StateFeedback(gain), starts, 8.0, full_state=True).balanced.all()
    blind = cartpole.survey(model, _StateFeedback(gain * [1, 1, 0, 0, 0]), starts, 8.0, full_state=True)
    assert not blind.standing.any()
    assert (blind.standing_s < 8.0).all()
    assert np.isnan(blind.pole_angle[-1]).all()


def test_shipped_policy_balances_from_unseen_starts(model, shipped):
    starts = cartpole.perturbed_starts(20, seed=12345)
    result = cartpole.survey(model, cartpole_policy.TorchController(shipped[0], 20), starts, 10.0)
    assert result.balanced.all()
    assert result.worst_angle.max() < 0.25


def test_shipped_policy_falls_when_its_memory_is_erased_before_each_step(model, shipped):
    starts = cartpole.perturbed_starts(40, seed=12345)
    erased = cartpole_policy.TorchController(shipped[0], 40, erase_memory=True)
    assert not cartpole.survey(model, erased, starts, 20.0).standing.any()


def test_trace_survives_the_file_and_tells_a_fall(tmp_path, model):
    trace = cartpole.fly(model, lambda seen: 3.0 * float(seen[1]), lambda: None, np.array([[0.0, 0.05, 0.0, 0.0]]))
    trace.save(tmp_path / "trace.csv")
    again = cartpole.Trace.load(tmp_path / "trace.csv")
    for name in ("flight", "time_s", "observation", "force", "pole_angle", "step_ns"):
        np.testing.assert_array_equal(getattr(trace, name), getattr(again, name))
        assert getattr(trace, name).dtype == getattr(again, name).dtype
    assert not trace.balanced
    assert "NOT balanced" in trace.summary()


def test_a_flight_resets_cart_and_policy_half_way(model, shipped):
    starts = cartpole.read_starts(cartpole.STARTS_FILE)[:2]
    controller = cartpole_policy.TorchController(shipped[0], rows=1)
    resets = []

    def reset():
        resets.append(True)
        controller.reset()

    trace = cartpole.fly(model, lambda seen: float(controller(seen[None])[0]), reset, starts)
    assert trace.balanced
    assert len(resets) == 4
    # The second half of a flight is the first half of the next, with the same memory: none.
    for name in ("observation", "force", "pole_angle"):
        flights = getattr(trace, name)
        np.testing.assert_array_equal(flights[5000:10000], flights[10000:15000])
